"""What concerns all orders makes them wait, until it is mended; what concerns one makes that one wait for a person."""

from collections.abc import Callable
from typing import Any

import pytest

from sync.sandbox.crms.odoo.records import OdooError
from tests.sync.crms.whole import BILLING, Whole, a_new_process, sides
from webhooks.models import WebhookEvent

__all__ = ["sides"]

Spoil = Callable[[Any], Callable[[], object]]
"""What somebody does in the CRM; and how it is undone."""


def another_company_of_odoo(crm: Any) -> Callable[[], object]:
    number = crm.records.insert("res.company", {"name": "Another Ltd", "currency_id": 1})
    a_new_process()  # another one goes on with the company that it knows
    return lambda: crm.records.tables["res.company"].pop(number)


def no_right(*what: Any) -> Spoil:
    def spoil(crm: Any) -> Callable[[], object]:
        some = next(getattr(crm, name) for name in ("lost", "may_not", "missing_scopes") if hasattr(crm, name))
        some.update(what)
        return lambda: some.difference_update(what)

    return spoil


def no_pipeline(crm: Any) -> Callable[[], object]:
    before, crm.orders.pipelines = crm.orders.pipelines, []
    return lambda: setattr(crm.orders, "pipelines", before)


def no_property(kind: str, name: str) -> Spoil:
    def spoil(crm: Any) -> Callable[[], object]:
        before = crm.records[kind].definitions.pop(name)
        return lambda: crm.records[kind].definitions.update({name: before})

    return spoil


def gone(doctype: str, name: str) -> Spoil:
    def spoil(crm: Any) -> Callable[[], object]:
        before = crm.documents.kept[doctype].pop(name)
        return lambda: crm.documents.kept[doctype].update({name: before})

    return spoil


OF_ALL: list[tuple[str, str, Spoil]] = [
    ("odoo", "a second company", another_company_of_odoo),
    ("odoo", "no right to make orders", no_right(("sale.order", "create"))),
    ("odoo", "no right to make contacts", no_right(("res.partner", "create"))),
    ("erpnext", "no right to orders", no_right("Sales Order")),
    ("erpnext", "no right to customers", no_right("Customer")),
    ("erpnext", "our field is gone", gone("Custom Field", "Sales Order-woo_order_id")),
    ("hubspot", "the pipeline is gone", no_pipeline),
    ("hubspot", "no scope for orders", no_right("crm.objects.orders.write")),
    ("hubspot", "no scope for contacts", no_right("crm.objects.contacts.write")),
    ("hubspot", "no scope for lines", no_right("crm.objects.line_items.write")),
    ("hubspot", "our property is gone", no_property("orders", "woo_order_id")),
    ("hubspot", "that of lines is gone", no_property("line_items", "woo_line_id")),
]


@pytest.mark.parametrize(
    ("sides", "spoil"),
    [(one, how) for one, _, how in OF_ALL],
    ids=[f"{a}: {b}" for a, b, _ in OF_ALL],
    indirect=["sides"],
)
def test_what_concerns_all_orders_makes_them_wait(sides: Whole, spoil: Spoil) -> None:
    """Also in a process that knew better: it has made orders before."""
    sides.deliver(sides.order())
    mend = spoil(sides.crm)
    others = [{**BILLING, "email": f"{one}@example.test", "phone": f"+49 30 987{one}"} for one in range(3)]
    events = [sides.event(sides.order(billing=one)) for one in others]
    sides.work()
    waiting = WebhookEvent.objects.filter(pk__in=[one.pk for one in events])
    assert {(one.state, one.attempts) for one in waiting} <= {("retrying", 0), ("pending", 0)}, waiting[0].reason
    mend()
    sides.well_again()
    assert {(one.state, one.outcome) for one in waiting.all()} == {("done", "created")}, waiting[0].reason


# --- what is remembered --------------------------------------------------------------------------------------------


def another_account(crm: Any) -> None:
    accounts = crm.documents.kept["Account"]
    name = next(one for one in accounts if "19" in one)
    accounts["Renamed - ES"] = {**accounts.pop(name), "name": "Renamed - ES"}


def another_country(crm: Any) -> None:
    countries = crm.documents.kept["Country"]
    countries["Deutschland"] = {**countries.pop("Germany"), "name": "Deutschland"}


def another_tax(crm: Any) -> None:
    """As Odoo says it where a list names what is gone."""
    words = "The operation cannot be completed: another model requires the record being deleted."
    crm.failing["sale.order", "create"] = OdooError("odoo.exceptions.ValidationError", words)
    taxes = crm.records.tables["account.tax"]
    for number, row in list(taxes.items()):
        crm.records.insert("account.tax", {name: value for name, value in row.items() if name != "id"})
        del taxes[number]


def another_product(crm: Any) -> None:
    products = crm.records.tables["product.product"]
    for number, row in list(products.items()):
        crm.records.insert("product.product", {name: row[name] for name in ("name", "default_code")})
        del products[number]


def another_pipeline(crm: Any) -> None:
    [one] = crm.orders.pipelines
    stages = [{**stage, "id": f"{stage['id']}-2"} for stage in one["stages"]]
    crm.orders.pipelines = [{**one, "id": "2", "stages": stages}]


REMEMBERED: list[tuple[str, Callable[[Any], None]]] = [
    ("erpnext", another_account),
    ("erpnext", another_country),
    ("odoo", another_tax),
    ("odoo", another_product),
    ("hubspot", another_pipeline),
]


@pytest.mark.parametrize(("sides", "change"), REMEMBERED, indirect=["sides"])
def test_a_process_that_remembers_the_crm_of_before_does_as_a_new_one(
    sides: Whole, settings: Any, change: Callable[[Any], None]
) -> None:
    if hasattr(sides.crm, "documents"):
        sides.crm.documents.kept["Account"].pop("Umsatzsteuer 7 % - ES")
        settings.CRM_OPTIONS = {**settings.CRM_OPTIONS, "tax_account": "", "shipping_account": ""}
        a_new_process()
    assert sides.deliver(sides.order()).outcome == "created"
    change(sides.crm)
    event = sides.deliver(sides.order(shipping={**BILLING, "address_1": "Neue Straße 3"}))
    assert (event.state, event.outcome) == ("done", "created"), event.reason


# --- long orders ---------------------------------------------------------------------------------------------------


def test_an_order_of_300_lines_is_as_good_as_any(sides: Whole) -> None:
    lines = [{"name": f"Pot {one}", "sku": f"POT-OF-A-LONG-NAME-{one}", "price": "1.00"} for one in range(300)]
    event = sides.deliver(sides.order(line_items=lines))
    assert (event.state, event.outcome) == ("done", "created"), event.reason
