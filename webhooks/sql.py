"""SQL by hand, for what is done for every event: Django takes longer to make such a statement than all else it costs.

Each value has its `%s`; a list has one for all of it, as in `id IN (%s)`. Whatever is no value is written in the code.
"""

import functools
from collections.abc import Sequence
from datetime import timedelta
from enum import Enum
from typing import Any, TypeVar
from uuid import UUID

from django.db import connection, models

M = TypeVar("M", bound=models.Model)


def rows(statement: str, *values: Any) -> list[tuple[Any, ...]]:
    """As the driver gives them: good for text and numbers."""
    with connection.cursor() as cursor:
        cursor.execute(*_ready(statement, values))
        return cursor.fetchall()


def execute(statement: str, *values: Any) -> int:
    """The number of rows that it changed."""
    with connection.cursor() as cursor:
        cursor.execute(*_ready(statement, values))
        return cursor.rowcount


def find(model: type[M], where: str, *values: Any) -> list[M]:
    """Whole rows."""
    statement, ready = _ready(f"SELECT {_columns(model)} FROM {model._meta.db_table} WHERE {where}", values)  # noqa: S608
    return list(model._default_manager.raw(statement, ready))


def one(model: type[M], **key: Any) -> M | None:
    """The row with these values in these columns, which no two rows share."""
    found = find(model, " AND ".join(f"{column} = %s" for column in key), *key.values())
    return found[0] if found else None


def insert(new: Sequence[models.Model], then: str = "") -> list[int]:
    """Rows of one table; their ids are the database's. `then`: what follows the values, as `ON CONFLICT …`."""
    if not new:
        return []
    meta = new[0]._meta
    fields = [field for field in meta.concrete_fields if not field.primary_key]
    columns, row = ", ".join(field.attname for field in fields), f"({', '.join(['%s'] * len(fields))})"
    statement = f"INSERT INTO {meta.db_table} ({columns}) VALUES {', '.join([row] * len(new))} {then} RETURNING id"  # noqa: S608
    values = [field.get_db_prep_save(getattr(one, field.attname), connection) for one in new for field in fields]
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return [pk for (pk,) in cursor.fetchall()]


def for_update() -> str:
    """At the end of a SELECT: the rows are ours until the transaction ends. On SQLite the whole database is."""
    return connection.ops.for_update_sql() if connection.features.has_select_for_update else ""


def now(later: timedelta = timedelta()) -> str:
    """In a statement: the time by the database's clock, or so much later."""
    seconds = later.total_seconds()
    if connection.vendor == "postgresql":
        return f"clock_timestamp() + interval '{seconds} seconds'"
    return f"strftime('%%%%Y-%%%%m-%%%%d %%%%H:%%%%M:%%%%f', 'now', '+{seconds} seconds')"


@functools.cache
def _columns(model: type[models.Model]) -> str:
    """By name: with `*` a column that a migration has yet to make would be missed only after the calls were made."""
    return ", ".join(field.attname for field in model._meta.concrete_fields)


def _ready(statement: str, values: Sequence[Any]) -> tuple[str, list[Any]]:
    places = tuple(", ".join(["%s"] * len(one)) or "NULL" if isinstance(one, list) else "%s" for one in values)
    each = [one for value in values for one in (value if isinstance(value, list) else [value])]
    return statement % places, [*map(_adapted, each)]


def _adapted(value: Any) -> Any:
    """As every driver takes it. What Django does with a value by itself depends on its column."""
    if isinstance(value, Enum):
        return value.value
    return value.hex if isinstance(value, UUID) else connection.ops.adapt_unknown_value(value)
