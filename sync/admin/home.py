"""Is everything all right? The line of truth, banners with the button that mends, and the last day in two charts."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings
from django.contrib.humanize.templatetags.humanize import naturaltime
from django.http import HttpRequest
from django.urls import reverse

from sync.admin.charts import OPTIONS, series
from sync.admin.runs import how_far
from sync.clients import installation
from sync.jobs import reconciliation
from sync.models import Alarm, Run, SideState, TodoItem
from sync.monitoring import overview
from sync.monitoring.overview import COUNTED_UP_TO, BridgeSummary, StatusSummary
from webhooks import clock
from webhooks.backoffice.bridges import are_several, choice_of, chosen_bridge, name_of
from webhooks.backoffice.display import coded
from webhooks.connections import DEFAULT_BRIDGE, sender
from webhooks.masking import masked_text
from webhooks.models import SENDERS, Bridge, Connection, Side, State
from webhooks.moments import until

GOOD, WATCH, BAD = "good", "watch", "bad"
LATE_SECONDS = 60


@dataclass(frozen=True, kw_only=True)
class SummaryItem:
    """One item of the line: what, how it is, and where to look."""

    label: str
    value: str
    level: str
    link: str
    icon: str


@dataclass(frozen=True, kw_only=True)
class Banner:
    """Something that needs a person, with the button that mends it where there is one."""

    words: str
    advice: str
    button: str = ""
    link: str = ""


def dashboard(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Unfold's DASHBOARD_CALLBACK. Whoever may not see events sees the list of pages only."""
    if not request.user.has_perm("webhooks.view_webhookevent"):
        return context
    now, several = clock.now(), are_several()
    bridge = chosen_bridge(request) if several and request.GET.get("bridge") else None
    seen = overview.status_summary(now, bridge)
    return {
        **context,
        "bridges": choice_of(bridge),
        "bridge": bridge,
        "all": True,
        "each_bridge": [_row(one, now) for one in overview.each_bridge(now)] if several and bridge is None else [],
        "first_steps": first_steps(request.user.has_perm),
        "summary": list(summary_items(seen, now, bridge)),
        "banners": list(banners(seen, now, request.user.has_perm)),
        "running": [(run, how_far(run)) for run in seen.runs] if request.user.has_perm("sync.view_run") else [],
        "charts": charts(overview.hours(now, bridge)),
        "todo": [(item, masked_text(item.words)) for item in overview.todo(now, bridge)],
        "transitions": overview.latest_transitions(bridge),
    }


def first_steps(may: Callable[[str], bool]) -> list[tuple[str, bool, str]]:
    """With no bridge that could work yet: what is to be done, whether it is done, and where. Else nothing."""
    if any(bridge.shop.is_set and bridge.crm and bridge.crm.is_set for bridge in Bridge.objects.on()):
        return []
    there = [one for one in Connection.objects.filter(archived_at=None) if one.is_set]
    draft = Bridge.objects.filter(archived_at=None).exclude(pk=DEFAULT_BRIDGE).order_by("-pk").first()
    bridge = reverse("admin:webhooks_bridge_change", args=[draft.pk]) if draft else reverse("admin:webhooks_bridge_new")
    steps = [
        ("Add a shop", any(one.side == Side.SHOP for one in there), reverse("admin:webhooks_connection_add_shop")),
        ("Add a CRM", any(one.side == Side.CRM for one in there), reverse("admin:webhooks_connection_choose_crm")),
        ("Bridge them", False, bridge),
    ]
    return steps if may("webhooks.edit_credentials") else [(words, done, "") for words, done, _ in steps]


def _row(one: BridgeSummary, now: datetime) -> dict[str, Any]:
    """Of the table of bridges."""
    waits = (now - one.oldest_due).total_seconds() if one.oldest_due else 0.0
    return {
        "bridge": one.bridge,
        "page": reverse("admin:webhooks_bridge_change", args=[one.bridge.pk]),
        "standing": one.bridge.get_state_display(),
        "sides": [(side.label, *_condition(side, now)) for side in one.sides],
        "heard": str(naturaltime(one.last_received)) if one.last_received else "none recently",
        "waits": f"{waits:.0f} s" if waits >= 1 else "none",
        "late": waits >= LATE_SECONDS,
        "todo": one.todo,
        "drift": one.drift,
    }


