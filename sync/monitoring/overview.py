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
from webhooks.connections import Bridge
from webhooks.masking import masked_row
from webhooks.models import DELIVERED, EFFECTS, Side, State, WebhookEvent

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
class BridgeSummary:
    """How one of several is doing."""

    bridge: Bridge
    sides: tuple[SideState, ...]
    last_received: datetime | None
    oldest_due: datetime | None
    todo: int
    drift: int


@dataclass(frozen=True, kw_only=True)
class Hour:
    """One bar of the charts. Latency is the median in seconds from received to finished; None: nothing finished."""

    start: datetime
    received: int
    effects: int
    failed: int
    latency: float | None


def status_summary(now: datetime, bridge: Bridge | None = None) -> StatusSummary:
    """Of one bridge; without one, of all."""
    beats = Heartbeat.objects.aggregate(last=Max("at"), alive=Count("pk", filter=Q(at__gte=now - ALIVE)))
    of, pk = _of(bridge), bridge.pk if bridge else None
    of_it_or_none = of | Q(bridge=None) if bridge else of
    events, sides = WebhookEvent.objects.filter(of), SideState.objects.in_use().order_by("-name")
    return StatusSummary(
        sides=tuple(
            masked_row(side)
            for side in sides
            if bridge is None or side.name in (bridge.slug_of(Side.SHOP), bridge.slug_of(Side.CRM))
        ),
        last_received=_by_source({key: at for key, at in _last_received().items() if pk in (None, key[0])}),
        oldest_due=WebhookEvent.objects.due(now, pk).aggregate(at=Min("next_attempt_at"))["at"],
        retrying=_up_to_many(events.filter(state=State.RETRYING)),
        todo=_up_to_many(TodoItem.objects.open(now).filter(of)),
        choices=_up_to_many(TodoItem.objects.open(now).filter(of, cause=TodoItem.Cause.CHOICE)),
        parked=_up_to_many(events.filter(state=State.PARKED)),
        dead=_up_to_many(events.filter(state=State.DEAD)),
        drift=_up_to_many(DriftFinding.objects.open(now).filter(of)),
        workers=beats["alive"],
        last_beat=beats["last"],
        alarms=tuple(map(masked_row, open_alarms().filter(of_it_or_none))),
        runs=tuple(map(masked_row, Run.objects.filter(of_it_or_none, state=Run.State.RUNNING)[:TROUBLE])),
    )


def _by_source(received: dict[tuple[int, str], datetime]) -> dict[str, datetime]:
    newest: dict[str, datetime] = {}
    for (_, source), at in received.items():
        newest[source] = max(at, newest.get(source, at))
    return newest


def _of(bridge: Bridge | None, path: str = "bridge") -> Q:
    return Q(**{path: bridge}) if bridge else Q()


def each_bridge(now: datetime) -> list[BridgeSummary]:
    """Those in use, with as many statements for ten as for two."""
    items, drift = TodoItem.objects.open(now), DriftFinding.objects.open(now)
    todo, differ = (dict(rows.order_by().values_list("bridge").annotate(n=Count("pk"))) for rows in (items, drift))
    due = WebhookEvent.objects.due(now).order_by().values_list("bridge")
    oldest, received = dict(due.annotate(at=Min("next_attempt_at"))), _last_received()
    sides = {side.name: masked_row(side) for side in SideState.objects.all()}
    return [
        BridgeSummary(
            bridge=bridge,
            sides=tuple(sides[slug] for side in Side if (slug := bridge.slug_of(side)) in sides),
            last_received=max((at for (of, _), at in received.items() if of == bridge.pk), default=None),
            oldest_due=oldest.get(bridge.pk),
            todo=todo.get(bridge.pk, 0),
            drift=differ.get(bridge.pk, 0),
        )
        for bridge in Bridge.objects.with_connections().filter(archived_at=None)
    ]


def hours(now: datetime, bridge: Bridge | None = None) -> list[Hour]:
    """The last day, hour by hour; of a busy shop that is a look at many rows, hence once a minute."""
    key = f"overview:hours:{bridge.pk}" if bridge else "overview:hours"
    return cache.get_or_set(key, lambda: list(_hours(now, bridge)), CHART_SECONDS) or []


def todo(now: datetime, bridge: Bridge | None = None) -> list[TodoItem]:
    """What has waited longest."""
    return list(TodoItem.objects.open(now).filter(_of(bridge)).order_by("opened_at", "pk")[:TROUBLE])


def latest_transitions(bridge: Bridge | None = None) -> list[StatusTransition]:
    rows = StatusTransition.objects.filter(_of(bridge, "link__bridge")).select_related("link")
    return [masked_row(one) for one in rows.order_by("-id")[:TROUBLE]]


def _last_received() -> dict[tuple[int, str], datetime]:
    """By bridge and source, as far as the latest events tell."""
    latest = WebhookEvent.objects.order_by("-id").values_list("bridge", "source", "received_at")[:LATEST_EVENTS]
    newest: dict[tuple[int, str], datetime] = {}
    for bridge, source, at in latest:
        newest.setdefault((bridge, source), at)
    return newest


def _up_to_many(rows: QuerySet) -> int:
    return rows.order_by()[:COUNTED_UP_TO].count()


def _hours(now: datetime, bridge: Bridge | None = None) -> Iterator[Hour]:
    last = now.replace(minute=0, second=0, microsecond=0)
    for back in reversed(range(HOURS)):
        start = last - timedelta(hours=back)
        end = start + timedelta(hours=1)
        events = WebhookEvent.objects.filter(_of(bridge), received_at__gte=start, received_at__lt=end)
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
