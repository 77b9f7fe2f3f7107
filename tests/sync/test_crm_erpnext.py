"""The ERPNext backend against its stand-in: what every backend must do, and what ERPNext makes special."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from sync.clients import crm as crm_backends
from sync.clients.crm import cache
from sync.clients.crm.base import Access
from sync.clients.crm.erpnext import ErpnextCrm
from sync.clients.errors import Blocked, NotConfigured, NotFound, Rejected, SideError, Unconfirmed
from sync.clients.http import CallRecord, nothing
from sync.sandbox.crms.erpnext import ErpnextStandIn
from sync.sandbox.crms.erpnext.documents import FREIGHT, TAX
from tests.sync.crm_contract import LONG_AGO, BatchContract, Stage
from tests.sync.erpnext import BILLING, Backend, access_to, shop_order

SHIRT, WRAP = shop_order()["line_items"]
OPEN = "To Deliver and Bill"


@pytest.fixture
def erpnext() -> Iterator[ErpnextStandIn]:
    one = ErpnextStandIn()
    one.start()
    yield one
    one.stop()


class TestErpnextCrm(BatchContract):
    @pytest.fixture
    def stage(self, erpnext: ErpnextStandIn) -> Stage:
        return Stage(
            kind=ErpnextCrm,
            access=access_to(erpnext),
            move=erpnext.set_status,
            take_away=erpnext.stop,
            missing_id="SAL-ORD-2026-99999",
            status=OPEN,
        )


# --- what is sent --------------------------------------------------------------------------------------------------


def test_an_order_becomes_a_sales_order_with_all_that_is_paid(erpnext: ErpnextStandIn) -> None:
    doc = Backend(erpnext).create()
    assert doc["woo_order_id"] == "woo-14"
    assert (doc["docstatus"], doc["status"], doc["grand_total"]) == (0, "Draft", 38.56)
    assert (doc["transaction_date"], doc["delivery_date"]) == ("2026-11-27", "2026-11-27")
    assert [(row["item_code"], row["item_name"], row["qty"], row["rate"]) for row in doc["items"]] == [
        ("LAB-2", "Plain T-shirt", 2.0, 12.0),
        ("WOO-ITEM", "Gift wrap", 1.0, 3.5),
    ]
    assert [(row["account_head"], row["description"], row["tax_amount"]) for row in doc["taxes"]] == [
        (TAX, "MwSt 19 % · WooCommerce tax 4", 6.16),
        (FREIGHT, "Flat rate · WooCommerce shipping 3", 4.9),
    ]
    assert erpnext.documents.kept["Address"][doc["customer_address"]]["country"] == "Germany"
    assert "po_no" not in doc, "ERPNext refuses the same one twice, for reasons of its own"


MONEY: dict[str, tuple[dict[str, Any], str]] = {
    "three of ten": ({"line_items": [{**SHIRT, "quantity": 3, "total": "10.00"}]}, "10.00"),
    "a thousand of one": ({"line_items": [{**SHIRT, "quantity": 1000, "total": "1.00"}]}, "1.00"),
    "one and a half": ({"line_items": [{**SHIRT, "quantity": 1.5, "total": "10.00"}]}, "10.00"),
    "nothing to pay": ({"line_items": [{**SHIRT, "total": "0.00"}]}, "0.00"),
    "no digits": ({"currency": "JPY", "line_items": [{**SHIRT, "quantity": 7, "total": "1000"}]}, "1000"),
    "a fee and a discount": (
        {
            "line_items": [{**SHIRT, "total": "24.00"}],
            "fee_lines": [{"id": 8, "name": "Gift", "total": "2.50"}, {"id": 9, "name": "Friend", "total": "-3.00"}],
        },
        "23.50",
    ),
    "nothing but shipping": ({"line_items": [], "shipping_lines": [{"id": 3, "total": "4.90"}]}, "4.90"),
    "nothing at all": ({"line_items": []}, "0.00"),
    "a line below nought": ({"line_items": [SHIRT, {**WRAP, "total": "-3.50"}]}, "20.50"),
    "taxes that the rates do not explain": ({"line_items": [SHIRT], "total_tax": "4.56"}, "28.56"),
}


@pytest.mark.parametrize(("changes", "total"), MONEY.values(), ids=MONEY)
def test_its_total_is_exact(erpnext: ErpnextStandIn, changes: dict[str, Any], total: str) -> None:
    bare: dict[str, Any] = {"shipping_lines": [], "tax_lines": [], "total_tax": "0.00", "total": total}
    backend = Backend(erpnext)
    order = shop_order(**{**bare, **changes})
    made, _ = backend.crm.create("14", backend.told(order))
    assert made.total == Decimal(total)
    pieces = sum(row["qty"] for row in erpnext.orders[made.crm_order_id]["items"])
    wanted = sum(float(one["quantity"]) for one in order["line_items"] if float(one["total"]) >= 0)
    assert pieces == (wanted if wanted % 1 == 0 and wanted else 1)


ODD_NAMES = {
    "emoji": "Zoë 🚪🧑‍🚀",
    "quotes": 'O\'Brien "Bob" `x` \\ „y“',
    "three hundred": "Müller-" * 43,
    "a tag": "<b>Bob</b> & <Söhne>",
    "line breaks": "One\nTwo\tThree",
}


@pytest.mark.parametrize("name", ODD_NAMES.values(), ids=ODD_NAMES)
def test_odd_names_reach_it(erpnext: ErpnextStandIn, name: str) -> None:
    backend = Backend(erpnext)
    lines = [{**SHIRT, "name": name}]
    billing = {**BILLING, "first_name": name, "address_1": name, "company": name}
    doc = backend.create(line_items=lines, billing=billing)
    there = erpnext.documents.kept["Customer"][doc["customer"]]
    for text in (there["customer_name"], doc["items"][0]["item_name"]):
        assert len(text) <= 140
        assert not set(text) & set("<>")
    made_again, _ = backend.crm.create("15", backend.told(shop_order(id=15, line_items=lines, billing=billing)))
    assert erpnext.orders[made_again.crm_order_id]["customer"] == doc["customer"]
    assert backend.update(doc, line_items=lines, billing=billing)["modified"] == doc["creation"], "nothing changed"


def test_mapped_fields_come_over_ours(erpnext: ErpnextStandIn) -> None:
    backend = Backend(erpnext)
    document = backend.told(shop_order(), fields={"terms": "Ring twice", "order_type": "Sales"})
    made, _ = backend.crm.create("14", document)
    doc = erpnext.orders[made.crm_order_id]
    assert (doc["terms"], doc["order_type"]) == ("Ring twice", "Sales")
    backend.crm.update(doc["name"], {**document, "fields": {"terms": "Ring once", "woo_order_id": "woo-99"}})
    assert (doc["terms"], doc["woo_order_id"]) == ("Ring once", "woo-14"), "a map does not rename it"


def test_the_note_goes_where_a_field_for_it_was_made(erpnext: ErpnextStandIn) -> None:
    backend = Backend(erpnext)
    doc = backend.create(customer_note="Bitte klingeln")
    assert "woo_note" not in doc
    erpnext.documents.custom_field({"dt": "Sales Order", "fieldname": "woo_note", "allow_on_submit": 1})
    erpnext.set_status(doc["name"], OPEN)
    Backend(erpnext).update(doc, customer_note="Bitte klingeln", payment_method_title="PayPal")
    assert doc["woo_note"] == "Bitte klingeln\nWooCommerce: order 14; status processing; PayPal"
    Backend(erpnext).update(doc, status="trash")
    assert "trash" in doc["woo_note"]
    assert len(doc["items"]) == 2


# --- items ---------------------------------------------------------------------------------------------------------


def test_an_unknown_sku_gets_the_placeholder_and_is_made_only_if_wanted(erpnext: ErpnextStandIn) -> None:
    lines = [{**SHIRT, "sku": "NEW-1", "name": "Novelty"}]
    assert Backend(erpnext).create("14", line_items=lines)["items"][0]["item_code"] == "WOO-ITEM"
    assert "NEW-1" not in erpnext.documents.kept["Item"]
    made = Backend(erpnext, make_products="yes").create("15", line_items=lines)
    assert made["items"][0]["item_code"] == "NEW-1"
    assert erpnext.documents.kept["Item"]["NEW-1"]["item_name"] == "Novelty"


@pytest.mark.parametrize("change", [{"disabled": 1}, {"has_variants": 1}])
def test_an_item_that_cannot_be_sold_is_none(erpnext: ErpnextStandIn, change: dict[str, int]) -> None:
    erpnext.documents.kept["Item"]["LAB-2"] |= change
    assert Backend(erpnext).create()["items"][0]["item_code"] == "WOO-ITEM"


def test_without_the_placeholder_the_order_says_what_is_missing(erpnext: ErpnextStandIn) -> None:
    del erpnext.documents.kept["Item"]["WOO-ITEM"]
    with pytest.raises(Rejected, match="Item WOO-ITEM not found") as raised:
        Backend(erpnext).create()
    assert raised.value.about_order
    assert not erpnext.orders


def test_an_account_that_cannot_be_told_is_named_with_its_setting(erpnext: ErpnextStandIn) -> None:
    with pytest.raises(NotConfigured, match=r"2 accounts of the type Tax.*CRM_TAX_ACCOUNT"):
        Backend(erpnext, tax_account="").create()
    doc = Backend(erpnext, shipping_account="").create()
    assert doc["taxes"][1]["account_head"] == FREIGHT, "it is the only one of its type"


# --- names and times -----------------------------------------------------------------------------------------------


def test_a_name_that_is_taken_leads_to_the_order_that_has_it(
    erpnext: ErpnextStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = Backend(erpnext)
    first = backend.create()
    erpnext.set_status(first["name"], "Cancelled")  # which still holds it
    answers = iter([None, backend.crm.find("14")])
    monkeypatch.setattr(ErpnextCrm, "find", lambda crm, name: next(answers))
    made, is_new = backend.crm.create("14", backend.told(shop_order()))
    assert (made.crm_order_id, made.status, is_new) == (first["name"], "Cancelled", False)


def test_a_name_that_was_given_again_shows_whose_it_is(erpnext: ErpnextStandIn) -> None:
    backend = Backend(erpnext)
    first = backend.create("14")
    erpnext.delete(first["name"])
    second = backend.create("15")
    assert second["name"] == first["name"]
    assert backend.crm.find("14") is None
    assert backend.crm.get(first["name"]).external_id == "15"
    assert backend.crm.traits.ids_reused


def test_a_field_that_is_not_unique_is_noticed(erpnext: ErpnextStandIn) -> None:
    erpnext.documents.custom_field({"dt": "Sales Order", "fieldname": "woo_order_id", "unique": 0})
    backend = Backend(erpnext)
    backend.create("14")
    backend.create("15")["woo_order_id"] = "woo-14"
    with pytest.raises(Rejected, match="has order 14 2 times"):
        backend.crm.find("14")
    assert backend.crm.find_many(["14", "15"]) == {"15": None}


def test_without_the_field_every_call_says_how_to_make_it(erpnext: ErpnextStandIn) -> None:
    erpnext.documents.kept["Custom Field"].clear()
    backend = Backend(erpnext)
    for call in (
        backend.crm.ping,
        lambda: backend.crm.get("SAL-ORD-2026-00001"),
        lambda: backend.crm.find("14"),
        backend.create,
        lambda: list(backend.crm.changed_since(LONG_AGO)),
    ):
        with pytest.raises(NotConfigured, match=r"no field woo_order_id.*Make it") as raised:
            call()
        assert raised.value.outage
    assert not erpnext.orders, "ERPNext would have made it without its name"


def test_an_order_of_theirs_has_no_name(erpnext: ErpnextStandIn) -> None:
    backend = Backend(erpnext)
    backend.create()["woo_order_id"] = None
    [one] = backend.crm.changed_since(LONG_AGO)
    assert one.external_id is None


def test_what_the_site_lacks_is_named_and_made(erpnext: ErpnextStandIn) -> None:
    erpnext.documents.kept["Custom Field"].clear()
    del erpnext.documents.kept["Item"]["WOO-ITEM"]
    backend = Backend(erpnext, tax_account="")
    words = [words for words, _ in backend.crm.lacks()]
    assert [*map(len, (words, erpnext.documents.kept["Custom Field"]))] == [3, 0]
    assert "no field woo_order_id" in words[0]
    assert "no item WOO-ITEM" in words[1]
    assert "2 accounts of the type Tax" in words[2]
    assert len(backend.crm.prepare()) == 3
    assert backend.crm.prepare() == []
    assert Backend(erpnext).crm.lacks() == []
    assert Backend(erpnext).create()["woo_note"].startswith("WooCommerce: order 14")


def test_a_field_of_that_name_is_made_unique(erpnext: ErpnextStandIn) -> None:
    erpnext.documents.custom_field({"dt": "Sales Order", "fieldname": "woo_order_id", "unique": 0})
    backend = Backend(erpnext)
    [(words, _)] = backend.crm.lacks()
    assert "is not unique" in words
    backend.crm.prepare()
    assert Backend(erpnext).crm.lacks() == []


# --- submitted or not ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("submit", "status", "is_submitted"),
    [
        ("draft", "processing", False),
        ("paid", "pending", False),
        ("paid", "processing", True),
        ("all", "pending", True),
    ],
)
def test_it_is_submitted_as_the_connection_says(
    erpnext: ErpnextStandIn, submit: str, status: str, is_submitted: bool
) -> None:
    doc = Backend(erpnext, submit=submit).create(status=status)
    assert (doc["docstatus"], doc["status"]) == ((1, OPEN) if is_submitted else (0, "Draft"))


def test_it_is_submitted_once_it_is_paid(erpnext: ErpnextStandIn) -> None:
    backend = Backend(erpnext, submit="paid")
    doc = backend.create(status="pending")
    assert doc["docstatus"] == 0
    assert backend.update(doc, status="processing")["status"] == OPEN


def test_a_draft_gets_the_lines_of_the_shop_and_keeps_those_of_its_people(erpnext: ErpnextStandIn) -> None:
    backend = Backend(erpnext)
    doc = backend.create()
    theirs = {"item_code": "LAB-3", "item_name": "Tea", "description": "A present", "qty": 1, "rate": 0}
    erpnext.documents.update("Sales Order", doc["name"], {"items": [*doc["items"], theirs]})
    backend.update(doc, line_items=[{**SHIRT, "quantity": 3, "total": "36.00"}])
    assert [(row["item_code"], row["qty"]) for row in doc["items"]] == [("LAB-2", 3.0), ("LAB-3", 1.0)]


def test_changed_lines_of_a_submitted_order_need_a_person(erpnext: ErpnextStandIn) -> None:
    backend = Backend(erpnext, submit="all")
    doc, more = backend.create(), {"line_items": [{**SHIRT, "quantity": 3, "total": "36.00"}, WRAP]}
    with pytest.raises(Rejected, match=r"is submitted in ERPNext.*Update Items") as raised:
        backend.update(doc, **more)
    assert raised.value.about_order
    row = doc["items"][0]
    row |= {"qty": 3.0, "amount": 36.0}  # "Update Items"
    doc["grand_total"] += 12
    assert backend.update(doc, **more)["items"][0]["qty"] == 3.0, "now both agree"


def test_a_submitted_order_still_gets_another_address(erpnext: ErpnextStandIn) -> None:
    backend = Backend(erpnext, submit="all")
    doc = backend.create()
    before = doc["shipping_address_name"]
    backend.update(doc, shipping={**BILLING, "address_1": "Nebenstraße 2"})
    assert doc["shipping_address_name"] != before
    assert erpnext.documents.kept["Address"][doc["shipping_address_name"]]["address_line1"] == "Nebenstraße 2"


def test_a_field_that_is_kept_after_submission_is_told(erpnext: ErpnextStandIn) -> None:
    backend = Backend(erpnext, submit="all")
    doc = backend.create()
    with pytest.raises(Rejected, match=r"terms after submission.*Allow on Submit"):
        backend.crm.update(doc["name"], backend.told(shop_order(), fields={"terms": "x"}))


def test_a_cancelled_order_is_left_alone(erpnext: ErpnextStandIn) -> None:
    backend = Backend(erpnext)
    doc = backend.create()
    erpnext.set_status(doc["name"], "Cancelled")
    assert backend.update(doc, status="cancelled", line_items=[SHIRT])["status"] == "Cancelled"
    assert len(doc["items"]) == 2


def test_the_status_there_is_never_written(erpnext: ErpnextStandIn) -> None:
    backend = Backend(erpnext)
    doc = backend.create(status="completed")
    assert backend.update(doc, status="cancelled")["status"] == "Draft"


# --- at once -------------------------------------------------------------------------------------------------------


def test_somebody_elses_change_meanwhile_is_not_overwritten(
    erpnext: ErpnextStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = Backend(erpnext)
    doc = backend.create()
    read, times = ErpnextCrm._whole, iter([True, False])

    def read_then_changed(crm: ErpnextCrm, name: str) -> dict[str, Any]:
        found = read(crm, name)
        if next(times):
            erpnext.documents.update("Sales Order", name, {"terms": "Theirs"})
        return found

    monkeypatch.setattr(ErpnextCrm, "_whole", read_then_changed)
    backend.update(doc, line_items=[SHIRT])
    assert doc["terms"] == "Theirs"
    assert len(doc["items"]) == 1


def test_an_order_that_never_rests_is_tried_again_later(
    erpnext: ErpnextStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = Backend(erpnext)
    doc = backend.create()
    monkeypatch.setattr(ErpnextCrm, "_whole", lambda crm, name: {**doc, "modified": "2020-01-01 00:00:00.000000"})
    with pytest.raises(Unconfirmed) as raised:
        backend.update(doc, line_items=[SHIRT])
    assert (raised.value.again, raised.value.about_order, raised.value.outage) == (True, True, False)


def test_an_order_that_was_deleted_is_not_found(erpnext: ErpnextStandIn) -> None:
    backend = Backend(erpnext)
    doc = backend.create()
    erpnext.delete(doc["name"])
    for call in (lambda: backend.crm.get(doc["name"]), lambda: backend.update(doc)):
        with pytest.raises(NotFound):
            call()
    assert backend.crm.get_many([doc["name"]]) == {}


# --- where it is ---------------------------------------------------------------------------------------------------


def test_a_site_of_several_is_named(erpnext: ErpnextStandIn) -> None:
    erpnext.site = "erp.example"
    with pytest.raises(Blocked, match="CRM_SITE"):
        Backend(erpnext).crm.ping()
    Backend(erpnext, site="erp.example").crm.ping()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"company": "Another"}, r"has the companies Example Shop, and the setting company is 'Another'.*CRM_COMPANY"),
        ({"time_zone": "Europe/Nowhere"}, r"'Europe/Nowhere' is not known.*CRM_TIME_ZONE"),
        ({"time_zone": "../../etc/passwd"}, "CRM_TIME_ZONE"),
    ],
)
def test_a_wrong_setting_is_named(erpnext: ErpnextStandIn, settings: dict[str, str], words: str) -> None:
    with pytest.raises(NotConfigured, match=words):
        Backend(erpnext, **settings).create()


def test_a_key_without_rights_is_told(erpnext: ErpnextStandIn) -> None:
    erpnext.may_not = {"Customer"}
    with pytest.raises(SideError, match=r"roles that docs/crms/erpnext\.md names") as raised:
        Backend(erpnext).create()
    assert raised.value.about_order is False


def test_a_person_is_led_to_the_order(erpnext: ErpnextStandIn) -> None:
    assert Backend(erpnext).crm.url_of("SAL-ORD/1").endswith("/app/sales-order/SAL-ORD%2F1")


def test_its_fields_are_those_of_the_site(erpnext: ErpnextStandIn) -> None:
    known = {one.name: one for one in Backend(erpnext).crm.fields()}
    assert known["terms"].writable
    assert not known["woo_order_id"].writable, "a map must not write over the order's name"


# --- calls ---------------------------------------------------------------------------------------------------------


def calls_of(to: Access, work: str, *said: Any) -> list[str]:
    records: list[CallRecord] = []
    crm = crm_backends.connect_to(ErpnextCrm, to, records.append, nothing)
    getattr(crm, work)(*said)
    return [f"{one.method} {one.url.partition('/api/')[2].partition('?')[0]}" for one in records]


def test_it_makes_as_few_calls_as_can_be(erpnext: ErpnextStandIn) -> None:
    cache.forget_all()
    to = access_to(erpnext)
    compose = ErpnextCrm.composer(to).document
    create = ["GET resource/Sales%20Order", "GET resource/Contact"]
    made = ["GET resource/Item", "POST resource/Sales%20Order"]
    once = calls_of(to, "create", "14", compose(shop_order()))
    assert len(once) == 14, "what is kept for ten minutes, and a new customer"
    again = calls_of(to, "create", "15", compose(shop_order(id=15)))
    assert again == [*create, "GET resource/Address", *made]
    without_address = compose(shop_order(id=16, billing={"email": BILLING["email"]}, line_items=[WRAP]))
    assert calls_of(to, "create", "16", without_address) == [*create, "POST resource/Sales%20Order"]
    name = next(iter(erpnext.orders))
    assert calls_of(to, "get", name) == ["GET resource/Sales%20Order"]
    assert calls_of(to, "get_many", [*erpnext.orders]) == ["GET resource/Sales%20Order"]
    assert calls_of(to, "find_many", ["14", "15"]) == ["GET resource/Sales%20Order"]
    whole = f"resource/Sales%20Order/{name}"
    same = compose(shop_order())
    assert calls_of(to, "update", name, same) == [f"GET {whole}", "GET resource/Address", "GET resource/Item"]
    changed = compose(shop_order(line_items=[SHIRT]))
    assert calls_of(to, "update", name, changed)[-1] == f"PUT {whole}"
