"""Take an order, read both sides, decide, apply, record. Network first, transaction after, and short."""

import logging
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from django.conf import settings
from django.db import DataError, IntegrityError, transaction

from orders.models import OrderLink, StatusTransition
from orders.rules import current_lifecycle
from sync.clients import breaker
from sync.clients import crm as crm_backends
from sync.clients import shop as shop_client
from sync.clients.crm.base import Crm
from sync.clients.errors import (
    Maintenance,
    NotConfigured,
    NotFound,
    Rejected,
    SideError,
    Unconfirmed,
    Unkept,
    Unreachable,
)
from sync.clients.http import CallRecord, current_event
from sync.clients.shop import Shop
from sync.clients.snapshots import TRASH, CrmSnapshot, ShopSnapshot, document, fingerprint
from sync.models import Attempt, Call, Intent
from sync.pipeline import disappearance, doubts, internal_events, origin
from sync.pipeline.decide import (
    DOUBTS,
    DRAFTS,
    CreateInCrm,
    Decision,
    EventFacts,
    LinkFacts,
    Park,
    PendingWrite,
    Plan,
    Reason,
    SetShopStatus,
    TransitionDraft,
    UpdateInCrm,
    another_found,
    another_in_crm,
    another_shop,
    crm_to_shop,
    forced,
    shop_to_crm,
    went_on,
)
from sync.pipeline.evidence import compared
from sync.pipeline.leases import DURATION, Busy, Held, LeaseLost, WorkerLost, worker_name
from sync.pipeline.retries import delay_before
from sync.pipeline.whose import external_id, identity, is_same, number_of, woo_id_in
from webhooks import clock, sql
from webhooks.customers import customer_of
from webhooks.masking import masked, masked_text, quoted
from webhooks.models import Outcome, Side, State, WebhookEvent
from webhooks.texts import fit

log = logging.getLogger("orderbridge.attempts")

LOOK_AHEAD = 20
"""Due events that a worker looks at to find an order that no other worker has."""
FRESH_SHARE = 0.5
BUSY_AGAIN = timedelta(seconds=0.3)
REFUSED_BY_DATABASE = (DataError, ValueError, OverflowError)
"""How a database or its driver says that it can not hold a value."""


@dataclass
class Work:
    """All waiting events of one order from one side, held under a lease, and the calls made for them."""

    held: Held
    events: list[WebhookEvent]
    calls: list[CallRecord] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)
    started_at: datetime = field(default_factory=clock.now)
    reasons: list[Reason] = field(default_factory=list)
    compared: dict[str, dict[str, str]] = field(default_factory=dict)
    "Who says what of the order: the event, we from before, the CRM, the shop. For the page that tells why."
    decided_at: datetime | None = None
    customer: str = ""
    "As the shop's order names the customer; what was not delivered, as a sweep's events, gets it only here."
    pending: PendingWrite | None = None
    "A write of an earlier attempt that was in doubt when this one began."
    seen: ShopSnapshot | None = None
    "The shop's order, if a list showed it a moment ago. Good for creating it only: a known one may be newer by now."
    shop_order: ShopSnapshot | None = None
    "What the decision read in the shop, and in the CRM: what tells this order from another one is remembered."
    crm_order: CrmSnapshot | None = None
    asked: bool = False
    "A person wants to know what a replay would do."

    @property
    def is_confirmed(self) -> bool:
        """A person asked for just this, and so says that what is gone is gone. A backfill looks at all there are."""
        by_people = (event.requested_by for event in self.events if event.source != internal_events.BACKFILL)
        return self.asked or any(by_people) or any(event.trigger == "replay" for event in self.events)

    @property
    def newest(self) -> WebhookEvent:
        return self.events[-1]

    @property
    def side(self) -> str:
        return self.newest.side

    @property
    def order_ref(self) -> str:
        return self.newest.order_ref

    @property
    def words(self) -> str:
        return fit(" ".join(reason.words for reason in self.reasons))

    def facts(self, read: CrmSnapshot | None = None) -> EventFacts:
        """`read`: what the CRM shows. A lag lasts since the first event came that is ahead of that, however many come
        after it; if none is, what is waited for is the order itself."""
        ahead = [event for event in self.events if event.version and read and event.version > (read.version or 0)]
        since = min(event.received_at for event in ahead or self.events)
        versions = [event.version for event in self.events if event.version is not None]
        times = [event.occurred_at for event in self.events if event.occurred_at is not None]
        return EventFacts(
            version=max(versions, default=None),
            occurred_at=max(times, default=None),
            waited=clock.now() - since,
            resync=any(event.source == internal_events.RESYNC for event in self.events),
        )

    def shop(self) -> Shop:
        return shop_client.connect(on_call=self.calls.append, before_call=self.held.outlast)

    def crm(self) -> Crm:
        return crm_backends.connect(on_call=self.calls.append, before_call=self.held.outlast)


@dataclass(frozen=True)
class Applied:
    """What the two sides answered to the plan's write."""

    crm: CrmSnapshot | None = None
    created: bool = False
    shop: ShopSnapshot | None = None
    crm_has_it: bool = False
    "The CRM has the order as the shop answered it."


