"""Two systems that answer each other for ever are stopped, order by order, until a person has looked."""

from typing import Any

import pytest

from tests.journeys.conftest import World, linked_order
from webhooks.models import WebhookEvent


@pytest.fixture(autouse=True)
def soon(settings: Any) -> None:
    settings.LOOP_MAX_CHANGES, settings.LOOP_WINDOW_SECONDS = 3, 300


def edit(world: World, woo_id: int, note: str) -> WebhookEvent:
    """An edit in the shop, carried to the CRM or not; the event that told of it."""
    world.shop.edit(woo_id, customer_note=note)
    world.settle()
    return WebhookEvent.objects.filter(side="shop", order_ref=str(woo_id)).latest("id")


def move(world: World, crm_id: str, status: str) -> WebhookEvent:
    world.crm.set_status(crm_id, status)
    world.settle()
    return WebhookEvent.objects.filter(side="crm", order_ref=crm_id).latest("id")


def test_edits_without_end_are_parked_with_the_reason_and_a_person_may_let_one_through(world: World) -> None:
    woo_id, crm_id = linked_order(world, status="pending")
    assert [edit(world, woo_id, f"note {number}").outcome for number in range(3)] == ["updated"] * 3
    event = edit(world, woo_id, "note 3")
    assert (event.state, event.outcome) == ("parked", "")
    assert event.reason == "3 changes within 300 s: a loop? Look at the order, then replay."
    assert world.crm.orders[crm_id]["order"]["customer_note"] == "note 2"

    event.ask_again(trigger="replay", by="anna")
    world.settle()
    event.refresh_from_db()
    assert (event.state, event.outcome) == ("done", "updated")
    assert world.crm.orders[crm_id]["order"]["customer_note"] == "note 3"
    assert [(one.trigger, one.actor, one.result) for one in event.tries.order_by("id")] == [
        ("delivery", "", "parked"),
        ("replay", "anna", "updated"),
    ]
    assert edit(world, woo_id, "note 4").state == "parked"


def test_moves_without_end_are_parked_too(world: World) -> None:
    woo_id, crm_id = linked_order(world, status="pending")
    moves = [move(world, crm_id, status).outcome for status in ("on_hold", "failed", "new")]
    assert moves == ["applied"] * 3
    event = move(world, crm_id, "on_hold")
    assert (event.state, world.shop.orders[woo_id]["status"]) == ("parked", "pending")

    event.ask_again(trigger="replay", by="anna")
    world.settle()
    assert world.shop.orders[woo_id]["status"] == "on-hold"


def test_a_persons_replay_goes_through_also_when_news_came_meanwhile(world: World) -> None:
    woo_id, crm_id = linked_order(world, status="pending")
    for number in range(3):
        edit(world, woo_id, f"note {number}")
    parked = edit(world, woo_id, "note 3")
    world.shop.edit(woo_id, customer_note="note 4")
    world.shop.settle()
    parked.ask_again(trigger="replay", by="anna")
    world.settle()
    assert world.crm.orders[crm_id]["order"]["customer_note"] == "note 4"


def test_only_that_order_is_stopped(world: World) -> None:
    woo_id, _ = linked_order(world, status="pending")
    for number in range(4):
        last = edit(world, woo_id, f"note {number}")
    other, _ = linked_order(world, status="pending")
    assert (last.state, edit(world, other, "another").outcome) == ("parked", "updated")


def test_what_changes_nothing_does_not_count(world: World) -> None:
    woo_id, _ = linked_order(world, status="pending")
    for number in range(5):
        world.shop.edit(woo_id, meta_data=[{"id": 1, "key": "_edit_lock", "value": str(number)}])
        world.settle()
    assert edit(world, woo_id, "at last").outcome == "updated"


def test_after_the_time_has_passed_work_goes_on(world: World, settings: Any) -> None:
    woo_id, _ = linked_order(world, status="pending")
    for number in range(4):
        last = edit(world, woo_id, f"note {number}")
    assert last.state == "parked"
    settings.LOOP_WINDOW_SECONDS = 0
    assert edit(world, woo_id, "later").outcome == "updated"
