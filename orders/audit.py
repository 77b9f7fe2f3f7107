"""What staff did: one line for each deed, chained so that none can vanish unnoticed."""

import logging
from typing import Any

from django.db import IntegrityError, transaction

from orders.models import OrderLink, StaffAction
from webhooks.models import WebhookEvent

log = logging.getLogger("orderbridge.staff")

TRIES = 5


def record(
    action: str,
    *,
    actor: str,
    reason: str = "",
    result: str = "",
    event: WebhookEvent | None = None,
    link: OrderLink | None = None,
    **details: Any,
) -> StaffAction:
    """Append one deed to the chain. Of two at the same moment, the second takes the next place."""
    for left in reversed(range(TRIES)):
        last = StaffAction.objects.order_by("-sequence").first()
        row = StaffAction(
            sequence=last.sequence + 1 if last else 1,
            action=action,
            actor=actor,
            reason=reason,
            result=result,
            event=event,
            link=link,
            details=details,
            previous_hash=last.hash if last else "",
        )
        row.hash = row.content_hash()
        try:
            with transaction.atomic():
                row.save()
            break
        except IntegrityError:
            if not left:
                raise
    log.info(
        "staff action",
        extra={"action": action, "actor": actor, "reason": reason, "event": row.event_id, "result": result},
    )
    return row
