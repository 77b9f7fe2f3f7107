"""What becomes of an order in Odoo: its customer, addresses, lines, taxes and total; and what Odoo does that is odd."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from unittest.mock import MagicMock

import pytest

from sync.clients import crm as crm_backends
from sync.clients.crm.base import Traits, access
from sync.clients.crm.customers import CUSTOMER, NEW, SeveralFit, recalled
from sync.clients.crm.odoo import OdooCrm
from sync.clients.crm.odoo.document import COMPOSER
from sync.clients.errors import (
    Ambiguous,
    AuthFailed,
    Blocked,
    Hidden,
    NotConfigured,
    Rejected,
    ServerTrouble,
    Unconfirmed,
)
from sync.clients.http import CallRecord
from sync.sandbox.crms.odoo import OdooStandIn
from sync.sandbox.crms.odoo.records import LINE, PARTNER, SALE, OdooError
from sync.sandbox.server import Answer
from tests.sync.crms.conftest import line, order
from webhooks.customers import hashes_of

Row = dict[str, Any]
compose = COMPOSER.document


@pytest.fixture
def odoo() -> Iterator[OdooStandIn]:
    server = OdooStandIn()
    server.start()
    yield server
    server.stop()


@pytest.fixture
def calls() -> list[CallRecord]:
    return []


@pytest.fixture
def connect(odoo: OdooStandIn, calls: list[CallRecord]) -> Callable[..., OdooCrm]:
    def connected(**more: str) -> OdooCrm:
        to = access(OdooCrm.schema, {"url": odoo.url, **odoo.settings, **more})
        crm = crm_backends.connect_to(OdooCrm, to, calls.append)
        assert isinstance(crm, OdooCrm)
        return crm

    return connected


@pytest.fixture
def crm(connect: Callable[..., OdooCrm]) -> OdooCrm:
    return connect()


def sale(odoo: OdooStandIn, crm_order_id: str = "1") -> Row:
    return odoo.records.tables[SALE][int(crm_order_id)]


def lines(odoo: OdooStandIn, crm_order_id: str = "1") -> list[tuple[Any, ...]]:
    rows = [odoo.records.tables[LINE][one] for one in sale(odoo, crm_order_id)["order_line"]]
    return [(one["name"], one["product_id"], one["product_uom_qty"], one["price_unit"], one["tax_id"]) for one in rows]


def partners(odoo: OdooStandIn) -> list[Row]:
    """Without the company itself."""
    return [row for row in odoo.records.tables[PARTNER].values() if row["id"] > 1]


def with_billing(**more: str) -> dict[str, Any]:
    return order(billing={**order()["billing"], **more})


# --- what is sent -------------------------------------------------------------------------------------------------


def test_an_order_has_its_customer_lines_taxes_and_total(odoo: OdooStandIn, crm: OdooCrm) -> None:
    made, is_new = crm.create("b-14", compose(order()))
    row = sale(odoo)
    assert (is_new, made.external_id, made.status, made.total) == (True, "b-14", "draft", Decimal("45.53"))
    assert (row["client_order_ref"], row["origin"]) == ("woo-b-14", "WooCommerce 14")
    assert row["date_order"] == "2026-11-27 10:00:00"
    assert row["note"] == "<p>Bitte klingeln 🚪 &lt;b&gt;<br>WooCommerce: status processing; Karte tx_1</p>"
    assert lines(odoo) == [
        ("Plain T-shirt", 4, 2.0, 12.0, [1]),
        ("Gift wrap (GW-1)", 1, 1.0, 9.5, [1]),
        ("Flat rate", 2, 1.0, 4.9, [1]),
        ("Express", 1, 1.0, 1.5, [1]),
        ("Voucher", 1, 1.0, -1.96, []),
    ]
    [partner] = partners(odoo)
    assert (partner["name"], partner["email"], partner["city"]) == ("Jürgen Müller", "juergen@example.test", "Berlin")
    assert {row[name] for name in ("partner_id", "partner_invoice_id", "partner_shipping_id")} == {partner["id"]}


def test_products_are_made_only_where_the_connection_says_so(
    odoo: OdooStandIn, connect: Callable[..., OdooCrm]
) -> None:
    before = len(odoo.records.tables["product.product"])
    connect(make_products="no").create("14", compose(order()))
    assert len(odoo.records.tables["product.product"]) == before
    for external_id in ("15", "16"):
        connect(make_products="yes").create(external_id, compose(order()))
    made = list(odoo.records.tables["product.product"].values())[before:]
    assert [(row["name"], row["default_code"]) for row in made] == [("Gift wrap", "GW-1")]
    assert ("Gift wrap", made[0]["id"], 1.0, 9.5, [1]) in lines(odoo, "3")


@pytest.mark.parametrize(
    ("quantity", "net", "expected"),
    [
        (2, "24.00", [("T", 2.0, 12.0)]),
        (3, "10.00", [("T", 2.0, 3.33), ("T", 1.0, 3.34)]),
        (1000, "1.00", [("T", 999.0, 0.0), ("T", 1.0, 1.0)]),
        (0.3, "1.00", [("0.3 × T", 1.0, 1.0)]),
        (0, "0.00", [("T", 1.0, 0.0)]),
        (1, "-5.00", [("T", 1.0, -5.0)]),
    ],
)
def test_quantities_stay_and_amounts_are_exact(quantity: Any, net: str, expected: list[Any]) -> None:
    found = compose(order(line_items=[line(1, "T", net, quantity=quantity)], shipping_lines=[], fee_lines=[]))["lines"]
    assert [(one["name"], float(one["quantity"]), float(one["price"])) for one in found] == expected
    assert sum(Decimal(one["quantity"]) * Decimal(one["price"]) for one in found) == Decimal(net)


def test_an_order_in_the_trash_is_told_as_such_and_keeps_its_lines(odoo: OdooStandIn, crm: OdooCrm) -> None:
    made, _ = crm.create("14", compose(order()))
    before = lines(odoo)
    crm.update(made.crm_order_id, compose({"id": 14, "status": "trash"}))
    assert "trash" in sale(odoo)["note"]
    assert lines(odoo) == before


def test_mapped_fields_are_sent_with_the_order_and_with_a_change(odoo: OdooStandIn, crm: OdooCrm) -> None:
    made, _ = crm.create("14", {**compose(order()), "fields": {"x_note": "a", "client_order_ref": "stolen"}})
    assert (sale(odoo)["x_note"], made.external_id) == ("a", "14")
    told = crm.update(made.crm_order_id, {**compose(order()), "fields": {"x_note": "b", "client_order_ref": "stolen"}})
    assert (sale(odoo)["x_note"], told.external_id) == ("b", "14"), "a map does not rename it"
    assert not next(one for one in crm.fields() if one.name == "client_order_ref").writable


# --- customers ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "known",
    [
        {"email": "Juergen@Example.test"},
        {"phone": "+49 30 123456"},
        {"vat": "DE123456788", "is_company": True},
        {"ref": "woo-g5fb5d8f0d0"},
    ],
)
def test_who_is_known_is_found_and_not_changed(known: Row, odoo: OdooStandIn, crm: OdooCrm) -> None:
    known = {**known, "ref": f"woo-{compose(order())['partner']['code']}"} if "ref" in known else known
    there = odoo.records.insert(PARTNER, {"name": "J. M.", "type": "contact", **known})
    before = dict(odoo.records.tables[PARTNER][there])
    crm.create("14", compose(with_billing(vat_number="DE123456788")))
    assert sale(odoo)["partner_id"] == there
    assert odoo.records.tables[PARTNER][there] == before
    [address] = [row for row in partners(odoo) if row["parent_id"] == there]
    assert (address["name"], address["street"], address["type"]) == (
        "Jürgen Müller",
        "Straße des 17. Juni 135",
        "invoice",
    )
    assert sale(odoo)["partner_invoice_id"] == sale(odoo)["partner_shipping_id"] == address["id"]


def test_a_pattern_in_an_email_address_is_no_pattern(odoo: OdooStandIn, crm: OdooCrm) -> None:
    odoo.records.insert(PARTNER, {"name": "Another", "type": "contact", "email": "a1b@example.test"})
    crm.create("14", compose(with_billing(email="a_b@example.test", phone="")))
    assert [row["email"] for row in partners(odoo)] == ["a1b@example.test", "a_b@example.test"]


def test_a_company_has_its_vat_number_and_its_people_as_addresses(odoo: OdooStandIn, crm: OdooCrm) -> None:
    told = with_billing(company="Acme GmbH", vat_number="DE123456788")
    shipping = {
        **told["billing"],
        "first_name": "Lager",
        "last_name": "",
        "address_1": "Hof 2",
        "company": "Acme Lager",
    }
    crm.create("14", compose({**told, "shipping": shipping}))
    company, invoice, delivery = partners(odoo)
    assert (company["name"], company["is_company"], company["vat"]) == ("Acme GmbH", True, "DE123456788")
    assert [(one["name"], one["type"], one["parent_id"]) for one in (invoice, delivery)] == [
        ("Jürgen Müller", "invoice", company["id"]),
        ("Acme Lager, Lager", "delivery", company["id"]),
    ]
    row = sale(odoo)
    assert (row["partner_id"], row["partner_invoice_id"]) == (company["id"], invoice["id"])
    assert row["partner_shipping_id"] == delivery["id"]
    crm.create("15", compose({**told, "shipping": shipping}))
    assert len(partners(odoo)) == 3


def test_a_state_and_a_country_are_ids_of_odoo_or_left_out(odoo: OdooStandIn, crm: OdooCrm) -> None:
    crm.create("14", compose(with_billing(country="US", state="NY")))
    crm.create("15", compose(with_billing(email="b@example.test", phone="1", country="XX", state="NY")))
    [first, second] = partners(odoo)
    country = odoo.records.tables["res.country"][first["country_id"]]
    assert (country["code"], bool(first["state_id"])) == ("US", True)
    assert (second["country_id"], second["state_id"]) == (False, False)


def test_of_very_many_that_fit_a_person_sees_some(odoo: OdooStandIn, crm: OdooCrm) -> None:
    """As where a shop's own address was entered for whoever has none."""
    for number in range(50):
        odoo.records.insert(PARTNER, {"type": "contact", "email": "juergen@example.test", "name": f"Contact {number}"})
    with pytest.raises(SeveralFit) as raised:
        crm.create("14", compose(order()))
    assert len(raised.value.candidates) == 20


