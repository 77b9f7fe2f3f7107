"""Asking again for events that were looked at, or setting them aside: by a person, or by a command."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from django.db import transaction

from sync.pipeline import internal_events, totals
from webhooks import schemas
from webhooks.models import State, WebhookEvent
from webhooks.wake import wake

LOOK = "Look at the result, then ask again if needed."
ONLY_ONCE = "A manager asked for this once, so a replay does not repeat it. Ask for it again on the order's page."


class NotNow(Exception):
    """The event does not allow it as it is now; the message says why, and what to do."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Which events are due again, and which were left alone: the busy ones are with a worker or wait for one already,
    the forced ones are staff actions, the barred ones do more than the person may, the unreadable ones name nothing
    that could be read."""

    again: list[int] = field(default_factory=list)
    busy: list[int] = field(default_factory=list)
    forced: list[int] = field(default_factory=list)
    barred: list[int] = field(default_factory=list)
    unreadable: list[int] = field(default_factory=list)


def ask_again(
    events: Iterable[int], *, by: str, may: Callable[[str], bool] = lambda permission: True, wake_up: bool = True
) -> Asked:
    """Make the events due now and wake a worker, unless the caller is one. Each has its own short transaction, so that
    nobody waits for all. `may` tells what the person may do; whoever has a shell may do everything."""
    asked = Asked()
    for pk in events:
        with _locked(pk) as event:
            if is_waiting(event):
                asked.busy.append(pk)
            elif internal_events.is_staff_action(event):
                asked.forced.append(pk)
            elif not all(map(may, also_needed(event))):
                asked.barred.append(pk)
            elif why_unreadable(event):
                asked.unreadable.append(pk)
            else:
                event.save(update_fields=schemas.READ)
                event.ask_again(trigger="replay", by=by)
                asked.again.append(pk)
    if asked.again and wake_up:
        wake()
    return asked


def replay(pk: int, *, by: str, as_seen: str = "") -> None:
    """The same for one event. `as_seen` is its `condition` when the person looked: of two who ask at once, one does."""
    with _locked(pk) as event:
        if obstacle := why_not_again(event):
            raise NotNow(obstacle)
        if as_seen and as_seen != condition(event):
            raise NotNow(f"The event has changed since you looked at it. It is now {event.get_state_display()}. {LOOK}")
        event.save(update_fields=schemas.READ)
        event.ask_again(trigger="replay", by=by)
    wake()


def retry_now(pk: int, *, by: str) -> None:
    """A retrying event is due at once. The attempts that it has used up stay counted."""
    with _locked(pk) as event:
        if event.state != State.RETRYING:
            raise NotNow(f"It does not wait for a retry: it is {event.get_state_display()}. Replay it to try it again.")
        if internal_events.is_staff_action(event):
            raise NotNow(ONLY_ONCE)
        event.retry_now(by=by)
    wake()


def cancel_retry(pk: int, *, by: str, reason: str) -> None:
    """No further try; the event waits for a person."""
    with _locked(pk) as event:
        if event.state != State.RETRYING:
            raise NotNow(
                f"It does not wait for a retry: it is {event.get_state_display()}. There is nothing to cancel."
            )
        event.park(f"Retries cancelled by {by}: {reason}")


def resolve(pk: int, *, by: str, reason: str) -> str:
    """A person saw to it in another way. The totals that are accepted by that, in words."""
    with _locked(pk) as event:
        if event.state not in (State.PARKED, State.DEAD, State.RETRYING):
            words = f"It needs nobody. It is {event.get_state_display()}."
            raise NotNow(f"{words} Only parked, dead or retrying events can be marked resolved.")
        accepted = totals.accepted_by(event)
        if accepted:
            totals.accept(accepted)
        event.resolve(f"Resolved by {by}: {reason}")
    return totals.in_words(accepted.totals) if accepted else ""


def condition(event: WebhookEvent) -> str:
    """Changes whenever anything is done to the event."""
    return f"{event.state} {(event.finished_at or event.next_attempt_at or event.received_at).isoformat()}"


def is_waiting(event: WebhookEvent) -> bool:
    return event.state in (State.PENDING, State.PROCESSING)


def also_needed(event: WebhookEvent) -> list[str]:
    """What a replay asks for beyond its own permission: its effect may be that of another button."""
    needed = []
    if event.source == internal_events.RESYNC:
        needed.append("orders.check_orderlink")
    if event.copy_of_id is not None:
        needed.append("webhooks.edit_webhookevent")
    return needed


def why_not_again(event: WebhookEvent) -> str:
    """Empty if it can be replayed; else why not, and what to do."""
    if internal_events.is_staff_action(event):
        return ONLY_ONCE
    asked = f", asked for by {event.requested_by}" if event.requested_by else ""
    match event.state:
        case State.PROCESSING:
            return f"A worker is processing it now{asked}, so it is not replayed. {LOOK}"
        case State.PENDING:
            return f"It already waits for a worker{asked}. {LOOK}"
    return why_unreadable(event)


def why_unreadable(event: WebhookEvent) -> str:
    """Both sides are read at a replay, so a body past its retention is not missed."""
    if not event.order_ref and not schemas.read_anew(event):
        return "It names no order, so there is nothing to read. Edit and replay it with an order's id, or resolve it."
    return ""


@contextmanager
def _locked(pk: int) -> Iterator[WebhookEvent]:
    """The lock (the write transaction on SQLite) keeps workers and other people away between the look and the save."""
    with transaction.atomic():
        yield WebhookEvent.objects.select_for_update().defer("body", "headers").get(pk=pk)
