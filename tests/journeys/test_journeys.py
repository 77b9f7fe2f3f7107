"""Both journeys, end to end: a change on one side, its effect on the other."""

import json
from pathlib import Path
from typing import Any

import pytest
import requests
from django.core.management import call_command

from orders.models import OrderLink, StatusRule, StatusTransition
from sync.jobs import engine, reconciliation
from sync.models import Attempt, Call, SideState
from sync.monitoring import todo
from sync.pipeline import internal_events
from sync.sandbox.outbox import Network
from tests.deliveries import recorded
from tests.journeys.conftest import World, linked_order, wait_for
from webhooks.models import WebhookEvent

RECORDED = Path(__file__).parent.parent / "payloads" / "woocommerce"


def deliver(world: World, name: str) -> requests.Response:
    """Post a recorded delivery of a real WooCommerce, byte for byte."""
    body, headers = recorded(name[:5])
    return requests.post(world.endpoint, data=body, headers=headers, timeout=60)


def recorded_order(name: str) -> dict[str, Any]:
    order: dict[str, Any] = json.loads(recorded(name[:5])[0])
    return order


def test_a_recorded_order_stands_in_the_crm_and_is_linked(world: World) -> None:
    world.shop.load(recorded_order("00006-order.created-14.json"))
    assert deliver(world, "00006-order.created-14.json").json()["status"] == "accepted"
    # The same bytes under another webhook and topic: neither is signed.
    assert deliver(world, "00007-order.updated-14.json").json()["status"] == "duplicate"
    world.settle()
    [crm_order] = world.crm.by_external("14")
    assert crm_order["order"]["billing"]["last_name"] == "Müller-Østergård 王"
    assert world.link(14).crm_order_id == crm_order["id"]
    assert world.outcomes("shop") == ["created"]


def test_every_recorded_delivery_is_settled_and_no_order_is_created_twice(world: World) -> None:
    for path in sorted(RECORDED.glob("*.json")):
        body, _ = recorded(path.name[:5])
        if body.startswith(b"{") and b'"line_items"' in body:
            world.shop.load(json.loads(body))
    for path in sorted(RECORDED.glob("*.json")):
        assert deliver(world, path.name).status_code == 200, path.name
    world.settle(60)
    assert {len(world.crm.by_external(str(link.woo_id))) for link in OrderLink.objects.all()} == {1}
    assert OrderLink.objects.count() == len(world.crm.orders) >= 15
    parked = WebhookEvent.objects.filter(state="parked")
    assert {event.topic for event in parked} == {
        "order.created",  # an error body of the shop; that of order.updated is the same
        "action.woocommerce_order_status_changed",
        "action.woocommerce_order_status_completed",
    }
    assert not world.shop.status_writes


def test_a_status_of_the_crm_reaches_the_shop_and_its_echo_goes_nowhere(world: World) -> None:
    woo_id, crm_id = linked_order(world, status="pending")
    world.crm.set_status(crm_id, "paid")
    world.settle()
    assert world.shop.orders[woo_id]["status"] == "processing"
    [transition] = StatusTransition.objects.all()
    assert (transition.from_status, transition.to_status, transition.decision) == ("pending", "processing", "applied")
    assert transition.event is not None and transition.event.outcome == "applied"
    assert "echo" in world.outcomes("shop")
    [told] = Call.objects.filter(method="PATCH")
    assert told.attempt.event == transition.event, "date_paid, which the move brought with it, goes along with the move"
    assert world.crm.orders[crm_id]["order"]["date_paid"] == world.shop.orders[woo_id]["date_paid"] is not None


def test_a_move_that_brings_nothing_with_it_is_no_call_to_the_crm(world: World) -> None:
    _, crm_id = linked_order(world, status="pending")
    world.crm.set_status(crm_id, "on_hold")
    world.settle()
    assert world.outcomes("shop")[-1] == "echo"
    assert not Call.objects.filter(method="PATCH").exists()


