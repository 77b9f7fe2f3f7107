"""The way of one event, step by step: received, stored, started, read back, decided, applied; with times and gaps."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sync.backoffice import removed
from sync.clients.http import READS
from sync.models import Attempt, Call
from webhooks.models import Outcome, State, WebhookEvent

GONE = "No longer known."
SECOND, MINUTE, HOUR, DAY = 1, 60, 3600, 86_400
UNTRIED = {
    State.PENDING: "It waits for a worker.",
    State.PROCESSING: "A worker is processing it now.",
    State.PARKED: "Never tried. It was parked on arrival.",
    State.DONE: "It was not tried on its own.",
}


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step; without a time it was not reached. `tone` is success, warning, danger, info or empty."""

    name: str
    icon: str
    words: str
    at: datetime | None = None
    gap: str = ""
    tone: str = ""


def steps(event: WebhookEvent, attempt: Attempt | None, calls: Sequence[Call]) -> list[Step]:
    """`attempt` is the last one that looked at the event, with its calls."""
    way = [_received(event), _stored(event), _started(event, attempt)]
    if attempt:
        way += [_read_back(attempt, calls), _decided(event, attempt), _applied(event, attempt, calls)]
    else:
        words = GONE if removed.is_past(event) else "Not yet."
        way += [Step(name=name, icon=icon, words=words) for name, icon in NOT_YET]
    return list(_with_gaps(way))


def attempt_for(event: WebhookEvent) -> Attempt | None:
    """Its own last attempt; of an event that was answered by the read of a later one, that one's."""
    attempts = Attempt.objects.prefetch_related("calls").order_by("-id")
    own = attempts.filter(event=event).first()
    if event.outcome != Outcome.SUPERSEDED or event.finished_at is None:
        return own
    # One worker at a time has an order, so the attempt that ended with this event is the last that had begun.
    same_order = attempts.filter(event__side=event.side, event__order_ref=event.order_ref)
    return same_order.filter(started_at__lte=event.finished_at).first() or own


def _received(event: WebhookEvent) -> Step:
    words = f"From {event.source}." if event.signed_by else f"Created here by {event.source}."
    return Step(name="Received", icon="call_received", words=words, at=event.received_at, tone="success")


def _stored(event: WebhookEvent) -> Step:
    words = "Before we answered the sender." if event.signed_by else "It was stored once."
    if event.duplicates:
        words = f"{words} It arrived {event.duplicates} more time{'s' if event.duplicates > 1 else ''}."
    at = event.stored_at or event.received_at
    return Step(name="Stored", icon="save", words=words, at=at, tone="success")


def _started(event: WebhookEvent, attempt: Attempt | None) -> Step:
    if attempt is None and removed.is_past(event):
        return Step(name="Started", icon="play_arrow", words=GONE)
    if attempt is None:
        due = event.next_attempt_at
        words = UNTRIED.get(State(event.state), "Not tried yet.")
        words = f"{words} Due at {due:%H:%M:%S}." if due and event.state != State.PROCESSING else words
        return Step(name="Started", icon="play_arrow", words=words, tone="warning" if event.is_finished else "info")
    by = f" by {attempt.actor}" if attempt.actor else ""
    together = f", together with event {attempt.event_id}" if attempt.event_id != event.pk else ""
    words = f"Trigger: {attempt.trigger}{by}{together}."
    return Step(name="Started", icon="play_arrow", words=words, at=attempt.started_at, tone="success")


def _read_back(attempt: Attempt, calls: Sequence[Call]) -> Step:
    reads = [call for call in calls if call.method in READS]
    if not reads:
        words = "The decision needed no read." if attempt.decided_at else "No read succeeded."
        return Step(name="Read back", icon="sync", words=words)
    failed = [call for call in reads if not _answered(call)]
    asked = " and ".join(dict.fromkeys(call.get_side_display() for call in reads))
    words = f"{asked}: {len(reads)} read{'s' if len(reads) > 1 else ''}, {sum(c.milliseconds for c in reads)} ms."
    if failed and attempt.decided_at is None:
        return Step(name="Read back", icon="sync", words=f"{words} {_trouble(failed[-1])}", tone="danger")
    return Step(name="Read back", icon="sync", words=words, at=max(map(_end, reads)), tone="success")


def _decided(event: WebhookEvent, attempt: Attempt) -> Step:
    if attempt.decided_at is None:
        return Step(name="Decided", icon="balance", words=f"Not reached: {attempt.result}.", tone="danger")
    outcome = Outcome(event.outcome).label if event.outcome in Outcome.values and attempt.succeeded else attempt.result
    tone = "success" if attempt.succeeded else "warning"
    return Step(name="Decided", icon="balance", words=f"{outcome}.", at=attempt.decided_at, tone=tone)


def _applied(event: WebhookEvent, attempt: Attempt, calls: Sequence[Call]) -> Step:
    ended = attempt.started_at + timedelta(milliseconds=attempt.milliseconds)
    writes = [call for call in calls if call.method not in READS]
    if writes and _answered(writes[-1]):
        verb, tone = ("Written", "success") if attempt.succeeded else ("Sent", "warning")
        words = f"{verb} to the {writes[-1].get_side_display()}; {event.get_state_display().lower()}."
        return Step(name="Applied", icon="task_alt", words=words, at=max(map(_end, writes)), tone=tone)
    if writes:
        return Step(name="Applied", icon="task_alt", words=_trouble(writes[-1]), tone="danger")
    if attempt.succeeded:
        return Step(name="Applied", icon="task_alt", words="Nothing had to be written.", at=ended, tone="success")
    if event.state == State.RETRYING and event.next_attempt_at:
        words = f"Not yet. The next attempt is at {event.next_attempt_at:%H:%M:%S}."
        return Step(name="Applied", icon="task_alt", words=words, tone="warning")
    return Step(name="Applied", icon="task_alt", words="Nothing was written. A person is needed.", tone="danger")


NOT_YET = (("Read back", "sync"), ("Decided", "balance"), ("Applied", "task_alt"))


def _answered(call: Call) -> bool:
    # A 404 is an answer, too: that side does not know the order.
    return call.status is not None and (call.status < 400 or call.status == 404)


def _trouble(call: Call) -> str:
    return f"The {call.get_side_display()} answered {call.status}." if call.status else "There was no answer."


def _end(call: Call) -> datetime:
    return call.at + timedelta(milliseconds=call.milliseconds)


def _with_gaps(way: Iterable[Step]) -> Iterator[Step]:
    """Each with the time since the last one that was reached."""
    last: datetime | None = None
    for step in way:
        if step.at and last:
            step = Step(**{**vars(step), "gap": f"+{span(step.at - last)}"})
        last = step.at or last
        yield step


def span(time: timedelta) -> str:
    """For the eye: milliseconds up to a second, then the two units that count."""
    seconds = max(time.total_seconds(), 0.0)
    if seconds < SECOND:
        return f"{seconds * 1000:.0f} ms"
    if seconds < MINUTE:
        return f"{seconds:.1f} s"
    if seconds < HOUR:
        return f"{seconds // MINUTE:.0f} min {seconds % MINUTE:.0f} s"
    if seconds < DAY:
        return f"{seconds // HOUR:.0f} h {seconds % HOUR // MINUTE:.0f} min"
    return f"{seconds // DAY:.0f} d {seconds % DAY // HOUR:.0f} h"
