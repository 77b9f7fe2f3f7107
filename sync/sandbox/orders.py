"""A believable WooCommerce v3 order, computed from a few lines."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

STATUSES = ["pending", "processing", "on-hold", "completed", "cancelled", "refunded", "failed", "checkout-draft"]
SHOP_OFFSET = timedelta(hours=1)
"""The shop keeps local time, one hour ahead of UTC: who reads the dates without `_gmt` is found out."""
BILLING = {
    "first_name": "Jürgen",
    "last_name": "Müller",
    "company": "",
    "address_1": "Straße des 17. Juni 135",
    "address_2": "",
    "city": "Berlin",
    "state": "DE-BE",
    "postcode": "10623",
    "country": "DE",
    "email": "juergen@example.test",
    "phone": "+49 30 123456",
}
DEFAULT_LINES = [{"name": "Käse-Fondue „Größe XL“", "product_id": 10, "sku": "LAB-1", "quantity": 2, "price": "19.90"}]
TAX = Decimal("0.19")
SHIPPING = Decimal("4.90")
SHIPPING_TAX = SHIPPING * TAX
PAYMENT = {
    "payment_method": "bacs",
    "payment_method_title": "Überweisung",
    "transaction_id": "",
    "customer_ip_address": "",
    "customer_user_agent": "",
    "created_via": "admin",
    "customer_note": "",
    "date_completed": None,
    "date_paid": None,
    "cart_hash": "",
}


def gmt(moment: datetime) -> str:
    """WooCommerce's `*_gmt`: one second's resolution and no `Z`."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S")


def dated(name: str, moment: datetime) -> dict[str, str]:
    return {name: gmt(moment + SHOP_OFFSET), f"{name}_gmt": gmt(moment)}


def money(amount: Decimal) -> str:
    """Half a cent goes up, as in PHP."""
    return f"{amount.quantize(Decimal('0.01'), ROUND_HALF_UP)}"


def _line(number: int, wanted: Mapping[str, Any]) -> dict[str, Any]:
    quantity = int(wanted.get("quantity", 1))
    price = Decimal(str(wanted.get("price", "19.90")))
    net, tax = money(price * quantity), money(price * quantity * TAX)
    return {
        "id": number,
        "name": wanted.get("name", "Plain T-shirt"),
        "product_id": wanted.get("product_id", 10),
        "variation_id": 0,
        "quantity": quantity,
        "tax_class": "",
        "subtotal": net,
        "subtotal_tax": tax,
        "total": net,
        "total_tax": tax,
        "taxes": [{"id": 1, "total": tax, "subtotal": tax}],
        "meta_data": [],
        "sku": wanted.get("sku", "LAB-1"),
        "price": float(price),
        "image": {"id": "", "src": ""},
        "parent_name": None,
    }


