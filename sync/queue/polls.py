"""Which connections want to be asked oftener than reconcile asks, and whose turn it is: once among all hosts."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta

from django.db.models import Q, QuerySet

from sync.models import SideState
from webhooks import clock
from webhooks.connections import WOOCOMMERCE, Connection

POLL = "sync.tasks.poll"
SLACK = timedelta(seconds=5)
"""The clusters look twice a minute, and not to the second."""
LEASE = timedelta(seconds=120)
"""For as long as one poll may last. Whoever dies in it keeps nobody away for longer."""


def wanted() -> dict[str, int]:
    """Seconds between two polls, by connection."""
    crms = Connection.objects.filter(archived_at=None).exclude(kind=WOOCOMMERCE).order_by("pk")
    every = {one.slug: one.poll_seconds for one in crms}
    return {slug: seconds for slug, seconds in every.items() if seconds}


def is_due() -> bool:
    slugs = list(wanted())
    return bool(slugs) and _due(slugs, clock.now()).exists()


@contextmanager
def turn(slug: str, seconds: int) -> Iterator[bool]:
    """True: it is the connection's turn, and ours alone."""
    now = clock.now()
    mine = bool(_due([slug], now).update(poll_at=now + LEASE))
    try:
        yield mine
    finally:
        if mine:
            following = now + timedelta(seconds=seconds) - SLACK
            SideState.objects.filter(pk=slug, poll_at=now + LEASE).update(poll_at=following)


def _due(slugs: Sequence[str], now: datetime) -> QuerySet[SideState]:
    """A time that is farther off than any can be was set by a clock that has been put right since."""
    waits = Q(poll_at__gt=now, poll_at__lte=now + timedelta(days=1))
    return SideState.objects.filter(Q(poll_at=None) | ~waits, name__in=slugs)
