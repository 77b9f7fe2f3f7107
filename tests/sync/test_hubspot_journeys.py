"""Orders of a shop in HubSpot and back, and what an account does that stands in their way."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from orders.models import OrderLink, StatusRule
from sync.jobs import engine, processing, reconciliation
from sync.models import SideState
from sync.sandbox.crms.hubspot import HubspotStandIn
from sync.sandbox.shop import SandboxShop
from tests import pipeline
from tests.factories import WebhookEventFactory
from tests.sync.hubspot_stage import started
from webhooks.models import WebhookEvent


class Sides:
    def __init__(self, shop: SandboxShop, hubspot: HubspotStandIn) -> None:
        self.shop, self.hubspot = shop, hubspot

    def event(self, **fields: Any) -> WebhookEvent:
        return WebhookEventFactory(order_ref=str(self.shop.create_order(**fields)["id"]))

    def work(self) -> None:
        while pipeline.work_once():
            pass

    def poll(self) -> None:
        run = reconciliation.start(actor="anna")
        assert engine.carry_out(run), run.error
        self.work()

    def later(self) -> None:
        """What is waited for is over."""
        past = datetime.now(UTC) - timedelta(seconds=1)
        SideState.objects.filter(wait_until__isnull=False).update(wait_until=past)
        SideState.objects.filter(probe_at__isnull=False).update(probe_at=past)
        WebhookEvent.objects.unfinished().update(next_attempt_at=past)
        self.work()


@pytest.fixture
def sides(transactional_db: None, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sides]:
    shop = SandboxShop(consumer_key="ck_test", consumer_secret="cs_test")
    shop.start()
    settings.WOO_URL, settings.WOO_CONSUMER_KEY, settings.WOO_CONSUMER_SECRET = shop.url, "ck_test", "cs_test"
    settings.RETRY_BASE_SECONDS, settings.RETRY_MAX_SECONDS = 0.02, 0.1
    settings.CRM_LIST_LAG = settings.SHOP_WRITE_LAG = 0.0
    monkeypatch.setattr(processing, "POLL", 0.01)
    for crm_status, woo_status in HubspotStandIn.rules.items():
        StatusRule.objects.create(crm_status=crm_status, woo_status=woo_status)
    for hubspot in started():
        settings.CRM_BACKEND, settings.CRM_URL, settings.CRM_TOKEN = "hubspot", hubspot.url, hubspot.token
        settings.CRM_OPTIONS = {"time_zone": "Europe/Berlin"}
        yield Sides(shop, hubspot)
    shop.stop()


def states(*events: WebhookEvent) -> set[tuple[str, int]]:
    """And how many attempts were used up."""
    return {(one.state, one.attempts) for one in WebhookEvent.objects.filter(pk__in=[event.pk for event in events])}


def test_an_order_goes_there_is_moved_and_comes_back_by_polling(sides: Sides) -> None:
    event = sides.event()
    sides.work()
    event.refresh_from_db()
    assert (event.state, event.outcome) == ("done", "created"), event.reason
    link = OrderLink.objects.get()
    sides.poll()
    assert sides.shop.orders[link.woo_id]["status"] == "pending", "where it began is no move"
    for stage, expected in (("Processed", "processing"), ("Shipped", "completed")):
        sides.hubspot.set_status(link.crm_order_id, stage)
        sides.poll()
        assert sides.shop.orders[link.woo_id]["status"] == expected
    sides.poll()
    assert not WebhookEvent.objects.unfinished().exists()
    assert len(sides.hubspot.orders.all) == 1


def test_the_daily_limit_is_waited_for_until_it_is_over_and_uses_no_attempts_up(
    sides: Sides, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When a day ends is tested elsewhere: here it is never just over."""
    monkeypatch.setattr("sync.clients.crm.hubspot.words.day_ends", lambda zone, now: now + timedelta(hours=5))
    sides.hubspot.left["DAILY"] = 4  # somewhere amid the first order
    events = [sides.event() for _ in range(3)]
    sides.work()
    assert ("done", 0) not in states(*events)
    assert {attempts for _, attempts in states(*events)} == {0}
    side = SideState.objects.get(name="crm")
    assert "daily limit of calls is used up. We wait until" in side.last_error
    assert side.wait_until is not None
    assert side.wait_until > datetime.now(UTC) + timedelta(hours=4)
    assert side.opened_at is None, "it is no outage"
    calls = len(sides.hubspot.requests)
    sides.work()
    assert len(sides.hubspot.requests) == calls, "nobody asks while it waits"
    sides.hubspot.left.clear()
    sides.later()
    assert {state for state, _ in states(*events)} == {"done"}
    assert {kind: len(sides.hubspot.records[kind].all) for kind in ("orders", "contacts")} == {
        "orders": 3,
        "contacts": len({one.links["contacts"][0] for one in sides.hubspot.orders.all.values()}),
    }


@pytest.mark.parametrize("wrong", ["key", "scope", "property"])
def test_what_is_wrong_with_the_account_parks_no_order(sides: Sides, settings: Any, wrong: str) -> None:
    """A token revoked while ten orders wait, for one."""
    definition = sides.hubspot.orders.definitions["woo_order_id"]
    if wrong == "key":
        sides.hubspot.token = "another"
    elif wrong == "scope":
        sides.hubspot.missing_scopes = {"crm.objects.orders.write"}
    else:
        del sides.hubspot.orders.definitions["woo_order_id"]
    events = [sides.event() for _ in range(10)]
    sides.work()
    assert {state for state, _ in states(*events)} <= {"pending", "retrying"}
    assert sides.hubspot.orders.all == {}
    sides.hubspot.token, sides.hubspot.missing_scopes = settings.CRM_TOKEN, set()
    sides.hubspot.orders.definitions["woo_order_id"] = definition
    sides.later()
    sides.later()
    assert {state for state, _ in states(*events)} == {"done"}
    assert len(sides.hubspot.orders.all) == 10


def test_a_total_that_differs_needs_a_person_who_reads_both_figures(sides: Sides) -> None:
    event = sides.event()
    change = sides.hubspot.orders.add

    def workflow(properties: dict[str, str]) -> Any:
        return change({**properties, "hs_total_price": "1.00"})

    sides.hubspot.orders.add = workflow  # type: ignore[assignment, method-assign]
    sides.work()
    event.refresh_from_db()
    total = sides.shop.orders[int(event.order_ref)]["total"]
    assert event.state == "parked"
    assert f"is 1.00, and the shop's is {total}" in event.reason


def test_what_the_shop_changes_reaches_the_same_order(sides: Sides) -> None:
    sides.event()
    sides.work()
    [woo_id] = sides.shop.orders
    sides.shop.orders[woo_id]["customer_note"] = "ring twice 🚪"
    event = WebhookEventFactory(order_ref=str(woo_id))
    sides.work()
    event.refresh_from_db()
    assert (event.state, event.outcome) == ("done", "updated"), event.reason
    [order] = sides.hubspot.orders.all.values()
    assert "ring twice 🚪" in order.properties["hs_order_note"]
