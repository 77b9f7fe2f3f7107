"""The shop's order in neutral words: what backends compose their documents from. Made here, and only here.

Amounts are exact (`Decimal`). The lines are what the customer pays for: their net amounts and taxes add up to the
total, unless something in the shop, such as a gift card, takes away from the total and from no line.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Literal

from sync.clients.snapshots import TRASH
from webhooks.moments import utc
from webhooks.texts import fit

Kind = Literal["item", "shipping", "fee", "discount"]
VAT_NUMBER = ("_billing_vat_number", "_vat_number", "vat_number", "_billing_eu_vat_number", "billing_vat")
"""Where the common plugins keep it; `_billing_…` is shown in `billing` by some."""
ZERO = Decimal(0)


@dataclass(frozen=True, kw_only=True)
class Address:
    name: str = ""
    company: str = ""
    street: str = ""
    "Its lines, one below the other."
    postcode: str = ""
    city: str = ""
    state: str = ""
    country: str = ""
    "Two letters (ISO 3166-1), if the shop has them."
    phone: str = ""

    @property
    def is_empty(self) -> bool:
        return not (self.street or self.city or self.postcode)


@dataclass(frozen=True, kw_only=True)
class Customer:
    shop_id: int = 0
    "0: a guest."
    name: str = ""
    company: str = ""
    email: str = ""
    phone: str = ""
    vat_number: str = ""


@dataclass(frozen=True, kw_only=True)
class Line:
    kind: Kind
    shop_id: int
    "The shop's own number of it, by which it is known again when it changes."
    name: str
    sku: str = ""
    quantity: Decimal = Decimal(1)
    net: Decimal = ZERO
    "Of all of it, without tax and after coupons."
    tax: Decimal = ZERO
    rates: tuple[Decimal, ...] = ()
    "Per cent, of each tax that is on it."

    @property
    def unit_price(self) -> Decimal:
        """Net, and not rounded."""
        return self.net / self.quantity if self.quantity else self.net


@dataclass(frozen=True, kw_only=True)
class Payment:
    method: str = ""
    title: str = ""
    transaction_id: str = ""
    paid_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Refund:
    shop_id: int
    amount: Decimal
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class OrderDraft:
    woo_id: int
    number: str
    status: str
    currency: str = ""
    prices_include_tax: bool = False
    total: Decimal = ZERO
    total_tax: Decimal = ZERO
    customer: Customer = field(default_factory=Customer)
    billing: Address = field(default_factory=Address)
    shipping: Address = field(default_factory=Address)
    lines: tuple[Line, ...] = ()
    coupons: tuple[str, ...] = ()
    "Their codes: what they took away is in the lines."
    note: str = ""
    payment: Payment = field(default_factory=Payment)
    refunds: tuple[Refund, ...] = ()
    created_at: datetime | None = None
    order: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
    "As the shop shows it, for what is not neutral: the fields of plugins, for one."

    @property
    def is_in_trash(self) -> bool:
        """Then its number is all that it has."""
        return self.status == TRASH

    @property
    def smallest(self) -> Decimal:
        """The unit of its amounts, as the shop writes them: 0.01, or 1 and 0.001 in other currencies."""
        amounts = (self.total, *(one.net for one in self.lines))
        return Decimal(1).scaleb(min(int(one.as_tuple().exponent) for one in amounts))

    @property
    def refunded(self) -> Decimal:
        """So far."""
        return sum((one.amount for one in self.refunds), ZERO)


def draft(order: Mapping[str, Any]) -> OrderDraft:
    """Of the order as the shop's REST API shows it. What is missing or odd there is empty here, and never an error."""
    rates = {_integer(tax.get("rate_id")): amount(tax.get("rate_percent")) for tax in _list(order, "tax_lines")}
    billing, shipping = _mapping(order.get("billing")), _mapping(order.get("shipping"))
    return OrderDraft(
        woo_id=_integer(order.get("id")),
        number=_text(order.get("number")) or str(order.get("id", "")),
        status=_text(order.get("status")),
        currency=_text(order.get("currency")),
        prices_include_tax=order.get("prices_include_tax") is True,
        total=amount(order.get("total")),
        total_tax=amount(order.get("total_tax")),
        customer=_customer(order, billing),
        billing=_address(billing),
        shipping=_address(shipping),
        lines=tuple(_lines(order, rates)),
        coupons=tuple(_text(one.get("code")) for one in _list(order, "coupon_lines")),
        note=_text(order.get("customer_note")),
        payment=Payment(
            method=_text(order.get("payment_method")),
            title=_text(order.get("payment_method_title")),
            transaction_id=_text(order.get("transaction_id")),
            paid_at=_time(order.get("date_paid_gmt")),
        ),
        refunds=tuple(_refund(one) for one in _list(order, "refunds")),
        created_at=_time(order.get("date_created_gmt")),
        order=order,
    )


