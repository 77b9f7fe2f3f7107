"""Read what one order's decision needs, and decide. Each of these yields what it has to know and gets the answer back
(`fetch`, which asks for many orders at once), so that it reads as if there were one order only. Nothing is written."""

from collections.abc import Generator, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from orders.lifecycle import Lifecycle
from orders.models import OrderLink
from sync.clients.errors import NotFound
from sync.clients.snapshots import CrmSnapshot, ShopSnapshot
from sync.models import Intent
from sync.pipeline import disappearance, internal_events, origin
from sync.pipeline.claim import Claim
from sync.pipeline.decide import crm_to_shop, forced, shop_to_crm
from sync.pipeline.evidence import compared
from sync.pipeline.intents import pending_write
from sync.pipeline.plan import Decision, LinkFacts, Park, Plan, Reason, UpdateInCrm
from sync.pipeline.sending import NAMES_AT_ONCE, SEND_ALL, SENDS, SendingRule
from sync.pipeline.strangers import another_in_crm, another_shop
from sync.pipeline.whose import external_id, identity, is_same, woo_id_in
from webhooks import clock
from webhooks.connections import Bridge
from webhooks.customers import customer_of
from webhooks.models import Outcome, Side


@dataclass(frozen=True)
class LinkOf:
    """The link with this id at either side; None if there is none."""

    woo_id: int | None = None
    crm_order_id: str = ""


@dataclass(frozen=True)
class IntentOf:
    """What an earlier attempt was about to write, and of which no answer is recorded; None if nothing is in doubt."""

    woo_id: int
    kind: Intent.Kind


@dataclass(frozen=True)
class LeaseOn:
    """The lease on the shop's order as well. True: it is new, and what was read of the pair before may be old.

    Raises Busy where another worker has it.
    """

    woo_id: int


@dataclass(frozen=True)
class ShopOrder:
    """The shop's order as it is now. Raises NotFound, and the other errors of `sync.clients.errors`."""

    woo_id: int


@dataclass(frozen=True)
class CrmOrder:
    """The CRM's order as it is now. Raises the same."""

    crm_order_id: str


@dataclass(frozen=True)
class CrmOrderNamed:
    """The CRM's order that names this one of the shop; None if the CRM shows none."""

    external_id: str


@dataclass(frozen=True)
class LifecycleNow:
    """The status map and the allowed moves."""


@dataclass(frozen=True)
class OptionsNow:
    """What is chosen for its bridge."""


Question = LinkOf | IntentOf | LeaseOn | ShopOrder | CrmOrder | CrmOrderNamed | LifecycleNow | OptionsNow
Reading = Generator[Question, Any, Decision]


def decide(claim: Claim) -> Reading:
    if claim.side == Side.SHOP:
        return _with_cuts(claim)
    return _decide_by_force(claim) if internal_events.is_force(claim.newest) else _decide_for_shop(claim)


def _or_none(question: ShopOrder | CrmOrder) -> Generator[Question, Any, Any]:
    """None: that side does not know the order."""
    try:
        return (yield question)
    except NotFound:
        return None


def _with_cuts(claim: Claim) -> Reading:
    """Staff see what of the order the CRM did not take."""
    decision = yield from _decide_for_crm(claim)
    if isinstance(decision, Plan) and decision.write is not None and claim.shop_order is not None:
        reasons = tuple(Reason("cut", words) for words in claim.shop_order.cuts)
        return replace(decision, reasons=(*decision.reasons, *reasons))
    return decision


def _decide_for_crm(claim: Claim) -> Reading:
    """An order that the shop does not know is never created: whoever told of it, it was another shop, or it is gone."""
    woo_id = int(claim.order_ref)
    link: OrderLink | None = yield LinkOf(woo_id=woo_id)
    if link and internal_events.is_make_anew(claim.newest):
        there: CrmSnapshot | None = yield from _or_none(CrmOrder(link.crm_order_id))
        if there is not None and not another_in_crm(facts_of(link, claim.bridge), there):
            words = f"The CRM knows order {link.crm_order_id}."
            return Plan(outcome=Outcome.NO_CHANGE, reasons=(Reason("still_there", words),))
        link = None  # from here on as an order that was never linked: looked for, then made
    fresh = claim.seen if link is None and len(claim.events) == 1 else None
    shop = fresh or (yield from _or_none(ShopOrder(woo_id))) or ShopSnapshot.gone(woo_id, claim.shop().composer)
    if foreign := _foreign(claim, shop):
        return foreign
    tried = claim.in_doubt = None if link else (yield IntentOf(woo_id, Intent.Kind.CREATE))
    asked_at = clock.now()  # the CRM's list is as old as the question, however late the answer comes
    name = external_id(woo_id, claim.bridge.prefix)
    found = (yield CrmOrderNamed(name)) if link is None and (shop.is_known or tried) else None
    options: Mapping[str, Any] = {} if link else (yield OptionsNow())
    is_lost = internal_events.is_make_anew(claim.newest)
    known = claim.known = facts_of(link, claim.bridge)
    claim.customer, claim.shop_order, claim.crm_order = customer_of(shop.order), shop, found
    claim.compared = compared(claim.facts(), claim.newest.status, known, found, shop)
    is_unique = tried is not None and claim.crm().traits.unique == "enforced"
    list_lag = timedelta(seconds=0 if is_unique else claim.bridge.crm_config.list_lag)
    decision = shop_to_crm(
        link=known,
        shop=shop,
        found=found,
        create_tried=asked_at - tried.at if tried else None,
        list_lag=list_lag,
        external_id=name,
        rule=SEND_ALL if is_lost else SendingRule.of(options.get(SENDS, {})),
    )
    if known and isinstance(decision, Plan) and isinstance(decision.write, UpdateInCrm):
        if not shop.is_known:
            if not claim.is_confirmed and (park := disappearance.held(woo_id, claim.bridge.pk)):
                return park
            decision = replace(decision, reasons=(disappearance.GONE, *decision.reasons))
        # A CRM may have given the id to another order since; an update is not taken back (docs/decisions/0057).
        claim.crm_order = yield CrmOrder(known.crm_order_id)
        return another_in_crm(known, claim.crm_order) or decision
    if options.get(NAMES_AT_ONCE) and isinstance(decision, Plan) and decision.write is not None:
        return replace(decision, names_at_once=True)
    return decision


