"""Circuit breaker and rate limit of the shop and the CRM, shared by all workers through the database."""

import logging
from collections.abc import Callable, Collection, Mapping
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import F, Q

from sync.clients import installation
from sync.clients.causes import told
from sync.clients.errors import Maintenance, RateLimited, SideError
from sync.models import SideState
from webhooks import clock

log = logging.getLogger("orderbridge.sides")

SUCCESS_EVERY = timedelta(seconds=5)
DEFAULT_WAIT = 5.0
"""Seconds to wait after a 429 that does not say how long, or 0, or a time that is over by our clock."""


def probe_interval() -> timedelta:
    return timedelta(seconds=min(30.0, settings.RETRY_MAX_SECONDS))


def record_success(names: Collection[str], now: datetime) -> None:
    """Good answers came. Written at most every few seconds while all is well: no row is hot."""
    is_silent = Q(last_heard_at=None) | Q(last_heard_at__lt=now - SUCCESS_EVERY)
    is_news = is_silent | Q(failures__gt=0) | Q(opened_at__isnull=False)
    for side in SideState.objects.filter(is_news, name__in=names):
        if side.opened_at:
            log.warning("breaker closed", extra={"side": side.name})
        SideState.objects.filter(pk=side.pk).update(
            failures=0, opened_at=None, probe_at=None, last_heard_at=now, last_error=""
        )


def record_failure(error: SideError, now: datetime, name: str = "") -> bool:
    """Count a failure of a whole side: of the connection of this slug, or else the environment's. True: its breaker is
    open, so the event is not to blame."""
    name = name or error.side
    last_error = told(str(error), name)[:2000]
    if isinstance(error, RateLimited):
        # No attempt is used up, so that to ask again at once would be for ever.
        until = now + timedelta(seconds=error.after or DEFAULT_WAIT)
        SideState.objects.filter(pk=name).exclude(wait_until__gt=until).update(wait_until=until, last_error=last_error)
        return True
    if not error.outage:
        return False
    SideState.objects.filter(pk=name).update(failures=F("failures") + 1, last_error=last_error)
    enough = 1 if isinstance(error, Maintenance) else settings.BREAKER_THRESHOLD
    newly_open = SideState.objects.filter(pk=name, failures__gte=enough, opened_at__isnull=True).update(
        opened_at=now, probe_at=now + min(probe_interval(), timedelta(seconds=settings.RETRY_BASE_SECONDS))
    )
    if newly_open:
        log.error("breaker opened", extra={"side": name, "error": str(error)})
    return SideState.objects.filter(pk=name, opened_at__isnull=False).exists()


def allows_calls(now: datetime, pings: Mapping[str, Callable[[], None]], *, only: str = "") -> bool:
    """True: work may be taken on a bridge whose sides these are, by the slugs of their connections. Both directions
    need both, so one open breaker stops both. `only`: what asks one side alone, as half a reconcile does.

    An open breaker lets one worker of all probe the side by a ping: a single bad order can then neither keep it open
    nor be the one that every probe falls on (docs/decisions/0006).
    """
    if not installation.may_call():
        return False
    allowed = True
    troubled = SideState.objects.filter(Q(paused=True) | Q(wait_until__gt=now) | Q(opened_at__isnull=False))
    for side in troubled.filter(name__in=[only] if only else [*pings]):
        held = side.paused or (side.wait_until and side.wait_until > now)
        allowed = not held and _probe(side, now, pings[side.name]) and allowed
    return allowed


def _probe(side: SideState, now: datetime, ping: Callable[[], None]) -> bool:
    mine = SideState.objects.filter(pk=side.pk, opened_at__isnull=False, probe_at__lte=now)
    if not mine.update(probe_at=now + probe_interval()):
        return False
    try:
        ping()
    except RateLimited as error:
        record_failure(error, clock.now(), side.name)
        return False
    except SideError as error:
        SideState.objects.filter(pk=side.pk).update(last_error=told(str(error), side.pk)[:2000])
        return False
    record_success([side.name], clock.now())
    return True
