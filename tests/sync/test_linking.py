"""Orders are created many at a time, and each ends as if it had been created by itself."""

import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from orders.models import OrderLink
from sync.clients.crm.rest import RestCrm
from sync.clients.snapshots import ShopSnapshot
from sync.jobs import settling
from sync.jobs.settling import Order
from sync.models import Attempt, Intent, Lease
from sync.pipeline import internal_events, leases, linking, worker
from sync.pipeline.leases import Held
from sync.queue import shutdown
from tests.sync.conftest import TwoSides
from webhooks import intake
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
    intake.post_all([internal_events.backfill_event(order, topic="order.created", key=key, by="anna")])


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
        if not worker.work_once():
            return


CREATED = (State.DONE.value, Outcome.CREATED.value)
PENDING = (State.PENDING.value, "")


def test_each_is_created_and_recorded_as_one_by_itself(two_sides: TwoSides) -> None:
    shown = waiting(two_sides, 4)
    alone = waiting(two_sides, 1, first=9)
    assert linking.link(shown) == ({1, 2, 3, 4}, set())
    work = worker.take("shop", "9")
    assert work
    work.seen = alone[9]
    worker.settle(work)
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
        assert list(attempt.calls.values_list("method", "status")) == [("GET", 200), ("POST", 201)]
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


def test_many_cost_no_more_statements_than_a_few(two_sides: TwoSides) -> None:
    linking.link(waiting(two_sides, 1))  # from then on the sides are known to be well
    counted = []
    for shown in (waiting(two_sides, 2, first=11), waiting(two_sides, 20, first=21)):
        with CaptureQueriesContext(connection) as queries:
            linking.link(shown)
        counted.append(len(queries))
    assert counted[0] == counted[1]
    assert len(two_sides.crm.creates) == 23


def test_what_is_not_plain_is_left_to_the_worker(two_sides: TwoSides) -> None:
    shown = waiting(two_sides, 6)
    OrderLink.objects.create(woo_id=1, crm_order_id="C-77")
    Intent.objects.create(woo_id=2, kind=Intent.Kind.CREATE)
    tell(shown[3], "second")
    Held("woo:4")
    WebhookEvent.objects.filter(order_ref="5").update(next_attempt_at=timezone.now() + timedelta(hours=1))
    before = list(WebhookEvent.objects.exclude(order_ref="6").order_by("pk").values())
    assert linking.link(shown) == ({6}, set())
    assert list(WebhookEvent.objects.exclude(order_ref="6").order_by("pk").values()) == before
    assert [one.external_id for one in two_sides.crm.creates] == ["6"]
    assert list(Lease.objects.values_list("key", flat=True)) == ["woo:4"]


def test_what_the_crm_has_is_linked_and_told(two_sides: TwoSides) -> None:
    made = two_sides.crm.add_order("2", "paid")
    assert linking.link(waiting(two_sides, 3)) == ({1, 2, 3}, set())
    assert OrderLink.objects.get(woo_id=2).crm_order_id == made["id"]
    assert two_sides.writes() == {"crm POST": 2, "crm PATCH": 1}
    nothing_is_left_behind()


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(("fault", "state"), [("502", State.RETRYING), ("422", State.PARKED), ("429", State.RETRYING)])
def test_after_an_error_the_others_wait(two_sides: TwoSides, method: str, fault: str, state: str) -> None:
    shown = waiting(two_sides, 4)
    two_sides.crm.faults.add(fault, 1, method=method)
    assert linking.link(shown) == ({1}, {2, 3, 4})
    assert states() == {"1": (state, ""), "2": PENDING, "3": PENDING, "4": PENDING}
    assert not Lease.objects.exists()
    assert set(Intent.objects.values_list("woo_id", flat=True)) <= {1}
    assert two_sides.crm.creates == []


def test_a_creation_in_doubt_is_looked_for_before_it_is_sent_again(two_sides: TwoSides) -> None:
    two_sides.crm.honours_idempotency_key = False
    shown = waiting(two_sides, 3)
    two_sides.crm.faults.add("timeout-after-effect", 1, method="POST", seconds=0.0)
    assert linking.link(shown) == ({1}, {2, 3})
    assert list(Intent.objects.values_list("woo_id", flat=True)) == [1]
    work_off()
    assert sorted(one.external_id for one in two_sides.crm.creates) == ["1", "2", "3"]
    nothing_is_left_behind()


