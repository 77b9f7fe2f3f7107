"""A CRM that tells us nothing by itself may be asked what changed more often than reconcile asks (`poll_seconds`).

One worker of all hosts asks, by one list for all bridges of the connection, and goes on where reconcile's cursor
stands. What it cannot read, it leaves to reconcile.
"""

import logging
import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from django.db import transaction

from sync.clients import breaker
from sync.clients.bridged import crm_of, pings_of
from sync.clients.errors import NotConfigured, SideError
from sync.clients.paging.crm_changes import CrmPaginator
from sync.clients.snapshots import CrmSnapshot
from sync.jobs.cursors import OVERLAP, TOLERANCE, Clock, Cursor, known_cursor
from sync.jobs.missed import missed_in_crm
from sync.models import SideState
from sync.queue import polls, shutdown
from webhooks import clock
from webhooks.connections import Bridge
from webhooks.wake import wake

log = logging.getLogger("orderbridge.runs")

BUDGET = 10.0
"""Seconds for all pages of one poll; the next one goes on behind them."""


def poll() -> None:
    """Each connection whose turn it is."""
    for slug, seconds in polls.wanted().items():
        if not shutdown.asked.is_set():
            with polls.turn(slug, seconds) as is_ours:
                if is_ours:
                    _poll_alone(slug)


def _poll_alone(slug: str) -> None:
    """What is wrong with one connection, as credentials that nobody can decrypt, keeps no other from its turn."""
    try:
        _poll(slug)
    except Exception:
        log.exception("the CRM could not be asked what changed", extra={"connection": slug})


def _poll(slug: str) -> None:
    bridges = [one for one in Bridge.objects.on().filter(crm__slug=slug) if _may_work(one)]
    side = SideState.objects.get(name=slug)
    known = {bridge: known_cursor(side, bridge.crm_config.url, bridge.pk) for bridge in bridges}
    begun = {bridge: at for bridge, at in known.items() if at}  # the first look far back is reconcile's
    try:
        if begun and breaker.allows_calls(clock.now(), pings_of(next(iter(begun))), only=slug):
            _read(side, begun)
            breaker.record_success([slug], clock.now())
    except NotConfigured:
        return
    except SideError as error:
        breaker.record_failure(error, clock.now(), slug)


def _may_work(bridge: Bridge) -> bool:
    """Where staff paused a side, they want no work to be done."""
    return not SideState.objects.filter(name__in=pings_of(bridge), paused=True).exists()


def _read(side: SideState, begun: Mapping[Bridge, datetime]) -> None:
    """Raises SideError."""
    first, theirs = next(iter(begun)), Clock()
    told = first.crm_config
    paginator = CrmPaginator(
        crm_of(first, on_call=theirs), min(begun.values()) - OVERLAP - timedelta(seconds=told.list_lag)
    )
    until = time.monotonic() + BUDGET
    while not (paginator.ended or paginator.gap or shutdown.asked.is_set() or time.monotonic() > until):
        began = clock.now()
        batch = paginator.next()
        if paginator.since > theirs.now() + TOLERANCE:
            return  # by a clock of theirs that was ahead: reconcile begins anew
        _keep(side, list(begun), batch, began, Cursor(paginator.since, now=theirs.now(), url=told.url))


def _keep(
    side: SideState, bridges: Sequence[Bridge], batch: Sequence[CrmSnapshot], began: datetime, up_to: Cursor
) -> None:
    new = False
    for bridge in bridges:
        with transaction.atomic():
            posted = [one.post() for one in missed_in_crm(batch, began, bridge, up_to.now)]
            up_to.store(side, bridge.pk)
        new = new or any(posted)
    if new:
        wake()
