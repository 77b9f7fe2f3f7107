"""The shop is brought to the CRM's state: one order, a period, all, or those that drift named. By an event, as ever."""

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Any

from django.db.models import QuerySet
from django.forms import ChoiceField
from django.utils import timezone
from unfold.widgets import UnfoldAdminSelectWidget

from orders.models import OrderLink
from sync.backoffice.timeline import find_link
from sync.clients.bridged import crm_of, shop_of
from sync.clients.crm.base import Crm
from sync.clients.paging.crm_changes import CrmPaginator
from sync.jobs import cursors, engine, forms, shop_identity
from sync.jobs.processing import (
    Counters,
    Order,
    Page,
    Steps,
    dry_run_page,
    leave_out,
    process_page,
    process_rest,
    space_out,
    thread_pool,
    with_retries,
)
from sync.models import DriftFinding, Run
from sync.pipeline import internal_events
from sync.pipeline.dry_run import run_dry_on
from sync.registry import Job, Starter, register
from webhooks import intake
from webhooks.connections import DEFAULT_BRIDGE
from webhooks.models import Side, WebhookEvent

BATCH = 100
_PREFIX = "run:{}:"
"""Of the keys of a run's events."""


NOT_THE_SHOPS = (DriftFinding.Kind.AHEAD, DriftFinding.Kind.CONTENT)
"""The shop has nothing to make up for: it is ahead, or has told the CRM too little, which `reconcile --deep` does."""


class UnknownOrders(engine.NotStarted):
    """No link names them."""

    def __init__(self, orders: Sequence[str]) -> None:
        super().__init__(
            f"No linked order: {', '.join(orders)}. Give the shop's or the CRM's id; `backfill` links what is not yet."
        )


def options(
    *,
    orders: Sequence[str] = (),
    since: datetime | None = None,
    everything: bool = False,
    drifted: bool = False,
    dry_run: bool = False,
    bridge: int = DEFAULT_BRIDGE,
) -> dict[str, Any]:
    """Of a run. One of the first four says which orders; `orders` by either id. Raises UnknownOrders."""
    return {
        "orders": _linked(orders, bridge),
        "since": since and since.isoformat(),
        "everything": everything,
        "drifted": drifted,
        "dry_run": dry_run,
        "shop": engine.bridge_with(bridge).shop_config.url,
    }


def _linked(orders: Sequence[str], bridge: int) -> list[int]:
    """Their ids in the shop."""
    found = {order: find_link(order, bridge) for order in orders}
    unknown = [order for order, link in found.items() if link is None]
    if unknown:
        raise UnknownOrders(unknown)
    return sorted({link.woo_id for link in found.values() if link})


start = engine.start_with("resync", options)


def job(run: Run) -> Steps[None]:
    """`checkpoint`: up to which link, or which time of the CRM, it is done, and the newest event that is in the counts.
    `counts`: orders seen, and the effects."""
    bridge = engine.bridge_of(run)
    crm, shop = crm_of(bridge), shop_of(bridge)
    yield from with_retries(bridge, lambda: shop_identity.check(shop, bridge))
    counters = Counters.of(run)
    pages = Changed(run, crm) if run.options["since"] else Chosen(run)
    run.total = _sum(counters.counts["seen"], pages.left)
    counted = run.checkpoint.get("counted", 0)
    with thread_pool() as pool:
        left = _left_behind(run, counted)
        if left.events:
            counted = max(left.events)
            yield from process_page(run, counters, left, **pages.place(), counted=counted)
        while (links := (yield from with_retries(bridge, pages.next))) is not None:
            if run.options["dry_run"]:
                asked = [partial(run_dry_on, _event(run, link)) for link in links]
                yield from dry_run_page(run, pool, counters, len(links), asked)
            else:
                page = _post(run, links, counted)
                counted = max([counted, *page.events])
                yield from process_page(run, counters, page, **pages.place(), counted=counted)
        yield from process_rest(run, counters.open)
    counters.count(to_the_end=True)
    counters.save(run, **pages.place(), counted=counted)
    run.total = counters.counts["seen"]
    yield


class Chosen:
    """Links, batch by batch in the order of their ids: the named ones, those that drift found, or all."""

    def __init__(self, run: Run) -> None:
        self.after = run.checkpoint.get("after", 0)
        self.links = _chosen(run).order_by("pk")
        self.left: int | None = self.links.filter(pk__gt=self.after).count()

    def next(self) -> list[OrderLink] | None:
        links = list(self.links.filter(pk__gt=self.after)[:BATCH])
        if not links:
            return None
        self.after = links[-1].pk
        return links

    def place(self) -> dict[str, Any]:
        return {"after": self.after}


