"""The neutral order: every amount of the shop's order to the cent, whatever stands in it."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sync.clients.crm.draft import Line, amount, draft
from sync.sandbox.orders import new_order
from tests.sync.conftest import NEW_YEAR

TAXES = [
    {"rate_id": 1, "rate_percent": 19, "label": "MwSt"},
    {"rate_id": 2, "rate_percent": 7, "label": "MwSt"},
]


def line(kind_id: int, total: str, tax: str, rate: int = 1, **more: Any) -> dict[str, Any]:
    return {"id": kind_id, "total": total, "total_tax": tax, "taxes": [{"id": rate, "total": tax}], **more}


CASES: dict[str, tuple[dict[str, Any], str]] = {
    "net prices": (
        {
            "line_items": [line(1, "24.00", "4.56", name="T-shirt", quantity=2, sku="LAB-1")],
            "shipping_lines": [line(9, "4.90", "0.93", method_title="DHL")],
            "total": "34.39",
        },
        "34.39",
    ),
    "prices that include tax": (
        {
            "prices_include_tax": True,
            "line_items": [line(1, "8.40", "1.60", name="Pot", quantity=1), line(2, "9.35", "0.65", 2, quantity=1)],
            "total": "20.00",
        },
        "20.00",
    ),
    "a coupon, which the lines already hold": (
        {
            "line_items": [line(1, "22.00", "4.18", quantity=2, subtotal="24.00", subtotal_tax="4.56")],
            "coupon_lines": [{"id": 5, "code": "WELCOME", "discount": "2.00", "discount_tax": "0.38"}],
            "total": "26.18",
        },
        "26.18",
    ),
    "a fee and one that takes away": (
        {
            "line_items": [line(1, "10.00", "1.90", quantity=1)],
            "fee_lines": [line(6, "2.50", "0.48", name="Gift wrap"), line(7, "-1.00", "-0.19", name="Loyal")],
            "total": "13.69",
        },
        "13.69",
    ),
    "a currency without decimals": (
        {"currency": "JPY", "line_items": [line(1, "1200", "120", quantity=3)], "total": "1320"},
        "1320",
    ),
    "no tax at all": (
        {"line_items": [{"id": 1, "total": "5.00", "total_tax": "0.00", "quantity": 1}], "total": "5"},
        "5",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_lines_add_up_to_the_total(name: str) -> None:
    order, total = CASES[name]
    made = draft({"id": 14, "status": "processing", "tax_lines": TAXES, **order})
    assert sum((one.net + one.tax for one in made.lines), Decimal()) == made.total == Decimal(total)


def test_every_line_has_its_kind_and_the_number_that_the_shop_gave_it() -> None:
    made = draft({"id": 14, "status": "processing", "tax_lines": TAXES, **CASES["a fee and one that takes away"][0]})
    assert [(one.kind, one.shop_id) for one in made.lines] == [("item", 1), ("fee", 6), ("discount", 7)]
    assert {one.rates for one in made.lines} == {(Decimal(19),)}


def test_an_order_of_the_shop_is_read_as_a_whole() -> None:
    fields = {
        "number": "WC-2026-14",
        "customer_note": "Bitte klingeln 🚪",
        "billing": {"company": "Müller & Söhne", "email": "ann@example.test"},
        "meta_data": [{"id": 1, "key": "_vat_number", "value": "DE123456789"}],
        "refunds": [{"id": 3, "reason": "broken", "total": "-5.00"}, {"id": 4, "reason": "", "total": "-1.50"}],
        "transaction_id": "tx_1",
    }
    order = new_order(14, NEW_YEAR, "https://shop.example", fields)
    made = draft(order)
    assert (made.woo_id, made.number, made.note) == (14, "WC-2026-14", "Bitte klingeln 🚪")
    assert (made.customer.company, made.customer.vat_number) == ("Müller & Söhne", "DE123456789")
    assert (made.refunded, made.payment.transaction_id) == (Decimal("6.50"), "tx_1")
    assert made.created_at == NEW_YEAR
    assert made.total == Decimal(order["total"])
    assert [one.sku for one in made.lines if one.kind == "item"] == [one["sku"] for one in order["line_items"]]


def test_a_price_of_one_is_not_rounded() -> None:
    assert Line(kind="item", shop_id=1, name="", quantity=Decimal(3), net=Decimal("10.00")).unit_price * 3 != Decimal(
        10
    )
    assert Line(kind="item", shop_id=1, name="", quantity=Decimal(4), net=Decimal("10.00")).unit_price == Decimal("2.5")


@pytest.mark.parametrize("value", [None, "", "NaN", "Infinity", "1e999", "twelve", [], {}, True])
def test_what_is_no_amount_is_nought(value: Any) -> None:
    assert amount(value) == 0


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
FIELDS = ("id", "number", "status", "total", "billing", "shipping", "line_items", "tax_lines", "refunds", "meta_data")


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.sampled_from(FIELDS), JSON))
def test_no_order_is_too_odd_to_be_read(order: dict[str, Any]) -> None:
    draft(order)


@pytest.mark.parametrize("said", ["-", ".", "n/a", "0", "000000000", "+11 111 1111", "12345", "0123456789", 0, None])
def test_what_is_typed_in_the_place_of_a_phone_number_is_nobodys(said: Any) -> None:
    """Else whoever types the same would be taken for the same customer."""
    assert draft({"billing": {"phone": said}}).customer.phone == ""


@pytest.mark.parametrize("said", ["030 1", "+49 30 123456", "(555) 010-0199"])
def test_a_phone_number_is_kept_as_it_is_written(said: str) -> None:
    assert draft({"billing": {"phone": said}}).customer.phone == said
