"""Take due orders: a lease on each, and its waiting events. The inbox is the queue (docs/decisions/0001)."""

import random
import time
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import reduce
from operator import attrgetter, or_

from django.db import transaction
from django.db.models import Q

from orders.models import OrderLink
from sync.clients import bridged
from sync.clients.crm.base import Crm, Traits
from sync.clients.errors import SideError
from sync.clients.http import CallRecord
from sync.clients.shop import Shop
from sync.clients.snapshots import CrmSnapshot, ShopSnapshot
from sync.models import Intent
from sync.pipeline import internal_events, leases
from sync.pipeline.leases import DURATION, OrderLease
from sync.pipeline.plan import EventFacts, LinkFacts, Reason
from webhooks import clock
from webhooks.connections import DEFAULT_BRIDGE, Bridge, default_bridge
from webhooks.models import Side, State, WebhookEvent
from webhooks.texts import fit

FRESH_SHARE = 0.5
DELIVERED = "crm"
"""The source of what the CRM told by itself."""
OrderRef = tuple[str, str]
"""The side that speaks of it, and its id there."""


@dataclass(eq=False)
class Claim:
    """All waiting events of one order from one side, under a lease, and what was read and called for them."""

    lease: OrderLease
    events: list[WebhookEvent]
    calls: list[CallRecord] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)
    started_at: datetime = field(default_factory=clock.now)
    asked: bool = False
    "A person wants to know what a replay would do."
    seen: ShopSnapshot | None = None
    "The shop's order, if a list showed it a moment ago. Good for creating it only: a known one may be newer by now."

    reasons: list[Reason] = field(default_factory=list)
    compared: dict[str, dict[str, str]] = field(default_factory=dict)
    "Who says what of the order: the event, we from before, the CRM, the shop. For the page that tells why."
    decided_at: datetime | None = None
    customer: str = ""
    "As the shop's order names the customer; what was not delivered, as a sweep's events, gets it only here."
    known: LinkFacts | None = None
    in_doubt: Intent | None = None
    "What an earlier attempt was about to write, and recorded no answer for."
    shop_order: ShopSnapshot | None = None
    "The shop's order as the decision read it, and the CRM's: what tells this order from another one is remembered."
    crm_order: CrmSnapshot | None = None
    read_at: float | None = None
    "When the first of the two was read, by the monotonic clock."

    totals: str | None = None
    "The CRM's and the shop's, if they differ; None: they were not compared."
    makes: list[str] = field(default_factory=list)
    "What may be made in the CRM besides the order; once that is written, it is there (`sync.pipeline.alone`)."
    doubts: list[Reason] = field(default_factory=list)
    "Alarms to raise, and failures to count, that were met with while the CRM was told of a write to the shop."
    side_errors: list[SideError] = field(default_factory=list)

    @property
    def is_confirmed(self) -> bool:
        """A person asked for just this, and so says that what is gone is gone. A backfill looks at all there are."""
        by_people = (event.requested_by for event in self.events if event.source != internal_events.BACKFILL)
        return self.asked or any(by_people) or any(event.trigger == "replay" for event in self.events)

    @property
    def newest(self) -> WebhookEvent:
        return self.events[-1]

    @property
    def side(self) -> str:
        return self.newest.side

    @property
    def order_ref(self) -> str:
        return self.newest.order_ref

    @property
    def words(self) -> str:
        return fit(" ".join(reason.words for reason in self.reasons))

    def facts(self, read: CrmSnapshot | None = None) -> EventFacts:
        """`read`: what the CRM shows. A lag lasts since the first event came that is ahead of that, however many come
        after it; if none is, what is waited for is the order itself."""
        ahead = [event for event in self.events if event.version and read and event.version > (read.version or 0)]
        since = min(event.received_at for event in ahead or self.events)
        versions = [event.version for event in self.events if event.version is not None]
        times = [event.occurred_at for event in self.events if event.occurred_at is not None]
        occurred_at = max(times, default=None)
        traits = self.crm().traits if self.side == Side.CRM else Traits()
        if occurred_at and traits.updated_at == "seconds":
            occurred_at = occurred_at.replace(microsecond=0)
        told = [event.received_at for event in self.events if event.source == DELIVERED]
        ahead_by = [call.clock_is_ahead for call in self.calls if call.side == Side.CRM]
        crm_is_ahead = next((one for one in reversed(ahead_by) if one is not None), None)
        return EventFacts(
            crm_now=None if crm_is_ahead is None else clock.now() + crm_is_ahead,
            version=max(versions, default=None),
            occurred_at=occurred_at,
            told_ago=clock.now() - max(told) if told and traits.hook_before_commit else None,
            waited=clock.now() - since,
            resync=any(event.source == internal_events.RESYNC for event in self.events),
        )

    @property
    def bridge(self) -> Bridge:
        return self.newest.bridge

    def shop(self) -> Shop:
        return bridged.shop_of(self.bridge, self.calls.append, self.lease.ensure_valid)

    def crm(self) -> Crm:
        return bridged.crm_of(self.bridge, self.calls.append, self.lease.ensure_valid)

    def forget_reads(self) -> None:
        """Before both sides are read again."""
        self.reasons, self.compared, self.seen = [], {}, None
        self.known = self.in_doubt = self.shop_order = self.crm_order = self.read_at = None


