"""What ERPNext is told of an order, made without a call."""

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from hashlib import sha256
from typing import Any

from sync.clients.crm.base import Access
from sync.clients.crm.draft import Address, Customer, Line, OrderDraft, amount, draft
from sync.clients.limits import Limit
from sync.clients.snapshots import Composer

NAME, NOTE = 140, 2_000
"""The length of a Data field there, and of what a person still reads."""
ODD = "<>"
"""ERPNext refuses them in names (409), and takes them for HTML elsewhere."""
LIMITS = {
    "note": Limit(NOTE, without=ODD, what="the note"),
    "party.name": Limit(NAME, without=ODD, what="the customer's name"),
    "party.email": Limit(NAME, without=ODD, what="the e-mail address"),
    "party.tax_id": Limit(NAME, without=ODD, what="the VAT number"),
    "items.*.code": Limit(NAME, without=ODD, what="the SKU"),
    "items.*.name": Limit(NAME, without=ODD, what="the name of a line"),
    "items.*.description": Limit(NOTE, what="the name of a line"),
    "taxes.*.description": Limit(NOTE, without=ODD, what="the name of a charge"),
    "addresses.*.*": Limit(NAME, without=ODD, what="an address"),
}
SUBMITTED = {"draft": frozenset[str](), "paid": frozenset({"processing", "completed", "shipped"}), "all": None}
"""By the setting `submit`: the statuses of the shop with which an order is submitted; None: with any."""
NOT_IN_A_PHONE = re.compile(r"[^0-9 +_\-,.*#()]")
PHONE = 20
"""Characters: ERPNext refuses a longer number, and one with letters."""
TRASHED = "The order is in the trash of the shop, or was deleted there."


def composer(access: Access) -> Composer:
    def compose(order: Mapping[str, Any]) -> dict[str, Any]:
        return document(draft(order), access["submit"])

    return Composer(version="erpnext1", compose=compose, limits=LIMITS)


def document(told: OrderDraft, submit: str) -> dict[str, Any]:
    """All that is sent of an order, but for its name and what only ERPNext knows."""
    if told.is_in_trash:
        return {"note": TRASHED}
    statuses = SUBMITTED.get(submit, frozenset())
    shipping = told.billing if told.shipping.is_empty else told.shipping
    return {
        "submit": statuses is None or told.status in statuses,
        "date": _date(told),
        "currency": told.currency,
        "note": _note(told),
        "party": _party(told.customer, told),
        "addresses": {"billing": _address(told.billing), "shipping": _address(shipping)},
        "items": _items(told),
        "taxes": [*_taxes(told), *(_charge(one) for one in told.lines if not _is_item(one))],
    }


def _date(told: OrderDraft) -> str | None:
    """As the shop's customers know it: by the shop's own clock."""
    said = told.order.get("date_created")
    if isinstance(said, str) and re.match(r"\d{4}-\d\d-\d\d", said):
        return said[:10]
    return told.created_at.date().isoformat() if told.created_at else None


def _note(told: OrderDraft) -> str:
    paid = " ".join(filter(None, (told.payment.title or told.payment.method, told.payment.transaction_id)))
    refunded = f"refunded so far: {told.refunded:f} {told.currency}" if told.refunds else ""
    coupons = f"coupons: {', '.join(told.coupons)}" if told.coupons else ""
    said = "; ".join(filter(None, (f"order {told.number}", f"status {told.status}", paid, coupons, refunded)))
    return "\n".join(filter(None, (told.note, f"WooCommerce: {said}")))


def _party(customer: Customer, told: OrderDraft) -> dict[str, str]:
    """`key`: by what we know a customer again whom we made. Who bought as a guest is the same with an account."""
    known = customer.email.lower() or customer.phone
    nameless = f"c{customer.shop_id}" if customer.shop_id else f"o{told.woo_id}"
    return {
        "key": f"g{sha256(known.encode()).hexdigest()[:10]}" if known else nameless,
        "name": customer.company or customer.name or customer.email or f"WooCommerce {told.number}",
        "type": "Company" if customer.company else "Individual",
        "email": customer.email,
        "phone": phone(customer.phone),
        "phone_said": customer.phone,
        "tax_id": customer.vat_number,
    }


def phone(text: str) -> str:
    cleaned = " ".join(NOT_IN_A_PHONE.sub(" ", text).split())
    return cleaned if len(cleaned) <= PHONE else cleaned.replace(" ", "")[:PHONE]


