"""Deliveries that wait for their time and go out one after another, or from several threads at once."""

import heapq
import itertools
import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import requests

Sending = Callable[[], float | None]
"""Sends something; the answer is the seconds after which to try again, or None when it is settled."""


@dataclass
class Network:
    """How deliveries get lost, doubled and overtaken: shares from 0 to 1. The same seed, the same fate."""

    lose: float = 0.0
    double: float = 0.0
    delay: float = 0.0
    longest: float = 1.0
    "Seconds that a delayed one takes at most; those sent after it overtake it."
    rng: random.Random = field(default_factory=random.Random)

    def delays(self) -> list[float]:
        """One for each copy that arrives."""
        if self.rng.random() < self.lose:
            return []
        copies = 2 if self.rng.random() < self.double else 1
        return [self._delay() for _ in range(copies)]

    def _delay(self) -> float:
        return self.rng.uniform(0, self.longest) if self.rng.random() < self.delay else 0.0


class Outbox:
    """A queue with due times, in order of arrival. WooCommerce has one sender (FACTS I); more of them are quicker."""

    def __init__(self, name: str, senders: int = 1) -> None:
        self._name = name
        self._senders = senders
        self._condition = threading.Condition()
        self._heap: list[tuple[float, int, Sending]] = []
        self._numbers = itertools.count()
        self._sending = 0
        self._stopped = True

    def start(self) -> None:
        self._stopped = False
        for _ in range(self._senders):
            threading.Thread(target=self._run, name=self._name, daemon=True).start()

    def stop(self) -> None:
        with self._condition:
            self._stopped = True
            self._condition.notify_all()

    def put(self, job: Sending, delay: float = 0.0) -> None:
        with self._condition:
            heapq.heappush(self._heap, (time.monotonic() + delay, next(self._numbers), job))
            self._condition.notify_all()

    def settle(self, timeout: float) -> None:
        """Wait until everything is delivered or given up; raises TimeoutError."""
        with self._condition:
            if not self._condition.wait_for(lambda: not self._heap and not self._sending, timeout):
                raise TimeoutError(f"{self._name}: {len(self._heap)} deliveries still wait after {timeout:g} s")

    def _next(self) -> Sending | None:
        with self._condition:
            while not self._stopped:
                if self._heap and self._heap[0][0] <= time.monotonic():
                    self._sending += 1
                    return heapq.heappop(self._heap)[2]
                self._condition.wait(self._heap[0][0] - time.monotonic() if self._heap else None)
        return None

    def _run(self) -> None:
        while (job := self._next()) is not None:
            again: float | None = None
            try:
                again = job()
            finally:
                if again is not None:
                    self.put(job, again)
                with self._condition:
                    self._sending -= 1
                    self._condition.notify_all()


def post(url: str, body: bytes, headers: Mapping[str, str], timeout: float) -> int:
    """The status that it was answered with; 0: not at all."""
    with requests.Session() as session:
        session.trust_env = False
        try:
            return session.post(url, data=body, headers=headers, timeout=timeout, allow_redirects=False).status_code
        except requests.RequestException:
            return 0
