"""How long deliveries took, as a histogram of all web processes together.

A process only counts, and adds what it counted to the table once in ten seconds: after a delivery was answered, so that
nobody waits for it, or when its /metrics is asked.
"""

import bisect
import logging
import threading
import time
from collections import Counter

from django.db import Error, connection, transaction

from webhooks.models import DeliveryDuration

log = logging.getLogger("orderbridge.deliveries")

BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper ends of the buckets, in seconds. What took longer is in one more."""
FLUSH_SECONDS = 10.0

Bucket = tuple[str, str, int]
"""Source, connection, and the number of the bucket."""


class Durations:
    """Those of this process that are not in the table yet."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[Bucket] = Counter()
        self._seconds: Counter[Bucket] = Counter()
        self._flushed_at = time.monotonic()

    def add(self, source: str, connection: str, seconds: float) -> bool:
        """True: it is time to `flush`."""
        bucket = source, connection, bisect.bisect_left(BOUNDS, seconds)
        with self._lock:
            self._counts[bucket] += 1
            self._seconds[bucket] += seconds  # type: ignore[assignment]  # a Counter of floats
            return time.monotonic() - self._flushed_at > FLUSH_SECONDS

    def flush(self) -> None:
        """A database that is away gets them the next time."""
        with self._lock:
            counts, self._counts = self._counts, Counter()
            seconds, self._seconds = self._seconds, Counter()
            self._flushed_at = time.monotonic()
        if not counts:
            return
        try:
            with transaction.atomic():
                _save(counts, seconds)
        except Error:
            log.warning("durations could not be counted; they will be with the next", exc_info=True)
            with self._lock:
                self._counts.update(counts)
                self._seconds.update(seconds)

    def forget(self) -> None:
        """As a fresh process."""
        self.__init__()  # type: ignore[misc]


durations = Durations()


def _save(counts: Counter[Bucket], seconds: Counter[Bucket]) -> None:
    """In the order of their keys: else two processes could wait for each other."""
    with connection.cursor() as cursor:
        for bucket in sorted(counts):
            cursor.execute(
                "INSERT INTO webhooks_deliveryduration AS known (source, connection, bucket, count, seconds) "
                "VALUES (%s, %s, %s, %s, %s) ON CONFLICT (source, connection, bucket) DO UPDATE "
                "SET count = known.count + excluded.count, seconds = known.seconds + excluded.seconds",
                [*bucket, counts[bucket], seconds[bucket]],
            )


Histogram = tuple[list[tuple[str, float]], float]
"""Each upper end with how many were not above it, as Prometheus counts; and the sum of the seconds."""


def histograms() -> dict[tuple[str, str], Histogram]:
    """By source and connection."""
    found: dict[tuple[str, str], dict[int, tuple[int, float]]] = {}
    for row in DeliveryDuration.objects.all():
        found.setdefault((row.source, row.connection), {})[row.bucket] = row.count, row.seconds
    return {key: _cumulated(buckets) for key, buckets in found.items()}


def _cumulated(buckets: dict[int, tuple[int, float]]) -> Histogram:
    total, rows = 0, []
    for number, end in enumerate((*map(str, BOUNDS), "+Inf")):
        total += buckets.get(number, (0, 0.0))[0]
        rows.append((end, float(total)))
    return rows, sum(seconds for _, seconds in buckets.values())
