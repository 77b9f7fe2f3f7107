"""The to-do list: what needs a person, one item for each order and cause. It follows from what is so.

Items are made from parked and dead events, from refused moves on which the two sides still disagree, and from orders
that the CRM lost. They close themselves once that is no longer so, and say why.
"""

from collections.abc import Container, Iterable, Iterator, Mapping
from datetime import datetime

from django.db.models import Max

from orders.lifecycle import Lifecycle
from orders.models import OrderLink
from orders.rules import current_lifecycle
from sync.clients.paging import in_parts
from sync.clients.snapshots import TRASH
from sync.models import Attempt, DriftFinding, OpenChoice, TodoItem
from sync.pipeline import internal_events
from sync.pipeline.strangers import ANOTHER_SHOP, DOUBTS
from webhooks import clock
from webhooks.connections import Bridge
from webhooks.models import Outcome, Side, State, WebhookEvent
from webhooks.texts import is_number

Cause = TodoItem.Cause
AT_ONCE = 500
LOOKED_AT = 2_000
"""The newest events, and the newest refusals, from which items are made: nobody works through more of them."""
STUCK = (State.PARKED, State.DEAD)
WENT_THROUGH = (Outcome.CREATED, Outcome.UPDATED, Outcome.APPLIED, Outcome.NO_CHANGE, Outcome.ECHO)
AT_WORK = (State.PENDING, State.PROCESSING, State.RETRYING)


def refresh() -> None:
    """Once a minute. Two at a time do no harm."""
    now = clock.now()
    lifecycles: Lifecycles = {pk: current_lifecycle(pk) for pk in Bridge.objects.values_list("pk", flat=True)}
    _heal()
    needs = {
        (need.bridge_id, need.order, need.cause): need
        for need in (*_lost_by_drift(now), *_disagreements(lifecycles), *_stuck())  # an event leads further
    }
    _close(lifecycles, now)
    here = {(item.bridge_id, item.order, item.cause): item for item in TodoItem.objects.filter(closed_at=None)}
    for key in needs.keys() & here.keys():
        item, need = here[key], needs[key]
        if (item.event_id, item.words) != (need.event_id, need.words):
            TodoItem.objects.filter(pk=item.pk, closed_at=None).update(event_id=need.event_id, words=need.words)
    new = [need for key, need in needs.items() if key not in here]
    for need in new:
        need.opened_at = now
    TodoItem.objects.bulk_create(new, ignore_conflicts=True)


# --- what is so ----------------------------------------------------------------------------------------------------


def _events() -> list[WebhookEvent]:
    """The newest that are stuck, state by state: each has its index."""
    columns = ("id", "bridge", "side", "source", "topic", "order_ref", "state", "reason", "finished_at")
    return [
        event
        for state in STUCK
        for event in WebhookEvent.objects.filter(state=state).only(*columns).order_by("-id")[:LOOKED_AT]
    ]


def _heal() -> None:
    """A later event of the same order went through: what it read and wrote answers the stuck one as well. A move that a
    person forces is asked for, and not answered by what a side says; nor is another shop gone by what ours says."""
    stuck = [event for event in _events() if event.order_ref and not internal_events.is_staff_action(event)]
    stuck = [event for event in stuck if DOUBTS[ANOTHER_SHOP] not in event.reason]
    later = _went_through(stuck)
    for event in stuck:
        done = later.get(_of(event))
        if done and event.finished_at and done > event.finished_at:
            words = f"Solved: a later event of this order succeeded at {done:%Y-%m-%d %H:%M:%S} UTC. Before:"
            as_seen = WebhookEvent.objects.filter(pk=event.pk, state=event.state, finished_at=event.finished_at)
            as_seen.supersede(f"{words} {event.reason}")


OrderOf = tuple[int | None, str, str]
"""The bridge, the side that speaks of the order, and its id there."""


