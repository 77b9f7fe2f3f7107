"""What HubSpot is told of an order, made without a call."""

from collections.abc import Mapping
from datetime import UTC
from decimal import ROUND_HALF_UP, Decimal
from hashlib import sha256
from typing import Any

from sync.clients.crm.draft import Address, Line, OrderDraft, draft
from sync.clients.crm.hubspot.words import OBJECTS, Words

PRICE = Decimal("0.0001")
LINE_PROPERTIES = ("name", "quantity", "price", "hs_sku", "hs_line_item_currency_code")
CONTACT_PROPERTIES = (
    "email",
    "firstname",
    "lastname",
    "phone",
    "company",
    "address",
    "city",
    "state",
    "zip",
    "country",
)


def compose(order: Mapping[str, Any], words: Words = OBJECTS["orders"]) -> dict[str, Any]:
    """The document: all that is sent of an order, but for its name and HubSpot's own ids."""
    told = draft(order)
    if told.is_in_trash:
        return {"properties": {words.note: "WooCommerce: the order is in the trash, or was deleted there."}}
    properties = {
        words.name: f"WooCommerce {told.number}",
        words.amount: f"{told.total:f}",
        words.currency: told.currency,
        words.note: _note(told, words),
        **(_of_an_order(told, words) if words.created else {}),
    }
    return {"properties": properties, "contact": _contact(told), "lines": lines(told)}


def _of_an_order(told: OrderDraft, words: Words) -> dict[str, str]:
    """Properties that orders have and deals have not."""
    shipping = told.billing if told.shipping.is_empty else told.shipping
    return {
        words.created: told.created_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if told.created_at else "",
        "hs_external_order_id": told.number,
        "hs_billing_address_email": told.customer.email,
        **_address("hs_billing_address", told.billing),
        **_address("hs_shipping_address", shipping),
    }


def _address(kind: str, found: Address) -> dict[str, str]:
    named = {
        "name": ", ".join(filter(None, (found.company, found.name))),
        "street": found.street,
        "postal_code": found.postcode,
        "city": found.city,
        "state": found.state,
        "country": found.country,
    }
    return {f"{kind}_{name}": value for name, value in named.items()}


def _note(told: OrderDraft, words: Words) -> str:
    paid = " ".join(filter(None, (told.payment.title or told.payment.method, told.payment.transaction_id)))
    refunded = f"refunded so far: {told.refunded:f} {told.currency}" if told.refunds else ""
    coupons = f"coupons: {', '.join(told.coupons)}" if told.coupons else ""
    vat = f"VAT number: {told.customer.vat_number}" if told.customer.vat_number else ""
    said = "; ".join(filter(None, (f"status {told.status}", paid, coupons, refunded, vat)))
    addresses = [] if words.created else [_in_words("Bill to", told.billing), _in_words("Ship to", told.shipping)]
    return "\n".join(filter(None, (told.note, f"WooCommerce: {said}", *addresses)))


def _in_words(kind: str, found: Address) -> str:
    if found.is_empty:
        return ""
    place = " ".join(filter(None, (found.postcode, found.city)))
    parts = (found.company, found.name, *found.street.splitlines(), place, found.state, found.country)
    return f"{kind}: {', '.join(filter(None, parts))}"


def _contact(told: OrderDraft) -> dict[str, Any]:
    """`key`: what names a customer without an e-mail address. The other properties are for a contact that is new."""
    billing = told.order.get("billing")
    named = billing if isinstance(billing, Mapping) else {}
    first, last = (str(named.get(name) or "").strip() for name in ("first_name", "last_name"))
    properties = {
        "email": told.customer.email.lower(),
        "firstname": first,
        "lastname": last,
        "phone": told.customer.phone,
        "company": told.customer.company,
        "address": ", ".join(told.billing.street.splitlines()),
        "city": told.billing.city,
        "state": told.billing.state,
        "zip": told.billing.postcode,
        "country": told.billing.country,
    }
    return {"key": _customer_key(told), "properties": properties}


def _customer_key(told: OrderDraft) -> str:
    """The same for the same customer, so that nobody is made twice, whatever dies."""
    if told.customer.shop_id:
        return f"c{told.customer.shop_id}"
    known = told.customer.email.lower() or told.customer.phone
    return f"g{sha256(known.encode()).hexdigest()[:10]}" if known else f"o{told.woo_id}"


def lines(told: OrderDraft) -> list[dict[str, Any]]:
    """Their prices are net. The taxes are a line of their own, so that all of them add up to what the customer pays."""
    made = [
        {"id": str(one.shop_id or f"n{place}"), "properties": _line(one, told.currency)}
        for place, one in enumerate(told.lines)
    ]
    if told.total_tax:
        tax = Line(kind="fee", shop_id=0, name="Tax", net=told.total_tax)
        made.append({"id": "tax", "properties": _line(tax, told.currency)})
    return made


def _line(one: Line, currency: str) -> dict[str, str]:
    """Where no price of four digits brings the exact amount, the line is one of the whole amount."""
    price, quantity, name = one.unit_price.quantize(PRICE, ROUND_HALF_UP), one.quantity, one.name
    if quantity <= 0 or price * quantity != one.net:
        name = f"{quantity:f} × {name}" if quantity not in (0, 1) else name
        price, quantity = one.net, Decimal(1)
    return {
        "name": name or one.kind,
        "quantity": f"{quantity.normalize():f}",
        "price": f"{price.normalize():f}",
        "hs_sku": one.sku,
        "hs_line_item_currency_code": currency,
    }
