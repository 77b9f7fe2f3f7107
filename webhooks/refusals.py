"""Deliveries that were not let in: each is counted, and the first of many are kept for a look.

Anybody can send what is refused. Were each a transaction on one row, whoever sends much would keep deliveries out:
SQLite has one writer. So a process writes a few at once and only counts the others, which are written with the next, or
within a second.
"""

import logging
import threading
import time
from collections import Counter

from django.db import Error, connection, transaction

log = logging.getLogger("orderbridge.deliveries")

BURST = 60
"""So many are written as they come, each with its row."""
A_SECOND = 5.0
"""And so many each second from then on."""
FLUSH_SECONDS = 1.0


Refused = tuple[str, str, str]
"""Source, reason, and the connection at which it came."""


class Refusals:
    """Those of this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._unwritten: Counter[Refused] = Counter()
        self._budget, self._filled_at = float(BURST), time.monotonic()
        self._timer: threading.Timer | None = None

    def add(self, refused: Refused) -> Counter[Refused]:
        """Empty: it will be counted later. If not: what is to be written now."""
        with self._lock:
            self._unwritten[refused] += 1
            now = time.monotonic()
            self._budget = min(BURST, self._budget + (now - self._filled_at) * A_SECOND)
            self._filled_at = now
            if self._budget >= 1:
                self._budget -= 1
                return self._take()
            self._wait()
            return Counter()

    def put_back(self, counts: Counter[Refused]) -> None:
        """The database was away. They are written with the next refusal: a process that ends must not wait for that."""
        with self._lock:
            self._unwritten += counts

    def flush(self) -> None:
        with self._lock:
            counts = self._take()
        if counts:
            try:
                with transaction.atomic():
                    count(counts)
            except Error:
                log.warning("refusals could not be counted; they will be with the next", exc_info=True)
                self.put_back(counts)

    def forget(self) -> None:
        """As a fresh process."""
        with self._lock:
            if self._timer:
                self._timer.cancel()
                self._timer = None
            self._take()
            self._budget = BURST

    def _take(self) -> Counter[Refused]:
        counts, self._unwritten = self._unwritten, Counter()
        return counts

    def _wait(self) -> None:
        """A process that ends waits for it: no daemon."""
        if self._timer is None or not self._timer.is_alive():
            self._timer = threading.Timer(FLUSH_SECONDS, self._on_time)
            self._timer.start()

    def _on_time(self) -> None:
        with self._lock:
            self._timer = None
        self.flush()
        connection.close()  # that of this thread


refusals = Refusals()


def count(counts: Counter[Refused]) -> None:
    """In the order of their keys: else two processes could wait for each other."""
    with connection.cursor() as cursor:
        for refused, number in sorted(counts.items()):
            cursor.execute(
                "INSERT INTO webhooks_refusalcount AS known (source, reason, connection, count) "
                "VALUES (%s, %s, %s, %s) "
                "ON CONFLICT (source, reason, connection) DO UPDATE SET count = known.count + excluded.count",
                [*refused, number],
            )
