"""What no delivery told us of becomes an event: what a side lists is compared with what we know, by its content.

So asking twice costs nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db.models import Q

from orders.defaults import FIRST
from orders.lifecycle import Lifecycle
from orders.models import OrderLink
from orders.rules import current_lifecycle
from sync.clients.paging.shop_orders import LeftOut, modified, stamp
from sync.clients.snapshots import DRAFTS, TRASH, CrmSnapshot, ShopSnapshot
from sync.models import Run
from sync.pipeline.internal_events import SWEEP
from sync.pipeline.read import facts_of
from sync.pipeline.sending import SENDS, SendingRule, sends
from sync.pipeline.strangers import another_in_crm
from sync.pipeline.whose import woo_id_in
from webhooks import intake
from webhooks.connections import DEFAULT_BRIDGE, Bridge
from webhooks.models import Outcome, Side, State, WebhookEvent, WebhookEventQuerySet

NEEDS_A_PERSON = (State.PARKED, State.DEAD)


@dataclass(frozen=True, kw_only=True)
class Missed:
    """A change that no delivery told us of. `key` is that of the change: found again, it is the same event."""

    bridge: int
    side: str
    topic: str
    order_ref: str
    key: str
    body: Mapping[str, Any] = field(repr=False)
    version: int | None = None
    status: str = ""
    occurred_at: datetime | None = None
    requested_by: str = ""
    "Who says that it is so, where that has to be confirmed."

    def post(self) -> bool:
        """Store it; or ask again for the event of an earlier find that left the two sides apart. False: neither."""
        said: Any = {name: getattr(self, name) for name in self.__dataclass_fields__}
        if intake.post(source=SWEEP, **said)[1]:
            return True
        event = self._known().select_for_update().get()
        again = self._again(event)
        if again:
            event.ask_again(trigger=SWEEP, by=self.requested_by)
        return again

    def is_new(self) -> bool:
        """What `post` would answer."""
        event = self._known().first()
        return event is None or self._again(event)

    def _again(self, event: WebhookEvent) -> bool:
        is_word_of_a_person = bool(self.requested_by) and event.state in NEEDS_A_PERSON
        return is_word_of_a_person or _to_be_asked_again(event)

    def _known(self) -> WebhookEventQuerySet:
        return WebhookEvent.objects.filter(bridge=self.bridge, source=SWEEP, dedupe_key=self.key).defer(
            "body", "headers"
        )


def _to_be_asked_again(event: WebhookEvent) -> bool:
    """Its change was found once more, so the read that settled the event was behind the list, or was undone since.

    What waits for a person or was resolved is left alone; what names no order of ours, until it is linked. If it was
    refused, then something else was: a change that is refused is known, and not found once more.
    """
    if event.state != State.DONE or event.outcome == Outcome.RESOLVED:
        return False
    if event.outcome == Outcome.NOT_OURS:
        return OrderLink.objects.filter(bridge=event.bridge_id, crm_order_id=event.order_ref).exists()
    of_order = WebhookEvent.objects.filter(bridge=event.bridge_id, side=event.side, order_ref=event.order_ref)
    later = of_order.filter(pk__gt=event.pk)
    return not later.filter(state__in=NEEDS_A_PERSON).exists()


def missed_topic(order: ShopSnapshot, link: OrderLink | None, *, at_rest: bool = False) -> str:
    """What the shop should have told of this order; empty: we know it as it is. `at_rest`: it is looked at though the
    shop may not have touched it, so that a new field map is no reason to send it."""
    if link is None:
        return "" if order.status in DRAFTS or order.status == TRASH else "order.created"
    if (order.is_unchanged_since if at_rest else order.is_known_as)(link.woo_fingerprint):
        return ""
    if order.status == TRASH:
        return "order.deleted"
    return "order.restored" if link.woo_status == TRASH else "order.updated"


def rule_of(bridge_id: int | None) -> SendingRule:
    """Which orders this bridge sends."""
    bridge = Bridge.objects.filter(pk=bridge_id or DEFAULT_BRIDGE).first()
    return SendingRule.of(bridge.options.get(SENDS, {}) if bridge else {})


def is_left_out(order: ShopSnapshot, link: OrderLink | None, rule: SendingRule) -> bool:
    """Nobody missed it: the CRM is not to hear of it. Found again after the rule has changed, it is sent."""
    return missed_topic(order, link) == "order.created" and not sends(rule, order.order)[0]


def is_missed(
    crm: CrmSnapshot, link: OrderLink | None, lifecycle: Lifecycle, bridge: Bridge, crm_now: datetime | None = None
) -> bool:
    """Whether the CRM should have told of this order. Our own updates raise its version, so the status counts.
    `crm_now`: by its own clock."""
    if link is None:
        return _shop_order(crm, bridge) is not None
    known = facts_of(link, bridge)
    if another_in_crm(known, crm):
        return True  # a worker parks it
    if not link.crm_status:
        # Found there, never compared (docs/decisions/0008): it must not go back to where every order begins.
        target = lifecycle.status_map.get(crm.status, link.woo_status)
        return target != FIRST and lifecycle.allows(link.woo_status, target)
    if crm.status == link.crm_status:
        return False
    if crm.version is not None and link.crm_version is not None:
        return crm.version >= link.crm_version  # a list may be behind what we have seen
    if known and known.was_put_back(crm, crm_now):
        return True
    return not (crm.updated_at and link.crm_updated_at and crm.updated_at < link.crm_updated_at)


def missed_in_shop(
    page: Sequence[ShopSnapshot], began: datetime, bridge: Bridge, *, at_rest: bool = False
) -> list[Missed]:
    links = OrderLink.objects.filter(bridge=bridge).by_woo_id(order.woo_id for order in page)
    heard = heard_of(bridge, Side.SHOP, [str(order.woo_id) for order in page], began)
    rule = rule_of(bridge.pk)
    topics = [
        (order, missed_topic(order, links.get(order.woo_id), at_rest=at_rest))
        for order in page
        if not is_left_out(order, links.get(order.woo_id), rule)
    ]
    return [
        Missed(
            bridge=bridge.pk,
            side=Side.SHOP,
            topic=topic,
            order_ref=str(order.woo_id),
            # An order that goes back to what it was has another time.
            key=f"shop:{order.woo_id}:{stamp(order)}:{order.fingerprint}",
            body=order.order,
            occurred_at=modified(order),
        )
        for order, topic in topics
        if topic and str(order.woo_id) not in heard
    ]


def missed_in_crm(
    batch: Sequence[CrmSnapshot], began: datetime, bridge: Bridge, crm_now: datetime | None = None
) -> list[Missed]:
    ids = [crm.crm_order_id for crm in batch]
    links = OrderLink.objects.filter(bridge=bridge).by_crm_order_id(ids)
    lifecycle = current_lifecycle(bridge.pk)
    news = [crm for crm in batch if is_missed(crm, links.get(crm.crm_order_id), lifecycle, bridge, crm_now)]
    heard = heard_of(bridge, Side.CRM, [crm.crm_order_id for crm in news], began)
    # Where the shop's order still waits, its link is about to be made. That the CRM has moved it is news all the same.
    fresh = [crm for crm in news if crm.crm_order_id not in links and lifecycle.status_map.get(crm.status) == FIRST]
    waiting = heard_of(bridge, Side.SHOP, [str(_shop_order(crm, bridge)) for crm in fresh], began)
    heard |= {crm.crm_order_id for crm in fresh if str(_shop_order(crm, bridge)) in waiting}
    return [
        Missed(
            bridge=bridge.pk,
            side=Side.CRM,
            topic="order.status_changed",
            order_ref=crm.crm_order_id,
            key=f"crm:{crm.crm_order_id}:{crm.version if crm.version is not None else crm.updated_at}:{crm.status}",
            body=crm.answer,
            version=crm.version,
            status=crm.status,
            occurred_at=crm.updated_at,
        )
        for crm in news
        if crm.crm_order_id not in heard and not _with_a_person(crm, bridge)
    ]


def unread(order: LeftOut, bridge: Bridge) -> Missed:
    """An order that its list could not show: tried again by itself, and shown to staff if that fails, too."""
    return Missed(
        bridge=bridge.pk,
        side=Side.SHOP,
        topic="order.updated",
        order_ref=str(order.woo_id),
        key=f"unread:{order.woo_id}:{order.at and order.at.isoformat()}",
        body={"id": order.woo_id},
        occurred_at=order.at,
    )


def deleted(run: Run, bridge: Bridge, woo_ids: Sequence[int]) -> list[Missed]:
    by = run.actor if run.options.get("confirm_deleted") else ""
    return [
        Missed(
            bridge=bridge.pk,
            side=Side.SHOP,
            topic="order.deleted",
            order_ref=str(link.woo_id),
            key=f"deleted:{link.woo_id}:{link.woo_fingerprint}",
            body={"id": link.woo_id},
            requested_by=by,
        )
        for link in OrderLink.objects.filter(bridge=bridge, woo_id__in=woo_ids).order_by("pk")
    ]


def heard_of(bridge: Bridge, side: str, refs: Sequence[str], began: datetime) -> set[str]:
    """Orders of which an event waits, or was settled since we began to read the list."""
    events = WebhookEvent.objects.filter(bridge=bridge, side=side, order_ref__in=refs)
    events = events.filter(Q(next_attempt_at__isnull=False) | Q(finished_at__gte=began))
    return set(events.values_list("order_ref", flat=True))


def _shop_order(crm: CrmSnapshot, bridge: Bridge) -> int | None:
    return woo_id_in(crm.external_id, bridge.prefix)


def _with_a_person(crm: CrmSnapshot, bridge: Bridge) -> bool:
    """An event of this very version waits for staff, who need no second one."""
    of_order = WebhookEvent.objects.filter(bridge=bridge, side=Side.CRM, order_ref=crm.crm_order_id)
    waiting = of_order.filter(state__in=NEEDS_A_PERSON)
    return crm.version is not None and waiting.filter(version__gte=crm.version).exists()
