"""Every link on both sides: what differs is a finding, until it is gone.

Both sides are read in batches: the CRM's list of all its orders leads, and the shop is asked for the same orders. What
the list does not show is read by its id. A list may be behind, so that nothing counts as different before both sides
were asked for that very order. One that a side shows oddly or not to us, or refuses to show, is left out and named: it
must not hide what differs with all others (docs/decisions/0053).
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Any

from django.db import transaction
from django.db.models import QuerySet

from orders.defaults import FINAL, FIRST
from orders.lifecycle import Lifecycle
from orders.models import OrderLink
from orders.rules import current_lifecycle
from sync.clients import breaker
from sync.clients.bridged import crm_of, pings_of, shop_of
from sync.clients.crm.base import Crm
from sync.clients.errors import Hidden, NotFound, Odd, Rejected, Unreadable
from sync.clients.paging import alone, in_parts
from sync.clients.paging.crm_changes import CrmPaginator
from sync.clients.shop import Shop
from sync.clients.snapshots import CARRIED, TRASH, CrmSnapshot, ShopSnapshot
from sync.jobs import cursors, engine, shop_identity
from sync.jobs.forms import BridgeRunForm
from sync.jobs.halves import all_statuses
from sync.jobs.missed import heard_of
from sync.jobs.processing import LEFT_OUT, THREADS, Steps, in_parallel, leave_out, thread_pool, with_retries
from sync.models import DriftFinding, Run
from sync.pipeline.read import facts_of
from sync.pipeline.strangers import another_in_crm
from sync.registry import DAY, Job, Planned, Starter, register
from webhooks import clock
from webhooks.connections import DEFAULT_BRIDGE, Bridge
from webhooks.models import Side

Kind = DriftFinding.Kind
BATCH = THREADS
"""Orders that are read one by one before they are kept: a run gets on, however slow the CRM is."""
EVER = datetime(1970, 1, 1, tzinfo=UTC)
EXPECTED = "expected"
NOT_SOLD = FINAL | {"failed"}
LISTED, REST = "listed", "rest"
"""The steps of a run: the orders that the CRM lists, then those that it did not show."""
OF_THIS_ORDER = (Odd, Hidden, Rejected, Unreadable)
"""What a side may answer when it is asked for one order, and what says nothing about all others."""
LATER = time(4, 17)
"""UTC: when the deep reconcile has had its hour. What it finds is no drift."""
KEPT = timedelta(days=30)
"""Scheduled runs are many; what they found stays."""


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A link, and what each side shows of it; None: nothing."""

    link: OrderLink
    shop: ShopSnapshot | None
    crm: CrmSnapshot | None

    @property
    def statuses(self) -> tuple[str, str]:
        return self.shop.status if self.shop else "", self.crm.status if self.crm else ""


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """A link whose order can not be read on one side, and why."""

    link: OrderLink
    why: str


# --- the rule ------------------------------------------------------------------------------------------------------


def kind_of(pair: Pair, lifecycle: Lifecycle, bridge: Bridge) -> Kind | None:
    """How the two sides differ; None: they agree, also where an order is gone from the shop and the CRM was told."""
    link, shop, crm = pair.link, pair.shop, pair.crm
    if shop is None or shop.status == TRASH:
        if link.woo_status == TRASH:
            return None
        return Kind.DELETED if shop or not crm else Kind.MISSING_IN_SHOP
    if crm is None or another_in_crm(facts_of(link, bridge), crm):
        return Kind.MISSING_IN_CRM
    if link.woo_status == TRASH:  # it is back, and the CRM was told that it is deleted
        return Kind.DELETED
    target = lifecycle.status_map.get(crm.status)
    is_seen = link.crm_status in ("", crm.status)
    is_ahead = target and is_seen and lifecycle.is_ahead(shop.status, of=target)
    if shop.status != target and not is_ahead and crm.status not in lifecycle.left_alone:
        return Kind.STATUS
    if shop.status == link.woo_status and link.woo_fingerprint and not shop.is_unchanged_since(link.woo_fingerprint):
        return Kind.CONTENT
    return Kind.AHEAD if is_ahead else None


