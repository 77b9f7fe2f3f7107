"""VERIFY: which events are believed as they are signed, and which are read back from the CRM first."""

from typing import Any

import pytest

from sync.models import Call
from tests.journeys.conftest import World, linked_order
from webhooks import intake


def reads() -> int:
    return Call.objects.filter(side="crm", method="GET").count()


@pytest.mark.parametrize(
    ("verify", "status", "left_out", "read_back"),
    [
        ("critical", "on_hold", [], 0),
        ("critical", "on_hold", ["event_id", "updated_at"], 0),
        ("critical", "on_hold", ["version"], 1),
        ("critical", "on_hold", ["status"], 1),
        ("critical", "paid", [], 1),
        ("critical", "cancelled", [], 1),
        ("always", "on_hold", [], 1),
        ("always", "paid", [], 1),
    ],
)
def test_what_is_read_back(
    world: World, settings: Any, verify: str, status: str, left_out: list[str], read_back: int
) -> None:
    woo_id, crm_id = linked_order(world, status="pending")
    settings.VERIFY = verify
    before = reads()
    world.crm.set_status(crm_id, status, notify=False)
    world.crm.send(crm_id, world.crm.event(crm_id, **dict.fromkeys(left_out)))
    world.settle()
    written = {"on_hold": "on-hold", "paid": "processing", "cancelled": "cancelled"}[status]
    assert (world.shop.orders[woo_id]["status"], reads() - before) == (written, read_back)
    # A payment brings a date, which the CRM is told: that is its next version (docs/decisions/0060).
    assert world.link(woo_id).crm_version == (3 if status == "paid" else 2)


@pytest.mark.parametrize(("verify", "written"), [("always", "pending"), ("critical", "on-hold")])
def test_only_critical_takes_the_events_word_for_it(world: World, settings: Any, verify: str, written: str) -> None:
    """The event says on_hold, the CRM still says new."""
    settings.VERIFY = verify
    woo_id, crm_id = linked_order(world, status="pending")
    world.crm.send(crm_id, world.crm.event(crm_id, status="on_hold", version=1 if verify == "always" else 2))
    world.settle()
    assert world.shop.orders[woo_id]["status"] == written


def test_several_events_of_one_order_are_read_back(world: World, settings: Any) -> None:
    settings.VERIFY = "critical"
    woo_id, crm_id = linked_order(world, status="pending")
    before = reads()
    for status in ("on_hold", "failed"):
        world.crm.set_status(crm_id, status)
    world.settle()
    assert (world.shop.orders[woo_id]["status"], reads() - before) == ("failed", 1)


def test_an_old_event_is_stale_though_it_is_not_read_back(world: World, settings: Any) -> None:
    settings.VERIFY = "critical"
    woo_id, crm_id = linked_order(world, status="pending")
    for status in ("on_hold", "failed"):
        world.crm.set_status(crm_id, status)
        world.settle()
    world.crm.send(crm_id, {"event_id": "late", "crm_order_id": crm_id, "status": "on_hold", "version": 2})
    world.settle()
    assert (world.outcomes("crm")[-1], world.shop.orders[woo_id]["status"]) == ("stale", "failed")


def test_an_order_that_is_not_linked_yet_is_read_back(world: World, settings: Any) -> None:
    settings.VERIFY = "critical"
    order = world.shop.load({**world.shop.create_order(status="pending"), "id": 77})
    crm_id = world.crm.add_order("77")["id"]
    before = reads()
    world.crm.set_status(crm_id, "on_hold")
    world.settle()
    assert world.link(order["id"]).crm_order_id == crm_id
    assert (world.shop.orders[77]["status"], reads() - before > 0) == ("on-hold", True)


def test_what_a_list_showed_is_read_back(world: World, settings: Any) -> None:
    """A sweep's event carries status and version as well, but nobody signed it, and a list may be behind."""
    settings.VERIFY = "critical"
    woo_id, crm_id = linked_order(world, status="pending")
    intake.post(
        bridge=1,
        side="crm",
        source="sweep",
        topic="order.updated",
        order_ref=crm_id,
        key="x",
        version=1,
        status="on_hold",
        body={},
    )
    world.settle()
    assert world.shop.orders[woo_id]["status"] == "pending"
