"""Orders of a shop in a real Tryton, and back: what is sent, what is refused, and what dies in between."""

import os
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from orders.models import OrderLink
from sync.clients.crm.cache import forget_all
from sync.clients.crm.customers import NEW
from sync.clients.crm.defaults import ensure_rules
from sync.clients.crm.tryton import TrytonCrm
from sync.clients.crm.tryton.document import COMPOSER
from sync.clients.errors import AuthFailed, NotConfigured, Unconfirmed
from sync.clients.mapping.field_map import as_text
from sync.jobs import backfill, drift, engine, processing, reconciliation
from sync.models import DriftFinding, Intent, Lease, RememberedChoice, SideState
from sync.monitoring import doctor
from sync.sandbox.crms.tryton import KEY
from sync.sandbox.orders import dated
from sync.sandbox.shop import SandboxShop
from tests import pipeline
from tests.factories import WebhookEventFactory
from tests.sync.directory import remember
from tests.sync.mapped import Mapped, goes_all_the_way
from tests.tryton.server import WAYS, Database
from webhooks.connections import DEFAULT_BRIDGE, Bridge
from webhooks.models import WebhookEvent

ODD = "Jürgen <b>„O'Neill\"</b> 🚪 " + "x" * 300


class Crash(BaseException):
    """As `kill -9` would: no handler of ours runs, and an open transaction is rolled back."""


class Sides:
    def __init__(self, shop: SandboxShop, tryton: Database) -> None:
        self.shop, self.tryton = shop, tryton

    def order(self, **fields: Any) -> int:
        return int(self.shop.create_order(**fields)["id"])

    def deliver(self, woo_id: int) -> WebhookEvent:
        event = WebhookEventFactory(order_ref=str(woo_id))
        pipeline.work_once()
        event.refresh_from_db()
        return event

    def sale(self, woo_id: int) -> dict[str, Any]:
        link = OrderLink.objects.get(woo_id=woo_id)
        fields = ("reference", "comment", "currency.code", "total_amount", "party.name", "party.code")
        lines = [f"lines.{name}" for name in ("description", "quantity", "product.code", "note")]
        address = [f"shipment_address.{name}" for name in ("street", "postal_code", "city")]
        return self.tryton.crm()._read(link.crm_order_id, (*fields, *lines, *address))

    def poll(self) -> None:
        """A reconcile, and what it found."""
        run = reconciliation.start(actor="anna")
        assert engine.carry_out(run), run.error
        while pipeline.work_once():
            pass


@pytest.fixture
def sides(
    database: Database, transactional_db: None, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Sides]:
    shop = SandboxShop(consumer_key="ck_test", consumer_secret="cs_test")
    shop.start()
    settings.WOO_URL, settings.WOO_CONSUMER_KEY, settings.WOO_CONSUMER_SECRET = shop.url, "ck_test", "cs_test"
    settings.CRM_BACKEND, settings.CRM_URL, settings.CRM_TOKEN = "tryton", database.url, KEY.format("sales")
    settings.RETRY_BASE_SECONDS, settings.RETRY_MAX_SECONDS = 0.02, 0.1
    settings.CRM_LIST_LAG = settings.SHOP_WRITE_LAG = 0.0
    monkeypatch.setattr(processing, "POLL", 0.01)
    forget_all()
    ensure_rules("tryton")
    yield Sides(shop, database)
    shop.stop()


def test_mapped_fields_reach_the_sale_in_tryton_s_own_types(sides: Sides) -> None:
    rows = [
        {"target": "shipping_date", "kind": "date", "paths": ["meta._day"]},
        {"target": "description", "paths": ["meta._gift_note"]},
    ]
    Bridge.objects.filter(pk=DEFAULT_BRIDGE).update(field_map=as_text(1, rows))
    meta = [{"id": 1, "key": "_day", "value": "24.12.2026"}, {"id": 2, "key": "_gift_note", "value": "For you"}]
    woo_id = sides.order(meta_data=meta)
    assert sides.deliver(woo_id).outcome == "created"
    crm_order_id = OrderLink.objects.get(woo_id=woo_id).crm_order_id

    def shown() -> tuple[int, str]:
        sale = sides.tryton.crm()._read(crm_order_id, ("shipping_date", "description"))
        return sale["shipping_date"]["day"], sale["description"]

    assert shown() == (24, "For you")
    sides.shop.edit(woo_id, meta_data=[{"id": 1, "key": "_day", "value": "2026-12-23"}, meta[1]])
    assert sides.deliver(woo_id).outcome == "updated" and shown() == (23, "For you")
    known = {one.name: one for one in sides.tryton.crm().fields()}
    assert (known["shipping_date"].kind, known["shipping_date"].writable) == ("date", True)
    assert not known["reference"].writable and not known["lines"].writable


