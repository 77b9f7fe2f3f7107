"""The story of one order: what came from both sides, what was tried, and what was decided, in order of time."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db.models import Q

from orders.models import OrderLink, StatusTransition
from sync.models import Attempt, Call
from webhooks.models import Side, WebhookEvent


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One thing that happened. `kind` is event, attempt, transition or staff."""

    at: datetime
    kind: str
    words: str


@dataclass(frozen=True, kw_only=True)
class Story:
    """What we know of one order. Statuses are those last seen; nothing is asked of either side."""

    woo_id: int | None
    crm_order_id: str | None
    shop_status: str | None
    crm_status: str | None
    timeline: tuple[Entry, ...]


def story(order: str) -> Story | None:
    """By the id of either side, the shop's first; None if neither a link nor an event names it."""
    link = find_link(order)
    if link:
        return story_of(link)
    events = list(WebhookEvent.objects.filter(order_ref=order).defer("body", "headers")) if order else []
    if not events:
        return None
    from_shop = any(event.side == Side.SHOP for event in events)
    return Story(
        woo_id=int(order) if from_shop and _is_number(order) else None,
        crm_order_id=None if from_shop else order,
        shop_status=None,
        crm_status=None,
        timeline=_in_order(events, []),
    )


def story_of(link: OrderLink) -> Story:
    ours = Q(side=Side.SHOP, order_ref=str(link.woo_id)) | Q(side=Side.CRM, order_ref=link.crm_order_id)
    events = list(WebhookEvent.objects.filter(ours).defer("body", "headers"))
    return Story(
        woo_id=link.woo_id,
        crm_order_id=link.crm_order_id,
        shop_status=link.woo_status or None,
        crm_status=link.crm_status or None,
        timeline=_in_order(events, link.transitions.all()),
    )


def find_link(order: str) -> OrderLink | None:
    by_woo = OrderLink.objects.filter(woo_id=int(order)).first() if _is_number(order) else None
    return by_woo or OrderLink.objects.filter(crm_order_id=order).first()


def link_of(event: WebhookEvent) -> OrderLink | None:
    """The order that the event names, each side by its own id."""
    if event.side == Side.CRM:
        return OrderLink.objects.filter(crm_order_id=event.order_ref).first()
    return OrderLink.objects.filter(woo_id=int(event.order_ref)).first() if _is_number(event.order_ref) else None


def summary(call: Call) -> str:
    """`GET /orders/C-1 → 200 (12 ms)`."""
    return f"{call.method} {call.url} → {call.status or call.error or 'no answer'} ({call.milliseconds} ms)"


def _in_order(events: list[WebhookEvent], transitions: Iterable[StatusTransition]) -> tuple[Entry, ...]:
    ids = [event.pk for event in events]
    tries = Attempt.objects.filter(event__in=ids).order_by("id").prefetch_related("calls")
    entries = [
        *map(_event, events),
        *map(_attempt, tries),
        *map(_transition, sorted(transitions, key=lambda one: one.sequence)),
        *_staff(ids),
    ]
    return tuple(sorted(entries, key=lambda entry: entry.at))


def _event(event: WebhookEvent) -> Entry:
    said = ", ".join(
        filter(
            None,
            [
                f"status {event.status}" if event.status else "",
                f"version {event.version}" if event.version is not None else "",
                f"{event.duplicates} duplicates" if event.duplicates else "",
            ],
        )
    )
    now = ": ".join(filter(None, [event.outcome or event.state, event.reason]))
    words = f"event {event.pk}: {event.source} {event.topic}{f' ({said})' if said else ''}; now {now}"
    return Entry(at=event.received_at, kind="event", words=words)


def _attempt(attempt: Attempt) -> Entry:
    calls = "; ".join(summary(call) for call in attempt.calls.all())
    trigger = f"{attempt.trigger} by {attempt.actor}" if attempt.actor else attempt.trigger
    words = f"event {attempt.event_id}, {trigger}: {attempt.result} in {attempt.milliseconds} ms"
    return Entry(at=attempt.started_at, kind="attempt", words=" · ".join(filter(None, [words, attempt.error, calls])))


def _transition(transition: StatusTransition) -> Entry:
    who = f" (by {transition.actor})" if transition.actor else ""
    words = f"{transition.from_status} → {transition.to_status} {transition.decision}: {transition.reason}{who}"
    return Entry(at=transition.created_at, kind="transition", words=words)


def _staff(events: list[int]) -> Iterator[Entry]:
    """What staff did to these events, as the admin's own log has it."""
    of_events = ContentType.objects.get_for_model(WebhookEvent)
    log = LogEntry.objects.filter(content_type=of_events, object_id__in=[str(pk) for pk in events])
    for done in log.select_related("user"):
        words = f"event {done.object_id}: {done.get_change_message()} (by {done.user.get_username()})"
        yield Entry(at=done.action_time, kind="staff", words=words)


def _is_number(order: str) -> bool:
    return order.isascii() and order.isdigit() and len(order) <= 18
