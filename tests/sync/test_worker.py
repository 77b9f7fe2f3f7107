"""Which order is next, and what a worker may note without its lease."""

import random
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.db import OperationalError, connection, transaction
from django.utils import timezone

from orders.models import StatusTransition
from sync.clients.errors import ServerTrouble
from sync.models import Intent, Lease
from sync.pipeline import claim as claim_module
from sync.pipeline import failures, intents, internal_events, record
from sync.pipeline.apply import Applied
from sync.pipeline.batch import Batch
from sync.pipeline.claim import due_orders
from sync.pipeline.leases import Busy, LeaseLost
from sync.pipeline.plan import Plan, SetShopStatus
from tests import pipeline
from tests.deliveries import from_crm
from tests.factories import OrderLinkFactory, StatusTransitionFactory, WebhookEventFactory
from tests.sync.conftest import TwoSides
from webhooks.models import State, WebhookEvent

pytestmark = pytest.mark.django_db


def due(minutes_ago: float) -> str:
    """A due event of an order of its own; its order."""
    moment = timezone.now() - timedelta(minutes=minutes_ago)
    return str(WebhookEventFactory(next_attempt_at=moment, received_at=moment).order_ref)


def test_the_longest_due_is_next() -> None:
    orders = [due(minutes) for minutes in (3, 1, 2)]
    assert [order for _, order in due_orders(1)] == [orders[0], orders[2], orders[1]]


def test_an_order_with_many_events_is_named_once() -> None:
    for _ in range(20):
        WebhookEventFactory(order_ref="14", next_attempt_at=timezone.now() - timedelta(hours=1))
    assert due_orders(1) == [("shop", "14")]


def test_what_is_not_due_is_not_next() -> None:
    due(-1)
    WebhookEventFactory(next_attempt_at=None)
    assert due_orders(1) == []
    assert not pipeline.work_once()


def test_behind_a_backlog_both_the_oldest_and_the_freshest_get_their_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    oldest, *_ = [due(600 - place) for place in range(60)]
    fresh = due(0)
    dice = random.Random(7)
    monkeypatch.setattr(claim_module.random, "random", dice.random)
    first = [due_orders(1)[0][1] for _ in range(40)]
    assert set(first) == {oldest, fresh}


def test_a_worker_that_slept_through_its_lease_leaves_no_intent_behind() -> None:
    """Found by the model: the next attempt took such an intent for a write that was made, and logged it twice."""
    order = due(1)
    work = pipeline.take("shop", order)
    assert work is not None
    write = SetShopStatus(woo_id=int(order), from_status="pending", to_status="on-hold")
    plan = Plan(outcome="applied", reasons=(), write=write)
    Lease.objects.all().delete()
    with pytest.raises(LeaseLost):
        intents.save_intents([(work, plan)], timezone.now())
    assert not Intent.objects.exists()


@pytest.mark.parametrize("error", [ServerTrouble("500", side="shop", status=500), Busy("woo:14"), ValueError("a bug")])
def test_a_lease_that_is_lost_is_no_error_when_a_failure_is_recorded(error: Exception) -> None:
    """Found by the model: it ended the worker's round, and with it the work on all other orders."""
    order = due(1)
    work = pipeline.take("shop", order)
    assert work is not None
    with failures.recorded(Batch([work]), work):
        Lease.objects.all().delete()
        raise error
    assert not work.newest.tries.exists()


# --- a worker that ends before it records anything -----------------------------------------------------------------


def lose(order: str, *, side: str = "shop") -> None:
    """The order is taken, its worker is killed in the middle of a call, and its lease runs out."""
    assert pipeline.take(side, order) is not None
    past = timezone.now() - timedelta(seconds=1)
    Lease.objects.update(expires_at=past)
    WebhookEvent.objects.unfinished().filter(order_ref=order).update(next_attempt_at=past)


@pytest.mark.parametrize("side", ["shop", "crm"])
def test_a_worker_that_ended_without_a_word_has_made_an_attempt(side: str) -> None:
    event = WebhookEventFactory(side=side, order_ref="14", next_attempt_at=timezone.now())
    lose("14", side=side)
    assert pipeline.take(side, "14") is not None  # whoever takes it over goes on with it at once
    event.refresh_from_db()
    [attempt] = event.tries.all()
    assert (event.attempts, attempt.result, event.state) == (1, "WorkerLost", "processing")
    assert "ended" in attempt.error
    assert timedelta(0) < timezone.now() - attempt.started_at < timedelta(minutes=2)


def test_an_order_that_ends_every_worker_is_given_up_and_ends_no_more(settings: Any) -> None:
    settings.RETRY_MAX_ATTEMPTS = 3
    event = WebhookEventFactory(order_ref="14", next_attempt_at=timezone.now())
    for _ in range(3):
        lose("14")
    assert pipeline.take("shop", "14") is None
    event.refresh_from_db()
    assert (event.state, event.attempts, event.next_attempt_at) == ("dead", 3, None)
    assert "Given up after 3 attempts" in event.reason
    assert event.tries.count() == 3
    assert not Lease.objects.exists()


