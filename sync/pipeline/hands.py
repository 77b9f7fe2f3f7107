"""More hands while the two sides are slow: threads that settle other orders until nothing is due."""

import time
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event
from types import TracebackType

from django.conf import settings
from django.db import connections

from sync.pipeline import worker
from sync.queue import shutdown

SLOW = 0.1
"""Seconds of one order above which its time is spent in waiting, so that others may be served meanwhile."""


class Hands:
    """The worker's own, and those of threads that join in as long as an order takes long.

    With sides that answer at once nobody joins in: threads would only take the processor from each other, and each
    costs a connection to the database.
    """

    def __init__(self) -> None:
        self.over = Event()
        self.pool: ThreadPoolExecutor | None = None
        self.flying: list[Future[None]] = []

    def __enter__(self) -> "Hands":
        return self

    def work_once(self) -> bool:
        """As `worker.work_once`, which this thread does itself; then the others are called if that took long."""
        started = time.monotonic()
        worked = worker.work_once()
        if worked and time.monotonic() - started > SLOW:
            self._join_in()
        return worked

    def _join_in(self) -> None:
        others = settings.QUEUE_THREADS - 1
        if others > 0 and self.pool is None:
            self.pool = ThreadPoolExecutor(others, thread_name_prefix="hands")
        self._look_after([one for one in self.flying if one.done()])
        while self.pool and len(self.flying) < others:
            self.flying.append(self.pool.submit(self._work))

    def _look_after(self, finished: list[Future[None]]) -> None:
        """What went wrong there goes wrong here."""
        self.flying = [one for one in self.flying if one not in finished]
        for one in finished:
            one.result()

    def _work(self) -> None:
        try:
            while not (self.over.is_set() or shutdown.asked.is_set()) and worker.work_once():
                pass
        finally:
            connections.close_all()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Each finishes the order that it has in hand."""
        self.over.set()
        if self.pool:
            self.pool.shutdown()
        if error is None:
            self._look_after(self.flying)
