"""The right to work on one order: short, renewable, and void once it has run out."""

import os
import socket
import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Self

from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.utils import timezone

from sync.models import Lease

DURATION = timedelta(seconds=45)
"""A dead worker's order is free again within 60 s (CONTRACT section 5)."""
YOUNG = timedelta(seconds=10)
"""Of a lease of this age, enough is left for any outgoing call. Each renewal is a commit, and would be half of them."""


class LeaseLost(Exception):
    """Another worker may have the order by now. Nothing is recorded; that worker's result counts."""


class Busy(Exception):
    """Another worker has the order at this moment."""


def worker_name() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"[:100]


class Held:
    """The leases that this worker holds for one order: its shop id, its CRM id, or both."""

    def __init__(self, *keys: str) -> None:
        self.token = uuid.uuid4()
        self.keys: list[str] = []
        self.renewed_at = timezone.now()
        for key in keys:
            self.take(key)

    @classmethod
    def each(cls, keys: Sequence[str]) -> list[Self]:
        """One for each key that nobody else has, with three statements."""
        token, now = uuid.uuid4(), timezone.now()
        mine = {"token": token, "holder": worker_name(), "expires_at": now + DURATION}
        Lease.objects.filter(key__in=keys, expires_at__lte=now).update(**mine)
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
        """Take one more, or raise Busy. One insert; a second statement only where an old row is left behind."""
        now = timezone.now()
        mine = {"token": self.token, "holder": worker_name(), "expires_at": now + DURATION}
        if not Lease.objects.filter(key=key, expires_at__lte=now).update(**mine):
            try:
                with transaction.atomic():
                    Lease.objects.create(key=key, **mine)
            except IntegrityError:
                raise Busy(key) from None
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
    until = now + DURATION
    rows, number = _rows(some)
    if rows.update(expires_at=until) != number:
        raise _lost(some)
    for held in some:
        held.renewed_at = now


def release(some: Sequence[Held]) -> None:
    """Give them back. Inside the recording transaction this is the fence: a lost lease records nothing."""
    rows, number = _rows(some)
    gone, _ = rows.delete()
    if gone != number:
        raise _lost(some)


def _rows(some: Sequence[Held]) -> tuple[QuerySet[Lease], int]:
    keys = [key for held in some for key in held.keys]
    return Lease.objects.filter(key__in=keys, token__in={held.token for held in some}), len(keys)


def _lost(some: Sequence[Held]) -> LeaseLost:
    return LeaseLost(", ".join(key for held in some for key in held.keys))
