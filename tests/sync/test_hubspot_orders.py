"""An order in HubSpot: its contact, its line items, its changes. Whatever dies or comes twice, there is one of each."""

import threading
from collections import Counter
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest

from sync.clients.crm.cache import forget_all
from sync.clients.crm.customers import SeveralFit
from sync.clients.crm.hubspot import HubspotCrm
from sync.clients.errors import NotConfigured, Rejected, SideError
from sync.clients.http import CallRecord
from sync.clients.snapshots import CrmSnapshot
from sync.sandbox.crms.hubspot import HubspotStandIn
from sync.sandbox.crms.hubspot.records import Record
from tests.sync.crm_contract import LONG_AGO
from tests.sync.hubspot_stage import connect, contact, document, hubspot, order, started

__all__ = ["hubspot"]


def create(crm: HubspotCrm, name: str = "14", **changes: Any) -> CrmSnapshot:
    return crm.create(name, document(crm, order(**changes)))[0]


def only(hubspot: HubspotStandIn, kind: str = "orders") -> Record:
    [one] = hubspot.records[kind].all.values()
    return one


def lines(hubspot: HubspotStandIn) -> list[Mapping[str, str]]:
    ids = only(hubspot).links["line_items"]
    known = hubspot.records["line_items"].all
    return [known[one].properties for one in ids if one in known]


def counts(hubspot: HubspotStandIn) -> dict[str, int]:
    return {kind: len(some.all) for kind, some in hubspot.records.items() if some.all}


# --- what is sent --------------------------------------------------------------------------------------------------


def test_an_order_has_its_contact_lines_addresses_and_the_exact_total(hubspot: HubspotStandIn) -> None:
    create(connect(hubspot))
    told = only(hubspot).properties
    assert (told["woo_order_id"], told["hs_total_price"], told["hs_currency_code"]) == ("woo-14", "29.63", "EUR")
    assert told["hs_shipping_address_street"] == "Hauptstraße 1"
    assert "Bitte klingeln 🚪" in told["hs_order_note"]
    who = hubspot.records["contacts"].all[only(hubspot).links["contacts"][0]].properties
    assert (who["email"], who["firstname"], who["lastname"]) == ("juergen@example.test", "Jürgen <b>", "Müller 王")
    assert [(one["name"], one["quantity"], one["price"]) for one in lines(hubspot)] == [
        ("Pot", "2", "10"),
        ("DHL", "1", "4.9"),
        ("Tax", "1", "4.73"),
    ]
    total = sum(Decimal(one["quantity"]) * Decimal(one["price"]) for one in lines(hubspot))
    assert total == Decimal("29.63"), "whoever lets HubSpot add the lines up gets the same amount"
    assert lines(hubspot)[0]["hs_sku"] == "LAB-1"


def test_a_deal_says_in_words_what_it_has_no_properties_for() -> None:
    for deals in started("deals"):
        create(connect(deals))
        [told] = [one.properties for one in deals.records["deals"].all.values()]
        assert (told["woo_order_id"], told["amount"], told["dealstage"]) == ("woo-14", "29.63", "appointmentscheduled")
        assert "Bill to: Jürgen <b> Müller 王, Hauptstraße 1, 10115 Berlin, DE" in told["description"]


def test_what_staff_map_is_written_over_what_we_would_write(hubspot: HubspotStandIn) -> None:
    crm = connect(hubspot)
    mapped = {"hs_order_name": "No. 14", "hs_order_note": None, "hs_external_order_id": True}
    made, _ = crm.create("14", {**document(crm, order()), "fields": mapped})
    told = only(hubspot).properties
    assert (told["hs_order_name"], told["hs_external_order_id"]) == ("No. 14", "true")
    assert not told.get("hs_order_note")
    renaming = {"hs_order_name": 7, "woo_order_id": "woo-99"}
    told = crm.update(made.crm_order_id, {**document(crm, order()), "fields": renaming})
    assert only(hubspot).properties["hs_order_name"] == "7"
    assert told.external_id == "14", "a map does not rename it"


def test_a_price_that_is_not_exact_becomes_one_of_the_whole_amount(hubspot: HubspotStandIn) -> None:
    create(connect(hubspot), line_items=[{"id": 3, "name": "Pot", "quantity": 3, "total": "20.00"}])
    first = lines(hubspot)[0]
    assert (first["name"], first["quantity"], first["price"]) == ("3 × Pot", "1", "20")