def is_expected(pair: Pair, kind: Kind, lifecycle: Lifecycle) -> bool:
    """A sold order of which the CRM still has the status with which it began: nothing is wrong (decision 0054). One
    that was cancelled, refunded or failed is another matter: the CRM would ship it."""
    if kind != Kind.AHEAD or pair.shop is None or pair.crm is None:
        return False
    return lifecycle.status_map.get(pair.crm.status) == FIRST and pair.shop.status not in NOT_SOLD


# --- findings ------------------------------------------------------------------------------------------------------


def counted(findings: QuerySet[DriftFinding]) -> dict[str, int]:
    """By kind, those without any included."""
    kinds = Counter(findings.order_by().values_list("kind", flat=True))
    return {kind.value: kinds[kind.value] for kind in Kind}


def _expected(bridge: Bridge) -> int:
    return DriftFinding.objects.filter(bridge=bridge, gone_at=None, expected=True).count()


def _known(bridge: Bridge, pairs: Iterable[Pair]) -> dict[int, DriftFinding]:
    ids = [pair.link.woo_id for pair in pairs]
    return {one.woo_id: one for one in _open(bridge, ids).order_by("pk")}


def _open(bridge: Bridge, woo_ids: Sequence[int]) -> QuerySet[DriftFinding]:
    return DriftFinding.objects.filter(bridge=bridge, gone_at=None, woo_id__in=woo_ids)


def _keep(bridge: Bridge, differing: Sequence[tuple[Pair, Kind]], lifecycle: Lifecycle) -> None:
    """Seen again, or new; another kind of difference ends the one that was known of the order."""
    now = clock.now()
    with transaction.atomic():
        known = _known(bridge, (pair for pair, _ in differing))
        for pair, kind in differing:
            shop, crm = pair.statuses
            seen = {"shop": shop, "crm": crm, "seen_at": now, "expected": is_expected(pair, kind, lifecycle)}
            was = known.get(pair.link.woo_id)
            if was is not None and (was.kind, was.crm_order_id) == (kind, pair.link.crm_order_id):
                DriftFinding.objects.filter(pk=was.pk).update(**seen)
                continue
            _open(bridge, [pair.link.woo_id]).update(gone_at=now)
            ids = {"woo_id": pair.link.woo_id, "crm_order_id": pair.link.crm_order_id}
            DriftFinding.objects.create(bridge=bridge, kind=kind, found_at=now, **ids, **seen)


def _leave_out(run: Run, left: Sequence[LeftOut]) -> None:
    """What was known of them stays as it is. The first of them are kept by name."""
    new = [one for one in left if one.link.compared_in != run.pk]
    if not new:
        return
    _open(engine.bridge_of(run), [one.link.woo_id for one in new]).update(seen_at=clock.now())
    OrderLink.objects.filter(pk__in=[one.link.pk for one in new]).update(compared_in=run.pk)
    leave_out(run, [f"order {one.link}: {one.why}" for one in new])


# --- a run ---------------------------------------------------------------------------------------------------------


def options(*, bridge: int = DEFAULT_BRIDGE) -> dict[str, Any]:
    return {"shop": engine.bridge_with(bridge).shop_config.url}


def start(*, actor: str, reason: str = "", restart: bool = False, bridge: int = DEFAULT_BRIDGE) -> Run:
    """Raises engine.AlreadyRunning."""
    chosen = options(bridge=bridge)
    return engine.start(JOB.kind, options=chosen, bridge=bridge, actor=actor, reason=reason, restart=restart)


def scheduled(*, bridge: int = DEFAULT_BRIDGE) -> Run | None:
    """Where a side is away, tomorrow is early enough."""
    of = engine.bridge_with(bridge)
    Run.objects.filter(kind=JOB.kind, bridge=bridge, actor="", finished_at__lt=clock.now() - KEPT).delete()
    shop_of(of), crm_of(of)
    return start(actor="", bridge=bridge) if breaker.allows_calls(clock.now(), pings_of(of)) else None


