"""The right to work on one order: short, renewable, and void once it has run out, by the database's clock alone."""

import functools
import hashlib
import os
import secrets
import socket
import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Self

from django.db.models.functions import Now
from django.utils import timezone

from sync.models import Lease
from webhooks import sql

DURATION = timedelta(seconds=45)
"""A dead worker's order is free again within 60 s (CONTRACT section 5)."""
YOUNG = timedelta(seconds=10)
"""Of a lease of this age, enough is left for any outgoing call. Each renewal is a commit, and would be half of them."""


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


class Held:
    """The leases that this worker holds for one order: its shop id, its CRM id, or both."""

    def __init__(self, *keys: str) -> None:
        self.token = uuid.uuid4()
        self.keys: list[str] = []
        self.renewed_at = timezone.now()  # a span of time only, and so by our own clock, which a sleep does not stop
        for key in keys:
            self.take(key)

    @classmethod
    def each(cls, keys: Sequence[str]) -> list[Self]:
        """One for each key that nobody else has, with three statements."""
        token, now = uuid.uuid4(), timezone.now()
        mine = {"token": token, "holder": worker_name(), "expires_at": Now() + DURATION}
        Lease.objects.filter(key__in=keys, expires_at__lte=Now()).update(**mine)
        # In one order: two that take some of the same keys would else wait for each other.
        Lease.objects.bulk_create([Lease(key=key, **mine) for key in sorted(keys)], ignore_conflicts=True)
        taken = Lease.objects.filter(key__in=keys, token=token).order_by("key")
        return [cls._of(key, token, now) for key in taken.values_list("key", flat=True)]

    @classmethod
    def _of(cls, key: str, token: uuid.UUID, now: datetime) -> Self:
        held = cls()
        held.keys, held.token, held.renewed_at = [key], token, now
        return held

    def take(self, key: str) -> None:
        """Take one more, or raise Busy. A row that has run out changes hands."""
        taken = sql.execute(
            f"INSERT INTO sync_lease (key, token, holder, expires_at) VALUES (%s, {_end()}) "  # noqa: S608
            "ON CONFLICT (key) DO UPDATE "
            "SET token = excluded.token, holder = excluded.holder, expires_at = excluded.expires_at "
            f"WHERE sync_lease.expires_at <= {sql.now()}",
            [key, self.token, worker_name()],
        )
        if not taken:
            raise Busy(key)
        self.keys.append(key)

    def outlast(self) -> None:
        """Before each outgoing call: see to it that the lease does not run out meanwhile."""
        if not timedelta(0) <= timezone.now() - self.renewed_at < YOUNG:
            self.renew()

    def renew(self) -> None:
        renew([self])

    def release(self) -> None:
        release([self])


def renew(some: Sequence[Held]) -> None:
    now = timezone.now()
    _each(f"UPDATE sync_lease SET expires_at = {_end()} WHERE key IN (%s) AND token IN (%s)", of=some)  # noqa: S608
    for held in some:
        held.renewed_at = now


def _end() -> str:
    return sql.now(DURATION)


def release(some: Sequence[Held]) -> None:
    """Give them back. Inside the recording transaction this is the fence: a lost lease records nothing."""
    _each("DELETE FROM sync_lease WHERE key IN (%s) AND token IN (%s)", of=some)


def _each(statement: str, *values: object, of: Sequence[Held]) -> None:
    """Of every lease of these, or else LeaseLost."""
    keys, tokens = [key for held in of for key in held.keys], list({held.token for held in of})
    if sql.execute(statement, *values, keys, tokens) != len(keys):
        raise LeaseLost(", ".join(keys))
