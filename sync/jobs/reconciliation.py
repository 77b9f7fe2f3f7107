"""What no delivery told us of: both sides are asked what changed, and what was missed becomes an event.

A cursor is a side's own time, and it moves only once the events are stored. What changed is compared by content with
what we know, so that asking twice costs nothing: hence the overlap for what shows up late.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from http import HTTPStatus
from typing import Any, TypeVar

from django.conf import settings
from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from orders.defaults import FIRST
from orders.lifecycle import Lifecycle
from orders.models import OrderLink
from orders.rules import current_lifecycle
from sync import alarms
from sync.clients import breaker
from sync.clients import crm as crm_backends
from sync.clients import shop as shop_client
from sync.clients.crm.base import Crm
from sync.clients.crm.feed import Feed
from sync.clients.errors import Blocked, Hidden, NotFound, SideError, Unreadable
from sync.clients.http import CallRecord
from sync.clients.paging import alone
from sync.clients.shop import Shop
from sync.clients.snapshots import CARRIED, COMPOSER, TRASH, CrmSnapshot, ShopSnapshot
from sync.clients.walk import LeftOut, Place, Walk, modified, stamp
from sync.jobs import engine, forms, shop_identity
from sync.jobs.settling import LEFT_OUT, Steps, leave_out, patiently
from sync.models import Run, SideState
from sync.pipeline import disappearance, worker
from sync.pipeline.decide import DRAFTS, another_in_crm
from sync.pipeline.internal_events import SWEEP
from sync.pipeline.whose import woo_id_in
from sync.registry import DAY, Job, Planned, Starter, register
from webhooks import clock, intake
from webhooks.masking import masked_text
from webhooks.models import Outcome, Side, State, WebhookEvent, WebhookEventQuerySet
from webhooks.wake import wake

T = TypeVar("T")

OVERLAP = timedelta(minutes=5)
"""What was changed so long before the cursor may have been hidden by a transaction that was still open."""
TOLERANCE = timedelta(minutes=1)
"""A cursor that is further ahead of its side's clock: that clock was put back."""
BATCH = 100
COUNTS = ("seen", "shop", "crm")
"""Orders read, and what was missed on each side."""
NAMED = 100
"""Finds that a run remembers by name."""
DEEP_WITHIN = timedelta(hours=25)
"""A deep run that did not get to its end in the night is made up for."""
DEEP_AGAIN = timedelta(hours=1)
"""Not sooner after one that failed: in between, normal runs get their turn."""
KEPT = timedelta(days=7)
"""Scheduled runs are many; what they found stays, as events."""
WOOCOMMERCE = frozenset({"pending", "processing", "on-hold", "completed", "cancelled", "refunded", "failed"})
"""The statuses of a shop without plugins (FACTS B3)."""
NEEDS_A_PERSON = (State.PARKED, State.DEAD)
SHOP, CRM, DELETED = "shop", "crm", "deleted"
"""The parts of a run. Only a deep one looks at every linked order: WooCommerce tells nobody of one that was deleted for
good, and what a plugin or a hand changes in its database leaves the time of the last change as it was."""
HALVES = {SHOP: "The shop's changes", CRM: "The CRM's changes", DELETED: "All linked orders"}
OVER, FAILED = "over", "failed"
PATIENCE = 5.0
"""Seconds that a run of the workers waits for a side that fails."""
ROUNDS = 3
"""After so many without an end of a side's sweep it needs a person."""