def _of(event: WebhookEvent) -> OrderOf:
    return event.bridge_id, event.side, event.order_ref


def _went_through(events: Iterable[WebhookEvent]) -> dict[OrderOf, datetime]:
    """When an event of the same order went through last."""
    found: dict[OrderOf, datetime] = {}
    for side in Side.values:
        orders = {event.order_ref for event in events if event.side == side}
        for some in in_parts(sorted(orders), AT_ONCE):
            done = WebhookEvent.objects.filter(
                side=side, order_ref__in=some, state=State.DONE, outcome__in=WENT_THROUGH
            )
            newest = done.values("bridge", "order_ref").annotate(at=Max("finished_at")).order_by()
            rows = newest.values_list("bridge", "order_ref", "at")
            found |= {(bridge, side, order): at for bridge, order, at in rows if at}
    return found


def _stuck() -> Iterator[TodoItem]:
    """The newest event of an order speaks for all of them."""
    events = sorted(_events(), key=lambda event: event.pk)
    links = _links_of(events)
    missed = _not_found(event for event in events if _of(event) in links)
    asked = _asked()
    for event in events:
        cause = _cause(event, asked)
        if link := links.get(_of(event)):
            yield _need(Cause.LOST if event.pk in missed else cause, link, words=event.reason, event=event.pk)
            continue
        woo_id = _number(event) if event.side == Side.SHOP else None
        crm_order_id = event.order_ref if event.side == Side.CRM else ""
        order = f"woo:{woo_id}" if woo_id else f"crm:{crm_order_id}" if crm_order_id else f"event:{event.pk}"
        ids = {"woo_id": woo_id, "crm_order_id": crm_order_id, "event_id": event.pk}
        yield TodoItem(bridge_id=event.bridge_id, cause=cause, order=order, words=event.reason, **ids)


def _asked() -> set[int]:
    """The events for which a customer has to be chosen."""
    return set(OpenChoice.objects.values_list("pk", flat=True))


def _cause(event: WebhookEvent, asked: Container[int]) -> Cause:
    if event.state == State.DEAD:
        return Cause.DEAD
    return Cause.CHOICE if event.pk in asked else Cause.PARKED


def _number(event: WebhookEvent) -> int | None:
    return int(event.order_ref) if is_number(event.order_ref) else None


def _links_of(events: Iterable[WebhookEvent]) -> dict[OrderOf, OrderLink]:
    found: dict[OrderOf, OrderLink] = {}
    shop = sorted({number for event in events if event.side == Side.SHOP and (number := _number(event))})
    crm = sorted({event.order_ref for event in events if event.side == Side.CRM and event.order_ref})
    for numbers in in_parts(shop, AT_ONCE):
        links = OrderLink.objects.filter(woo_id__in=numbers)
        found |= {(link.bridge_id, Side.SHOP, str(link.woo_id)): link for link in links}
    for ids in in_parts(crm, AT_ONCE):
        links = OrderLink.objects.filter(crm_order_id__in=ids)
        found |= {(link.bridge_id, Side.CRM, link.crm_order_id): link for link in links}
    return found


def _not_found(events: Iterable[WebhookEvent]) -> set[int]:
    """Those that ended because the CRM answered 404 for an order that it had."""
    about = {event.pk: event.side for event in events}
    last: dict[int, bool] = {}
    for some in in_parts(sorted(about), AT_ONCE):
        attempts = Attempt.objects.filter(event_id__in=some).order_by("id").values_list("event_id", "result", "reasons")
        for event, result, reasons in attempts:
            unknown = any(code == "unknown_order" for code, _ in reasons)
            last[event] = result == "NotFound" if about[event] == Side.SHOP else unknown
    return {event for event, missed in last.items() if missed}


