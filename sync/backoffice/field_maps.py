"""A field map is made in the back office: its draft, what the CRM lists of fields, a real order to try it on."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from django.db import transaction

from orders import audit
from sync.clients.bridged import crm_of, shop_of
from sync.clients.crm.base import Field
from sync.clients.mapping.facts import DRAFT, META, facts, paths, value_at
from sync.clients.mapping.field_map import FieldMap, Row, as_text
from sync.clients.mapping.transforms import WrongValue, named
from sync.models import FieldMapVersion
from webhooks import clock
from webhooks.connections import Bridge
from webhooks.masking import MASK, masked
from webhooks.models import Side, WebhookEvent
from webhooks.texts import fit

Rows = list[dict[str, Any]]
BELIEVED = timedelta(minutes=10)
"""For so long the CRM is not asked again which fields it has."""
LOOKED_AT = 20
"""Of the newest deliveries: one of them holds a whole order."""
KNOWN_PATHS = (
    *(f"{DRAFT}.{one}" for one in ("number", "currency", "total", "total_tax", "note", "created_at", "coupons")),
    *(f"{DRAFT}.customer.{one}" for one in ("name", "company", "email", "phone", "vat_number")),
    *(f"{DRAFT}.billing.{one}" for one in ("name", "company", "street", "postcode", "city", "state", "country")),
    *(f"{DRAFT}.shipping.{one}" for one in ("name", "company", "street", "postcode", "city", "state", "country")),
    *(f"{DRAFT}.lines.{one}" for one in ("name", "sku", "quantity", "net", "tax")),
    *(f"{DRAFT}.payment.{one}" for one in ("method", "title", "transaction_id", "paid_at")),
)
"""That every order has, also where there is none yet to show them."""


# --- the draft -----------------------------------------------------------------------------------------------------


def rows_of(bridge: Bridge) -> Rows:
    """As somebody is making them, or else as they are on."""
    draft = FieldMapVersion.draft_of(bridge.pk)
    return list(draft.rows) if draft and draft.rows is not None else rows_on(bridge)


def rows_on(bridge: Bridge) -> Rows:
    return list(json.loads(bridge.field_map)["rows"]) if bridge.field_map else []


def is_draft(bridge: Bridge) -> bool:
    """Whether somebody is making another one than that which is on."""
    draft = FieldMapVersion.draft_of(bridge.pk)
    return bool(draft and draft.rows is not None)


def edit(bridge: Bridge, change: Callable[[Rows], Rows], *, by: str, words: str) -> None:
    """Change the draft; the first change of all makes one of what is on."""
    with transaction.atomic():
        draft = _locked(bridge)
        before = rows_on(bridge) if draft.rows is None else draft.rows
        draft.rows, draft.actor = change(list(before)), by
        draft.save()
        audit.record("field map: edit", actor=by, result=f"{bridge}: {words}", bridge=bridge.slug, rows=draft.rows)


def with_row(rows: Rows, row: Row, *, instead_of: str = "") -> Rows:
    """In its place, or at the end."""
    new = [row.as_json() if one["target"] == instead_of else one for one in rows]
    return new if instead_of in targets(rows) else [*new, row.as_json()]


def without(rows: Rows, target: str) -> Rows:
    return [one for one in rows if one["target"] != target]


def moved_up(rows: Rows, target: str) -> Rows:
    place = targets(rows).index(target) if target in targets(rows) else 0
    if place == 0:
        return rows
    return [*rows[: place - 1], rows[place], rows[place - 1], *rows[place + 1 :]]


def targets(rows: Rows) -> list[str]:
    return [one["target"] for one in rows]


def discard(bridge: Bridge, *, by: str, reason: str) -> None:
    with transaction.atomic():
        draft = _locked(bridge)
        audit.record("field map: discard", actor=by, reason=reason, result=str(bridge), rows=draft.rows)
        draft.rows = None
        draft.save()


def switch_on(bridge: Bridge, *, by: str, reason: str) -> int:
    """The draft becomes the map; its version."""
    with transaction.atomic():
        row = Bridge.objects.select_for_update().get(pk=bridge.pk)
        draft = _locked(bridge)
        newest = FieldMapVersion.newest_of(bridge.pk)
        version = (newest.version if newest else 0) + 1
        rows = draft.rows or []
        FieldMapVersion.objects.create(bridge=row, version=version, rows=rows, actor=by, reason=reason)
        before, row.field_map = rows_on(row), as_text(version, rows)
        row.save(update_fields=["field_map"])
        draft.rows = None
        draft.save()
        result = f"{bridge}: version {version}, {len(rows)} fields"
        audit.record(
            "field map: switch on",
            actor=by,
            reason=reason,
            result=result,
            bridge=row.slug,
            version=version,
            before=before,
            after=rows,
        )
    bridge.field_map = row.field_map
    return version


def _locked(bridge: Bridge) -> FieldMapVersion:
    FieldMapVersion.objects.get_or_create(bridge=bridge, version=FieldMapVersion.DRAFT, defaults={"rows": None})
    return FieldMapVersion.objects.select_for_update().get(bridge=bridge, version=FieldMapVersion.DRAFT)


def history(bridge: Bridge) -> list[FieldMapVersion]:
    """All that were on, the newest first."""
    return list(FieldMapVersion.objects.filter(bridge=bridge, version__gt=FieldMapVersion.DRAFT).order_by("-version"))


def with_draft(bridge: Bridge) -> Bridge:
    """As it will be with the draft: for looking only."""
    seen = Bridge.objects.with_connections().get(pk=bridge.pk)
    newest = FieldMapVersion.newest_of(bridge.pk)
    seen.field_map = as_text((newest.version if newest else 0) + 1, rows_of(bridge))
    return seen


# --- what the CRM lists --------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Listed:
    """The CRM's fields, as it told them."""

    fields: tuple[Field, ...] = ()
    "None: it does not tell, or was not asked."
    at: datetime | None = None

    @property
    def is_old(self) -> bool:
        return self.at is None or clock.now() - self.at > BELIEVED

    def named(self, target: str) -> Field | None:
        return next((one for one in self.fields if one.name == target), None)