@pytest.mark.parametrize("at", ["find", "create"])
def test_whose_lease_is_lost_records_nothing(two_sides: TwoSides, monkeypatch: pytest.MonkeyPatch, at: str) -> None:
    """Another worker has taken it meanwhile, and its result counts."""
    shown = waiting(two_sides, 3)
    after(monkeypatch, RestCrm, at, lambda: Lease.objects.filter(key="woo:2").update(token=leases.uuid.uuid4()))
    done, _ = linking.link(shown)
    assert done >= {1, 3}
    assert {ref for ref, state in states().items() if state == CREATED} == {"1", "3"}
    assert not OrderLink.objects.filter(woo_id=2).exists()
    assert list(Lease.objects.values_list("key", flat=True)) == ["woo:2"]


def test_a_pair_that_is_taken_needs_a_person_and_the_others_are_linked(two_sides: TwoSides) -> None:
    first = two_sides.crm.add_order("500", "paid")["id"]
    taken = f"{first.rpartition('-')[0]}-{int(first.rpartition('-')[2]) + 2}"
    OrderLink.objects.create(woo_id=99, crm_order_id=taken)
    linking.link(waiting(two_sides, 3))
    assert states() == {"1": CREATED, "2": (State.PARKED, ""), "3": CREATED}
    assert "could not be linked" in WebhookEvent.objects.get(order_ref="2").reason
    assert not Lease.objects.exists()


@pytest.mark.parametrize("many", [True, False], ids=["together", "alone"])
def test_what_a_list_showed_long_ago_is_read_again(two_sides: TwoSides, many: bool) -> None:
    """Behind a speed limit, or a side that was away, a page is an hour old when its last order has its turn."""
    shown = waiting(two_sides, 3 if many else 1)
    for woo_id in shown:
        two_sides.shop.orders[woo_id] = {**two_sides.shop.orders[woo_id], "customer_note": "later"}
    fresh = {1} if many else set()
    seen_at = {woo_id: time.monotonic() - (0 if woo_id in fresh else settling.FRESH + 1) for woo_id in shown}
    todo = [[Order(Side.SHOP, str(woo_id), seen, seen_at[woo_id]) for woo_id, seen in shown.items()]]
    while todo:
        todo += settling._settle(todo.pop())
    notes = {woo_id: two_sides.crm.by_external(woo_id)[0]["order"]["customer_note"] for woo_id in shown}
    assert notes == {woo_id: shown[woo_id].order["customer_note"] if woo_id in fresh else "later" for woo_id in shown}
    assert shown[1].order["customer_note"] != "later"


@pytest.mark.parametrize("how", ["slow", "leaving"])
def test_no_more_is_begun_when_time_is_up(two_sides: TwoSides, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    shown = waiting(two_sides, 3)
    if how == "slow":
        monkeypatch.setattr(linking, "PATIENCE", 0.0)
    else:
        shutdown.asked.set()
    assert linking.link(shown) == ({1}, {2, 3})
    assert states() == {"1": CREATED, "2": PENDING, "3": PENDING}
    nothing_is_left_behind()


@pytest.mark.parametrize("late", [False, True])
def test_no_intent_is_older_than_its_post(two_sides: TwoSides, monkeypatch: pytest.MonkeyPatch, late: bool) -> None:
    if late:
        monkeypatch.setattr(linking, "SENDING", timedelta(minutes=-1))
    ages, began = [], timezone.now()
    after(monkeypatch, RestCrm, "create", lambda: ages.extend(Intent.objects.values_list("at", flat=True)))
    linking.link(waiting(two_sides, 1))
    assert len(ages) == 1
    assert ages[0] >= (began if late else timezone.now())


class Crash(BaseException):
    """As `kill -9` would: no handler of ours runs, and an open transaction is rolled back."""


STEPS: tuple[tuple[Any, str], ...] = (
    (RestCrm, "find"),
    (worker, "keep"),
    (RestCrm, "create"),
    (leases, "release"),
    (worker, "forget"),
    (worker, "save_attempts"),
    (worker, "heard"),
)


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step[1])
def test_it_dies_after_any_step_and_each_order_is_created_once(
    two_sides: TwoSides, monkeypatch: pytest.MonkeyPatch, step: tuple[Any, str]
) -> None:
    two_sides.crm.honours_idempotency_key = False
    shown = waiting(two_sides, 4)

    def die() -> None:
        monkeypatch.undo()
        raise Crash

    after(monkeypatch, *step, die)
    with pytest.raises(Crash):
        linking.link(shown)
    work_off()
    assert sorted(one.external_id for one in two_sides.crm.creates) == ["1", "2", "3", "4"]
    assert states() == dict.fromkeys("1234", CREATED)
    nothing_is_left_behind()


def after(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, do: Callable[[], Any]) -> None:
    real = getattr(owner, name)

    def both(*args: Any, **kwargs: Any) -> Any:
        answer = real(*args, **kwargs)
        do()
        return answer

    monkeypatch.setattr(owner, name, both)
