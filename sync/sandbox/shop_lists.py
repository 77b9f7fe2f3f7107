"""What WooCommerce answers when orders are listed, and the errors of its REST API."""

import copy
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from sync.sandbox.orders import SHOP_OFFSET
from sync.sandbox.server import Answer, HttpError, Request

UNLISTED = frozenset({"checkout-draft"})
"""Statuses that `any` leaves out, as WordPress excludes them from searches; the trash is none of the statuses."""


def matching(request: Request, orders: Mapping[int, dict[str, Any]], statuses: Iterable[str]) -> list[dict[str, Any]]:
    """All orders that the query asks for, in the order that it asks for."""
    query, included = request.query, _many(request, "include")
    among = (orders[int(one)] for one in dict.fromkeys(included) if one.isdigit() and int(one) in orders)
    found = list(filter(_wanted(request, statuses), among if included else orders.values()))
    if query.get("orderby") == "include":
        return found
    field = "date_modified_gmt" if query.get("orderby") == "modified" else "date_created_gmt"
    return sorted(
        found,
        key=lambda order: ("" if query.get("orderby") == "id" else order[field] or "", order["id"]),
        reverse=query.get("order", "desc") == "desc",
    )


def page(query: Mapping[str, str], found: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """The page that is asked for, and the headers that count."""
    number, size = _number(query, "page", 1, 10**9), _number(query, "per_page", 10, 100)
    shown = found[(number - 1) * size : number * size]
    return shown, {"X-WP-Total": str(len(found)), "X-WP-TotalPages": str(-(-len(found) // size))}


def _wanted(request: Request, statuses: Iterable[str]) -> Callable[[Mapping[str, Any]], bool]:
    """What the query asks for is made out once, not for each of thousands of orders."""
    query = request.query
    asked = {*(_many(request, "status") or ["any"])}
    if "any" in asked:  # whatever stands beside it (FACTS B6)
        asked = {*statuses} - UNLISTED
    excluded = {*_many(request, "exclude")}
    spans = [
        (f"date_{what}_gmt", _moment(query, name), is_later)
        for name, what, is_later in (
            ("modified_after", "modified", True),
            ("modified_before", "modified", False),
            ("after", "created", True),
            ("before", "created", False),
        )
        if query.get(name)
    ]

    def wanted(order: Mapping[str, Any]) -> bool:
        if order["status"] not in asked or str(order["id"]) in excluded:
            return False
        for field, limit, is_later in spans:
            if not order[field]:  # as SQL compares NULL
                return False
            moment = datetime.fromisoformat(order[field]).replace(tzinfo=UTC)
            if not (moment > limit if is_later else moment < limit):
                return False
        return True

    return wanted


def chosen(order: dict[str, Any], query: Mapping[str, str]) -> dict[str, Any]:
    names = query.get("_fields")
    return {name: order[name] for name in names.split(",") if name in order} if names else copy.deepcopy(order)


def _many(request: Request, name: str) -> list[str]:
    pairs = [value for key, value in request.pairs if re.fullmatch(rf"{name}(\[\d*\])?", key)]
    return [one for value in pairs for one in value.split(",") if one]


def _number(query: Mapping[str, str], name: str, default: int, highest: int) -> int:
    text = query.get(name, str(default))
    if not text.isdigit() or not 1 <= int(text) <= highest:
        raise HttpError(invalid(name, f"{name} must be between 1 and {highest}."))
    return int(text)


def _moment(query: Mapping[str, str], name: str) -> datetime:
    """A date filter as WooCommerce reads it: shop time by default, UTC with `dates_are_gmt` or a `Z`, never both."""
    gmt = query.get("dates_are_gmt") in ("true", "1")
    try:
        moment = datetime.fromisoformat(query[name])
    except ValueError:
        raise HttpError(invalid(name, "Invalid date.")) from None
    if moment.tzinfo is not None:
        # Both at once returned nothing on a real shop (FACTS I).
        return moment + timedelta(days=36_500) * (1 if name.endswith("after") else -1) if gmt else moment
    return moment.replace(tzinfo=UTC) if gmt else (moment - SHOP_OFFSET).replace(tzinfo=UTC)


def api_error(code: str, message: str, status: int, **more: Any) -> dict[str, Any]:
    return {"code": code, "message": message, "data": {"status": status, **more}}


def invalid(name: str, message: str) -> Answer:
    return Answer(400, api_error("rest_invalid_param", f"Invalid parameter(s): {name}", 400, params={name: message}))


def unknown_order(status: int) -> Answer:
    return Answer(status, api_error("woocommerce_rest_shop_order_invalid_id", "Invalid ID.", status))