# --- taking work ---------------------------------------------------------------------------------------------------


def work_once() -> bool:
    """Settle the next due order. False: nothing can be done now."""
    orders = next_orders()
    if not orders or not breaker.allows_calls(clock.now(), PINGS):
        return False
    for side, order_ref in orders:
        work = take(side, order_ref)
        if work is not None:
            settle(work)
            return True
    return False


def next_orders() -> list[tuple[str, str]]:
    """Due orders, the longest due first. Behind a backlog, every second look begins with the freshest instead, so that
    an outage that is over does not delay what comes in now."""
    now = clock.now()
    due = "SELECT side, order_ref FROM webhooks_webhookevent WHERE next_attempt_at <= %s ORDER BY"
    orders = sql.rows(f"{due} next_attempt_at, id LIMIT %s", now, LOOK_AHEAD)
    if len(orders) == LOOK_AHEAD and random.random() < FRESH_SHARE:
        orders = [*sql.rows(f"{due} next_attempt_at DESC, id DESC LIMIT %s", now, LOOK_AHEAD // 2), *orders]
    return [(side, order_ref) for side, order_ref in dict.fromkeys(orders)]


def take(side: str, order_ref: str) -> Work | None:
    """Lease the order and claim its due events in one transaction; None if another worker has them."""
    with transaction.atomic():
        try:
            held = Held(lease_key(side, order_ref))
        except Busy:
            return None
        now = clock.now()
        unfinished = "side = %s AND order_ref = %s AND next_attempt_at IS NOT NULL ORDER BY id"
        waiting = sql.find(WebhookEvent, unfinished, side, order_ref)
        first = next((event for event in waiting if event.next_attempt_at and event.next_attempt_at <= now), None)
        if first is None:
            held.release()
            return None
        # Events of this order that wait for a later try are answered by the same read.
        events = internal_events.answered_together(waiting, first)
        _lock(events)
        claimed = sql.execute(
            "UPDATE webhooks_webhookevent SET state = %s, next_attempt_at = %s "
            "WHERE id IN (%s) AND next_attempt_at IS NOT NULL",
            *(State.PROCESSING, now + DURATION, [event.id for event in events]),
        )
        if claimed != len(events):
            # On PostgreSQL: somebody has set one of them aside since we looked. The next look tells what is left to do.
            transaction.set_rollback(True)
            return None
        work = Work(held=held, events=events)
        claimed_before = [event for event in events if event.state == State.PROCESSING]
        lost = [event for event in claimed_before if event.next_attempt_at and event.next_attempt_at <= now]
        if lost and _was_the_last(work, lost):
            return None
    return work


def _was_the_last(work: Work, lost: list[WebhookEvent]) -> bool:
    """Count the attempt of a worker that ended before it recorded anything: killed, or with a call that hung.

    Not counted, an order that always ends its worker would end one after the other for ever. True: it is given up now.
    """
    error = WorkerLost("The worker that had it ended, or hung until it was ended, before it recorded anything.")
    for event in lost:
        event.attempts += 1
    attempts = max(event.attempts for event in work.events)
    claimed_at = max(event.next_attempt_at or work.started_at for event in lost) - DURATION
    before = Work(held=work.held, events=work.events, started=work.started, started_at=claimed_at)
    before.started -= min(work.started_at - claimed_at, DURATION).total_seconds()
    if attempts >= settings.RETRY_MAX_ATTEMPTS:
        _give_up(before, error, attempts)
        return True
    sql.execute(
        "UPDATE webhooks_webhookevent SET attempts = attempts + 1 WHERE id IN (%s)", [event.id for event in lost]
    )
    save_attempt(before, type(error).__name__, error=str(error))
    return False


def lease_key(side: str, order_ref: str) -> str:
    """One key for an order whichever side speaks of it, once the pair is known."""
    if side == Side.SHOP:
        return f"woo:{order_ref}"
    known = sql.rows("SELECT woo_id FROM orders_orderlink WHERE crm_order_id = %s", order_ref)
    return f"woo:{known[0][0]}" if known else f"crm:{order_ref}"


def _ping_shop() -> None:
    shop_client.connect().ping()


def _ping_crm() -> None:
    crm_backends.connect().ping()


PINGS: dict[str, Callable[[], None]] = {Side.SHOP: _ping_shop, Side.CRM: _ping_crm}


# --- one order -----------------------------------------------------------------------------------------------------


def settle(work: Work) -> None:
    """Read, decide, apply, record; and when something fails, record that."""
    with watched(work):
        carry_out(work, _too_many_changes(work) or decide(work))
        heard([work])


@contextmanager
def watched(work: Work) -> Iterator[None]:
    """Whatever fails in it is recorded, and ends there."""
    context = current_event.set(work.newest.id)
    try:
        with _failures_recorded(work):
            yield
    except LeaseLost:  # noticed at the work, or only when its failure was to be recorded
        log.warning("lease lost", extra={"event": work.newest.id, "order": work.order_ref})
    finally:
        current_event.reset(context)


@contextmanager
def _failures_recorded(work: Work) -> Iterator[None]:
    try:
        yield
    except LeaseLost:
        raise
    except Busy:
        postpone(work, BUSY_AGAIN, result="waiting")
    except SideError as error:
        heard([work], but=error.side)
        fail(work, error)
    except Exception as error:  # a bug must cost one event its attempts, not all events their worker
        log.exception("unexpected error", extra={"event": work.newest.id, "order": work.order_ref})
        fail(work, error)


def carry_out(work: Work, decision: Decision) -> None:
    """Do what was decided, and record it."""
    take_down(work, decision)
    if isinstance(decision, Plan | Park) and decision.confirmed:
        confirm(work, decision)
    if isinstance(decision, Plan):
        record(work, decision, apply(work, decision))
    elif isinstance(decision, Park):
        park(work, decision)
        disappearance.see(decision)
    else:
        postpone(work, decision.after, result="waiting")


def take_down(work: Work, decision: Decision) -> None:
    """When it was decided, and why."""
    work.decided_at = clock.now()
    work.reasons.extend(decision.reasons)


def heard(works: Sequence[Work], but: str = "") -> None:
    """Of the sides that gave good answers."""
    calls = (call for work in works for call in work.calls)
    breaker.record_success({call.side for call in calls if call.status and call.status < 400} - {but}, clock.now())


def _too_many_changes(work: Work) -> Park | None:
    """The loop breaker: two systems that answer each other for ever need a person (FACTS A9)."""
    if any(event.requested_by for event in work.events):
        return None
    since = clock.now() - timedelta(seconds=settings.LOOP_WINDOW_SECONDS)
    [(changes,)] = sql.rows(
        "SELECT count(*) FROM webhooks_webhookevent WHERE side = %s AND order_ref = %s AND finished_at >= %s "
        "AND outcome IN (%s)",
        *(work.side, work.order_ref, since, [Outcome.APPLIED, Outcome.UPDATED]),
    )
    if changes < settings.LOOP_MAX_CHANGES:
        return None
    words = f"{changes} changes within {settings.LOOP_WINDOW_SECONDS} s: a loop? Look at the order, then replay."
    return Park(reasons=(Reason("loop", words),))


def decide(work: Work) -> Decision:
    """Read what the decision needs, then decide. Nothing is written to either side here."""
    if work.side == Side.SHOP:
        return _decide_for_crm(work)
    return _decide_by_force(work) if internal_events.is_force(work.newest) else _decide_for_shop(work)


def _decide_for_crm(work: Work) -> Decision:
    woo_id = int(work.order_ref)
    link = sql.one(OrderLink, woo_id=woo_id)
    if link and internal_events.is_make_anew(work.newest):
        there = _still_in_crm(work, link)
        if there is not None:
            return there
        link = None  # from here on as an order that was never linked: looked for, then made
    fresh = work.seen if link is None and len(work.events) == 1 else None
    shop = fresh or _shop_or_none(work, woo_id) or ShopSnapshot.gone(woo_id)
    tried = None if link else sql.one(Intent, woo_id=woo_id, kind=Intent.Kind.CREATE)
    return look_and_decide(work, shop, link, tried)


def _still_in_crm(work: Work, link: OrderLink) -> Plan | None:
    """None: the CRM does not know the order any more, or gave its id to another one."""
    try:
        crm = work.crm().get(link.crm_order_id)
    except NotFound:
        return None
    if another_in_crm(facts_of(link), crm):
        return None
    return Plan(
        outcome=Outcome.NO_CHANGE, reasons=(Reason("still_there", f"The CRM knows order {link.crm_order_id}."),)
    )


def look_and_decide(work: Work, shop: ShopSnapshot, link: OrderLink | None, tried: Intent | None) -> Decision:
    """For the CRM, which is asked for an order that is not linked; the database is not.

    An order that the shop does not know is never created: whoever told of it, it was another shop, or it is gone.
    """
    if foreign := _foreign(work, shop):
        return foreign
    asked_at = clock.now()  # the CRM's list is as old as the question, however late the answer comes
    name = external_id(shop.woo_id, settings.EXTERNAL_ID_PREFIX)
    found = work.crm().find(name) if link is None and (shop.is_known or tried) else None
    known = facts_of(link)
    work.customer, work.shop_order, work.crm_order = customer_of(shop.order), shop, found
    work.compared = compared(work.facts(), work.newest.status, known, found, shop)
    decision = shop_to_crm(
        link=known,
        shop=shop,
        found=found,
        create_tried=asked_at - tried.at if tried else None,
        list_lag=timedelta(seconds=settings.CRM_LIST_LAG),
        external_id=name,
    )
    if known and isinstance(decision, Plan) and isinstance(decision.write, UpdateInCrm):
        if not shop.is_known:
            if not work.is_confirmed and (park := disappearance.held(shop.woo_id)):
                return park
            decision = replace(decision, reasons=(disappearance.GONE, *decision.reasons))
        # A CRM may have given the id to another order since; an update is not taken back (docs/decisions/0057).
        work.crm_order = work.crm().get(known.crm_order_id)
        return another_in_crm(known, work.crm_order) or decision
    return decision


def _foreign(work: Work, shop: ShopSnapshot) -> Park | None:
    """On our shop's own host the order tells: the delivery is ours if it speaks of the order that is there."""
    client = work.shop()
    address = origin.another(work.events, client)
    if address is None:
        return None
    if origin.is_on_our_host(address, client):
        body = origin.order_in(work.newest)
        told = identity(body) if isinstance(body, dict) else {}
        if not told or (shop.is_known and is_same(told, identity(shop.order))):
            return None
    return another_shop(str(address), settings.WOO_URL)


def _decide_by_force(work: Work) -> Decision:
    woo_id, to_status, words = internal_events.read_force(work.newest)
    _hold(work, woo_id)
    shop = _shop_or_none(work, woo_id)
    work.pending = _pending_write(woo_id)
    known = facts_of(sql.one(OrderLink, woo_id=woo_id))
    return forced(
        shop=shop,
        woo_id=woo_id,
        to_status=to_status,
        words=words,
        lifecycle=current_lifecycle(),
        pending=work.pending,
        link=known,
    )


def _decide_for_shop(work: Work) -> Decision:
    lifecycle = current_lifecycle()
    link = sql.one(OrderLink, crm_order_id=work.order_ref)
    if link and _hold(work, link.woo_id):
        link.refresh_from_db()
    crm = _read_crm_order(work, link, lifecycle.critical)
    linked_elsewhere = ""
    woo_id = link.woo_id if link else woo_id_in(crm.external_id if crm else None, settings.EXTERNAL_ID_PREFIX)
    if link is None and woo_id is not None:
        # Another worker may be linking it at this moment.
        _hold(work, woo_id)
        other = sql.one(OrderLink, woo_id=woo_id)
        link = other if other and other.crm_order_id == work.order_ref else None
        linked_elsewhere = other.crm_order_id if other and link is None else ""
    event = work.facts(crm)
    shop: ShopSnapshot | None = None
    known = facts_of(link)
    work.pending = pending = _pending_write(woo_id) if woo_id is not None else None
    if known and pending:
        known = replace(known, crm_status="")  # the write may have been made, so the two have to be compared
    if crm is not None and woo_id is not None and (known is None or event.resync or known.crm_status != crm.status):
        shop = _shop_or_none(work, woo_id)
    work.shop_order = shop
    work.compared = compared(event, work.newest.status, facts_of(link), crm, shop)
    return crm_to_shop(
        event=event,
        link=known,
        crm=crm,
        shop=shop,
        lifecycle=lifecycle,
        pending=pending,
        linked_elsewhere=linked_elsewhere,
    )


def _hold(work: Work, woo_id: int) -> bool:
    """Once the pair is known, the order is known by its shop id. True: it became so after the work was taken, and what
    was read of the pair before may be old. Raises Busy."""
    key = f"woo:{woo_id}"
    if key in work.held.keys:
        return False
    work.held.take(key)
    return True


def _pending_write(woo_id: int) -> PendingWrite | None:
    intent = sql.one(Intent, woo_id=woo_id, kind=Intent.Kind.STATUS)
    if intent is None:
        return None
    may_come = intent.may_come_until - clock.now() if intent.may_come_until else timedelta(0)
    return PendingWrite(from_status=intent.from_status, to_status=intent.to_status, may_come=may_come)


def _read_crm_order(work: Work, link: OrderLink | None, critical: frozenset[str]) -> CrmSnapshot | None:
    event = work.newest
    if link and _may_be_taken(work, critical):
        work.reasons.append(Reason("taken_from_event", "Not critical: taken from the signed event (VERIFY)."))
        return CrmSnapshot(
            crm_order_id=event.order_ref,
            external_id=None,  # the event does not say
            status=event.status,
            version=event.version,
            updated_at=event.occurred_at,
            answer={"taken_from_event": event.id},
        )
    with suppress(NotFound):
        work.crm_order = work.crm().get(work.order_ref)
    return work.crm_order


def _may_be_taken(work: Work, critical: frozenset[str]) -> bool:
    """VERIFY=critical: one signed event that carries status and version, and the status is not a critical one."""
    event = work.newest
    complete = bool(event.status) and event.version is not None
    signed = bool(event.signed_by) and event.copy_of_id is None  # neither what a list showed nor what staff edited
    alone = len(work.events) == 1
    return settings.VERIFY == "critical" and alone and signed and complete and event.status not in critical


def _shop_or_none(work: Work, woo_id: int) -> ShopSnapshot | None:
    try:
        return work.shop().get(woo_id)
    except NotFound:
        return None


def facts_of(link: OrderLink | None) -> LinkFacts | None:
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
        prefix=settings.EXTERNAL_ID_PREFIX,
    )


# --- apply: the only code that writes to the two sides -------------------------------------------------------------


def apply(work: Work, plan: Plan) -> Applied:
    """Make the plan's write. What is about to be written is remembered first, outside any transaction."""
    match plan.write:
        case CreateInCrm() as creation:
            remember(work, int(work.order_ref), Intent.Kind.CREATE)
            return create(work, creation)
        case UpdateInCrm(crm_order_id=crm_order_id, order=order):
            return Applied(crm=work.crm().update(crm_order_id, order))
        case SetShopStatus(woo_id=woo_id, from_status=old, to_status=new):
            remember(work, woo_id, Intent.Kind.STATUS, old, new)
            answer = set_status(work, woo_id, old, new)
            if answer.status != new:
                work.reasons.append(Reason("went_on", went_on(new, answer.status)))
            return tell_of_write(work, plan, new, answer)
        case None:
            return Applied()


def set_status(work: Work, woo_id: int, old: str, new: str) -> ShopSnapshot:
    """Send a status that is remembered. The answer may show a third one: something in the shop went on at once."""
    try:
        answer = work.shop().set_status(woo_id, new)
    except SideError as error:
        if error.may_come_later:
            until = clock.now() + timedelta(seconds=settings.SHOP_WRITE_LAG)
            remember(work, woo_id, Intent.Kind.STATUS, old, new, may_come_until=until)
        elif not error.may_have_got_through and work.pending is None:
            # Nothing is in doubt: whoever sets it by hand meanwhile did that, and not we.
            _take_back(work, woo_id, Intent.Kind.STATUS)
        raise
    if answer.status == old:
        words = f"The shop answered well but still shows {old!r} instead of {new!r}; a plugin may hinder it."
        raise Unconfirmed(words, side=Side.SHOP)
    return answer


def tell_of_write(work: Work, plan: Plan, asked: str, answer: ShopSnapshot) -> Applied:
    """What a status brings with it in the shop, as `date_paid`, goes to the CRM at once (docs/decisions/0060).

    If that fails, or if news of the shop's own are on their way, the delivery that our write causes brings it there.
    """
    before = plan.crm_has
    if before is None:
        return Applied(shop=answer)
    told = document(answer.order)
    asked_by_crm = plan.crm_seen is not None  # and not by staff, who force a move
    if asked_by_crm and told == {**document(before.order), "status": asked}:
        return Applied(shop=answer, crm_has_it=True)
    try:
        # Where a person or the event alone led to the move, the CRM's order was not read yet.
        crm = work.crm_order or work.crm().get(work.order_ref)
        if another := another_in_crm(facts_of(sql.one(OrderLink, crm_order_id=work.order_ref)), crm):
            work.reasons.extend(another.reasons)
            doubts.tell(another.reasons[0])
            return Applied(shop=answer)
        return Applied(shop=answer, crm=work.crm().update(work.order_ref, told), crm_has_it=True)
    except SideError as error:
        if not _is_about_the_order(work, error):
            breaker.record_failure(error, clock.now())
        words = f"The CRM could not be told what the move brought with it; the shop's next delivery will: {error}"
        work.reasons.append(Reason("not_told_yet", words))
        return Applied(shop=answer)


def create(work: Work, creation: CreateInCrm) -> Applied:
    """Send a creation that is remembered."""
    woo_id = int(work.order_ref)
    try:
        answer, created = work.crm().create(creation.external_id, creation.order)
    except Unreachable:
        _take_back(work, woo_id, Intent.Kind.CREATE)  # nothing was sent, so nothing is in doubt
        raise
    except SideError as error:
        if error.may_have_got_through:
            remember(work, woo_id, Intent.Kind.CREATE)  # it may have taken effect as late as now
        raise
    if not created and work.shop_order and (another := another_found(answer, work.shop_order)):
        [reason] = another.reasons
        doubts.tell(reason)
        raise Rejected(reason.words, side="crm")
    return Applied(crm=answer, created=created)


def _take_back(work: Work, woo_id: int, kind: str) -> None:
    with transaction.atomic():
        work.held.renew()
        forget([woo_id], kind)


def remember(
    work: Work,
    woo_id: int,
    kind: str,
    from_status: str = "",
    to_status: str = "",
    may_come_until: datetime | None = None,
) -> None:
    """Under the lease only: a worker that has lost it would leave an intent behind that nobody has."""
    intent = Intent(woo_id=woo_id, kind=kind, from_status=from_status, to_status=to_status, at=clock.now())
    intent.may_come_until = may_come_until
    with transaction.atomic():
        work.held.renew()
        keep([intent])


def keep(intents: Sequence[Intent]) -> None:
    """Each in the place of an older one of its kind."""
    sql.insert(
        intents,
        "ON CONFLICT (woo_id, kind) DO UPDATE "
        "SET from_status = excluded.from_status, to_status = excluded.to_status, at = excluded.at, "
        "may_come_until = excluded.may_come_until",
    )


def forget(woo_ids: Sequence[int], kind: str) -> None:
    sql.execute("DELETE FROM sync_intent WHERE kind = %s AND woo_id IN (%s)", kind, list(woo_ids))


def confirm(work: Work, decision: Plan | Park) -> None:
    """Log what an earlier attempt wrote, before our own intent takes the place of its. Until an event of the CRM is
    recorded, the link does not say that both sides agree; a forced move says nothing about that."""
    with transaction.atomic():
        work.held.renew()
        link = sql.one(OrderLink, crm_order_id=work.order_ref)
        if link is None and isinstance(decision, Plan) and decision.woo_id is not None:
            link = OrderLink(woo_id=decision.woo_id, crm_order_id=work.order_ref)
        if link is None:
            return
        if not internal_events.is_force(work.newest):
            link.crm_status = ""
        link.save()
        for draft in decision.confirmed:
            log_transition(work, link, draft, decision.crm_seen if isinstance(decision, Plan) else None)
        forget([link.woo_id], Intent.Kind.STATUS)


def log_transition(work: Work, link: OrderLink, draft: TransitionDraft, seen: CrmSnapshot | None) -> None:
    """It stays for ever, and so must not tell of the customer."""
    StatusTransition(
        link=link,
        from_status=draft.from_status,
        to_status=draft.to_status,
        decision=draft.decision,
        reason=masked_text(draft.reason),
        crm_status=seen.status if seen else "",
        crm_version=seen.version if seen else None,
        crm_answer=masked(dict(seen.answer)) if seen else {},
        event=work.newest,
        actor=work.newest.requested_by,
    ).save()


# --- record --------------------------------------------------------------------------------------------------------


def record(work: Work, plan: Plan, applied: Applied) -> None:
    """Link, transitions, outcome, attempt and the end of the lease: all of it or none of it."""
    try:
        with transaction.atomic():
            work.held.release()
            link = save_link(work, plan, applied)
            for draft in plan.transitions:
                if link is None:
                    break
                if applied.shop is not None and applied.shop.status != draft.to_status:
                    draft = replace(draft, reason=f"{draft.reason} {went_on(draft.to_status, applied.shop.status)}")
                log_transition(work, link, draft, plan.crm_seen)
            if plan.woo_id is not None:
                forget([plan.woo_id], Intent.Kind.CREATE if work.side == Side.SHOP else Intent.Kind.STATUS)
            finish(work, State.DONE, plan.outcome)
            save_attempt(work, plan.outcome)
    except IntegrityError:
        other = _linked_otherwise(work, plan, applied)
        if other is None:
            raise
        # Staff must merge; nothing is overwritten.
        words = f"The order could not be linked: shop order {other.woo_id} is linked to {other.crm_order_id} already."
        work.reasons.append(Reason("link_conflict", words))
        park(work, Park(reasons=()))
        return
    except REFUSED_BY_DATABASE as error:
        if plan.write is None:
            raise
        log.exception("can not be recorded", extra={"event": work.newest.id, "order": work.order_ref})
        to = Side.CRM if work.side == Side.SHOP else Side.SHOP
        words = f"The {to} was written to, and what it answered cannot be kept: {quoted(str(error))}."
        raise Unkept(words) from error
    for draft in plan.transitions:
        log.info(
            "transition",
            extra={
                "event": work.newest.id,
                "order": plan.woo_id,
                "from": draft.from_status,
                "to": draft.to_status,
                "decision": draft.decision,
            },
        )


def _linked_otherwise(work: Work, plan: Plan, applied: Applied) -> OrderLink | None:
    """The link in which one of the two ids stands beside another. None: whatever broke the database's rules, it is no
    pair."""
    if plan.woo_id is None:
        return None
    pair = new_link(work, plan.woo_id, applied)
    if work.side == Side.CRM:
        other = sql.one(OrderLink, woo_id=pair.woo_id)
    else:
        other = sql.one(OrderLink, crm_order_id=pair.crm_order_id) if applied.crm else None
    return other if other and (other.woo_id, other.crm_order_id) != (pair.woo_id, pair.crm_order_id) else None


def save_link(work: Work, plan: Plan, applied: Applied) -> OrderLink | None:
    """What we know of the pair after this plan."""
    known = {"woo_id": int(work.order_ref)} if work.side == Side.SHOP else {"crm_order_id": work.order_ref}
    row = sql.one(OrderLink, **known)
    if row is None:
        if plan.woo_id is None:
            return None
        row = new_link(work, plan.woo_id, applied)
    elif internal_events.is_make_anew(work.newest) and applied.crm is not None:
        _relink(row, applied.crm.crm_order_id)
    was_in_trash = row.woo_status == TRASH
    fill_in(row, work, plan, applied)
    row.save()
    if work.side == Side.SHOP and was_in_trash and row.woo_status != TRASH and _was_held_up(row):
        internal_events.resync(row, reason="It is back from the trash, where no move of the CRM reached it.")
    is_gone = work.side == Side.SHOP and work.shop_order is not None and not work.shop_order.is_known
    if is_gone and row.woo_status == TRASH and not was_in_trash and _has_parked_moves(row):
        internal_events.resync(row, reason="The shop has deleted it, and the CRM was told so since it moved it.")
    return row


def _relink(row: OrderLink, crm_order_id: str) -> None:
    """To the order that the CRM has in the place of the one that it lost; what waits for that one waits in vain."""
    was_ours, lost, row.crm_order_id = row.is_ours, row.crm_order_id, crm_order_id
    if was_ours:  # a pair that somebody changed by hand is not made good by this
        row.sign()
    row.crm_status, row.crm_version, row.crm_updated_at, row.external_id = "", None, None, ""
    stuck = WebhookEvent.objects.filter(side=Side.CRM, order_ref=lost, state__in=(State.PARKED, State.DEAD))
    words = f"The CRM lost order {lost}; it has {crm_order_id} in its place."
    stuck.update(state=State.DONE, outcome=Outcome.SUPERSEDED, reason=words, finished_at=clock.now())


def _was_held_up(row: OrderLink) -> bool:
    """The CRM moved it while it lay in the trash."""
    lifecycle = current_lifecycle()
    target = lifecycle.status_map.get(row.crm_status, row.woo_status)
    return target != row.woo_status and not lifecycle.is_ahead(row.woo_status, of=target)


def _has_parked_moves(row: OrderLink) -> bool:
    """They met with the deletion before the CRM was told of it. Asked once more, they need nobody."""
    return WebhookEvent.objects.filter(side=Side.CRM, order_ref=row.crm_order_id, state=State.PARKED).exists()


def new_link(work: Work, woo_id: int, applied: Applied) -> OrderLink:
    return OrderLink(woo_id=woo_id, crm_order_id=applied.crm.crm_order_id if applied.crm else work.order_ref)


def fill_in(row: OrderLink, work: Work, plan: Plan, applied: Applied) -> None:
    if work.side == Side.SHOP:
        _remember_shop_content(row, plan, applied)
    else:
        _remember_crm_state(row, plan, applied)
    _remember_whose(row, work, plan, applied)
    row.verified_at = clock.now()


def _remember_shop_content(row: OrderLink, plan: Plan, applied: Applied) -> None:
    """After shop → CRM. The answer to our own creation is where the link begins; of an order that was found there
    we have never seen the status, so its next event counts as a move (docs/decisions/0008)."""
    write = plan.write
    if isinstance(write, CreateInCrm | UpdateInCrm):
        row.woo_status, row.woo_fingerprint = str(write.order.get("status", "")), fingerprint(write.order)
        row.written_by_us = False
    elif plan.crm_has is not None:
        row.woo_fingerprint = plan.crm_has.fingerprint  # the same, but where an earlier release made it
    _remember_answer(row, applied)


def _remember_answer(row: OrderLink, applied: Applied) -> None:
    """The CRM's answer to what it was told. Another status there is a move, which its own event brings."""
    answer = applied.crm
    if answer is not None and (applied.created or answer.status == row.crm_status):
        row.crm_status, row.crm_version, row.crm_updated_at = answer.status, answer.version, answer.updated_at


def _remember_whose(row: OrderLink, work: Work, plan: Plan, applied: Applied) -> None:
    """What tells this order from another one with its number or id. A link of before learns it now."""
    shop, crm = work.shop_order, work.crm_order or applied.crm
    if shop is not None and shop.is_known and shop.status not in DRAFTS:  # a draft gets its creation time in the end
        row.identity = {**row.identity, **identity(shop.order)}
        row.number = number_of(shop.order)
    if crm is not None and crm.external_id:
        row.external_id = crm.external_id
    elif isinstance(plan.write, CreateInCrm):
        row.external_id = plan.write.external_id


def _remember_crm_state(row: OrderLink, plan: Plan, applied: Applied) -> None:
    """After CRM → shop."""
    seen = plan.crm_seen
    if seen is not None:
        row.crm_status, row.crm_version, row.crm_updated_at = seen.status, seen.version, seen.updated_at
    _remember_answer(row, applied)
    if applied.shop is not None:
        row.woo_status = applied.shop.status
        if applied.crm_has_it:
            row.woo_fingerprint, row.written_by_us = applied.shop.fingerprint, True


def _lock(events: Sequence[WebhookEvent]) -> None:
    """Before several are changed."""
    if len(events) > 1:
        WebhookEvent.objects.filter(id__in=[event.id for event in events]).hold()


def finish(work: Work, state: str, outcome: str = "") -> None:
    """The newest event says what was done; the others were answered by the same read."""
    now = clock.now()
    newest, others = work.newest, [event.id for event in work.events[:-1]]
    # Not where the body is past its retention: the hash went with it.
    customer = work.customer if work.customer and newest.body else None
    _lock(work.events)
    sql.execute(
        "UPDATE webhooks_webhookevent SET state = %s, outcome = %s, reason = %s, next_attempt_at = NULL, "
        "finished_at = %s, customer = COALESCE(%s, customer) WHERE id = %s",
        *(state, outcome, work.words, now, customer, newest.id),
    )
    if others:
        WebhookEvent.objects.filter(id__in=others).update(
            state=State.DONE,
            outcome=Outcome.SUPERSEDED,
            reason=f"Answered by the same read as event {newest.id}.",
            next_attempt_at=None,
            finished_at=now,
        )


def park(work: Work, decision: Park) -> None:
    with transaction.atomic():
        work.held.release()
        finish(work, State.PARKED)
        save_attempt(work, "parked")
    for reason in decision.reasons:
        if reason.code in DOUBTS:
            doubts.tell(reason)


def postpone(work: Work, after: timedelta, *, result: str, error: str = "") -> None:
    """Not the event's fault: due again later, no attempt used up."""
    _put_back(work, after, result=result, error=error, counted=0)


def fail(work: Work, error: Exception) -> None:
    """Whatever the failed attempt met with, that it failed is recorded, and why."""
    try:
        _fail(work, error)
    except REFUSED_BY_DATABASE:
        log.exception("recorded without what was seen", extra={"event": work.newest.id, "order": work.order_ref})
        work.reasons, work.compared, work.calls, work.customer = [], {}, [], ""
        _fail(work, error)


def _fail(work: Work, error: Exception) -> None:
    """Again with backoff, at once when the side is back, or dead when the attempts are used up."""
    result = type(error).__name__
    if (
        isinstance(error, SideError)
        and not _is_about_the_order(work, error)
        and breaker.record_failure(error, clock.now())
    ):
        _put_back(work, timedelta(0), result=result, error=str(error), counted=0)
        return
    attempt = max(event.attempts for event in work.events) + 1
    tries = (isinstance(error, SideError) and error.tries) or settings.RETRY_MAX_ATTEMPTS
    if (isinstance(error, SideError) and not error.again) or attempt >= tries:
        _give_up(work, error, attempt)
        return
    delay = delay_before(
        attempt=attempt,
        error=error if isinstance(error, SideError) else None,
        base=settings.RETRY_BASE_SECONDS,
        longest=settings.RETRY_MAX_SECONDS,
    )
    _put_back(work, delay, result=result, error=_told(error), counted=1)


def _is_about_the_order(work: Work, error: SideError) -> bool:
    """Whatever a call about an order ended with, read or write: a side that answers a cheap read is not away."""
    ping = PINGS.get(error.side)
    if ping is None or not error.outage or isinstance(error, NotConfigured | Maintenance):
        return False
    work.held.outlast()
    try:
        ping()
    except SideError:
        return False
    breaker.record_success([error.side], clock.now())
    return True


def _give_up(work: Work, error: Exception, attempt: int) -> None:
    permanent = isinstance(error, SideError) and (not error.again or error.tries is not None)
    hint = "Mend the cause, then replay."
    words = f"{error} {hint}" if permanent else f"Given up after {attempt} attempts: {_told(error)} {hint}"
    work.reasons.append(Reason("gave_up", words))
    with transaction.atomic():
        work.held.release()
        finish(work, State.PARKED if permanent else State.DEAD)
        WebhookEvent.objects.filter(id=work.newest.id).update(attempts=attempt)
        save_attempt(work, type(error).__name__, error=_told(error))


def _told(error: Exception) -> str:
    """Our own words are for everybody; an error of Python or a library may quote what it was given."""
    return str(error) if isinstance(error, SideError | WorkerLost) else quoted(fit(str(error)))


def _put_back(work: Work, after: timedelta, *, result: str, error: str, counted: int) -> None:
    now = clock.now()
    words = error or work.words
    with transaction.atomic():
        work.held.release()
        _lock(work.events)
        for event in work.events:
            WebhookEvent.objects.filter(id=event.id).update(
                state=State.RETRYING,
                next_attempt_at=now + after,
                attempts=event.attempts + counted,
                reason=words,
                trigger="retry",
            )
        if result != "waiting" or work.calls:
            save_attempt(work, result, error=error)


def save_attempt(work: Work, result: str, error: str = "") -> None:
    """Append the attempt and its calls. Inside the caller's transaction."""
    save_attempts([work], result, error)


def save_attempts(works: Sequence[Work], result: str, error: str = "") -> None:
    """The same of many that came to the same result."""
    attempts = [
        Attempt(
            event=work.newest,
            trigger=work.newest.trigger,
            actor=work.newest.requested_by,
            worker=worker_name(),
            started_at=work.started_at,
            milliseconds=round((time.monotonic() - work.started) * 1000),
            result=result,
            reasons=fit([[reason.code, reason.words] for reason in work.reasons]),
            compared=work.compared,
            decided_at=work.decided_at,
            error=error,
        )
        for work in works
    ]
    ids = sql.insert(attempts)
    sql.insert([row for attempt, work in zip(ids, works, strict=True) for row in _rows(attempt, work.calls)])
    for attempt, work in zip(attempts, works, strict=True):
        log.info(
            "attempt",
            extra={
                "event": work.newest.id,
                "order": work.order_ref,
                "side": work.side,
                "result": result,
                "milliseconds": attempt.milliseconds,
                "superseded": len(work.events) - 1,
                "error": error,
            },
        )


def _rows(attempt: int, calls: Sequence[CallRecord]) -> list[Call]:
    return [
        Call(
            attempt_id=attempt,
            side=call.side,
            method=call.method,
            url=call.url[:500],
            status=call.status,
            milliseconds=call.milliseconds,
            request_body=call.request_body,
            response_body=call.response_body,
            error=call.error,
            at=call.at,
        )
        for call in calls
    ]
