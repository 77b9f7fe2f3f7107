"""What is to be told to whom, and when it may go out: rows, so that nothing is lost with a process.

Alarms are not told by whoever raises them, as that may be a worker with an order in hand. Once a minute a task compares
alarms with what was told of them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Q, QuerySet

from sync.alarms import open_alarms
from sync.clients import installation
from sync.models import Alarm, Notification, Recipient, Severity
from sync.notifications import messages, recipients
from sync.notifications.timing import is_quiet, local, summary_is_due
from webhooks.backoffice.bridges import are_several, name_of
from webhooks.masking import masked_text

Kind = Notification.Kind
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
MISSED = timedelta(hours=1)
"""An alarm that was over before it was told is still told of, unless that is longer ago."""
TOO_OLD = timedelta(days=7)
"""What could not be sent for so long is given up."""
AT_ONCE = 200
"""Alarms of one round, and items of one message."""


@dataclass(frozen=True, kw_only=True)
class Envelope:
    """What one recipient gets now, in one message."""

    recipient: Recipient
    items: Sequence[Notification]
    waited: bool


# --- what is to be told --------------------------------------------------------------------------------------------


def fill(now: datetime) -> None:
    """Make the rows that are missing. Twice does no harm: an alarm is marked with its rows, in one transaction."""
    those = list(recipients.told())
    _tell_of_alarms(those, now)
    if not installation.displaced():
        _tell_of_ends(now)
        _summarize(those, now)
    waiting = Notification.objects.filter(state=Notification.State.WAITING)
    waiting.filter(created_at__lt=now - TOO_OLD).update(state=Notification.State.DROPPED, error="It waited for a week.")
    waiting.exclude(recipient__in=recipients.told()).update(
        state=Notification.State.DROPPED,
        error="The recipient was removed or switched off, or its entry in NOTIFY_URLS is gone.",
    )


def _tell_of_alarms(those: Sequence[Recipient], now: datetime) -> None:
    muted = _muted(now)
    recent = Q(cleared_at=None) | Q(cleared_at__gt=now - MISSED)
    if installation.displaced():  # the others are those of the installation that this is a copy of
        recent = Q(cleared_at=None, key=installation.ALARM)
    for alarm in Alarm.objects.filter(recent, told_at=None).order_by("pk")[:AT_ONCE]:
        if _of(alarm) not in muted:
            _tell(alarm, Kind.RAISED, those, now)
    for alarm in _to_be_repeated(now).filter(recent):
        if _of(alarm) not in muted:
            _tell(alarm, Kind.STILL, those, now)


def _to_be_repeated(now: datetime) -> QuerySet[Alarm]:
    """What was muted and is still so; and what is critical, and nobody has said that he sees to it."""
    told = open_alarms().exclude(told_at=None)
    again = Q(muted_until__lte=now)
    if settings.NOTIFY_REMIND_HOURS > 0:
        late = now - timedelta(hours=settings.NOTIFY_REMIND_HOURS)
        again |= Q(severity__gte=Severity.CRITICAL, acknowledged_at=None, told_at__lte=late)
    return told.filter(again)


def _tell_of_ends(now: datetime) -> None:
    """To those who heard that it began."""
    muted = _muted(now)
    over = Alarm.objects.filter(cleared_at__isnull=False, told_at__isnull=False, told_cleared_at=None)
    for alarm in over.order_by("pk")[:AT_ONCE]:
        heard = recipients.told().filter(notifications__alarm=alarm).distinct()
        _tell(alarm, Kind.CLEARED, [] if _of(alarm) in muted else heard, now)


def _muted(now: datetime) -> set[tuple[int | None, str]]:
    """By bridge and key, not by row: one that comes and goes is muted each time."""
    return set(Alarm.objects.filter(muted_until__gt=now).values_list("bridge", "key"))


def _of(alarm: Alarm) -> tuple[int | None, str]:
    return alarm.bridge_id, alarm.key


def _tell(alarm: Alarm, kind: Notification.Kind, those: Iterable[Recipient], now: datetime) -> None:
    told: dict[str, datetime | None] = {"told_cleared_at": now} if kind == Kind.CLEARED else {"told_at": now}
    if alarm.muted_until is not None and alarm.muted_until <= now:
        told["muted_until"] = None
    with transaction.atomic():
        Notification.objects.bulk_create(
            Notification(
                recipient=one,
                to=one.name,
                alarm=alarm,
                kind=kind,
                severity=alarm.severity,
                words=masked_text(_words(alarm)),
                next_try_at=now,
                created_at=now,
            )
            for one in those
            if alarm.severity >= one.min_severity and alarm.key != f"notify:{one.pk}"
        )
        Alarm.objects.filter(pk=alarm.pk).update(**told)


def _words(alarm: Alarm) -> str:
    """Where there are several bridges, of which it speaks."""
    return f"{name_of(alarm.bridge_id)}: {alarm.words}" if alarm.bridge_id and are_several() else alarm.words


def _summarize(those: Iterable[Recipient], now: datetime) -> None:
    for one in those:
        since = one.created_at
        if not summary_is_due(now, one.daily_at, one.time_zone, last=one.summary_on, since=since):
            continue
        today = local(now, one.time_zone).date()
        with transaction.atomic():
            if Recipient.objects.filter(pk=one.pk, summary_on=one.summary_on).update(summary_on=today):
                title = messages.summary_title(list(open_alarms()))
                Notification.objects.create(
                    recipient=one, to=one.name, kind=Kind.SUMMARY, words=title, next_try_at=now, created_at=now
                )


def ask_for_test(recipient: Recipient, now: datetime) -> Notification:
    return Notification.objects.create(
        recipient=recipient, to=recipient.name, kind=Kind.TEST, severity=Severity.INFO, next_try_at=now, created_at=now
    )


# --- what may go out now -------------------------------------------------------------------------------------------


def due(now: datetime) -> list[Envelope]:
    """One message for each recipient at most, with all that waits for it: what was held back comes as a digest."""
    waiting = Notification.objects.filter(state=Notification.State.WAITING)
    if installation.displaced():
        waiting = waiting.filter(Q(kind=Kind.TEST) | Q(alarm__key=installation.ALARM))
    those = recipients.told().filter(pk__in=waiting.values("recipient_id"))
    return [envelope for one in those if (envelope := _envelope(one, waiting.filter(recipient=one), now))]


def _envelope(recipient: Recipient, waiting: QuerySet[Notification], now: datetime) -> Envelope | None:
    # Whoever has just corrected an address waits for it.
    if tests := list(waiting.filter(kind=Kind.TEST, next_try_at__lte=now).order_by("pk")[:AT_ONCE]):
        return Envelope(recipient=recipient, items=tests, waited=False)
    if waiting.filter(next_try_at__gt=now).exists():
        return None  # its last message failed, and is tried again later, with what came since
    items = list(waiting.select_related("alarm").order_by("pk")[:AT_ONCE])
    has_summary = any(one.kind == Kind.SUMMARY for one in items)
    may = items if has_summary else _allowed(recipient, items, now)
    if not may:
        return None
    waited = any(one.created_at < now - timedelta(minutes=10) for one in may if one.kind != Kind.SUMMARY)
    return Envelope(recipient=recipient, items=may, waited=waited)


def _allowed(recipient: Recipient, items: list[Notification], now: datetime) -> list[Notification]:
    quiet = is_quiet(now, recipient.quiet_from, recipient.quiet_until, recipient.time_zone)
    if quiet:
        items = [one for one in items if recipient.quiet_but_critical and one.severity >= Severity.CRITICAL]
    if not items or _sent_since(recipient, now - HOUR) >= settings.NOTIFY_PER_HOUR:
        return []
    return items if _sent_since(recipient, now - DAY) < settings.NOTIFY_PER_DAY else []


def _sent_since(recipient: Recipient, since: datetime) -> int:
    """Messages, whatever became of them: one that timed out may have arrived."""
    tried = recipient.notifications.filter(tried_at__gt=since).exclude(kind__in=(Kind.TEST, Kind.SUMMARY))
    return tried.values("message").distinct().count()
