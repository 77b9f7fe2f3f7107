"""A shop with years of orders is linked: each order is created or found in the CRM, page by page, and once.

What is to be done becomes an event like any other, and is settled by the run itself. An order that the CRM has as it is
costs nothing but its place on the page.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from orders.models import OrderLink
from orders.rules import gone_statuses
from sync.clients.bridged import crm_of, shop_of
from sync.clients.paging.shop_orders import Position, ShopPaginator, stamp
from sync.clients.snapshots import ShopSnapshot
from sync.jobs import engine, forms, shop_identity
from sync.jobs.halves import all_statuses
from sync.jobs.missed import is_left_out, missed_topic, rule_of
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
from sync.models import Run
from sync.pipeline import internal_events
from sync.pipeline.dry_run import run_dry_on
from sync.registry import Job, Starter, register
from webhooks import intake
from webhooks.connections import DEFAULT_BRIDGE, Bridge
from webhooks.models import Side, WebhookEvent
from webhooks.moments import stored


def options(
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    statuses: Sequence[str] = (),
    limit: int | None = None,
    dry_run: bool = False,
    bridge: int = DEFAULT_BRIDGE,
) -> dict[str, Any]:
    """Of a run; one that was stopped goes on if it is started again with the same."""
    return {
        "since": since and since.isoformat(),
        "until": until and until.isoformat(),
        "statuses": sorted(statuses),
        "limit": limit,
        "dry_run": dry_run,
        "shop": engine.bridge_with(bridge).shop_config.url,
    }


start = engine.start_with("backfill", options)


def job(run: Run) -> Steps[None]:
    """`checkpoint`: the position of the paginator. `counts`: orders seen, and the effect on each."""
    bridge = engine.bridge_of(run)
    crm_of(bridge)
    shop = shop_of(bridge)
    yield from with_retries(bridge, lambda: shop_identity.check(shop, bridge))
    statuses = run.options["statuses"] or (yield from with_retries(bridge, lambda: all_statuses(shop)))
    since, until, limit = stored(run.options["since"]), stored(run.options["until"]), run.options["limit"]
    place = run.checkpoint.get("place")
    paginator = ShopPaginator(
        shop, statuses=statuses, until=until, position=Position.from_json(place) if place else Position(at=since)
    )
    counters = Counters.of(run)
    with thread_pool() as pool:
        while not paginator.ended and (limit is None or counters.counts["seen"] < limit):
            orders = yield from with_retries(bridge, paginator.next)
            leave_out(run, [order.words for order in paginator.left_out])
            seen = counters.counts["seen"]
            run.total = _smaller(limit, seen + paginator.left if paginator.left is not None else None)
            orders = orders[: limit - seen] if limit is not None else orders
            if run.options["dry_run"]:
                to_do, filtered = _to_do(bridge, orders)
                asked = [partial(run_dry_on, _event(run, bridge, order, topic), order) for order, topic in to_do]
                yield from dry_run_page(run, pool, counters, len(orders), asked, filtered)
            else:
                yield from process_page(run, counters, _post(run, bridge, orders), place=paginator.position.as_json())
        yield from process_rest(run, counters.open)
    if not any(run.options[name] for name in ("since", "until", "statuses", "limit")):
        leave_out(run, _not_listed(bridge, frozenset(statuses)))
    counters.count(to_the_end=True)
    counters.save(run, place=paginator.position.as_json())
    run.total = counters.counts["seen"]
    yield


def _not_listed(bridge: Bridge, statuses: frozenset[str]) -> list[str]:
    """Orders that we know and that the shop's lists hide (FACTS B6)."""
    return [
        f"{number} linked orders are {status!r}, which is no status of the shop (any more): no list shows them. "
        "Switch the plugin that brought it on again, or give them another status there."
        for status, number in gone_statuses(statuses, bridge.pk)
    ]


def _post(run: Run, bridge: Bridge, orders: Sequence[ShopSnapshot]) -> Page:
    """Store the events of a page. Those that a run which died had stored before it could say so are taken up again."""
    keys = {_key(run, order): order for order in orders}
    to_do, filtered = _to_do(bridge, orders)
    events_to_do = [_event(run, bridge, order, topic) for order, topic in to_do]
    space_out(run, events_to_do)
    intake.post_all(events_to_do)
    stored = WebhookEvent.objects.filter(bridge=bridge, source=internal_events.BACKFILL, dedupe_key__in=keys)
    events = dict(stored.values_list("dedupe_key", "pk"))
    return Page(
        seen=len(orders),
        events=list(events.values()),
        orders=[Order(Side.SHOP, str(keys[key].woo_id), seen=keys[key]) for key in events],
        filtered=filtered,
    )


def _event(run: Run, bridge: Bridge, order: ShopSnapshot, topic: str) -> WebhookEvent:
    event = internal_events.backfill_event(order, bridge=bridge.pk, topic=topic, key=_key(run, order), by=run.actor)
    event.bridge = bridge
    return event


def _key(run: Run, order: ShopSnapshot) -> str:
    """Each state of an order once in a run: an order that is modified meanwhile is met again."""
    return f"{run.pk}:{order.woo_id}:{stamp(order)}"


def _to_do(bridge: Bridge, orders: Sequence[ShopSnapshot]) -> tuple[list[tuple[ShopSnapshot, str]], int]:
    """The orders that the CRM has to hear of, each with its topic; and how many the bridge's rule leaves out."""
    links = OrderLink.objects.filter(bridge=bridge).by_woo_id(order.woo_id for order in orders)
    rule = rule_of(bridge.pk)
    sent = [order for order in orders if not is_left_out(order, links.get(order.woo_id), rule)]
    topics = ((order, missed_topic(order, links.get(order.woo_id))) for order in sent)
    return [(order, topic) for order, topic in topics if topic], len(orders) - len(sent)


def _smaller(one: int | None, other: int | None) -> int | None:
    return min((number for number in (one, other) if number is not None), default=None)


class BackfillForm(forms.BridgeRunForm):
    since = forms.day("Changed since", "Empty: start with the shop's first order.")
    until = forms.day("Changed until", "Includes this day. Empty: up to now.")
    statuses = forms.text("Statuses", "Separated by commas. Empty: all except drafts.", validators=[forms.SLUGS])
    limit = forms.number("At most", "Number of orders. Empty: all.", 10_000_000)
    per_minute = forms.number("Speed limit", "Orders per minute. Empty: as fast as both sides answer.", forms.FASTEST)
    restart = forms.flag("Start over", "Do not continue a stopped run with the same options.")
    dry_run = forms.dry_run()
    field_order = ("since", "until", "statuses", "limit", "per_minute", "restart", "dry_run", "reason")

    def clean(self) -> dict[str, Any]:
        said: dict[str, Any] = super().clean() or {}
        since, until = said.get("since"), said.get("until")
        if since and until and since > until:
            self.add_error("until", "This is before the first day. Choose a later day, or leave the field empty.")
        return said

    def chosen(self) -> dict[str, Any]:
        said = super().chosen()
        last = said["until"]
        return {
            **said,
            "since": forms.midnight(said["since"]),
            "until": forms.midnight(last + timedelta(days=1) if last else None),
            "statuses": forms.listed(said["statuses"]),
        }


JOB = register(
    Job(
        kind="backfill",
        label="Backfill",
        work=job,
        starter=Starter(
            words="We read the shop's orders one after the other. Each is created or found in the CRM, and linked. "
            "Orders that are linked and up to date are skipped.",
            form=BackfillForm,
            start=start,
            icon="history",
        ),
    )
)