def due_orders(most: int, bridge: int = DEFAULT_BRIDGE) -> list[OrderRef]:
    """Orders of the bridge with a due event, the longest due first. Behind a backlog the freshest come before them,
    half as many as are taken at a time, so that an outage that is over does not delay what comes in now."""
    due = WebhookEvent.objects.due(clock.now(), bridge).values_list("side", "order_ref")
    look = 2 * most + 20  # several events may be of one order, and another worker may have some of them
    orders = list(due.order_by("next_attempt_at", "id")[:look])
    if len(orders) == look and (most > 1 or random.random() < FRESH_SHARE):
        orders = [*due.order_by("-next_attempt_at", "-id")[: max(1, round(most * FRESH_SHARE))], *orders]
    return list(dict.fromkeys(orders))


def claim(orders: Sequence[OrderRef], most: int | None = None, bridge: Bridge | None = None) -> list[Claim]:
    """Those of the bridge's orders that no other worker has, with their due events; at most so many. In one
    transaction. Without a bridge: of the default one."""
    bridge = bridge or default_bridge()
    with transaction.atomic():
        keys = _lease_keys(orders, bridge.pk)
        wanted = list(dict.fromkeys(keys[order] for order in orders))
        busy = leases.busy(wanted)
        taken = OrderLease.take_each([key for key in wanted if key not in busy][:most])
        mine = {order: taken.pop(keys[order]) for order in orders if keys[order] in taken}
        now, claims = clock.now(), []
        for order, waiting in _waiting(mine, bridge).items():
            first = next((event for event in waiting if event.next_attempt_at and event.next_attempt_at <= now), None)
            if first is not None:
                # Events of this order that wait for a later try are answered by the same read.
                events = internal_events.answered_together(waiting, first)
                claims.append(Claim(lease=mine.pop(order), events=events))
        leases.release(list(mine.values()))
        if claims:
            claimed = [event.pk for one in claims for event in one.events]
            WebhookEvent.objects.filter(pk__in=claimed).claim(now + DURATION)
    return claims


def _lease_keys(orders: Sequence[OrderRef], bridge: int) -> dict[OrderRef, str]:
    """One key for an order whichever side speaks of it, once the pair is known."""
    of_crm = [ref for side, ref in orders if side == Side.CRM]
    links = OrderLink.objects.filter(bridge=bridge, crm_order_id__in=of_crm)
    known = dict(links.values_list("crm_order_id", "woo_id") if of_crm else ())
    return {
        (side, ref): lease_key(bridge, int(ref) if side == Side.SHOP else known.get(ref), crm_order_id=ref)
        for side, ref in orders
    }


def lease_key(bridge: int, woo_id: int | None, *, crm_order_id: str = "") -> str:
    of = "" if bridge == DEFAULT_BRIDGE else f"{bridge}/"
    return f"{of}crm:{crm_order_id}" if woo_id is None else f"{of}woo:{woo_id}"


def _waiting(orders: Collection[OrderRef], bridge: Bridge) -> dict[OrderRef, list[WebhookEvent]]:
    """Their unfinished events, locked: nobody sets one of them aside between this look and the claim."""
    waiting = defaultdict[OrderRef, list[WebhookEvent]](list)
    of_sides = [
        Q(side=of, order_ref__in=[ref for side, ref in orders if side == of]) for of in {of for of, _ in orders}
    ]
    if of_sides:
        events = WebhookEvent.objects.filter(reduce(or_, of_sides), bridge=bridge).unfinished()
        for event in events.select_for_update().order_by("dedupe_key"):
            event.bridge = bridge  # whoever makes calls for it cannot ask the database
            waiting[event.side, event.order_ref].append(event)
    return {order: sorted(waiting[order], key=attrgetter("pk")) for order in orders if order in waiting}


def abandoned(one: Claim) -> list[WebhookEvent]:
    """Its events that a worker had which ended before it recorded anything: killed, or with a call that hung."""
    due = [event for event in one.events if event.next_attempt_at and event.next_attempt_at <= one.started_at]
    return [event for event in due if event.state == State.PROCESSING]
