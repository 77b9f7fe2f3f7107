"""A run settles its orders itself, several at once, on the same path as every event; it waits for a side in need."""

import logging
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from threading import Barrier
from typing import TypeVar

from django.conf import settings
from django.db import connections

from sync.clients import breaker, installation
from sync.clients.bridged import pings_of
from sync.clients.errors import AuthFailed, Endless, NotConfigured, SideError
from sync.clients.paging import in_parts
from sync.clients.snapshots import ShopSnapshot
from sync.jobs.engine import Failed, bridge_of
from sync.models import Attempt, Run, SideState
from sync.pipeline.claim import claim
from sync.pipeline.dry_run import DryRunResult
from sync.pipeline.process import FRESH, BatchSize, process
from sync.pipeline.retries import delay_before
from webhooks import clock
from webhooks.connections import Bridge
from webhooks.masking import masked_text
from webhooks.models import Outcome, State, WebhookEvent
from webhooks.moments import until

log = logging.getLogger("orderbridge.runs")

S = TypeVar("S")
T = TypeVar("T")
Steps = Generator[None, None, T]
"""Work that can be stopped at each step: see `sync.registry.Work`."""

THREADS = 4
"""Orders at once. Their time is spent in waiting for the two sides."""
POLL = 0.1
PATIENCE = 300.0
"""Seconds that a run waits for a side, or for orders that are tried again, without any of them getting on."""

EFFECTS: dict[str, str] = {
    Outcome.CREATED: "created",
    Outcome.UPDATED: "updated",
    Outcome.APPLIED: "applied",
    Outcome.REFUSED: "refused",
    Outcome.FILTERED: "filtered",
}
"""The count of each outcome; all others changed nothing."""
COUNTS = ("seen", "created", "linked", "updated", "applied", "unchanged", "refused", "filtered", "failed")
NAMED = 100
"""Failed orders that a run remembers by name."""
FINAL = (AuthFailed, NotConfigured, Endless)
"""What a run does not wait for: a person has to mend it."""
LEFT_OUT = "left_out"
"""In checkpoint and counts: orders that a side can not show, by name and by number."""
NOT_BEFORE = "not_before"
"""In the checkpoint of a run with a speed limit."""


@dataclass(frozen=True)
class Order:
    """An order with a waiting event, and what the shop's list showed of it."""

    side: str
    ref: str
    seen: ShopSnapshot | None = None
    seen_at: float = field(default_factory=time.monotonic)


@dataclass(frozen=True, kw_only=True)
class Page:
    """Orders that were looked at, and of those on which something is to be done the events and what was seen of it."""

    seen: int
    events: Sequence[int]
    orders: Sequence[Order]
    filtered: int = 0
    "Of the others, those that the bridge's rule leaves out."


@contextmanager
def thread_pool() -> Iterator[ThreadPoolExecutor]:
    """Threads that call the two sides. Each closes its database connection when the work is over."""
    with ThreadPoolExecutor(THREADS, thread_name_prefix="settling") as pool:
        try:
            yield pool
        finally:
            barrier = Barrier(THREADS)  # so that each of the threads gets one
            for _ in range(THREADS):
                pool.submit(_leave, barrier)


def _leave(barrier: Barrier) -> None:
    barrier.wait()
    connections.close_all()


def process_orders(run: Run, orders: Iterable[Order]) -> Steps[None]:
    """Try each order once, in batches, as fast as the sides and the speed limit of the run allow."""
    bridge = bridge_of(run)
    waiting, sides, limiter, size = deque(orders), SidesCheck(bridge), RateLimiter(run), BatchSize()
    while waiting:
        if limiter.allows() and sides.is_open():
            limiter.went()
            most = 1 if run.per_minute else size.orders
            _process(bridge, [waiting.popleft() for _ in range(min(most, len(waiting)))], size)
        else:
            time.sleep(POLL)
        yield


def _process(bridge: Bridge, orders: Sequence[Order], size: BatchSize) -> None:
    began = time.monotonic()
    claims = claim([(order.side, order.ref) for order in orders], bridge=bridge)
    shown = {(order.side, order.ref): order for order in orders}
    for one in claims:
        order = shown[one.side, one.order_ref]
        if order.seen and began - order.seen_at < FRESH:  # behind a speed limit, a page may be an hour old
            one.seen, one.read_at = order.seen, order.seen_at
    process(claims)
    size.learn(len(orders), time.monotonic() - began)


