"""A side that is quiet longer than usual: an idle night, or webhooks that no longer reach us?

What is usual is learnt from the inbox: how many deliveries the same stretch of the week brought in the weeks before.
Whether there was anything to tell is known from `reconcile`, which asks both sides themselves.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median
from typing import Literal

from django.conf import settings

from sync import alarms
from sync.models import SideState
from sync.pipeline.internal_events import SWEEP
from webhooks import clock
from webhooks.connections import Bridge
from webhooks.models import SENDERS, Side, WebhookEvent

WEEK, DAY = timedelta(days=7), timedelta(days=1)
WEEKS, DAYS = 8, 6
USUAL_NUMBER = 5
"""Deliveries that a stretch usually brings before its silence is no chance: with 5 expected, none come once in 150."""
DELIVERIES_COUNTED = 100
"""More than so many need not be counted."""

SHORTEST = timedelta(minutes=15)
"""A shorter silence is none, however busy the side: its queue may be late (FACTS C)."""

Silence = Literal["usual", "idle", "dead"]


@dataclass(frozen=True, kw_only=True)
class Quiet:
    """How long a side is silent, how many deliveries the same stretches before brought, and what was missed in it."""

    long: timedelta
    before: Sequence[int]
    missed: int
    asked: bool = True
    "Reconcile could ask the side itself of late."


def judge_silence(quiet: Quiet) -> Silence:
    """`idle`: quiet, and it had nothing to tell. The median, so that one busy week is not what is usual."""
    if quiet.long < SHORTEST or not quiet.before or median(quiet.before) < USUAL_NUMBER:
        return "usual"
    return "dead" if quiet.missed or not quiet.asked else "idle"


def on_schedule() -> None:
    now = clock.now()
    for bridge in Bridge.objects.on():
        for side, source in SENDERS.items():
            quiet = listen(side, source, now, bridge)
            if quiet is not None and judge_silence(quiet) == "dead":
                _raise(side, quiet, bridge)
            else:
                alarms.clear(f"silence:{side}", bridge=bridge.pk)


def listen(side: str, source: str, now: datetime, bridge: Bridge) -> Quiet | None:
    """None: nothing ever came, or not for weeks, so that nothing is usual."""
    of_bridge = WebhookEvent.objects.filter(bridge=bridge)
    came = of_bridge.filter(source=source, received_at__gte=now - WEEKS * WEEK, received_at__lte=now)
    times = came.values_list("received_at", flat=True)
    first, last = times.order_by("received_at").first(), times.order_by("-received_at").first()
    if first is None or last is None:
        return None
    return Quiet(
        long=now - last,
        before=[
            came.filter(received_at__gt=start, received_at__lte=end)[:DELIVERIES_COUNTED].count()
            for start, end in stretches(first, last, now)
        ],
        missed=of_bridge.filter(source=SWEEP, side=side, received_at__gt=last)[:DELIVERIES_COUNTED].count(),
        asked=SideState.objects.filter(
            name=bridge.slug_of(side), swept_at__gte=now - max(SHORTEST, 3 * _round())
        ).exists(),
    )


def _round() -> timedelta:
    return timedelta(minutes=settings.RECONCILE_MINUTES)


def stretches(first: datetime, last: datetime, now: datetime) -> list[tuple[datetime, datetime]]:
    """The silence from `last` to `now`, moved back by weeks; by days while less than a week is known."""
    step, most = (WEEK, WEEKS) if now - first > WEEK else (DAY, DAYS)
    moved = [(last - n * step, now - n * step) for n in range(1, most + 1)]
    return [(start, end) for start, end in moved if first <= start and end <= last]


def _raise(side: str, quiet: Quiet, bridge: Bridge) -> None:
    name = Side(side).label
    found = f"found {quiet.missed} change(s) that should have been delivered" if quiet.asked else "could not ask it"
    where = "run `shop_webhooks check`" if side == Side.SHOP else "look at its webhooks in the CRM"
    alarms.raise_alarm(
        f"silence:{side}",
        f"{name}: there was no delivery for {quiet.long // timedelta(minutes=1)} minutes. Usually there are "
        f"{median(quiet.before):g} in this time. Reconcile {found}.",
        f"To see why nothing arrives, {where}. Reconcile fetches the changes; `doctor` shows what is in the way.",
        bridge=bridge.pk,
    )