def summary_items(seen: StatusSummary, now: datetime, bridge: Bridge | None = None) -> Iterator[SummaryItem]:
    """Of one bridge; without one, of all."""
    events, sides = reverse("admin:webhooks_webhookevent_changelist"), reverse("admin:sync_sidestate_changelist")
    of = f"&bridge={bridge.pk}" if bridge else ""
    for side in seen.sides:
        told_by = Side.SHOP if bridge and side.name == bridge.slug_of(Side.SHOP) else Side.CRM if bridge else side.name
        if told_by in Side.values:
            yield _heard(side, Side(told_by), seen, f"{events}?source={SENDERS[Side(told_by)]}{of}")
        condition, level = _condition(side, now)
        yield SummaryItem(label=f"{side.label} answers", value=condition, level=level, link=sides, icon="swap_vert")
    waits = (now - seen.oldest_due).total_seconds() if seen.oldest_due else 0.0
    yield SummaryItem(
        label="Oldest waiting event",
        value=f"{waits:.0f} s" if waits >= 1 else "none",
        level=GOOD if waits < LATE_SECONDS else BAD,
        link=f"{events}?state__exact={State.PENDING}{of}",
        icon="hourglass_empty",
    )
    todo, drift = (reverse(f"admin:sync_{name}_changelist") for name in ("todoitem", "driftfinding"))
    only = f"?{of[1:]}" if of else ""
    yield _count("To do", seen.todo, WATCH, f"{todo}{only}", "checklist")
    if seen.choices:
        choose = f"{todo}?cause__exact={TodoItem.Cause.CHOICE}{of}"
        yield _count("Customers to choose", seen.choices, WATCH, choose, "group")
    yield _count("Retrying", seen.retrying, WATCH, f"{events}?state__exact={State.RETRYING}{of}", "replay")
    yield _count("Parked", seen.parked, WATCH, f"{events}?state__exact={State.PARKED}{of}", "front_hand")
    yield _count("Dead", seen.dead, BAD, f"{events}?state__exact={State.DEAD}{of}", "skull")
    yield _count("Drift", seen.drift, WATCH, f"{drift}{only}", "compare_arrows")
    yield SummaryItem(
        label="Workers",
        value=f"{seen.workers} alive" if seen.workers else "none",
        level=GOOD if seen.workers else BAD,
        link=reverse("admin:sync_heartbeat_changelist"),
        icon="monitor_heart",
    )
    unwell = sum(alarm.key.startswith("webhook:") for alarm in seen.alarms)
    yield SummaryItem(
        label="Webhooks in the shop",
        value=f"{unwell} not working" if unwell else "working",
        level=BAD if unwell else GOOD,
        link=f"{reverse('admin:sync_webhooks')}{only}",
        icon="webhook",
    )
    yield SummaryItem(
        label="Runs",
        value=f"{len(seen.runs)} running" if seen.runs else "none running",
        level=GOOD,
        link=f"{reverse('admin:sync_run_changelist')}{f'?state__exact={Run.State.RUNNING}' if seen.runs else ''}",
        icon="directions_run",
    )


def _condition(side: SideState, now: datetime) -> tuple[str, str]:
    if side.paused:
        return "paused by staff", WATCH
    if side.opened_at:
        return "no; events wait", BAD
    if side.wait_until and side.wait_until > now:
        return f"waits until {until(side.wait_until, now)}, as it asked", WATCH
    return (f"yes, {naturaltime(side.last_heard_at)}" if side.last_heard_at else "not called yet"), GOOD


def _count(label: str, number: int, level: str, link: str, icon: str) -> SummaryItem:
    shown = f"{COUNTED_UP_TO}+" if number >= COUNTED_UP_TO else str(number)
    return SummaryItem(label=label, value=shown, level=level if number else GOOD, link=link, icon=icon)


def _heard(side: SideState, of: Side, seen: StatusSummary, link: str) -> SummaryItem:
    """When it last told us something; of a CRM that has no webhooks to us, how often we ask."""
    heard = seen.last_received.get(SENDERS[of])
    connection = sender(side.name) if heard is None and of == Side.CRM else None
    if connection and (connection.poll_seconds or not connection.crm_config.webhook_secrets):
        seconds = connection.poll_seconds or settings.RECONCILE_MINUTES * 60
        every = f"every {seconds} seconds" if seconds < 120 else f"every {seconds // 60} minutes"
        return SummaryItem(label=f"{side.label} is asked", value=every, level=GOOD, link=link, icon="call_made")
    return SummaryItem(
        label=f"Last delivery from the {side.label}",
        value=str(naturaltime(heard)) if heard else "none recently",
        level=GOOD if heard else WATCH,
        link=link,
        icon="call_received",
    )