def test_a_backward_move_is_refused_and_logged(world: World) -> None:
    woo_id, crm_id = linked_order(world, status="processing")
    world.crm.set_status(crm_id, "shipped")
    world.settle()
    world.crm.set_status(crm_id, "processing")
    world.settle()
    assert world.shop.orders[woo_id]["status"] == "completed"
    assert [t.decision for t in StatusTransition.objects.order_by("id")] == ["applied", "refused"]
    assert world.outcomes("crm")[-1] == "refused"


def test_the_shops_edits_are_sent_and_the_trash_is_told(world: World) -> None:
    woo_id, crm_id = linked_order(world)
    world.shop.edit(woo_id, customer_note="Bitte klingeln 🚪")
    world.settle()
    assert world.outcomes("shop")[-1] == "updated"
    assert world.crm.orders[crm_id]["order"]["customer_note"] == "Bitte klingeln 🚪"
    world.shop.trash(woo_id)
    world.settle()
    assert world.crm.orders[crm_id]["order"]["status"] == "trash"
    assert world.link(woo_id).crm_order_id == crm_id


def test_the_trash_is_told_once_and_the_order_is_told_when_it_is_back(world: World) -> None:
    woo_id, crm_id = linked_order(world)
    world.shop.trash(woo_id)
    world.settle()
    calls = Call.objects.filter(side="crm").count()
    world.shop.resend("order.deleted", woo_id)
    world.settle()
    run = reconciliation.start()
    engine.carry_out(run)
    assert (world.outcomes("shop")[-1], run.counts["shop"]) == ("no_change", 0)
    assert Call.objects.filter(side="crm").count() == calls
    world.shop.restore(woo_id)
    world.settle()
    assert world.crm.orders[crm_id]["order"]["status"] == "pending"
    assert not WebhookEvent.objects.filter(source="resync").exists(), "nothing was refused meanwhile"


def test_what_the_crm_moved_while_the_order_was_in_the_trash_is_made_up_for_once_it_is_back(world: World) -> None:
    woo_id, crm_id = linked_order(world)
    world.shop.trash(woo_id)
    world.settle()
    world.crm.set_status(crm_id, "paid")
    world.settle()
    assert world.shop.orders[woo_id]["status"] == "trash", "from there no move is allowed"
    world.shop.restore(woo_id)
    world.settle()
    assert world.shop.orders[woo_id]["status"] == "processing"
    assert world.link(woo_id).transitions.latest("id").decision == "applied"


def test_a_move_that_came_before_the_deletion_needs_nobody_once_the_crm_was_told(world: World) -> None:
    woo_id, crm_id = linked_order(world)
    world.shop.network = Network(lose=1.0)
    world.shop.delete(woo_id)
    world.crm.set_status(crm_id, "paid")
    world.settle()
    moved = WebhookEvent.objects.get(state="parked")
    call_command("reconcile", "--deep")
    world.settle()
    assert world.crm.orders[crm_id]["order"]["status"] == "trash"
    assert world.link(woo_id).crm_status == "paid", "so that it is made up for, should the order come back"
    todo.refresh()
    moved.refresh_from_db()
    assert (moved.state, moved.outcome) == ("done", "superseded")
    assert "no longer has order" in moved.reason


def test_a_move_forced_out_of_the_trash_is_told_to_the_crm(world: World) -> None:
    woo_id, crm_id = linked_order(world)
    world.shop.trash(woo_id)
    world.settle()
    internal_events.force(world.link(woo_id), to_status="on-hold", by="mia", reason="not meant to go")
    world.settle()
    world.shop.resend("order.updated", woo_id)
    world.settle()
    assert world.crm.orders[crm_id]["order"]["status"] == "on-hold"


def test_an_edit_that_changes_nothing_is_no_call_to_the_crm(world: World) -> None:
    woo_id, _ = linked_order(world)
    calls = Call.objects.filter(side="crm").count()
    world.shop.edit(woo_id, meta_data=[{"id": 1, "key": "_edit_lock", "value": "1764288000:1"}])
    world.settle()
    assert world.outcomes("shop")[-1] == "no_change"
    assert Call.objects.filter(side="crm").count() == calls


