"""How many orders a worker has in hand."""

import itertools
import threading
from typing import Any

import pytest

from sync import tasks
from sync.pipeline import hands, worker
from tests.sync.conftest import TwoSides
from webhooks import intake
from webhooks.models import State, WebhookEvent

REAL = worker.settle


def ask_for(numbers: list[int]) -> None:
    for number in numbers:
        intake.post(side="shop", source="sweep", topic="order.updated", order_ref=str(number), key=str(number), body={})


def test_while_the_sides_are_slow_other_orders_are_settled_meanwhile(
    two_sides: TwoSides, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the first one, none of three goes on before all three have begun."""
    settings.QUEUE_THREADS = 3
    count, together = itertools.count(), threading.Barrier(3)

    def settle(work: worker.Work) -> None:
        if 1 <= next(count) <= 3:
            together.wait(30)
        REAL(work)

    monkeypatch.setattr(worker, "settle", settle)
    monkeypatch.setattr(hands, "SLOW", 0.0)
    ask_for(two_sides.orders(8))
    tasks.drain()
    assert set(WebhookEvent.objects.values_list("state", "outcome")) == {(State.DONE, "created")}
    assert len(two_sides.crm.creates) == 8


def test_with_sides_that_answer_at_once_a_worker_is_alone(
    two_sides: TwoSides, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.QUEUE_THREADS, seen = 4, set()

    def settle(work: worker.Work) -> None:
        seen.add(threading.current_thread())
        REAL(work)

    monkeypatch.setattr(worker, "settle", settle)
    monkeypatch.setattr(hands, "SLOW", 60.0)
    ask_for(two_sides.orders(3))
    tasks.drain()
    assert seen == {threading.current_thread()}
    assert not WebhookEvent.objects.unfinished().exists()


def test_what_goes_wrong_in_a_thread_is_not_swallowed(
    two_sides: TwoSides, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.QUEUE_THREADS = 2

    def settle(work: worker.Work) -> None:
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError("the disk is full")
        REAL(work)

    monkeypatch.setattr(worker, "settle", settle)
    monkeypatch.setattr(hands, "SLOW", 0.0)
    ask_for(two_sides.orders(4))
    with pytest.raises(RuntimeError, match="the disk is full"):
        tasks.drain()
