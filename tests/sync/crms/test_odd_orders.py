"""Orders as shops have them now and then: each is in the CRM with its exact total, or waits with words that say why."""

from decimal import Decimal
from typing import Any

import pytest

from tests.sync.crms.whole import BILLING, SHIPPING, Whole, sides

__all__ = ["sides"]

NOBODY = dict.fromkeys(BILLING, "")
NO_TAX: dict[str, Any] = {"shipping_lines": [], "tax_lines": [], "total_tax": "0.00", "shipping_total": "0.00"}


def item(net: str, quantity: int = 1, **more: Any) -> dict[str, Any]:
    return {"id": 90, "name": "Tea", "quantity": quantity, "total": net, "total_tax": "0", "taxes": [], **more}


ORDERS: dict[str, dict[str, Any]] = {
    "nothing to pay": {**NO_TAX, "total": "0.00", "lines": [item("0.00", 2)]},
    "a coupon over the whole amount": {
        **NO_TAX,
        "total": "0.00",
        "lines": [item("0.00", 3, subtotal="30.00")],
        "coupon_lines": [{"id": 95, "code": "all-of-it", "discount": "30.00"}],
    },
    "a fee below nought": {
        **NO_TAX,
        "total": "7.50",
        "lines": [item("10.00")],
        "fee_lines": [{"id": 92, "name": "Rebate", "total": "-2.50", "total_tax": "0.00", "taxes": []}],
    },
    "three for ten": {**NO_TAX, "total": "10.00", "lines": [item("10.00", 3)]},
    "no lines at all": {**NO_TAX, "total": "0.00", "lines": []},
    "refunded in part": {"refunds": [{"id": 99, "reason": "broken", "total": "-5.00"}]},
    "capitals and a plus": {"billing": {**BILLING, "email": "Juergen+Shop@Example.TEST"}},
    "a phone number and no e-mail address": {"billing": {**BILLING, "email": ""}},
    "a guest without anything": {"billing": {**NOBODY, "first_name": "Zoë"}, "shipping": {}},
    "nobody at all": {"billing": NOBODY, "shipping": {}},
    "a company": {"billing": {**BILLING, "company": "Müller & Söhne <GmbH>", "vat_number": "DE123456789"}},
    "no country": {"billing": {**BILLING, "country": ""}, "shipping": {**SHIPPING, "country": ""}},
    "a country that nobody knows": {"billing": {**BILLING, "country": "XK"}},
    "yen": {**NO_TAX, "currency": "JPY", "total": "1000", "lines": [item("1000", 3)]},
    "dinars": {**NO_TAX, "currency": "KWD", "total": "1.235", "lines": [item("1.235")]},
}
WAITS: dict[tuple[str, str], str] = {
    ("odoo", "yen"): "no price list in JPY",
    ("odoo", "dinars"): "no price list in KWD",
    ("erpnext", "a country that nobody knows"): "no country with the code",
    ("erpnext", "dinars"): "total",
}


@pytest.mark.parametrize("name", ORDERS)
def test_it_is_there_with_its_total_or_says_why_not(sides: Whole, name: str) -> None:
    told = dict(ORDERS[name])
    lines = told.pop("lines", None)
    woo_id = sides.order(**told)
    if lines is not None:
        sides.shop.orders[woo_id]["line_items"] = lines
    event = sides.deliver(woo_id)
    if (sides.backend, name) in WAITS:
        assert event.state == "parked"
        assert WAITS[sides.backend, name] in event.reason
        return
    assert (event.state, event.outcome) == ("done", "created"), event.reason
    [there] = sides.crm.shown()
    assert Decimal(there.total.partition(" ")[0]) == Decimal(sides.shop.orders[woo_id]["total"])
    sides.shop.edit(woo_id, customer_note="ring twice")
    assert sides.deliver(woo_id).outcome == "updated"
    known = sides.holds()
    assert sides.deliver(woo_id).outcome == "no_change"
    assert sides.holds() == known
