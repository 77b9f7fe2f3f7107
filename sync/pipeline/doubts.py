"""Whose order is it? One alarm for each kind of doubt, however many orders are in it."""

from sync import alarms
from sync.pipeline.decide import DOUBTS
from sync.pipeline.plan import Reason
from webhooks.models import State, WebhookEvent

ADVICE = "The events wait under Needs a person, each with what to do. docs/operations.md: Whose order is it?"


def tell(reason: Reason) -> None:
    alarms.raise_alarm(_key(reason.code), reason.words, ADVICE)


def on_schedule() -> None:
    """It is over when no event waits for a person because of it."""
    for code, sign in DOUBTS.items():
        key = _key(code)
        is_open = alarms.open_alarms().filter(key=key).exists()
        if is_open and not WebhookEvent.objects.filter(state=State.PARKED, reason__contains=sign).exists():
            alarms.clear(key)


def _key(code: str) -> str:
    return f"whose:{code}"
