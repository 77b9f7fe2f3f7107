"""What Tryton is told of an order, made without a call."""

from collections.abc import Mapping
from decimal import ROUND_HALF_UP, Decimal
from hashlib import sha256
from typing import Any

from sync.clients.crm.draft import Address, Line, OrderDraft, draft
from sync.clients.limits import Limit
from sync.clients.snapshots import Composer

PRICE = Decimal("0.0001")
"""The digits of a price in Tryton, unless its `price_decimal` says otherwise."""
NAME, STREET = 250, 500
DESCRIBED = "WooCommerce "
"""So begins the description of each sale that we make."""
LIMITS = {
    "party.name": Limit(NAME, what="the customer's name"),
    "party.email": Limit(NAME, what="the e-mail address"),
    "party.phone": Limit(NAME, what="the phone number"),
    "comment": Limit(10_000, what="the note"),
    "lines.*.description": Limit(2_000, what="the name of a line"),
    **{
        f"{kind}.{name}": Limit(longest, what=f"the {kind.replace('_', ' ')}")
        for kind in ("invoice_address", "shipment_address")
        for name, longest in (("party_name", NAME), ("street", STREET), ("postal_code", NAME), ("city", NAME))
    },
}
"""Tryton's columns know none of their own: what is longer is a mistake or an attack, and no page there shows it."""


def compose(order: Mapping[str, Any]) -> dict[str, Any]:
    """The document: all that is sent of an order, but for its name and Tryton's own ids."""
    told = draft(order)
    if told.is_in_trash:
        return {"comment": "WooCommerce: the order is in the trash, or was deleted there."}
    shipping = told.billing if told.shipping.is_empty else told.shipping
    return {
        "description": f"{DESCRIBED}{told.number}",
        "sale_date": told.created_at.date().isoformat() if told.created_at else None,
        "currency": told.currency,
        "comment": _comment(told),
        "party": {
            "code": _party_code(told),
            "name": _name(told),
            "email": told.customer.email,
            "phone": told.customer.phone,
            "vat_number": told.customer.vat_number,
        },
        "invoice_address": _address(told.billing),
        "shipment_address": _address(shipping),
        "lines": [_line(one, told.smallest) for one in told.lines],
    }


def _comment(told: OrderDraft) -> str:
    paid = " ".join(filter(None, (told.payment.title or told.payment.method, told.payment.transaction_id)))
    refunded = f"refunded so far: {told.refunded:f} {told.currency}" if told.refunds else ""
    coupons = f"coupons: {', '.join(told.coupons)}" if told.coupons else ""
    said = "; ".join(filter(None, (f"status {told.status}", paid, coupons, refunded)))
    return "\n".join(filter(None, (told.note, f"WooCommerce: {said}")))


def _name(told: OrderDraft) -> str:
    customer = told.customer
    return customer.company or customer.name or customer.email or f"WooCommerce {told.number}"


def _party_code(told: OrderDraft) -> str:
    """The same for the same customer: Tryton keeps codes unique, so that nobody is made twice, whatever dies."""
    if told.customer.shop_id:
        return f"c{told.customer.shop_id}"
    known = told.customer.email.lower() or told.customer.phone
    return f"g{sha256(known.encode()).hexdigest()[:10]}" if known else f"o{told.woo_id}"


def _address(found: Address) -> dict[str, str]:
    """Where a state is part of the address, as in New York, NY, it stands behind the city: Tryton's own subdivisions
    are records that it may not have."""
    city = ", ".join(filter(None, (found.city, "" if "-" in found.state else found.state)))
    return {
        "party_name": found.company or found.name,
        "street": found.street,
        "postal_code": found.postcode,
        "city": city,
        "country": found.country,
    }


def _line(one: Line, smallest: Decimal) -> dict[str, Any]:
    """Where a price of four digits does not bring the exact amount, the line is one of the whole amount."""
    price, quantity, name = one.unit_price.quantize(PRICE, ROUND_HALF_UP), one.quantity, one.name
    if quantity <= 0 or (price * quantity).quantize(smallest, ROUND_HALF_UP) != one.net:
        name = f"{quantity:f} × {name}" if quantity not in (0, 1) else name
        price, quantity = one.net.quantize(PRICE), Decimal(1)
    return {
        "note": f"WooCommerce {one.kind} {one.shop_id}",
        "description": name,
        "code": one.sku,
        "quantity": f"{quantity.normalize():f}",
        "unit_price": f"{price:f}",
        "rates": [f"{rate.normalize():f}" for rate in one.rates if rate],
    }


COMPOSER = Composer(version="tryton1", compose=compose, limits=LIMITS)
