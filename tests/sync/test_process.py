"""Orders go in batches, and each ends as if it had gone by itself."""

import json
import math
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from itertools import count
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import DataError, connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from orders.models import OrderLink, StatusTransition
from sync.clients import breaker
from sync.clients.crm.rest import RestCrm
from sync.clients.errors import (
    Ambiguous,
    AuthFailed,
    Blocked,
    Hidden,
    Maintenance,
    NotConfigured,
    NotFound,
    Odd,
    RateLimited,
    Rejected,
    ServerTrouble,
    Unreachable,
    Unreadable,
)
from sync.clients.shop import Shop
from sync.clients.snapshots import ShopSnapshot
from sync.jobs import processing
from sync.jobs.processing import Order
from sync.models import Attempt, Call, Intent, Lease
from sync.pipeline import batch as pipeline_batch
from sync.pipeline import failures, fetch, intents, internal_events, leases, links, record
from sync.pipeline import process as pipeline_process
from sync.pipeline.claim import Claim, claim
from sync.pipeline.leases import Busy, LeaseLost, OrderLease
from sync.pipeline.process import FRESH, LARGEST, LASTS, BatchSize, process
from sync.queue import shutdown
from tests import pipeline
from tests.sync.conftest import TwoSides
from webhooks import clock, intake
from webhooks.connections import Bridge
from webhooks.customers import customer_of
from webhooks.models import Outcome, Side, State, WebhookEvent

Shown = dict[int, ShopSnapshot]


@pytest.fixture(autouse=True)
def stays() -> Iterator[None]:
    yield
    shutdown.asked.clear()


def waiting(sides: TwoSides, count: int, first: int = 1) -> Shown:
    """Orders of the shop that are to be linked, each with its event."""
    shown = {
        woo_id: ShopSnapshot(woo_id=woo_id, status=order["status"], order=order)
        for woo_id in sides.orders(count, first=first)
        for order in [sides.shop.orders[woo_id]]
    }
    for woo_id, order in shown.items():
        tell(order, f"first:{woo_id}")
    return shown


def tell(order: ShopSnapshot, key: str) -> None:
    intake.post_all([internal_events.backfill_event(order, bridge=1, topic="order.created", key=key, by="anna")])


def states() -> dict[str, tuple[str, str]]:
    return {
        ref: (state, outcome)
        for ref, state, outcome in WebhookEvent.objects.values_list("order_ref", "state", "outcome")
    }


def nothing_is_left_behind() -> None:
    assert not Lease.objects.exists()
    assert not Intent.objects.exists()


def work_off() -> None:
    """As the workers do, after the leases and claims of the dead have run out."""
    Lease.objects.update(expires_at=timezone.now())
    while True:
        WebhookEvent.objects.unfinished().update(next_attempt_at=timezone.now())
        if not pipeline.work_once():
            return


CREATED = (State.DONE.value, Outcome.CREATED.value)
PENDING = (State.PENDING.value, "")


def in_parallel(shown: Shown) -> None:
    """As a run does with a page."""
    now = time.monotonic()
    claims = claim([(Side.SHOP, str(woo_id)) for woo_id in shown])
    for one in claims:
        one.seen, one.read_at = shown[int(one.order_ref)], now
    process(claims)


def due(side: str, orders: Iterable[int | str]) -> list[Claim]:
    """Each has an event, as if one had been missed."""
    for ref in orders:
        intake.post(
            bridge=1, side=side, source="sweep", topic="order.updated", order_ref=str(ref), key=f"due:{ref}", body={}
        )
    return claim([(side, str(ref)) for ref in orders])


def linked(sides: TwoSides, count: int) -> list[str]:
    """So many orders on both sides, which the CRM has moved since."""
    in_parallel(waiting(sides, count))
    links = list(OrderLink.objects.order_by("woo_id"))
    for link in links:
        sides.shop.orders[link.woo_id] = {**sides.shop.orders[link.woo_id], "status": "pending"}
        sides.crm.set_status(link.crm_order_id, "cancelled")
    sides.forget_calls()
    return [link.crm_order_id for link in links]


