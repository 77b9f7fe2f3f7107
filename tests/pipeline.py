"""The pipeline, an order at a time."""

from django.utils import timezone

from sync.models import SideState
from sync.pipeline import failures
from sync.pipeline.batch import Batch
from sync.pipeline.claim import Claim, claim
from sync.pipeline.process import Turns, process, process_due
from webhooks.models import WebhookEvent


def work_once() -> bool:
    """Process the next due order (the tests' settings have one thread). False: nothing can be done now."""
    return process_due(Turns())


def take(side: str, order_ref: str) -> Claim | None:
    """Claim one, as `process` begins with it; None where it is not to be had, or is given up."""
    batch = Batch(claim([(side, order_ref)]))
    for one in list(batch.open):
        failures.count_abandoned(batch, one)
    return batch.open[0] if batch.open else None


def settle(one: Claim) -> None:
    process([one])


def work_since_it_is_mended(side: str) -> None:
    """The side may be probed, all that waits is due, and everything is processed."""
    SideState.objects.filter(name=side).update(probe_at=timezone.now())
    WebhookEvent.objects.unfinished().update(next_attempt_at=timezone.now())
    while work_once():
        pass
