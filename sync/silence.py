"""A side that is quiet longer than usual: an idle night, or webhooks that no longer reach us?

What is usual is learnt from the inbox: how many deliveries the same stretch of the week brought in the weeks before.
Whether there was anything to tell is known from `reconcile`, which asks both sides themselves.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median
from typing import Literal

from django.utils import timezone

from sync import alarms
from sync.own_events import SWEEP
from webhooks.models import Side, WebhookEvent

WEEK, DAY = timedelta(days=7), timedelta(days=1)
WEEKS, DAYS = 8, 6
MANY = 5
"""Deliveries that a stretch usually brings before its silence is no chance: with 5 expected, none come once in 150."""
ENOUGH = 100
"""More than so many need not be counted."""
SENDERS = {Side.SHOP: "woocommerce", Side.CRM: "crm"}

Verdict = Literal["usual", "idle", "dead"]


@dataclass(frozen=True, kw_only=True)
class Quiet:
    """Since when a side is silent, how many deliveries the same stretches before brought, and what was missed."""

    since: datetime
    before: Sequence[int]
    missed: int


def judge(quiet: Quiet) -> Verdict:
    """`idle`: quiet, and it had nothing to tell. The median, so that one busy week is not what is usual."""
    if not quiet.before or median(quiet.before) < MANY:
        return "usual"
    return "dead" if quiet.missed else "idle"


def on_schedule() -> None:
    now = timezone.now()
    for side, source in SENDERS.items():
        quiet = listen(side, source, now)
        if quiet is not None and judge(quiet) == "dead":
            _raise(side, quiet, now)
        else:
            alarms.clear(f"silence:{side}")


def listen(side: str, source: str, now: datetime) -> Quiet | None:
    """None: nothing ever came, or not for weeks, so that nothing is usual."""
    came = WebhookEvent.objects.filter(source=source, received_at__gte=now - WEEKS * WEEK, received_at__lte=now)
    times = came.values_list("received_at", flat=True)
    first, last = times.order_by("received_at").first(), times.order_by("-received_at").first()
    if first is None or last is None:
        return None
    return Quiet(
        since=last,
        before=[
            came.filter(received_at__gt=start, received_at__lte=end)[:ENOUGH].count()
            for start, end in stretches(first, last, now)
        ],
        missed=WebhookEvent.objects.filter(source=SWEEP, side=side, received_at__gt=last)[:ENOUGH].count(),
    )


def stretches(first: datetime, last: datetime, now: datetime) -> list[tuple[datetime, datetime]]:
    """The silence from `last` to `now`, moved back by weeks; by days while less than a week is known."""
    step, most = (WEEK, WEEKS) if now - first > WEEK else (DAY, DAYS)
    moved = [(last - n * step, now - n * step) for n in range(1, most + 1)]
    return [(start, end) for start, end in moved if first <= start and end <= last]


def _raise(side: str, quiet: Quiet, now: datetime) -> None:
    minutes = round((now - quiet.since).total_seconds() / 60)
    name = Side(side).label
    alarms.raise_alarm(
        f"silence:{side}",
        f"{name}: no delivery for {minutes} minutes, where there usually are {median(quiet.before):g}. Reconcile found "
        f"{quiet.missed} change(s) meanwhile that should have been told.",
        "Nothing is lost: reconcile fetches what changes. See why the webhooks do not arrive: `shop_webhooks check`."
        if side == Side.SHOP
        else "Nothing is lost: reconcile fetches what changes. See in the CRM why its webhooks do not arrive here.",
    )
