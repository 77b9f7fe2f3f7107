"""Ids of a CRM's own records (currencies, taxes, companies), kept for a while by this process and by connection."""

import time
from collections.abc import Callable
from typing import Any, Self, TypeVar

from sync.clients.crm.base import Access
from sync.clients.errors import Rejected

T = TypeVar("T")

KEPT = 600.0
"""Seconds for which they are believed. One that is missing is asked for anew at once."""


class Cache:
    def __init__(self) -> None:
        self._kept: dict[str, tuple[float, Any]] = {}

    @classmethod
    def of(cls, access: Access) -> Self:
        """That of this connection, as long as it leads to the same account."""
        return _known.setdefault((access.slug, tuple(sorted(access.values.items()))), cls())  # type: ignore[return-value]

    def get(self, name: str, read: Callable[[], T]) -> T:
        until, value = self._kept.get(name, (0.0, None))
        if time.monotonic() >= until:
            value = read()
            self._kept[name] = time.monotonic() + KEPT, value
        found: T = value
        return found

    def anew(self, call: Callable[[], T]) -> T:
        """A write for which remembered ids are used. Some of them may be gone by now: whoever is refused tries once
        more, without them. What the CRM refuses it has not made."""
        is_fresh = not self._kept
        try:
            return call()
        except Rejected:
            if is_fresh:
                raise
        self.forget_all()
        return call()

    def forget(self, name: str) -> None:
        self._kept.pop(name, None)

    def forget_all(self) -> None:
        self._kept.clear()


_known: dict[tuple[str, tuple[tuple[str, str], ...]], Cache] = {}


def forget_all() -> None:
    """As a new process."""
    _known.clear()
