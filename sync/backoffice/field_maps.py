"""A field map is made in the back office: its draft, the switch, what the CRM lists of fields."""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction

from orders import audit
from sync.clients.bridged import crm_of
from sync.clients.crm.base import Field
from sync.clients.mapping.field_map import FieldMap, Row, as_text
from sync.models import FieldMapVersion
from webhooks import clock
from webhooks.connections import Bridge
from webhooks.masking import MASK
from webhooks.texts import fit

Rows = list[dict[str, Any]]
BELIEVED = timedelta(minutes=10)
"""For so long the CRM is not asked again which fields it has."""
MOST_ROWS = 200
"""Of one map: they are read with the bridge by each batch, and shown on one page."""


class Changed(Exception):
    """Somebody else was faster: nothing was done. The message says who."""


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


def seen(bridge: Bridge) -> str:
    """What a person who looks at the map sees: it changes with the draft, and with the version that is on."""
    draft, newest = FieldMapVersion.draft_of(bridge.pk), FieldMapVersion.newest_of(bridge.pk)
    return digest([newest.version if newest else 0, draft.rows if draft else None])


def digest(said: Any) -> str:
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:16]


def edit(bridge: Bridge, change: Callable[[Rows], Rows], *, by: str, words: str, as_seen: str | None = None) -> None:
    """Change the draft; the first change of all makes one of what is on. Raises Changed."""
    with transaction.atomic():
        draft = _locked(bridge, as_seen)
        before = rows_on(bridge) if draft.rows is None else draft.rows
        draft.rows, draft.actor = change(list(before)), by
        draft.save()
        audit.record("field map: edit", actor=by, result=f"{bridge}: {words}", bridge=bridge.slug, rows=draft.rows)


def with_row(rows: Rows, row: Row, *, instead_of: str = "", as_seen: str = "") -> Rows:
    """In its place, or at the end. `as_seen`: the digest of the row in whose place it comes. Raises Changed."""
    old = next((one for one in rows if one["target"] == instead_of), None)
    if as_seen and (old is None or digest(old) != as_seen):
        words = "changed" if old else "removed"
        raise Changed(f"Somebody else has {words} the row of {instead_of} meanwhile. Look at the list, then try again.")
    if row.target in set(targets(rows)) - {instead_of}:
        raise Changed(f"{row.target} is mapped already. Edit its row.")
    new = [row.as_json() if one is old else one for one in rows]
    return new if old else [*new, row.as_json()]


def without(rows: Rows, target: str) -> Rows:
    return [one for one in rows if one["target"] != target]


def moved_up(rows: Rows, target: str) -> Rows:
    place = targets(rows).index(target) if target in targets(rows) else 0
    if place == 0:
        return rows
    return [*rows[: place - 1], rows[place], rows[place - 1], *rows[place + 1 :]]


def targets(rows: Rows) -> list[str]:
    return [one["target"] for one in rows]


def discard(bridge: Bridge, *, by: str, reason: str, as_seen: str | None = None) -> None:
    """Raises Changed."""
    with transaction.atomic():
        draft = _locked(bridge, as_seen)
        audit.record("field map: discard", actor=by, reason=reason, result=str(bridge), rows=draft.rows)
        draft.rows = None
        draft.save()


def switch_on(bridge: Bridge, *, by: str, reason: str, as_seen: str) -> int:
    """The draft becomes the map, if it still is what was `seen`; its version. Raises Changed."""
    with transaction.atomic():
        row = Bridge.objects.select_for_update().get(pk=bridge.pk)
        draft = _locked(bridge, as_seen)
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


def _locked(bridge: Bridge, as_seen: str | None = None) -> FieldMapVersion:
    """The draft, in a transaction. Raises Changed if it, or the map, is not what was `seen`."""
    FieldMapVersion.objects.get_or_create(bridge=bridge, version=FieldMapVersion.DRAFT, defaults={"rows": None})
    draft = FieldMapVersion.objects.select_for_update().get(bridge=bridge, version=FieldMapVersion.DRAFT)
    if as_seen is not None and as_seen != seen(bridge):
        newest = FieldMapVersion.newest_of(bridge.pk)
        who = draft.actor if draft.rows is not None else newest.actor if newest else ""
        raise Changed(f"The map was changed by {who or 'somebody else'} after you looked at it. Nothing was done.")
    return draft


def history(bridge: Bridge) -> list[FieldMapVersion]:
    """All that were on, the newest first."""
    return list(FieldMapVersion.objects.filter(bridge=bridge, version__gt=FieldMapVersion.DRAFT).order_by("-version"))


def to_look_at(bridge: Bridge, rows: Rows, on: Rows) -> Bridge:
    """As it would be with these rows. Those that are not `on` make only what everybody may see."""
    looked_at = Bridge.objects.with_connections().get(pk=bridge.pk)
    newest = FieldMapVersion.newest_of(bridge.pk)
    veiled = targets([one for one in rows if one not in on])
    looked_at.field_map = as_text((newest.version if newest else 0) + 1, rows, veiled)
    return looked_at


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


# --- what the CRM will say -----------------------------------------------------------------------------------------


def doubts(row: Row, value: Any, field: Field | None, known: Listed) -> Iterator[str]:
    """Why the CRM would refuse this value of this row, by what it lists. None: as far as one can see, it takes it. Of
    a value that is hidden, nothing is told."""
    if field is None and known.fields:
        yield f"{row.target}: the CRM does not list this field (any more)"
        return
    if field is not None and not field.writable:
        yield f"{row.target}: the CRM does not let anybody write it"
    if field is not None and field.required and value is None:
        yield f"{row.target}: the CRM requires it, and it is empty"
    if field is not None and field.choices and value not in (None, MASK, *field.choices):
        yield f"{row.target}: the value is none of those that the CRM lists"


def map_of(rows: Rows) -> FieldMap:
    return FieldMap.of(0, rows)
