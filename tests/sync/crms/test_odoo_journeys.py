"""Orders of a shop in Odoo, and back: by webhook and by polling, whatever dies in between."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client

from orders.models import OrderLink
from sync.clients.crm.defaults import ensure_rules
from sync.clients.crm.odoo.calls import Calls
from sync.jobs import backfill, engine, processing, reconciliation
from sync.models import Intent, Lease, SideState
from sync.monitoring import doctor
from sync.sandbox.crms import odoo as stand_in
from sync.sandbox.crms.odoo import OdooStandIn
from sync.sandbox.crms.odoo.records import PARTNER, SALE
from sync.sandbox.shop import SandboxShop
from tests import pipeline
from tests.factories import WebhookEventFactory
from webhooks.models import WebhookEvent

SECRET = OdooStandIn.settings["webhook_secrets"]


class Crash(BaseException):
    """As `kill -9` would: no handler of ours runs, and an open transaction is rolled back."""


class Sides:
    def __init__(self, shop: SandboxShop, odoo: OdooStandIn) -> None:
        self.shop, self.odoo = shop, odoo

    def order(self, **fields: Any) -> int:
        return int(self.shop.create_order(**fields)["id"])

    def deliver(self, woo_id: int) -> WebhookEvent:
        event = WebhookEventFactory(order_ref=str(woo_id))
        pipeline.work_once()
        event.refresh_from_db()
        return event

    def move(self, woo_id: int, *ways: str) -> None:
        self.odoo.wait_a_second()
        for way in ways:
            self.odoo.set_status(OrderLink.objects.get(woo_id=woo_id).crm_order_id, way)

    def poll(self) -> None:
        run = reconciliation.start(actor="anna")
        assert engine.carry_out(run), run.error
        work_all()


def work_all() -> None:
    while pipeline.work_once():
        pass


@pytest.fixture
def sides(transactional_db: None, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sides]:
    shop, odoo = SandboxShop(consumer_key="ck_test", consumer_secret="cs_test"), OdooStandIn()
    shop.start()
    odoo.start()
    settings.WOO_URL, settings.WOO_CONSUMER_KEY, settings.WOO_CONSUMER_SECRET = shop.url, "ck_test", "cs_test"
    settings.CRM_BACKEND, settings.CRM_URL, settings.CRM_TOKEN = "odoo", odoo.url, odoo.settings["token"]
    settings.CRM_WEBHOOK_SECRETS = [SECRET]
    settings.CRM_OPTIONS = {"database": "demo", "login": "orderbridge"}
    settings.RETRY_BASE_SECONDS, settings.RETRY_MAX_SECONDS = 0.02, 0.1
    settings.CRM_LIST_LAG = settings.SHOP_WRITE_LAG = 0.0
    monkeypatch.setattr(processing, "POLL", 0.01)
    ensure_rules("odoo")
    yield Sides(shop, odoo)
    shop.stop()
    odoo.stop()


def test_an_order_is_there_once_with_its_total(sides: Sides) -> None:
    woo_id = sides.order(
        line_items=[{"name": "Tea", "sku": "LAB-3", "quantity": 3, "price": "8.50"}, {"name": "Loose"}]
    )
    event = sides.deliver(woo_id)
    assert (event.state, event.outcome) == ("done", "created"), event.reason
    [row] = sides.odoo.shown()
    assert (row.external_id, row.status) == (f"woo-{woo_id}", "draft")
    assert row.total == f"{sides.shop.orders[woo_id]['total']} EUR"
    assert sides.deliver(woo_id).outcome == "no_change"
    sides.shop.orders[woo_id]["customer_note"] = "ring twice"
    assert sides.deliver(woo_id).outcome == "updated"
    sides.poll()
    assert sides.shop.orders[woo_id]["status"] == "pending", "where it began is no move"


@pytest.mark.parametrize(
    ("ways", "expected"),
    [
        (("sent",), "on-hold"),
        (("sale",), "processing"),
        (("sale", "done"), "completed"),
        (("cancel",), "cancelled"),
    ],
)
def test_every_status_comes_to_the_shop_by_polling(sides: Sides, ways: tuple[str, ...], expected: str) -> None:
    woo_id = sides.order()
    sides.deliver(woo_id)
    sides.move(woo_id, *ways)
    sides.poll()
    assert sides.shop.orders[woo_id]["status"] == expected
    sides.poll()
    assert not WebhookEvent.objects.unfinished().exists()


def test_who_moves_an_order_before_we_look_at_it_has_moved_it(sides: Sides, monkeypatch: pytest.MonkeyPatch) -> None:
    """Odoo answers a creation with the id alone: its status is asked a moment later."""
    real = sides.odoo.sales.create

    def moved_at_once(values: Any, uid: int) -> int:
        made = real(values, uid)
        sides.odoo.records.change(SALE, made, {"state": "sent"})
        return made

    monkeypatch.setattr(sides.odoo.sales, "create", moved_at_once)
    woo_id = sides.order()
    sides.deliver(woo_id)
    sides.poll()
    assert sides.shop.orders[woo_id]["status"] == "on-hold"
    assert len(sides.odoo.shown()) == 1


def test_a_webhook_that_comes_before_the_change_is_stored_is_no_miss(
    sides: Sides, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three of them for one confirmation; and who reads at once sees the state of before (READBACK.txt)."""
    woo_id = sides.order()
    sides.deliver(woo_id)
    sides.move(woo_id, "sent")
    sides.poll()
    seen: list[Any] = []

    def arrives(url: str, body: bytes, *_: Any) -> int:
        answer = client.post(f"/webhooks/crm/crm/{SECRET}/", body, content_type="application/json")
        seen.append(answer.json()["status"])
        pipeline.work_once()
        seen.append(sides.shop.orders[woo_id]["status"])
        return answer.status_code

    monkeypatch.setattr(stand_in, "post", arrives)
    sides.odoo.webhook_url = "http://127.0.0.1:9/"
    sides.move(woo_id, "sale")
    assert seen == ["accepted", "on-hold", "duplicate", "on-hold", "duplicate", "on-hold"]
    WebhookEvent.objects.unfinished().update(next_attempt_at=datetime.now(UTC) - timedelta(seconds=1))
    work_all()
    assert sides.shop.orders[woo_id]["status"] == "processing"


