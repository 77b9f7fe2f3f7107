"""The right to work on one order: short, renewable, and void once it has run out."""

import os
import socket
import uuid
from datetime import timedelta

from django.db import IntegrityError, transaction
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

    def __init__(self, key: str) -> None:
        self.token = uuid.uuid4()
        self.keys: list[str] = []
        self.renewed_at = timezone.now()
        self.take(key)

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
        now = timezone.now()
        until = now + DURATION
        if Lease.objects.filter(key__in=self.keys, token=self.token).update(expires_at=until) != len(self.keys):
            raise LeaseLost(", ".join(self.keys))
        self.renewed_at = now

    def release(self) -> None:
        """Give them back. Inside the recording transaction this is the fence: a lost lease records nothing."""
        gone, _ = Lease.objects.filter(key__in=self.keys, token=self.token).delete()
        if gone != len(self.keys):
            raise LeaseLost(", ".join(self.keys))
