"""A kept connection may have been cut since its last use: to ask first would cost as much as the INSERT itself."""

from collections.abc import Callable
from typing import TypeVar

from django.db import DEFAULT_DB_ALIAS, InterfaceError, OperationalError, connections

T = TypeVar("T")


def reconnecting(store: Callable[[], T]) -> T:
    """Do it, and once more on a new connection if the kept one turns out to be dead. For what may be repeated."""
    database = connections[DEFAULT_DB_ALIAS]
    kept = database.connection is not None
    database.health_check_done = True  # type: ignore[attr-defined]  # the stubs do not know it
    try:
        return store()
    except (OperationalError, InterfaceError):
        if not kept or database.in_atomic_block or (database.connection is not None and database.is_usable()):
            raise
    database.close()
    return store()
