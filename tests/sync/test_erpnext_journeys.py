"""Orders of a shop in ERPNext, and back: the whole way, with its signed webhooks and without them."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests

from orders.models import OrderLink
from sync.clients.crm.cache import forget_all
from sync.clients.crm.defaults import ensure_rules
from sync.clients.crm.erpnext.hook import TEMPLATE
from sync.jobs import backfill, engine, processing, reconciliation
from sync.models import Intent, SideState
from sync.monitoring import doctor
from sync.sandbox.crms.erpnext import ErpnextStandIn
from sync.sandbox.shop import SandboxShop
from sync.sandbox.signing import hmac_base64
from tests import pipeline
from tests.deliveries import post
from tests.factories import WebhookEventFactory
from webhooks.models import WebhookEvent

SECRET = "of-the-webhook-in-erpnext"
OPEN = "To Deliver and Bill"


class Sides:
    def __init__(self, shop: SandboxShop, erpnext: ErpnextStandIn) -> None:
        self.shop, self.erpnext = shop, erpnext

    def deliver(self, woo_id: int) -> WebhookEvent:
        event: WebhookEvent = WebhookEventFactory(order_ref=str(woo_id))
        self.work()
        event.refresh_from_db()
        return event

    def order(self, **fields: Any) -> tuple[int, str]:
        """One that is in both: by the numbers of both."""
        woo_id = int(self.shop.create_order(**fields)["id"])
        event = self.deliver(woo_id)
        assert (event.state, event.outcome) == ("done", "created"), event.reason
        return woo_id, OrderLink.objects.get(woo_id=woo_id).crm_order_id

    def tell(self, body: dict[str, Any], secret: str = SECRET) -> Any:
        """As frappe posts it."""
        text = json.dumps(body).encode()
        signed = {"X-Frappe-Webhook-Signature": hmac_base64(text, secret)}
        return post("/webhooks/crm/", text, signed)

    def told(self, name: str) -> WebhookEvent:
        answer = self.tell(self.erpnext.webhook_body(self.erpnext.orders[name])).json()
        assert answer["status"] == "accepted"
        self.work()
        return WebhookEvent.objects.get(pk=answer["event"])

    def poll(self) -> None:
        run = reconciliation.start(actor="anna")
        assert engine.carry_out(run), run.error
        self.work()

    def work(self) -> None:
        while pipeline.work_once():
            pass

    def status(self, woo_id: int) -> str:
        return str(self.shop.orders[woo_id]["status"])


@pytest.fixture
def sides(transactional_db: None, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sides]:
    shop = SandboxShop(consumer_key="ck_test", consumer_secret="cs_test")
    erpnext = ErpnextStandIn()
    for one in (shop, erpnext):
        one.start()
    settings.WOO_URL, settings.WOO_CONSUMER_KEY, settings.WOO_CONSUMER_SECRET = shop.url, "ck_test", "cs_test"
    settings.CRM_BACKEND, settings.CRM_URL, settings.CRM_TOKEN = "erpnext", erpnext.url, erpnext.token
    settings.CRM_OPTIONS, settings.CRM_WEBHOOK_SECRETS = {**erpnext.settings}, [SECRET]
    settings.RETRY_BASE_SECONDS, settings.RETRY_MAX_SECONDS = 0.02, 0.1
    settings.CRM_LIST_LAG = settings.SHOP_WRITE_LAG = 0.0
    monkeypatch.setattr(processing, "POLL", 0.01)
    forget_all()
    ensure_rules("erpnext")
    yield Sides(shop, erpnext)
    shop.stop()
    erpnext.stop()


def test_an_order_goes_there_and_its_status_comes_back_by_a_signed_webhook(sides: Sides) -> None:
    woo_id, name = sides.order(status="pending", customer_note="Bitte klingeln 🚪")
    doc = sides.erpnext.orders[name]
    assert doc["woo_order_id"] == f"woo-{woo_id}"
    assert f"{doc['grand_total']:.2f}" == sides.shop.orders[woo_id]["total"]
    for there, here in ((OPEN, "processing"), ("Completed", "completed")):
        sides.erpnext.set_status(name, there)
        event = sides.told(name)
        assert event.outcome == "applied", event.reason
        assert event.schema == "erpnext/1"
        assert sides.status(woo_id) == here
    sides.erpnext.documents.update("Sales Order", name, {"po_no": "x"})
    assert sides.told(name).outcome == "no_change"


def test_without_a_webhook_it_is_found_by_asking(sides: Sides) -> None:
    woo_id, name = sides.order(status="pending")
    sides.poll()
    assert sides.status(woo_id) == "pending", "where it began is no move"
    sides.erpnext.set_status(name, "On Hold")
    sides.poll()
    assert sides.status(woo_id) == "on-hold"


def test_a_webhook_that_is_not_signed_so_is_refused(sides: Sides) -> None:
    _, name = sides.order()
    body = sides.erpnext.webhook_body(sides.erpnext.orders[name])
    assert sides.tell(body, "another-secret").status_code == 401
    assert post("/webhooks/crm/", json.dumps(body).encode(), {}).status_code == 401


def test_its_time_is_not_believed(sides: Sides) -> None:
    """Without a zone it would be read as UTC, and be of the future where the site is east of Greenwich."""
    woo_id, name = sides.order(status="pending")
    sides.erpnext.set_status(name, OPEN)
    there = sides.erpnext.orders[name]
    answer = sides.tell({"crm_order_id": name, "status": OPEN, "updated_at": there["modified"]})
    sides.work()
    event = WebhookEvent.objects.get(pk=answer.json()["event"])
    assert (event.outcome, event.occurred_at) == ("applied", None)
    assert sides.status(woo_id) == "processing"


def test_a_deletion_sends_the_last_body_again_and_is_news(sides: Sides) -> None:
    _, name = sides.order(status="pending")
    sides.erpnext.documents.update("Sales Order", name, {"po_no": "x"})
    body = sides.erpnext.webhook_body(sides.erpnext.orders[name])
    assert sides.told(name).outcome == "no_change"
    sides.erpnext.delete(name)
    answer = sides.tell(body).json()
    assert answer["status"] == "accepted"
    sides.work()
    event = WebhookEvent.objects.get(pk=answer["event"])
    assert event.state != "done", "it is looked for, and then a person is asked"


def test_a_name_that_was_given_again_moves_no_other_order(sides: Sides) -> None:
    woo_id, name = sides.order(status="pending")
    sides.erpnext.delete(name)
    values = {"customer": next(iter(sides.erpnext.documents.kept["Customer"])), "company": "Example Shop"}
    values |= {"items": [{"item_code": "LAB-2", "qty": 1, "rate": 1}], "woo_order_id": "woo-99999"}
    assert sides.erpnext.documents.create("Sales Order", values)["name"] == name
    sides.erpnext.set_status(name, "Completed")
    event = sides.told(name)
    assert event.state == "parked", event.reason
    assert sides.status(woo_id) == "pending"


def test_the_template_makes_what_the_stand_in_sends(sides: Sides) -> None:
    _, name = sides.order()
    doc = sides.erpnext.orders[name]

    def filled(found: re.Match[str]) -> str:
        return str(doc[found[1]])

    text = re.sub(r"{{ doc\.(\w+)(?: or '')? }}", filled, TEMPLATE)
    assert json.loads(text) == sides.erpnext.webhook_body(doc)


def test_what_one_order_holds_is_no_outage(sides: Sides) -> None:
    del sides.erpnext.documents.kept["Item"]["WOO-ITEM"]
    woo_id = int(sides.shop.create_order(line_items=[{"name": "Loose", "sku": "none", "price": "3.00"}])["id"])
    event = sides.deliver(woo_id)
    assert (event.state, SideState.objects.filter(failures__gt=0).count()) == ("parked", 0), event.reason
    assert "Item WOO-ITEM not found" in event.reason


def test_a_backfill_brings_them_all_once_and_makes_nobody_twice(sides: Sides, settings: Any) -> None:
    settings.QUEUE_THREADS = 4
    for number in range(12):
        billing = {"email": f"c{number % 3}@example.test", "phone": f"+49 30 {number % 3}"}
        sides.shop.create_order(billing=billing)
    for again in range(2):
        run = backfill.start(actor="anna", restart=bool(again))
        assert engine.carry_out(run), run.error
    assert OrderLink.objects.count() == len(sides.erpnext.orders) == 12
    assert len(sides.erpnext.documents.kept["Customer"]) == 3
    assert not Intent.objects.exists()


def test_an_outage_in_the_middle_loses_nothing_and_doubles_nothing(sides: Sides) -> None:
    requests.post(f"{sides.erpnext.url}/_faults", json={"name": "500", "times": 3}, timeout=60).raise_for_status()
    lost = {"name": "timeout-after-effect", "method": "POST", "path": "/api/resource/Sales", "times": 1, "seconds": 0}
    requests.post(f"{sides.erpnext.url}/_faults", json=lost, timeout=60).raise_for_status()
    event = WebhookEventFactory(order_ref=str(sides.shop.create_order()["id"]))
    for _ in range(20):
        WebhookEvent.objects.update(next_attempt_at=datetime.now(UTC) - timedelta(seconds=1))
        SideState.objects.update(probe_at=datetime.now(UTC) - timedelta(seconds=1))
        sides.work()
        event.refresh_from_db()
        if event.state == "done":
            break
    assert event.outcome == "created", event.reason
    assert not sides.erpnext.faults.active(), "each of them happened"
    assert len(sides.erpnext.orders) == len(sides.erpnext.documents.kept["Customer"]) == 1


def test_a_missing_field_stops_the_side_and_loses_nothing(sides: Sides) -> None:
    fields = dict(sides.erpnext.documents.kept["Custom Field"])
    sides.erpnext.documents.kept["Custom Field"].clear()
    woo_id = int(sides.shop.create_order()["id"])
    event = WebhookEventFactory(order_ref=str(woo_id))
    pipeline.work_once()
    event.refresh_from_db()
    assert event.state == "retrying"
    assert not sides.erpnext.orders
    sides.erpnext.documents.kept["Custom Field"].update(fields)
    WebhookEvent.objects.update(next_attempt_at=datetime.now(UTC) - timedelta(seconds=1))
    SideState.objects.update(failures=0, opened_at=None)
    sides.work()
    event.refresh_from_db()
    assert event.outcome == "created", event.reason


def test_the_doctor_prints_the_template(sides: Sides) -> None:
    sides.order()
    found = [one for one in doctor.examine("crm") if one.level == "error" or one.paste]
    assert [one.level for one in found] == ["ok"]
    assert "/webhooks/crm/" in found[0].advice
    assert "on_change" in found[0].advice
    assert found[0].paste == TEMPLATE


def test_odd_texts_are_sent_with_a_reason(sides: Sides) -> None:
    odd = "Jürgen <b>„O'Neill\"</b> 🚪 " + "x" * 300
    woo_id = int(
        sides.shop.create_order(
            billing={"first_name": odd, "address_1": odd, "email": "odd@example.test"},
            line_items=[{"name": "'\"><script>" + "l" * 3000, "price": "3.00"}],
        )["id"]
    )
    event = sides.deliver(woo_id)
    assert (event.state, event.outcome) == ("done", "created"), event.reason
    for words in ("at most 140 characters in the customer's name", "no < > in the customer's name"):
        assert words in event.reason
    assert sides.deliver(woo_id).outcome == "no_change"
