"""The proof of a period: each order that the shop has of it, what the CRM has of it, and the totals of both.

It writes to neither side. The rows it keeps are a CSV file; the hash of that file stands in the audit, so that a copy
of the file can be checked years later.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from django import forms as django_forms
from django.db.models import Exists, OuterRef

from orders import audit
from orders.exports import csv_lines
from orders.models import Decision, OrderLink, StaffAction, StatusTransition
from sync.clients.bridged import crm_of, shop_of
from sync.clients.crm.base import BatchReads, Crm
from sync.clients.errors import Hidden, NotFound, Odd, Rejected, Unreadable
from sync.clients.paging import alone, in_parts
from sync.clients.paging.shop_orders import Position, ShopPaginator
from sync.clients.shop import Shop
from sync.clients.snapshots import TRASH, CrmSnapshot, ShopSnapshot
from sync.jobs import engine, forms
from sync.jobs.halves import all_statuses
from sync.jobs.processing import LEFT_OUT, THREADS, Steps, in_parallel, leave_out, thread_pool, with_retries
from sync.models import MonthEndOrder, Run
from sync.registry import Job, Starter, register
from webhooks.connections import Bridge
from webhooks.models import Side, WebhookEvent
from webhooks.moments import utc

Standing = MonthEndOrder.Standing
ACTION = "month-end proof"
DEFAULT = "default"
BATCH, AT_ONCE = 100, 20
OF_THIS_ORDER = (Odd, Hidden, Rejected, Unreadable)
FILTERED = "filtered"
"""The outcome of an event whose order the rules do not send (CONTRACT section 5)."""
REPORT = "report"
COLUMNS = (
    *("order", "number", "created", "standing", "last move refused", "currency", "shop status", "shop total"),
    *("CRM order", "CRM status", "CRM total", "difference"),
)


def options(*, since: date | None = None, until: date | None = None, bridge: str = "") -> dict[str, Any]:
    """Both days are of the period. Without them it is the month before this one. Raises NotStarted."""
    last = datetime.now(UTC).date().replace(day=1) - timedelta(days=1)
    since, until = since or (until or last).replace(day=1), until or last
    if until < since:
        raise engine.NotStarted(f"The period ends on {until}, before it begins on {since}. Exchange the two.")
    slug = bridge or DEFAULT
    if not Bridge.objects.filter(slug=slug).exists():
        known = ", ".join(Bridge.objects.values_list("slug", flat=True))
        raise engine.NotStarted(f"There is no bridge {slug!r}. Choose one of: {known}.")
    return {"since": since.isoformat(), "until": until.isoformat(), "bridge": slug}


def start(*, actor: str, reason: str = "", **chosen: Any) -> Run:
    """Raises NotStarted."""
    asked = options(**chosen)
    bridge = Bridge.objects.get(slug=asked["bridge"]).pk
    return engine.start(JOB.kind, options=asked, bridge=bridge, actor=actor, reason=reason)


def job(run: Run) -> Steps[None]:
    """`checkpoint`: where the walk through the shop's orders is, then up to which link; in the end the report."""
    bridge = Bridge.objects.with_connections().get(slug=run.options["bridge"])
    shop, crm = shop_of(bridge), crm_of(bridge)
    with thread_pool() as pool:
        if "after" not in run.checkpoint:
            yield from _walk_shop(run, shop, Reader(bridge, crm, pool))
        yield from _walk_links(run, bridge, Reader(bridge, crm, pool))
    report = summarize(run)
    run.checkpoint = {**run.checkpoint, REPORT: report}
    run.counts = {**run.counts, **report["counts"]}
    _sign(run, report)


# --- the two walks -------------------------------------------------------------------------------------------------


def _walk_shop(run: Run, shop: Shop, reader: "Reader") -> Steps[None]:
    """What was created in the period was changed since it began. An order that is changed meanwhile is met again, and
    counts as it is then."""
    statuses = yield from with_retries(reader.bridge, lambda: all_statuses(shop))
    begins, ends = _period(run)
    place = run.checkpoint.get("place")
    position = Position.from_json(place) if place else Position(at=begins)
    paginator = ShopPaginator(shop, statuses=statuses, position=position)
    while not paginator.ended:
        orders = yield from with_retries(reader.bridge, paginator.next)
        leave_out(run, [order.words for order in paginator.left_out])
        of_period = [order for order in orders if (at := created(order)) and begins <= at < ends]
        yield from _keep(run, reader, of_period)
        place = {"after": 0} if paginator.ended else {"place": paginator.position.as_json()}
        run.checkpoint = {**run.checkpoint, **place}
        run.counts = {**run.counts, "seen": run.month_end_orders.count()}
        yield