def test_an_order_is_a_sale_with_its_party_addresses_and_lines(sides: Sides) -> None:
    woo_id = sides.order(
        customer_note="Bitte klingeln 🚪",
        billing={"first_name": ODD, "email": "juergen@example.test"},
        line_items=[{"name": "Pot", "sku": "LAB-1", "quantity": 2, "price": "12.00"}, {"name": "Loose", "sku": "none"}],
    )
    event = sides.deliver(woo_id)
    assert (event.state, event.outcome) == ("done", "created"), event.reason
    sale = sides.sale(woo_id)
    assert (sale["reference"], sale["currency"]["code"]) == (f"woo-{woo_id}", "EUR")
    assert sale["total_amount"]["decimal"] == sides.shop.orders[woo_id]["total"]
    assert sale["party"]["name"].startswith("Jürgen <b>„O'Neill\"</b> 🚪 x")
    assert "Bitte klingeln 🚪" in sale["comment"]
    codes = [line["product"] and line["product"]["code"] for line in sale["lines"]]
    assert codes == ["LAB-1", None, None], "an unknown SKU and the shipping are lines of text"
    assert sale["shipment_address"]["city"] == sides.shop.orders[woo_id]["shipping"]["city"]
    sides.poll()
    assert sides.shop.orders[woo_id]["status"] == "pending", "where it began is no move"


def test_odd_texts_and_countries_are_no_trouble_and_no_address_is_made_twice(sides: Sides) -> None:
    woo_id = sides.order(
        customer_note="a\0b 🚪 " + "klingeln " * 2000,
        billing={"first_name": ODD, "address_1": "s" * 600, "country": "ZZ", "state": "", "email": "odd@example.test"},
        shipping={"first_name": "𠮷野家 <i>", "address_1": "Gate", "city": "Pristina", "country": "XK"},
        line_items=[{"name": "'\"><script>" + "l" * 3000}],
    )
    event = sides.deliver(woo_id)
    assert (event.state, event.outcome) == ("done", "created"), event.reason
    assert "at most 250 characters in the customer's name" in event.reason
    assert "at most 10000 characters in the note" in event.reason
    assert "Pristina, XK" in sides.sale(woo_id)["shipment_address"]["city"], "a country that Tryton does not have"
    before = sides.tryton.count("party_address")
    sides.shop.orders[woo_id]["customer_note"] = "short"
    assert sides.deliver(woo_id).outcome == "updated"
    assert sides.tryton.count("party_address") == before
    assert not SideState.objects.exclude(failures=0).exists()


def test_what_the_shop_changes_reaches_the_draft_and_nothing_else_of_it(sides: Sides) -> None:
    woo_id = sides.order()
    sides.deliver(woo_id)
    link = OrderLink.objects.get()
    sides.tryton.write(link.crm_order_id, lines=[["create", [{"type": "comment", "description": "by hand"}]]])
    before = sides.tryton.count("party_address")
    assert sides.deliver(woo_id).outcome == "no_change", "the same content is not sent"
    order = sides.shop.orders[woo_id]
    order["line_items"] = order["line_items"][:1]
    order["line_items"][0].update(quantity=3, total="30.00", total_tax="5.70", taxes=[{"id": 1, "total": "5.70"}])
    order["shipping"]["address_1"] = "Nebenstraße 2"
    order["total"] = "41.53"
    event = sides.deliver(woo_id)
    sale = sides.sale(woo_id)
    figures = (sale["total_amount"]["decimal"], order["total"])
    assert (event.outcome or event.reason) == "updated" or figures[0] != figures[1]
    assert sale["shipment_address"]["street"].startswith("Nebenstraße 2")
    assert [line["description"] for line in sale["lines"]].count("by hand") == 1
    assert [line["quantity"] for line in sale["lines"] if "item" in (line["note"] or "")] == [3.0]
    assert sides.tryton.count("party_address") == before + 1
    assert sides.tryton.count("sale_sale") == 1