@dataclass(frozen=True, kw_only=True)
class Missed:
    """A change that no delivery told us of. `key` is that of the change: found again, it is the same event."""

    side: str
    topic: str
    order_ref: str
    key: str
    body: Mapping[str, Any] = field(repr=False)
    version: int | None = None
    status: str = ""
    occurred_at: datetime | None = None
    requested_by: str = ""
    "Who says that it is so, where that has to be confirmed."

    def post(self) -> bool:
        """Store it; or ask again for the event of an earlier find that left the two sides apart. False: neither."""
        said: Any = {name: getattr(self, name) for name in self.__dataclass_fields__}
        if intake.post(source=SWEEP, **said)[1]:
            return True
        event = self._known().select_for_update().get()
        again = self._again(event)
        if again:
            event.ask_again(trigger=SWEEP, by=self.requested_by)
        return again

    def is_new(self) -> bool:
        """What `post` would answer."""
        event = self._known().first()
        return event is None or self._again(event)

    def _again(self, event: WebhookEvent) -> bool:
        is_word_of_a_person = bool(self.requested_by) and event.state in NEEDS_A_PERSON
        return is_word_of_a_person or _to_be_asked_again(event)

    def _known(self) -> WebhookEventQuerySet:
        return WebhookEvent.objects.filter(source=SWEEP, dedupe_key=self.key).defer("body", "headers")


def _to_be_asked_again(event: WebhookEvent) -> bool:
    """Its change was found once more, so the read that settled the event was behind the list, or was undone since.

    What waits for a person or was resolved is left alone; what names no order of ours, until it is linked. If it was
    refused, then something else was: a change that is refused is known, and not found once more.
    """
    if event.state != State.DONE or event.outcome == Outcome.RESOLVED:
        return False
    if event.outcome == Outcome.NOT_OURS:
        return OrderLink.objects.filter(crm_order_id=event.order_ref).exists()
    later = WebhookEvent.objects.filter(side=event.side, order_ref=event.order_ref, pk__gt=event.pk)
    return not later.filter(state__in=NEEDS_A_PERSON).exists()


class Clock:
    """How far a side's clock is ahead of ours, as its last answer told."""

    ahead = timedelta()

    def __call__(self, call: CallRecord) -> None:
        ahead = call.clock_is_ahead
        self.ahead = self.ahead if ahead is None else ahead

    def now(self) -> datetime:
        return timezone.now() + self.ahead


# --- the rules -----------------------------------------------------------------------------------------------------


def begin_at(cursor: datetime | None, now: datetime, *, overlap: timedelta, deep: bool) -> datetime:
    """From when on a side is asked what changed; cursor, `now` and answer are by its own clock."""
    first = now - timedelta(days=settings.RECONCILE_DAYS)
    if cursor is None or deep or cursor > now + TOLERANCE:
        return first
    return cursor - overlap


def missed_topic(order: ShopSnapshot, link: OrderLink | None) -> str:
    """What the shop should have told of this order; empty: we know it as it is."""
    if link is None:
        return "" if order.status in DRAFTS or order.status == TRASH else "order.created"
    if order.is_known_as(link.woo_fingerprint):
        return ""
    if order.status == TRASH:
        return "order.deleted"
    return "order.restored" if link.woo_status == TRASH else "order.updated"


def is_missed(crm: CrmSnapshot, link: OrderLink | None, lifecycle: Lifecycle) -> bool:
    """Whether the CRM should have told of this order. Our own updates raise its version, so the status counts."""
    if link is None:
        return _shop_order(crm) is not None
    if another_in_crm(worker.facts_of(link), crm):
        return True  # a worker parks it
    if not link.crm_status:
        # Found there, never compared (docs/decisions/0008): it must not go back to where every order begins.
        target = lifecycle.status_map.get(crm.status, link.woo_status)
        return target != FIRST and lifecycle.allows(link.woo_status, target)
    if crm.status == link.crm_status:
        return False
    if crm.version is not None and link.crm_version is not None:
        return crm.version >= link.crm_version  # a list may be behind what we have seen
    return not (crm.updated_at and link.crm_updated_at and crm.updated_at < link.crm_updated_at)


# --- a run ---------------------------------------------------------------------------------------------------------