def test_each_is_created_and_recorded_as_one_by_itself(two_sides: TwoSides) -> None:
    shown = waiting(two_sides, 4)
    in_parallel(shown)
    alone = waiting(two_sides, 1, first=9)
    in_parallel(alone)
    assert states() == dict.fromkeys(("1", "2", "3", "4", "9"), CREATED)
    for link in OrderLink.objects.all():
        assert (link.external_id, link.identity["key"][:1] != "") == (str(link.woo_id), True)
        assert link.is_ours
    for model, its_own in ((OrderLink, "woo_id"), (WebhookEvent, "order_ref")):
        rows = [{n: v for n, v in row.items() if not _differs(n)} for row in model.objects.order_by(its_own).values()]
        assert all(row == {**rows[-1], its_own: row[its_own]} for row in rows), rows
    assert OrderLink.objects.get(woo_id=3).crm_order_id == two_sides.crm.by_external("3")[0]["id"]
    assert WebhookEvent.objects.get(order_ref="3").customer == customer_of(shown[3].order)
    for attempt in Attempt.objects.order_by("pk"):
        assert (attempt.result, attempt.actor) == ("created", "anna")
        assert attempt.reasons == [["create", "The CRM does not know this order yet."]]
        assert attempt.compared["shop"]["shop status"] == shown.get(3, alone[9]).status
        assert attempt.calls.filter(method="POST", status=201).count() == 1
    nothing_is_left_behind()


def _differs(field: str) -> bool:
    """What is never the same in two orders."""
    personal = (
        "id",
        "crm_order_id",
        "external_id",
        "identity",
        "mac",
        "woo_fingerprint",
        "body",
        "body_sha256",
        "dedupe_key",
        "customer",
    )
    return field in personal or field.endswith("_at") or field == "woo_status"


@pytest.mark.parametrize("side", [Side.SHOP, Side.CRM])
def test_many_cost_no_more_statements_than_a_few(
    two_sides: TwoSides, monkeypatch: pytest.MonkeyPatch, side: str
) -> None:
    """But for the transitions, of which each has its place in a chain. Calls that take long are recorded in parts."""
    monkeypatch.setattr(pipeline_batch, "HAND_ON", 60.0)
    monkeypatch.setattr(breaker, "SUCCESS_EVERY", timedelta(hours=1))
    monkeypatch.setattr(clock, "KEPT", 3600.0)
    orders = linked(two_sides, 24) if side == Side.CRM else [str(one) for one in two_sides.orders(24)]
    process(due(side, orders[:2]))  # from then on the sides are known to be well
    counted = []
    for some in (orders[2:4], orders[4:]):
        claims = due(side, some)
        with CaptureQueriesContext(connection) as queries:
            process(claims)
        counted.append(len([one for one in queries if not CHAINED.search(one["sql"])]))
    assert set(states().values()) <= {CREATED, (State.DONE.value, Outcome.APPLIED.value)}
    assert counted[0] == counted[1]


CHAINED = re.compile(r"statustransition|chainhead|UPDATE .orders_orderlink|SAVEPOINT", re.IGNORECASE)


@pytest.mark.parametrize("batches", [True, False])
def test_a_creation_costs_one_call_where_the_sides_read_many_at_once(two_sides: TwoSides, batches: bool) -> None:
    """Of those that the CRM does not show it is believed once the same answer shows one that is there."""
    process(due(Side.SHOP, two_sides.orders(1)))
    if not batches:
        two_sides.crm.faults.add("ignores-batches", None)
    two_sides.forget_calls()
    process(due(Side.SHOP, two_sides.orders(20, first=2)))
    assert set(states().values()) == {CREATED}
    calls = len(two_sides.shop.requests) + len(two_sides.crm.requests)
    assert calls <= (24 if batches else 44), calls


@pytest.mark.parametrize("batches", [True, False])
def test_a_move_costs_one_call_where_the_sides_read_many_at_once(two_sides: TwoSides, batches: bool) -> None:
    orders = linked(two_sides, 20)
    if not batches:
        two_sides.crm.faults.add("ignores-batches", None)
    process(due(Side.CRM, orders))
    assert set(states().values()) <= {CREATED, (State.DONE.value, Outcome.APPLIED.value)}
    writes = two_sides.writes()
    reads = len(two_sides.shop.requests) + len(two_sides.crm.requests) - sum(writes.values())
    assert writes["shop PUT"] == 20
    assert reads <= (4 if batches else 24), reads