def _walk_links(run: Run, bridge: Bridge, reader: "Reader") -> Steps[None]:
    """Orders of the period that the shop's lists do not show any more."""
    begins, ends = _period(run)
    met = MonthEndOrder.objects.filter(run=run, woo_id=OuterRef("woo_id"))
    links = OrderLink.objects.filter(~Exists(met), bridge=bridge).order_by("pk")
    while page := list(links.filter(pk__gt=run.checkpoint["after"])[:BATCH]):
        gone = [link for link in page if (at := _created_of(link)) and begins <= at < ends]
        yield from _keep(run, reader, [ShopSnapshot.gone(link.woo_id) for link in gone])
        run.checkpoint = {**run.checkpoint, "after": page[-1].pk}
        yield


def created(order: ShopSnapshot) -> datetime | None:
    return _moment(order.order.get("date_created_gmt"))


def _created_of(link: OrderLink) -> datetime | None:
    """As it was when it was linked."""
    return _moment(link.identity.get("created"))


def _moment(text: Any) -> datetime | None:
    try:
        return utc(text)
    except (TypeError, ValueError, AttributeError):
        return None


def _period(run: Run) -> tuple[datetime, datetime]:
    first, last = (date.fromisoformat(run.options[name]) for name in ("since", "until"))
    return datetime.combine(first, time.min, UTC), datetime.combine(last + timedelta(days=1), time.min, UTC)


# --- one page ------------------------------------------------------------------------------------------------------


class Reader:
    """What the CRM has of some links, by CRM id."""

    def __init__(self, bridge: Bridge, crm: Crm, pool: ThreadPoolExecutor) -> None:
        self.bridge = bridge
        self.crm = crm
        self.pool = pool

    def together(self, ids: Sequence[str]) -> Steps[Mapping[str, CrmSnapshot]]:
        """What one call shows of them, if the CRM has such a call."""
        crm = self.crm
        if not ids or not isinstance(crm, BatchReads):
            return {}
        return (yield from with_retries(self.bridge, lambda: crm.get_many(ids)))

    def singly(self, ids: Sequence[str]) -> Steps[dict[str, CrmSnapshot | str | None]]:
        """The order; None: it is lost; or why it cannot be read."""
        answers = yield from in_parallel(self.bridge, self.pool, self._one, ids)
        return dict(zip(ids, answers, strict=True))

    def _one(self, crm_order_id: str) -> CrmSnapshot | str | None:
        try:
            return alone(lambda: self.crm.get(crm_order_id), self.crm.ping)
        except NotFound:
            return None
        except OF_THIS_ORDER as error:
            return str(error)


def _keep(run: Run, reader: Reader, orders: Sequence[ShopSnapshot]) -> Steps[None]:
    """A few at a time: a page that is done again begins with those that were not kept as they are now, so that it gets
    on however slow the CRM is."""
    kept = MonthEndOrder.objects.filter(run=run, woo_id__in=[order.woo_id for order in orders])
    kept = kept.exclude(standing=Standing.UNREADABLE)  # which are to be named again
    known = {woo_id: rest for woo_id, *rest in kept.values_list("woo_id", "shop_status", "shop_total")}
    new = [order for order in orders if known.get(order.woo_id) != [order.status, _total(order)]]
    for some in in_parts(new, AT_ONCE):
        ids = [order.woo_id for order in some]
        links = {link.woo_id: link for link in OrderLink.objects.filter(bridge=reader.bridge, woo_id__in=ids)}
        shown = yield from reader.together([link.crm_order_id for link in links.values()])
        rest = [one for one in some if one.woo_id in links and links[one.woo_id].crm_order_id not in shown]
        _store(run, reader.bridge, [one for one in some if one not in rest], links, shown)
        for few in in_parts(rest, THREADS):
            read = yield from reader.singly([links[one.woo_id].crm_order_id for one in few])
            _store(run, reader.bridge, few, links, read)
            yield