def test_a_product_of_that_sku_is_named_where_there_is_just_one(hubspot: HubspotStandIn) -> None:
    for sku in ("LAB-1", "twice", "twice"):
        hubspot.records["products"].add({"name": "x", "hs_sku": sku})
    skus = ("LAB-1", "twice", "none", "")
    wanted = [{"id": place, "name": "x", "sku": sku, "total": "1.00"} for place, sku in enumerate(skus, 1)]
    create(connect(hubspot), line_items=wanted)
    assert [bool(one.get("hs_product_id")) for one in lines(hubspot)[:4]] == [True, False, False, False]


def test_without_the_scope_of_products_lines_are_text(hubspot: HubspotStandIn) -> None:
    hubspot.missing_scopes = {"crm.objects.products.read"}
    create(connect(hubspot))
    assert len(lines(hubspot)) == 3


# --- once ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dies_after", range(6))
@pytest.mark.parametrize("email", ["juergen@example.test", ""])
def test_whatever_dies_there_is_one_of_each(
    hubspot: HubspotStandIn, monkeypatch: pytest.MonkeyPatch, dies_after: int, email: str
) -> None:
    wanted = order(billing={"first_name": "J", "email": email})
    left = [dies_after]
    answer = hubspot.answer

    def dying(request: Any) -> Any:
        result = answer(request)
        left[0] -= 1
        if left[0] < 0:
            monkeypatch.setattr(hubspot, "answer", answer)
            return None  # it took effect, and nobody hears of it
        return result

    monkeypatch.setattr(hubspot, "answer", dying)
    crm = connect(hubspot)
    for _ in range(2):
        try:
            crm.create("14", document(crm, wanted))
        except SideError:
            forget_all()
    assert counts(hubspot) == {"orders": 1, "contacts": 1, "line_items": 3}
    assert len(only(hubspot).links["line_items"]) == 3