def _lost_by_drift(now: datetime) -> Iterator[TodoItem]:
    lost = DriftFinding.objects.open(now).filter(kind=DriftFinding.Kind.MISSING_IN_CRM).exclude(crm_order_id="")
    for finding in lost.order_by("-id")[:LOOKED_AT]:
        yield TodoItem(
            bridge_id=finding.bridge_id,
            cause=Cause.LOST,
            order=f"woo:{finding.woo_id}",
            words=f"The CRM does not have order {finding.crm_order_id} any more.",
            woo_id=finding.woo_id,
            crm_order_id=finding.crm_order_id,
        )


def _need(cause: str, link: OrderLink, *, words: str, event: int) -> TodoItem:
    ids = {"woo_id": link.woo_id, "crm_order_id": link.crm_order_id, "event_id": event}
    return TodoItem(bridge_id=link.bridge_id, cause=cause, order=f"woo:{link.woo_id}", words=words, **ids)


Lifecycles = Mapping[int | None, Lifecycle]


def _disagreements(lifecycles: Lifecycles) -> Iterator[TodoItem]:
    """Moves of the CRM that were refused, and that the two sides still disagree on. Where the CRM is merely behind the
    shop, nobody is needed."""
    columns = ("id", "bridge", "side", "order_ref", "reason")
    refused = WebhookEvent.objects.filter(outcome=Outcome.REFUSED).only(*columns).order_by("-id")[:LOOKED_AT]
    newest = {_of(event): event for event in reversed(refused) if event.side == Side.CRM}
    links = _links_of(newest.values())
    for order, event in newest.items():
        link = links.get(order)
        if link and (cause := _disagreement(link, lifecycles[link.bridge_id])):
            yield _need(cause, link, words=event.reason, event=event.pk)


def _disagreement(link: OrderLink, lifecycle: Lifecycle) -> str:
    """The cause; empty: they agree, or the shop is ahead, or the order is gone. Money came in for a cancelled order if
    the CRM's status is one from which it can be refunded."""
    wanted, shows = lifecycle.status_map.get(link.crm_status), link.woo_status
    if wanted is None or shows in ("", wanted, TRASH):
        return ""
    if shows == "cancelled" and wanted != "refunded" and lifecycle.allows(wanted, "refunded"):
        return Cause.PAID
    return "" if lifecycle.is_ahead(shows, of=wanted) else Cause.REFUSED


# --- closing -------------------------------------------------------------------------------------------------------


def _close(lifecycles: Lifecycles, now: datetime) -> None:
    asked = _asked()
    for item in TodoItem.objects.filter(closed_at=None).select_related("event").defer("event__body", "event__headers"):
        if reason := _over(item, lifecycles[item.bridge_id], asked):
            TodoItem.objects.filter(pk=item.pk, closed_at=None).update(closed_at=now, closed_because=reason)


def _over(item: TodoItem, lifecycle: Lifecycle, asked: Container[int]) -> str:
    """Why nobody is needed any more; empty: somebody still is."""
    if item.cause in (Cause.REFUSED, Cause.PAID):
        link = OrderLink.objects.filter(bridge=item.bridge_id, woo_id=item.woo_id or 0).first()
        if link and _disagreement(link, lifecycle) == item.cause:
            return ""
        return (
            f"The shop shows {link.woo_status!r}, the CRM {link.crm_status!r}: there is no conflict."
            if link
            else "The order is not linked."
        )
    event = item.event
    if event is None:
        found = DriftFinding.objects.filter(
            bridge=item.bridge_id, kind=DriftFinding.Kind.MISSING_IN_CRM, woo_id=item.woo_id or 0, gone_at=None
        )
        return "" if found.exists() else "The CRM has it again."
    if (
        event.state == State.PARKED
        and item.cause in (Cause.PARKED, Cause.CHOICE)
        and item.cause != _cause(event, asked)
    ):
        return "It waits for another reason now."
    if event.state in (*STUCK, *AT_WORK):
        return ""
    return f"Event {event.pk}: {event.get_outcome_display() or event.get_state_display()}. {event.reason}"
