"""Is everything all right? The figures of the home page, each from an index and bounded."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median

from django.core.cache import cache
from django.db.models import Count, Max, Min, Q, QuerySet

from orders.models import StatusTransition
from sync.alarms import open_alarms
from sync.models import Alarm, DriftFinding, Heartbeat, Run, SideState, TodoItem
from webhooks.masking import masked_row
from webhooks.models import DELIVERED, EFFECTS, State, WebhookEvent

COUNTED_UP_TO = 1000
"""Counting stops here: a number beyond it tells nobody more."""
LATEST_EVENTS = 2000
ALIVE = timedelta(minutes=3)
HOURS = 24
LATENCY_SAMPLE = 100
"""Events of an hour whose latency is looked at."""
CHART_SECONDS = 60
TROUBLE = 5


@dataclass(frozen=True, kw_only=True)
class StatusSummary:
    """What is so at this moment."""

    sides: tuple[SideState, ...]
    last_received: dict[str, datetime]
    oldest_due: datetime | None
    retrying: int
    todo: int
    choices: int
    "Orders that wait until somebody chooses their customer."
    parked: int
    dead: int
    drift: int
    workers: int
    last_beat: datetime | None
    alarms: tuple[Alarm, ...]
    runs: tuple[Run, ...]
    "Those at work."


@dataclass(frozen=True, kw_only=True)
class Hour:
    """One bar of the charts. Latency is the median in seconds from received to finished; None: nothing finished."""

    start: datetime
    received: int
    effects: int
    failed: int
    latency: float | None


def status_summary(now: datetime) -> StatusSummary:
    beats = Heartbeat.objects.aggregate(last=Max("at"), alive=Count("pk", filter=Q(at__gte=now - ALIVE)))
    return StatusSummary(
        sides=tuple(map(masked_row, SideState.objects.order_by("-name"))),
        last_received=_last_received(),
        oldest_due=WebhookEvent.objects.due(now).aggregate(at=Min("next_attempt_at"))["at"],
        retrying=_up_to_many(WebhookEvent.objects.filter(state=State.RETRYING)),
        todo=_up_to_many(TodoItem.objects.open(now)),
        choices=_up_to_many(TodoItem.objects.open(now).filter(cause=TodoItem.Cause.CHOICE)),
        parked=_up_to_many(WebhookEvent.objects.filter(state=State.PARKED)),
        dead=_up_to_many(WebhookEvent.objects.filter(state=State.DEAD)),
        drift=_up_to_many(DriftFinding.objects.open(now)),
        workers=beats["alive"],
        last_beat=beats["last"],
        alarms=tuple(map(masked_row, open_alarms())),
        runs=tuple(map(masked_row, Run.objects.filter(state=Run.State.RUNNING)[:TROUBLE])),
    )


def hours(now: datetime) -> list[Hour]:
    """The last day, hour by hour; of a busy shop that is a look at many rows, hence once a minute."""
    return cache.get_or_set("overview:hours", lambda: list(_hours(now)), CHART_SECONDS) or []


def todo(now: datetime) -> list[TodoItem]:
    """What has waited longest."""
    return list(TodoItem.objects.open(now).order_by("opened_at", "pk")[:TROUBLE])


def latest_transitions() -> list[StatusTransition]:
    return [masked_row(one) for one in StatusTransition.objects.select_related("link").order_by("-id")[:TROUBLE]]


def _last_received() -> dict[str, datetime]:
    """By source, as far as the latest events tell."""
    latest = WebhookEvent.objects.order_by("-id").values_list("source", "received_at")[:LATEST_EVENTS]
    newest: dict[str, datetime] = {}
    for source, at in latest:
        newest.setdefault(source, at)
    return newest


def _up_to_many(rows: QuerySet) -> int:
    return rows.order_by()[:COUNTED_UP_TO].count()


def _hours(now: datetime) -> Iterator[Hour]:
    last = now.replace(minute=0, second=0, microsecond=0)
    for back in reversed(range(HOURS)):
        start = last - timedelta(hours=back)
        events = WebhookEvent.objects.filter(received_at__gte=start, received_at__lt=start + timedelta(hours=1))
        counts = events.aggregate(
            received=Count("pk", filter=Q(source__in=DELIVERED)),
            effects=Count("pk", filter=Q(outcome__in=EFFECTS)),
            failed=Count("pk", filter=Q(state__in=(State.PARKED, State.DEAD))),
        )
        yield Hour(start=start, latency=_latency(events), **counts)


def _latency(events: QuerySet[WebhookEvent]) -> float | None:
    finished = events.filter(state=State.DONE, trigger="delivery").order_by("-received_at")
    times = finished.values_list("received_at", "finished_at")[:LATENCY_SAMPLE]
    seconds = [(done - came).total_seconds() for came, done in times if done]
    return median(seconds) if seconds else None
