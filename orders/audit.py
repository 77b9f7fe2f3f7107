"""What staff did: one line for each action, chained so that none can vanish unnoticed."""

import logging
from typing import Any

from django.db import IntegrityError, transaction

from orders.models import HASHED, STAFF, ChainHead, OrderLink, StaffAction, as_kept
from webhooks.masking import masked_text, masked_words
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
    """Append one action to the chain. What cannot be removed again must not tell of customers: words are masked."""
    row = StaffAction(
        action=action,
        actor=actor,
        reason=masked_text(reason),
        result=masked_text(result),
        event=event,
        link=link,
        details=as_kept(masked_words(details)),
    )
    for left in reversed(range(TRIES)):
        try:
            _append(row)
            break
        except IntegrityError:  # the very first two, of which none found a head to lock
            if not left:
                raise
    log.info(
        "staff action",
        extra={"action": action, "actor": actor, "reason": row.reason, "event": row.event_id, "result": row.result},
    )
    return row


def _append(row: StaffAction) -> None:
    with transaction.atomic():
        head = ChainHead.locked(STAFF, StaffAction.objects.all())
        row.version, row.sequence, row.previous_hash = HASHED, head.length + 1, head.hash
        row.hash = row.content_hash()
        row.save()
        head.move_to(row.hash)
