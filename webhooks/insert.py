"""One INSERT for one event, its SQL made once: making it anew for each row costs more than storing the row."""

import functools
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import DEFAULT_DB_ALIAS, DatabaseError, connections, models

from webhooks.models import WebhookEvent

log = logging.getLogger("orderbridge.deliveries")

NOT_OUR_PLAN = ("26000", "42P05")
"""PostgreSQL does not know a plan, or has another of this name: a pooler gave us somebody else's connection."""
AS_THEY_ARE = (models.CharField, models.TextField, models.IntegerField)
"""Fields whose values every database takes without conversion."""


@dataclass(frozen=True, kw_only=True)
class Statement:
    """For rows that give the same columns; the others have their defaults."""

    sql: str
    moments: tuple[str, ...]
    converted: tuple[models.Field, ...]
    "The other columns whose values the database wants in another form."
    constant: tuple[Any, ...]
    fresh: tuple[models.Field, ...]
    "The columns whose default is another one for each row."


def insert(row: Mapping[str, Any]) -> int | None:
    """The new event's id, or None if its key is known. Outside a transaction it is committed when this returns."""
    database = connections[DEFAULT_DB_ALIAS]
    statement = _statement(tuple(row), database.vendor)
    values = dict(row)
    moment = database.ops.adapt_datetimefield_value
    for name in statement.moments:
        values[name] = moment(values[name])
    for field in statement.converted:
        values[field.attname] = field.get_db_prep_save(row[field.attname], database)
    fresh = [field.get_db_prep_save(field.get_default(), database) for field in statement.fresh]
    parameters = (*values.values(), *statement.constant, *fresh)
    try:
        new = _execute(database, statement.sql, parameters)
    except DatabaseError as error:
        if getattr(error.__cause__, "sqlstate", None) not in NOT_OUR_PLAN or database.in_atomic_block:
            raise
        log.warning("the pooler does not keep plans: append ?DISABLE_SERVER_SIDE_CURSORS=true to DATABASE_URL")
        database.connection.prepare_threshold = None
        new = _execute(database, statement.sql, parameters)
    return new[0] if new else None


def _execute(database: Any, sql: str, parameters: Sequence[Any]) -> Any:
    with _cursor(database) as cursor:
        cursor.execute(sql, parameters)
        return cursor.fetchone()


def _cursor(database: Any) -> Any:
    """The driver's own: with it PostgreSQL plans the statement once, and for SQLite nothing has to be translated."""
    database.ensure_connection()
    return database.make_cursor(database.Database.Cursor(database.connection))


@functools.cache
def _statement(names: tuple[str, ...], vendor: str) -> Statement:
    meta, database = WebhookEvent._meta, connections[DEFAULT_DB_ALIAS]
    columns = {field.attname: field for field in meta.concrete_fields if not field.primary_key}
    given, rest = [columns[name] for name in names], [columns[name] for name in columns if name not in names]
    fresh = [field for field in rest if field.has_default() and callable(field.default)]
    constant = [field for field in rest if field not in fresh]
    into = ", ".join(field.attname for field in (*given, *constant, *fresh))
    places = ", ".join(["?" if vendor == "sqlite" else "%s"] * len(columns))
    return Statement(
        # Nothing but the names of our own columns stands in it. RETURNING: SQLite has no other sign of a conflict.
        sql=f"INSERT INTO {meta.db_table} ({into}) VALUES ({places}) "  # noqa: S608
        "ON CONFLICT (source, dedupe_key) DO NOTHING RETURNING id",
        moments=tuple(field.attname for field in given if isinstance(field, models.DateTimeField)),
        converted=tuple(field for field in given if not isinstance(field, (*AS_THEY_ARE, models.DateTimeField))),
        constant=tuple(field.get_db_prep_save(field.get_default(), database) for field in constant),
        fresh=tuple(fresh),
    )