def options(*, deep: bool = False, dry_run: bool = False, confirm_deleted: bool = False) -> dict[str, Any]:
    """`confirm_deleted`: a person says that orders which are gone from the shop are, however many; for a deep run."""
    confirmed = {"confirm_deleted": True} if confirm_deleted else {}
    return {"deep": deep or confirm_deleted, "dry_run": dry_run, "shop": settings.WOO_URL, **confirmed}


def start(
    *,
    deep: bool = False,
    dry_run: bool = False,
    confirm_deleted: bool = False,
    actor: str = "",
    reason: str = "",
) -> Run:
    """A deep run that failed or was paused may go on later, whatever is started in between."""
    chosen = options(deep=deep, dry_run=dry_run, confirm_deleted=confirm_deleted)
    deep = chosen["deep"]
    resting = _runs(deep=True).filter(state__in=(Run.State.FAILED, Run.State.PAUSED))
    spare = [] if deep else list(resting.values_list("pk", flat=True))
    return engine.start(JOB.kind, options=chosen, actor=actor, reason=reason, spare=spare)


def scheduled(*, deep: bool = False) -> Run | None:
    """A side that is away is asked the next time."""
    now = clock.now()
    Run.objects.filter(kind=JOB.kind, actor="", finished_at__lt=now - KEPT).delete()
    shop_client.connect(), crm_backends.connect()
    return start(deep=deep or deep_is_due(now)) if _may_be_asked(now) else None


def _may_be_asked(now: datetime) -> bool:
    """One side at least. Where staff paused one, they want no work to be done."""
    if SideState.objects.filter(paused=True).exists():
        return False
    well = [breaker.gate(now, worker.PINGS, only=side) for side in (Side.SHOP, Side.CRM)]  # each is probed
    return any(well)


def see_that_sweeps_end() -> None:
    """A side whose sweep has not come to its end for some rounds: what no delivery tells of it is found by nobody."""
    if SideState.objects.filter(paused=True).exists():
        return
    first = _runs().order_by("pk").values_list("started_at", flat=True).first()
    late = clock.now() - ROUNDS * timedelta(minutes=max(1, settings.RECONCILE_MINUTES))
    for side in SideState.objects.all():
        since = side.swept_at or first
        key = f"sweep:{side.name}"
        if since is None or since > late:
            alarms.clear(key)
            continue
        why = Run.objects.filter(kind=JOB.kind).exclude(error="").values_list("error", flat=True).first()
        words = f"{side.get_name_display()}: reconcile has not got to the end of it since {since:%Y-%m-%d %H:%M} UTC."
        advice = "The latest runs under /admin/sync/run/ say what hinders it; `doctor` examines the side."
        alarms.raise_alarm(key, f"{words} {masked_text(why)}" if why else words, advice)


def deep_is_due(now: datetime) -> bool:
    """Whether one is to go on whose holder died, or the last night's came to nothing. What staff cancelled does not
    come back before the next night, and a new installation waits for its first."""
    deep = _runs(deep=True)
    if deep.filter(state=Run.State.RUNNING).exists():
        return True
    if deep.filter(Q(state=Run.State.PAUSED) | Q(finished_at__gt=now - DEEP_AGAIN)).exists():
        return False
    ended = Q(state=Run.State.DONE) | Q(state=Run.State.CANCELLED, error="")
    lately = deep.filter(ended, finished_at__gt=now - DEEP_WITHIN)
    return _runs().filter(started_at__lt=now - DEEP_WITHIN).exists() and not lately.exists()


def _runs(**options: bool) -> QuerySet[Run]:
    named = {f"options__{name}": value for name, value in options.items()}
    return Run.objects.filter(kind=JOB.kind, options__dry_run=False, **named)