def process_page(run: Run, counters: "Counters", page: "Page", **checkpoint: object) -> Steps[None]:
    """Settle what is to be done on a page; then its counts, and where the next one begins, are saved together."""
    counters.counts["seen"] += page.seen
    counters.counts["unchanged"] += page.seen - len(page.events) - page.filtered
    counters.counts["filtered"] += page.filtered
    counters.add(page.events)
    yield from process_orders(run, page.orders)
    counters.count()
    counters.save(run, **checkpoint)
    yield


def dry_run_page(
    run: Run,
    pool: ThreadPoolExecutor,
    counters: "Counters",
    seen: int,
    asked: Sequence[Callable[[], DryRunResult]],
    filtered: int = 0,
) -> Steps[None]:
    """The same in a dry run: nothing is written, and so there is no place to go on from."""
    counters.counts["seen"] += seen
    counters.counts["unchanged"] += seen - len(asked) - filtered
    counters.counts["filtered"] += filtered
    for one in (yield from in_parallel(bridge_of(run), pool, lambda look: look(), asked)):
        counters.tried(one)
    counters.save(run)
    yield


def process_rest(run: Run, events: Sequence[int]) -> Steps[None]:
    """Until none of the events waits for another try. What does not get on is left to the workers."""
    rest = WebhookEvent.objects.filter(pk__in=events).unfinished()
    left, until = len(events), time.monotonic() + PATIENCE
    while (now_left := rest.count()) and time.monotonic() < until:
        if now_left < left:
            left, until = now_left, time.monotonic() + PATIENCE
        due = rest.filter(next_attempt_at__lte=clock.now()).values_list("side", "order_ref")
        yield from process_orders(run, [Order(side, ref) for side, ref in due])
        time.sleep(POLL)
        yield


def with_retries(bridge: Bridge, read: Callable[[], T], *, side: str = "", patience: float | None = None) -> Steps[T]:
    """The answer of a read of the bridge's sides, also if one must be waited for. Its errors count as those of any
    other call.

    `side`: only that one need be well; `patience`: seconds, by default PATIENCE.
    """
    patience = PATIENCE if patience is None else patience
    sides, attempt, until = SidesCheck(bridge, side, patience), 0, time.monotonic() + patience
    while True:
        if sides.is_open():
            attempt += 1
            try:
                return read()
            except SideError as error:
                if not error.again or isinstance(error, FINAL) or time.monotonic() > until:
                    raise
                breaker.record_failure(error, clock.now(), bridge.slug_of(error.side))
                again_at = time.monotonic() + _delay(attempt, error)
                while time.monotonic() < again_at:
                    time.sleep(POLL)
                    yield
        else:
            time.sleep(POLL)
            yield


def in_parallel(bridge: Bridge, pool: ThreadPoolExecutor, read: Callable[[S], T], items: Sequence[S]) -> Steps[list[T]]:
    """The answers of many reads, a few at once; each few is read again if a side must be waited for. The run may be
    stopped between them: whoever has to get on, however slow a side is, reads only a few, and keeps them."""
    answers: list[T] = []
    for number, some in enumerate(in_parts(items, THREADS)):
        if number:
            yield
        answers += yield from with_retries(bridge, lambda some=some: list(pool.map(read, some)))  # type: ignore[misc]
    return answers


def _delay(attempt: int, error: SideError) -> float:
    if error.after is not None:
        return 0.0  # the gate is closed for so long
    longest = min(30.0, settings.RETRY_MAX_SECONDS)
    return delay_before(attempt=attempt, base=settings.RETRY_BASE_SECONDS, longest=longest).total_seconds()


class SidesCheck:
    """Whether both sides may be called, or the one that is named. Raises Failed when that takes too long."""

    def __init__(self, bridge: Bridge, side: str = "", patience: float | None = None) -> None:
        self.pings = pings_of(bridge)
        self.only = bridge.slug_of(side) if side else ""
        self.patience = PATIENCE if patience is None else patience
        self.until: float | None = None

    def is_open(self) -> bool:
        if breaker.allows_calls(clock.now(), self.pings, only=self.only):
            self.until = None
            return True
        self.until = self.until or time.monotonic() + self.patience
        if time.monotonic() > self.until:
            why = _why_closed([self.only] if self.only else [*self.pings])
            raise Failed(f"{why} Then start the run again: it goes on where it was.")
        return False


def _why_closed(names: Sequence[str]) -> str:
    if words := installation.displaced():
        return f"{words} {installation.ADVICE}"
    for side in SideState.objects.filter(name__in=names).order_by("name"):
        if side.paused:
            return f"The {side.name} is paused by staff: let it go on under /admin/sync/sidestate/."
        if side.wait_until and side.wait_until > clock.now():
            return f"The {side.name} asked us to wait until {until(side.wait_until, clock.now())}: {side.last_error}"
        if side.opened_at:
            return f"The {side.name} is out of order since {side.opened_at:%H:%M:%S} UTC: {side.last_error}"
    return "The two sides were out of order for too long."


