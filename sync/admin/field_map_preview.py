"""What one order would be sent as with the draft of the field map, and what that changes. Both sides are only read."""

import time
from collections.abc import Iterator, Mapping
from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from unfold.admin import ModelAdmin
from unfold.widgets import UnfoldAdminTextInputWidget

from orders import audit
from orders.asking import NotDone, ask_reason
from sync.admin.connection_pages import BRIDGES, form_page, guarded, told
from sync.admin.runs import begin
from sync.backoffice import field_maps
from sync.backoffice.samples import Sample, latest_orders, shown
from sync.clients.bridged import composer_of, shop_of
from sync.clients.errors import SideError
from sync.clients.mapping.facts import facts
from sync.clients.mapping.field_map import Row
from sync.clients.mapping.transforms import WrongValue
from sync.clients.snapshots import FIELDS, ShopSnapshot
from sync.jobs import engine, map_check
from sync.pipeline.dry_run import DryRunResult, run_dry
from sync.pipeline.internal_events import backfill_event
from webhooks.backoffice.display import pretty
from webhooks.backoffice.pages import page_of
from webhooks.connections import Bridge
from webhooks.masking import MASK, masked, masked_text

SECONDS = 20.0
"""A web server gives up on a request after thirty."""
LATEST = 10


class PreviewForm(forms.Form):
    order = forms.RegexField(
        r"^[1-9]\d{0,17}$",
        label="Order",
        help_text="Its id in the shop, as in the address of its page there. Empty: the latest order.",
        required=False,
        widget=UnfoldAdminTextInputWidget(attrs={"inputmode": "numeric"}),
        error_messages={"invalid": "Enter the id of an order of the shop: a number, as 1042."},
    )


@guarded(BRIDGES)
def preview_view(owner: ModelAdmin, request: HttpRequest, row: Bridge) -> HttpResponse:
    form = PreviewForm(request.POST or None, initial={"order": request.GET.get("order", "")})
    found: dict[str, Any] = {}
    if form.is_valid():
        try:
            found = _preview(row, form.cleaned_data["order"])
        except SideError as error:
            form.add_error("order", told(error))
        else:
            words = f"{row}: order {found['number']}"
            audit.record("field map: preview", actor=request.user.get_username(), result=words, bridge=row.slug)
    return form_page(
        owner,
        request,
        title=f"Preview: {row}",
        words="One order is read from the shop, and shown as it would be sent now. Nothing is written on either side.",
        form=form,
        button="Show it",
        back=reverse("admin:webhooks_bridge_fields_map", args=[row.pk]),
        template="sync/bridge/preview.html",
        latest=_latest(row),
        **found,
    )


def _latest(bridge: Bridge) -> list[str]:
    return latest_orders(bridge, LATEST)


def _preview(bridge: Bridge, number: str) -> dict[str, Any]:
    """Nothing of it tells what is masked, whatever a row asks for (docs/decisions/0128). Raises SideError."""
    until, on, draft = time.monotonic() + SECONDS, field_maps.rows_on(bridge), field_maps.rows_of(bridge)
    new, before = field_maps.to_look_at(bridge, draft, on), field_maps.to_look_at(bridge, on, [])
    order = _order(new, number)
    event = backfill_event(order, bridge=bridge.pk, topic="order.dry_run", key=f"preview:{order.woo_id}", by="")
    event.bridge = new
    tried = run_dry(event, until, told_by=composer_of(before))
    sample, listed = Sample(number=str(order.woo_id), known=facts(order.order)), field_maps.listed(bridge)
    rows = field_maps.map_of(draft).rows
    doubts = (field_maps.doubts(row, _tried(row, sample), listed.named(row.target), listed) for row in rows)
    return {
        "number": str(order.woo_id),
        "tried": tried,
        "reasons": [masked_text(reason.words) for reason in tried.reasons],
        "fields": [(row, sample.value_of(row)) for row in rows],
        "doubts": [words for some in doubts for words in some],
        "changes": list(_changes(tried, sample, {row.target: row for row in rows})),
        "document": pretty(masked({name: told for name, told in order.document.items() if name != FIELDS})),
    }


def _tried(row: Row, sample: Sample) -> Any:
    try:
        return row.tried(sample.veiled)
    except WrongValue:
        return None


def _order(bridge: Bridge, number: str) -> ShopSnapshot:
    shop = shop_of(bridge)
    if number:
        return shop.get(int(number))
    listed = shop.orders({"per_page": "1", "orderby": "date", "order": "desc", "status": "any"}).orders
    if not listed:
        raise SideError("The shop has no order yet.", side="shop")
    return listed[0]


def _changes(tried: DryRunResult, sample: Sample, rows: Mapping[str, Row]) -> Iterator[tuple[str, str, str, str]]:
    """What is mapped comes without what is hidden; all else is shown as everywhere."""
    for one in tried.changes:
        place, _, target = one.name.partition(".")
        if place != FIELDS:
            yield one.side, one.name, pretty(masked(one.before, one.name)), pretty(masked(one.after, one.name))
            continue
        row = rows.get(target)
        before, after = shown(one.before, one.before), sample.value_of(row) if row else "empty"
        if before != after or row is None or MASK not in after:
            yield one.side, one.name, before, after


@guarded(BRIDGES)
def dry_run_view(owner: ModelAdmin, request: HttpRequest, row: Bridge) -> HttpResponse:
    """As a run: five hundred orders take longer than a request may."""

    def perform(said: dict[str, str]) -> HttpResponse:
        try:
            run = begin(map_check.start, by=said["by"], reason=said["reason"], bridge=row.pk)
        except engine.NotStarted as error:
            raise NotDone(str(error)) from error
        return HttpResponseRedirect(page_of(run))

    return ask_reason(
        owner,
        request,
        title=f"Dry run over history: {row}",
        words=f"The shop's latest {map_check.ORDERS} orders are read, and compared with and without the draft. Nothing "
        "is written or sent.",
        button="Start it",
        back=reverse("admin:webhooks_bridge_fields_map", args=[row.pk]),
        perform=perform,
    )