def job(run: Run) -> Steps[None]:
    """`checkpoint`: the halves that are over and those that failed, where each is, and the first finds by name.
    `counts`: orders seen, found by side, and left out.

    The halves are independent: what one side can not answer hides nothing of the other (docs/decisions/0053).
    """
    shop_clock, crm_clock = Clock(), Clock()
    shop, crm = shop_client.connect(on_call=shop_clock), crm_backends.connect(on_call=crm_clock)
    halves: dict[str, Callable[[], Steps[None]]] = {
        SHOP: lambda: _sweep_shop(run, shop, shop_clock),
        CRM: lambda: _sweep_crm(run, crm, crm_clock),
        DELETED: lambda: _look_at_all(run, shop),
    }
    for name, half in halves.items():
        failed = run.checkpoint.get(FAILED, {})
        if name in (*run.checkpoint.get(OVER, []), *failed) or (name == DELETED and not _looks_at_all(run)):
            continue
        try:
            yield from half()
        except shop_identity.AnotherShop:
            raise
        except (SideError, engine.Failed) as error:
            run.checkpoint = {**run.checkpoint, FAILED: {**failed, name: str(error)}}
        else:
            run.checkpoint = {**run.checkpoint, OVER: [*run.checkpoint.get(OVER, []), name]}
        yield
    if not run.options["dry_run"]:
        _tell_of_left_out(run)
    if failed := run.checkpoint.get(FAILED):
        # Whoever takes it up again asks both sides anew; a half that broke off goes on where it was.
        run.checkpoint = {name: value for name, value in run.checkpoint.items() if name not in (OVER, FAILED)}
        yield
        raise engine.Failed(" ".join(f"{HALVES[name]}: {words}" for name, words in failed.items()))


def _tell_of_left_out(run: Run) -> None:
    """The next sweep begins behind them, so only a deep one that met none is an all-clear."""
    left_out = run.checkpoint.get(LEFT_OUT, [])
    if left_out:
        words = f"Reconcile left out {run.counts[LEFT_OUT]}, which a side could not show. The first: {left_out[0]}"
        advice = f"See /admin/sync/run/{run.pk}/change/ for all. Mend them there; then run `reconcile --deep`."
        alarms.raise_alarm(LEFT_OUT, words, advice)
    elif run.options["deep"] and not run.checkpoint.get(FAILED):
        alarms.clear(LEFT_OUT)


def _looks_at_all(run: Run) -> bool:
    return bool(run.options["deep"]) and SHOP not in run.checkpoint.get(FAILED, {})


def _asked(run: Run, side: str, read: Callable[[], T]) -> Steps[T]:
    """The answer of one side, whether or not the other one is well. Who waits at a terminal has patience; a run of the
    workers must leave time for the other side, and the next one comes soon."""
    return patiently(read, side=side, patience=None if run.actor == "command" else PATIENCE)


def all_statuses(shop: Shop) -> list[str]:
    """Those of the shop's plugins and the trash included, which `any` leaves out (FACTS B6); no drafts."""
    try:
        known = shop.statuses()
    except Blocked as error:
        if error.status != HTTPStatus.NOT_FOUND:
            raise
        known = WOOCOMMERCE  # it tells neither way, so it is asked for those that every shop has
    return sorted({*known, TRASH} - DRAFTS)


def _sweep_shop(run: Run, shop: Shop, theirs: Clock) -> Steps[None]:
    yield from _asked(run, Side.SHOP, lambda: shop_identity.check(shop))
    statuses = yield from _asked(run, Side.SHOP, lambda: all_statuses(shop))
    side = SideState.objects.get(name=Side.SHOP)
    place = run.checkpoint.get("place")
    since = begin_at(known_cursor(side, settings.WOO_URL), theirs.now(), overlap=OVERLAP, deep=run.options["deep"])
    walk = Walk(shop, statuses=statuses, place=Place.of_json(place) if place else Place(at=since))
    while not walk.ended:
        began = clock.now()
        page = yield from _asked(run, Side.SHOP, walk.next)
        missed = _missed_in_shop(page, began) + [_unread(order) for order in walk.left_out if order.woo_id]
        up_to = Cursor(walk.place.at or since, now=theirs.now(), url=settings.WOO_URL)
        leave_out(run, [order.words for order in walk.left_out])
        _keep(run, side, missed, len(page), up_to, place=walk.place.as_json())
        yield
    run.checkpoint = {**run.checkpoint, "place": None}
    _swept(run, side)