def job(run: Run) -> Steps[None]:
    """`checkpoint`: the step, and where it is. `counts`: orders seen, and in the end what differs, by kind."""
    bridge = engine.bridge_of(run)
    shop, crm = shop_of(bridge), crm_of(bridge)
    yield from with_retries(bridge, lambda: shop_identity.check(shop, bridge))
    statuses = yield from with_retries(bridge, lambda: all_statuses(shop))
    run.total = OrderLink.objects.filter(bridge=bridge).count()
    with thread_pool() as pool:
        both = Both(bridge, shop, crm, statuses, pool)
        if run.checkpoint.get("step", LISTED) == LISTED:
            yield from _compare_listed(run, both)
        yield from _compare_rest(run, both)
    findings = DriftFinding.objects.filter(bridge=bridge)
    findings.filter(gone_at=None, seen_at__lt=run.started_at).update(gone_at=clock.now())
    so_far = {name: run.counts[name] for name in ("seen", LEFT_OUT) if name in run.counts}
    differing = counted(findings.open(clock.now()))
    run.counts = {"seen": 0, **so_far, **differing, EXPECTED: _expected(bridge)}


def _enter(run: Run, **place: Any) -> None:
    run.checkpoint = {**place, LEFT_OUT: run.checkpoint.get(LEFT_OUT, [])}


def _compare_listed(run: Run, both: "Both") -> Steps[None]:
    paginator = CrmPaginator(both.crm, EVER, run.checkpoint.get("feed"))
    while not paginator.ended:
        batch = yield from with_retries(both.bridge, paginator.next)
        links = both.links.by_crm_order_id(crm.crm_order_id for crm in batch)
        listed = {crm.crm_order_id: crm for crm in batch}
        yield from _compare(run, both, links.values(), listed)
        _enter(run, **({"step": REST} if paginator.ended else {"step": LISTED, "feed": paginator.position()}))
        yield


def _compare_rest(run: Run, both: "Both") -> Steps[None]:
    after = run.checkpoint.get("after", 0)
    rest = both.links.exclude(compared_in=run.pk).order_by("pk")
    while batch := list(rest.filter(pk__gt=after)[:BATCH]):
        pairs = yield from in_parallel(both.bridge, both.pool, both.in_crm, batch)
        known = [pair for pair in pairs if isinstance(pair, Pair)]
        yield from _compare(
            run, both, [pair.link for pair in known], {pair.crm.crm_order_id: pair.crm for pair in known if pair.crm}
        )
        _leave_out(run, [pair for pair in pairs if isinstance(pair, LeftOut)])
        after = batch[-1].pk
        _enter(run, step=REST, after=after)
        yield


def _compare(run: Run, both: "Both", links: Iterable[OrderLink], crm: Mapping[str, CrmSnapshot]) -> Steps[None]:
    """Keep what differs. What is doubtful is read once more, a few at a time; in a page that is done again those come
    next that were not. The last counts, and the place, are saved by the caller's next step."""
    links, began = list(links), clock.now()
    ids = [link.woo_id for link in links]
    shown, _ = yield from with_retries(both.bridge, lambda: both.shop.of_ids(ids, both.query))
    shop = {order.woo_id: order for order in shown}
    pairs = [Pair(link=link, shop=shop.get(link.woo_id), crm=crm.get(link.crm_order_id)) for link in links]
    bridge, lifecycle = both.bridge, current_lifecycle(both.bridge.pk)
    suspects = {pair.link.pk: kind for pair in pairs if (kind := kind_of(pair, lifecycle, bridge))}
    known = _known(bridge, [pair for pair in pairs if pair.link.pk in suspects])
    doubtful = [
        pair
        for pair in pairs
        if pair.link.pk in suspects and not _is_same(pair, suspects[pair.link.pk], known.get(pair.link.woo_id))
    ]
    unclear = {pair.link.pk for pair in doubtful}
    _conclude(run, both, [pair for pair in pairs if pair.link.pk not in unclear], began)
    for some in in_parts([pair for pair in doubtful if pair.link.compared_in != run.pk], BATCH):
        again = yield from in_parallel(bridge, both.pool, both.again, some)
        _leave_out(run, [pair for pair in again if isinstance(pair, LeftOut)])
        _conclude(run, both, [pair for pair in again if isinstance(pair, Pair)], began)
        run.checkpoint = {**run.checkpoint}
        yield


