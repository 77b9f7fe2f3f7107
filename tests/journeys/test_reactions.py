"""What our write leads to in the shop is part of it: logged, told to the CRM, and neither refused nor repeated."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from orders.models import StatusTransition
from sync.models import Intent
from sync.pipeline import internal_events
from tests.journeys.conftest import World, linked_order
from webhooks.models import State, WebhookEvent


def writes(world: World) -> list[tuple[str, str]]:
    return [(old, new) for _, old, new, _ in world.shop.status_writes]


def logged() -> list[tuple[str, str, str]]:
    rows = StatusTransition.objects.order_by("id")
    return list(rows.values_list("from_status", "to_status", "decision"))


def patched(world: World) -> int:
    return sum(request.method == "PATCH" for request in world.crm.requests)


def told(world: World, crm_id: str) -> dict[str, Any]:
    return dict(world.crm.orders[crm_id]["order"])


def event_of_crm() -> WebhookEvent:
    return WebhookEvent.objects.filter(side="crm").order_by("id")[0]


# --- what a status brings with it ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("begins", "moves", "brings"),
    [
        ("pending", ["paid"], ["date_paid", "date_paid_gmt"]),
        ("pending", ["shipped"], ["date_paid", "date_completed"]),
        ("processing", ["shipped"], ["date_completed", "date_completed_gmt"]),
        ("processing", ["refunded"], ["refunds"]),
        ("pending", ["on_hold", "paid", "completed", "refunded"], ["date_paid", "date_completed", "refunds"]),
    ],
)
def test_the_crm_has_what_its_move_brought_with_it_and_the_delivery_is_an_echo(
    world: World, begins: str, moves: list[str], brings: list[str]
) -> None:
    woo_id, crm_id = linked_order(world, status=begins)
    for status in moves:
        world.crm.set_status(crm_id, status)
        world.settle()
    order = world.shop.orders[woo_id]
    assert [told(world, crm_id)[name] for name in brings] == [order[name] for name in brings]
    assert all(order[name] for name in brings)
    assert world.outcomes("shop")[-len(moves) :] == ["echo"] * len(moves)
    assert patched(world) == len([status for status in moves if status != "on_hold"])


def test_where_the_crm_can_not_be_told_at_once_the_delivery_tells_it(world: World) -> None:
    woo_id, crm_id = linked_order(world, status="pending")
    world.crm.faults.add("500", times=1, method="PATCH")
    world.crm.set_status(crm_id, "paid")
    world.settle()
    assert told(world, crm_id)["date_paid"] == world.shop.orders[woo_id]["date_paid"]
    assert (event_of_crm().outcome, world.outcomes("shop")[-1]) == ("applied", "updated")
    assert (writes(world), logged()) == ([("pending", "processing")], [("pending", "processing", "applied")])


def test_the_shops_own_news_that_are_on_their_way_are_told_as_such(world: World) -> None:
    woo_id, crm_id = linked_order(world, status="pending")
    world.crm.set_status(crm_id, "paid")
    world.crm.settle()
    world.shop.orders[woo_id]["customer_note"] = "ring twice"
    world.settle()
    assert world.outcomes("shop")[-1] == "updated"
    assert (told(world, crm_id)["customer_note"], patched(world)) == ("ring twice", 1)


@pytest.mark.parametrize("to_status", ["on-hold", "processing", "cancelled"])
def test_the_crm_hears_of_a_forced_move(world: World, to_status: str) -> None:
    woo_id, crm_id = linked_order(world, status="completed")
    internal_events.force(world.link(woo_id), to_status=to_status, by="mia", reason="parcel came back")
    world.settle()
    assert (told(world, crm_id)["status"], patched(world)) == (to_status, 1)
    assert world.outcomes("shop")[-1] == "echo"


def test_the_crm_hears_of_a_forced_move_out_of_the_trash_which_the_shop_does_not_tell(world: World) -> None:
    woo_id, crm_id = linked_order(world, status="processing")
    world.shop.trash(woo_id)
    world.settle()
    internal_events.force(world.link(woo_id), to_status="processing", by="mia", reason="it was the wrong one")
    world.settle()
    assert (told(world, crm_id)["status"], told(world, crm_id)["total"]) == ("processing", "53.19")


# --- a plugin goes on ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shown", ["completed", "on-hold", "cancelled", "refunded", "packed"])
def test_what_a_plugin_makes_of_our_write_is_told_and_is_no_refusal(world: World, shown: str) -> None:
    """Further along, back, final, or a status that nobody here knows."""
    woo_id, crm_id = linked_order(world, status="pending")
    world.shop.statuses.append("packed")
    world.shop.plugins = {"processing": shown}
    world.crm.set_status(crm_id, "paid")
    world.settle()
    assert (writes(world), logged()) == ([("pending", "processing")], [("pending", "processing", "applied")])
    event, link = event_of_crm(), world.link(woo_id)
    assert (event.outcome, link.crm_status, link.woo_status) == ("applied", "paid", shown)
    for words in (event.reason, StatusTransition.objects.get().reason):
        assert f"The shop shows {shown!r}" in words
    assert told(world, crm_id)["status"] == shown
    assert world.outcomes("shop")[-1] == "echo"
    assert not Intent.objects.exists()


def test_what_a_plugin_makes_of_a_forced_move_is_told_as_well(world: World) -> None:
    woo_id, crm_id = linked_order(world, status="completed")
    world.shop.plugins = {"processing": "on-hold"}
    internal_events.force(world.link(woo_id), to_status="processing", by="mia", reason="parcel came back")
    world.settle()
    assert (writes(world), logged()) == ([("completed", "processing")], [("completed", "processing", "forced")])
    assert "The shop shows 'on-hold'" in StatusTransition.objects.get().reason
    assert (told(world, crm_id)["status"], world.outcomes("shop")[-1]) == ("on-hold", "echo")


def test_a_plugin_that_does_not_let_us_needs_a_person_soon(world: World) -> None:
    woo_id, crm_id = linked_order(world, status="pending")
    world.shop.faults.add("wrong-status-answer")
    world.crm.set_status(crm_id, "paid")
    world.settle()
    event = event_of_crm()
    assert (event.state, len(writes(world)), logged()) == (State.PARKED, 3, [])
    assert "still shows 'pending' instead of 'processing'" in event.reason
    world.shop.faults.clear()
    event.ask_again(trigger="replay", by="anna")
    world.settle()
    assert (world.shop.orders[woo_id]["status"], len(logged())) == ("processing", 1)


def test_the_answer_of_such_a_write_may_be_lost(world: World) -> None:
    _, crm_id = linked_order(world, status="pending")
    world.shop.plugins = {"processing": "completed"}
    world.shop.faults.add("timeout-after-effect", times=1, method="PUT")
    world.crm.set_status(crm_id, "paid")
    world.settle()
    assert (writes(world), logged()) == ([("pending", "processing")], [("pending", "processing", "applied")])
    assert "The shop shows 'completed'" in StatusTransition.objects.get().reason
    assert event_of_crm().outcome == "applied"
    assert told(world, crm_id)["status"] == "completed"


def test_where_the_shop_went_elsewhere_meanwhile_the_move_is_made_again(world: World, settings: Any) -> None:
    """Where one can not come to from what we wrote, somebody may have gone instead of our write."""
    woo_id, crm_id = linked_order(world, status="pending")
    settings.RETRY_BASE_SECONDS = settings.RETRY_MAX_SECONDS = 3600  # it is made when the test says so
    world.shop.plugins = {"processing": "on-hold"}
    world.shop.faults.add("timeout-after-effect", times=1, method="PUT")
    world.crm.set_status(crm_id, "paid")
    world.work()
    world.shop.plugins = {}
    WebhookEvent.objects.unfinished().update(next_attempt_at=timezone.now() - timedelta(seconds=1))
    world.settle()
    assert logged() == [("on-hold", "processing", "applied")]
    assert world.shop.orders[woo_id]["status"] == "processing"


# --- a slow shop ---------------------------------------------------------------------------------------------------


@pytest.fixture
def slow(world: World, settings: Any) -> World:
    settings.HTTP_TIMEOUT, settings.SHOP_WRITE_LAG = 1.0, 30.0  # a write may take twice as long
    return world


def test_a_write_that_takes_longer_than_a_read_may_is_waited_for(slow: World) -> None:
    _, crm_id = linked_order(slow, status="pending")
    slow.shop.faults.add("slow", times=1, method="PUT", seconds=1.3)
    slow.crm.set_status(crm_id, "paid")
    slow.settle()
    assert (writes(slow), len(logged())) == ([("pending", "processing")], 1)
    assert event_of_crm().tries.count() == 1


def test_a_write_that_nobody_answered_is_not_repeated_while_the_shop_may_be_at_it(slow: World) -> None:
    _, crm_id = linked_order(slow, status="pending")
    slow.shop.faults.add("slow", times=1, method="PUT", seconds=3.0)
    slow.crm.set_status(crm_id, "paid")
    slow.work()
    assert (logged(), Intent.objects.get().to_status) == ([], "processing")
    for _ in range(3):  # it is looked at, and not written
        WebhookEvent.objects.unfinished().update(next_attempt_at=timezone.now() - timedelta(seconds=1))
        slow.work()
    slow.shop.settle()
    WebhookEvent.objects.unfinished().update(next_attempt_at=timezone.now() - timedelta(seconds=1))
    slow.settle()
    assert (writes(slow), logged()) == ([("pending", "processing")], [("pending", "processing", "applied")])
    event = event_of_crm()
    assert (event.outcome, event.attempts) == ("applied", 1), "to look again uses up no attempt"


def test_a_write_that_did_not_come_through_is_repeated_when_its_time_is_over(
    slow: World,
) -> None:
    woo_id, crm_id = linked_order(slow, status="pending")
    slow.shop.faults.add("502", times=1, method="PUT")
    slow.crm.set_status(crm_id, "paid")
    slow.work()
    WebhookEvent.objects.unfinished().update(next_attempt_at=timezone.now() - timedelta(seconds=1))
    slow.work()
    event = event_of_crm()
    assert event.tries.first() and event.tries.first().reasons[0][0] == "write_in_doubt"  # type: ignore[union-attr]
    assert writes(slow) == []
    Intent.objects.update(may_come_until=timezone.now())
    WebhookEvent.objects.unfinished().update(next_attempt_at=timezone.now() - timedelta(seconds=1))
    slow.settle()
    assert (writes(slow), logged()) == ([("pending", "processing")], [("pending", "processing", "applied")])
    assert slow.shop.orders[woo_id]["status"] == "processing"
