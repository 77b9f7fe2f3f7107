"""When an event is tried again."""

import random
from datetime import timedelta

import pytest

from sync.clients.errors import RateLimited, ServerTrouble
from sync.pipeline.retries import delay_before, delay_before_reading_again


def test_a_side_that_says_how_long_is_obeyed() -> None:
    assert delay_before(attempt=3, error=RateLimited("slow", after=20)) == timedelta(seconds=20)


@pytest.mark.parametrize(("attempt", "ceiling"), [(1, 5), (2, 10), (3, 20), (20, 21600), (10_000, 21600)])
def test_backoff_is_exponential_with_full_jitter(attempt: int, ceiling: int) -> None:
    waits = [delay_before(attempt=attempt, error=ServerTrouble("500"), rng=random.Random(seed)) for seed in range(200)]
    assert all(timedelta(0) <= wait <= timedelta(seconds=ceiling) for wait in waits)
    assert min(waits) < timedelta(seconds=ceiling * 0.1) and max(waits) > timedelta(seconds=ceiling * 0.9)


def test_reading_again_waits_longer_each_time_and_not_too_long() -> None:
    waits = [delay_before_reading_again(timedelta(seconds=waited)).total_seconds() for waited in (0, 4, 20, 59)]
    assert waits == [0.5, 2, 10, 15]