def _conclude(run: Run, both: "Both", pairs: Sequence[Pair], began: datetime) -> None:
    """These are certain."""
    bridge, lifecycle = both.bridge, current_lifecycle(both.bridge.pk)
    on_its_way = heard_of(bridge, Side.SHOP, [str(pair.link.woo_id) for pair in pairs], began)
    found = [(pair, kind) for pair in pairs if (kind := kind_of(pair, lifecycle, bridge))]
    _keep(
        bridge,
        [one for one in found if one[1] != Kind.CONTENT or str(one[0].link.woo_id) not in on_its_way],
        lifecycle,
    )
    new = [pair.link.pk for pair in pairs if pair.link.compared_in != run.pk]
    OrderLink.objects.filter(pk__in=new).update(compared_in=run.pk)
    run.counts = {**run.counts, "seen": run.counts.get("seen", 0) + len(new)}


def _is_same(pair: Pair, kind: Kind, known: DriftFinding | None) -> bool:
    """It was found before just like this, so that it needs no second look; a list that lacks it proves nothing."""
    shown = pair.shop is not None and pair.crm is not None
    return shown and known is not None and (known.kind, known.shop, known.crm) == (kind, *pair.statuses)


class Both:
    """The two sides: their lists, and single orders."""

    def __init__(self, bridge: Bridge, shop: Shop, crm: Crm, statuses: Sequence[str], pool: ThreadPoolExecutor) -> None:
        self.bridge = bridge
        self.links = OrderLink.objects.filter(bridge=bridge)
        self.shop = shop
        self.crm = crm
        self.query = {"status": ",".join(statuses), "_fields": ",".join(CARRIED)}
        self.pool = pool

    def again(self, pair: Pair) -> Pair | LeftOut:
        """By its ids: an orphaned status hides an order from lists only (FACTS B6). The CRM first, as it leads."""
        link = OrderLink.objects.get(pk=pair.link.pk)
        try:
            crm = self.of_crm(link.crm_order_id)
            return Pair(link=link, crm=crm, shop=self.of_shop(link.woo_id))
        except OF_THIS_ORDER as error:
            return LeftOut(link=link, why=str(error))

    def in_crm(self, link: OrderLink) -> Pair | LeftOut:
        """What the CRM shows of it; the shop's list is asked for many at once."""
        try:
            return Pair(link=link, crm=self.of_crm(link.crm_order_id), shop=None)
        except OF_THIS_ORDER as error:
            return LeftOut(link=link, why=str(error))

    def of_crm(self, crm_order_id: str) -> CrmSnapshot | None:
        try:
            return alone(lambda: self.crm.get(crm_order_id), self.crm.ping)
        except NotFound:
            return None

    def of_shop(self, woo_id: int) -> ShopSnapshot | None:
        try:
            return alone(lambda: self.shop.get(woo_id), self.shop.ping)
        except NotFound:
            return None


JOB = register(
    Job(
        kind="drift",
        label="Drift",
        work=job,
        version=2,
        upcasts={1: cursors.with_feed},
        count_names={EXPECTED: "Ahead as expected", **{kind.value: kind.label for kind in Kind}},
        starter=Starter(
            words="We compare every linked order on both sides. Differences appear in the list of drift, where you can "
            "repair or ignore them. Nothing is written to either side.",
            form=BridgeRunForm,
            start=start,
            icon="compare_arrows",
        ),
        schedules=lambda: (
            Planned(
                name="drift",
                task="sync.tasks.drift_nightly",
                minutes=DAY,
                night=LATER,
                start=scheduled,
                by_bridge=True,
            ),
        ),
    )
)
