"""Whose order is it? One alarm for each kind of doubt, however many orders are in it."""

from sync import alarms
from sync.pipeline.plan import Reason
from sync.pipeline.strangers import DOUBTS
from webhooks.models import State, WebhookEvent

ADVICE = "The events wait under Needs a person, each with what to do. docs/operations.md: Whose order is it?"


def tell(reason: Reason, bridge: int) -> None:
    alarms.raise_alarm(_key(reason.code), reason.words, ADVICE, bridge=bridge)


def on_schedule() -> None:
    """It is over when no event waits for a person because of it."""
    signs = {_key(code): sign for code, sign in DOUBTS.items()}
    for key, bridge in alarms.open_alarms().filter(key__in=signs).values_list("key", "bridge"):
        parked = WebhookEvent.objects.filter(bridge=bridge, state=State.PARKED)
        if not parked.filter(reason__contains=signs[key]).exists():
            alarms.clear(key, bridge=bridge)


def _key(code: str) -> str:
    return f"whose:{code}"