def _sweep_crm(run: Run, crm: Crm, theirs: Clock) -> Steps[None]:
    side = SideState.objects.get(name=Side.CRM)
    yield from _asked(run, Side.CRM, crm.ping)  # tells its time
    overlap = OVERLAP + timedelta(seconds=settings.CRM_LIST_LAG)
    since = begin_at(known_cursor(side, settings.CRM_URL), theirs.now(), overlap=overlap, deep=run.options["deep"])
    feed = Feed(crm, since, run.checkpoint.get("feed"))
    while not feed.ended:
        began = clock.now()
        batch = yield from _asked(run, Side.CRM, feed.next)
        missed = _missed_in_crm(batch, began)
        up_to = Cursor(feed.since, now=theirs.now(), url=settings.CRM_URL)
        leave_out(run, feed.left_out)
        _keep(run, side, missed, len(batch), up_to, feed=feed.place())
        yield
    run.checkpoint = {**run.checkpoint, "feed": None}
    _swept(run, side)


def _unread(order: LeftOut) -> Missed:
    """An order that its list could not show: tried again by itself, and shown to staff if that fails, too."""
    return Missed(
        side=Side.SHOP,
        topic="order.updated",
        order_ref=str(order.woo_id),
        key=f"unread:{order.woo_id}:{order.at and order.at.isoformat()}",
        body={"id": order.woo_id},
        occurred_at=order.at,
    )


def _look_at_all(run: Run, shop: Shop) -> Steps[None]:
    """Links whose order has other content than the CRM was told, whenever it was modified: one that is back from the
    trash or from nowhere, too. And those whose order neither stands in the shop's list nor can be read: an orphaned
    status hides from lists only. Too many of those need a person (docs/decisions/0054)."""
    statuses = yield from _asked(run, Side.SHOP, lambda: all_statuses(shop))
    query = {"status": ",".join(statuses), "_fields": ",".join((*CARRIED, "date_modified_gmt"))}
    side = SideState.objects.get(name=Side.SHOP)
    confirmed, total = run.options.get("confirm_deleted", False), OrderLink.objects.exclude(woo_status=TRASH).count()
    after, gone = run.checkpoint.get("after", 0), list(run.checkpoint.get("gone", []))
    while batch := list(OrderLink.objects.filter(pk__gt=after).order_by("pk")[:BATCH]):
        ids = [link.woo_id for link in batch]
        began = clock.now()
        orders, failed = yield from _asked(run, Side.SHOP, partial(shop.of_ids, ids, query))
        shown = {order.woo_id for order in orders}
        missed = _missed_in_shop(orders, began)
        if not run.options["dry_run"]:
            _rebase(orders)
        for link in batch:
            if link.woo_id in shown or link.woo_id in failed or link.woo_status == TRASH:
                continue
            try:
                is_gone = yield from _asked(run, Side.SHOP, partial(_is_gone, shop, link.woo_id))
            except Unreadable as error:
                failed[link.woo_id] = str(error)
            else:
                gone += [link.woo_id] if is_gone else []
            if len(gone) > disappearance.MOST and not confirmed:
                break
        leave_out(run, [f"order {woo_id} of the shop: {why}" for woo_id, why in failed.items()])
        if len(gone) > disappearance.MOST and not confirmed:
            break
        after = batch[-1].pk
        if confirmed:
            missed, gone = missed + _deleted(run, gone), []
        _keep(run, side, missed, after=after, gone=gone)
        yield
    if disappearance.must_be_confirmed(len(gone), total):
        run.checkpoint = {**run.checkpoint, "after": 0, "gone": []}  # whoever takes it up again looks anew
        raise engine.Failed(disappearance.found(gone, total, quietly=run.options["dry_run"]))
    if not run.options["dry_run"]:
        alarms.clear(disappearance.ALARM)  # before the workers see what is posted
    _keep(run, side, _deleted(run, gone), after=0, gone=[])


