"""The orders that go together, several of whose calls are made at once."""

import contextvars
import functools
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from typing import TypeVar

from django.conf import settings

from sync.clients import breaker
from sync.clients.bridged import pings_of
from sync.clients.errors import Maintenance, NotConfigured, RateLimited, SideError
from sync.clients.http import current_event
from sync.pipeline import leases
from sync.pipeline.claim import Claim
from sync.pipeline.leases import LeaseLost
from webhooks import clock
from webhooks.connections import default_bridge
from webhooks.models import Side

T = TypeVar("T")

WELL = 1.0
"""Seconds for which a good answer to a cheap read is believed; a bad one is, to the end of the batch."""
HAND_ON = 0.1
"""Seconds after the first of them that finished orders are handed on, and leases looked after. They are recorded while
the next calls are under way, and so without a time of their own."""


class NotBegun(Exception):
    """A side went away before this order had its turn: it is given back as if it had not been taken."""


class Batch:
    """The claims that are not recorded yet, and what was found out about the two sides meanwhile."""

    def __init__(self, claims: Sequence[Claim]) -> None:
        self.open = list(claims)
        self.bridge = claims[0].bridge if claims else default_bridge()
        "That of all of them."
        self.trouble: SideError | None = None
        "A side is away, or asks us to wait: nothing more is begun."
        self.away: set[str] = set()
        "The sides that this was."
        self._is_well: dict[str, tuple[bool, float]] = {}
        "What a cheap read told, and until when that is believed."

    def close(self, claim: Claim) -> None:
        """It is recorded, and its lease given back."""
        if claim in self.open:
            self.open.remove(claim)

    def keep_leases(self) -> None:
        """Renew those that are not young any more; one that was lost is noticed when its order is recorded."""
        old = [claim.lease for claim in self.open if claim.lease.is_old]
        try:
            leases.renew(old)
        except LeaseLost:
            for lease in old:
                with suppress(LeaseLost):
                    leases.renew([lease])

    def is_about_the_order(self, error: SideError) -> bool:
        """Whatever a call about an order ended with, read or write: a side that answers a cheap read is not away."""
        if error.about_order is not None:
            return error.about_order
        if not error.outage or error.side not in Side.values or isinstance(error, NotConfigured | Maintenance):
            return False
        return self.is_well(error.side)

    def is_well(self, side: str) -> bool:
        """Whether its connection answers a cheap read. Of many orders that fail at about the same time, one asks."""
        name = self.bridge.slug_of(side)
        well, until = self._is_well.get(side, (True, 0.0))
        if well and time.monotonic() >= until:
            self.keep_leases()
            try:
                pings_of(self.bridge)[name]()
            except SideError:
                self._is_well[side] = False, 0.0
            else:
                self._is_well[side] = True, time.monotonic() + WELL
                breaker.record_success([name], clock.now())
        return self._is_well[side][0]

    def note(self, error: object) -> None:
        """Whether this failure means that what is not begun yet had better wait."""
        if isinstance(error, SideError) and (
            isinstance(error, RateLimited) or (error.outage and not self.is_about_the_order(error))
        ):
            self.trouble = error
            self.away.add(error.side)

    def record_failure(self, error: SideError) -> bool:
        """Of the bridge's connection on that side. True: its breaker is open, so no order is to blame."""
        return breaker.record_failure(error, clock.now(), self.bridge.slug_of(error.side))

    def each(
        self,
        work: Callable[[Claim], T],
        claims: Sequence[Claim],
        may_begin: Callable[[Claim, int], bool] = lambda claim, place: True,
    ) -> Iterator[list[tuple[Claim, T | Exception]]]:
        """Call the sides for each, several at once, and hand on what came of it, some at a time.

        `may_begin` gets a claim and its place, just before its turn. Who may not, and who has had no turn when a side
        goes away, is left out. One alone is served by this thread. The others call and nothing else: this one renews
        the leases, and has the only connection to the database.
        """
        finished: list[tuple[Claim, T | Exception]] = []
        handed_on = time.monotonic()
        for one in self._outcomes(work, claims, may_begin):
            if one is not None:
                handed_on = handed_on if finished else time.monotonic()
                finished.append(one)
            if time.monotonic() - handed_on >= HAND_ON:
                self.keep_leases()
                yield finished
                finished, handed_on = [], time.monotonic()
        yield finished

    def _outcomes(
        self, work: Callable[[Claim], T], claims: Sequence[Claim], may_begin: Callable[[Claim, int], bool]
    ) -> Iterator[tuple[Claim, T | Exception] | None]:
        """As they come in, when the next calls have begun; None, now and then, while they do not."""
        threads = min(settings.QUEUE_THREADS, len(claims))
        waiting = deque(enumerate(claims))
        flying = dict[Future[T | Exception], Claim]()
        answered: list[tuple[Claim, T | Exception]] = []
        while waiting or flying or answered:
            while waiting and len(flying) < threads:
                place, claim = waiting.popleft()
                if self.trouble or not may_begin(claim, place):
                    continue
                if claim.lease.is_old:
                    self.keep_leases()
                if threads == 1:
                    outcome = _outcome(work, claim)
                    self.note(outcome)
                    yield claim, outcome
                else:
                    pool = _pool(os.getpid(), settings.QUEUE_THREADS)
                    flying[pool.submit(contextvars.copy_context().run, _outcome, work, claim)] = claim
            yield from answered
            answered = []
            if flying:
                done, _ = wait(flying, timeout=HAND_ON, return_when=FIRST_COMPLETED)
                answered = [(flying.pop(one), one.result()) for one in done]
                for _, outcome in answered:
                    self.note(outcome)
                if not done:
                    yield None


def _outcome(work: Callable[[Claim], T], claim: Claim) -> T | Exception:
    """What it returned, or what it raised. A process that is to die does so."""
    token = current_event.set(claim.newest.pk)
    try:
        return work(claim)
    except Exception as error:
        return error
    finally:
        current_event.reset(token)


@functools.lru_cache(maxsize=1)
def _pool(pid: int, threads: int) -> ThreadPoolExecutor:
    """One for the process, so that its connections to the two sides are kept; a forked worker makes its own."""
    return ThreadPoolExecutor(threads, thread_name_prefix="calls")
