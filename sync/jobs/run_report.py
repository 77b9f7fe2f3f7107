"""What a run tells of itself: how far it is, how fast, how long it will take, and what came of it."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sync.jobs import engine
from sync.jobs.processing import NAMED
from sync.models import Run
from sync.registry import JOBS
from webhooks import clock
from webhooks.masking import masked_text
from webhooks.models import Outcome, State, WebhookEvent

FIRST_SECONDS = 2.0
"""So early a rate says nothing."""

NAMES = {
    "seen": "Seen",
    **dict(Outcome.choices),
    "linked": "Found in the CRM and linked",
    "unchanged": "Unchanged",
    "failed": "Failed",
    "left_out": "Left out",
    State.PARKED: "Parked",
    State.DEAD: "Dead",
    "unreadable": "Not replayed: names no order",
    "forced": "Not replayed: a staff action",
    "barred": "Not replayed: does more than who started it may",
    "again": "Still being tried again",
    "settled": "Left alone: settled since the start",
    "skipped": "Skipped: a worker had it",
}


@dataclass(frozen=True, kw_only=True)
class Failure:
    """An order that needs a person."""

    event: int
    order: str
    words: str


def seen(run: Run) -> int:
    return int(run.counts.get("seen", 0))


def percent(run: Run) -> int | None:
    """None: nobody knows how many there are."""
    if run.state == Run.State.DONE:
        return 100
    if not run.total:
        return None
    return min(99, seen(run) * 100 // run.total)


def per_minute(run: Run) -> float | None:
    """None: it has only just begun."""
    return seen(run) * 60 / run.worked if run.worked > FIRST_SECONDS and seen(run) else None


def time_left(run: Run) -> timedelta | None:
    rate = per_minute(run)
    if run.state not in (Run.State.RUNNING, Run.State.PAUSED) or not run.total or not rate:
        return None
    return timedelta(minutes=max(0, run.total - seen(run)) / rate)


def in_words(span: timedelta) -> str:
    """Good enough to decide whether to wait: `40 s`, `12 min`, `3 h 20 min`."""
    seconds = round(span.total_seconds())
    if seconds < 90:
        return f"{seconds} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min" if minutes < 48 * 60 else f"{minutes // (24 * 60)} days"


def standing(run: Run) -> str:
    """What goes on at this moment; empty: its state says it."""
    if run.state != Run.State.RUNNING:
        return ""
    if not run.holder:
        return "Waits for a worker."
    if engine.is_dead(run):
        silent = in_words(clock.now() - run.beat_at)
        return f"No sign of life from {run.holder} for {silent}: the next worker goes on where it was."
    return f"Held by {run.holder}."


def counts(run: Run) -> list[tuple[str, int]]:
    """What was done so far: how many in all, then what came of them, in the order of NAMES."""
    known = [name for name in NAMES if name in run.counts]
    names = [*known, *(name for name in run.counts if name not in NAMES)]
    return [(_name(run, name), run.counts[name]) for name in names if isinstance(run.counts[name], int)]


def _name(run: Run, name: str) -> str:
    job = JOBS.get(run.kind)
    own = job.count_names.get(name) if job else None
    return own or NAMES.get(name) or name.replace("_", " ").capitalize()


def in_short(run: Run) -> str:
    """One line for the list."""
    told = [f"{number} {name[0].lower()}{name[1:]}" for name, number in counts(run) if number]
    return ", ".join(told) or "nothing yet"


def options(run: Run) -> list[tuple[str, str]]:
    job = JOBS.get(run.kind)
    if job and job.options_in_words:
        return job.options_in_words(run)
    return [(masked_text(name.replace("_", " ")), _shown(value)) for name, value in run.options.items() if value]


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes"
    return masked_text(", ".join(map(str, value)) if isinstance(value, list) else str(value))


def found(run: Run) -> list[tuple[str, str, str]]:
    """Of a reconcile: the first finds, as side, order and topic."""
    return [(side, masked_text(order), masked_text(topic)) for side, order, topic in run.kept.get("found", [])]


def left_out(run: Run) -> list[str]:
    """The first orders that a side does not show, or not so that they can be read or compared, and why."""
    return [masked_text(words) for words in run.kept.get("left_out", [])]


def failures(run: Run) -> Iterator[Failure]:
    """The first orders that failed, with the reason."""
    return _named(run.kept.get("failed", []))


def still_tried(run: Run) -> Iterator[Failure]:
    """Of a replay that is over: what it left to the workers."""
    return _named(list(run.kept.get("open", []))[:NAMED] if run.counts.get("again") else [])


def _named(events: list[int]) -> Iterator[Failure]:
    for event in WebhookEvent.objects.filter(pk__in=events).defer("body", "headers").order_by("pk"):
        words = masked_text(event.reason) or event.get_state_display()
        yield Failure(event=event.pk, order=event.order_ref or "–", words=words)