def test_a_total_that_differs_parks_with_both_figures(sides: Sides) -> None:
    woo_id = sides.order()
    sides.deliver(woo_id)
    surplus = {"type": "line", "quantity": 1, "unit_price": {"__class__": "Decimal", "decimal": "0.01"}}
    sides.tryton.write(OrderLink.objects.get().crm_order_id, lines=[["create", [{**surplus, "description": "x"}]]])
    sides.shop.orders[woo_id]["customer_note"] = "later, please"
    event = sides.deliver(woo_id)
    total = sides.shop.orders[woo_id]["total"]
    assert event.state == "parked"
    assert total in event.reason
    assert f"{float(total) + 0.01:.2f}" in event.reason


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("quotation", "on-hold"),
        ("confirmed", "processing"),
        ("done", "completed"),
        ("cancelled", "cancelled"),
    ],
)
def test_every_status_comes_to_the_shop_by_polling(sides: Sides, status: str, expected: str) -> None:
    woo_id = sides.order()
    sides.deliver(woo_id)
    sides.tryton.move(OrderLink.objects.get().crm_order_id, status)
    sides.poll()
    assert sides.shop.orders[woo_id]["status"] == expected
    sides.poll()
    assert not WebhookEvent.objects.unfinished().exists()


def test_lines_of_a_sale_that_is_no_draft_need_a_person_and_its_comment_does_not(sides: Sides) -> None:
    woo_id = sides.order()
    sides.deliver(woo_id)
    sides.tryton.move(OrderLink.objects.get().crm_order_id, "processing")
    sides.shop.orders[woo_id]["customer_note"] = "ring twice"
    assert sides.deliver(woo_id).outcome == "updated"
    assert "ring twice" in sides.sale(woo_id)["comment"]
    sides.shop.orders[woo_id]["line_items"][0]["name"] = "Another"
    event = sides.deliver(woo_id)
    assert event.state == "parked"
    assert "processing in Tryton" in event.reason
    assert not SideState.objects.filter(opened_at__isnull=False).exists(), "it is the order, and not Tryton"


@pytest.mark.parametrize("dies", ["before the party", "between party and sale", "after the sale"])
def test_whatever_dies_there_is_one_party_and_one_sale(
    sides: Sides, monkeypatch: pytest.MonkeyPatch, dies: str
) -> None:
    parties = sides.tryton.count("party_party")
    woo_id = sides.order(billing={"email": "", "phone": ""})
    real = TrytonCrm._call
    path = "party.party" if dies == "before the party" else "sale.sale"

    def dying(crm: TrytonCrm, method: str, to: str, **more: Any) -> Any:
        if (method, to) == ("POST", path):
            monkeypatch.setattr(TrytonCrm, "_call", real)
            if dies == "after the sale":
                real(crm, method, to, **more)
            raise Crash
        return real(crm, method, to, **more)

    monkeypatch.setattr(TrytonCrm, "_call", dying)
    event = WebhookEventFactory(order_ref=str(woo_id))
    with pytest.raises(Crash):
        pipeline.work_once()
    bury_the_dead()
    while pipeline.work_once():
        pass
    event.refresh_from_db()
    assert (event.state, event.outcome) == ("done", "created"), event.reason
    assert sides.tryton.count("party_party") == parties + 1
    assert sides.tryton.count("sale_sale") == 1


def bury_the_dead() -> None:
    """As if the leases of the killed worker had run out."""
    past = datetime.now(UTC) - timedelta(seconds=1)
    Lease.objects.update(expires_at=past)
    WebhookEvent.objects.unfinished().update(next_attempt_at=past)