def test_two_creates_at_once_leave_one_order(hubspot: HubspotStandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    both = threading.Barrier(2)
    handle = hubspot.handle

    def together(request: Any, fault: Any) -> Any:
        if request.method == "POST" and request.path.endswith("/orders"):
            both.wait(30)
        return handle(request, fault)

    monkeypatch.setattr(hubspot, "handle", together)
    made: list[tuple[str, bool]] = []

    def work() -> None:
        crm = connect(hubspot)
        one, is_new = crm.create("14", document(crm, order()))
        made.append((one.crm_order_id, is_new))

    threads = [threading.Thread(target=work) for _ in range(2)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(60)
    assert {crm_order_id for crm_order_id, _ in made} == {only(hubspot).id}
    assert sorted(is_new for _, is_new in made) == [False, True]
    assert counts(hubspot) == {"orders": 1, "contacts": 1, "line_items": 3}


def test_a_search_that_lags_leads_to_no_second_order(hubspot: HubspotStandIn) -> None:
    hubspot.index_lags(1000)
    crm = connect(hubspot)
    made, _ = crm.create("14", document(crm, order()))
    assert list(crm.changed_since(LONG_AGO)) == []
    assert crm.find("14") == made
    assert crm.get_many([made.crm_order_id]) == {made.crm_order_id: made}
    assert crm.find_many(["14", "15"]) == {"14": made, "15": None}
    assert crm.create("14", document(crm, order()))[1] is False
    hubspot.set_status(made.crm_order_id, "Shipped")
    assert crm.get_many([made.crm_order_id])[made.crm_order_id].status.endswith("aa99e8d0-c1d5-4071-b915-d240bbb1aed9")
    hubspot.catch_up()
    assert [one.crm_order_id for one in crm.changed_since(LONG_AGO)] == [made.crm_order_id]


# --- the customer --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "known",
    [
        {"email": "ann@example.test", "firstname": "Anna-Maria", "phone": ""},
        {"email": "work@example.test", "hs_additional_emails": "x@example.test;ann@example.test", "firstname": "A"},
        {"email": "other@example.test", "phone": "+49 30 2", "firstname": "A"},
        {"mobilephone": "+49 30 2"},
    ],
)
def test_a_customer_who_is_there_is_taken_and_never_changed(hubspot: HubspotStandIn, known: dict[str, str]) -> None:
    there = hubspot.records["contacts"].add(known)
    before = dict(there.properties)
    create(connect(hubspot), **contact("ANN@example.test", phone="+49 30 2", city="Köln"))
    assert only(hubspot).links["contacts"] == [there.id]
    assert there.properties == before


def test_several_with_that_phone_number_are_shown_to_a_person(hubspot: HubspotStandIn) -> None:
    for name in ("Ann", "Bob"):
        hubspot.records["contacts"].add({"phone": "+49 30 2", "firstname": name, "city": "Köln"})
    with pytest.raises(SeveralFit) as raised:
        create(connect(hubspot), **contact("", phone="+49 30 2"))
    assert [(one.name, one.details["City"]) for one in raised.value.candidates] == [("Ann", "Köln"), ("Bob", "Köln")]
    assert "orders" not in counts(hubspot)


@pytest.mark.parametrize(("decided", "expected"), [("", 3), ("first", 2)])
def test_what_a_person_chose_is_taken(
    hubspot: HubspotStandIn, monkeypatch: pytest.MonkeyPatch, decided: str, expected: int
) -> None:
    first, _ = (hubspot.records["contacts"].add({"phone": "+49 30 2"}) for _ in range(2))
    said = {("customer", "+49 30 2"): first.id if decided else ""}
    monkeypatch.setattr("sync.clients.crm.hubspot.contacts.chosen", lambda _, *asked: said.get(asked))
    crm = connect(hubspot)
    create(crm, **contact("", phone="+49 30 2"))
    create(crm, "15", **contact("", phone="+49 30 2"))
    linked = {tuple(one.links["contacts"]) for one in hubspot.orders.all.values()}
    assert len(linked) == 1, "the one that was made is found again"
    assert len(hubspot.records["contacts"].all) == expected
    assert (linked == {(first.id,)}) is bool(decided)


def test_who_was_chosen_and_deleted_is_looked_for_anew(
    hubspot: HubspotStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = hubspot.records["contacts"].add({"phone": "+49 30 2"})
    monkeypatch.setattr("sync.clients.crm.hubspot.contacts.chosen", lambda *asked: "999")
    create(connect(hubspot), **contact("", phone="+49 30 2"))
    assert only(hubspot).links["contacts"] == [there.id]


@pytest.mark.parametrize("who", [{}, {"phone": "+49 30 3"}])
def test_a_customer_without_an_address_is_made_once_though_the_search_lags(
    hubspot: HubspotStandIn, who: dict[str, str]
) -> None:
    hubspot.index_lags(1000)
    for name in ("14", "15"):
        create(connect(hubspot), name, billing={"first_name": "Ann", **who})
    assert len(hubspot.records["contacts"].all) == 1, "it is the shop's customer 7 both times"


def test_an_order_that_tells_nothing_of_its_customer_has_no_contact(hubspot: HubspotStandIn) -> None:
    create(connect(hubspot), billing={"first_name": " "}, customer_id=0)
    assert counts(hubspot) == {"orders": 1, "line_items": 3}


# --- changes -------------------------------------------------------------------------------------------------------


def test_lines_that_changed_are_changed_and_those_of_people_stay(hubspot: HubspotStandIn) -> None:
    crm = connect(hubspot)
    made, _ = crm.create("14", document(crm, order()))
    by_hand = hubspot.records["line_items"].add({"name": "by hand", "price": "0", "quantity": "1"})
    only(hubspot).links["line_items"].append(by_hand.id)
    pot = {"id": 3, "name": "Pot", "quantity": 3, "total": "30.00", "total_tax": "5.70"}
    lid = {"id": 9, "name": "Lid", "quantity": 1, "total": "1.00", "total_tax": "0.19"}
    crm.update(
        made.crm_order_id,
        document(crm, order(line_items=[pot, lid], shipping_lines=[], total="36.89", total_tax="5.89")),
    )
    assert {(one["name"], one["quantity"]) for one in lines(hubspot)} == {
        ("Pot", "3"),
        ("Lid", "1"),
        ("Tax", "1"),
        ("by hand", "1"),
    }
    assert len(hubspot.records["line_items"].all) == 4, "that of the shipping is archived"
    assert crm.get(made.crm_order_id).total == Decimal("36.89")


def test_the_trash_is_told_and_takes_nothing_away(hubspot: HubspotStandIn) -> None:
    crm = connect(hubspot)
    made, _ = crm.create("14", document(crm, order()))
    crm.update(made.crm_order_id, document(crm, {"id": 14, "status": "trash"}))
    assert "in the trash" in only(hubspot).properties["hs_order_note"]
    assert only(hubspot).properties["hs_total_price"] == "29.63"
    assert len(lines(hubspot)) == 3


@pytest.mark.parametrize("at_once", [1, 199, 200, 201, 450])
def test_the_list_of_changes_is_whole_though_many_changed_at_the_same_moment(
    hubspot: HubspotStandIn, at_once: int
) -> None:
    orders = hubspot.orders
    stage = {"hs_pipeline": orders.pipelines[0]["id"], "hs_pipeline_stage": orders.pipelines[0]["stages"][0]["id"]}
    made = [orders.add({"woo_order_id": f"woo-{number}", **stage}) for number in range(at_once + 10)]
    for one in made[5:-5]:
        one.updated = made[5].updated
        one.properties["hs_lastmodifieddate"] = one.updated
        one.indexed = [(0.0, one.properties, one.updated)]
    orders.add({"hs_order_name": "not ours", **stage})
    listed = [one.crm_order_id for one in connect(hubspot).changed_since(LONG_AGO)]
    assert Counter(listed) == Counter(one.id for one in made)


# --- the pipeline --------------------------------------------------------------------------------------------------


def test_a_stage_is_a_status_and_all_of_them_are_listed(hubspot: HubspotStandIn) -> None:
    crm = connect(hubspot)
    found = {one.label: one.name for one in crm.statuses()}
    assert found["Order Pipeline: Shipped"] == "14a2e10e/aa99e8d0-c1d5-4071-b915-d240bbb1aed9"
    assert len(found) == 5
    assert max(map(len, found.values())) <= 64


@pytest.mark.parametrize("wanted", ["second PIPELINE", "p2"])
def test_new_orders_begin_in_the_pipeline_of_the_setting(hubspot: HubspotStandIn, wanted: str) -> None:
    second = {**hubspot.orders.pipelines[0], "id": "p2", "label": "Second pipeline", "displayOrder": 5}
    second["stages"] = [{**second["stages"][0], "id": "s1"}]
    hubspot.orders.pipelines.append(second)
    made = create(connect(hubspot, pipeline=wanted))
    assert made.status == "p2/s1"


def test_a_pipeline_that_is_gone_is_named_and_nothing_is_made(hubspot: HubspotStandIn) -> None:
    with pytest.raises(NotConfigured, match=r"no pipeline 'Old'.*It has: Order Pipeline.*CRM_PIPELINE"):
        create(connect(hubspot, pipeline="Old"))
    assert "orders" not in counts(hubspot)


def test_an_order_leads_to_its_page(hubspot: HubspotStandIn) -> None:
    assert connect(hubspot, portal="123").url_of("77") == "https://app.hubspot.com/contacts/123/record/0-123/77"
    assert connect(hubspot).url_of("77") == "", "nobody said which account it is"


def test_its_fields_are_told_with_what_they_take(hubspot: HubspotStandIn) -> None:
    found = {one.name: one for one in connect(hubspot).fields()}
    assert found["hs_total_price"].kind == "number"
    assert not found["hs_lastmodifieddate"].writable
    assert found["hs_order_note"].longest == 65_536
    assert "woo_order_id" not in found


# --- calls ---------------------------------------------------------------------------------------------------------


def test_the_calls_of_each_step_are_few(hubspot: HubspotStandIn) -> None:
    calls: list[CallRecord] = []
    crm = connect(hubspot, calls.append)

    def number() -> int:
        made = len(calls)
        calls.clear()
        return made

    crm.create("13", document(crm, order(id=13)))
    number()  # pipelines and products are known from here on
    made, _ = crm.create("14", document(crm, order()))
    assert number() == 3, "contact, line items, order"
    crm.create("15", document(crm, order(billing={"email": "new@example.test"}, customer_id=8)))
    assert number() == 4, "and the contact is made"
    crm.get(made.crm_order_id)
    assert number() == 1
    crm.update(made.crm_order_id, document(crm, order(customer_note="later")))
    assert number() == 4, "order and lines are read, the order is changed, and read, as the answer is not whole"
    names = [f"{place}" for place in range(100)]
    crm.find_many(names)
    assert number() == 1
    crm.get_many(names)
    assert number() == 1


def test_more_lines_than_a_batch_holds_are_all_there(hubspot: HubspotStandIn) -> None:
    wanted = [{"id": number, "name": f"{number}", "quantity": 1, "total": "1.00"} for number in range(101, 251)]
    crm = connect(hubspot)
    made, _ = crm.create("14", document(crm, order(line_items=wanted)))
    crm.update(made.crm_order_id, document(crm, order(line_items=wanted)))
    assert len(lines(hubspot)) == 152


def test_what_it_refuses_is_named_by_property(hubspot: HubspotStandIn) -> None:
    with pytest.raises(Rejected, match=r"because of email:.*nobody.*is invalid") as raised:
        create(connect(hubspot), **contact("nobody"))
    assert raised.value.about_order