def test_what_is_linked_or_tried_goes_together_with_what_is_new(two_sides: TwoSides) -> None:
    shown = waiting(two_sides, 6)
    two_sides.crm.honours_idempotency_key = False
    made = two_sides.crm.add_order("1", "paid")
    OrderLink.objects.create(woo_id=1, crm_order_id=made["id"], external_id="1")
    Intent.objects.create(woo_id=2, kind=Intent.Kind.CREATE)
    tell(shown[3], "second")
    OrderLease("woo:4")
    WebhookEvent.objects.filter(order_ref="5").update(next_attempt_at=timezone.now() + timedelta(hours=1))
    in_parallel(shown)
    assert sorted(one.external_id for one in two_sides.crm.creates) == ["2", "3", "6"]
    assert states()["1"] == (State.DONE, Outcome.UPDATED)
    assert states()["4"] == states()["5"] == PENDING
    assert list(Lease.objects.values_list("key", flat=True)) == ["woo:4"]


def test_what_the_crm_has_is_linked_and_told(two_sides: TwoSides) -> None:
    made = two_sides.crm.add_order("2", "paid")
    in_parallel(waiting(two_sides, 3))
    assert OrderLink.objects.get(woo_id=2).crm_order_id == made["id"]
    assert two_sides.writes() == {"crm POST": 2, "crm PATCH": 1}
    nothing_is_left_behind()


# --- one that fails touches no other -------------------------------------------------------------------------------

ITS_OWN = {
    "server": ServerTrouble("500", side="crm", status=500),
    "blocked": Blocked("a page", side="crm", status=200),
    "unreachable": Unreachable("no connection", side="crm"),
    "ambiguous": Ambiguous("no answer", side="crm"),
    "keys": AuthFailed("403", side="crm", status=403),
    "hidden": Hidden("403", side="crm", status=403),
    "unknown": NotFound("404", side="crm", status=404),
    "rejected": Rejected("422", side="crm", status=422),
    "odd": Odd("no id", side="crm"),
    "unreadable": Unreadable("again and again", side="crm"),
    "a bug": ValueError("a bug"),
    "busy": Busy("woo:3"),
    "lease": LeaseLost("woo:3"),
}
"""While the side answers a cheap read, whatever a call for an order ends with is about that order."""
OF_THE_SIDE = {
    "limit": RateLimited("429", side="crm", after=60.0, status=429),
    "maintenance": Maintenance("503", side="crm", status=503),
    "settings": NotConfigured("CRM_URL", side="crm"),
}


def fail_for(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, about: str, error: Exception) -> None:
    """The verb raises it for one order."""
    real = getattr(owner, name)

    def failing(self: Any, first: Any, *rest: Any) -> Any:
        if str(first) == about:
            raise error
        return real(self, first, *rest)

    monkeypatch.setattr(owner, name, failing)


def at_each_step(*steps: str) -> list[Any]:
    """Each error at each step; and by turns each error, and each step, at the first, a middle and the last place."""
    return [
        pytest.param(step, error, (turn + number) % 3, id=f"{step}-{name}")
        for turn, step in enumerate(steps)
        for number, (name, error) in enumerate(ITS_OWN.items())
    ]


