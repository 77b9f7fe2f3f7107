"""What a bridge would do with the shop's latest orders, before it is switched on. Both sides are only read."""

import time
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from unfold.admin import ModelAdmin

from orders import audit
from sync.admin.bridge_forms import DryRunForm
from sync.admin.connection_pages import BRIDGES, form_page, guarded, told
from sync.clients import shop as shop_client
from sync.clients.errors import SideError
from sync.clients.snapshots import ShopSnapshot
from sync.pipeline.dry_run import DryRunResult, run_dry
from sync.pipeline.internal_events import backfill_event
from webhooks.backoffice.pages import page_of
from webhooks.connections import Bridge
from webhooks.masking import masked_text

SECONDS = 20.0
"""A web server gives up on a request after thirty."""


@guarded(BRIDGES)
def dry_run_view(owner: ModelAdmin, request: HttpRequest, row: Bridge) -> HttpResponse:
    form = DryRunForm(request.POST or None)
    rows: list[tuple[ShopSnapshot, DryRunResult, str]] = []
    if form.is_valid():
        try:
            rows = _look(row, form.cleaned_data["orders"])
        except SideError as error:
            form.add_error(None, told(error))
        else:
            _remember(request, row, rows)
    return form_page(
        owner,
        request,
        title=f"Dry run: {row}",
        words="Each of the shop's latest orders is read and looked for in the CRM. Nothing is written on either side.",
        form=form,
        button="Run it again" if form.is_bound else "Run it",
        back=page_of(row),
        template="sync/bridge/dry_run.html",
        rows=rows,
        asked=form.is_bound and form.is_valid(),
    )


def _look(bridge: Bridge, most: int) -> list[tuple[ShopSnapshot, DryRunResult, str]]:
    """Orders that are not looked at in time are left out. Raises SideError."""
    until = time.monotonic() + SECONDS
    query = {"per_page": str(most), "orderby": "date", "order": "desc", "status": "any"}
    orders = shop_client.connect_to(bridge.shop_config).orders(query).orders
    found = []
    for order in orders:
        event = backfill_event(order, bridge=bridge.pk, topic="order.dry_run", key=f"dry-run:{order.woo_id}", by="")
        event.bridge = bridge
        result = run_dry(event, until)
        found.append((order, result, masked_text(result.words)))
        if time.monotonic() > until:
            break
    return found


def _remember(request: HttpRequest, bridge: Bridge, rows: list[Any]) -> None:
    bridge.options = {**bridge.options, "dry_run_at": timezone.now().isoformat()}
    Bridge.objects.filter(pk=bridge.pk).update(options=bridge.options)
    by = request.user.get_username()
    audit.record("bridge: dry run", actor=by, result=f"{bridge}: {len(rows)} orders", bridge=bridge.slug)
