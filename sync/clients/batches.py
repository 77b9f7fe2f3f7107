"""Many orders by one call, for whoever can read one that is missing from the answer singly (docs/decisions/0064).

So a batch may leave out whatever is in doubt, and costs little where a side does not bear it: pages become smaller, and
one that fails at five orders is left out; a side that fails twice in a row so, or does not understand the question, is
asked one by one for an hour.
"""

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from sync.clients.paging import OF_A_PAGE

K = TypeVar("K", int, str)
T = TypeVar("T")

SIZES = (100, 50, 25, 5)
GOOD = 10
"""Pages in a row after which a bigger one is tried again."""
PAUSE = 3600.0
"""Seconds without batches."""


class NotUnderstood(Exception):
    """The answer shows that the side does not know the question."""


class Batches:
    """How one side bears one question. Threads share it: what they spoil of its counts is a page's size."""

    def __init__(self) -> None:
        self.size, self.good = SIZES[0], 0
        self.paused_until = 0.0

    def read(self, ids: Sequence[K], fetch: Callable[[Sequence[K]], list[T]], ping: Callable[[], None]) -> list[T]:
        """What `fetch` gives of these. Raises the error of the side where it is the side that fails, by `ping`."""
        found: list[T] = []
        place = failures = 0
        while place < len(ids) and time.monotonic() >= self.paused_until:
            some = ids[place : place + self.size]
            try:
                found += fetch(some)
            except NotUnderstood:
                self.paused_until = time.monotonic() + PAUSE
                return []
            except OF_A_PAGE:
                ping()
                if self._smaller(len(some)):
                    continue
                failures += 1
                if failures > 1:
                    self.paused_until = time.monotonic() + PAUSE
            else:
                failures = 0
                self._went_well()
            place += len(some)
        return found

    def _smaller(self, failed: int) -> bool:
        """False: a page of so few is left to the single reads."""
        smaller = [size for size in SIZES if size < failed]
        if smaller:
            self.size, self.good = smaller[0], 0
        return bool(smaller)

    def _went_well(self) -> None:
        self.good += 1
        bigger = [size for size in SIZES if size > self.size]
        if bigger and self.good >= GOOD:
            self.size, self.good = bigger[-1], 0


_known: dict[tuple[str, str], Batches] = {}


def of(address: str, question: str) -> Batches:
    """What this process knows of the side at that address."""
    return _known.setdefault((address, question), Batches())


def forget() -> None:
    """As a new process."""
    _known.clear()