class RateLimiter:
    """The speed limit of a run. When the next one may go stands in its checkpoint, by the clock on the wall: it
    outlives the page, the stretch and the process."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.pause = 60 / run.per_minute if run.per_minute else 0.0

    def allows(self) -> bool:
        left = self.run.checkpoint.get(NOT_BEFORE, 0.0) - time.time()
        return not 0 < left <= self.pause  # a clock that was put back stops nothing

    def went(self) -> None:
        if self.pause:
            self.run.checkpoint = {**self.run.checkpoint, NOT_BEFORE: time.time() + self.pause}


def space_out(run: Run, events: Iterable[WebhookEvent]) -> None:
    """Due one after the other, as the speed limit of the run allows: the workers settle what is due, too."""
    if run.per_minute:
        now, pause = clock.now(), timedelta(minutes=1) / run.per_minute
        for number, event in enumerate(events):
            event.next_attempt_at = now + number * pause


# --- what came of it -----------------------------------------------------------------------------------------------


@dataclass
class Counters:
    """What became of the events of a run: each is counted once, when it is finished."""

    counts: dict[str, int]
    open: list[int] = field(default_factory=list)
    "Events that are not finished yet."
    failed: list[int] = field(default_factory=list)
    "Events that need a person; the first of them."

    @classmethod
    def of(cls, run: Run) -> "Counters":
        counts = {name: int(run.counts.get(name, 0)) for name in COUNTS}
        return cls(counts, list(run.checkpoint.get("open", [])), list(run.checkpoint.get("failed", [])))

    def add(self, events: Iterable[int]) -> None:
        self.open = [*self.open, *events]

    def count(self, *, to_the_end: bool = False) -> None:
        """Count what is finished. `to_the_end`: what is still open by now has failed."""
        still_open = []
        found = WebhookEvent.objects.filter(pk__in=self.open).values_list("pk", "state", "outcome", "next_attempt_at")
        rows = list(found.order_by("pk"))
        linked = _found_in_crm([pk for pk, _, outcome, _ in rows if outcome == Outcome.CREATED])
        for pk, state, outcome, due in rows:
            if due is not None and not to_the_end:
                still_open.append(pk)
            elif state == State.DONE:
                self.counts["linked" if pk in linked else EFFECTS.get(outcome, "unchanged")] += 1
            else:
                self.counts["failed"] += 1
                self.failed = [*self.failed, pk][:NAMED]
        self.open = still_open

    def tried(self, one: DryRunResult) -> None:
        """Count what would happen to an order in a dry run. That a side lags is not waited for."""
        if one.kind in ("person", "failed"):
            self.counts["failed"] += 1
        elif one.outcome == Outcome.CREATED and any(reason.code == "found" for reason in one.reasons):
            self.counts["linked"] += 1
        else:
            self.counts[EFFECTS.get(one.outcome, "unchanged")] += 1

    def save(self, run: Run, **checkpoint: object) -> None:
        """Counts and place together, so that a page that is done again is not counted twice."""
        run.counts = {**self.counts, **{name: n for name, n in run.counts.items() if name == LEFT_OUT}}
        kept = {name: value for name, value in run.checkpoint.items() if name in (NOT_BEFORE, LEFT_OUT)}
        run.checkpoint = {**checkpoint, **kept, "open": self.open, "failed": self.failed}


def _found_in_crm(events: Sequence[int]) -> set[int]:
    """Of the events that linked an order, those that found it in the CRM instead of creating it."""
    tries = Attempt.objects.filter(event__in=events, result=Outcome.CREATED).values_list("event", "reasons")
    return {event for event, reasons in tries if any(code == "found" for code, _ in reasons)}


def leave_out(run: Run, named: Sequence[str]) -> None:
    """Count orders that a side could not show, and keep the first of them by name."""
    known = run.checkpoint.get(LEFT_OUT, [])
    new = [words for words in map(masked_text, named) if words not in known]
    if new:
        run.checkpoint = {**run.checkpoint, LEFT_OUT: [*known, *new][:NAMED]}
        run.counts = {**run.counts, LEFT_OUT: run.counts.get(LEFT_OUT, 0) + len(new)}
    for words in new:
        log.warning("an order is left out", extra={"run": run.pk, "order": words})


def failures(run: Run) -> Iterator[str]:
    """The orders that failed, by name and with the reason."""
    for event in WebhookEvent.objects.filter(pk__in=run.kept.get("failed", [])).order_by("pk"):
        yield f"order {event.order_ref}: {event.reason} (/admin/webhooks/webhookevent/{event.pk}/)"
