"""A CRM without versions whose clock was ahead and is put right: what its people do then is news all the same."""

from datetime import datetime, timedelta

import pytest

from orders.models import OrderLink
from sync.clients.snapshots import CrmSnapshot
from sync.jobs import engine, reconciliation
from sync.pipeline import internal_events
from sync.pipeline.plan import LinkFacts
from tests.factories import WebhookEventFactory
from tests.sync.crms.whole import Whole, sides
from webhooks import clock
from webhooks.models import WebhookEvent

__all__ = ["sides"]

NOW = datetime.fromisoformat("2026-11-24T12:00:00+00:00")
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
MOVES = {"erpnext": "To Deliver and Bill", "odoo": "sale"}


def facts(known: datetime | None, status: str = "draft", version: int | None = None) -> LinkFacts:
    return LinkFacts(woo_id=14, crm_order_id="1", crm_status=status, crm_version=version, crm_updated_at=known)


def read(at: datetime | None, version: int | None = None) -> CrmSnapshot:
    return CrmSnapshot(crm_order_id="1", external_id="14", status="sale", version=version, updated_at=at, answer={})


@pytest.mark.parametrize(
    ("known", "shown", "crm_now", "is_so"),
    [
        (facts(NOW + HOUR), read(NOW), NOW, True),
        (facts(NOW + HOUR), read(NOW - HOUR), NOW, True),
        (facts(NOW - HOUR), read(NOW - 2 * HOUR), NOW, False),  # a list that lags, or a backup
        (facts(NOW + 2 * HOUR), read(NOW + HOUR), NOW, False),  # its clock and its times do not agree at all
        (facts(NOW + MINUTE / 2), read(NOW - HOUR), NOW, False),  # as two machines may differ
        (facts(NOW + HOUR), read(NOW), None, False),
        (facts(NOW + HOUR), read(None), NOW, False),
        (facts(None), read(NOW), NOW, False),
        (facts(NOW + HOUR, version=3), read(NOW, version=2), NOW, False),
        (facts(NOW + HOUR, version=3), read(NOW), NOW, True),
        (facts(NOW + HOUR, status=""), read(NOW), NOW, False),
    ],
)
def test_only_a_time_that_is_still_to_come_tells_that_a_clock_was_put_back(
    known: LinkFacts, shown: CrmSnapshot, crm_now: datetime | None, is_so: bool
) -> None:
    assert known.was_put_back(shown, crm_now) is is_so


HAVE_A_CLOCK = pytest.mark.parametrize("sides", ["erpnext", "odoo"], indirect=True)


def linked(sides: Whole, ahead: timedelta) -> int:
    """While the CRM's clock is so far ahead."""
    sides.crm.clock_is_ahead = ahead
    woo_id = sides.order(status="pending")
    assert sides.deliver(woo_id).outcome == "created"
    sides.crm.clock_is_ahead = timedelta()
    return woo_id


def moved(sides: Whole, woo_id: int) -> WebhookEvent:
    """By its people, as its webhook tells."""
    sides.crm.set_status(sides.crm_id(woo_id), MOVES[sides.backend])
    event: WebhookEvent = WebhookEventFactory(side="crm", order_ref=sides.crm_id(woo_id))
    return event


@HAVE_A_CLOCK
def test_a_move_after_the_clock_was_put_right_reaches_the_shop(sides: Whole) -> None:
    woo_id = linked(sides, 2 * HOUR)
    event = moved(sides, woo_id)
    sides.work()
    event.refresh_from_db()
    assert event.outcome == "applied", event.reason
    assert "clock was put back" in event.reason
    assert sides.shop.orders[woo_id]["status"] == "processing"


@HAVE_A_CLOCK
def test_it_is_found_by_asking_too(sides: Whole) -> None:
    woo_id = linked(sides, 2 * HOUR)
    sides.crm.set_status(sides.crm_id(woo_id), MOVES[sides.backend])
    run = reconciliation.start(actor="anna")
    assert engine.carry_out(run), run.error
    sides.work()
    assert sides.shop.orders[woo_id]["status"] == "processing"


@HAVE_A_CLOCK
def test_what_a_restored_crm_shows_counts_when_somebody_asks_to_compare(sides: Whole) -> None:
    """An old state is old news, until a person says that it is the state."""
    woo_id = linked(sides, timedelta())
    event = moved(sides, woo_id)
    later = OrderLink.objects.get(woo_id=woo_id).crm_updated_at
    assert later is not None
    OrderLink.objects.filter(woo_id=woo_id).update(crm_updated_at=later + MINUTE / 2)  # as it was before the restore
    sides.work()
    event.refresh_from_db()
    assert event.outcome == "stale"
    asked = internal_events.resync(OrderLink.objects.get(woo_id=woo_id), by="anna", reason="restored")
    sides.work()
    asked.refresh_from_db()
    assert asked.state == "retrying", "it may lag"
    WebhookEvent.objects.filter(pk=asked.pk).update(received_at=clock.now() - 2 * MINUTE)
    sides.work(at_once=True)
    asked.refresh_from_db()
    assert asked.outcome == "applied", asked.reason
    assert sides.shop.orders[woo_id]["status"] == "processing"
