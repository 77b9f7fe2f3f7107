"""What of an order can be mapped, and by which paths: the shop's own fields, `meta` by key, and `draft` in neutral
words. Only what the CRM may be told anyway is among them, so that a list and a single read bring the same."""

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from sync.clients.crm.draft import draft
from sync.clients.snapshots import document

META, DRAFT = "meta", "draft"
DEEPEST = 4
"""Names of a path that is offered."""


def facts(order: Mapping[str, Any]) -> dict[str, Any]:
    """JSON, and nothing else: what expressions are evaluated on."""
    shown = document(order)
    meta: dict[str, Any] = {}
    listed = shown.get("meta_data")
    for one in listed if isinstance(listed, list) else ():
        if isinstance(one, Mapping) and isinstance(one.get("key"), str):
            meta.setdefault(one["key"], one.get("value"))
    return {**shown, META: meta, DRAFT: _plain(draft(shown))}


def _plain(value: Any) -> Any:
    """Amounts stay exact: they are texts, as in the shop's own JSON."""
    if is_dataclass(value):
        return {one.name: _plain(getattr(value, one.name)) for one in fields(value) if one.name != "order"}
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    if isinstance(value, Decimal):
        return f"{value:f}"
    return value.isoformat() if isinstance(value, datetime) else value


def value_at(known: Mapping[str, Any], path: str) -> Any:
    """`billing.email`, `line_items.sku` (a list: one of each line), `meta.KEY` (the key may hold dots). None: it is not
    there."""
    head, _, rest = path.partition(".")
    if head == META and rest:
        return known[META].get(rest)
    return _walk(known, path.split("."))


def _walk(value: Any, names: list[str]) -> Any:
    if not names:
        return value
    if isinstance(value, list):
        found = (_walk(one, names) for one in value)
        return [one for one in found if one is not None]
    return _walk(value.get(names[0]), names[1:]) if isinstance(value, Mapping) else None


def paths(known: Mapping[str, Any]) -> list[str]:
    """All of this order that hold a value, or a list of values; those in neutral words first."""
    first = {DRAFT: 0, META: 1}
    names = sorted((one for one in known if one != "meta_data"), key=lambda name: (first.get(name, 2), name))
    found = (path for name in names for path in _paths(known[name], name))
    return list(dict.fromkeys(found))


def _paths(value: Any, path: str) -> Iterator[str]:
    if path.startswith(f"{META}."):
        yield path
    elif isinstance(value, Mapping) and path.count(".") < DEEPEST:
        for name, inner in value.items():
            yield from _paths(inner, f"{path}.{name}")
    elif isinstance(value, list) and any(isinstance(one, Mapping) for one in value):
        for one in value:
            yield from _paths(one, path)
    elif not isinstance(value, Mapping):
        yield path
