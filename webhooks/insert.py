"""The INSERT of a delivery: new events are stored and known ones counted, in one statement. The ORM cannot say it, and
to compile it for each delivery would cost more than to store it."""

import functools
import itertools
import json
import logging
import operator
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from django.db import DatabaseError, connection, models

from webhooks.models import WebhookEvent

log = logging.getLogger("orderbridge.deliveries")

Row = Mapping[str, Any]
"""Values by the names of their columns."""
FIELDS = [field for field in WebhookEvent._meta.concrete_fields if not field.primary_key]
COLUMNS = [field.attname for field in FIELDS]
IN_ORDER = operator.itemgetter(*COLUMNS)
MOMENTS = {field.attname for field in FIELDS if isinstance(field, models.DateTimeField)}
DEFAULTS = {
    field.attname: field.get_default() for field in FIELDS if not (field.has_default() and callable(field.default))
}
"""The others, as moments, have to be given."""
NOT_OUR_PLAN = ("26000", "42P05")
"""PostgreSQL does not know a plan, or has another of this name: a pooler gave us somebody else's connection."""
MOST_OF_A_SECOND = 20
"""Events of one order and second. More are no changes: somebody sends two captured deliveries in turn."""
MAY_BE_NEWS = (
    "(known.next_attempt_at IS NULL OR known.state = 'processing') "  # noqa: S608  our own
    "AND NOT (known.state = 'parked' AND known.order_ref = '') "
    "AND (known.occurred_at IS NULL OR (EXISTS (SELECT 1 FROM webhooks_webhookevent AS later "
    "WHERE later.bridge_id = known.bridge_id AND later.side = known.side AND later.order_ref = known.order_ref "
    "AND later.id > known.id "
    "AND later.source = known.source AND (later.occurred_at IS NULL OR later.occurred_at = known.occurred_at)) "
    "AND (SELECT count(*) FROM webhooks_webhookevent AS same "
    "WHERE same.bridge_id = known.bridge_id AND same.side = known.side "
    "AND same.order_ref = known.order_ref AND same.source = known.source "
    f"AND same.occurred_at = known.occurred_at) < {MOST_OF_A_SECOND}))"
)
"""In SQL, of an event that is known by the hash of its body: the same bytes may tell of something else when they come
again. Not while it waits for its turn or next try, as its read answers both; nor, if nobody understood it, while it
waits for a person. With a time, which is that of a second, only if something else came between, of the same second or
without a time: on-hold and back, to the trash and back."""


def insert(shared: Row, rows: Sequence[Row], *, by_hash: bool = False) -> dict[str, tuple[int, int]]:
    """The ids and counts of duplicates by the keys. A known event counts one more, and as many as the row itself says:
    so its count is above that of a new one. Of rows known `by_hash` only, those are missing that may be news.
    What is shared is the same in all rows. Outside a transaction it is committed when this returns."""
    if not rows:
        return {}
    common = _adapted({**DEFAULTS, **shared})
    values = [value for row in rows for value in IN_ORDER({**common, **_adapted(row)})]
    statement = _statement(len(rows), by_hash, connection.vendor)
    try:
        return _execute(statement, values)
    except DatabaseError as error:
        if getattr(error.__cause__, "sqlstate", None) not in NOT_OUR_PLAN or connection.in_atomic_block:
            raise
        log.warning("the pooler does not keep plans: append ?DISABLE_SERVER_SIDE_CURSORS=true to DATABASE_URL")
        connection.connection.prepare_threshold = None
        return _execute(statement, values)


def give_up_keys(bridge: int, source: str, keys: Sequence[str]) -> None:
    """Of events whose repetition may be news: it is."""
    places = ", ".join(["%s"] * len(keys))
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE webhooks_webhookevent AS known SET dedupe_key = known.dedupe_key || ':' || known.id "  # noqa: S608
            f"WHERE known.bridge_id = %s AND known.source = %s AND known.dedupe_key IN ({places}) AND {MAY_BE_NEWS}",
            [bridge, source, *keys],
        )


@functools.lru_cache(maxsize=64)
def _statement(rows: int, by_hash: bool, vendor: str) -> str:
    number = itertools.count(1)
    row = (", ".join("?" if vendor == "sqlite" else f"${next(number)}" for _ in COLUMNS) for _ in range(rows))
    return (
        f"INSERT INTO webhooks_webhookevent AS known ({', '.join(COLUMNS)}) VALUES ({'), ('.join(row)}) "  # noqa: S608
        "ON CONFLICT (source, dedupe_key, bridge_id) DO UPDATE "
        "SET duplicates = known.duplicates + excluded.duplicates + 1 "
        f"{f'WHERE NOT ({MAY_BE_NEWS})' if by_hash else ''} RETURNING dedupe_key, id, duplicates"
    )


def _adapted(row: Row) -> dict[str, Any]:
    """As every driver takes it."""
    values = dict(row)
    for name in MOMENTS & row.keys():
        values[name] = _moment(row[name])
    if "headers" in row:
        values["headers"] = json.dumps(row["headers"])
    return values


@functools.lru_cache(maxsize=64)
def _moment(at: datetime | None) -> Any:
    """The rows of a delivery have their moments in common."""
    return connection.ops.adapt_datetimefield_value(at)


def _execute(statement: str, values: Sequence[Any]) -> dict[str, tuple[int, int]]:
    """With the driver's own cursor, so that PostgreSQL plans it once, and nothing has to be translated."""
    connection.ensure_connection()
    raw: Any = connection
    kind = raw.Database.Cursor if raw.vendor == "sqlite" else raw.Database.RawCursor
    with raw.make_cursor(kind(raw.connection)) as cursor:
        cursor.execute(statement, values)
        return {key: (pk, duplicates) for key, pk, duplicates in cursor.fetchall()}
