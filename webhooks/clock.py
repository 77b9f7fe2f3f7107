"""The database's clock: the one that all hosts share, as their own may differ by minutes (docs/decisions/0048).

What one process writes and another compares is told by it: what is due, claims, signs of life, doubts about a write.
"""

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.db import Error, connection
from django.utils import timezone

KEPT = 30.0
"""Seconds after which the database is asked again."""
AGREES = timedelta(milliseconds=50)
"""Less is no difference: SQLite tells no more than milliseconds."""
WRONG = timedelta(seconds=2)
"""A host that differs by more is told of."""
ADVICE = "Set the clocks of all hosts by NTP (`timedatectl set-ntp true`)."
JUMP = timedelta(seconds=1)
"""By so much a clock does not go wrong by itself: it was set, or the machine slept."""


@dataclass(frozen=True)
class _Asked:
    """When the database was asked, by the two clocks of this host; and by how much this host is ahead of it."""

    at: datetime
    monotonic: float
    ahead: timedelta


_last: _Asked | None = None


def now() -> datetime:
    """Of this host, less what it is ahead of the database."""
    global _last
    here, monotonic = timezone.now(), time.monotonic()
    if _last is None or not _is_good(_last, here, monotonic):
        try:
            _last = _Asked(here, monotonic, ahead())
        except Error:  # it is away, and is not asked again by each delivery meanwhile
            if _last is None:
                return here
            _last = _Asked(here, monotonic, _last.ahead)
    return here - _last.ahead


def _is_good(last: _Asked, here: datetime, monotonic: float) -> bool:
    passed = monotonic - last.monotonic
    return 0 <= passed < KEPT and abs(here - last.at - timedelta(seconds=passed)) < JUMP


def ahead() -> timedelta:
    """By how much this host's clock is ahead of the database's; asked anew, zero where they may agree: the answer is
    of any moment while the question took, and on a busy machine that is long."""
    question = "clock_timestamp()" if connection.vendor == "postgresql" else "strftime('%Y-%m-%d %H:%M:%f', 'now')"
    before = timezone.now()
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {question}")
        [there] = cursor.fetchone()
    half = (timezone.now() - before) / 2
    moment = there if isinstance(there, datetime) else datetime.fromisoformat(there).replace(tzinfo=UTC)
    difference = before + half - moment
    return difference if abs(difference) >= half + AGREES else timedelta()


def trouble() -> str:
    """In words, if this host's clock is wrong."""
    difference = ahead()
    if abs(difference) <= WRONG:
        return ""
    way = "ahead of" if difference > timedelta() else "behind"
    return (
        f"This host's clock is {abs(difference).total_seconds():.0f} s {way} the database's. Leases and retries keep "
        "to the database's, but the times of signed deliveries are judged by this one, and those in its log are wrong."
    )