def test_several_that_fit_are_shown_to_a_person_whose_choice_is_kept(odoo: OdooStandIn, crm: OdooCrm) -> None:
    twice = {"type": "contact", "email": "juergen@example.test"}
    first, second = (odoo.records.insert(PARTNER, {"name": name, **twice}) for name in ("J. Müller", "Müller Jürgen"))
    odoo.sales.create({"partner_id": second}, 2)
    with pytest.raises(SeveralFit) as raised:
        crm.create("14", compose(order()))
    assert [one.id for one in raised.value.candidates] == [str(first), str(second)]
    assert [one.details["Orders"] for one in raised.value.candidates] == ["0", "1"]
    [key] = list(hashes_of("juergen@example.test"))[:1]
    try:
        recalled({("crm", CUSTOMER, key): str(second)})
        made, _ = crm.create("14", compose(order()))
        assert sale(odoo, made.crm_order_id)["partner_id"] == second
        recalled({("crm", CUSTOMER, key): NEW})
        new = [crm.create(name, compose(order()))[0].crm_order_id for name in ("15", "16")]
    finally:
        recalled({})
    [chosen] = {sale(odoo, one)["partner_id"] for one in new}
    assert chosen not in (first, second)


def test_people_of_one_company_with_its_email_stand_for_the_company(odoo: OdooStandIn, crm: OdooCrm) -> None:
    same = {"type": "contact", "email": "juergen@example.test"}
    company = odoo.records.insert(PARTNER, {"name": "Acme", "is_company": True, **same})
    odoo.records.insert(PARTNER, {"name": "Jürgen", "parent_id": company, **same})
    crm.create("14", compose(order()))
    assert sale(odoo)["partner_id"] == company


