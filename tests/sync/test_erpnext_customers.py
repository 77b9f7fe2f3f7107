"""Whose order it is in ERPNext: customers are found before they are made, and none is changed."""

from collections.abc import Iterator
from typing import Any

import pytest

from sync.clients.crm.customers import SeveralFit
from sync.clients.crm.erpnext.records import Records
from sync.clients.errors import Rejected
from sync.sandbox.crms.erpnext import ErpnextStandIn
from tests.sync.erpnext import BILLING, Backend


@pytest.fixture
def erpnext() -> Iterator[ErpnextStandIn]:
    one = ErpnextStandIn()
    one.start()
    yield one
    one.stop()


def customers(erpnext: ErpnextStandIn) -> dict[str, Any]:
    return erpnext.documents.kept["Customer"]


def test_a_new_customer_is_made_with_a_contact(erpnext: ErpnextStandIn) -> None:
    doc = Backend(erpnext).create()
    there = customers(erpnext)[doc["customer"]]
    assert (there["customer_name"], there["customer_type"]) == ("Jürgen Müller", "Individual")
    assert "tax_id" not in there
    [contact] = erpnext.documents.kept["Contact"].values()
    assert contact["email_ids"] == [{"email_id": "juergen@example.test"}]


def test_a_company_has_its_vat_number(erpnext: ErpnextStandIn) -> None:
    billing = {**BILLING, "company": "Müller GmbH", "vat_number": "DE123456789"}
    there = customers(erpnext)[Backend(erpnext).create(billing=billing)["customer"]]
    assert (there["customer_name"], there["customer_type"], there["tax_id"]) == (
        "Müller GmbH",
        "Company",
        "DE123456789",
    )


def test_a_company_is_known_by_its_vat_number(erpnext: ErpnextStandIn) -> None:
    known = erpnext.documents.create("Customer", {"customer_name": "Mueller AG", "tax_id": "DE123456789"})
    billing = {**BILLING, "company": "Müller GmbH", "vat_number": "de123456789"}
    assert Backend(erpnext).create(billing=billing)["customer"] == known["name"]
    erpnext.documents.create("Customer", {"customer_name": "Mueller SE", "tax_id": "DE123456789"})
    with pytest.raises(SeveralFit) as raised:
        Backend(erpnext).create("15", billing=billing)
    assert raised.value.key == "de123456789"


