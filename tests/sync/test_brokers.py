"""The brokers look at the inbox themselves: this is what finds events, retries and what a dead worker left."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django_q.brokers import Broker, get_broker
from django_q.signing import SignedPackage
from django_q.tasks import async_task
from redis import ConnectionError as RedisIsAway

from sync import tasks
from sync.models import Heartbeat
from sync.queue import allowed
from sync.queue.allowed import RedisBroker
from tests.factories import WebhookEventFactory
from webhooks import clock, wake

pytestmark = pytest.mark.django_db


class Away:
    def blpop(self, key: str, seconds: int) -> None:
        raise RedisIsAway


class Empty:
    def blpop(self, key: str, seconds: int) -> None:
        return None


def redis_that_is(kind: type, monkeypatch: pytest.MonkeyPatch) -> Broker:
    monkeypatch.setattr(RedisBroker, "get_connection", staticmethod(lambda list_key=None: kind()))
    return RedisBroker()


BROKERS: dict[str, Callable[[pytest.MonkeyPatch], Broker]] = {
    "orm": lambda patched: get_broker(),
    "redis, from which the wake-up was flushed": lambda patched: redis_that_is(Empty, patched),
    "redis, which is away": lambda patched: redis_that_is(Away, patched),
}


@pytest.fixture(params=BROKERS)
def broker(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Broker:
    monkeypatch.setattr("sync.queue.allowed.time.sleep", lambda seconds: None)
    return BROKERS[request.param](monkeypatch)


def given(broker: Broker) -> list[tuple[Any, str]]:
    tasks = [(key, SignedPackage.loads(payload)) for key, payload in broker.dequeue()]
    assert all(allowed.is_ours(task) for _, task in tasks)
    return [(key, task["func"]) for key, task in tasks]


def due_in(seconds: float) -> None:
    WebhookEventFactory(state="retrying", next_attempt_at=clock.now() + timedelta(seconds=seconds))


def test_what_is_due_is_found_though_nobody_told_of_it(broker: Broker) -> None:
    due_in(-1)
    assert given(broker) == [(None, "sync.tasks.drain")]


def test_where_nothing_is_due_yet_no_worker_is_bothered(broker: Broker) -> None:
    due_in(60)
    assert given(broker) == []


def test_a_drain_that_was_just_started_is_given_its_time(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be done now, as while a side is away, would else start one after the other."""
    due_in(-1)
    at = [1000.0]
    monkeypatch.setattr("sync.queue.allowed.time.monotonic", lambda: at[0])
    first = given(broker)
    at[0] += allowed.BETWEEN_DRAINS / 2
    second = given(broker)
    at[0] += allowed.BETWEEN_DRAINS
    assert (len(first), second, len(given(broker))) == (1, [], 1)


def test_a_drain_looks_on_until_the_next_may_be_started() -> None:
    """And for longer than a process keeps a wake-up back."""
    assert tasks.LINGER >= allowed.BETWEEN_DRAINS > wake.WAKE_INTERVAL


def test_a_task_that_waits_goes_first() -> None:
    """A backlog keeps none of them waiting."""
    due_in(-1)
    async_task("sync.tasks.sweep", broker=get_broker())
    broker = get_broker()
    assert [func for _ in range(2) for _, func in given(broker)] == ["sync.tasks.sweep", "sync.tasks.drain"]


def test_the_drain_beats_though_it_finds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "LINGER", 0.0)
    tasks.drain()
    assert Heartbeat.objects.count() == 1
