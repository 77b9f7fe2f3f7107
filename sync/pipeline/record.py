"""Record what came of an order: link, transitions, outcome, attempt and the end of its lease, all of it or none."""

import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial

from django.db import DataError, IntegrityError, transaction

from orders.models import OrderLink, StatusTransition
from sync.clients.errors import Unkept
from sync.clients.http import CallRecord
from sync.models import Attempt, Call, Intent
from sync.pipeline import doubts, intents, leases, links, traces
from sync.pipeline.apply import Applied
from sync.pipeline.batch import Batch
from sync.pipeline.claim import Claim
from sync.pipeline.decide import went_on
from sync.pipeline.internal_events import is_force
from sync.pipeline.leases import LeaseLost, worker_name
from sync.pipeline.plan import Park, Plan, Reason, TransitionDraft
from sync.pipeline.strangers import DOUBTS
from webhooks import clock, tracing
from webhooks.masking import masked, masked_text, quoted
from webhooks.models import Change, Side, WebhookEvent
from webhooks.schemas import schema_of
from webhooks.texts import fit

log = logging.getLogger("orderbridge.attempts")

Finished = tuple[Claim, Plan, Applied]
REFUSED_BY_DATABASE = (DataError, ValueError, OverflowError)
"""How a database or its driver says that it cannot hold a value."""


def finish_all(batch: Batch, finished: Sequence[Finished]) -> Sequence[Finished]:
    """Record them in one transaction. What it returns has to be recorded one by one: one of them is the matter."""
    if len(finished) < 2:
        return finished
    try:
        _finish(batch, finished)
    except (IntegrityError, LeaseLost, *REFUSED_BY_DATABASE):
        return finished
    except Exception:  # a bug in one of them, or the database for a moment: each by itself, and its failure recorded
        log.exception("not recorded together")
        return finished
    return []


def finish(batch: Batch, claim: Claim, plan: Plan, applied: Applied) -> None:
    """The same for one. Raises LeaseLost, and Unkept where a write was made and cannot be recorded."""
    try:
        _finish(batch, [(claim, plan, applied)])
    except IntegrityError:
        other = links.linked_otherwise(claim, plan, applied)
        if other is None:
            raise
        # Staff must merge; nothing is overwritten.
        words = f"The order could not be linked: shop order {other.woo_id} is linked to {other.crm_order_id} already."
        claim.reasons.append(Reason("link_conflict", words))
        park(batch, claim, Park(reasons=()))
    except REFUSED_BY_DATABASE as error:
        if plan.write is None:
            raise
        log.exception("cannot be recorded", extra={"event": claim.newest.pk, "order": claim.order_ref})
        to = Side.CRM if claim.side == Side.SHOP else Side.SHOP
        words = f"The {to} was written to, and what it answered cannot be kept: {quoted(str(error))}."
        raise Unkept(words) from error


def _finish(batch: Batch, finished: Sequence[Finished]) -> None:
    with transaction.atomic():
        leases.release([claim.lease for claim, _, _ in finished])
        saved = links.save_all(finished)
        for claim, plan, applied in finished:
            if link := saved.get(claim):
                for draft in plan.transitions:
                    _log_transition(claim, link, _as_it_went(draft, applied), plan)
        for kind, side in ((Intent.Kind.CREATE, Side.SHOP), (Intent.Kind.STATUS, Side.CRM)):
            done = [plan.woo_id for claim, plan, _ in finished if claim.side == side and plan.woo_id is not None]
            if done:
                intents.delete(batch.bridge.pk, done, kind)
        _change([change for claim, plan, applied in finished for change in _changes(claim, plan, applied)])
        save_attempts([(one, "parked" if told.needs_a_person else plan.outcome, "") for one, plan, told in finished])
    for claim, plan, _ in finished:
        batch.close(claim)
        _tell_of_transitions(claim, plan)


def _as_it_went(draft: TransitionDraft, applied: Applied) -> TransitionDraft:
    if applied.shop is None or applied.shop.status == draft.to_status:
        return draft
    return replace(draft, reason=f"{draft.reason} {went_on(draft.to_status, applied.shop.status)}")


def _tell_of_transitions(claim: Claim, plan: Plan) -> None:
    for draft in plan.transitions:
        about = {"event": claim.newest.pk, "order": plan.woo_id, "decision": draft.decision}
        log.info("transition", extra={**about, "from": draft.from_status, "to": draft.to_status})


def confirm(claim: Claim, decision: Plan | Park) -> None:
    """Log what an earlier attempt wrote, before our own intent takes the place of its. Until an event of the CRM is
    recorded, the link does not say that both sides agree; a forced move says nothing about that."""
    with transaction.atomic():
        leases.renew([claim.lease])
        link = OrderLink.objects.filter(bridge=claim.bridge, crm_order_id=claim.order_ref).first()
        if link is None and isinstance(decision, Plan) and decision.woo_id is not None:
            link = OrderLink(bridge=claim.bridge, woo_id=decision.woo_id, crm_order_id=claim.order_ref)
        if link is None:
            return
        if not is_force(claim.newest):
            link.crm_status = ""
        link.save()
        for draft in decision.confirmed:
            _log_transition(claim, link, draft, decision)
        intents.delete(claim.bridge.pk, [link.woo_id], Intent.Kind.STATUS)