def test_two_creates_at_once_leave_one_sale(sides: Sides, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two workers, one of which lost its lease and does not know."""
    order = sides.shop.create_order(billing={"email": "ann@example.test"})
    document = COMPOSER.document(order)
    sides.tryton.crm().create("1000", document)  # the party and its address are there
    both = threading.Barrier(2)
    real = TrytonCrm._call

    def together(crm: TrytonCrm, method: str, to: str, **more: Any) -> Any:
        if (method, to) == ("POST", "sale.sale"):
            both.wait(30)
        return real(crm, method, to, **more)

    monkeypatch.setattr(TrytonCrm, "_call", together)
    made: list[Any] = []

    def create() -> None:
        try:
            made.append(sides.tryton.crm().create(str(order["id"]), document)[0].crm_order_id)
        except Unconfirmed as error:
            made.append(error)

    threads = [threading.Thread(target=create) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    left = sides.tryton.crm().find(str(order["id"]))
    assert left is not None
    assert len(made) == 2
    assert {one for one in made if isinstance(one, str)} == {left.crm_order_id}
    assert sides.tryton.count("sale_sale") == 2, "with the one before"


def test_a_customer_is_found_again_and_several_of_them_are_for_a_person(sides: Sides) -> None:
    parties = sides.tryton.count("party_party")
    email = {"email": "Ann_%@example.test"}
    for name in ("Ann", "Ann-Marie"):
        assert sides.deliver(sides.order(billing={**email, "first_name": name})).outcome == "created"
    assert sides.tryton.count("party_party") == parties + 1
    twin = {"name": "Ann again", "contact_mechanisms": [["create", [{"type": "email", "value": email["email"]}]]]}
    sides.tryton.crm("clerk")._call("POST", "party.party", json={**twin, "code": "by-hand"})
    woo_id = sides.order(billing=email)
    event = sides.deliver(woo_id)
    assert event.state == "parked"
    first, second = event.open_choice.candidates
    assert second["name"] == "Ann again"
    assert second["details"] == {"E-mail": email["email"], "Code": "by-hand", "Orders": "0"}
    assert first["details"]["Orders"] == "2"
    assert sides.shop.orders[woo_id]["billing"]["city"] in first["details"]["Address"]
    remember(second["id"], email["email"])
    assert sides.deliver(woo_id).outcome == "created"
    assert sides.sale(woo_id)["party"]["code"] == "by-hand"
    RememberedChoice.objects.update(crm_id=NEW)
    for shop_id in (7, 7):
        woo_id = sides.order(billing=email, customer_id=shop_id)
        assert sides.deliver(woo_id).outcome == "created"
        assert sides.sale(woo_id)["party"]["code"] == "woo-c7"
    assert sides.tryton.count("party_party") == parties + 3, "a new one is made once"


def test_a_company_is_found_by_its_vat_number_and_nobody_is_overwritten(sides: Sides) -> None:
    vat = {"meta_data": [{"id": 1, "key": "_vat_number", "value": "DE123456789"}]}
    whole = {"company": "Acme", "email": "buy@acme.test", "phone": "030 1"}
    emptier = dict.fromkeys((*whole, "first_name", "last_name"), "")
    parties, ways = sides.tryton.count("party_party"), sides.tryton.count("party_contact_mechanism")
    orders = [sides.order(billing=billing, **vat) for billing in (whole, emptier, {**emptier, "phone": "030 1"})]
    for woo_id in orders:
        assert sides.deliver(woo_id).outcome == "created"
        assert sides.sale(woo_id)["party"]["name"] == "Acme"
    assert sides.tryton.count("party_party") == parties + 1
    assert sides.tryton.count("party_contact_mechanism") == ways + 2
    twin = {"name": "Acme again", "code": "by-hand", "identifiers": [["create", [{"code": "de123456789"}]]]}
    sides.tryton.crm("clerk")._call("POST", "party.party", json=twin)
    woo_id = sides.order(billing=emptier, **vat)
    event = sides.deliver(woo_id)
    assert "2 customers of the CRM have the order's VAT number" in event.reason
    _, second = event.open_choice.candidates
    assert second["details"]["VAT number"] == "de123456789"
    remember(second["id"], "DE 123456789")
    assert sides.deliver(woo_id).outcome == "created"
    assert sides.sale(woo_id)["party"]["name"] == "Acme again"


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"currency": "XXX"}, "no currency 'XXX'"),
        ({"tax_lines": [{"rate_id": 1, "rate_percent": 21}]}, "no tax of 21 %"),
    ],
)
def test_what_tryton_does_not_have_is_named_and_counts_against_the_order(
    sides: Sides, fields: dict[str, Any], words: str
) -> None:
    event = sides.deliver(sides.order(**fields))
    assert event.state == "parked"
    assert words in event.reason
    assert not SideState.objects.exclude(failures=0).exists()


def test_an_outage_uses_no_attempts_up(sides: Sides, settings: Any) -> None:
    settings.BREAKER_THRESHOLD, settings.HTTP_TIMEOUT = 1, 1.0
    woo_id = sides.order()
    sides.tryton.server.stop()
    event = sides.deliver(woo_id)
    assert (event.state, event.attempts) == ("retrying", 0)
    sides.tryton.server.start()
    settings.HTTP_TIMEOUT = 60.0
    SideState.objects.update(probe_at=datetime.now(UTC), opened_at=None, failures=0)
    while pipeline.work_once():
        pass
    event.refresh_from_db()
    assert event.outcome == "created", event.reason


def test_a_wrong_key_is_an_outage_of_the_side_and_says_so(sides: Sides, settings: Any) -> None:
    settings.CRM_TOKEN = "nonsense"
    event = sides.deliver(sides.order())
    assert event.state == "retrying"
    assert SideState.objects.get(name="crm").failures == 1


def test_a_key_without_rights_is_told_which_groups_it_needs(database: Database) -> None:
    with pytest.raises(AuthFailed, match="Party Administration") as raised:
        database.crm("nobody").ping()
    assert raised.value.about_order is False


def test_a_company_has_to_be_named_where_it_is_not_the_one(database: Database) -> None:
    crm = TrytonCrm(database.access(company="Nobody & Sons"))
    with pytest.raises(NotConfigured, match="Dunder Mifflin"):
        crm._company()


def test_a_backfill_brings_them_all_once_and_drift_finds_what_moved_since(sides: Sides) -> None:
    number = int(os.environ.get("TRYTON_ORDERS", "8"))
    ids = [sides.order(billing={"email": f"c{n % 5}@example.test"}) for n in range(number)]
    for again in range(2):
        run = backfill.start(actor="anna", restart=bool(again))
        assert engine.carry_out(run), run.error
    assert OrderLink.objects.count() == sides.tryton.count("sale_sale") == number
    assert not Intent.objects.exists()
    link = OrderLink.objects.get(woo_id=ids[0])
    sides.tryton.move(link.crm_order_id, "cancelled")
    OrderLink.objects.update(verified_at=datetime.now(UTC) - timedelta(hours=1))
    found = drift.start(actor="anna", restart=True)
    assert engine.carry_out(found), found.error
    assert list(DriftFinding.objects.values_list("woo_id", "kind")) == [(ids[0], "status")]


def test_the_doctor_finds_nothing_amiss(sides: Sides) -> None:
    sides.deliver(sides.order())
    found = doctor.examine("crm")
    assert found
    assert {one.level for one in found} == {"ok"}, found


def test_an_order_in_the_trash_is_told_as_a_comment(sides: Sides) -> None:
    woo_id = sides.order()
    sides.deliver(woo_id)
    sides.shop.trash(woo_id)
    sides.shop.orders[woo_id].update(dated("date_modified", datetime.now(UTC)))
    assert sides.deliver(woo_id).outcome == "updated"
    assert "trash" in sides.sale(woo_id)["comment"]


def test_every_state_of_a_sale_has_its_way_there() -> None:
    assert {*WAYS, "draft"} == {one.name for one in TrytonCrm.default_statuses}


def test_a_field_map_goes_all_the_way(sides: Sides) -> None:
    def shown(crm_order_id: str) -> dict[str, Any]:
        sale = sides.tryton.crm()._read(crm_order_id, ("invoice_method", "shipping_date", "description"))
        day = sale["shipping_date"]
        return {**sale, "shipping_date": f"{day['year']}-{day['month']}-{day['day']}" if day else None}

    targets = ("invoice_method", "shipping_date", "description")
    goes_all_the_way(Mapped(shop=sides.shop, shown=shown, targets=targets, constant="manual"))