def one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lists show nothing, so that each is read alone."""
    monkeypatch.setattr(Shop, "get_many", lambda self, ids: {})
    monkeypatch.setattr(RestCrm, "get_many", lambda self, ids: {})
    monkeypatch.setattr(RestCrm, "find_many", lambda self, ids: {})


@pytest.mark.cases_alike
@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize(("step", "error", "turn"), at_each_step("read", "find", "create"))
def test_an_order_that_cannot_be_created_touches_no_other(
    two_sides: TwoSides,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    error: Exception,
    turn: int,
    threads: int,
) -> None:
    settings.QUEUE_THREADS = threads
    place = (1, 3, 5)[turn]
    one_by_one(monkeypatch)
    owner, name = {"read": (Shop, "get"), "find": (RestCrm, "find"), "create": (RestCrm, "create")}[step]
    fail_for(monkeypatch, owner, name, str(place), error)
    process(due(Side.SHOP, two_sides.orders(5)))
    others = {str(one) for one in range(1, 6)} - {str(place)}
    assert {ref for ref, state in states().items() if state == CREATED} == others
    assert set(Intent.objects.values_list("woo_id", flat=True)) <= {place}
    assert {one.external_id for one in two_sides.crm.creates} == others


@pytest.mark.cases_alike
@pytest.mark.parametrize(("step", "error", "turn"), at_each_step("read", "shop", "status"))
def test_an_order_that_cannot_be_moved_touches_no_other(
    two_sides: TwoSides, settings: Any, monkeypatch: pytest.MonkeyPatch, step: str, error: Exception, turn: int
) -> None:
    settings.QUEUE_THREADS = 4
    place = (0, 2, 4)[turn]
    orders = linked(two_sides, 5)
    one_by_one(monkeypatch)
    owner, name = {"read": (RestCrm, "get"), "shop": (Shop, "get"), "status": (Shop, "set_status")}[step]
    fail_for(monkeypatch, owner, name, orders[place] if step == "read" else str(place + 1), error)
    process(due(Side.CRM, orders))
    moved = {woo_id for woo_id, order in two_sides.shop.orders.items() if order["status"] == "cancelled"}
    assert moved == {1, 2, 3, 4, 5} - {place + 1}
    assert StatusTransition.objects.count() == 4
    assert set(Intent.objects.values_list("woo_id", flat=True)) <= {place + 1}


@pytest.mark.parametrize("error", OF_THE_SIDE.values(), ids=OF_THE_SIDE)
@pytest.mark.parametrize("step", ["find", "create"])
def test_when_the_side_is_away_what_is_not_begun_waits_as_if_it_had_not_been_taken(
    two_sides: TwoSides, monkeypatch: pytest.MonkeyPatch, step: str, error: Exception
) -> None:
    one_by_one(monkeypatch)
    first = "1" if step == "find" else "4"  # what was read last is written first
    fail_for(monkeypatch, RestCrm, step, first, error)
    process(due(Side.SHOP, two_sides.orders(4)))
    assert two_sides.crm.creates == []
    assert not Lease.objects.exists()
    assert set(Intent.objects.values_list("woo_id", flat=True)) <= {int(first)}
    assert all(event.attempts == 0 for event in WebhookEvent.objects.exclude(order_ref=first))
    assert {state for state, _ in states().values()} <= {State.PENDING, State.RETRYING}


@pytest.mark.parametrize("answers", ["500", "429", "html"])
def test_a_list_that_fails_while_orders_can_be_read_is_done_without(
    two_sides: TwoSides, settings: Any, monkeypatch: pytest.MonkeyPatch, answers: str
) -> None:
    settings.QUEUE_THREADS = 2

    def failing(self: Any, ids: Any) -> Any:
        raise {"500": ServerTrouble("500", side="shop"), "html": Blocked("page", side="shop")}.get(
            answers, Rejected("400", side="shop")
        )

    monkeypatch.setattr(Shop, "get_many", failing)
    process(due(Side.SHOP, two_sides.orders(3)))
    assert set(states().values()) == {CREATED}


def test_a_creation_in_doubt_is_looked_for_before_it_is_sent_again(two_sides: TwoSides) -> None:
    two_sides.crm.honours_idempotency_key = False
    two_sides.crm.faults.add("timeout-after-effect", 1, method="POST", seconds=0.0)
    in_parallel(waiting(two_sides, 3))
    assert list(Intent.objects.values_list("woo_id", flat=True)) == [1]
    work_off()
    assert sorted(one.external_id for one in two_sides.crm.creates) == ["1", "2", "3"]
    nothing_is_left_behind()


@pytest.mark.parametrize("at", ["find", "create"])
def test_whose_lease_is_lost_records_nothing(two_sides: TwoSides, monkeypatch: pytest.MonkeyPatch, at: str) -> None:
    """Another worker has taken it meanwhile, and its result counts."""
    one_by_one(monkeypatch)
    shown = waiting(two_sides, 3)
    after(monkeypatch, RestCrm, at, lambda: Lease.objects.filter(key="woo:2").update(token=leases.uuid.uuid4()))
    in_parallel(shown)
    assert {ref for ref, state in states().items() if state == CREATED} == {"1", "3"}
    assert not OrderLink.objects.filter(woo_id=2).exists()
    assert list(Lease.objects.values_list("key", flat=True)) == ["woo:2"]


def test_a_pair_that_is_taken_needs_a_person_and_the_others_are_linked(two_sides: TwoSides) -> None:
    first = two_sides.crm.add_order("500", "paid")["id"]
    taken = f"{first.rpartition('-')[0]}-{int(first.rpartition('-')[2]) + 2}"
    OrderLink.objects.create(woo_id=99, crm_order_id=taken)
    in_parallel(waiting(two_sides, 3))
    assert states() == {"1": CREATED, "2": (State.PARKED, ""), "3": CREATED}
    assert "could not be linked" in WebhookEvent.objects.get(order_ref="2").reason
    assert not Lease.objects.exists()


@pytest.mark.parametrize("refused", ["link", "attempt"])
def test_a_row_that_cannot_be_recorded_is_recorded_apart(
    two_sides: TwoSides, monkeypatch: pytest.MonkeyPatch, refused: str
) -> None:
    """The database refuses a value of one of them, and with it the whole transaction."""
    if refused == "link":
        real = links._fill_in

        def fill_in(row: OrderLink, *rest: Any) -> None:
            if row.woo_id == 3:
                raise DataError("value too long")
            real(row, *rest)

        monkeypatch.setattr(links, "_fill_in", fill_in)
    else:
        real_row = record._row

        def row(attempt: Any, call: Any) -> Any:
            if attempt.event.order_ref == "3":
                raise DataError("value too long")
            return real_row(attempt, call)

        monkeypatch.setattr(record, "_row", row)
    in_parallel(waiting(two_sides, 5))
    assert {ref for ref, state in states().items() if state == CREATED} == {"1", "2", "4", "5"}
    assert states()["3"][0] == State.PARKED
    assert not Lease.objects.exists()


@pytest.mark.parametrize("at", ["delete", "save_intents"])
def test_a_bug_where_all_are_recorded_together_costs_one_order_only(
    two_sides: TwoSides, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    real = getattr(intents, at)

    def failing(*given: Any) -> Any:
        orders = given[1] if at == "delete" else [claim.order_ref for claim, _ in given[0]]
        if "3" in map(str, orders):
            raise KeyError("a bug")
        return real(*given)

    monkeypatch.setattr(intents, at, failing)
    in_parallel(waiting(two_sides, 5))
    assert {ref for ref, state in states().items() if state == CREATED} == {"1", "2", "4", "5"}
    assert states()["3"][0] == State.RETRYING
    assert not Lease.objects.exists()


def test_an_order_whose_lost_worker_cannot_be_counted_touches_no_other(
    two_sides: TwoSides, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = failures.count_abandoned

    def counted(batch: Any, one: Claim) -> None:
        if one.order_ref == "3":
            raise DataError("no such value")
        real(batch, one)

    monkeypatch.setattr(failures, "count_abandoned", counted)
    process(due(Side.SHOP, two_sides.orders(5)))
    assert {ref for ref, state in states().items() if state == CREATED} == {"1", "2", "4", "5"}
    assert states()["3"] == (State.RETRYING, "")


def test_an_attempt_keeps_what_a_list_said_of_its_own_order_only(two_sides: TwoSides) -> None:
    process(due(Side.SHOP, two_sides.orders(4)))
    for attempt in Attempt.objects.all():
        read = attempt.calls.get(side="shop", method="GET")
        assert json.loads(read.response_body)["id"] == int(attempt.event.order_ref)
    assert Call.objects.filter(side="shop", is_shared=False).count() == 1


def test_what_is_finished_is_recorded_while_the_next_calls_are_under_way(
    two_sides: TwoSides, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.QUEUE_THREADS = 2
    begun, recorded, seen = count(1), threading.Event(), list[bool]()
    create = RestCrm.create

    def waits(self: Any, external_id: str, order: Any) -> Any:
        if next(begun) > 2:
            seen.append(recorded.wait(60))
        return create(self, external_id, order)

    monkeypatch.setattr(RestCrm, "create", waits)
    after(monkeypatch, record, "finish_all", recorded.set)
    process(due(Side.SHOP, two_sides.orders(4)))
    assert seen == [True, True]
    assert set(states().values()) == {CREATED}


# --- old reads, and when to stop -----------------------------------------------------------------------------------


@pytest.mark.parametrize("threads", [1, 2])
def test_what_was_read_too_long_ago_is_read_again_before_the_write(
    two_sides: TwoSides, settings: Any, monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    """Each write takes long, and meanwhile customers go on typing. The first have their turn as they were read."""
    settings.QUEUE_THREADS = threads
    waiting(two_sides, 5)
    claims, shown = claim([(Side.SHOP, str(n)) for n in range(1, 6)]), range(1, 6)
    real, now = RestCrm.create, [time.monotonic()]
    for module in (pipeline_process, fetch):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now[0]))

    def slow(self: Any, external_id: str, order: Any) -> Any:
        now[0] += FRESH + 1
        for woo_id in shown:
            two_sides.shop.orders[woo_id] = {**two_sides.shop.orders[woo_id], "customer_note": f"after {external_id}"}
        return real(self, external_id, order)

    monkeypatch.setattr(RestCrm, "create", slow)
    process(claims)
    assert set(states().values()) == {CREATED}
    notes = [one["order"]["customer_note"] for n in shown for one in two_sides.crm.by_external(str(n))]
    stale = [note for note in notes if not note.startswith("after")]
    assert len(notes) == 5
    assert len(stale) == threads
    nothing_is_left_behind()


def test_a_list_from_long_ago_is_read_again(two_sides: TwoSides) -> None:
    """Behind a speed limit, or a side that was away, a page is an hour old when its last order has its turn."""
    shown = waiting(two_sides, 3)
    for woo_id in shown:
        two_sides.shop.orders[woo_id] = {**two_sides.shop.orders[woo_id], "customer_note": "later"}
    long_ago = time.monotonic() - FRESH - 1
    orders = [Order(Side.SHOP, str(woo_id), seen, long_ago) for woo_id, seen in shown.items()]
    processing._process(Bridge.objects.get(), orders, BatchSize())
    assert [two_sides.crm.by_external(str(n))[0]["order"]["customer_note"] for n in shown] == ["later"] * 3


def test_no_more_is_begun_when_the_process_is_to_leave(two_sides: TwoSides) -> None:
    shown = waiting(two_sides, 3)
    shutdown.asked.set()
    in_parallel(shown)
    assert states() == {"1": CREATED, "2": PENDING, "3": PENDING}
    nothing_is_left_behind()


def test_no_intent_is_older_than_its_post(two_sides: TwoSides, monkeypatch: pytest.MonkeyPatch) -> None:
    ages: list[bool] = []
    real = RestCrm.create

    def create(self: Any, external_id: str, order: Any) -> Any:
        ages.append(Intent.objects.get(woo_id=int(external_id)).at >= clock.now())
        return real(self, external_id, order)

    monkeypatch.setattr(RestCrm, "create", create)
    in_parallel(waiting(two_sides, 4))
    assert ages == [True] * 4


def test_the_size_follows_the_time_that_a_batch_takes(settings: Any) -> None:
    settings.QUEUE_THREADS = 4
    size = BatchSize()
    grown = []
    for _ in range(6):
        grown.append(size.orders)
        size.learn(size.orders, 0.01)
    assert grown == [4, 8, 16, 32, 64, 99]
    size.learn(1, 9.0)  # a batch that was not full tells nothing
    assert size.orders == 99
    size.learn(99, 10.0)
    assert size.orders == 12
    size.learn(12, 60.0)
    assert size.orders == 4


@pytest.mark.parametrize("call", [0.0, 0.05, 0.2, 0.5, 2.0], ids="a call takes {} s".format)
@pytest.mark.parametrize("own", [0.002, 0.02, 0.1], ids="an order {} s of our own".format)
@pytest.mark.parametrize("threads", [1, 4, 10])
def test_a_batch_never_makes_a_fresh_delivery_wait_long_and_is_no_smaller_than_that_needs(
    settings: Any, call: float, own: float, threads: int
) -> None:
    """Two reads for all, a write for each, as many at once as there are threads. It lasts so long, and one round more
    at most, unless one round alone takes longer."""
    settings.QUEUE_THREADS = threads
    size = BatchSize()

    def lasts(orders: int) -> float:
        return 2 * call + math.ceil(orders / threads) * call + orders * own

    sizes = []
    for _ in range(40):
        size.learn(size.orders, lasts(size.orders))
        sizes.append(size.orders)
    a_round = call + threads * own
    assert all(orders == threads or lasts(orders) <= LASTS + max(a_round, LASTS / 4) for orders in sizes[20:])
    assert max(sizes[20:]) == LARGEST or lasts(max(sizes[20:]) + threads) > LASTS


class Crash(BaseException):
    """As `kill -9` would: no handler of ours runs, and an open transaction is rolled back."""


STEPS: tuple[tuple[Any, str], ...] = (
    (Shop, "get_many"),
    (RestCrm, "find"),
    (intents, "save_intents"),
    (RestCrm, "create"),
    (leases, "release"),
    (links, "save_all"),
    (intents, "delete"),
    (record, "_change"),
    (record, "save_attempts"),
    (record, "finish_all"),
)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("step", STEPS, ids=lambda step: step[1])
def test_it_dies_after_any_step_and_each_order_is_created_once(
    two_sides: TwoSides, settings: Any, monkeypatch: pytest.MonkeyPatch, step: tuple[Any, str], threads: int
) -> None:
    settings.QUEUE_THREADS = threads
    two_sides.crm.honours_idempotency_key = False
    claims = due(Side.SHOP, two_sides.orders(4))
    after(monkeypatch, *step, crash(monkeypatch, *step))
    with pytest.raises(Crash):
        process(claims)
    work_off()
    assert sorted(one.external_id for one in two_sides.crm.creates) == ["1", "2", "3", "4"]
    assert states() == dict.fromkeys("1234", CREATED)
    nothing_is_left_behind()


IN_A_MOVE = [*STEPS[2:3], (Shop, "set_status"), *STEPS[4:]]


@pytest.mark.parametrize("step", IN_A_MOVE, ids=lambda step: step[1])
def test_it_dies_after_any_step_of_a_move_and_each_is_logged_once(
    two_sides: TwoSides, settings: Any, monkeypatch: pytest.MonkeyPatch, step: tuple[Any, str]
) -> None:
    settings.QUEUE_THREADS = 3
    claims = due(Side.CRM, linked(two_sides, 4))
    after(monkeypatch, *step, crash(monkeypatch, *step))
    with pytest.raises(Crash):
        process(claims)
    work_off()
    assert {order["status"] for order in two_sides.shop.orders.values()} == {"cancelled"}
    assert StatusTransition.objects.count() == 4
    assert two_sides.writes()["shop PUT"] == 4
    nothing_is_left_behind()


def crash(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str) -> Callable[[], None]:
    real = getattr(owner, name)

    def die() -> None:
        monkeypatch.setattr(owner, name, real)
        raise Crash

    return die


def test_what_goes_wrong_in_a_thread_is_not_swallowed(
    two_sides: TwoSides, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.QUEUE_THREADS = 2
    real = RestCrm.create

    def create(self: Any, external_id: str, order: Any) -> Any:
        if external_id == "2":
            raise RuntimeError("the disk is full")
        return real(self, external_id, order)

    monkeypatch.setattr(RestCrm, "create", create)
    in_parallel(waiting(two_sides, 3))
    assert "the disk is full" in WebhookEvent.objects.get(order_ref="2").reason
    assert {ref for ref, state in states().items() if state == CREATED} == {"1", "3"}


def after(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, deed: Callable[[], None]) -> None:
    """It happens right after that step, once more at each."""
    real = getattr(owner, name)

    def then(*args: Any, **kwargs: Any) -> Any:
        answer = real(*args, **kwargs)
        deed()
        return answer

    monkeypatch.setattr(owner, name, then)
