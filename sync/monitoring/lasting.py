"""What needs a person because it lasts: items that nobody takes, a side that stays away, runs that fail, a backlog."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import Min

from sync import alarms
from sync.models import Condition, DriftFinding, Run, Severity, SideState, TodoItem
from sync.registry import JOBS, Job
from webhooks import clock
from webhooks.backoffice.bridges import are_several
from webhooks.connections import Bridge, Connection
from webhooks.masking import masked_text
from webhooks.models import SENDERS, RefusedDelivery, Side, WebhookEvent
from webhooks.moments import until

COUNTED_UP_TO = 1000
WATCHED_EVERY = timedelta(minutes=5)
USED_UP = timedelta(hours=1)
"""Longer than a 429 makes us wait: the limit of a day or of a month is used up."""
URGENT = (TodoItem.Cause.DEAD, TodoItem.Cause.PAID)
SWEPT = "reconcile"
"""Its failures are told by the alarm about the side whose sweep does not end."""
REFUSED = 5
"""Wrongly signed deliveries of one sender within an hour, and none that was right: a stranger, or a changed secret."""
ADVICE = {
    TodoItem.Cause.PARKED: "Open the list, fix what each event names, and replay it.",
    TodoItem.Cause.CHOICE: "Open the list, and choose the customer of each order. The choice is remembered.",
    TodoItem.Cause.DEAD: "All attempts are used up. Fix what each event names, then replay it.",
    TodoItem.Cause.REFUSED: "Correct the status in the CRM, or force the move on the order's page.",
    TodoItem.Cause.PAID: "The CRM holds money for orders that the shop has cancelled: refund them there.",
    TodoItem.Cause.LOST: "Restore the orders in the CRM, or create them again on their pages.",
}


def on_schedule() -> None:
    now = clock.now()
    sides = {side.pk: side for side in SideState.objects.in_use()}
    for bridge in Bridge.objects.with_connections().filter(archived_at=None):
        _todo(bridge, now)
        _drift(bridge, now)
        _backlog(bridge, sides, now)
        _paused(bridge, now)
    for alarm in alarms.open_alarms().filter(bridge__archived_at__isnull=False):
        alarms.clear(alarm.key, bridge=alarm.bridge_id)
    for side in SideState.objects.all():
        _side(side, now, is_used=side.pk in sides)
    _runs()
    for connection in Connection.objects.filter(archived_at=None):
        _refusals(connection, now)


def lasts(key: str, is_so: bool, now: datetime) -> timedelta:
    """For how long it has been so each time we looked; zero: it is not."""
    if not is_so:
        Condition.objects.filter(key=key).delete()
        return timedelta()
    known, _ = Condition.objects.get_or_create(key=key, defaults={"since": now})
    return now - known.since


def raise_or_clear(
    key: str,
    is_so: bool,
    words: str,
    advice: str,
    severity: Severity = Severity.WARNING,
    *,
    bridge: int | None = None,
) -> None:
    if is_so:
        alarms.raise_alarm(key, words, advice, severity, bridge=bridge)
    else:
        alarms.clear(key, bridge=bridge)


def _todo(bridge: Bridge, now: datetime) -> None:
    """Of what was snoozed, a person knows."""
    for cause in TodoItem.Cause:
        hours = settings.ALARM_URGENT_HOURS if cause in URGENT else settings.ALARM_TODO_HOURS
        old = TodoItem.objects.open(now).filter(bridge=bridge, cause=cause, opened_at__lt=now - timedelta(hours=hours))
        number = old.order_by()[:COUNTED_UP_TO].count()
        raise_or_clear(
            f"todo:{cause}",
            number > 0,
            f"To do, for more than {_hours(hours)}: {_orders(number)}. {cause.label}.",
            f"{ADVICE[cause]} The list is at /admin/sync/todoitem/?cause__exact={cause}{_of(bridge, '&')}. Snooze what "
            "can wait.",
            Severity.CRITICAL if cause == TodoItem.Cause.PAID else Severity.WARNING,
            bridge=bridge.pk,
        )


def _of(bridge: Bridge, begins: str) -> str:
    """In the address of a list, where there are several."""
    return f"{begins}bridge={bridge.pk}" if are_several() else ""


def _drift(bridge: Bridge, now: datetime) -> None:
    before = now - timedelta(hours=settings.ALARM_TODO_HOURS)
    old = DriftFinding.objects.open(now).filter(bridge=bridge, found_at__lt=before)
    number = old.order_by()[:COUNTED_UP_TO].count()
    raise_or_clear(
        "drift",
        number > 0,
        f"{_orders(number)} {'differs' if number == 1 else 'differ'} between the two sides for more than "
        f"{_hours(settings.ALARM_TODO_HOURS)}.",
        f"Repair or ignore them at /admin/sync/driftfinding/{_of(bridge, '?')}.",
        bridge=bridge.pk,
    )


def _backlog(bridge: Bridge, sides: Mapping[str, SideState], now: datetime) -> None:
    """Where a side is away or paused, that is what people are told."""
    due = WebhookEvent.objects.due(now, bridge.pk) if bridge.is_on else WebhookEvent.objects.none()
    oldest = due.aggregate(at=Min("next_attempt_at"))["at"]
    waits = now - oldest if oldest else timedelta()
    own = [sides[slug] for side in Side if (slug := bridge.slug_of(side)) in sides]
    held = any(side.paused or side.opened_at or _asked_lately(side, now) for side in own)
    raise_or_clear(
        "backlog",
        not held and waits > timedelta(minutes=settings.ALARM_AWAY_MINUTES),
        f"Events have waited for {waits // timedelta(minutes=1)} minutes, although both sides answer.",
        "Look whether all workers live (/admin/sync/heartbeat/), and at what they log. More of them: docs/scaling.md.",
        Severity.CRITICAL,
        bridge=bridge.pk,
    )


def _paused(bridge: Bridge, now: datetime) -> None:
    paused = lasts(f"paused:bridge:{bridge.pk}", bridge.state == Bridge.State.PAUSED, now)
    raise_or_clear(
        "paused",
        paused > timedelta(hours=settings.ALARM_PAUSED_HOURS),
        f"The bridge {bridge} has been paused by staff for {paused // timedelta(hours=1)} hours. Events wait.",
        f"Press Switch on at /admin/webhooks/bridge/{bridge.pk}/change/. The audit says who paused it, and why.",
        bridge=bridge.pk,
    )


def _side(side: SideState, now: datetime, *, is_used: bool) -> None:
    name = side.label
    away = now - side.opened_at if side.opened_at and is_used else timedelta()
    short = timedelta(minutes=settings.ALARM_AWAY_MINUTES)
    raise_or_clear(
        f"away:{side.pk}",
        away > short,
        f"{name} has been unavailable for {away // timedelta(minutes=1)} minutes: {masked_text(side.last_error)}",
        "Nothing is lost. Events wait and are processed once it answers. `doctor` says what is in the way.",
        Severity.CRITICAL,
    )
    limited = lasts(f"limited:{side.pk}", is_used and _asked_lately(side, now), now)
    used_up = is_used and side.wait_until is not None and side.wait_until - now > USED_UP
    words = f"{name} has asked us to slow down (429) again and again for {limited // timedelta(minutes=1)} minutes."
    if used_up and side.wait_until:
        words = f"{name} lets nothing through until {until(side.wait_until, now)}: {masked_text(side.last_error)}"
    raise_or_clear(
        f"limited:{side.pk}",
        limited > short or used_up,
        words,
        "Events are late, and none is lost. Raise the limit there, or stop long runs and give them a speed limit.",
    )
    paused = lasts(f"paused:{side.pk}", is_used and side.paused, now)
    raise_or_clear(
        f"paused:{side.pk}",
        paused > timedelta(hours=settings.ALARM_PAUSED_HOURS),
        f"{name} has been paused by staff for {paused // timedelta(hours=1)} hours. Events wait.",
        "Press Resume on its page under Sides. The audit says who paused it, and why.",
    )


def _asked_lately(side: SideState, now: datetime) -> bool:
    return side.wait_until is not None and side.wait_until > now - WATCHED_EVERY


def _runs() -> None:
    """What runs by the clock, and whose last run failed. Other runs are watched by who started them."""
    for job in JOBS.values():
        if job.kind == SWEPT or not job.schedules():
            continue
        by_bridge = any(one.by_bridge for one in job.schedules())
        for bridge in Bridge.objects.values_list("pk", flat=True) if by_bridge else (None,):
            _run(job, bridge)


def _run(job: Job, bridge: int | None) -> None:
    about = {"bridge__isnull": True} if bridge is None else {"bridge": bridge}
    ended = Run.objects.filter(kind=job.kind, actor="", **about)
    last = ended.exclude(state__in=(Run.State.RUNNING, Run.State.PAUSED)).order_by("-pk").first()
    failed = last is not None and last.state == Run.State.FAILED
    raise_or_clear(
        f"run:{job.kind}",
        failed,
        f"{job.label}: the last scheduled run failed. {masked_text(last.error) if last else ''}",
        f"See /admin/sync/run/{last.pk if last else ''}/change/. Resume it there once the cause is mended.",
        bridge=bridge,
    )


def _refusals(connection: Connection, now: datetime) -> None:
    """That of the environment goes by the name of its sender, as before there were others."""
    hour, source = now - timedelta(hours=1), SENDERS[connection.side]
    of = (connection.slug, "") if connection.is_environment else (connection.slug,)
    wrong = RefusedDelivery.objects.filter(
        source=source, connection__in=of, received_at__gte=hour, reason="bad_signature"
    )
    number = wrong[:COUNTED_UP_TO].count()
    bridges = Bridge.objects.filter(**{connection.side: connection}).values("pk")
    came = WebhookEvent.objects.filter(bridge__in=bridges, source=source, received_at__gte=hour)
    raise_or_clear(
        f"refused:{source if connection.is_environment else connection.slug}",
        number >= REFUSED and not came.exists(),
        f"{number} deliveries of {source if connection.is_environment else connection} had a wrong signature within an "
        "hour, and none a right one.",
        "Compare the webhook secrets of both ends: `doctor`. If they agree, strangers are knocking.",
    )


def _orders(number: int) -> str:
    many = f"{COUNTED_UP_TO} or more" if number >= COUNTED_UP_TO else str(number)
    return f"{many} order{'' if number == 1 else 's'}"


def _hours(number: int) -> str:
    return "an hour" if number == 1 else f"{number} hours"
