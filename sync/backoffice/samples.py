"""A real order, on which the rows of a map are tried. What is shown of it tells no person (docs/decisions/0128)."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sync.clients.bridged import shop_of
from sync.clients.mapping.facts import DRAFT, META, facts, paths, value_at
from sync.clients.mapping.field_map import Row
from sync.clients.mapping.transforms import WrongValue, named
from sync.clients.mapping.veils import masked_facts, veiled
from webhooks.connections import Bridge
from webhooks.masking import MASK
from webhooks.models import Side, WebhookEvent
from webhooks.texts import is_number

LOOKED_AT = 20
"""Of the newest deliveries: one of them holds a whole order."""
NOT_SENT = "left out"
KNOWN_PATHS = (
    *(f"{DRAFT}.{one}" for one in ("number", "currency", "total", "total_tax", "note", "created_at", "coupons")),
    *(f"{DRAFT}.customer.{one}" for one in ("name", "company", "email", "phone", "vat_number")),
    *(f"{DRAFT}.billing.{one}" for one in ("name", "company", "street", "postcode", "city", "state", "country")),
    *(f"{DRAFT}.shipping.{one}" for one in ("name", "company", "street", "postcode", "city", "state", "country")),
    *(f"{DRAFT}.lines.{one}" for one in ("name", "sku", "quantity", "net", "tax")),
    *(f"{DRAFT}.payment.{one}" for one in ("method", "title", "transaction_id", "paid_at")),
)
"""That every order has, also where there is none yet to show them."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """An order of the shop. What it shows is masked, as everywhere."""

    number: str
    known: Mapping[str, Any]
    elsewhere: frozenset[str] = frozenset()
    "Fields of plugins that other orders of late have."

    def shown(self, path: str) -> str:
        """The value of this path, as people see it."""
        return shown(value_at(self.known, path), value_at(self.masked, path))

    @cached_property
    def masked(self) -> Mapping[str, Any]:
        return masked_facts(self.known)

    @cached_property
    def veiled(self) -> list[dict[str, Any]]:
        return veiled(self.known)

    def hides(self, row: Row) -> bool:
        """Whether what the row makes of it depends on what is masked."""
        try:
            return bool(row.tried(self.veiled) == MASK)
        except WrongValue:
            return False

    def value_of(self, row: Row) -> str:
        """What the row makes of it; why not, where it makes nothing."""
        try:
            value = row.tried(self.veiled)
        except WrongValue as error:
            return f"{NOT_SENT}: {error}"
        if value != MASK:
            return shown(value, value)
        is_as_it_is = len(row.paths) == 1 and {one.name for one in row.transforms} <= {"upper", "lower"}
        return self.shown(row.paths[0]) if is_as_it_is else MASK

    def paths(self) -> list[tuple[str, str]]:
        """Each that can be picked, and its value."""
        own = list(dict.fromkeys([*KNOWN_PATHS, *paths(self.known)]))
        others = sorted(self.elsewhere - set(own))
        return [*((path, self.shown(path)) for path in own), *((path, "not in this order") for path in others)]


def shown(value: Any, hidden: Any) -> str:
    """What is masked tells at least what it is, and how long."""
    if value is None or value in ("", [], {}):
        return "empty"
    if isinstance(value, bool) and value is hidden:
        return "yes" if value else "no"
    if isinstance(value, list):
        few = ", ".join(shown(one, other) for one, other in zip(value[:3], _padded(hidden, value), strict=False))
        return f"{few}, …" if len(value) > 3 else few
    if isinstance(value, Mapping):
        return named(value)
    if isinstance(hidden, str) and MASK in hidden and isinstance(value, str):
        return f"{MASK} ({len(value)} characters)"
    return str(hidden)[:60]


def _padded(hidden: Any, value: list[Any]) -> list[Any]:
    return hidden if isinstance(hidden, list) and len(hidden) == len(value) else [MASK] * len(value)


def sample(bridge: Bridge, number: str = "") -> Sample | None:
    """The latest order that the shop told of, or the one of this number. Nobody is asked."""
    of = WebhookEvent.objects.filter(bridge=bridge, side=Side.SHOP, source__in=("woocommerce", "backfill", "sweep"))
    if number:
        of = of.filter(order_ref=number)
    told = ((event.order_ref, _order(bytes(event.body))) for event in of.order_by("-pk")[:LOOKED_AT])
    orders = [(ref, facts(order)) for ref, order in told if order is not None]
    if not orders:
        return None
    meta = frozenset(f"{META}.{key}" for _, known in orders for key in known[META])
    return Sample(number=orders[0][0], known=orders[0][1], elsewhere=meta)


def latest_orders(bridge: Bridge, most: int) -> list[str]:
    """Those of which the shop has told last."""
    of = WebhookEvent.objects.filter(bridge=bridge, side=Side.SHOP, source="woocommerce").exclude(order_ref="")
    newest = of.order_by("-pk").values_list("order_ref", flat=True)[: 5 * most]
    return list(dict.fromkeys(newest))[:most]


def _order(body: bytes) -> dict[str, Any] | None:
    try:
        order = json.loads(body)
    except ValueError:
        return None
    return order if isinstance(order, dict) and isinstance(order.get("line_items"), list) else None


def read_sample(bridge: Bridge, number: str = "") -> Sample | None:
    """The same, but that the shop is asked where it has not told of one. Raises SideError."""
    if there := sample(bridge, number):
        return there
    shop = shop_of(bridge)
    if is_number(number):
        order = shop.get(int(number))
        return Sample(number=str(order.woo_id), known=facts(order.order))
    latest = shop.orders({"per_page": "1", "orderby": "date", "order": "desc", "status": "any"}).orders
    return Sample(number=str(latest[0].woo_id), known=facts(latest[0].order)) if latest else None
