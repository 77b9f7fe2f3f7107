"""Named ways to fail, which both sandbox servers can be told, limited by count, share, method and path."""

import random
import threading
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

FAULTS = frozenset(
    {
        "down",
        "slow",
        "403",
        "403-html",
        "422",
        "500",
        "502",
        "503-retry-after",
        "429",
        "html",
        "captcha-202",
        "bom",
        "truncated",
        "timeout-after-effect",
        "wrong-status-answer",
        "stale-reads",
        "shifting-pages",
        "ignores-batches",
        "refuses-batches",
    }
)
ONLY_METHOD = {"wrong-status-answer": "PUT", "stale-reads": "GET", "shifting-pages": "GET"}
OF_BATCHES = frozenset({"ignores-batches", "refuses-batches"})
"""Of a CRM that has no batch reads: it answers as if the parameters were not there, or with 400."""
BATCHES = frozenset({"ids", "external_ids"})


@dataclass
class Fault:
    """One fault. `times` None: until cleared. `share`: of the calls that it may hit, so many it does hit, by lot.

    `seconds`: how slow; `after`: what Retry-After says.
    """

    name: str
    times: int | None = None
    method: str | None = None
    path: str = ""
    seconds: float = 0.0
    after: float = 1.0
    share: float = 1.0

    def __post_init__(self) -> None:
        if self.name not in FAULTS:
            raise ValueError(f"Unknown fault {self.name!r}. Known: {', '.join(sorted(FAULTS))}.")
        self.method = self.method or ONLY_METHOD.get(self.name)

    def matches(self, method: str, path: str, query: Collection[str]) -> bool:
        if self.name in OF_BATCHES and BATCHES.isdisjoint(query):
            return False
        return self.times != 0 and self.method in (None, method) and path.startswith(self.path)


class Faults:
    """The faults in force; the first that matches a call is used up by one."""

    def __init__(self) -> None:
        self.rng = random.Random()
        self._lock = threading.Lock()
        self._faults: list[Fault] = []

    def add(self, name: str, times: int | None = None, **how: Any) -> Fault:
        fault = Fault(name, times, **how)
        with self._lock:
            self._faults.append(fault)
        return fault

    def clear(self) -> None:
        with self._lock:
            self._faults.clear()

    def take(self, method: str, path: str, query: Collection[str] = ()) -> Fault | None:
        with self._lock:
            for fault in self._faults:
                if fault.matches(method, path, query) and (fault.share >= 1 or self.rng.random() < fault.share):
                    if fault.times is not None:
                        fault.times -= 1
                    return fault
        return None

    def active(self) -> list[Fault]:
        with self._lock:
            return [fault for fault in self._faults if fault.times != 0]