def _refund(found: Mapping[str, Any]) -> Refund:
    total, reason = abs(amount(found.get("total"))), _text(found.get("reason"))
    return Refund(shop_id=_integer(found.get("id")), amount=total, reason=reason)


def _customer(order: Mapping[str, Any], billing: Mapping[str, Any]) -> Customer:
    meta = {_text(one.get("key")): _text(one.get("value")) for one in _list(order, "meta_data")}
    named = (_text(billing.get(name)) or meta.get(name, "") for name in VAT_NUMBER)
    return Customer(
        shop_id=_integer(order.get("customer_id")),
        name=_name(billing),
        company=_text(billing.get("company")),
        email=_text(billing.get("email")),
        phone=_phone(billing.get("phone")),
        vat_number=next(filter(None, named), ""),
    )


def _address(found: Mapping[str, Any]) -> Address:
    street = (_text(found.get(name)) for name in ("address_1", "address_2"))
    return Address(
        name=_name(found),
        company=_text(found.get("company")),
        street="\n".join(filter(None, street)),
        postcode=_text(found.get("postcode")),
        city=_text(found.get("city")),
        state=_text(found.get("state")),
        country=_text(found.get("country")).upper(),
        phone=_text(found.get("phone")),
    )


def _lines(order: Mapping[str, Any], rates: Mapping[int, Decimal]) -> list[Line]:
    items = [_line("item", one, one.get("name"), rates) for one in _list(order, "line_items")]
    shipping = [_line("shipping", one, one.get("method_title"), rates) for one in _list(order, "shipping_lines")]
    fees = [
        _line("discount" if amount(one.get("total")) < 0 else "fee", one, one.get("name"), rates)
        for one in _list(order, "fee_lines")
    ]
    return items + shipping + fees


def _line(kind: Kind, found: Mapping[str, Any], name: Any, rates: Mapping[int, Decimal]) -> Line:
    on_it = [_integer(tax.get("id")) for tax in _list(found, "taxes") if _text(tax.get("total")) not in ("", "0")]
    return Line(
        kind=kind,
        shop_id=_integer(found.get("id")),
        name=_text(name),
        sku=_text(found.get("sku")),
        quantity=amount(found.get("quantity")) if kind == "item" else Decimal(1),
        net=amount(found.get("total")),
        tax=amount(found.get("total_tax")),
        rates=tuple(rates[one] for one in on_it if one in rates),
    )


FEWEST_DIGITS = 4
"""Of a phone number."""
COUNTED = "012345678901234567890"
MOST_DIGITS = 20
"""Of what is a number, or an amount: anything longer is none."""


def amount(value: Any) -> Decimal:
    """Exact: WooCommerce writes amounts as text. What is none is nought."""
    try:
        found = Decimal(str(value)) if isinstance(value, str | int | float) and not isinstance(value, bool) else ZERO
    except InvalidOperation:
        return ZERO
    return found if found.is_finite() and abs(found.adjusted()) < MOST_DIGITS else ZERO


def _name(found: Mapping[str, Any]) -> str:
    return " ".join(filter(None, (_text(found.get(name)) for name in ("first_name", "last_name"))))


def _text(value: Any) -> str:
    return fit(value.strip()) if isinstance(value, str) else str(value) if type(value) in (int, float) else ""


def _phone(value: Any) -> str:
    """By which a customer is known again. What people type where they do not want to say theirs is nobody's."""
    text = _text(value)
    digits = "".join(filter(str.isdecimal, text))
    is_one = len(digits) >= FEWEST_DIGITS and len(set(digits)) > 1 and digits not in COUNTED
    return text if is_one else ""


def _integer(value: Any) -> int:
    if type(value) is int:
        return value
    return int(value) if isinstance(value, str) and value.isdecimal() and len(value) < MOST_DIGITS else 0


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(found: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    value = found.get(name)
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _time(value: Any) -> datetime | None:
    try:
        return utc(value)
    except ValueError:
        return None