def _is_gone(shop: Shop, woo_id: int) -> bool:
    """An order that our key alone may not read is there: of one that is not, the shop says so."""
    try:
        alone(lambda: shop.get(woo_id), shop.ping)
    except NotFound:
        return True
    except Hidden:
        pass
    return False


def _deleted(run: Run, woo_ids: Sequence[int]) -> list[Missed]:
    by = run.actor if run.options.get("confirm_deleted") else ""
    return [
        Missed(
            side=Side.SHOP,
            topic="order.deleted",
            order_ref=str(link.woo_id),
            key=f"deleted:{link.woo_id}:{link.woo_fingerprint}",
            body={"id": link.woo_id},
            requested_by=by,
        )
        for link in OrderLink.objects.filter(woo_id__in=woo_ids).order_by("pk")
    ]


# --- compared with what we know ------------------------------------------------------------------------------------


def _missed_in_shop(page: Sequence[ShopSnapshot], began: datetime) -> list[Missed]:
    links = OrderLink.objects.in_bulk([order.woo_id for order in page], field_name="woo_id")
    heard = heard_of(Side.SHOP, [str(order.woo_id) for order in page], began)
    topics = [(order, missed_topic(order, links.get(order.woo_id))) for order in page]
    return [
        Missed(
            side=Side.SHOP,
            topic=topic,
            order_ref=str(order.woo_id),
            # An order that goes back to what it was has another time.
            key=f"shop:{order.woo_id}:{stamp(order)}:{order.fingerprint}",
            body=order.order,
            occurred_at=modified(order),
        )
        for order, topic in topics
        if topic and str(order.woo_id) not in heard
    ]


def _rebase(orders: Sequence[ShopSnapshot]) -> None:
    """The fingerprints of an earlier release become those of this one: only then each field that is told counts."""
    shown = {order.woo_id: order for order in orders}
    links = OrderLink.objects.filter(woo_id__in=shown).exclude(woo_fingerprint__startswith=f"{COMPOSER}:")
    for link in links:
        if shown[link.woo_id].is_known_as(link.woo_fingerprint):
            same = OrderLink.objects.filter(pk=link.pk, woo_fingerprint=link.woo_fingerprint)
            same.update(woo_fingerprint=shown[link.woo_id].fingerprint)


def _missed_in_crm(batch: Sequence[CrmSnapshot], began: datetime) -> list[Missed]:
    ids = [crm.crm_order_id for crm in batch]
    links = OrderLink.objects.in_bulk(ids, field_name="crm_order_id")
    lifecycle = current_lifecycle()
    news = [crm for crm in batch if is_missed(crm, links.get(crm.crm_order_id), lifecycle)]
    heard = heard_of(Side.CRM, [crm.crm_order_id for crm in news], began)
    # Where the shop's order still waits, its link is about to be made.
    being_linked = heard_of(Side.SHOP, [str(_shop_order(crm)) for crm in news if crm.crm_order_id not in links], began)
    return [
        Missed(
            side=Side.CRM,
            topic="order.status_changed",
            order_ref=crm.crm_order_id,
            key=f"crm:{crm.crm_order_id}:{crm.version if crm.version is not None else crm.updated_at}:{crm.status}",
            body=crm.answer,
            version=crm.version,
            status=crm.status,
            occurred_at=crm.updated_at,
        )
        for crm in news
        if crm.crm_order_id not in heard
        and (crm.crm_order_id in links or str(_shop_order(crm)) not in being_linked)
        and not _with_a_person(crm)
    ]


