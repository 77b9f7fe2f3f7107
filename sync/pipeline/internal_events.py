"""What people and commands ask for becomes an event like any other: same path, same rules, same audit."""

import json
import uuid
from collections.abc import Iterable
from itertools import groupby

from orders.models import OrderLink
from sync.clients.snapshots import ShopSnapshot
from sync.pipeline.origin import Address, unknown
from webhooks import intake
from webhooks.customers import customer_of
from webhooks.models import Side, WebhookEvent

RESYNC = "resync"
"""Source of the events that ask to compare the two sides, whether or not the CRM has news."""
BACKFILL = "backfill"
"""Source of the events by which `backfill` links the orders that were there before us."""
SWEEP = "sweep"
"""Source of the events of which no delivery told us: `reconcile` found them."""
STAFF = "staff"
FORCE = "order.force"
ANEW = "order.make_anew"


def resync(link: OrderLink, *, by: str = "", reason: str = "") -> WebhookEvent:
    """Bring the shop to the CRM's state of this order, as far as the lifecycle allows. The caller wakes a worker."""
    event = resync_event(link, key=f"resync:{uuid.uuid4()}", by=by, reason=reason)
    event.save(force_insert=True)
    return event


def resync_event(link: OrderLink, *, key: str, by: str, reason: str) -> WebhookEvent:
    """The event of `resync`, not stored yet."""
    return intake.internal_event(
        bridge=link.bridge_id,
        side=Side.CRM,
        source=RESYNC,
        topic="order.resync",
        order_ref=link.crm_order_id,
        key=key,
        body={"woo_id": link.woo_id, "reason": reason},
        requested_by=by,
    )


def tell_crm_event(link: OrderLink, *, key: str, by: str, reason: str) -> WebhookEvent:
    """By which the CRM hears what the shop's order says now, as if the shop had told us of it. Not stored yet."""
    return intake.internal_event(
        bridge=link.bridge_id,
        side=Side.SHOP,
        source=RESYNC,
        topic="order.resync",
        order_ref=str(link.woo_id),
        key=key,
        body={"id": link.woo_id, "reason": reason},
        requested_by=by,
    )


def backfill_event(order: ShopSnapshot, *, bridge: int, topic: str, key: str, by: str) -> WebhookEvent:
    """By which `backfill` creates or finds an order in the CRM, or tells it what changed. Not stored yet."""
    return intake.internal_event(
        bridge=bridge,
        side=Side.SHOP,
        source=BACKFILL,
        topic=topic,
        order_ref=str(order.woo_id),
        key=key,
        body=order.order,
        customer=customer_of(order.order),
        requested_by=by,
    )


def force(link: OrderLink, *, to_status: str, by: str, reason: str) -> WebhookEvent:
    """Set the shop's status although the lifecycle refuses the move. The caller wakes a worker."""
    event, _ = intake.post(
        bridge=link.bridge_id,
        side=Side.CRM,
        source=STAFF,
        topic=FORCE,
        order_ref=link.crm_order_id,
        key=f"force:{uuid.uuid4()}",
        body={"woo_id": link.woo_id, "to_status": to_status, "reason": reason},
        requested_by=by,
        trigger="force",
    )
    return event


def make_anew(link: OrderLink, *, by: str, reason: str) -> WebhookEvent:
    """Make an order that the CRM lost there again; looked for first, as ever. The caller wakes a worker."""
    event, _ = intake.post(
        bridge=link.bridge_id,
        side=Side.SHOP,
        source=STAFF,
        topic=ANEW,
        order_ref=str(link.woo_id),
        key=f"anew:{uuid.uuid4()}",
        body={"crm_order_id": link.crm_order_id, "reason": reason},
        requested_by=by,
        trigger="anew",
    )
    return event


def is_make_anew(event: WebhookEvent) -> bool:
    return is_staff_action(event) and event.topic == ANEW


def is_staff_action(event: WebhookEvent) -> bool:
    """Asked for by a person, and more than the question how both sides stand: whatever staff wants done is, if it is
    no edited copy. It is done once; neither a replay nor a retry on demand does it again."""
    return event.source == STAFF and event.copy_of_id is None


def is_force(event: WebhookEvent) -> bool:
    """An edited copy never is: its topic is what somebody wrote, and forcing has its own permission."""
    return is_staff_action(event) and event.topic == FORCE


def read_force(event: WebhookEvent) -> tuple[int, str, str]:
    """The shop's order, the status to set, and in words who forces it and why."""
    asked = json.loads(bytes(event.body))
    return asked["woo_id"], asked["to_status"], f"Forced by {event.requested_by}: {asked['reason']}"


def answered_together(events: Iterable[WebhookEvent], due: WebhookEvent) -> list[WebhookEvent]:
    """Those of an order's waiting events that one read answers together with the due one.

    What a person asks to be done is no question: it stands alone, and neither waits for the others' retries nor causes
    them. And what a copy of the shop tells must not take what our shop tells of its own order with it.
    """
    if is_staff_action(due):
        return [due]

    def kind(event: WebhookEvent) -> tuple[bool, frozenset[Address]]:
        return is_staff_action(event), unknown(event)

    return next(batch for batch in (list(run) for _, run in groupby(events, key=kind)) if due in batch)
