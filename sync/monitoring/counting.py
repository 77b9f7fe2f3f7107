"""Counts of all rows that a table ever had: what is old is counted once and remembered. Nobody reads it again, and it
may be removed."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db.models import Count, Max, Model, Q, QuerySet, Sum, Value

from orders.models import StatusTransition
from sync.models import Attempt, Call, Counted
from webhooks import clock
from webhooks.connections import DEFAULT_BRIDGE
from webhooks.models import State, WebhookEvent

SETTLED = timedelta(minutes=5)
"""A row has its id before it is committed. After so long none with a lower id is still to come."""

Counts = dict[tuple[Any, ...], tuple[int, int]]
"""By the values of the columns counted by: how many, and the sum of the table's `total`."""


EACH = Q()


@dataclass(frozen=True, kw_only=True)
class Growing:
    """A table whose rows are removed only once they are counted (`cover`), and the columns to count by, which never
    change in a row. The last of them is the bridge."""

    model: type[Model]
    by: tuple[str, ...]
    total: str = ""
    where: Q = EACH
    may_change: Q | None = None
    "The rows that count, where what counts may change, even in an old row. They are read anew every few minutes."

    @property
    def name(self) -> str:
        return f"{self.model._meta.label}.{self.total or self.by[0]}" if self.may_change else self.model._meta.label

    def rows(self) -> QuerySet:
        return self.model._default_manager.filter(self.where).order_by()


EVENTS = Growing(model=WebhookEvent, by=("source", "side", "bridge"))
DUPLICATES = Growing(model=WebhookEvent, by=("source", "bridge"), total="duplicates", may_change=Q(duplicates__gt=0))
WAIT_FOR_A_PERSON = (State.PARKED, State.DEAD)
STATES = Growing(model=WebhookEvent, by=("state", "bridge"), may_change=Q(state__in=WAIT_FOR_A_PERSON))
"""Of old events only those that wait for a person: of the others, the states that are few have an index."""
ATTEMPTS = Growing(model=Attempt, by=("result", "event__bridge"))
CALLS = Growing(
    model=Call, by=("side", "status", "attempt__event__bridge"), total="milliseconds", where=Q(is_shared=False)
)
TRANSITIONS = Growing(model=StatusTransition, by=("decision", "link__bridge"))


def count_rows(table: Growing) -> Counts:
    """What is read are the rows of the last minutes. Exact, but for changes of older ones in these minutes."""
    known = Counted.objects.filter(table=table.name).first() or _begin(table)
    found = _sum([*_remembered(table, known), *_read(table, table.rows().filter(pk__gt=known.up_to))])
    if not Counted.objects.filter(pk=known.pk, up_to=known.up_to).exists():
        return count_rows(table)  # more of them were covered between our two looks, and may have been removed
    if clock.now() - known.next_at > SETTLED:
        _remember(table, known)
    return found


def _begin(table: Growing) -> Counted:
    known, _ = Counted.objects.get_or_create(table=table.name, defaults={"next_up_to": _newest(table)})
    return known


def _remember(table: Growing, known: Counted) -> None:
    """Up to the row that was the newest some minutes ago. Of several who do this at the same time one gets through."""
    settled = table.rows().filter(pk__lte=known.next_up_to)
    if table.may_change:
        merged = _sum(_read(table, settled.filter(table.may_change)))
    else:
        merged = _sum([*_remembered(table, known), *_read(table, settled.filter(pk__gt=known.up_to))])
    Counted.objects.filter(pk=known.pk, up_to=known.up_to, next_at=known.next_at).update(
        up_to=known.next_up_to,
        counts=_as_kept(merged),
        next_up_to=_newest(table),
        next_at=clock.now(),
    )


def cover(table: Growing, up_to: int) -> None:
    """Remember the rows up to this one, whose time is long over: then they may be removed. In the transaction that
    removes them, so that counts never fall."""
    known = Counted.objects.select_for_update().get(pk=_begin(table).pk)
    if known.up_to < up_to:
        rows = table.rows().filter(pk__gt=known.up_to, pk__lte=up_to)
        known.counts = _as_kept(_sum([*_remembered(table, known), *_read(table, rows)]))
        known.up_to, known.next_up_to = up_to, max(up_to, known.next_up_to)
        known.save(update_fields=["counts", "up_to", "next_up_to"])


def _as_kept(counts: Counts) -> list[list[Any]]:
    return [[*key, *numbers] for key, numbers in counts.items()]


def _newest(table: Growing) -> int:
    return table.model._default_manager.aggregate(newest=Max("pk"))["newest"] or 0


def _read(table: Growing, rows: QuerySet) -> Iterable[tuple[Any, ...]]:
    return rows.values_list(*table.by).annotate(n=Count("pk"), total=Sum(table.total) if table.total else Value(0))


def _remembered(table: Growing, known: Counted) -> Iterator[tuple[Any, ...]]:
    """What was remembered before there were several bridges is of the default one."""
    for *key, n, total in known.counts:
        yield *key, *([DEFAULT_BRIDGE] if len(key) < len(table.by) else []), n, total


def _sum(rows: Iterable[tuple[Any, ...]]) -> Counts:
    found: Counts = {}
    for *key, n, total in rows:
        before = found.get(tuple(key), (0, 0))
        found[tuple(key)] = (before[0] + n, before[1] + total)
    return found