def _shop_order(crm: CrmSnapshot) -> int | None:
    return woo_id_in(crm.external_id, settings.EXTERNAL_ID_PREFIX)


def heard_of(side: str, refs: Sequence[str], began: datetime) -> set[str]:
    """Orders of which an event waits, or was settled since we began to read the list."""
    events = WebhookEvent.objects.filter(side=side, order_ref__in=refs)
    events = events.filter(Q(next_attempt_at__isnull=False) | Q(finished_at__gte=began))
    return set(events.values_list("order_ref", flat=True))


def _with_a_person(crm: CrmSnapshot) -> bool:
    """An event of this very version waits for staff, who need no second one."""
    waiting = WebhookEvent.objects.filter(side=Side.CRM, order_ref=crm.crm_order_id, state__in=NEEDS_A_PERSON)
    return crm.version is not None and waiting.filter(version__gte=crm.version).exists()


# --- cursors and counts --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cursor:
    """Up to where a side was read, and what its clock said then; `url`: another server has another cursor."""

    at: datetime
    now: datetime
    url: str

    def store(self, side: SideState) -> None:
        """Forward only, as a deep run begins far back; and never into the future of a clock that may be put right."""
        side.refresh_from_db(fields=["cursor"])
        known = known_cursor(side, self.url)
        at = min(self.at, self.now)
        if known is None or known > self.now + TOLERANCE or at > known:
            side.cursor = {"at": at.isoformat(), "url": self.url}
            side.save(update_fields=["cursor"])


def known_cursor(side: SideState, url: str) -> datetime | None:
    return _time(side.cursor.get("at")) if side.cursor.get("url") == url else None


def _keep(
    run: Run,
    side: SideState,
    missed: Sequence[Missed],
    read: int = 0,
    up_to: Cursor | None = None,
    **checkpoint: object,
) -> None:
    """Store the events, and only with them how far we are."""
    if run.options["dry_run"]:
        new = [one for one in missed if one.is_new()]
    else:
        with transaction.atomic():
            new = [one for one in missed if one.post()]
            if up_to is not None:
                up_to.store(side)
        if new:
            wake()
    counts = {**dict.fromkeys(COUNTS, 0), **run.counts}
    counts["seen"] += read
    counts[side.name] += len(new)
    run.counts = counts
    found = [*run.checkpoint.get("found", []), *([one.side, one.order_ref, one.topic] for one in new)]
    run.checkpoint = {**run.checkpoint, "found": found[:NAMED], **checkpoint}


def _swept(run: Run, side: SideState) -> None:
    if not run.options["dry_run"]:
        SideState.objects.filter(pk=side.pk).update(swept_at=clock.now())
        see_that_sweeps_end()


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


class ReconcileForm(forms.RunForm):
    deep = forms.flag("Deep", "The last days again, and orders that were deleted for good: as every night.")
    confirm_deleted = forms.flag(
        "They are really gone",
        "Deep, and however many orders are gone from the shop, the CRM is told. For when more than a few were found "
        "gone at once and you know that it is so.",
    )
    dry_run = forms.dry_run()
    field_order = ("deep", "confirm_deleted", "dry_run", "reason")


JOB = register(
    Job(
        kind="reconcile",
        label="Reconcile",
        work=job,
        count_names={"shop": "Missed of the shop", "crm": "Missed of the CRM"},
        starter=Starter(
            words="Both sides are asked what changed since the last time, and what no delivery told us of becomes an "
            "event. It also runs on a schedule.",
            form=ReconcileForm,
            start=start,
            icon="sync",
        ),
        schedules=lambda: (
            Planned(
                name="reconcile",
                task="sync.tasks.reconcile",
                minutes=max(1, settings.RECONCILE_MINUTES),
                start=scheduled,
            ),
            Planned(
                name="reconcile deep",
                task="sync.tasks.reconcile_deep",
                minutes=DAY,
                start=partial(scheduled, deep=True),
            ),
        ),
    )
)