def test_a_question_about_a_phone_number_names_it_as_the_shop_has_it(
    erpnext: ErpnextStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("Müller A", "Müller B"):
        erpnext.documents.create("Customer", {"customer_name": name, "mobile_no": "030 123 . 7"})
    said = "030 123 ext. 7"
    with pytest.raises(SeveralFit) as raised:
        Backend(erpnext).create(billing={"phone": said})
    assert raised.value.key == said, "so it is remembered, and found again"
    answers = {said: "Müller B"}
    monkeypatch.setattr("sync.clients.crm.erpnext.records.chosen", lambda access, what, key: answers.get(key))
    assert Backend(erpnext).create(billing={"phone": said})["customer"] == "Müller B"


@pytest.mark.parametrize(
    ("email", "phone", "billing"),
    [
        ("Juergen@Example.test", "", {}),
        ("", "+49 30 123456", {}),
        ("another@example.test", "+49 30 123456", {"email": ""}),
    ],
    ids=["by e-mail, in other letters", "by phone", "by phone, without an e-mail"],
)
def test_one_who_is_there_is_taken_and_not_changed(
    erpnext: ErpnextStandIn, email: str, phone: str, billing: dict[str, str]
) -> None:
    known = erpnext.documents.create("Customer", {"customer_name": "J. Mueller", "tax_id": "DE1"})
    erpnext.documents.contact("J. Mueller", email, phone)
    before = dict(known)
    assert Backend(erpnext).create(billing={**BILLING, **billing})["customer"] == "J. Mueller"
    assert customers(erpnext) == {"J. Mueller": before}


def test_several_are_shown_to_a_person(erpnext: ErpnextStandIn) -> None:
    for name in ("Müller A", "Müller B"):
        erpnext.documents.create("Customer", {"customer_name": name, "email_id": "juergen@example.test"})
    with pytest.raises(SeveralFit) as raised:
        Backend(erpnext).create()
    assert (raised.value.what, raised.value.key) == ("customer", "juergen@example.test")
    assert {one.id for one in raised.value.candidates} == {"Müller A", "Müller B"}
    assert all(one.details["E-mail"] == "juergen@example.test" for one in raised.value.candidates)
    assert not erpnext.orders
    customers(erpnext)["Müller A"]["disabled"] = 1
    assert Backend(erpnext).create()["customer"] == "Müller B", "one that is disabled does not count"


def test_one_customer_with_two_contacts_is_one(erpnext: ErpnextStandIn) -> None:
    erpnext.documents.create("Customer", {"customer_name": "Müller A", "email_id": "juergen@example.test"})
    erpnext.documents.contact("Müller A", "juergen@example.test")
    assert Backend(erpnext).create()["customer"] == "Müller A"


@pytest.mark.parametrize("choice", ["Müller B", ""], ids=["one of them", "a new one"])
def test_what_a_person_chose_is_taken(erpnext: ErpnextStandIn, monkeypatch: pytest.MonkeyPatch, choice: str) -> None:
    for name in ("Müller A", "Müller B"):
        erpnext.documents.create("Customer", {"customer_name": name, "email_id": "juergen@example.test"})
    monkeypatch.setattr("sync.clients.crm.erpnext.records.chosen", lambda access, what, key: choice)
    first = Backend(erpnext).create("14")["customer"]
    assert first == (choice or "Jürgen Müller")
    assert Backend(erpnext).create("15")["customer"] == first, "and the next time, too"


def test_a_guest_with_nothing_but_a_name_is_made_once_for_an_order(erpnext: ErpnextStandIn) -> None:
    billing = {"first_name": "Zoë", "last_name": "Ø"}
    doc = Backend(erpnext).create("14", billing=billing)
    erpnext.delete(doc["name"])  # as if we had died before the order was made
    assert Backend(erpnext).create("14", billing=billing)["customer"] == doc["customer"]
    assert Backend(erpnext).create("15", id=15, billing=billing)["customer"] != doc["customer"]
    assert Backend(erpnext).create("16", id=16, billing={})["customer"] == "WooCommerce 14"


def test_who_dies_before_the_order_does_not_make_her_twice(
    erpnext: ErpnextStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Died(BaseException):
        pass

    def die(records: Records, *said: Any) -> Any:
        raise Died

    with monkeypatch.context() as patched:
        patched.setattr(Records, "addresses", die)
        with pytest.raises(Died):
            Backend(erpnext).create()
    Backend(erpnext).create()
    assert len(customers(erpnext)) == 1


def test_of_two_who_make_her_at_once_the_later_one_takes_its_own_away(
    erpnext: ErpnextStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = Backend(erpnext)
    look, looks = Records._with_key, iter([True])

    def another_is_quicker(records: Records, key: str) -> list[str]:
        if next(looks, False):
            erpnext.documents.create("Customer", {"customer_name": "Jürgen Müller", "customer_details": key})
            return []
        return look(records, key)

    monkeypatch.setattr(Records, "_with_key", another_is_quicker)
    assert backend.create()["customer"] == "Jürgen Müller"
    assert [*customers(erpnext)] == ["Jürgen Müller"]


# --- addresses -----------------------------------------------------------------------------------------------------


def addresses(erpnext: ErpnextStandIn) -> dict[str, Any]:
    return erpnext.documents.kept["Address"]


def test_an_address_is_added_once_and_none_is_overwritten(erpnext: ErpnextStandIn) -> None:
    first = Backend(erpnext).create("14", shipping={})
    assert first["customer_address"] == first["shipping_address_name"]
    assert len(addresses(erpnext)) == 1
    Backend(erpnext).create("15")
    assert len(addresses(erpnext)) == 1
    moved = Backend(erpnext).create("16", billing={**BILLING, "address_1": "Nebenstraße 2", "address_2": "2. Hof"})
    assert moved["customer_address"] != first["customer_address"]
    assert addresses(erpnext)[first["customer_address"]]["address_line1"] == BILLING["address_1"]
    assert addresses(erpnext)[moved["customer_address"]]["address_line2"] == "2. Hof"


def test_what_erpnext_wants_and_the_shop_has_not_is_a_dash(erpnext: ErpnextStandIn) -> None:
    doc = Backend(erpnext).create(billing={"first_name": "Zoë", "city": "Dublin"})
    there = addresses(erpnext)[doc["customer_address"]]
    assert (there["address_line1"], there["city"], there["country"]) == ("-", "Dublin", "Germany")


def test_a_country_that_erpnext_has_not_is_named(erpnext: ErpnextStandIn) -> None:
    with pytest.raises(Rejected, match=r"no country with the code 'XK'.*Country"):
        Backend(erpnext).create(billing={**BILLING, "country": "XK"})


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("+49 (0)30 / 123 456", "+49 (0)30 123 456"),
        ("030-123456 ext. 7", "030-123456 . 7"),
        ("ask at the door", ""),
        ("+49 30 123456, and at night +49 30 654321", "+4930123456,+4930654"),
        ("", ""),
    ],
)
def test_a_phone_number_is_as_erpnext_takes_it(erpnext: ErpnextStandIn, said: str, kept: str) -> None:
    doc = Backend(erpnext).create(billing={**BILLING, "phone": said})
    assert customers(erpnext)[doc["customer"]].get("mobile_no", "") == kept


def test_a_bridge_whose_prefix_looks_alike_has_customers_of_its_own(erpnext: ErpnextStandIn) -> None:
    """For `like`, an underscore is any letter, and a capital the same as a small one."""
    nobody = {"first_name": "Jürgen", "last_name": "Müller"}
    of = {
        name: Backend(erpnext).create(name, billing=nobody, customer_id=5)["customer"]
        for name in ("shop.b-14", "Shop.b-14", "shop_b-14")
    }
    assert len(set(of.values())) == 3
    assert Backend(erpnext).create("shop_b-15", billing=nobody, customer_id=5)["customer"] == of["shop_b-14"]