@pytest.mark.parametrize("has_an_order", [False, True])
@pytest.mark.parametrize("is_older", [False, True])
def test_a_customer_made_twice_at_once_is_one_in_the_end(
    has_an_order: bool, is_older: bool, odoo: OdooStandIn, crm: OdooCrm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another worker makes the same, just before or just after we do."""
    real = odoo.records.insert
    wanted = compose(order())["partner"]
    twin = {"name": wanted["name"], "type": "contact", "email": wanted["email"], "ref": f"woo-{wanted['code']}"}

    def insert(model: str, values: Row, uid: int = 2) -> int:
        if model != PARTNER or any(row["ref"] == twin["ref"] for row in partners(odoo)):
            return real(model, values, uid)
        mine = None if is_older else real(model, values, uid)
        theirs = real(PARTNER, twin, 6)
        if has_an_order:
            odoo.sales.create({"partner_id": theirs}, 6)
        return mine or real(model, values, uid)

    monkeypatch.setattr(odoo.records, "insert", insert)
    made, _ = crm.create("14", compose(order()))
    [left] = [row for row in partners(odoo) if row["ref"] == twin["ref"]]
    assert {row["partner_id"] for row in odoo.records.tables[SALE].values()} == {left["id"]}
    assert made.external_id == "14"


def test_twins_that_a_dead_worker_left_behind_become_one(odoo: OdooStandIn, crm: OdooCrm) -> None:
    wanted = compose(order())["partner"]
    twin = {"name": wanted["name"], "type": "contact", "email": wanted["email"], "ref": f"woo-{wanted['code']}"}
    for _ in range(3):
        odoo.records.insert(PARTNER, twin)
    crm.create("14", compose(order()))
    [left] = [row for row in partners(odoo) if row["ref"] == twin["ref"]]
    assert sale(odoo)["partner_id"] == left["id"]


@pytest.mark.parametrize("by", ["us", "a person"])
def test_a_copy_that_people_made_of_our_contact_is_not_deleted(by: str, odoo: OdooStandIn, crm: OdooCrm) -> None:
    """Odoo copies the reference, too, and no order refers to the copy yet."""
    crm.create("14", compose(order()))
    ours = odoo.records.tables[PARTNER][sale(odoo)["partner_id"]]
    copy = odoo.records.insert(PARTNER, {name: ours[name] for name in ("name", "type", "email", "phone", "ref")})
    maker, made = (ours["create_uid"], "2031-01-01 00:00:00.0") if by == "us" else (77, ours["create_date"])
    odoo.records.tables[PARTNER][copy] |= {"create_uid": maker, "create_date": made}
    second, _ = crm.create("15", compose(order()))
    assert copy in odoo.records.tables[PARTNER]
    assert sale(odoo, second.crm_order_id)["partner_id"] == ours["id"]


# --- orders that are made twice, and what disappears between two calls ---------------------------------------------


def test_of_two_made_at_once_the_younger_withdraws(
    odoo: OdooStandIn, crm: OdooCrm, monkeypatch: pytest.MonkeyPatch
) -> None:
    crm.create("13", compose(order()))
    values = {"partner_id": sale(odoo)["partner_id"], "client_order_ref": "woo-14"}
    monkeypatch.setattr(crm, "find", lambda external_id: odoo.sales.create(values, 6) and None)
    made, _ = crm.create("14", compose(order()))
    assert made.crm_order_id == "2"
    assert (sale(odoo, "3")["state"], sale(odoo, "3")["client_order_ref"]) == ("cancel", False)


def test_of_two_made_at_once_the_older_one_looks_again(
    odoo: OdooStandIn, crm: OdooCrm, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = odoo.sales.create

    def twice(values: Row, uid: int) -> int:
        mine = real(values, uid)
        real(values, uid)
        return mine

    monkeypatch.setattr(odoo.sales, "create", twice)
    with pytest.raises(Unconfirmed) as raised:
        crm.create("14", compose(order()))
    assert raised.value.about_order
    with pytest.raises(Rejected, match=r"2 times: 1, 2\. Cancel all but one"):
        crm.find("14")
    assert crm.find_many(["14"]) == {}


@pytest.mark.parametrize(("model", "record"), [(PARTNER, 2), ("product.product", 4), ("account.tax", 1)])
def test_what_was_there_a_moment_ago_is_looked_for_anew(
    model: str, record: int, odoo: OdooStandIn, crm: OdooCrm, monkeypatch: pytest.MonkeyPatch
) -> None:
    crm.create("13", compose(order()))
    words = f"Record does not exist or has been deleted.\n(Record: {model}({record},), User: 6)"
    gone = OdooError("odoo.exceptions.MissingError", words)
    odoo.failing[SALE, "create"] = gone
    before = len(odoo.requests)
    assert crm.create("14", compose(order()))[1]
    assert len(odoo.requests) - before > 8  # products, taxes and the rest, too
    monkeypatch.setattr(odoo.sales, "create", MagicMock(side_effect=gone))
    with pytest.raises(Unconfirmed):
        crm.create("15", compose(order()))


# --- changes ------------------------------------------------------------------------------------------------------


def test_only_what_the_shop_changed_is_changed(odoo: OdooStandIn, crm: OdooCrm) -> None:
    made, _ = crm.create("14", compose(order()))
    odoo.write(made.crm_order_id, order_line=[[0, 0, {"name": "By hand", "product_id": 1, "price_unit": 1.0}]])
    before = list(sale(odoo)["order_line"])
    items = [
        line(141, "Plain T-shirt", "36.00", tax="6.84", quantity=3, sku="LAB-2"),
        line(146, "Tea", "8.50", sku="LAB-3"),
    ]
    crm.update(made.crm_order_id, compose(order(line_items=items)))
    assert [name for name, *_ in lines(odoo)] == ["Plain T-shirt", "Flat rate", "Express", "Voucher", "By hand", "Tea"]
    assert sale(odoo)["order_line"][:2] == [before[0], before[2]]
    assert lines(odoo)[0] == ("Plain T-shirt", 4, 3.0, 12.0, [1])


def test_an_address_that_changed_is_added(odoo: OdooStandIn, crm: OdooCrm) -> None:
    made, _ = crm.create("14", compose(order()))
    crm.update(made.crm_order_id, compose(with_billing(address_1="Andere Straße 3")))
    [partner, address] = partners(odoo)
    assert (partner["street"], address["street"]) == ("Straße des 17. Juni 135", "Andere Straße 3")
    assert sale(odoo)["partner_shipping_id"] == address["id"]
    crm.update(made.crm_order_id, compose(order()))
    assert sale(odoo)["partner_shipping_id"] == partner["id"]


def test_a_line_of_a_confirmed_order_gets_the_quantity_0(odoo: OdooStandIn, crm: OdooCrm) -> None:
    made, _ = crm.create("14", compose(order()))
    odoo.set_status(made.crm_order_id, "sale")
    told = crm.update(made.crm_order_id, compose(order(fee_lines=[])))
    assert [quantity for _, _, quantity, _, _ in lines(odoo)] == [2.0, 1.0, 1.0, 0.0, 0.0]
    assert told.total == Decimal("45.70")


@pytest.mark.parametrize("version", [16, 17])
@pytest.mark.parametrize(("ways", "status"), [(("sale", "done"), "done"), (("cancel",), "cancel")])
def test_lines_of_a_locked_order_need_a_person(version: int, ways: tuple[str, ...], status: str) -> None:
    odoo = OdooStandIn(version=version)
    odoo.start()
    try:
        crm = OdooCrm(access(OdooCrm.schema, {"url": odoo.url, **odoo.settings}))
        made, _ = crm.create("14", compose(order()))
        for way in ways:
            odoo.set_status(made.crm_order_id, way)
        with pytest.raises(Rejected, match=f"is {status} in Odoo") as raised:
            crm.update(made.crm_order_id, compose(order(fee_lines=[])))
        assert raised.value.about_order
        told = crm.update(made.crm_order_id, compose(order(status="completed")))
        assert told.status == status
        assert "status completed" in sale(odoo)["note"]
    finally:
        odoo.stop()


def test_a_user_without_an_address_cannot_change_what_is_confirmed(odoo: OdooStandIn, crm: OdooCrm) -> None:
    made, _ = crm.create("14", compose(order()))
    odoo.set_status(made.crm_order_id, "sale")
    odoo.sales.sender_is_unset = True
    with pytest.raises(Rejected, match="sender's email address"):
        crm.update(made.crm_order_id, compose(order(fee_lines=[])))


# --- what is missing in Odoo --------------------------------------------------------------------------------------


def test_what_odoo_does_not_have_is_named(odoo: OdooStandIn, connect: Callable[..., OdooCrm]) -> None:
    wanted: list[tuple[OdooCrm, dict[str, Any], str]] = [
        (connect(item_product="NONE"), order(), "no product with the internal reference NONE"),
        (connect(), order(tax_lines=[{"rate_id": 1, "rate_percent": 20}]), "no sales tax of 20 %"),
        (connect(), order(currency="USD"), "no price list in USD"),
    ]
    for crm, told, words in wanted:
        with pytest.raises(Rejected, match=words):
            crm.create("14", compose(told))
    with pytest.raises(NotConfigured, match="the setting company is 'Other Ltd'"):
        connect(company="Other Ltd").create("14", compose(order()))
    odoo.records.insert("product.pricelist", {"name": "Dollars", "currency_id": 2})
    made, _ = connect().create("14", compose(order(currency="USD")))
    assert sale(odoo, made.crm_order_id)["currency_id"] == 2


def test_without_a_product_for_shipping_it_stands_on_the_other_one(
    odoo: OdooStandIn, connect: Callable[..., OdooCrm]
) -> None:
    connect(shipping_product="NONE").create("14", compose(order()))
    assert lines(odoo)[2][:2] == ("Flat rate", 1)


@pytest.mark.parametrize("missing", ["database", "login", "token"])
def test_a_setting_that_is_missing_is_named(missing: str, odoo: OdooStandIn) -> None:
    values = {"url": odoo.url, **odoo.settings, missing: ""}
    with pytest.raises(NotConfigured, match=f"CRM_{missing.upper()} is not set"):
        crm_backends.connect_to(OdooCrm, access(OdooCrm.schema, values))


# --- how Odoo fails -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [16, 19])
def test_a_wrong_key_is_about_the_side_also_when_it_was_good_before(version: int) -> None:
    odoo = OdooStandIn(version=version)
    odoo.start()
    try:
        crm = OdooCrm(access(OdooCrm.schema, {"url": odoo.url, **odoo.settings}))
        crm.ping()
        odoo.settings = {**odoo.settings, "token": "a-new-key-of-odoo"}  # type: ignore[misc]
        for _ in range(2):
            with pytest.raises(AuthFailed) as raised:
                crm.ping()
            assert raised.value.about_order is False
    finally:
        odoo.stop()


def test_what_the_user_may_not_do_is_about_the_order_while_she_may_read(odoo: OdooStandIn, crm: OdooCrm) -> None:
    made, _ = crm.create("14", compose(order()))
    odoo.forbidden |= {(SALE, "write"), (SALE, "read")}
    for call in (lambda: crm.update(made.crm_order_id, compose(order())), lambda: crm.get(made.crm_order_id)):
        with pytest.raises(Hidden) as raised:
            call()
        assert raised.value.about_order
    odoo.forbidden |= {(SALE, "search_read")}
    with pytest.raises(AuthFailed):
        crm.get(made.crm_order_id)


def test_a_clash_in_the_database_is_tried_again_and_counts_against_nobody(odoo: OdooStandIn, crm: OdooCrm) -> None:
    odoo.failing[SALE, "create"] = OdooError("psycopg2.errors.SerializationFailure", "could not serialize access")
    with pytest.raises(ServerTrouble) as raised:
        crm.create("14", compose(order()))
    assert (raised.value.about_order, raised.value.again) == (True, True)
    assert crm.create("14", compose(order()))[1]


def test_a_creation_that_nobody_answered_is_found_again(odoo: OdooStandIn, crm: OdooCrm) -> None:
    odoo.faults.add("timeout-after-effect", times=1, path=f"/{SALE}/create")
    with pytest.raises(Ambiguous):
        crm.create("14", compose(order()))
    found, is_new = crm.create("14", compose(order()))
    assert (found.crm_order_id, is_new, len(odoo.records.tables[SALE])) == ("1", False, 1)


@pytest.mark.parametrize("fault", ["500", "502", "html", "429", "503-retry-after", "truncated", "down"])
def test_a_read_that_fails_may_come_again(fault: str, odoo: OdooStandIn, crm: OdooCrm) -> None:
    made, _ = crm.create("14", compose(order()))
    odoo.faults.add(fault, method="GET", times=2)
    with pytest.raises(Exception) as raised:
        crm.get(made.crm_order_id)
    assert raised.value.again  # type: ignore[attr-defined]
    odoo.faults.clear()
    assert crm.get(made.crm_order_id) == made


def test_what_is_not_odoo_is_said_to_be_so(odoo: OdooStandIn, crm: OdooCrm) -> None:
    odoo.handle = lambda request, fault: Answer(200, {"jsonrpc": "2.0", "result": "hello"})  # type: ignore[method-assign]
    with pytest.raises(Blocked):
        crm.ping()


# --- lists and times ----------------------------------------------------------------------------------------------


def test_all_that_changed_within_one_second_is_listed_once(odoo: OdooStandIn, crm: OdooCrm) -> None:
    partner = odoo.records.insert(PARTNER, {"name": "Somebody", "type": "contact"})
    begun = datetime.now(UTC)
    odoo.records.now = lambda: begun
    for number in range(250):
        odoo.sales.create({"partner_id": partner, "client_order_ref": f"woo-{number}"}, 6)
    odoo.records.now = lambda: begun + timedelta(seconds=5)
    for number in range(250, 260):
        odoo.sales.create({"partner_id": partner, "client_order_ref": f"woo-{number}"}, 6)
    listed = [one.external_id for one in crm.changed_since(begun)]
    assert sorted(listed, key=lambda name: int(name or 0)) == [str(number) for number in range(260)]


def test_its_traits_are_those_of_odoo() -> None:
    assert OdooCrm.traits == Traits(updated_at="seconds", hooks="hints", hook_before_commit=True)
    assert not OdooCrm.traits.speaks_truly


@pytest.mark.parametrize(
    ("version", "protocol", "expected"),
    [(16, "", "/jsonrpc"), (19, "", "/json/2/"), (19, "JSON-RPC", "/jsonrpc"), (19, "JSON-2", "/json/2/")],
)
def test_the_version_or_a_person_says_how_odoo_is_called(version: int, protocol: str, expected: str) -> None:
    odoo = OdooStandIn(version=version)
    odoo.start()
    try:
        values = {"url": odoo.url, **odoo.settings, **({"protocol": protocol} if protocol else {})}
        crm = OdooCrm(access(OdooCrm.schema, values))
        for _ in range(3):
            crm.ping()
        called = [one.path for one in odoo.requests if b'"common"' not in one.body]
        assert len(called) == 3
        assert all(path.startswith(expected) for path in called)
        versions = [one for one in odoo.requests if b'"method": "version"' in one.body]
        assert len(versions) == (0 if protocol else 1), "asked once"
    finally:
        odoo.stop()


def test_others_orders_name_none_of_ours(odoo: OdooStandIn, crm: OdooCrm) -> None:
    partner = odoo.records.insert(PARTNER, {"name": "Somebody", "type": "contact"})
    odoo.sales.create({"partner_id": partner, "client_order_ref": "PO 4711"}, 2)
    odoo.sales.create({"partner_id": partner}, 2)
    assert [one.external_id for one in crm.changed_since(datetime(2020, 1, 1, tzinfo=UTC))] == [
        "reference PO 4711",
        None,
    ]


# --- what it costs ------------------------------------------------------------------------------------------------


def test_a_creation_takes_four_calls_and_a_new_customer_two_more(
    odoo: OdooStandIn, crm: OdooCrm, calls: list[CallRecord]
) -> None:
    crm.create("13", compose(order()))
    calls.clear()
    made, _ = crm.create("14", compose(order()))
    assert len(calls) == 4
    calls.clear()
    crm.create("15", compose(with_billing(email="new@example.test", phone="")))
    assert len(calls) == 6
    calls.clear()
    crm.get(made.crm_order_id)
    crm.get_many([made.crm_order_id, "1"])
    crm.find_many(["13", "14", "15"])
    assert len(calls) == 3


def test_the_key_is_in_no_call_that_is_kept(odoo: OdooStandIn, crm: OdooCrm, calls: list[CallRecord]) -> None:
    crm.create("14", compose(order()))
    assert calls
    assert not [one for one in calls if odoo.settings["token"] in one.request_body + one.response_body + one.url]


def test_its_fields_and_statuses_can_be_mapped(crm: OdooCrm) -> None:
    fields = {one.name: one for one in crm.fields()}
    assert (fields["partner_id"].kind, fields["partner_id"].required) == ("reference", True)
    assert fields["state"].choices == ("draft", "sent", "sale", "done", "cancel")
    assert crm.url_of("7").endswith("/web#id=7&model=sale.order&view_type=form")
