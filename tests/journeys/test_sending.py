"""Only some orders are sent: the others end as filtered, until they or the rule change. And what the shop is told."""

import json
from typing import Any

import pytest
from django.utils import timezone

from orders.models import OrderLink
from sync.jobs import backfill, engine, reconciliation
from sync.models import Run
from sync.pipeline.sending import NAMES_AT_ONCE, SENDS
from sync.sandbox.orders import new_order
from tests.journeys.conftest import World, linked_order
from webhooks.models import Bridge, WebhookEvent

OURS = "_orderbridge_crm_order_id"


def choose(**options: Any) -> None:
    Bridge.objects.filter(pk=1).update(options=options)


def counted(run: Run) -> dict[str, int]:
    engine.carry_out(run)
    assert run.state == Run.State.DONE, run.error
    return {name: n for name, n in run.counts.items() if n}


def in_crm(world: World) -> list[str]:
    return sorted(order["external_id"] for order in world.crm.orders.values())


def metas(world: World, woo_id: int) -> list[str]:
    return [one["value"] for one in world.shop.orders[woo_id]["meta_data"] if one["key"] == OURS]


def puts(world: World) -> list[dict[str, Any]]:
    return [json.loads(request.body) for request in world.shop.requests if request.method == "PUT"]


def found_in_crm(world: World) -> int:
    """An order that the CRM has already when we hear of it."""
    order = world.shop.load(new_order(14, timezone.now(), world.shop.url, {"status": "pending"}))
    world.crm.add_order("14", **order)
    world.shop.edit(14, customer_note="ring twice")
    world.settle()
    return int(order["id"])


# --- which orders --------------------------------------------------------------------------------------------------


def test_an_order_that_is_left_out_is_filtered_and_sent_as_soon_as_it_matches(world: World) -> None:
    choose(**{SENDS: {"statuses": ["processing", "completed"]}})
    woo_id = world.shop.create_order(status="pending")["id"]
    world.settle()
    assert "filtered" in world.outcomes() and set(world.outcomes()) <= {"filtered", "superseded"}
    assert world.crm.orders == {} and not OrderLink.objects.exists()
    assert "its status is 'pending'" in WebhookEvent.objects.filter(outcome="filtered").first().reason  # type: ignore[union-attr]

    world.shop.set_status(woo_id, "processing")
    world.settle()
    assert in_crm(world) == [str(woo_id)]
    assert world.link(woo_id).woo_status == "processing"


def test_a_linked_order_goes_on_whatever_the_rule_says_now(world: World) -> None:
    woo_id, crm_id = linked_order(world, status="pending")
    choose(**{SENDS: {"statuses": ["completed"]}})
    world.shop.edit(woo_id, customer_note="ring twice")
    world.settle()
    assert world.outcomes("shop")[-1] == "updated"
    world.crm.set_status(crm_id, "paid")
    world.settle()
    assert world.shop.orders[woo_id]["status"] == "processing"


def test_what_the_crm_has_already_is_linked(world: World) -> None:
    """As after a creation whose answer nobody recorded: to leave it alone would leave it wrong for ever."""
    choose(**{SENDS: {"statuses": ["completed"]}})
    woo_id = found_in_crm(world)
    assert world.link(woo_id)
    assert in_crm(world) == [str(woo_id)]


def test_a_changed_rule_is_made_good_by_a_backfill_which_counts_who_stays_out(world: World) -> None:
    choose(**{SENDS: {"minimum_total": "1000000"}})
    ids = [world.shop.create_order(status="processing")["id"] for _ in range(3)]
    world.settle()
    assert world.crm.orders == {}
    assert counted(backfill.start(actor="")) == {"seen": 3, "filtered": 3}
    assert counted(backfill.start(actor="", dry_run=True)) == {"seen": 3, "filtered": 3}
    choose()
    assert counted(backfill.start(actor="", dry_run=True)) == {"seen": 3, "created": 3}
    assert counted(backfill.start(actor="", restart=True)) == {"seen": 3, "created": 3}
    assert in_crm(world) == sorted(map(str, ids))


def test_reconcile_misses_nobody_who_is_left_out_and_finds_them_once_the_rule_lets_them(world: World) -> None:
    choose(**{SENDS: {"statuses": ["completed"]}})
    woo_id = world.shop.create_order(status="processing")["id"]
    world.settle()
    counted(reconciliation.start())
    assert not WebhookEvent.objects.filter(source="sweep").exists()
    choose()
    counted(reconciliation.start(deep=True))
    world.settle()
    assert in_crm(world) == [str(woo_id)]


# --- the CRM's id in the shop --------------------------------------------------------------------------------------


def test_the_first_status_brings_the_crm_id_and_needs_no_call_of_its_own(world: World) -> None:
    woo_id, crm_id = linked_order(world, status="pending")
    assert metas(world, woo_id) == [] and puts(world) == []
    world.crm.set_status(crm_id, "paid")
    world.settle()
    assert metas(world, woo_id) == [crm_id]
    world.crm.set_status(crm_id, "shipped")
    world.settle()
    assert metas(world, woo_id) == [crm_id]
    first, second = puts(world)
    assert first == {"status": "processing", "meta_data": [{"key": OURS, "value": crm_id}]}
    assert second == {"status": "completed"}
    told = world.crm.orders[crm_id]["order"]
    assert OURS not in {one["key"] for one in told["meta_data"]}
    assert world.outcomes("shop")[-1] == "echo"


@pytest.mark.parametrize("found", [False, True])
def test_at_once_if_the_bridge_says_so_and_that_is_no_news_of_the_order(world: World, found: bool) -> None:
    choose(**{NAMES_AT_ONCE: True})
    if found:
        woo_id = found_in_crm(world)
        crm_id = world.link(woo_id).crm_order_id
    else:
        woo_id, crm_id = linked_order(world, status="pending")
    assert metas(world, woo_id) == [crm_id]
    [put] = puts(world)
    assert put == {"meta_data": [{"key": OURS, "value": crm_id}]}
    assert set(world.outcomes("shop")[-1:]) <= {"no_change", "echo"}
    assert [request.method for request in world.crm.requests].count("PATCH") <= int(found)
    world.crm.set_status(crm_id, "paid")
    world.settle()
    assert puts(world)[-1] == {"status": "processing"}


def test_a_shop_that_does_not_take_it_has_the_order_in_the_crm_all_the_same(world: World) -> None:
    choose(**{NAMES_AT_ONCE: True})
    world.shop.faults.add("500", times=1, method="PUT")
    woo_id, crm_id = linked_order(world, status="pending")
    assert metas(world, woo_id) == []
    assert "created" in world.outcomes("shop")
    world.crm.set_status(crm_id, "paid")
    world.settle()
    assert metas(world, woo_id) == [crm_id]