@pytest.mark.parametrize("secret", ["wrong-wrong-wrong-wrong", SECRET[:-1]])
def test_a_webhook_without_the_secret_is_refused(sides: Sides, client: Client, secret: str) -> None:
    body = json.dumps({"_id": 1, "_model": SALE, "state": "sale"})
    assert client.post(f"/webhooks/crm/crm/{secret}/", body, content_type="application/json").status_code == 401
    assert not WebhookEvent.objects.exists()


def test_a_webhook_about_something_else_is_not_stored(sides: Sides, client: Client) -> None:
    body = json.dumps({"_id": 1, "_model": "res.partner"})
    assert client.post(f"/webhooks/crm/crm/{SECRET}/", body, content_type="application/json").status_code == 200
    assert not WebhookEvent.objects.exists()


@pytest.mark.parametrize(("model", "done"), [(PARTNER, False), (PARTNER, True), (SALE, False), (SALE, True)], ids=str)
def test_whatever_dies_there_is_one_contact_and_one_order(
    sides: Sides, monkeypatch: pytest.MonkeyPatch, model: str, done: bool
) -> None:
    before = len(sides.odoo.records.tables[PARTNER])
    woo_id = sides.order()
    real = Calls.create

    def dying(calls: Calls, to: str, values: Any) -> list[int]:
        if to != model:
            return real(calls, to, values)
        monkeypatch.setattr(Calls, "create", real)
        if done:
            real(calls, to, values)
        raise Crash

    monkeypatch.setattr(Calls, "create", dying)
    event = WebhookEventFactory(order_ref=str(woo_id))
    with pytest.raises(Crash):
        pipeline.work_once()
    past = datetime.now(UTC) - timedelta(seconds=1)  # the leases of the killed worker have run out
    Lease.objects.update(expires_at=past)
    WebhookEvent.objects.unfinished().update(next_attempt_at=past)
    work_all()
    event.refresh_from_db()
    assert (event.state, event.outcome) == ("done", "created"), event.reason
    assert len(sides.odoo.records.tables[PARTNER]) == before + 1
    assert len(sides.odoo.records.tables[SALE]) == 1


def test_a_backfill_of_few_customers_makes_each_of_them_once(sides: Sides) -> None:
    before = len(sides.odoo.records.tables[PARTNER])
    for number in range(20):
        sides.order(billing={"email": f"c{number % 4}@example.test", "phone": ""})
    for again in range(2):
        run = backfill.start(actor="anna", restart=bool(again))
        assert engine.carry_out(run), run.error
    assert OrderLink.objects.count() == len(sides.odoo.records.tables[SALE]) == 20
    assert len(sides.odoo.records.tables[PARTNER]) == before + 4
    assert not Intent.objects.exists()


def test_an_outage_uses_no_attempts_up_and_a_clash_does(sides: Sides, settings: Any) -> None:
    settings.BREAKER_THRESHOLD = 1
    woo_id = sides.order()
    sides.odoo.stop()
    event = sides.deliver(woo_id)
    assert (event.state, event.attempts) == ("retrying", 0)
    sides.odoo.start()
    SideState.objects.update(probe_at=datetime.now(UTC), opened_at=None, failures=0)
    work_all()
    event.refresh_from_db()
    assert event.outcome == "created", event.reason


def test_the_doctor_finds_nothing_amiss(sides: Sides) -> None:
    sides.deliver(sides.order())
    found = doctor.examine("crm")
    assert found
    assert {one.level for one in found} == {"ok"}, found
