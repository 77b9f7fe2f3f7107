"""The words of a message. They name no customer: what a side said is masked, and the link leads to the rest."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.conf import settings
from django.urls import reverse

from sync.models import Alarm, Notification, Recipient, Severity
from sync.monitoring import overview
from sync.monitoring.overview import COUNTED_UP_TO
from sync.notifications.timing import local
from webhooks.backoffice.display import OUR_PAGE
from webhooks.masking import masked_text

Kind = Notification.Kind
SHOWN = 20
LONGEST = 500


@dataclass(frozen=True, kw_only=True)
class Words:
    title: str
    body: str
    is_bad: bool


def of(recipient: Recipient, items: Sequence[Notification], now: datetime, *, waited: bool) -> Words:
    """One message of all of them. `waited`: quiet hours or the limit held some of them back."""
    parts = [_item(one, recipient) for one in items[:SHOWN]]
    if len(items) > SHOWN:
        parts.append(f"And {len(items) - SHOWN} more: {_link('admin:sync_notification_changelist')}")
    if waited:
        parts.append("Some of this waited: for the end of the quiet hours, or because enough had been sent.")
    summary = next((one for one in items if one.kind == Kind.SUMMARY), None)
    if summary is not None:
        parts.insert(0, summary_text(recipient, now))
    is_bad = any(one.kind in (Kind.RAISED, Kind.STILL) for one in items)
    if summary is not None:
        is_bad = is_bad or "well" not in summary.words
    return Words(
        title=f"[Orderbridge] {_title(items)}", body="\n\n".join(part for part in parts if part), is_bad=is_bad
    )


def _title(items: Sequence[Notification]) -> str:
    if summary := next((one for one in items if one.kind == Kind.SUMMARY), None):
        return summary.words
    if len(items) == 1:
        return _short(f"{_what(items[0])}: {items[0].words}" if items[0].words else _what(items[0]), 120)
    counts = [
        f"{number} {word}"
        for kind, word in ((Kind.RAISED, "raised"), (Kind.STILL, "still open"), (Kind.CLEARED, "cleared"))
        if (number := sum(one.kind == kind for one in items))
    ]
    return f"Alarms: {', '.join(counts)}" if counts else "Test"


def _what(item: Notification) -> str:
    if item.kind == Kind.TEST:
        return "Test"
    return "Cleared" if item.kind == Kind.CLEARED else f"{item.get_severity_display()}{_still(item)}"


def _still(item: Notification) -> str:
    return ", still open" if item.kind == Kind.STILL else ""


def _item(item: Notification, recipient: Recipient) -> str:
    if item.kind == Kind.SUMMARY:
        return ""
    if item.kind == Kind.TEST:
        return f"This is a test message. Alarms reach {recipient.name}.\n{settings.PUBLIC_URL}/admin/"
    at = f"{local(item.created_at, recipient.time_zone):%Y-%m-%d %H:%M %Z}"
    lines = [f"{_what(item)} ({at}): {_short(item.words, LONGEST)}"]
    if item.alarm is not None:
        if item.kind != Kind.CLEARED:
            advice = _short(masked_text(item.alarm.advice), LONGEST)
            lines.append(f"What to do: {OUR_PAGE.sub(_by_public_url, advice)}")
        lines.append(link_to(item.alarm))
    return "\n".join(lines)


def summary_title(alarms: Sequence[Alarm]) -> str:
    if not alarms:
        return "All is well"
    worst = Severity(max(one.severity for one in alarms)).label.lower()
    return f"{len(alarms)} {'alarm is' if len(alarms) == 1 else 'alarms are'} open, the worst is {worst}"


def summary_text(recipient: Recipient, now: datetime) -> str:
    """The figures of the home page, and the open alarms."""
    seen = overview.status_summary(now)
    lines = [
        f"{_figure(seen.todo)} to do, {_figure(seen.parked)} parked, {_figure(seen.dead)} dead, "
        f"{_figure(seen.retrying)} retrying, {_figure(seen.drift)} differences between the two sides",
        f"Workers alive: {seen.workers}",
    ]
    for alarm in seen.alarms[:SHOWN]:
        known = f" (acknowledged by {alarm.acknowledged_by})" if alarm.acknowledged_at else ""
        words = _short(masked_text(alarm.words), LONGEST)
        lines.append(f"- {alarm.get_severity_display()}{known}: {words} {link_to(alarm)}")
    if not seen.alarms:
        lines.insert(0, "No alarm is open.")
    return "\n".join([*lines, f"{settings.PUBLIC_URL}/admin/"])


def _figure(number: int) -> str:
    return f"{COUNTED_UP_TO}+" if number >= COUNTED_UP_TO else str(number)


def link_to(alarm: Alarm) -> str:
    return _link("admin:sync_alarm_change", alarm.pk)


def _by_public_url(path: re.Match[str]) -> str:
    return f"{settings.PUBLIC_URL}{path[1]}"


def _link(page: str, *args: int) -> str:
    """By PUBLIC_URL: a request's own host is whatever its sender wrote."""
    return f"{settings.PUBLIC_URL}{reverse(page, args=args)}"


def _short(text: str, length: int) -> str:
    text = " ".join(text.split())
    return text if len(text) <= length else f"{text[: length - 1]}…"