def _log_transition(claim: Claim, link: OrderLink, draft: TransitionDraft, decision: Plan | Park) -> None:
    """It stays for ever, and so must not tell of the customer."""
    seen = decision.crm_seen if isinstance(decision, Plan) else None
    StatusTransition(
        link=link,
        from_status=draft.from_status,
        to_status=draft.to_status,
        decision=draft.decision,
        reason=masked_text(draft.reason),
        crm_status=seen.status if seen else "",
        crm_version=seen.version if seen else None,
        crm_answer=masked(dict(seen.answer)) if seen else {},
        schema=schema_of(claim.newest),
        event=claim.newest,
        actor=claim.newest.requested_by,
    ).save()


# --- what is not done ----------------------------------------------------------------------------------------------


def park(batch: Batch, claim: Claim, decision: Park) -> None:
    """A person is needed."""
    parked = Change.parked(claim.newest, claim.words, customer=claim.customer)
    _end(batch, claim, [parked, *_superseded(claim)], "parked")
    for reason in decision.reasons:
        if reason.code in DOUBTS:
            doubts.tell(reason, batch.bridge.pk)


def give_up(batch: Batch, claim: Claim, words: str, *, error: str, result: str, attempts: int, dead: bool) -> None:
    """It failed, and no further try would help, or all are used up."""
    claim.reasons.append(Reason("gave_up", words))
    become = Change.dead if dead else Change.parked
    newest = become(claim.newest, claim.words, attempts=attempts, customer=claim.customer)
    _end(batch, claim, [newest, *_superseded(claim)], result, error)


def postpone(batch: Batch, claim: Claim, after: timedelta) -> None:
    """Not the event's fault: due again later, no attempt used up."""
    retry(batch, claim, after, error="", result="waiting", failed=False)


def retry(batch: Batch, claim: Claim, after: timedelta, *, error: str, result: str, failed: bool) -> None:
    """Due again later."""
    at, words = clock.now() + after, error or claim.words
    changes = [Change.retry(event, words, at=at, failed=failed) for event in claim.events]
    _end(batch, claim, changes, result, error, silent=result == "waiting" and not claim.calls)


def release(batch: Batch, claim: Claim, plan: Plan | None = None) -> None:
    """As if it had not been taken: nothing was sent for it."""
    try:
        with transaction.atomic():
            leases.release([claim.lease])
            if plan:
                intents.take_back(claim, plan)
            _change([Change.released(event) for event in claim.events])
    except LeaseLost:  # whoever has it deals with it
        log.warning("lease lost", extra={"event": claim.newest.pk, "order": claim.order_ref})
    batch.close(claim)


def _end(
    batch: Batch, claim: Claim, changes: Sequence[Change], result: str, error: str = "", *, silent: bool = False
) -> None:
    with transaction.atomic():
        leases.release([claim.lease])
        _change(changes)
        if not silent:
            save_attempts([(claim, result, error)])
    batch.close(claim)


def _changes(claim: Claim, plan: Plan, applied: Applied) -> list[Change]:
    if applied.needs_a_person:
        return [Change.parked(claim.newest, claim.words, customer=claim.customer), *_superseded(claim)]
    return [Change.done(claim.newest, plan.outcome, claim.words, customer=claim.customer), *_superseded(claim)]


def _superseded(claim: Claim) -> list[Change]:
    """The newest event says what was done; the others were answered by the same read."""
    return [Change.superseded(event, by=claim.newest) for event in claim.events[:-1]]


def _change(changes: Sequence[Change]) -> None:
    WebhookEvent.objects.record(changes)


# --- attempts ------------------------------------------------------------------------------------------------------


def save_attempts(tried: Sequence[tuple[Claim, str, str]]) -> None:
    """Append the attempts, each with its result and error, and their calls. Inside the caller's transaction."""
    attempts = [
        Attempt(
            event=claim.newest,
            trigger=claim.newest.trigger,
            actor=claim.newest.requested_by,
            worker=worker_name(),
            started_at=claim.started_at,
            milliseconds=round((time.monotonic() - claim.started) * 1000),
            result=result,
            reasons=fit([[reason.code, reason.words] for reason in claim.reasons]),
            compared=claim.compared,
            decided_at=claim.decided_at,
            error=error,
        )
        for claim, result, error in tried
    ]
    Attempt.objects.bulk_create(attempts)
    calls = [
        _row(attempt, call) for attempt, (claim, _, _) in zip(attempts, tried, strict=True) for call in claim.calls
    ]
    Call.objects.bulk_create(calls)
    for attempt, (claim, result, error) in zip(attempts, tried, strict=True):
        about = {"event": claim.newest.pk, "order": claim.order_ref, "side": claim.side, "result": result}
        counts = {"milliseconds": attempt.milliseconds, "superseded": len(claim.events) - 1}
        log.info("attempt", extra={**about, **counts, "error": error})
    if tracing.tracer():
        told = [(attempt, claim) for attempt, (claim, _, _) in zip(attempts, tried, strict=True)]
        transaction.on_commit(partial(traces.tell, told), robust=True)


def _row(attempt: Attempt, call: CallRecord) -> Call:
    return Call(
        attempt=attempt,
        side=call.side,
        method=call.method,
        url=call.url[:500],
        status=call.status,
        milliseconds=call.milliseconds,
        request_body=call.request_body,
        response_body=call.response_body,
        error=call.error,
        at=call.at,
        is_shared=call.is_shared,
    )
