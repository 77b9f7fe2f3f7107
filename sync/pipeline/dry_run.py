"""What would happen: the worker's own reading and deciding, without the lease, the writes and the record."""

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from sync.clients.bridged import pings_of
from sync.clients.errors import GivenUp, SideError
from sync.clients.http import CallRecord
from sync.clients.paging import alone
from sync.clients.snapshots import AS_IT_IS, CRM_ORDER_META, FIELDS, Composer, ShopSnapshot
from sync.pipeline import internal_events
from sync.pipeline.batch import Batch
from sync.pipeline.claim import Claim
from sync.pipeline.fetch import decide_all
from sync.pipeline.leases import OrderLease
from sync.pipeline.plan import CreateInCrm, Decision, Park, Plan, ReadAgain, Reason, SetShopStatus, UpdateInCrm
from sync.pipeline.replays import ONLY_ONCE, why_unreadable
from webhooks.connections import Bridge
from webhooks.models import Side, State, WebhookEvent

Kind = Literal["nothing", "forward", "backward", "waits", "person", "failed"]
"""What would happen, at a glance. `backward` is a move that the lifecycle refuses, so nothing would be written."""

NOT_KNOWN = "not known here"


@dataclass(frozen=True, kw_only=True)
class Change:
    """One field that would be written."""

    side: str
    name: str
    before: Any
    after: Any


@dataclass(frozen=True, kw_only=True)
class DryRunResult:
    """What the worker would do at this moment, and the reads that told."""

    kind: Kind
    outcome: str
    reasons: tuple[Reason, ...]
    changes: tuple[Change, ...] = ()
    calls: tuple[CallRecord, ...] = field(default=(), repr=False)

    @property
    def words(self) -> str:
        return " ".join(reason.words for reason in self.reasons)


class NoLease(OrderLease):
    """A worker's lease, without taking one: looking needs no right."""

    def __init__(self, until: float = float("inf")) -> None:
        super().__init__()
        self.until = until

    def take(self, *keys: str) -> None: ...

    @property
    def is_old(self) -> bool:
        return False

    def ensure_valid(self) -> None:
        """Before each call: whoever waited for the answer may have given up. Raises GivenUp."""
        if time.monotonic() > self.until:
            raise GivenUp("It was not told in time, and was given up.")


class Looking(Batch):
    """One order that is only read. That a side fails is told, and neither counted nor looked into."""

    def note(self, error: object) -> None: ...


def run_dry(event: WebhookEvent, until: float = float("inf"), told_by: Composer | None = None) -> DryRunResult:
    """What a replay of this event would do now. Both sides are only read, and no row is written. `until`: by the
    monotonic clock; later, nobody is asked any more. `told_by`: what made the CRM's orders so far, if it is another."""
    if why := ONLY_ONCE if event.is_finished and internal_events.is_staff_action(event) else why_unreadable(event):
        return DryRunResult(kind="person", outcome=State.PARKED, reasons=(Reason("unreadable", why),))
    claim = Claim(lease=NoLease(until), events=[event], asked=True)
    try:
        return _run_dry(claim, told_by)
    except SideError as error:
        return _went_wrong(claim, error)


def run_dry_on(event: WebhookEvent, seen: ShopSnapshot | None = None) -> DryRunResult:
    """As `run_dry`, for a run, which waits for a side that is away: what may go well later is raised."""
    claim = Claim(lease=NoLease(), events=[event], seen=seen)
    try:
        return alone(lambda: _run_dry(claim), lambda: _ping_both(event.bridge))
    except SideError as error:
        if error.again:
            raise
        return _went_wrong(claim, error)


def _ping_both(bridge: Bridge) -> None:
    for ping in pings_of(bridge).values():
        ping()


def _went_wrong(claim: Claim, error: SideError) -> DryRunResult:
    return DryRunResult(
        kind="waits" if error.again else "failed",
        outcome=type(error).__name__,
        reasons=(*claim.reasons, Reason("error", str(error))),
        calls=tuple(claim.calls),
    )


def _run_dry(claim: Claim, told_by: Composer | None = None) -> DryRunResult:
    decision = decide_all(Looking([claim]), [claim])[claim]
    if isinstance(decision, Exception):
        raise decision
    return DryRunResult(
        kind=_kind(decision),
        outcome=_outcome(decision),
        reasons=(*claim.reasons, *decision.reasons),
        changes=tuple(_changes(decision, claim, told_by)),
        calls=tuple(claim.calls),
    )


def _kind(decision: Decision) -> Kind:
    match decision:
        case Park():
            return "person"
        case ReadAgain():
            return "waits"
        case Plan(outcome="refused"):
            return "backward"
        case Plan(write=None):
            return "nothing"
    return "forward"


def _outcome(decision: Decision) -> str:
    match decision:
        case Plan():
            return decision.outcome
        case Park():
            return State.PARKED
    return State.RETRYING


def _changes(decision: Decision, claim: Claim, told_by: Composer | None) -> Iterator[Change]:
    match decision:
        case Plan(write=SetShopStatus(from_status=old, to_status=new, crm_order_id=named)):
            yield Change(side=Side.SHOP, name="status", before=old, after=new)
            if named:
                yield Change(side=Side.SHOP, name=CRM_ORDER_META, before=None, after=named)
        case Plan(write=CreateInCrm(order=order)):
            yield from _fields(order, dict.fromkeys(order))
        case Plan(write=UpdateInCrm(order=order)):
            yield from _fields(order, _told_before(claim, told_by))


def _fields(order: Mapping[str, Any], before: Mapping[str, Any]) -> Iterator[Change]:
    """Each that is mapped by itself."""
    for name in order:
        if name != FIELDS and before.get(name, NOT_KNOWN) != order[name]:
            yield Change(side=Side.CRM, name=name, before=before.get(name, NOT_KNOWN), after=order[name])
    new, old = order.get(FIELDS) or {}, before.get(FIELDS) or {}
    for name in dict.fromkeys([*new, *old]):
        if new.get(name) != old.get(name):
            yield Change(side=Side.CRM, name=f"{FIELDS}.{name}", before=old.get(name), after=new.get(name))


def _told_before(claim: Claim, told_by: Composer | None) -> Mapping[str, Any]:
    """The order as the latest finished delivery of the shop had it; the CRM keeps no fields that we could read."""
    event = claim.newest
    composer = told_by or (claim.shop_order.composer if claim.shop_order else AS_IT_IS)
    finished = WebhookEvent.objects.filter(
        bridge=event.bridge_id, side=Side.SHOP, order_ref=event.order_ref, source="woocommerce", state=State.DONE
    ).exclude(pk=event.pk)
    for body in finished.order_by("-id").values_list("body", flat=True)[:1]:
        try:
            order = json.loads(bytes(body))
        except ValueError:
            break
        return composer.document(order) if isinstance(order, dict) else {}
    return {}
