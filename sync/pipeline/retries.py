"""When to try again. Pure: the class of the error speaks, not its text."""

import random
from datetime import timedelta

from sync.clients.errors import SideError

READ_AGAIN_FOR = timedelta(seconds=60)
"""How long a CRM may lag behind its own webhook before what was read counts (CONTRACT section 5)."""


def delay_before(
    *,
    attempt: int,
    error: SideError | None = None,
    base: float = 5.0,
    longest: float = 21600.0,
    rng: random.Random | None = None,
) -> timedelta:
    """The wait before the next try, after `attempt` failed ones: exponential with full jitter.

    If the side said how long to wait, that is the wait. Source: "Exponential Backoff And Jitter", AWS, 2015.
    """
    if error is not None and error.after is not None:
        return timedelta(seconds=error.after)
    ceiling = min(longest, base * 2 ** min(max(attempt - 1, 0), 40))
    return timedelta(seconds=(rng or random.Random()).uniform(0, ceiling))


def delay_before_reading_again(waited: timedelta) -> timedelta:
    """The wait while a side is expected to catch up: half of what we have waited, from 0.5 s to 15 s."""
    return min(max(waited / 2, timedelta(seconds=0.5)), timedelta(seconds=15))
