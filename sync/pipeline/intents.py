"""What is about to be written is remembered first: the next attempt checks it before it repeats it."""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

from django.db import transaction

from sync.clients.errors import SideError, Unreachable
from sync.models import Intent
from sync.pipeline import leases
from sync.pipeline.claim import Claim
from sync.pipeline.plan import CreateInCrm, PendingWrite, Plan, SetShopStatus
from webhooks import clock


def intent_of(claim: Claim, plan: Plan, at: datetime) -> Intent | None:
    """None: an update of the CRM is repeated without harm."""
    match plan.write:
        case CreateInCrm():
            return Intent(bridge=claim.bridge, woo_id=int(claim.order_ref), kind=Intent.Kind.CREATE, at=at)
        case SetShopStatus(woo_id=woo_id, from_status=old, to_status=new):
            kind = Intent.Kind.STATUS
            return Intent(bridge=claim.bridge, woo_id=woo_id, kind=kind, from_status=old, to_status=new, at=at)
    return None


def save_intents(planned: Collection[tuple[Claim, Plan]], at: datetime) -> None:
    """In one transaction, and under the leases only: a worker that has lost one would leave an intent behind that
    nobody has. Raises LeaseLost. `at`: when the last of the writes may be sent, as doubts count from there."""
    rows = [(claim, intent) for claim, plan in planned if (intent := intent_of(claim, plan, at))]
    if not rows:
        return
    with transaction.atomic():
        leases.renew([claim.lease for claim, _ in rows])
        upsert([intent for _, intent in rows])


def after_failure(claim: Claim, plan: Plan, error: Exception) -> None:
    """The write failed: is it still in doubt, for longer, or not at all?"""
    intent = intent_of(claim, plan, clock.now())
    if intent is None or not isinstance(error, SideError):
        return
    if intent.kind == Intent.Kind.CREATE:
        in_doubt, nothing_sent = error.may_have_got_through, isinstance(error, Unreachable)
    else:
        in_doubt = error.may_come_later
        # Whoever sets it by hand meanwhile did that, and not we.
        nothing_sent = not error.may_have_got_through and claim.in_doubt is None
        if in_doubt:
            intent.may_come_until = clock.now() + timedelta(seconds=claim.bridge.shop_config.write_lag)
    if not in_doubt and not nothing_sent:
        return
    with transaction.atomic():
        leases.renew([claim.lease])
        if in_doubt:
            upsert([intent])  # it may have taken effect as late as now
        else:
            delete(intent.bridge_id, [intent.woo_id], intent.kind)


def take_back(claim: Claim, plan: Plan) -> None:
    """Nothing was sent. What an earlier attempt was about to write is in doubt as before."""
    intent = intent_of(claim, plan, clock.now())
    if intent and claim.in_doubt:
        claim.in_doubt.pk = None
        upsert([claim.in_doubt])
    elif intent:
        delete(intent.bridge_id, [intent.woo_id], intent.kind)


def pending_write(intent: Intent | None) -> PendingWrite | None:
    if intent is None:
        return None
    may_come = intent.may_come_until - clock.now() if intent.may_come_until else timedelta(0)
    return PendingWrite(from_status=intent.from_status, to_status=intent.to_status, may_come=may_come)


def upsert(intents: Sequence[Intent]) -> None:
    """Each in the place of an older one of its kind."""
    Intent.objects.bulk_create(
        intents,
        update_conflicts=True,
        unique_fields=["woo_id", "kind", "bridge"],
        update_fields=["from_status", "to_status", "at", "may_come_until"],
    )


def delete(bridge: int | None, woo_ids: Collection[int], kind: str) -> None:
    Intent.objects.filter(bridge=bridge, kind=kind, woo_id__in=woo_ids).delete()
