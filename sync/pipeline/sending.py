"""Which orders of a shop are sent to its CRM: a small rule of the bridge. Pure. Only creation is ruled by it, as what
the CRM knows already has to stay right there."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Self

SENDS, NAMES_AT_ONCE = "sends", "names_at_once"
"""Options of a bridge: this rule, and whether a shop's order is told its id in the CRM as soon as that is known."""
SUB_ORDERS = {"send": "Send them, too", "leave_out": "Leave them out", "only": "Send only them"}
"""Orders that a plugin for marketplaces made of another one (`parent_id`)."""


@dataclass(frozen=True, kw_only=True)
class SendingRule:
    """An order has to fulfil all that is set. What is empty rules nothing out."""

    statuses: tuple[str, ...] = ()
    minimum_total: Decimal | None = None
    payment_methods: tuple[str, ...] = ()
    "By their ids, as bacs."
    countries: tuple[str, ...] = ()
    "Two letters each. That of the delivery counts, or of the invoice where nothing is delivered."
    meta_key: str = ""
    meta_value: str = ""
    "Empty: any value will do."
    sub_orders: str = "send"

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> Self:
        """As a bridge keeps it."""
        least = said.get("minimum_total")
        return cls(
            statuses=tuple(said.get("statuses", ())),
            minimum_total=Decimal(least) if least else None,
            payment_methods=tuple(said.get("payment_methods", ())),
            countries=tuple(said.get("countries", ())),
            meta_key=said.get("meta_key", ""),
            meta_value=said.get("meta_value", ""),
            sub_orders=said.get("sub_orders", "send"),
        )

    def as_json(self) -> dict[str, Any]:
        """Only what is set."""
        said = {
            "statuses": list(self.statuses),
            "minimum_total": str(self.minimum_total) if self.minimum_total else "",
            "payment_methods": list(self.payment_methods),
            "countries": list(self.countries),
            "meta_key": self.meta_key,
            "meta_value": self.meta_value,
            "sub_orders": "" if self.sub_orders == "send" else self.sub_orders,
        }
        return {name: value for name, value in said.items() if value}


SEND_ALL = SendingRule()


def sends(rule: SendingRule, order: Mapping[str, Any]) -> tuple[bool, str]:
    """Whether an order of WooCommerce goes to the CRM; and if not, why, without a word of the customer's."""
    why = "; ".join(_against(rule, order))
    return not why, f"The bridge's rule leaves it out: {why}." if why else ""


def _against(rule: SendingRule, order: Mapping[str, Any]) -> Iterator[str]:
    status, method = str(order.get("status", "")), str(order.get("payment_method", ""))
    if rule.statuses and status not in rule.statuses:
        yield f"its status is {status!r}"
    if rule.minimum_total is not None and (total := _total(order)) < rule.minimum_total:
        yield f"its total {total:f} is below {rule.minimum_total:f}"
    if rule.payment_methods and method not in rule.payment_methods:
        yield f"its payment method is {method!r}"
    if rule.countries and (country := _country(order)) not in rule.countries:
        yield f"its country is {country!r}"
    if rule.meta_key and not _has_meta(order, rule.meta_key, rule.meta_value):
        wanted = f" with the value {rule.meta_value!r}" if rule.meta_value else ""
        yield f"it has no meta field {rule.meta_key!r}{wanted}"
    is_part = isinstance(order.get("parent_id"), int) and order["parent_id"] > 0
    if rule.sub_orders == "leave_out" and is_part:
        yield f"it is a sub-order of {order['parent_id']}"
    if rule.sub_orders == "only" and not is_part:
        yield "it is no sub-order"


def _total(order: Mapping[str, Any]) -> Decimal:
    """What is no amount is none."""
    try:
        total = Decimal(str(order.get("total", 0)))
    except InvalidOperation:
        return Decimal(0)
    return total if total.is_finite() else Decimal(0)


def _country(order: Mapping[str, Any]) -> str:
    for part in ("shipping", "billing"):
        address = order.get(part)
        if isinstance(address, Mapping) and isinstance(address.get("country"), str) and address["country"]:
            return str(address["country"]).upper()
    return ""


def _has_meta(order: Mapping[str, Any], key: str, value: str) -> bool:
    meta = order.get("meta_data")
    fields = [one for one in meta if isinstance(one, Mapping)] if isinstance(meta, list) else []
    return any(one.get("key") == key and (not value or str(one.get("value")) == value) for one in fields)
