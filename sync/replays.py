"""Asking again for events that were already looked at, by a person or by a command."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from django.db import transaction

from webhooks.models import State, WebhookEvent
from webhooks.wake import wake


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Which events are due again, and which were left alone because a worker has them."""

    again: list[int] = field(default_factory=list)
    busy: list[int] = field(default_factory=list)


def ask_again(events: Iterable[int], *, by: str) -> Asked:
    """Make the events due now and wake a worker. Each has its own short transaction, so that nobody waits for all."""
    asked = Asked()
    for event in events:
        (asked.again if _ask_one(event, by=by) else asked.busy).append(event)
    if asked.again:
        wake(force=True)
    return asked


def _ask_one(pk: int, *, by: str) -> bool:
    """The lock (the write transaction on SQLite) keeps a worker from taking the event between the look and the save."""
    with transaction.atomic():
        event = WebhookEvent.objects.select_for_update().defer("body", "headers").get(pk=pk)
        if event.state == State.PROCESSING:
            return False
        event.ask_again(trigger="replay", by=by)
        return True
