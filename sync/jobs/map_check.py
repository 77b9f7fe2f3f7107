"""What a field map would change in the shop's latest orders, before it is switched on. The orders are read, and nothing
is written or sent."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from sync.backoffice import field_maps
from sync.backoffice.field_maps import Listed, Rows, doubts
from sync.backoffice.samples import NOT_SENT, Sample
from sync.clients.bridged import shop_of
from sync.clients.errors import SideError
from sync.clients.mapping.facts import facts
from sync.clients.mapping.field_map import FieldMap, Row
from sync.clients.paging.shop_orders import LIGHT
from sync.clients.snapshots import CARRIED, TRASH, ShopSnapshot
from sync.jobs import engine
from sync.jobs.halves import all_statuses
from sync.jobs.processing import Steps, leave_out, with_retries
from sync.models import Run
from sync.registry import Job, register
from webhooks.connections import Bridge
from webhooks.masking import masked_text
from webhooks.models import Side

ORDERS, PAGE, SAMPLES = 500, 100, 3
REPORT = "report"
"""In the checkpoint: by target, how many orders get another value, or none, and some of them."""
COUNTS = ("seen", "changed", "unchanged", "incomplete", "refused")
Tally = dict[str, Any]


def start(*, actor: str, reason: str = "", bridge: int) -> Run:
    """Over the draft of the bridge as it is now. Raises AlreadyRunning."""
    row = engine.bridge_with(bridge)
    options = {"rows": field_maps.rows_of(row), "before": field_maps.rows_on(row), "orders": ORDERS}
    return engine.start(JOB.kind, options=options, bridge=bridge, actor=actor, reason=reason, restart=True)


def job(run: Run) -> Steps[None]:
    """`checkpoint`: the number of the next page, and the report so far."""
    bridge = engine.bridge_of(run)
    shop = shop_of(bridge)
    listed = yield from _listed(run, bridge)
    statuses = yield from with_retries(bridge, lambda: all_statuses(shop), side=Side.SHOP)
    query = {"status": ",".join(set(statuses) - {TRASH}), "orderby": "date", "order": "desc"}
    comparison = Comparison(run.options["before"], run.options["rows"], listed)
    run.total, number = run.options["orders"], run.checkpoint.get("page", 1)
    while (number - 1) * PAGE < run.options["orders"]:
        light = {**query, "per_page": str(PAGE), "page": str(number), "_fields": LIGHT}
        shown = (yield from with_retries(bridge, partial(shop.orders, light), side=Side.SHOP)).orders
        ids, whole = [one.woo_id for one in shown], {**query, "_fields": ",".join(CARRIED)}
        orders, failed = yield from with_retries(bridge, partial(shop.of_ids, ids, whole), side=Side.SHOP)
        leave_out(run, [f"order {woo_id}: {words}" for woo_id, words in failed.items()])
        number = number + 1 if len(shown) == PAGE else run.options["orders"]
        _count(run, comparison, orders, number)
        yield
    run.total = run.counts["seen"]


def _listed(run: Run, bridge: Bridge) -> Steps[Listed]:
    """What the CRM takes. Where it cannot be asked, what it said before counts."""
    known = field_maps.listed(bridge)
    if known.is_old:
        try:
            known = yield from with_retries(bridge, lambda: field_maps.ask_fields(bridge), side=Side.CRM, patience=5.0)
        except (SideError, engine.Failed) as error:
            run.note = f"The CRM could not be asked for its fields: {masked_text(str(error))}"
    return known


def _count(run: Run, comparison: "Comparison", orders: Sequence[ShopSnapshot], page: int) -> None:
    report: dict[str, Tally] = {name: dict(tally) for name, tally in run.checkpoint.get(REPORT, {}).items()}
    counts = {**dict.fromkeys(COUNTS, 0), **run.counts}
    for order in orders:
        for name in comparison.look(order, report):
            counts[name] += 1
    run.counts = counts
    run.checkpoint = {**run.checkpoint, "page": page, REPORT: report}


class Comparison:
    """Two maps, order by order."""

    def __init__(self, before: Rows, after: Rows, listed: Listed) -> None:
        self.before, self.after, self.listed = FieldMap.of(0, before), FieldMap.of(0, after), listed
        self.was, self.now = ({row.target: row for row in one.rows} for one in (self.before, self.after))

    def look(self, order: ShopSnapshot, report: dict[str, Tally]) -> list[str]:
        """What is counted of this order. Each field goes into the report."""
        old, (new, words) = self.before.apply(order.order)[0], self.after.apply(order.order)
        sample, is_refused = Sample(number=str(order.woo_id), known=facts(order.order)), False
        for target in dict.fromkeys([*self.now, *self.after.broken, *self.was]):
            tally = report.setdefault(target, {"sent": 0, "changed": 0, "incomplete": 0, "refused": 0})
            row, was = self.now.get(target), self.was.get(target)
            refused = list(self._against(row, new.get(target))) if row else []
            left_out = [one for one in words if f" {target} " in f"{one} " or f" {target}:" in one]
            tally["sent"] += target in new
            tally["changed"] += old.get(target) != new.get(target)
            tally["incomplete"] += bool(left_out)
            tally["refused"] += bool(refused)
            self._keep_samples(tally, sample, was, row, [*left_out, *refused])
            is_refused = is_refused or bool(refused)
        kinds = {"seen": True, "changed": old != new, "unchanged": old == new}
        return [name for name, is_so in {**kinds, "incomplete": bool(words), "refused": is_refused}.items() if is_so]

    def _against(self, row: Row, value: Any) -> Iterator[str]:
        return doubts(row, value, self.listed.named(row.target), self.listed)

    def _keep_samples(self, tally: Tally, sample: Sample, was: Row | None, row: Row | None, words: list[str]) -> None:
        """Which order it was is only told where everybody may see why (docs/decisions/0128)."""
        if len(tally.get("samples", ())) < SAMPLES:
            before, after = (_shown(sample, one) for one in (was, row))
            if before != after:
                _keep(tally, "samples", [sample.number, before, after])
        if words and len(tally.get("problems", ())) < SAMPLES:
            _keep(tally, "problems", [sample.number if row and not sample.hides(row) else "", *words])


def _shown(sample: Sample, row: Row | None) -> str:
    told = sample.value_of(row) if row else ""
    return "nothing" if told in ("", "empty") or told.startswith(NOT_SENT) else told


def _keep(tally: Tally, name: str, line: list[str]) -> None:
    known = tally.get(name, [])
    if line not in known:
        tally[name] = [*known, line]


# --- the report ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Report:
    run: Run
    is_of_draft: bool
    "Nobody has changed it, or what is on, since."

    @property
    def is_done(self) -> bool:
        return self.run.state == Run.State.DONE

    @property
    def fields(self) -> list[tuple[str, Tally]]:
        return list(self.run.kept.get(REPORT, {}).items())

    @property
    def in_short(self) -> str:
        counted = {**dict.fromkeys(COUNTS, 0), **self.run.counts}
        return (
            f"Of the latest {counted['seen']} orders, {counted['changed']} would get other fields; in "
            f"{counted['incomplete']} a field would be left out or cut; {counted['refused']} the CRM would refuse."
        )


def report_of(bridge: Bridge) -> Report | None:
    """The newest of the bridge."""
    run = Run.objects.filter(kind=JOB.kind, bridge=bridge).order_by("-pk").first()
    if run is None:
        return None
    rows, on = field_maps.rows_of(bridge), field_maps.rows_on(bridge)
    return Report(run=run, is_of_draft=run.options["rows"] == rows and on in (run.options["before"], rows))


def _in_words(run: Run) -> list[tuple[str, str]]:
    return [("fields", ", ".join(field_maps.targets(run.options["rows"])) or "none"), ("orders", str(ORDERS))]


JOB = register(
    Job(
        kind="map_check",
        label="Dry run of a field map",
        work=job,
        count_names={
            "changed": "Get other fields",
            "unchanged": "Get the same fields",
            "incomplete": "A field is left out or cut",
            "refused": "Would be refused by the CRM",
        },
        options_in_words=_in_words,
    )
)