def _address(found: Address) -> dict[str, str]:
    """Empty where the shop has none."""
    if found.is_empty:
        return {}
    first, _, second = found.street.partition("\n")
    return {
        "title": found.company or found.name,
        "line1": first,
        "line2": second.replace("\n", ", "),
        "postcode": found.postcode,
        "city": found.city,
        "state": found.state,
        "country": found.country,
        "phone": phone(found.phone),
    }


def _is_item(one: Line) -> bool:
    """A line of goods whose amount is below nought is a charge: ERPNext refuses a negative price."""
    return one.kind == "item" and one.net >= 0


def _items(told: OrderDraft) -> list[dict[str, str]]:
    """ERPNext fails on an order without any (500), so one that has none gets a line of nought."""
    made = [row for one in told.lines if _is_item(one) for row in _rows(one, told.smallest)]
    return made or [_row(Line(kind="item", shop_id=0, name=f"WooCommerce order {told.number}"), Decimal(1), Decimal(0))]


def _rows(one: Line, smallest: Decimal) -> list[dict[str, str]]:
    """Prices there have no more digits than amounts. Where one price does not bring the amount, some pieces cost a
    little more than the others: so the amount is exact, and so is the number of pieces."""
    if one.quantity <= 0:
        return [_row(one, Decimal(1), one.net)]
    price = one.unit_price // smallest * smallest
    more = (one.net - price * one.quantity) / smallest
    if more == 0:
        return [_row(one, one.quantity, price)]
    if one.quantity % 1 or more % 1:  # 1.5 kg: the amount counts
        return [_row(one, Decimal(1), one.net)]
    return [_row(one, one.quantity - more, price), _row(one, more, price + smallest)]


def _row(one: Line, quantity: Decimal, price: Decimal) -> dict[str, str]:
    name = one.name if quantity == one.quantity or one.quantity % 1 == 0 else f"{one.quantity:f} × {one.name}"
    return {
        "mark": mark(one.kind, one.shop_id),
        "code": one.sku,
        "name": name,
        "description": f"{name} · SKU {one.sku}" if one.sku else name,
        "quantity": f"{quantity.normalize():f}",
        "price": f"{price:f}",
    }


def _charge(one: Line) -> dict[str, str]:
    kind = "discount" if one.net < 0 else "shipping" if one.kind == "shipping" else "fee"
    return {"mark": mark(kind, one.shop_id), "kind": kind, "description": one.name, "amount": f"{one.net:f}"}


def _taxes(told: OrderDraft) -> list[dict[str, str]]:
    """By the shop's own rates where these add up to its tax, else all in one."""
    listed = told.order.get("tax_lines")
    rates = [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
    amounts = [amount(one.get("tax_total")) + amount(one.get("shipping_tax_total")) for one in rates]
    if sum(amounts) != told.total_tax or not rates:
        rates, amounts = [{}], [told.total_tax]
    return [_tax(one, taxed) for one, taxed in zip(rates, amounts, strict=True) if taxed]


def _tax(rate: Mapping[str, Any], taxed: Decimal) -> dict[str, str]:
    per_cent = amount(rate.get("rate_percent"))
    words = " ".join(filter(None, (str(rate.get("label") or "Tax"), f"{per_cent.normalize():f} %" if per_cent else "")))
    return {"mark": mark("tax", rate.get("id") or 0), "kind": "tax", "description": words, "amount": f"{taxed:f}"}


MARK = re.compile(r"WooCommerce (?:item|shipping|fee|discount|tax) \d+$")


def mark(kind: str, number: Any) -> str:
    return f"WooCommerce {kind} {number}"


def described(row: Mapping[str, str]) -> str:
    """As it stands in ERPNext: the mark is never cut off."""
    return f"{row['description']} · {row['mark']}"


def mark_in(description: Any) -> str:
    """By what a row there is known to be ours, and of which line of the shop; empty: somebody else's."""
    text = re.sub(r"<[^>]*>", "", description) if isinstance(description, str) else ""
    found = MARK.search(text.strip())
    return found[0] if found else ""


def total(order: Mapping[str, Any]) -> Decimal:
    """Of the document's rows."""
    rows: Sequence[Mapping[str, str]] = order["items"]
    goods = sum((Decimal(one["quantity"]) * Decimal(one["price"]) for one in rows), Decimal(0))
    return goods + sum((Decimal(one["amount"]) for one in order["taxes"]), Decimal(0))