def test_what_waited_beside_it_has_no_attempt_of_its_own() -> None:
    lost = WebhookEventFactory(order_ref="14", next_attempt_at=timezone.now())
    lose("14")
    beside = WebhookEventFactory(order_ref="14", next_attempt_at=timezone.now())
    assert pipeline.take("shop", "14") is not None
    for event, attempts in ((lost, 1), (beside, 0)):
        event.refresh_from_db()
        assert event.attempts == attempts


if settings.DATABASES["default"]["ENGINE"].endswith("postgresql"):  # SQLite has one writer at a time
    DEEDS = {
        "take": lambda work: pipeline.take("crm", "C-1"),
        "finish": lambda work: record.finish(Batch([work]), work, Plan(outcome="no_change", reasons=()), Applied()),
        "put back": lambda work: record.postpone(Batch([work]), work, timedelta(minutes=1)),
    }

    def in_opposite_order(work: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL deadlock_timeout = '30s'")  # it is the delivery that is told to let go
        for name in "ba":
            list(WebhookEvent.objects.filter(dedupe_key=f"id:{name}").select_for_update())

    def while_an_array_comes(names: str, deed: Any, work: Any) -> int:
        """What a repeated array is answered that comes in between, after the deed's first lock on one of its events."""
        array = [{"event_id": name, "crm_order_id": "C-1", "status": "paid"} for name in names]
        answers: list[int] = []

        def deliver() -> None:
            answers.append(from_crm(array).status_code)
            connection.close()

        delivery = threading.Thread(target=deliver)

        def between(execute: Any, statement: str, *rest: Any) -> Any:
            done = execute(statement, *rest)
            locks = "webhooks_webhookevent" in statement and (
                "FOR UPDATE" in statement or statement.startswith("UPDATE")
            )
            if locks and not delivery.ident:
                delivery.start()
                until = time.monotonic() + 10
                while not waits_for_a_lock() and time.monotonic() < until:
                    time.sleep(0.01)
            return done

        with connection.execute_wrapper(between), transaction.atomic():
            deed(work)
        delivery.join(60)
        return answers[0]

    def waits_for_a_lock() -> bool:
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
            return bool(cursor.fetchone()[0])

    @pytest.mark.django_db(transaction=True)
    def test_what_a_worker_is_taking_staff_cannot_set_aside(monkeypatch: pytest.MonkeyPatch) -> None:
        order, real, refused = due(1), internal_events.answered_together, list[bool]()

        def set_aside() -> None:
            try:
                with transaction.atomic():
                    WebhookEvent.objects.select_for_update(nowait=True).get(order_ref=order)
            except OperationalError:
                refused.append(True)
            connection.close()

        def meanwhile(*args: Any) -> Any:
            other = threading.Thread(target=set_aside)
            other.start()
            other.join(60)
            return real(*args)

        monkeypatch.setattr(internal_events, "answered_together", meanwhile)
        assert pipeline.take("shop", order) is not None
        assert refused == [True]

    @pytest.mark.django_db(transaction=True)
    @pytest.mark.parametrize("deed", DEEDS)
    @pytest.mark.parametrize("names", ["ab", "ba"])
    def test_a_worker_and_a_repeated_array_do_not_wait_for_each_other(
        monkeypatch: pytest.MonkeyPatch, deed: str, names: str
    ) -> None:
        monkeypatch.setattr("webhooks.intake.DEADLOCK", "")
        for name in names:
            from_crm({"event_id": name, "crm_order_id": "C-1", "status": "paid"})
        work = None if deed == "take" else pipeline.take("crm", "C-1")
        assert while_an_array_comes(names, DEEDS[deed], work) == 200
        assert set(WebhookEvent.objects.values_list("duplicates", flat=True)) == {1}

    @pytest.mark.django_db(transaction=True)
    def test_a_delivery_that_had_to_let_go_is_stored_all_the_same() -> None:
        """Whoever else changes many events at once: WooCommerce sends only once."""
        for name in "ab":
            from_crm({"event_id": name, "crm_order_id": "C-1", "status": "paid"})
        assert while_an_array_comes("ab", in_opposite_order, None) == 200
        assert set(WebhookEvent.objects.values_list("duplicates", flat=True)) == {1}


def refuse_changes(*args: object) -> None:
    StatusTransition.objects.update(reason="forged")


def miss_a_column(*args: object) -> None:
    OrderLinkFactory(woo_status=None)


@pytest.mark.parametrize(
    ("breaks", "words"), [(refuse_changes, "append-only"), (miss_a_column, "woo_status")], ids=["trigger", "column"]
)
def test_what_the_database_refuses_is_named_as_what_it_is(
    two_sides: TwoSides, monkeypatch: pytest.MonkeyPatch, breaks: Callable[..., None], words: str
) -> None:
    """Not every IntegrityError is a pair of which one is linked already."""
    StatusTransitionFactory()
    two_sides.order(14)
    event = WebhookEventFactory(order_ref="14", side="shop")
    monkeypatch.setattr(intents, "delete", breaks)
    work = pipeline.take("shop", "14")
    assert work is not None
    pipeline.settle(work)
    event.refresh_from_db()
    assert event.state == State.RETRYING
    assert words in event.reason
    assert "linked" not in event.reason
    assert not Lease.objects.exists()
