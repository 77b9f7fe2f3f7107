"""The circuit breaker and the rate limit of a side, shared by all workers through the database."""

import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from sync.clients import breaker
from sync.clients.errors import (
    Ambiguous,
    AuthFailed,
    Blocked,
    Maintenance,
    NotConfigured,
    NotFound,
    RateLimited,
    Rejected,
    ServerTrouble,
    SideError,
    Unconfirmed,
    Unreachable,
)
from sync.models import SideState

pytestmark = pytest.mark.django_db

NOW = timezone.now()
OUTAGES = [Unreachable, Ambiguous, ServerTrouble, Blocked, AuthFailed, NotConfigured]
NO_OUTAGES = [Unconfirmed, NotFound, Rejected]


def seconds(number: float) -> timedelta:
    return timedelta(seconds=number)


@pytest.fixture(autouse=True)
def known(settings: Any) -> None:
    settings.BREAKER_THRESHOLD, settings.RETRY_BASE_SECONDS, settings.RETRY_MAX_SECONDS = 3, 5.0, 21600.0
    for name in ("shop", "crm"):
        SideState.objects.update_or_create(name=name)


def crm() -> SideState:
    return SideState.objects.get(name="crm")


def fail(error: type[SideError] = ServerTrouble, times: int = 3, now: datetime = NOW) -> bool:
    return [breaker.record_failure(error("it is down", side="crm"), now) for _ in range(times)][-1]


class Ping:
    """A probe of a side: counts, and answers or fails."""

    def __init__(self, error: SideError | None = None) -> None:
        self.error = error
        self.times = 0

    def __call__(self) -> None:
        self.times += 1
        if self.error:
            raise self.error


def allowed(now: datetime, ping: Callable[[], None] | None = None) -> bool:
    """Whether work may be taken, while the shop is well."""
    return breaker.allows_calls(now, {"shop": Ping(), "crm": ping or Ping()})


# --- opening -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", OUTAGES)
def test_outages_in_a_row_open_the_breaker(error: type[SideError]) -> None:
    assert [fail(error, times=1) for _ in range(4)] == [False, False, True, True]
    assert (crm().opened_at, crm().last_error) == (NOW, "it is down")
    assert SideState.objects.get(name="shop").opened_at is None


@pytest.mark.parametrize("error", NO_OUTAGES)
def test_what_is_about_one_order_does_not(error: type[SideError]) -> None:
    assert fail(error, times=10) is False
    assert (crm().failures, crm().opened_at) == (0, None)


@pytest.mark.parametrize("error", OUTAGES)
def test_each_connection_has_a_breaker_of_its_own(error: type[SideError]) -> None:
    """An error names its side, and the state goes by the slug of the connection."""
    SideState.objects.create(name="crm-b")
    opened = [breaker.record_failure(error("it is down", side="crm"), NOW, "crm-b") for _ in range(3)]
    assert opened == [False, False, True]
    assert SideState.objects.get(name="crm-b").opened_at == NOW
    assert (crm().failures, crm().opened_at) == (0, None)


def test_a_page_of_maintenance_is_about_the_whole_side() -> None:
    assert fail(Maintenance, times=1) is True
    assert crm().opened_at == NOW and crm().wait_until is None
    assert crm().probe_at == NOW + seconds(5)


def test_a_good_answer_in_between_starts_the_count_anew() -> None:
    fail(times=2)
    breaker.record_success(["crm"], NOW)
    assert fail(times=2) is False
    assert (crm().last_heard_at, crm().opened_at) == (NOW, None)


def test_the_threshold_is_a_setting(settings: Any) -> None:
    settings.BREAKER_THRESHOLD = 1
    assert fail(times=1) is True


def test_later_failures_do_not_put_off_the_probe() -> None:
    fail()
    due = crm().probe_at
    fail(now=NOW + seconds(60))
    assert (crm().probe_at, crm().opened_at) == (due, NOW)


# --- probing -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("longest", "interval"), [(21600.0, 30), (30.0, 30), (12.0, 12), (0.5, 0.5)])
def test_the_way_is_tested_at_least_every_so_often(settings: Any, longest: float, interval: float) -> None:
    settings.RETRY_MAX_SECONDS = longest
    fail()
    first = min(interval, settings.RETRY_BASE_SECONDS)
    down = Ping(Unreachable("still down", side="crm"))
    at = NOW + seconds(first)
    for wait, times in ((-0.01, 0), (0, 1), (interval - 0.01, 1), (interval, 2), (2 * interval, 3)):
        assert allowed(at + seconds(wait), down) is False
        assert down.times == times
    assert crm().last_error == "still down"


