"""One INSERT for the events of a delivery, new or known, its SQL made once: making it anew costs more than storing."""

import functools
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import DEFAULT_DB_ALIAS, DatabaseError, connections, models

from webhooks.models import MAY_BE_NEWS, WebhookEvent

log = logging.getLogger("orderbridge.deliveries")

Row = Mapping[str, Any]
"""Values by the names of their columns."""
NOT_OUR_PLAN = ("26000", "42P05")
"""PostgreSQL does not know a plan, or has another of this name: a pooler gave us somebody else's connection."""
AS_THEY_ARE = (models.CharField, models.TextField, models.IntegerField, models.BinaryField)
"""Fields whose values every database takes without conversion."""


@dataclass(frozen=True, kw_only=True)
class Statement:
    """For rows that give the same columns; the others have their defaults."""

    sql: str
    repeats_common: bool
    "What the rows have in common is given with each of them."
    defaults: tuple[Any, ...]
    converted: Mapping[str, Callable[[Any], Any]]
    "The columns whose values the database wants in another form."

    def values(self, row: Row) -> list[Any]:
        values = dict(row)
        for name, convert in self.converted.items():
            if values.get(name) is not None:
                values[name] = convert(values[name])
        return list(values.values())


def insert(shared: Row, rows: Sequence[Row], *, weak: bool = False) -> dict[str, tuple[int, int]]:
    """The ids and counts of duplicates by the keys. A known event counts one more, and as many as the row itself says:
    so its count is above that of a new one. Of `weak` rows those are missing that may be news.
    What is shared is the same in all rows. Outside a transaction it is committed when this returns."""
    if not rows:
        return {}
    database = connections[DEFAULT_DB_ALIAS]
    statement = _statement(tuple(shared), tuple(rows[0]), len(rows), weak, database.vendor)
    common = [*statement.defaults, *statement.values(shared)]
    parameters: list[Any] = []
    for row in rows:
        if statement.repeats_common or not parameters:
            parameters += common
        parameters += statement.values(row)
    try:
        return _execute(database, statement.sql, parameters)
    except DatabaseError as error:
        if getattr(error.__cause__, "sqlstate", None) not in NOT_OUR_PLAN or database.in_atomic_block:
            raise
        log.warning("the pooler does not keep plans: append ?DISABLE_SERVER_SIDE_CURSORS=true to DATABASE_URL")
        database.connection.prepare_threshold = None
        return _execute(database, statement.sql, parameters)


def _execute(database: Any, sql: str, parameters: Sequence[Any]) -> dict[str, tuple[int, int]]:
    with _cursor(database) as cursor:
        cursor.execute(sql, parameters)
        return {key: (pk, duplicates) for key, pk, duplicates in cursor.fetchall()}


def _cursor(database: Any) -> Any:
    """The driver's own: with it PostgreSQL plans the statement once, and nothing has to be translated."""
    database.ensure_connection()
    kind = "RawCursor" if database.vendor == "postgresql" else "Cursor"
    return database.make_cursor(getattr(database.Database, kind)(database.connection))


@functools.lru_cache(maxsize=64)
def _statement(shared: tuple[str, ...], own: tuple[str, ...], rows: int, weak: bool, vendor: str) -> Statement:
    meta, database = WebhookEvent._meta, connections[DEFAULT_DB_ALIAS]
    columns = {field.attname: field for field in meta.concrete_fields if not field.primary_key}
    rest = [field for name, field in columns.items() if name not in shared and name not in own]
    if moving := [field.attname for field in rest if field.has_default() and callable(field.default)]:
        raise TypeError(f"Give {', '.join(moving)}, too: what stands in a statement is the same for ever.")
    names = [*(field.attname for field in rest), *shared, *own]
    lite, same = vendor == "sqlite", len(rest) + len(shared)
    # PostgreSQL numbers values, so that those that are the same in all rows are sent once. In SQLite's way of it Python
    # 3.12 warns of each number, and finds names one after the other.
    places = ", ".join(
        "(" + ", ".join("?" if lite else f"${n}" for n in (*range(1, same + 1), *range(first, first + len(own)))) + ")"
        for first in range(same + 1, same + 1 + rows * len(own), len(own))
    )
    # The rows of a delivery have their moments in common.
    moment = functools.lru_cache(maxsize=64)(database.ops.adapt_datetimefield_value)
    return Statement(
        # Nothing but the names of our own columns stands in it.
        sql=f"INSERT INTO {meta.db_table} AS known ({', '.join(names)}) VALUES {places} "  # noqa: S608
        "ON CONFLICT (source, dedupe_key) DO UPDATE SET duplicates = known.duplicates + excluded.duplicates + 1 "
        f"{f'WHERE NOT ({MAY_BE_NEWS})' if weak else ''} RETURNING dedupe_key, id, duplicates",
        repeats_common=lite,
        defaults=tuple(field.get_db_prep_save(field.get_default(), database) for field in rest),
        converted={
            name: moment
            if isinstance(columns[name], models.DateTimeField)
            else functools.partial(columns[name].get_db_prep_save, connection=database)
            for name in (*shared, *own)
            if not isinstance(columns[name], AS_THEY_ARE)
        },
    )
