"""The halves of a reconcile: the shop's changes, the CRM's changes and, in a deep one, all linked orders."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from http import HTTPStatus
from typing import TypeVar

from django.db import transaction

from orders.models import OrderLink
from sync import alarms
from sync.clients.crm.base import Crm
from sync.clients.errors import Blocked, Hidden, NotFound, Unreadable
from sync.clients.paging import alone
from sync.clients.paging.crm_changes import CrmPaginator
from sync.clients.paging.shop_orders import Position, ShopPaginator
from sync.clients.shop import Shop
from sync.clients.snapshots import CARRIED, DRAFTS, TRASH, ShopSnapshot
from sync.jobs import engine, shop_identity
from sync.jobs.cursors import OVERLAP, Clock, Cursor, begin_at, known_cursor, mark_swept
from sync.jobs.missed import Missed, deleted, missed_in_crm, missed_in_shop, unread
from sync.jobs.processing import Steps, leave_out, with_retries
from sync.models import Run, SideState
from sync.pipeline import disappearance
from webhooks import clock
from webhooks.connections import Bridge
from webhooks.models import Side
from webhooks.wake import wake

T = TypeVar("T")
BATCH = 100
COUNTS = ("seen", "shop", "crm")
"""Orders read, and what was missed on each side."""
NAMED = 100
"""Finds that a run remembers by name."""
WOOCOMMERCE = frozenset({"pending", "processing", "on-hold", "completed", "cancelled", "refunded", "failed"})
"""The statuses of a shop without plugins (FACTS B3)."""
PATIENCE = 5.0
"""Seconds that a run of the workers waits for a side that fails."""


def shop_changes(run: Run, bridge: Bridge, shop: Shop, theirs: Clock) -> Steps[None]:
    yield from _asked(run, bridge, Side.SHOP, lambda: shop_identity.check(shop, bridge))
    statuses = yield from _asked(run, bridge, Side.SHOP, lambda: all_statuses(shop))
    side = SideState.objects.get(name=bridge.slug_of(Side.SHOP))
    place, url = run.checkpoint.get("place"), bridge.shop_config.url
    since = begin_at(known_cursor(side, url, bridge.pk), theirs.now(), overlap=OVERLAP, deep=run.options["deep"])
    paginator = ShopPaginator(
        shop, statuses=statuses, position=Position.from_json(place) if place else Position(at=since)
    )
    while not paginator.ended:
        began = clock.now()
        page = yield from _asked(run, bridge, Side.SHOP, paginator.next)
        missed = missed_in_shop(page, began, bridge, at_rest=run.options["deep"]) + [
            unread(order, bridge) for order in paginator.left_out if order.woo_id
        ]
        up_to = Cursor(paginator.position.at or since, now=theirs.now(), url=url)
        leave_out(run, [order.words for order in paginator.left_out])
        _keep(run, bridge, side, missed, len(page), up_to, place=paginator.position.as_json())
        yield
    run.checkpoint = {**run.checkpoint, "place": None}
    _swept(run, bridge, side)


def crm_changes(run: Run, bridge: Bridge, crm: Crm, theirs: Clock) -> Steps[None]:
    side, told = SideState.objects.get(name=bridge.slug_of(Side.CRM)), bridge.crm_config
    yield from _asked(run, bridge, Side.CRM, crm.ping)  # tells its time
    overlap = OVERLAP + timedelta(seconds=told.list_lag)
    since = begin_at(known_cursor(side, told.url, bridge.pk), theirs.now(), overlap=overlap, deep=run.options["deep"])
    paginator = CrmPaginator(crm, since, run.checkpoint.get("feed"))
    while not paginator.ended:
        began = clock.now()
        batch = yield from _asked(run, bridge, Side.CRM, paginator.next)
        missed = missed_in_crm(batch, began, bridge, theirs.now())
        up_to = Cursor(paginator.since, now=theirs.now(), url=told.url)
        leave_out(run, paginator.left_out)
        _keep(run, bridge, side, missed, len(batch), up_to, feed=paginator.position())
        yield
    run.checkpoint = {**run.checkpoint, "feed": None}
    _swept(run, bridge, side)


def all_links(run: Run, bridge: Bridge, shop: Shop) -> Steps[None]:
    """Links whose order has other content than the CRM was told, whenever it was modified: one that is back from the
    trash or from nowhere, too. And those whose order neither stands in the shop's list nor can be read: an orphaned
    status hides from lists only. Too many of those need a person (docs/decisions/0054)."""
    statuses = yield from _asked(run, bridge, Side.SHOP, lambda: all_statuses(shop))
    query = {"status": ",".join(statuses), "_fields": ",".join((*CARRIED, "date_modified_gmt"))}
    side = SideState.objects.get(name=bridge.slug_of(Side.SHOP))
    confirmed, links = run.options.get("confirm_deleted", False), OrderLink.objects.filter(bridge=bridge)
    total = links.exclude(woo_status=TRASH).count()
    after, gone = run.checkpoint.get("after", 0), list(run.checkpoint.get("gone", []))
    while batch := list(links.filter(pk__gt=after).order_by("pk")[:BATCH]):
        ids = [link.woo_id for link in batch]
        began = clock.now()
        orders, failed = yield from _asked(run, bridge, Side.SHOP, partial(shop.of_ids, ids, query))
        shown = {order.woo_id for order in orders}
        missed = missed_in_shop(orders, began, bridge, at_rest=True)
        if not run.options["dry_run"]:
            _rebase(bridge, orders)
        for link in batch:
            if link.woo_id in shown or link.woo_id in failed or link.woo_status == TRASH:
                continue
            try:
                is_gone = yield from _asked(run, bridge, Side.SHOP, partial(_is_gone, shop, link.woo_id))
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
            missed, gone = missed + deleted(run, bridge, gone), []
        _keep(run, bridge, side, missed, after=after, gone=gone)
        yield
    if disappearance.must_be_confirmed(len(gone), total, bridge.pk):
        run.checkpoint = {**run.checkpoint, "after": 0, "gone": []}  # whoever takes it up again looks anew
        raise engine.Failed(disappearance.found(gone, total, bridge.pk, quietly=run.options["dry_run"]))
    if not run.options["dry_run"]:
        alarms.clear(disappearance.ALARM, bridge=bridge.pk)  # before the workers see what is posted
    _keep(run, bridge, side, deleted(run, bridge, gone), after=0, gone=[])


def _is_gone(shop: Shop, woo_id: int) -> bool:
    """An order that our key alone may not read is there: of one that is not, the shop says so."""
    try:
        alone(lambda: shop.get(woo_id), shop.ping)
    except NotFound:
        return True
    except Hidden:
        pass
    return False


def _rebase(bridge: Bridge, orders: Sequence[ShopSnapshot]) -> None:
    """The fingerprints of an earlier release become those of this one: only then each field that is told counts."""
    if not orders:
        return
    shown, version = {order.woo_id: order for order in orders}, orders[0].composer.version
    links = OrderLink.objects.filter(bridge=bridge, woo_id__in=shown).exclude(woo_fingerprint__startswith=f"{version}:")
    for link in links:
        order = shown[link.woo_id]
        if order.is_unchanged_since(link.woo_fingerprint):
            same = OrderLink.objects.filter(pk=link.pk, woo_fingerprint=link.woo_fingerprint)
            same.update(woo_fingerprint=order.composer.renewed(order.order, link.woo_fingerprint))


def all_statuses(shop: Shop) -> list[str]:
    """Those of the shop's plugins and the trash included, which `any` leaves out (FACTS B6); no drafts."""
    try:
        known = shop.statuses()
    except Blocked as error:
        if error.status != HTTPStatus.NOT_FOUND:
            raise
        known = WOOCOMMERCE  # it tells neither way, so it is asked for those that every shop has
    return sorted({*known, TRASH} - DRAFTS)


def _asked(run: Run, bridge: Bridge, side: str, read: Callable[[], T]) -> Steps[T]:
    """The answer of one side, whether or not the other one is well. Who waits at a terminal has patience; a run of the
    workers must leave time for the other side, and the next one comes soon."""
    return with_retries(bridge, read, side=side, patience=None if run.actor == "command" else PATIENCE)


def _keep(
    run: Run,
    bridge: Bridge,
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
                up_to.store(side, bridge.pk)
        if new:
            wake()
    counts = {**dict.fromkeys(COUNTS, 0), **run.counts}
    counts["seen"] += read
    counts[Side.SHOP if side.name == bridge.shop.slug else Side.CRM] += len(new)
    run.counts = counts
    found = [*run.checkpoint.get("found", []), *([one.side, one.order_ref, one.topic] for one in new)]
    run.checkpoint = {**run.checkpoint, "found": found[:NAMED], **checkpoint}


def _swept(run: Run, bridge: Bridge, side: SideState) -> None:
    if not run.options["dry_run"]:
        mark_swept(side, bridge.pk, clock.now())
