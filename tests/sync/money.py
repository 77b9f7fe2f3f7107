"""Orders whose amounts are easily got wrong, as WooCommerce shows them. Each backend joins by a line of COMPOSED."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, Literal

from sync.clients.crm.erpnext import document as erpnext

Rounding = Literal["line", "order"]
RATES = {1: "19", 2: "7", 3: "5", 4: "9.975", 5: "10"}


@dataclass(frozen=True, kw_only=True)
class Case:
    order: Mapping[str, Any]
    total: str
    "What the customer pays."
    digits: int = 2
    rounding: Rounding = "line"
    "Of taxes, by the shop."
    refunded: str = "0"
    a_cent_off: frozenset[str] = frozenset()
    "CRMs that come to another total: they take the tax of net amounts, and the shop took it out of gross prices."

    def shown(self) -> dict[str, Any]:
        taxes = [{"rate_id": number, "rate_percent": rate} for number, rate in RATES.items()]
        return {"id": 14, "number": "14", "status": "processing", "tax_lines": taxes, "total": self.total, **self.order}


def line(number: int, net: str, *taxes: tuple[int, str], quantity: Any = 1, **more: Any) -> dict[str, Any]:
    digits = -int(Decimal(net).as_tuple().exponent)
    tax = sum((Decimal(amount) for _, amount in taxes), Decimal())
    return {
        "id": number,
        "name": f"Thing {number}",
        "quantity": quantity,
        "total": net,
        "total_tax": f"{tax:.{digits}f}",
        "taxes": [{"id": rate, "total": amount} for rate, amount in taxes],
        **more,
    }


def shipping(net: str, *taxes: tuple[int, str]) -> dict[str, Any]:
    return {"shipping_lines": [line(9, net, *taxes, method_title="DHL")]}


CASES: dict[str, Case] = {
    "net prices and shipping": Case(
        order={
            "line_items": [line(1, "24.00", (1, "4.56"), quantity=2)],
            "total_tax": "5.49",
            **shipping("4.90", (1, "0.93")),
        },
        total="34.39",
    ),
    "shipping with a tax of its own": Case(
        order={"line_items": [line(1, "10.00", (2, "0.70"))], "total_tax": "1.65", **shipping("5.00", (1, "0.95"))},
        total="16.65",
    ),
    "prices that include tax": Case(
        order={"prices_include_tax": True, "line_items": [line(1, "8.40", (1, "1.60"))], "total_tax": "1.60"},
        total="10.00",
    ),
    "prices that include tax, a cent off": Case(
        order={
            "prices_include_tax": True,
            "line_items": [line(1, "25.18", (1, "4.79"), quantity=3)],
            "total_tax": "4.79",
        },
        total="29.97",
        a_cent_off=frozenset({"tryton"}),
    ),
    "taxes rounded for each line": Case(
        order={"line_items": [line(n, "0.99", (1, "0.19")) for n in (1, 2, 3)], "total_tax": "0.57"},
        total="3.54",
    ),
    "taxes rounded for the order": Case(
        order={
            "line_items": [line(n, "0.99", (1, "0.1881"), total_tax="0.19") for n in (1, 2, 3)],
            "total_tax": "0.56",
        },
        total="3.53",
        rounding="order",
    ),
    "two taxes on a line": Case(
        order={"line_items": [line(1, "100.00", (3, "5.00"), (4, "9.98"))], "total_tax": "14.98"}, total="114.98"
    ),
    "yen": Case(
        order={"currency": "JPY", "line_items": [line(1, "1000", (5, "100"), quantity=3)], "total_tax": "100"},
        total="1100",
        digits=0,
    ),
    "dinars": Case(
        order={"currency": "KWD", "line_items": [line(1, "1.230", (3, "0.062"), quantity=77)], "total_tax": "0.062"},
        total="1.292",
        digits=3,
    ),
    "one dinar and a thousandth": Case(
        order={"currency": "KWD", "line_items": [line(1, "1.001")], "total_tax": "0.000"}, total="1.001", digits=3
    ),
    "a coupon": Case(
        order={
            "line_items": [line(1, "22.00", (1, "4.18"), quantity=2, subtotal="24.00", subtotal_tax="4.56")],
            "coupon_lines": [{"id": 5, "code": "WELCOME", "discount": "2.00", "discount_tax": "0.38"}],
            "total_tax": "4.18",
        },
        total="26.18",
    ),
    "a coupon over three": Case(
        order={"line_items": [line(1, "28.33", (1, "5.38"), quantity=3, subtotal="30.00")], "total_tax": "5.38"},
        total="33.71",
    ),
    "a fee": Case(
        order={
            "line_items": [line(1, "10.00", (1, "1.90"))],
            "fee_lines": [line(6, "2.50", (1, "0.48"), name="Gift wrap")],
            "total_tax": "2.38",
        },
        total="14.88",
    ),
    "a fee that takes away": Case(
        order={
            "line_items": [line(1, "10.00", (1, "1.90"))],
            "fee_lines": [line(7, "-1.00", (1, "-0.19"), name="Loyal")],
            "total_tax": "1.71",
        },
        total="10.71",
    ),
    "store credit without tax": Case(
        order={
            "line_items": [line(1, "10.00", (1, "1.90"))],
            "fee_lines": [line(7, "-6.90", name="Credit")],
            "total_tax": "1.90",
        },
        total="5.00",
    ),
    "refunds so far": Case(
        order={
            "line_items": [line(1, "24.00", (1, "4.56"), quantity=2)],
            "refunds": [{"id": 3, "total": "-5.00", "reason": "broken"}, {"id": 4, "total": "-1.50", "reason": ""}],
            "total_tax": "4.56",
        },
        total="28.56",
        refunded="6.50",
    ),
    "a free order": Case(
        order={"line_items": [line(1, "0.00", quantity=2, subtotal="24.00")], "total_tax": "0.00"}, total="0.00"
    ),
    "no tax": Case(order={"line_items": [line(1, "5.00", quantity=4)], "total_tax": "0.00"}, total="5.00"),
    "many of very little": Case(
        order={"line_items": [line(1, "12.30", (1, "2.34"), quantity=1000)], "total_tax": "2.34"}, total="14.64"
    ),
    "a third of a yard": Case(
        order={"line_items": [line(1, "3.33", (1, "0.63"), quantity=0.333)], "total_tax": "0.63"}, total="3.96"
    ),
}

Total = Callable[[Mapping[str, Any], Case], Decimal]


def rounded(amount: Decimal, digits: int) -> Decimal:
    return amount.quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP)


def computed(price: str) -> Total:
    """By a CRM that gets net prices and the rates of each line, and rounds as the shop does."""

    def total(document: Mapping[str, Any], case: Case) -> Decimal:
        amounts = [rounded(Decimal(one["quantity"]) * Decimal(one[price]), case.digits) for one in document["lines"]]
        taxed: Sequence[tuple[str, Decimal]] = [
            (rate, amount) for one, amount in zip(document["lines"], amounts, strict=True) for rate in one["rates"]
        ]
        if case.rounding == "order":
            sums = Counter[str]()
            for rate, amount in taxed:
                sums[rate] += amount  # type: ignore[assignment]
            taxed = [(rate, Decimal(amount)) for rate, amount in sums.items()]
        return sum(
            (rounded(amount * Decimal(rate) / 100, case.digits) for rate, amount in taxed), sum(amounts, Decimal())
        )

    return total


def gross(document: Mapping[str, Any], case: Case) -> Decimal:
    """By a CRM that adds up lines of which one is the tax."""
    lines = [one["properties"] for one in document["lines"]]
    return sum((Decimal(one["quantity"]) * Decimal(one["price"]) for one in lines), Decimal())


def told(document: Mapping[str, Any], case: Case) -> Decimal:
    return Decimal(document["total"])


@dataclass(frozen=True)
class Composed:
    total: Total
    takes_rates: bool = False
    "It takes taxes of net amounts by itself."
    access: Mapping[str, str] = field(default_factory=dict)


COMPOSED: dict[str, Composed] = {
    "rest": Composed(told),
    "tryton": Composed(computed("unit_price"), takes_rates=True),
    "odoo": Composed(computed("price"), takes_rates=True),
    "hubspot": Composed(gross),
    "erpnext": Composed(lambda document, case: erpnext.total(document)),
}
"""What the CRM of each built-in backend makes of its document."""