def test_the_crms_webhook_may_come_before_the_link_is_stored(world: World) -> None:
    world.shop.load({**recorded_order("00006-order.created-14.json"), "status": "pending"})
    created = world.crm.add_order("14")
    world.crm.set_status(created["id"], "paid")
    world.settle()
    assert world.link(14).crm_order_id == created["id"]
    assert world.shop.orders[14]["status"] == "processing"


def test_an_order_found_in_the_crm_with_a_status_we_never_saw_still_gets_its_move(world: World) -> None:
    """The creation timed out, the CRM moved on, and only then did we find and link the order."""
    world.crm.faults.add("timeout-after-effect", times=1, method="POST")
    order = world.shop.create_order(status="pending")
    world.work()
    wait_for(lambda: world.crm.by_external(str(order["id"])))
    [crm_order] = world.crm.by_external(str(order["id"]))
    world.crm.set_status(crm_order["id"], "paid")
    world.settle()
    assert len(world.crm.by_external(str(order["id"]))) == 1
    assert world.shop.orders[order["id"]]["status"] == "processing"


def test_an_order_of_another_shop_is_not_ours(world: World) -> None:
    created = world.crm.add_order("999999")
    world.crm.set_status(created["id"], "paid")
    world.settle()
    assert world.outcomes("crm") == ["not_ours"]


def test_an_unmapped_status_parks_and_a_rule_and_a_replay_mend_it(world: World) -> None:
    woo_id, crm_id = linked_order(world, status="pending")
    world.crm.set_status(crm_id, "qualified")
    world.settle()
    event = WebhookEvent.objects.get(side="crm")
    assert event.state == "parked" and "'qualified' has no status rule" in event.reason
    StatusRule.objects.create(crm_status="qualified", woo_status="on-hold")
    event.ask_again(trigger="replay", by="anna")
    world.settle()
    event.refresh_from_db()
    assert (event.state, event.outcome) == ("done", "applied")
    assert world.shop.orders[woo_id]["status"] == "on-hold"
    assert [attempt.result for attempt in event.tries.order_by("id")] == ["parked", "applied"]
    assert StatusTransition.objects.get().actor == "anna"


def test_a_stale_event_changes_nothing(world: World) -> None:
    woo_id, crm_id = linked_order(world, status="processing")
    world.crm.set_status(crm_id, "shipped")
    world.settle()
    world.crm.send(crm_id, {"event_id": "evt_late", "crm_order_id": crm_id, "status": "paid", "version": 1})
    world.settle()
    assert world.outcomes("crm")[-1] == "stale"
    assert world.shop.orders[woo_id]["status"] == "completed"


def test_many_events_of_one_order_are_answered_by_one_read(world: World) -> None:
    woo_id, crm_id = linked_order(world, status="pending")
    for status in ("paid", "processing", "shipped"):
        world.crm.set_status(crm_id, status)
    world.crm.settle()
    world.settle()
    assert sorted(world.outcomes("crm")) == ["applied", "superseded", "superseded"]
    assert world.shop.orders[woo_id]["status"] == "completed"
    assert len(world.shop.status_writes) == 1


def test_non_critical_status_is_taken_from_the_signed_event_if_so_set(world: World, settings: Any) -> None:
    settings.VERIFY = "critical"
    woo_id, crm_id = linked_order(world, status="pending")
    reads = Call.objects.filter(side="crm", method="GET").count()
    world.crm.set_status(crm_id, "on_hold")
    world.settle()
    assert world.shop.orders[woo_id]["status"] == "on-hold"
    assert Call.objects.filter(side="crm", method="GET").count() == reads
    world.crm.set_status(crm_id, "paid")
    world.settle()
    assert world.shop.orders[woo_id]["status"] == "processing"
    assert Call.objects.filter(side="crm", method="GET").count() == reads + 1


