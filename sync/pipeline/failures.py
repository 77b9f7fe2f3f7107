"""What becomes of an order that failed: it is tried again, or waits for its side, or for a person."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from django.conf import settings

from sync.clients import causes
from sync.clients.crm.customers import SeveralFit
from sync.clients.errors import AuthFailed, NotConfigured, SideError
from sync.clients.http import current_event
from sync.pipeline import choices, record
from sync.pipeline.batch import Batch
from sync.pipeline.claim import Claim, abandoned
from sync.pipeline.leases import DURATION, Busy, LeaseLost, WorkerLost
from sync.pipeline.retries import delay_before
from webhooks.masking import quoted
from webhooks.models import Side, State, WebhookEvent
from webhooks.texts import fit

log = logging.getLogger("orderbridge.attempts")

KEY_AGAIN = timedelta(seconds=1)
BUSY_AGAIN = timedelta(seconds=0.3)


@contextmanager
def recorded(batch: Batch, claim: Claim) -> Iterator[None]:
    """Whatever fails in it is recorded, ends there, and touches no other order."""
    context = current_event.set(claim.newest.pk)
    try:
        with _recorded(batch, claim):
            yield
    except LeaseLost:  # noticed at the work, or only when its failure was to be recorded
        log.warning("lease lost", extra={"event": claim.newest.pk, "order": claim.order_ref})
        batch.close(claim)
    finally:
        current_event.reset(context)


@contextmanager
def _recorded(batch: Batch, claim: Claim) -> Iterator[None]:
    try:
        yield
    except LeaseLost:
        raise
    except Busy:
        record.postpone(batch, claim, BUSY_AGAIN)
    except SideError as error:
        fail(batch, claim, error)
    except Exception as error:  # a bug must cost one event its attempts, not all events their worker
        log.exception("unexpected error", extra={"event": claim.newest.pk, "order": claim.order_ref})
        fail(batch, claim, error)


def fail(batch: Batch, claim: Claim, error: Exception) -> None:
    """Whatever the failed attempt met with, that it failed is recorded, and why."""
    try:
        _fail(batch, claim, error)
    except record.REFUSED_BY_DATABASE:
        log.exception("recorded without what was seen", extra={"event": claim.newest.pk, "order": claim.order_ref})
        claim.reasons, claim.compared, claim.calls, claim.customer = [], {}, [], ""
        _fail(batch, claim, error)


def _fail(batch: Batch, claim: Claim, error: Exception) -> None:
    """Again with backoff, at once when the side is back, or dead when the attempts are used up."""
    of_side = error if isinstance(error, SideError) else None
    if of_side and not batch.is_about_the_order(of_side):
        held = batch.record_failure(of_side)
        if held or _is_no_orders_fault(batch, of_side):
            after = timedelta(0) if held else KEY_AGAIN
            record.retry(batch, claim, after, error=_told(batch, error), result=type(error).__name__, failed=False)
            return
    attempt = max(event.attempts for event in claim.events) + 1
    tries = (of_side and of_side.tries) or settings.RETRY_MAX_ATTEMPTS
    if (of_side and not of_side.again) or attempt >= tries:
        _give_up(batch, claim, error, attempt)
        return
    delay = delay_before(
        attempt=attempt, error=of_side, base=settings.RETRY_BASE_SECONDS, longest=settings.RETRY_MAX_SECONDS
    )
    record.retry(batch, claim, delay, error=_told(batch, error), result=type(error).__name__, failed=True)


def _is_no_orders_fault(batch: Batch, error: SideError) -> bool:
    """A key that nothing at all can be read with is no order's fault, also before the breaker opens. Nor is what the
    backend knows to be the side's, as a key that may not write: a cheap read closes the breaker again and again."""
    if isinstance(error, NotConfigured) or (error.outage and error.about_order is False):
        return True
    return isinstance(error, AuthFailed) and error.side in Side.values and not batch.is_well(error.side)


def _give_up(batch: Batch, claim: Claim, error: Exception, attempts: int) -> None:
    permanent = isinstance(error, SideError) and (not error.again or error.tries is not None)
    hint = "" if isinstance(error, SeveralFit) else "Mend the cause, then replay."
    told = _told(batch, error)
    words = f"{told} {hint}".rstrip() if permanent else f"Given up after {attempts} attempts: {told} {hint}"
    if isinstance(error, SeveralFit):
        choices.ask(claim, error)
    record.give_up(batch, claim, words, error=told, result=type(error).__name__, attempts=attempts, dead=not permanent)


def _told(batch: Batch, error: Exception) -> str:
    """Our own words are for everybody; an error of Python or a library may quote what it was given."""
    if isinstance(error, SideError) and error.side in Side.values:
        return causes.told(str(error), batch.bridge.slug_of(error.side))
    return str(error) if isinstance(error, SideError | WorkerLost) else quoted(fit(str(error)))


def count_abandoned(batch: Batch, claim: Claim) -> None:
    """Count the attempt of a worker that ended before it recorded anything: killed, or with a call that hung.

    Not counted, an order that always ends its worker would end one after the other for ever. If it was the last
    attempt, the order is given up now.
    """
    lost = abandoned(claim)
    if not lost:
        return
    error = WorkerLost("The worker that had it ended, or hung until it was ended, before it recorded anything.")
    for event in lost:
        event.attempts += 1
        event.state = State.RETRYING  # should it be given back as it was, this attempt is not counted again
    attempts = max(event.attempts for event in claim.events)
    claimed_at = max(event.next_attempt_at or claim.started_at for event in lost) - DURATION
    before = Claim(lease=claim.lease, events=claim.events, started=claim.started, started_at=claimed_at)
    before.started -= min(claim.started_at - claimed_at, DURATION).total_seconds()
    if attempts >= settings.RETRY_MAX_ATTEMPTS:
        _give_up(batch, before, error, attempts)
        batch.close(claim)
        return
    WebhookEvent.objects.filter(pk__in=[event.pk for event in lost]).count_attempt()
    record.save_attempts([(before, type(error).__name__, str(error))])
