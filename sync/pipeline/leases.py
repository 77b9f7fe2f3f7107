"""The right to work on one order: short, renewable, and void once it has run out, by the database's clock alone."""

import functools
import hashlib
import os
import secrets
import socket
import threading
import uuid
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Self

from django.db import connection
from django.utils import timezone

DURATION = timedelta(seconds=45)
"""A dead worker's order is free again within 60 s (CONTRACT section 5)."""
YOUNG = timedelta(seconds=10)
"""Of a lease of this age, enough is left for any outgoing call. Each renewal is a commit, and would be half of them."""
TOO_OLD = timedelta(seconds=20)
"""At this age a call that takes as long as any may (`sync.clients.http`) might outlast the lease."""


class LeaseLost(Exception):
    """Another worker may have the order by now. Nothing is recorded; that worker's result counts."""


class Busy(Exception):
    """Another worker has the order at this moment."""


class WorkerLost(Exception):
    """The worker that had the order is gone, and left no record of its attempt."""


def worker_name() -> str:
    """Of this process, and of no other in the world: cloned machines have the same names and count processes alike."""
    return _name_of(os.getpid())


@functools.lru_cache(maxsize=1)
def _name_of(pid: int) -> str:
    return f"{_place()}:{secrets.token_hex(6)}:{pid}"


def is_gone(worker: str) -> bool:
    """It ran here, where its process id would still tell of it, and no longer does."""
    place, _, rest = worker.partition(":")
    pid = rest.rpartition(":")[2]
    if place != _place() or not pid.isdigit():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:  # it lives, as somebody else
        return False
    return False


@functools.cache
def _place() -> str:
    """This boot of this machine, and the container in it: where process ids mean the same. Where that can not be told
    it is this process alone."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text()
        processes = Path("/proc/self/ns/pid").stat().st_ino
    except OSError:
        boot, processes = secrets.token_hex(16), 0
    marks = hashlib.sha256(f"{boot}:{processes}".encode()).hexdigest()[:12]
    return f"{socket.gethostname()[:50]}/{marks}"


class OrderLease:
    """The right to work on one order, by its shop id, its CRM id, or both; and on what is made with it."""

    def __init__(self, *keys: str) -> None:
        """Raises Busy if another worker has one of the keys."""
        self.token = uuid.uuid4()
        self.keys: list[str] = []
        self.renewed_at = timezone.now()  # a span of time only, and so by our own clock, which a sleep does not stop
        self.thread = threading.get_ident()
        self.take(*keys)

    @classmethod
    def take_each(cls, keys: Sequence[str]) -> dict[str, Self]:
        """One for each key that nobody else has, with one statement."""
        each: dict[str, Self] = {}
        token, now = uuid.uuid4(), timezone.now()
        for key in _taken(keys, token):
            lease = each[key] = cls()
            lease.keys, lease.token, lease.renewed_at = [key], token, now
        return each

    def take(self, *keys: str) -> None:
        """Take more keys, all of them or none. Raises Busy."""
        taken = _taken(keys, self.token)
        if len(taken) < len(keys):
            in_part = OrderLease()
            in_part.keys, in_part.token = taken, self.token
            release([in_part])
            raise Busy(", ".join(set(keys) - set(taken)))
        self.keys += keys

    @property
    def is_old(self) -> bool:
        return not timedelta(0) <= timezone.now() - self.renewed_at < YOUNG

    def ensure_valid(self) -> None:
        """Before each outgoing call: see to it that the lease does not run out meanwhile. Raises LeaseLost.

        Threads that only call have no connection to the database: the one that waits for them renews the lease.
        """
        if threading.get_ident() == self.thread:
            if self.is_old:
                renew([self])
        elif not timedelta(0) <= timezone.now() - self.renewed_at < TOO_OLD:
            raise LeaseLost(", ".join(self.keys))


def busy(keys: Sequence[str]) -> set[str]:
    """Those that somebody has. Whoever tries to take one of them would wait for the lock of its row."""
    if not keys:
        return set()
    with connection.cursor() as cursor:
        places = ", ".join(["%s"] * len(keys))
        cursor.execute(f"SELECT key FROM sync_lease WHERE expires_at > {_now()} AND key IN ({places})", [*keys])  # noqa: S608
        return {key for (key,) in cursor.fetchall()}


def _taken(keys: Sequence[str], token: uuid.UUID) -> list[str]:
    """Those that nobody else has. A row that has run out changes hands. In one order: two workers that take some of the
    same keys would else wait for each other."""
    if not keys:
        return []
    row = f"(%s, %s, %s, {_end()})"
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO sync_lease (key, token, holder, expires_at) VALUES {', '.join([row] * len(keys))} "  # noqa: S608
            "ON CONFLICT (key) DO UPDATE "
            "SET token = excluded.token, holder = excluded.holder, expires_at = excluded.expires_at "
            f"WHERE sync_lease.expires_at <= {_now()} RETURNING key",
            [value for key in sorted(keys) for value in (key, _adapted(token), worker_name())],
        )
        return [key for (key,) in cursor.fetchall()]


def renew(leases: Sequence[OrderLease]) -> None:
    """Raises LeaseLost if one of them is another worker's by now."""
    now = timezone.now()
    _of_each(f"UPDATE sync_lease SET expires_at = {_end()} WHERE", leases)  # noqa: S608
    for lease in leases:
        lease.renewed_at = now


def release(leases: Sequence[OrderLease]) -> None:
    """Give them back. Inside the recording transaction this is the fence: a lost lease records nothing."""
    _of_each("DELETE FROM sync_lease WHERE", leases)


def _of_each(statement: str, leases: Sequence[OrderLease]) -> None:
    """Of every key of these, or else LeaseLost."""
    keys = [key for lease in leases for key in lease.keys]
    tokens = list({_adapted(lease.token) for lease in leases})
    if not keys:
        return
    places = f"key IN ({', '.join(['%s'] * len(keys))}) AND token IN ({', '.join(['%s'] * len(tokens))})"
    with connection.cursor() as cursor:
        cursor.execute(f"{statement} {places}", [*keys, *tokens])
        if cursor.rowcount != len(keys):
            raise LeaseLost(", ".join(keys))


def _adapted(token: uuid.UUID) -> str | uuid.UUID:
    return token if connection.features.has_native_uuid_field else token.hex


def _now(later: timedelta = timedelta()) -> str:
    """In a statement: the time by the database's clock, or so much later."""
    seconds = later.total_seconds()
    if connection.vendor == "postgresql":
        return f"clock_timestamp() + interval '{seconds} seconds'"
    return f"strftime('%%Y-%%m-%%d %%H:%%M:%%f', 'now', '+{seconds} seconds')"


def _end() -> str:
    return _now(DURATION)