def listed(bridge: Bridge) -> Listed:
    """As it was told last; nobody is asked."""
    draft = FieldMapVersion.draft_of(bridge.pk)
    if not draft or not draft.listed:
        return Listed()
    fields = (Field(**{**one, "choices": tuple(one["choices"])}) for one in draft.listed["fields"])
    return Listed(fields=tuple(fields), at=datetime.fromisoformat(draft.listed["at"]))


def ask_fields(bridge: Bridge) -> Listed:
    """Raises SideError."""
    fields = sorted(crm_of(bridge).fields(), key=lambda one: (not one.required, one.label.lower()))
    told = {"at": clock.now().isoformat(), "fields": fit([asdict(one) for one in fields])}
    with transaction.atomic():
        draft = _locked(bridge)
        draft.listed = told
        draft.save(update_fields=["listed"])
    return listed(bridge)


# --- a real order --------------------------------------------------------------------------------------------------


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
        hidden = {META: {name: masked(value, name) for name, value in self.known[META].items()}}
        return {**masked(dict(self.known)), DRAFT: masked(self.known[DRAFT]), **hidden}

    def value_of(self, row: Row) -> str:
        """What the row makes of it; why not, where it makes nothing. Shown if it is ours, or if its source is."""
        try:
            value = row.value(self.known)
        except WrongValue as error:
            return f"left out: {error}"
        return self.shown_value(row, value)

    def shown_value(self, row: Row, value: Any) -> str:
        is_ours = row.constant or any(one.name == "map" for one in row.transforms) or isinstance(value, bool)
        sources = [(value_at(self.known, path), value_at(self.masked, path)) for path in row.paths]
        if is_ours or (sources and all(was == hidden for was, hidden in sources)):
            return shown(value, value)
        return shown(value, MASK)

    def paths(self) -> list[tuple[str, str]]:
        """Each that can be picked, and its value."""
        own = list(dict.fromkeys([*KNOWN_PATHS, *paths(self.known)]))
        others = sorted(self.elsewhere - set(own))
        return [*((path, self.shown(path)) for path in own), *((path, "not in this order") for path in others)]


def shown(value: Any, hidden: Any) -> str:
    """What is masked tells at least what it is, and how long."""
    if value is None or value in ("", [], {}):
        return "empty"
    if isinstance(value, bool):
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
    if number.isascii() and number.isdigit():
        order = shop.get(int(number))
        return Sample(number=str(order.woo_id), known=facts(order.order))
    latest = shop.orders({"per_page": "1", "orderby": "date", "order": "desc", "status": "any"}).orders
    return Sample(number=str(latest[0].woo_id), known=facts(latest[0].order)) if latest else None


# --- what the CRM will say -----------------------------------------------------------------------------------------


def doubts(row: Row, value: Any, field: Field | None, known: Listed) -> Iterator[str]:
    """Why the CRM would refuse this value of this row, by what it lists. None: as far as one can see, it takes it."""
    if field is None and known.fields:
        yield f"{row.target}: the CRM does not list this field (any more)"
        return
    if field is not None and not field.writable:
        yield f"{row.target}: the CRM does not let anybody write it"
    if field is not None and field.required and value is None:
        yield f"{row.target}: the CRM requires it, and it is empty"
    if field is not None and field.choices and value is not None and value not in field.choices:
        yield f"{row.target}: the value is none of those that the CRM lists"


def map_of(rows: Rows) -> FieldMap:
    return FieldMap.of(0, rows)