def _store(
    run: Run,
    bridge: Bridge,
    orders: Sequence[ShopSnapshot],
    links: Mapping[int, OrderLink],
    read: Mapping[str, CrmSnapshot | str | None],
) -> None:
    filtered, refused = _filtered(bridge, [order.woo_id for order in orders]), _refused(links.values())
    rows = []
    for order in orders:
        link = links.get(order.woo_id)
        if link is None and order.status == TRASH:
            continue  # neither side counts it
        answer = read[link.crm_order_id] if link else None
        if link and isinstance(answer, str):
            leave_out(run, [f"order {link}: {answer}"])
        rows.append(_row(run, order, link, answer, is_filtered=order.woo_id in filtered, refused=refused))
    columns = [one.name for one in MonthEndOrder._meta.concrete_fields if one.name not in ("id", "run", "woo_id")]
    MonthEndOrder.objects.bulk_create(
        rows, update_conflicts=True, unique_fields=["run", "woo_id"], update_fields=columns
    )


def _row(
    run: Run,
    order: ShopSnapshot,
    link: OrderLink | None,
    answer: CrmSnapshot | str | None,
    *,
    is_filtered: bool,
    refused: set[int],
) -> MonthEndOrder:
    is_gone = order.status == TRASH
    crm = answer if isinstance(answer, CrmSnapshot) else None
    at = created(order) or (_created_of(link) if link else None)
    return MonthEndOrder(
        run=run,
        woo_id=order.woo_id,
        number=link.number if link else "",
        created=f"{at:%Y-%m-%dT%H:%M:%SZ}" if at else "",
        standing=_standing(link, answer, is_gone=is_gone, is_filtered=is_filtered),
        refused=link is not None and link.pk in refused,
        currency=str(order.order.get("currency") or "")[:8],
        shop_status=order.status,
        shop_total=_total(order),
        crm_order_id=link.crm_order_id if link else "",
        crm_status=crm.status if crm else "",
        crm_total=f"{crm.total:f}" if crm and crm.total is not None else "",
    )


def _standing(
    link: OrderLink | None, answer: CrmSnapshot | str | None, *, is_gone: bool, is_filtered: bool
) -> Standing:
    if link is None:
        return Standing.FILTERED if is_filtered else Standing.NOT_LINKED
    if isinstance(answer, str):
        return Standing.UNREADABLE
    if answer is None:
        return Standing.LOST
    return Standing.GONE if is_gone else Standing.LINKED


def _total(order: ShopSnapshot) -> str:
    return "" if order.status == TRASH else _amount(order.order.get("total"))


def _amount(said: Any) -> str:
    try:
        amount = Decimal(str(said))
    except ArithmeticError:
        return ""
    return f"{amount:f}"[:32] if amount.is_finite() else ""


def _filtered(bridge: Bridge, ids: Sequence[int]) -> set[int]:
    events = WebhookEvent.objects.filter(
        bridge=bridge, side=Side.SHOP, order_ref__in=[str(one) for one in ids], outcome=FILTERED
    )
    return {int(ref) for ref in events.values_list("order_ref", flat=True)}


def _refused(links: Iterable[OrderLink]) -> set[int]:
    """The links whose last move was refused."""
    last: dict[int, str] = {}
    moves = StatusTransition.objects.filter(link__in=links).order_by("link_id", "sequence")
    for link, decision in moves.values_list("link_id", "decision"):
        last[link] = decision
    return {link for link, decision in last.items() if decision == Decision.REFUSED}


# --- the report ----------------------------------------------------------------------------------------------------


def rows_of(run: Run) -> Iterator[MonthEndOrder]:
    return MonthEndOrder.objects.filter(run=run).order_by("woo_id").iterator(chunk_size=1000)


def as_csv(run: Run) -> Iterator[str]:
    """The same letters each time: their hash is what the audit has."""
    yield from csv_lines(COLUMNS, (_cells(row) for row in rows_of(run)))


def _cells(row: MonthEndOrder) -> list[Any]:
    refused = "yes" if row.refused else "no"
    shop = [row.woo_id, row.number, row.created, row.standing, refused, row.currency, row.shop_status]
    totals = [Decimal(one) if one else None for one in (row.shop_total, row.crm_total)]
    return [*shop, totals[0], row.crm_order_id, row.crm_status, totals[1], row.difference]