def _chosen(run: Run) -> QuerySet[OrderLink]:
    options, bridge = run.options, run.bridge_id or DEFAULT_BRIDGE
    links = OrderLink.objects.filter(bridge=bridge)
    if options["orders"]:
        return links.filter(woo_id__in=options["orders"])
    if options["drifted"]:
        findings = DriftFinding.objects.open(timezone.now()).filter(bridge=bridge).exclude(kind__in=NOT_THE_SHOPS)
        return links.filter(woo_id__in=findings.values("woo_id"))
    return links if options["everything"] else links.none()


class Changed:
    """Links whose order the CRM changed since a time, in the order of those changes."""

    left = None

    def __init__(self, run: Run, crm: Crm) -> None:
        self.run = run
        self.paginator = CrmPaginator(crm, datetime.fromisoformat(run.options["since"]), run.checkpoint.get("feed"))

    def next(self) -> list[OrderLink] | None:
        if self.paginator.ended:
            return None
        batch = self.paginator.next()
        leave_out(self.run, self.paginator.left_out)
        known = OrderLink.objects.filter(bridge=self.run.bridge_id or DEFAULT_BRIDGE)
        links = known.by_crm_order_id(crm.crm_order_id for crm in batch)
        return list(links.values())

    def place(self) -> dict[str, Any]:
        return {"feed": self.paginator.position()}


def _post(run: Run, links: Sequence[OrderLink], counted: int) -> Page:
    """Store the events of a page. An order that comes again, as those of the last moment do, was counted before."""
    events = {_key(run, link): _event(run, link) for link in links}
    space_out(run, events.values())
    intake.post_all(list(events.values()))
    return _page(WebhookEvent.objects.filter(dedupe_key__in=events), counted)


def _left_behind(run: Run, counted: int) -> Page:
    """The events of a page whose run died before it could say so: they are taken up first."""
    return _page(WebhookEvent.objects.filter(dedupe_key__startswith=_PREFIX.format(run.pk)), counted)


def _page(events: QuerySet[WebhookEvent], counted: int) -> Page:
    """Those that are newer than all that are in the counts."""
    new = events.filter(source=internal_events.RESYNC, pk__gt=counted).values_list("pk", "order_ref")
    rows = list(new.order_by("pk"))
    return Page(
        seen=len(rows), events=[pk for pk, _ in rows], orders=[Order(Side.CRM, order_ref) for _, order_ref in rows]
    )


def _event(run: Run, link: OrderLink) -> WebhookEvent:
    return internal_events.resync_event(link, key=_key(run, link), by=run.actor, reason=run.reason)


def _key(run: Run, link: OrderLink) -> str:
    return f"{_PREFIX.format(run.pk)}{link.crm_order_id}"


def _sum(seen: int, left: int | None) -> int | None:
    return None if left is None else seen + left


class ResyncForm(forms.BridgeRunForm):
    which = ChoiceField(
        widget=UnfoldAdminSelectWidget,
        choices=[
            ("drifted", "Orders that differ according to drift"),
            ("orders", "The orders named below"),
            ("since", "Orders that the CRM changed since the day below"),
            ("everything", "All linked orders"),
        ],
    )
    orders = forms.text("Orders", "Ids from the shop or the CRM, separated by commas.")
    since = forms.day("Changed since", "In the CRM.")
    per_minute = forms.number("Speed limit", "Orders per minute. Empty: as fast as both sides answer.", forms.FASTEST)
    restart = forms.flag("Start over", "Do not continue a stopped run with the same options.")
    dry_run = forms.dry_run()
    field_order = ("which", "orders", "since", "per_minute", "restart", "dry_run", "reason")

    def clean(self) -> dict[str, Any]:
        said: dict[str, Any] = super().clean() or {}
        which = said.get("which")
        if which in ("orders", "since") and which not in self.errors and not said.get(which):
            self.add_error(which, "Fill this in, or choose another option above.")
        return said

    def chosen(self) -> dict[str, Any]:
        said = super().chosen()
        which = said.pop("which")
        return {
            **said,
            "orders": forms.listed(said["orders"]) if which == "orders" else [],
            "since": forms.midnight(said["since"]) if which == "since" else None,
            "everything": which == "everything",
            "drifted": which == "drifted",
        }


JOB = register(
    Job(
        kind="resync",
        label="Resync",
        work=job,
        version=2,
        upcasts={1: cursors.with_feed},
        starter=Starter(
            words="We read the linked orders in the CRM and set the shop to their state, in the same way as for an "
            "event. Moves that the lifecycle does not allow are refused here, too.",
            form=ResyncForm,
            start=start,
            icon="sync_alt",
        ),
    )
)