# --- failures


@pytest.mark.cases_alike
@pytest.mark.parametrize("fault", ["500", "503-retry-after", "429", "html", "captcha-202", "down", "truncated"])
@pytest.mark.parametrize("method", ["POST", "GET"])
def test_a_failing_crm_is_tried_again_and_gets_the_order_once(world: World, fault: str, method: str) -> None:
    world.crm.honours_idempotency_key = False
    world.crm.faults.add(fault, times=2, method=method)
    order = world.shop.create_order()
    world.settle()
    assert len(world.crm.by_external(str(order["id"]))) == 1
    assert world.link(order["id"]).crm_order_id == world.crm.by_external(str(order["id"]))[0]["id"]


@pytest.mark.cases_alike
@pytest.mark.parametrize("fault", ["500", "html", "down", "timeout-after-effect", "wrong-status-answer"])
def test_a_failing_shop_is_tried_again_and_written_once(world: World, fault: str) -> None:
    woo_id, crm_id = linked_order(world, status="pending")
    world.shop.faults.add(fault, times=2, method="PUT")
    world.crm.set_status(crm_id, "paid")
    world.settle()
    assert world.shop.orders[woo_id]["status"] == "processing"
    assert [(t.from_status, t.to_status) for t in StatusTransition.objects.all()] == [("pending", "processing")]
    # The fault that answers with the old status also keeps it: only then is the write repeated.
    times = 3 if fault == "wrong-status-answer" else 1
    assert [(old, new) for _, old, new, *_ in world.shop.status_writes] == [("pending", "processing")] * times


def test_an_outage_uses_no_attempts_and_all_go_through_once_it_is_back(world: World, settings: Any) -> None:
    settings.RETRY_MAX_ATTEMPTS = 4
    world.crm.faults.add("500", times=10_000)
    for _ in range(5):
        world.shop.create_order()
    for _ in range(10):
        world.work()
    assert SideState.objects.get(name="crm").opened_at is not None
    assert not WebhookEvent.objects.filter(state="dead").exists()
    assert not OrderLink.objects.exists()
    world.crm.faults.clear()
    world.settle()
    assert OrderLink.objects.count() == 5
    assert SideState.objects.get(name="crm").opened_at is None


def test_one_poisoned_order_dies_alone(world: World, settings: Any) -> None:
    settings.RETRY_MAX_ATTEMPTS = 3
    woo_id, crm_id = linked_order(world)
    world.crm.faults.add("500", times=10_000, path=f"/orders/{crm_id}")
    world.crm.set_status(crm_id, "paid")
    world.settle()
    assert WebhookEvent.objects.get(side="crm").state == "dead"
    other, _ = linked_order(world)
    assert world.link(other) and woo_id != other


@pytest.mark.cases_alike
@pytest.mark.parametrize(
    "fault", ["403", "403-html", "422", "500", "502", "html", "captcha-202", "truncated", "down", "slow"]
)
@pytest.mark.parametrize(
    ("side", "method", "path"),
    [
        ("shop", "GET", "/wp-json/wc/v3/orders/{woo_id}"),
        ("shop", "PUT", "/wp-json/wc/v3/orders/{woo_id}"),
        ("crm", "GET", "/orders/{crm_id}"),
        ("crm", "PATCH", "/orders/{crm_id}"),
        ("crm", "POST", "/orders"),
    ],
)
def test_what_a_side_says_of_one_order_is_no_outage(
    world: World, settings: Any, caplog: pytest.LogCaptureFixture, side: str, method: str, path: str, fault: str
) -> None:
    settings.RETRY_MAX_ATTEMPTS, settings.RETRY_BASE_SECONDS, settings.BREAKER_THRESHOLD = 2, 0.0, 2
    woo_id, crm_id = linked_order(world, status="pending")
    if fault == "slow":
        settings.HTTP_TIMEOUT = 0.6
    faults = world.shop.faults if side == "shop" else world.crm.faults
    faults.add(fault, method=method, path=path.format(woo_id=woo_id, crm_id=crm_id), seconds=1.5)
    if method == "POST":
        world.shop.create_order()
    elif method == "PATCH":
        world.shop.edit(woo_id, customer_note="leave it at the door")
    else:
        world.crm.set_status(crm_id, "paid")
    world.settle()
    got_through = fault in ("truncated", "slow") and method != "GET"
    assert got_through or WebhookEvent.objects.filter(state__in=("dead", "parked")).exists()
    assert "breaker opened" not in caplog.messages
    assert set(SideState.objects.values_list("failures", "opened_at")) == {(0, None)}
    settings.HTTP_TIMEOUT = 10.0
    if method != "POST":
        assert world.link(linked_order(world)[0])  # the others go on


