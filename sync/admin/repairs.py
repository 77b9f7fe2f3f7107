"""What *Repair* asks the workers for, on the page of an order and in the list of drift."""

import uuid

from orders.models import OrderLink
from sync.models import DriftFinding
from sync.pipeline.internal_events import resync_event, tell_crm_event
from webhooks.models import WebhookEvent

CRM_IS_BEHIND = (DriftFinding.Kind.CONTENT, DriftFinding.Kind.DELETED)
"""What the CRM was not told of. It is not for the shop to follow."""


def repair_event(link: OrderLink, *, by: str = "", reason: str = "") -> WebhookEvent:
    """The CRM hears what it was not told, if drift found that; else the shop is brought to the CRM's state. Not stored
    yet."""
    untold = DriftFinding.objects.filter(
        bridge=link.bridge_id, gone_at=None, woo_id=link.woo_id, kind__in=CRM_IS_BEHIND
    ).exists()
    event = tell_crm_event if untold else resync_event
    return event(link, key=f"resync:{uuid.uuid4()}", by=by, reason=reason)
