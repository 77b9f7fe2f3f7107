"""What Odoo is told of an order, made without a call."""

from collections.abc import Iterator, Mapping
from decimal import ROUND_FLOOR, ROUND_HALF_UP, Decimal
from hashlib import sha256
from itertools import product
from typing import Any

from sync.clients.crm.draft import Address, Line, OrderDraft, draft
from sync.clients.limits import Limit
from sync.clients.snapshots import Composer

CENT = Decimal("0.01")
"""The digits of a price in Odoo, unless its decimal accuracy "Product Price" says otherwise."""
MOST_PIECES = 10
"""Of a line that is split, which are looked at to find the shop's tax."""

NAME, STREET = 250, 500
LIMITS = {
    "note.*": Limit(2_000, what="the note"),
    "lines.*.name": Limit(2_000, what="the name of a line"),
    **{
        f"partner.{name}": Limit(NAME, what=f"the {what}")
        for name, what in (
            *(("name", "customer's name"), ("company", "company"), ("email", "e-mail address")),
            *(("phone", "phone number"), ("vat", "VAT number")),
        )
    },
    **{
        f"{kind}.{name}": Limit(longest, what=f"the {kind.replace('_', ' ')}")
        for kind in ("invoice_address", "delivery_address")
        for name, longest in (
            *(("name", NAME), ("company", NAME), ("street", STREET), ("street2", STREET)),
            *(("zip", NAME), ("city", NAME), ("phone", NAME)),
        )
    },
}
"""Odoo's columns know none of their own: what is longer is a mistake or an attack, and no page there shows it."""


def compose(order: Mapping[str, Any]) -> dict[str, Any]:
    """The document: all that is sent of an order, but for its name and Odoo's own ids."""
    told = draft(order)
    if told.is_in_trash:
        return {"note": ["WooCommerce: the order is in the trash, or was deleted there."]}
    shipping = told.billing if told.shipping.is_empty else told.shipping
    return {
        "origin": f"WooCommerce {told.number}",
        "date_order": f"{told.created_at:%Y-%m-%d %H:%M:%S}" if told.created_at else None,
        "currency": told.currency,
        "note": _note(told),
        "partner": _partner(told),
        "invoice_address": _address(told.billing),
        "delivery_address": _address(shipping),
        "lines": [part for line in told.lines for part in _parts(line, told.smallest)],
    }


def _note(told: OrderDraft) -> list[str]:
    """Line by line."""
    paid = " ".join(filter(None, (told.payment.title or told.payment.method, told.payment.transaction_id)))
    refunded = f"refunded so far: {told.refunded:f} {told.currency}" if told.refunds else ""
    coupons = f"coupons: {', '.join(told.coupons)}" if told.coupons else ""
    said = "; ".join(filter(None, (f"status {told.status}", paid, coupons, refunded)))
    return [*told.note.splitlines(), f"WooCommerce: {said}"]


def _partner(told: OrderDraft) -> dict[str, str]:
    customer = told.customer
    return {
        "code": _code(told),
        "name": customer.name or customer.company or customer.email or f"WooCommerce {told.number}",
        "company": customer.company,
        "email": customer.email,
        "phone": customer.phone,
        "vat": customer.vat_number,
    }


def _code(told: OrderDraft) -> str:
    """The same for the same customer: by it we know again whom we made ourselves."""
    if told.customer.shop_id:
        return f"c{told.customer.shop_id}"
    known = told.customer.email.lower() or told.customer.phone
    return f"g{sha256(known.encode()).hexdigest()[:10]}" if known else f"o{told.woo_id}"


def _address(found: Address) -> dict[str, str]:
    street, _, more = found.street.partition("\n")
    return {
        "name": found.name,
        "company": found.company,
        "street": street,
        "street2": more,
        "zip": found.postcode,
        "city": found.city,
        "state": found.state,
        "country": found.country,
        "phone": found.phone,
    }


def _parts(one: Line, smallest: Decimal) -> Iterator[dict[str, Any]]:
    """Where a price to the cent does not bring the amount, two lines do.

    Odoo's deliveries go by the quantities, so that these have to stay as they are.
    """
    unit, quantity = min(CENT, smallest), one.quantity
    price = one.unit_price.quantize(unit, ROUND_HALF_UP)
    if price * quantity == one.net and quantity > 0:
        yield _part(one, one.name, quantity, price)
    elif quantity > 1 and quantity == quantity.to_integral_value():
        splits = list(_splits(one.net, quantity, unit))
        exact = (split for split in splits if sum(_tax(one, *part, smallest) for part in split) == one.tax)
        yield from (_part(one, one.name, *part) for part in next(exact, splits[0]))
    else:
        name = one.name if quantity in (0, 1) else f"{quantity:f} × {one.name}"
        yield _part(one, name, Decimal(1), one.net)


def _splits(net: Decimal, quantity: Decimal, unit: Decimal) -> Iterator[tuple[tuple[Decimal, Decimal], ...]]:
    """The ways to get the exact amount of two prices, as (quantity, price) each: with a last piece that has what is
    left over, with some pieces that are a cent dearer, and others. Odoo rounds the tax of each line, and not all ways
    lead to the shop's tax."""
    price, floor = (net / quantity).quantize(unit, ROUND_HALF_UP), (net / quantity).quantize(unit, ROUND_FLOOR)
    last, dearer = net - price * (quantity - 1), (net - floor * quantity) / unit
    if last * net >= 0:
        yield (quantity - 1, price), (Decimal(1), last)
    yield (quantity - dearer, floor), (dearer, floor + unit)
    for more, pieces in product((-2, -1, 1, 2), range(1, min(int(quantity), MOST_PIECES))):
        first = price + more * unit
        rest = (net - first * (quantity - pieces)) / pieces
        if rest == rest.quantize(unit) and rest * net >= 0:
            yield (quantity - pieces, first), (Decimal(pieces), rest)


def _tax(one: Line, quantity: Decimal, price: Decimal, smallest: Decimal) -> Decimal:
    return sum(((quantity * price * rate / 100).quantize(smallest, ROUND_HALF_UP) for rate in one.rates), Decimal())


def _part(one: Line, name: str, quantity: Decimal, price: Decimal) -> dict[str, Any]:
    return {
        "kind": one.kind,
        "name": name,
        "sku": one.sku,
        "quantity": f"{quantity.normalize():f}",
        "price": f"{price:.2f}" if price == price.quantize(CENT) else f"{price:f}",  # of a dinar, thousandths
        "rates": [f"{rate.normalize():f}" for rate in one.rates if rate],
    }


COMPOSER = Composer(version="odoo1", compose=compose, limits=LIMITS)
