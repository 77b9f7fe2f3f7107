"""What people ask for takes the same way as what a side reports, and is held to the same rules."""

from datetime import timedelta

import pytest
from django.utils import timezone

from orders.models import OrderLink, StatusTransition
from sync.pipeline import internal_events
from tests import pipeline
from tests.journeys.conftest import World
from tests.journeys.test_crashes import IN_STATUS, crash_and_go_on
from webhooks.models import State, WebhookEvent


def linked(world: World, crm_status: str, shop_status: str) -> OrderLink:
    """A settled order; afterwards the shop shows `shop_status`, which the CRM has been told."""
    order = world.shop.create_order(status="pending")
    world.settle()
    world.crm.set_status(world.link(order["id"]).crm_order_id, crm_status)
    world.settle()
    world.shop.set_status(order["id"], shop_status)
    world.settle()
    return world.link(order["id"])


def writes(world: World) -> list[tuple[str, str]]:
    return [(old, new) for _, old, new, *_ in world.shop.status_writes]


def patched(world: World) -> int:
    return sum(request.method == "PATCH" for request in world.crm.requests)


def test_a_resync_mends_a_shop_that_fell_behind_although_the_crm_has_no_news(world: World) -> None:
    link = linked(world, "paid", "on-hold")
    event = internal_events.resync(link, by="ada", reason="asked by the customer")
    world.settle()
    event.refresh_from_db()
    assert event.outcome == "applied"
    assert writes(world)[-1] == ("on-hold", "processing")
    transition = StatusTransition.objects.latest("id")
    assert (transition.decision, transition.actor) == ("applied", "ada")


def test_a_resync_leaves_a_shop_alone_that_is_ahead(world: World) -> None:
    link = linked(world, "paid", "completed")
    event = internal_events.resync(link)
    world.settle()
    event.refresh_from_db()
    assert (event.outcome, writes(world)[-1]) == ("no_change", ("pending", "processing"))
    assert "ahead" in event.reason


def test_a_resync_does_not_do_what_an_event_may_not(world: World) -> None:
    link = linked(world, "cancelled", "completed")
    event = internal_events.resync(link)
    world.settle()
    event.refresh_from_db()
    assert (event.outcome, world.shop.orders[link.woo_id]["status"]) == ("refused", "completed")


def test_a_resync_of_an_order_that_the_crm_lost_is_parked_at_once(world: World) -> None:
    link = linked(world, "paid", "processing")
    world.crm.delete(link.crm_order_id)
    event = internal_events.resync(link)
    world.settle()
    event.refresh_from_db()
    assert event.state == State.PARKED


def test_a_forced_move_is_made_logged_with_its_author_and_told_to_the_crm_once(world: World) -> None:
    link = linked(world, "shipped", "completed")
    patches = patched(world)
    event = internal_events.force(link, to_status="processing", by="mia", reason="parcel came back")
    world.settle()
    event.refresh_from_db()
    assert (event.outcome, world.shop.orders[link.woo_id]["status"]) == ("applied", "processing")
    transition = StatusTransition.objects.latest("id")
    assert (transition.from_status, transition.to_status, transition.decision) == ("completed", "processing", "forced")
    assert (transition.actor, transition.reason) == ("mia", "Forced by mia: parcel came back")
    assert patched(world) == patches + 1
    assert world.crm.orders[link.crm_order_id]["order"]["status"] == "processing"
    assert world.outcomes("shop")[-1] == "echo"


def test_a_forced_move_to_a_status_the_shop_does_not_know_is_parked_with_its_answer(world: World) -> None:
    link = linked(world, "paid", "processing")
    event = internal_events.force(link, to_status="teleported", by="mia", reason="why not")
    world.settle()
    event.refresh_from_db()
    assert event.state == State.PARKED
    assert "status" in event.reason


def test_a_forced_move_stands_alone_among_the_events_that_one_read_answers(world: World) -> None:
    link = linked(world, "paid", "processing")
    asked = [
        internal_events.resync(link),
        internal_events.resync(link),
        internal_events.force(link, to_status="on-hold", by="mia", reason="stop it"),
        internal_events.resync(link),
    ]
    world.settle()
    outcomes = [WebhookEvent.objects.get(pk=event.pk).outcome for event in asked]
    assert outcomes == ["superseded", "no_change", "applied", "applied"]
    assert writes(world)[-2:] == [("processing", "on-hold"), ("on-hold", "processing")]


def test_a_forced_move_neither_waits_for_an_earlier_events_retry_nor_causes_it(world: World) -> None:
    """Found by the model: the worker tried the waiting event again and again, without a pause."""
    link = linked(world, "paid", "processing")
    waiting = internal_events.resync(link)
    later = timezone.now() + timedelta(hours=1)
    WebhookEvent.objects.filter(pk=waiting.pk).update(state=State.RETRYING, next_attempt_at=later)
    asked = internal_events.force(link, to_status="on-hold", by="mia", reason="stop it")
    assert pipeline.work_once()
    asked.refresh_from_db()
    waiting.refresh_from_db()
    assert (asked.outcome, world.shop.orders[link.woo_id]["status"]) == ("applied", "on-hold")
    assert (waiting.state, waiting.next_attempt_at, waiting.tries.count()) == (State.RETRYING, later, 0)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", IN_STATUS)
def test_a_crash_in_a_forced_move(world: World, monkeypatch: pytest.MonkeyPatch, step: str, when: str) -> None:
    link = linked(world, "shipped", "completed")
    internal_events.force(link, to_status="processing", by="mia", reason="parcel came back")
    crash_and_go_on(world, monkeypatch, step, when)
    assert world.shop.orders[link.woo_id]["status"] == "processing"
    assert writes(world).count(("completed", "processing")) == 1
    assert world.link(link.woo_id).crm_status == "shipped"
    [transition] = StatusTransition.objects.filter(decision="forced")
    assert (transition.from_status, transition.to_status) == ("completed", "processing")
