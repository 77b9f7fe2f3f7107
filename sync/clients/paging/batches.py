"""Many orders by one call, for whoever can read one that is missing from the answer singly (docs/decisions/0064).

So a batch may leave out whatever is in doubt, and costs little where a side does not bear it: pages become smaller, and
one that fails at five orders is left out; a side that fails twice in a row so, or does not understand the question, is
asked one by one for an hour.
"""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TypeVar

from sync.clients.paging import OF_A_PAGE, PageSize
from sync.clients.snapshots import CrmSnapshot

K = TypeVar("K", int, str)
T = TypeVar("T")

LEAST = 5
"""Orders on a page that is not made smaller."""
PAUSE = 3600.0
"""Seconds without batches."""


class NotUnderstood(Exception):
    """The answer shows that the side does not know the question."""


class Batches:
    """How one side bears one question. Threads share it: what they spoil of its counts is a page's size."""

    def __init__(self) -> None:
        self.size = PageSize(least=LEAST)
        self.paused_until = 0.0

    def read(self, ids: Sequence[K], fetch: Callable[[Sequence[K]], list[T]], ping: Callable[[], None]) -> list[T]:
        """What `fetch` gives of these. Raises the error of the side where it is the side that fails, by `ping`."""
        found: list[T] = []
        place = failures = 0
        while place < len(ids) and time.monotonic() >= self.paused_until:
            self.size.grow()
            some = ids[place : place + self.size.now]
            try:
                found += fetch(some)
            except NotUnderstood:
                self.paused_until = time.monotonic() + PAUSE
                return []
            except OF_A_PAGE:
                ping()
                if self.size.shrink(len(some)):
                    continue
                failures += 1
                if failures > 1:
                    self.paused_until = time.monotonic() + PAUSE
            else:
                failures = 0
                self.size.went_well()
            place += len(some)
        return found


_known: dict[tuple[str, str], Batches] = {}


def of(address: str, question: str) -> Batches:
    """What this process knows of the side at that address."""
    return _known.setdefault((address, question), Batches())


def forget() -> None:
    """As a new process."""
    _known.clear()


def by_name(names: Sequence[str], found: Sequence[CrmSnapshot]) -> dict[str, CrmSnapshot | None]:
    """Those that are there once; None for those that are not, if the answer shows any order at all: as `find_many`."""
    times = Counter(one.external_id for one in found)
    once = {one.external_id: one for one in found if one.external_id and times[one.external_id] == 1}
    absent = dict.fromkeys(name for name in names if name not in times) if found else {}
    return {**absent, **once}