def new_order(woo_id: int, now: datetime, shop_url: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """The order as the REST API shows it; `fields` win over the template, `line_items` and `billing` are completed."""
    lines = [_line(woo_id * 10 + i, wanted) for i, wanted in enumerate(fields.get("line_items") or DEFAULT_LINES)]
    cart_tax = sum((Decimal(line["total_tax"]) for line in lines), Decimal())
    billing = BILLING | dict(fields.get("billing") or {})
    order: dict[str, Any] = {
        "id": woo_id,
        "parent_id": 0,
        "status": "pending",
        "currency": "EUR",
        "version": "10.5.0",
        "prices_include_tax": False,
        **{name: dated(name, now)[name] for name in ("date_created", "date_modified")},
        **_totals(lines, cart_tax),
        "customer_id": 0,
        "order_key": f"wc_order_sandbox{woo_id}",
        "billing": billing,
        "shipping": {name: value for name, value in billing.items() if name != "email"},
        **PAYMENT,
        "number": str(woo_id),
        "meta_data": [],
        "line_items": lines,
        **_lines_of_taxes_and_shipping(woo_id, cart_tax),
        "fee_lines": [],
        "coupon_lines": [],
        "refunds": [],
        "payment_url": f"{shop_url}/checkout/order-pay/{woo_id}/?pay_for_order=true",
        "is_editable": True,
        "needs_payment": True,
        "needs_processing": True,
        "date_created_gmt": gmt(now),
        "date_modified_gmt": gmt(now),
        "date_completed_gmt": None,
        "date_paid_gmt": None,
        "currency_symbol": "€",
        "_links": {
            "self": [{"href": f"{shop_url}/wp-json/wc/v3/orders/{woo_id}"}],
            "collection": [{"href": f"{shop_url}/wp-json/wc/v3/orders"}],
        },
    }
    own = {name: value for name, value in fields.items() if name not in ("line_items", "billing", "id", "set_paid")}
    order.update(own)
    after_status(order, now)
    return order


def _totals(lines: list[dict[str, Any]], cart_tax: Decimal) -> dict[str, str]:
    tax = cart_tax + Decimal(money(SHIPPING_TAX))
    total = sum((Decimal(line["total"]) for line in lines), Decimal()) + SHIPPING + tax
    return {
        "discount_total": "0.00",
        "discount_tax": "0.00",
        "shipping_total": money(SHIPPING),
        "shipping_tax": money(SHIPPING_TAX),
        "cart_tax": money(cart_tax),
        "total": money(total),
        "total_tax": money(tax),
    }


def _lines_of_taxes_and_shipping(woo_id: int, cart_tax: Decimal) -> dict[str, list[dict[str, Any]]]:
    taxes = {
        "id": woo_id * 10 + 8,
        "rate_code": "DE-MWST-1",
        "rate_id": 1,
        "label": "MwSt",
        "compound": False,
        "tax_total": money(cart_tax),
        "shipping_tax_total": money(SHIPPING_TAX),
        "rate_percent": 19,
        "meta_data": [],
    }
    shipping = {
        "id": woo_id * 10 + 9,
        "method_title": "DHL Paket",
        "method_id": "flat_rate",
        "instance_id": "1",
        "total": money(SHIPPING),
        "total_tax": money(SHIPPING_TAX),
        "taxes": [{"id": 1, "total": money(SHIPPING_TAX), "subtotal": ""}],
        "meta_data": [],
    }
    return {"tax_lines": [taxes], "shipping_lines": [shipping]}


def after_status(order: dict[str, Any], now: datetime) -> None:
    """What a status brings with it: dates, and the refund record that `refunded` makes by itself."""
    status = order["status"]
    order["needs_payment"] = status in ("pending", "failed", "checkout-draft")
    order["is_editable"] = status in ("pending", "on-hold")
    if status in ("processing", "completed") and not order.get("date_paid"):
        order.update(dated("date_paid", now))
    if status == "completed" and not order.get("date_completed"):
        order.update(dated("date_completed", now))
    if status == "refunded":
        done = sum((Decimal(refund["total"]) for refund in order.get("refunds", [])), Decimal())
        left = Decimal(order.get("total", "0")) + done
        if left > 0:
            refund = {"id": order["id"] + 500_000, "reason": "", "total": money(-left)}
            order["refunds"] = [*order.get("refunds", []), refund]


def merge(order: dict[str, Any], fields: Mapping[str, Any]) -> None:
    """An update as WooCommerce does it: addresses field by field, meta by key, the rest replaced."""
    for name, value in fields.items():
        if name in ("billing", "shipping") and isinstance(value, Mapping):
            order[name] = {**order.get(name, {}), **value}
        elif name == "meta_data":
            order[name] = _merged_meta(order, value)
        elif name not in ("id", "set_paid"):
            order[name] = value


def _merged_meta(order: Mapping[str, Any], wanted: list[dict[str, Any]]) -> list[dict[str, Any]]:
    meta = [dict(one) for one in order.get("meta_data", [])]
    for new in wanted:
        found = next((one for one in meta if one["key"] == new.get("key")), None)
        if found is None:
            meta.append({"id": order["id"] * 100 + len(meta), "key": new["key"], "value": new.get("value")})
        else:
            found["value"] = new.get("value")
    return [one for one in meta if one["value"] is not None]