def test_a_page_of_maintenance_is_an_outage_at_once_and_is_not_waited_for(world: World, settings: Any) -> None:
    """WordPress asks for ten minutes, and is back after seconds."""
    settings.RETRY_MAX_ATTEMPTS = 1
    world.shop.faults.add("503-retry-after", after=600)
    world.shop.create_order()
    world.work()
    shop = SideState.objects.get(name="shop")
    assert shop.opened_at is not None and shop.wait_until is None
    assert "maintenance mode (an update is running)" in shop.last_error
    assert not WebhookEvent.objects.exclude(attempts=0).exists()
    world.shop.faults.clear()
    world.settle()
    assert OrderLink.objects.count() == 1


def test_a_rejected_order_is_parked_with_what_the_crm_said(world: World) -> None:
    world.crm.faults.add("422", method="POST")
    world.shop.create_order(status="pending")
    world.settle()
    event = WebhookEvent.objects.get(state="parked")
    assert "The order lacks what we need" in event.reason
    world.crm.faults.clear()
    event.ask_again(trigger="replay", by="anna")
    world.settle()
    assert OrderLink.objects.count() == 1
    assert [attempt.result for attempt in Attempt.objects.filter(event=event).order_by("id")] == ["Rejected", "created"]


def test_what_staff_set_by_hand_after_the_shop_had_not_taken_it_is_not_logged_as_ours(world: World) -> None:
    woo_id, crm_id = linked_order(world)
    world.shop.faults.add("422", times=1, method="PUT")
    world.crm.set_status(crm_id, "paid")
    world.work()
    world.shop.set_status(woo_id, "processing")
    WebhookEvent.objects.get(side="crm").ask_again(trigger="replay", by="mia")
    world.settle()
    assert world.outcomes("crm")[0] == "no_change"
    assert not StatusTransition.objects.exists()


@pytest.mark.parametrize("side", ["shop", "crm"])
def test_an_order_that_the_key_may_not_read_needs_a_person_and_keeps_no_other_waiting(world: World, side: str) -> None:
    woo_id, crm_id = linked_order(world)
    world.shop.hidden = {woo_id}
    if side == "shop":
        world.shop.edit(woo_id, customer_note="x")
    else:
        world.crm.set_status(crm_id, "paid")
    world.work()
    event = WebhookEvent.objects.filter(side=side).latest("id")
    assert event.state == "parked" and f"but not order {woo_id}" in event.reason
    shop = SideState.objects.get(name="shop")
    assert (shop.failures, shop.opened_at) == (0, None)


def test_an_old_event_of_an_order_that_is_gone_does_not_bring_back_what_it_was(world: World) -> None:
    woo_id, crm_id = linked_order(world)
    world.shop.edit(woo_id, customer_note="two", status="processing")
    world.settle()
    world.shop.delete(woo_id)
    first = WebhookEvent.objects.filter(side="shop").earliest("id")
    first.ask_again(trigger="replay", by="mia")
    world.settle()
    told = world.crm.orders[crm_id]["order"]
    assert (told["customer_note"], told["status"]) == ("two", "trash"), "as when a deep reconcile finds it gone"
    assert world.link(woo_id).woo_status == "trash"
