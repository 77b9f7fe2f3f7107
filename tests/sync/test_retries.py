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


class Latest(random.Random):
    """Draws the longest wait."""

    def uniform(self, a: float, b: float) -> float:
        assert a == 0
        return b


@pytest.mark.parametrize(("attempt", "ceiling"), [(0, 5), (1, 5), (2, 10), (13, 20480), (14, 21600), (100_000, 21600)])
def test_by_default_the_longest_wait_doubles_from_five_seconds_to_six_hours(attempt: int, ceiling: float) -> None:
    assert delay_before(attempt=attempt, rng=Latest()).total_seconds() == ceiling


def test_another_beginning_and_another_end() -> None:
    waits = [delay_before(attempt=attempt, base=1, longest=3, rng=Latest()).total_seconds() for attempt in (1, 2, 3)]
    assert waits == [1, 2, 3]


def test_two_that_fail_at_once_do_not_come_again_at_once() -> None:
    assert len({delay_before(attempt=10) for _ in range(10)}) > 1


def test_a_side_that_says_nothing_gets_the_usual_wait() -> None:
    assert delay_before(attempt=1, error=RateLimited("slow"), rng=Latest()) == timedelta(seconds=5)
    assert delay_before(attempt=9, error=RateLimited("slow", after=0), rng=Latest()) == timedelta(0)
