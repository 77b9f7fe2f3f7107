"""One round: what may go out is sent, and what became of it is kept. In a process of its own, one at a time."""

import logging
import subprocess
import sys
from collections.abc import Sequence
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import F

from sync import alarms
from sync.models import Notification, Recipient
from sync.notifications import messages, outbox, recipients, sending
from sync.notifications.outbox import Envelope
from sync.pipeline import leases
from sync.pipeline.leases import Busy, OrderLease
from webhooks import clock

log = logging.getLogger("orderbridge.notifications")

LEASE = "notify"
PAUSES = tuple(timedelta(minutes=minutes) for minutes in (1, 5, 20, 60))
"""Between the tries of a message."""
KEPT = 5_000
"""Rows of the log, besides those that wait."""


def start_if_needed() -> bool:
    """Of the task: look, and leave the sending to a process that nobody waits for. True: one was started.

    A worker that sent by itself would wait for a server that hangs, while orders wait for the worker.
    """
    now = clock.now()
    _look(now)
    if not outbox.due(now):
        return False
    command = [sys.executable, str(settings.BASE_DIR / "manage.py"), "notify"]
    subprocess.Popen(command, start_new_session=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)  # noqa: S603  ours
    return True


def send_due() -> dict[str, str]:
    """By the recipient's name: why it could not be sent; empty: it was. Raises Busy: another process is at it."""
    lease = OrderLease(LEASE)
    try:
        now = clock.now()
        _look(now)
        envelopes = outbox.due(now)
        if not envelopes:
            return {}
        results = _send(envelopes, now)
        _prune()
        return results
    finally:
        leases.release([lease])


def _look(now: datetime) -> None:
    """At what is to be told, and who is there to hear it. Of one who is not, no alarm stays open."""
    recipients.keep_in_step()
    there = [_key(pk) for pk in recipients.told().values_list("pk", flat=True)]
    for alarm in alarms.open_alarms().filter(key__startswith=_key("")).exclude(key__in=there):
        alarms.clear(alarm.key)
    outbox.fill(now)


def _send(envelopes: Sequence[Envelope], now: datetime) -> dict[str, str]:
    errors: dict[int, str] = {}
    to_send: list[sending.Message] = []
    for one in envelopes:
        _mark(one, now)
        address = recipients.address_of(one.recipient)
        if not address:
            errors[one.recipient.pk] = "Its address cannot be read: enter it again."
            continue
        words = messages.of(one.recipient, one.items, now, waited=one.waited)
        to_send.append(
            sending.Message(
                recipient=one.recipient.pk, address=address, title=words.title, body=words.body, is_bad=words.is_bad
            )
        )
    errors |= sending.send_all(to_send)
    for one in envelopes:
        _record(one, errors[one.recipient.pk])
    return {one.recipient.name: errors[one.recipient.pk] for one in envelopes}


def _mark(envelope: Envelope, now: datetime) -> None:
    """Before it is sent: whoever is killed meanwhile has used up a try, and the limits count it. Each item counts its
    own: what came last is not given up with what came first."""
    for one in envelope.items:
        one.tries += 1
    next_try = now + PAUSES[min(_tries(envelope), len(PAUSES)) - 1]
    mine = Notification.objects.filter(pk__in=[one.pk for one in envelope.items])
    mine.update(message=Notification.new_message(), tries=F("tries") + 1, tried_at=now, next_try_at=next_try)


def _tries(envelope: Envelope) -> int:
    return max(one.tries for one in envelope.items)


def _record(envelope: Envelope, error: str) -> None:
    is_test = envelope.items[0].kind == Notification.Kind.TEST  # whoever asked for it waits for the answer
    mine = Notification.objects.filter(pk__in=[one.pk for one in envelope.items])
    mine.update(state=Notification.State.WAITING if error else Notification.State.SENT, error=error)
    if error:
        (mine if is_test else mine.filter(tries__gt=len(PAUSES))).update(state=Notification.State.FAILED)
    else:  # there is a way again, for what could not be sent before as well
        envelope.recipient.notifications.filter(state=Notification.State.WAITING).update(next_try_at=clock.now())
    said = {"to": envelope.recipient.name, "items": len(envelope.items), "error": error}
    log.log(logging.WARNING if error else logging.INFO, "notification failed" if error else "notified", extra=said)
    _tell_others(envelope.recipient, error, _tries(envelope))


def _key(recipient: int | str) -> str:
    return f"notify:{recipient}"


def _tell_others(recipient: Recipient, error: str, tries: int) -> None:
    """Nobody hears of an alarm that cannot be sent, but those whom another way leads to."""
    key = _key(recipient.pk)
    if not error:
        alarms.clear(key)
    elif tries > 1:
        words = f"Messages to {recipient.name} cannot be sent: {error}"
        alarms.raise_alarm(key, words, "Correct the address under Recipients, and send a test from there.")


def _prune() -> None:
    done = Notification.objects.exclude(state=Notification.State.WAITING)
    if last := done.order_by("-pk").values_list("pk", flat=True)[KEPT : KEPT + 1].first():
        done.filter(pk__lte=last).delete()


def send_test(recipient: Recipient) -> str:
    """Now, and past all limits. Why it could not be sent; empty: it was."""
    item = outbox.ask_for_test(recipient, clock.now())
    return _send([Envelope(recipient=recipient, items=[item], waited=False)], clock.now())[recipient.name]


__all__ = ["Busy", "send_due", "send_test", "start_if_needed"]
