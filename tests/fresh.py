"""The rows of a fresh database: kept once, and put back after each test that commits.

Django's own flush empties every table and makes permissions and content types anew, which takes a fifth of a second,
and what our migrations filled in is gone.
"""

from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from orders.append_only import GUARDS

_putting_back: list[str] = []


def keep(connection: BaseDatabaseWrapper) -> None:
    """Right after the migrations, in tables beside them."""
    _putting_back.clear()
    with connection.cursor() as cursor:
        for table in _with_rows(connection):
            columns = ", ".join(column.name for column in connection.introspection.get_table_description(cursor, table))
            cursor.execute(f"CREATE TABLE fresh_{table} AS SELECT {columns} FROM {table}")  # noqa: S608  names of ours
            _putting_back.append(f"INSERT INTO {table} ({columns}) SELECT {columns} FROM fresh_{table}")  # noqa: S608


def restore(connection: BaseDatabaseWrapper) -> None:
    """What is append-only gives way for it, and for nothing else."""
    used = _with_rows(connection)
    guards = [guard for guard in GUARDS if guard.table in used]
    statements = [
        *(statement for guard in guards for statement in guard.disarm(connection.vendor)),
        *(f"DELETE FROM {table}" for table in used),  # noqa: S608  names of ours
        *_putting_back,
        *(statement for guard in guards for statement in guard.arm(connection.vendor)),
    ]
    with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def _with_rows(connection: BaseDatabaseWrapper) -> set[str]:
    tables = connection.introspection.django_table_names(only_existing=True, include_views=False)
    asked = (f"SELECT '{table}' WHERE EXISTS (SELECT 1 FROM {table})" for table in tables)  # noqa: S608  names of ours
    with connection.cursor() as cursor:
        cursor.execute(" UNION ALL ".join(asked))
        return {table for (table,) in cursor.fetchall()}