def test_a_probe_that_is_answered_closes_the_breaker() -> None:
    fail()
    ping = Ping()
    assert allowed(NOW + seconds(4), ping) is False
    assert allowed(NOW + seconds(6), ping) is True
    assert allowed(NOW + seconds(6), ping) is True
    assert (ping.times, crm().opened_at, crm().failures, crm().last_error) == (1, None, 0, "")


def test_a_probe_that_is_told_to_slow_down_is_obeyed() -> None:
    fail()
    limited = Ping(RateLimited("slow down", side="crm", after=3600))
    assert allowed(NOW + seconds(6), limited) is False
    assert allowed(NOW + seconds(3000), limited) is False
    assert limited.times == 1
    assert crm().opened_at == NOW


@pytest.mark.django_db(transaction=True)
def test_of_two_workers_one_probes_and_neither_takes_work_meanwhile() -> None:
    fail()
    begun, may_end = threading.Event(), threading.Event()
    passed: list[bool] = []

    def slow_ping() -> None:
        begun.set()
        assert may_end.wait(10)

    def first_worker() -> None:
        passed.append(allowed(NOW + seconds(6), slow_ping))
        connection.close()

    worker = threading.Thread(target=first_worker)
    worker.start()
    assert begun.wait(60)
    second = Ping()
    assert allowed(NOW + seconds(6), second) is False
    may_end.set()
    worker.join(60)
    assert (passed, second.times) == ([True], 0)
    assert allowed(NOW + seconds(6), second) is True


@pytest.mark.django_db(transaction=True)
def test_many_workers_at_the_same_moment_probe_once() -> None:
    fail()
    down = Ping(Unreachable("still down", side="crm"))
    barrier = threading.Barrier(6, timeout=60)

    def worker() -> None:
        barrier.wait()
        allowed(NOW + seconds(6), down)
        connection.close()

    workers = [threading.Thread(target=worker) for _ in range(6)]
    for one in workers:
        one.start()
    for one in workers:
        one.join(60)
    assert down.times == 1


# --- slowing down --------------------------------------------------------------------------------------------------


def test_a_rate_limit_holds_all_workers_until_its_time_and_is_no_failure() -> None:
    assert breaker.record_failure(RateLimited("slow down", side="crm", after=40), NOW) is True
    ping = Ping()
    assert allowed(NOW + seconds(39), ping) is False
    assert allowed(NOW + seconds(41), ping) is True
    assert (ping.times, crm().failures, crm().opened_at) == (0, 0, None)


@pytest.mark.parametrize("after", [None, 0.0])
def test_without_a_time_it_waits_a_little(after: float | None) -> None:
    """Also after `Retry-After: 0`, or a date that is over: a worker would else ask again at once, and for ever."""
    breaker.record_failure(RateLimited("slow down", side="crm", after=after), NOW)
    assert crm().wait_until == NOW + seconds(breaker.DEFAULT_WAIT)


@pytest.mark.parametrize(("afters", "held"), [([60, 5, None, 0], 60), ([5, 60], 60)])
def test_the_longest_wait_counts(afters: list[float | None], held: float) -> None:
    for after in afters:
        breaker.record_failure(RateLimited("slow down", side="crm", after=after), NOW)
    assert crm().wait_until == NOW + seconds(held)


def test_a_good_answer_of_another_worker_does_not_shorten_the_wait() -> None:
    breaker.record_failure(RateLimited("slow down", side="crm", after=60), NOW)
    breaker.record_success(["crm"], NOW + seconds(1))
    assert crm().wait_until == NOW + seconds(60)


# --- who is held up ------------------------------------------------------------------------------------------------


def test_all_well_lets_work_through_without_a_call() -> None:
    ping = Ping()
    assert allowed(NOW, ping) is True
    assert ping.times == 0


@pytest.mark.parametrize("name", ["shop", "crm"])
@pytest.mark.parametrize(
    "held",
    [{"paused": True}, {"wait_until": NOW + seconds(9)}, {"opened_at": NOW, "probe_at": NOW + seconds(9)}],
)
def test_either_side_closes_it_for_both(name: str, held: dict[str, Any]) -> None:
    SideState.objects.filter(name=name).update(**held)
    assert allowed(NOW) is False


def test_a_paused_side_is_not_probed_and_stays_paused() -> None:
    fail()
    SideState.objects.filter(name="crm").update(paused=True)
    ping = Ping()
    assert allowed(NOW + seconds(60), ping) is False
    breaker.record_success(["crm"], NOW)
    assert (ping.times, crm().paused, allowed(NOW + seconds(90), ping)) == (0, True, False)


def test_a_good_answer_is_written_down_once_in_a_while() -> None:
    for wait, written in ((0, 0), (1, 0), (4, 0), (6, 6)):
        breaker.record_success(["crm"], NOW + seconds(wait))
        assert crm().last_heard_at == NOW + seconds(written)