def _foreign(claim: Claim, shop: ShopSnapshot) -> Park | None:
    """On our shop's own host the order tells: the delivery is ours if it speaks of the order that is there."""
    client = claim.shop()
    address = origin.another(claim.events, client)
    if address is None:
        return None
    if origin.is_on_our_host(address, claim.bridge, client):
        body = origin.order_in(claim.newest)
        told = identity(body) if isinstance(body, dict) else {}
        if not told or (shop.is_known and is_same(told, identity(shop.order))):
            return None
    ours = claim.bridge.shop
    return another_shop(str(address), ours.shop_config.url, "" if ours.is_environment else ours.slug)


def _decide_by_force(claim: Claim) -> Reading:
    woo_id, to_status, words = internal_events.read_force(claim.newest)
    yield LeaseOn(woo_id)
    shop: ShopSnapshot | None = yield from _or_none(ShopOrder(woo_id))
    claim.in_doubt = yield IntentOf(woo_id, Intent.Kind.STATUS)
    claim.known = facts_of((yield LinkOf(woo_id=woo_id)), claim.bridge)
    return forced(
        shop=shop,
        woo_id=woo_id,
        to_status=to_status,
        words=words,
        lifecycle=(yield LifecycleNow()),
        pending=pending_write(claim.in_doubt),
        link=claim.known,
    )


def _decide_for_shop(claim: Claim) -> Reading:
    lifecycle: Lifecycle = yield LifecycleNow()
    link: OrderLink | None = yield LinkOf(crm_order_id=claim.order_ref)
    if link and (yield LeaseOn(link.woo_id)):
        link = yield LinkOf(crm_order_id=claim.order_ref)
    crm = _taken_from_event(claim, lifecycle) if link else None
    if crm is None:
        crm = claim.crm_order = yield from _or_none(CrmOrder(claim.order_ref))
    linked_elsewhere = ""
    woo_id = link.woo_id if link else woo_id_in(crm.external_id if crm else None, claim.bridge.prefix)
    if link is None and woo_id is not None:
        yield LeaseOn(woo_id)  # another worker may be linking it at this moment
        other: OrderLink | None = yield LinkOf(woo_id=woo_id)
        link = other if other and other.crm_order_id == claim.order_ref else None
        linked_elsewhere = other.crm_order_id if other and link is None else ""
    event = claim.facts(crm)
    known = claim.known = facts_of(link, claim.bridge)
    if woo_id is not None:
        claim.in_doubt = yield IntentOf(woo_id, Intent.Kind.STATUS)
    if known and claim.in_doubt:
        known = replace(known, crm_status="")  # the write may have been made, so the two have to be compared
    if crm is not None and woo_id is not None and (known is None or event.resync or known.crm_status != crm.status):
        claim.shop_order = yield from _or_none(ShopOrder(woo_id))
    claim.compared = compared(event, claim.newest.status, claim.known, crm, claim.shop_order)
    return crm_to_shop(
        event=event,
        link=known,
        crm=crm,
        shop=claim.shop_order,
        lifecycle=lifecycle,
        pending=pending_write(claim.in_doubt),
        linked_elsewhere=linked_elsewhere,
    )


def _taken_from_event(claim: Claim, lifecycle: Lifecycle) -> CrmSnapshot | None:
    """VERIFY=critical: one signed event that carries status and version, and the status is not a critical one."""
    event = claim.newest
    complete = bool(event.status) and event.version is not None
    signed = bool(event.signed_by) and event.copy_of_id is None  # neither what a list showed nor what staff edited
    alone = len(claim.events) == 1
    may_be = alone and signed and complete and event.status not in lifecycle.critical
    if not (claim.bridge.verify == "critical" and may_be and claim.crm().traits.speaks_truly):
        return None
    claim.reasons.append(Reason("taken_from_event", "Not critical: taken from the signed event (VERIFY)."))
    return CrmSnapshot(
        crm_order_id=event.order_ref,
        external_id=None,  # the event does not say
        status=event.status,
        version=event.version,
        updated_at=event.occurred_at,
        answer={"taken_from_event": event.id},
    )


def facts_of(link: OrderLink | None, bridge: Bridge) -> LinkFacts | None:
    if link is None:
        return None
    return LinkFacts(
        woo_id=link.woo_id,
        crm_order_id=link.crm_order_id,
        crm_status=link.crm_status,
        crm_version=link.crm_version,
        crm_updated_at=link.crm_updated_at,
        woo_status=link.woo_status,
        woo_fingerprint=link.woo_fingerprint,
        written_by_us=link.written_by_us,
        identity=link.identity,
        external_id=link.external_id,
        totals_accepted=link.totals_accepted,
        prefix=bridge.prefix,
    )