def banners(seen: StatusSummary, now: datetime, may: Callable[[str], bool]) -> Iterator[Banner]:
    """The most urgent first. A button stands only where the person may press it."""
    if words := installation.displaced():
        button = _button(may, "sync.confirm_installation", "Confirm…", "admin:sync_installation")
        yield Banner(words=masked_text(words), advice=coded(installation.ADVICE), **button)
    if not seen.workers:
        since = f" since {seen.last_beat:%Y-%m-%d %H:%M} UTC" if seen.last_beat else ""
        yield Banner(
            words=f"No worker is alive{since}. Deliveries are accepted and stored, but not processed.",
            advice=coded("Start `python manage.py qcluster`. If it is running, restart it."),
        )
    for side in seen.sides:
        name = side.label
        if side.opened_at:
            yield Banner(
                words=f"{name} has been unavailable since {side.opened_at:%Y-%m-%d %H:%M} UTC: {side.last_error}",
                advice="Nothing is lost. Events wait and are processed once it answers.",
                **_button(may, "sync.pause_sidestate", "Probe now", "admin:sync_sidestate_probe", side.pk),
            )
        if side.wait_until and side.wait_until > now:
            yield Banner(
                words=f"{name} asked us to wait until {until(side.wait_until, now)}: {side.last_error}",
                advice="Nothing is lost. Events wait until then.",
                **_button(may, "sync.pause_sidestate", "Probe now", "admin:sync_sidestate_probe", side.pk),
            )
        if side.paused:
            yield Banner(
                words=f"{name} is paused by staff. Nothing is read from it or written to it.",
                advice="Deliveries are still accepted and stored.",
                **_button(may, "sync.pause_sidestate", "Resume", "admin:sync_sidestate_go_on", side.pk),
            )
    for alarm in seen.alarms:
        if alarm.key == installation.ALARM:  # told above as it is now
            continue
        known = f" {alarm.acknowledged_by} has seen to it." if alarm.acknowledged_at else ""
        of = f"{name_of(alarm.bridge_id)}: " if alarm.bridge_id and are_several() else ""
        yield Banner(words=f"{of}{alarm.words}{known}", advice=coded(alarm.advice), **_mend(alarm, may))


MENDS: Mapping[str, tuple[str, ...]] = {
    "audit": ("orders.verify_statustransition", "Verify…", "admin:orders_statustransition_verify"),
    "webhook": ("sync.start_run", "Repair…", "admin:sync_webhooks"),
    "todo": ("sync.view_todoitem", "To do…", "admin:sync_todoitem_changelist"),
    "drift": ("sync.view_driftfinding", "Drift…", "admin:sync_driftfinding_changelist"),
    "silence": ("sync.start_run", "Reconcile…", "admin:sync_run_start", reconciliation.JOB.kind),
}
"""By the first word of an alarm's key: the permission, the button, and the page that mends it with its arguments."""


def _mend(alarm: Alarm, may: Callable[[str], bool]) -> dict[str, str]:
    """Where nothing mends it at once, to its page, where it is acknowledged."""
    mend = MENDS.get(alarm.key.partition(":")[0])
    button = _button(may, *mend) if mend else {}
    if button and alarm.bridge_id and are_several():
        button["link"] += f"?bridge={alarm.bridge_id}"
    return button or _button(may, "sync.handle_alarm", "Open…", "admin:sync_alarm_change", alarm.pk)


def _button(may: Callable[[str], bool], permission: str, button: str, page: str, *args: Any) -> dict[str, str]:
    return {"button": button, "link": reverse(page, args=args)} if may(permission) else {}


def charts(hours: list[overview.Hour]) -> dict[str, str]:
    """For unfold's chart components, which take Chart.js data as JSON."""
    labels = [f"{hour.start:%H}:00" for hour in hours]
    received, effects, failed = (
        sum(getattr(hour, name) for hour in hours) for name in ("received", "effects", "failed")
    )
    slowest = max((hour.latency for hour in hours if hour.latency is not None), default=0.0)
    return {
        "options": OPTIONS,
        "traffic_words": f"Last day: {received} received, {effects} took effect, {failed} parked or dead",
        "latency_words": f"The median of the slowest hour of the last day was {slowest:.1f} seconds",
        "traffic": json.dumps(
            {
                "labels": labels,
                "datasets": [  # the first is drawn on top
                    series("Parked or dead", [hour.failed for hour in hours], "#dc2626"),
                    series("Took effect", [hour.effects for hour in hours], "var(--color-primary-600)"),
                    series("Received", [hour.received for hour in hours], "var(--color-primary-300)"),
                ],
            }
        ),
        "latency": json.dumps(
            {
                "labels": labels,
                "datasets": [series("Median seconds", [hour.latency for hour in hours], "var(--color-primary-500)")],
            }
        ),
    }