def summarize(run: Run) -> dict[str, Any]:
    """One pass over the rows: counts, totals by currency, the first that do not agree, and the hash of the file."""
    counts = {"in_shop": 0, "in_crm": 0, **dict.fromkeys(Standing.values, 0), "refused": 0, "differ": 0}
    totals: dict[str, dict[str, Decimal | int]] = defaultdict(
        lambda: {"orders": 0, "shop": Decimal(), "filtered": Decimal(), "crm": Decimal(), "unknown": 0}
    )
    named: list[int] = []
    for row in rows_of(run):
        counts[row.standing] += 1
        counts["refused"] += row.refused
        counts["in_shop"] += row.standing != Standing.GONE
        counts["in_crm"] += row.standing in (Standing.LINKED, Standing.GONE)
        if not row.agrees:
            counts["differ"] += 1
            named = named if len(named) >= BATCH else [*named, row.woo_id]
        _add(totals[row.currency], row)
    digest = hashlib.sha256()
    for line in as_csv(run):
        digest.update(line.encode())
    return {
        "counts": counts,
        "totals": {currency or "?": _told(one) for currency, one in sorted(totals.items())},
        "differ": named,
        "sha256": digest.hexdigest(),
    }


def _add(total: dict[str, Any], row: MonthEndOrder) -> None:
    total["orders"] += 1
    total["shop"] += Decimal(row.shop_total or 0)
    total["crm"] += Decimal(row.crm_total or 0)
    if row.standing == Standing.FILTERED:
        total["filtered"] += Decimal(row.shop_total or 0)
    if row.standing in (Standing.LINKED, Standing.GONE) and not row.crm_total:
        total["unknown"] += 1


def _told(total: dict[str, Any]) -> dict[str, Any]:
    """As JSON. The difference is of what is to be in the CRM; None: of some orders the CRM does not say the total."""
    difference = total["shop"] - total["filtered"] - total["crm"]
    amounts = {name: f"{total[name]:f}" for name in ("shop", "filtered", "crm")}
    return {
        **amounts,
        "orders": total["orders"],
        "unknown": total["unknown"],
        "difference": None if total["unknown"] else f"{difference:f}",
    }


def _sign(run: Run, report: dict[str, Any]) -> None:
    """Into the chain of staff actions, once."""
    if StaffAction.objects.filter(action=ACTION, details__run=run.pk).exists():
        return
    period = f"{run.options['since']} to {run.options['until']}"
    told = "; ".join(
        f"{currency}: shop {one['shop']}, CRM {one['crm']}, difference {one['difference'] or 'not known'}"
        for currency, one in report["totals"].items()
    )
    audit.record(
        ACTION,
        actor=run.actor or "schedule",
        reason=run.reason,
        result=f"{run.options['bridge']}, {period}. {told or 'No orders'}. SHA-256 of the CSV: {report['sha256']}",
        run=run.pk,
        digest=report["sha256"],
        left_out=run.counts.get(LEFT_OUT, 0),
    )


def signed(digest: str) -> StaffAction | None:
    """The line of the audit that a file with this hash belongs to; None: it is none of ours, or was changed."""
    return StaffAction.objects.filter(action=ACTION, details__digest=digest).order_by("pk").first()


class MonthEndForm(forms.BridgeRunForm):
    since = forms.day("From", "The first day, UTC. Empty: the first of the month before this one.")
    until = forms.day("Until", "The last day, included. Empty: the last of the month before this one.")
    field_order = ("since", "until", "reason")

    def clean(self) -> dict[str, Any]:
        said: dict[str, Any] = super().clean() or {}
        since, until = said.get("since"), said.get("until")
        if since and until and until < since:
            raise django_forms.ValidationError("The last day comes before the first one.")
        return said

    def chosen(self) -> dict[str, Any]:
        """The bridge stands in the report by its short name."""
        return {**super().chosen(), "bridge": self.cleaned_data.get("bridge") or ""}


JOB = register(
    Job(
        kind="month_end",
        label="Month-end proof",
        work=job,
        count_names={
            "in_shop": "In the shop",
            "in_crm": "In the CRM",
            **{one.value: one.label for one in Standing},
            "refused": "Last move refused",
            "differ": "Do not agree",
        },
        starter=Starter(
            words="We read each order that the shop has of a period, and what the CRM has of it, and add up both. The "
            "report can be printed and exported; its hash goes into the audit. Nothing is written to either side.",
            form=MonthEndForm,
            start=start,
            icon="receipt_long",
        ),
    )
)
