"""The pages on which the field map of a bridge is made: its rows, one of them, a preview, the dry run, the switch."""

from typing import Any
from urllib.parse import quote

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from unfold.admin import ModelAdmin

from orders.asking import ask_reason
from sync.admin.connection_pages import BRIDGES, form_page, guarded, page_of, told
from sync.admin.field_map_forms import ORDER, TABS, RowForm, said_of, tab_of
from sync.backoffice import field_maps
from sync.backoffice.field_maps import Sample
from sync.clients.errors import SideError
from sync.clients.mapping.field_map import BadRow, Row
from sync.clients.mapping.transforms import TYPE_NAMES
from sync.jobs import map_check
from sync.models import FieldMapVersion
from webhooks.backoffice.display import ago
from webhooks.connections import Bridge
from webhooks.masking import masked_text

PAGES = {
    "field_row": "fields/row/",
    "field_preview": "fields/preview/",
    "field_dry_run": "fields/dry-run/",
    "field_switch_on": "fields/on/",
    "field_discard": "fields/discard/",
    "field_restore": "fields/<int:version>/restore/",
}


def at(bridge: Bridge, page: str, *args: Any) -> str:
    return reverse(f"admin:webhooks_bridge_{page}", args=[bridge.pk, *args])


# --- all rows --------------------------------------------------------------------------------------------------------


@guarded(BRIDGES)
def fields_view(owner: ModelAdmin, request: HttpRequest, row: Bridge) -> HttpResponse:
    """A GET asks nobody. A POST moves or removes a row, or asks the CRM for its fields."""
    if request.method == "POST":
        _do(request, row)
        return HttpResponseRedirect(f"{at(row, 'fields_map')}{_query(request)}")
    rows, sample = field_maps.rows_of(row), field_maps.sample(row, request.GET.get("order", "").strip())
    listed, newest = field_maps.listed(row), FieldMapVersion.newest_of(row.pk)
    missing = [one for one in listed.fields if one.required and one.writable and one.name not in _targets(rows)]
    context = {
        **owner.admin_site.each_context(request),
        "opts": owner.opts,
        "title": f"Map the fields: {row}",
        "bridge": row,
        "rows": [_shown(one, sample, listed) for one in rows],
        "is_draft": field_maps.is_draft(row),
        "is_on": bool(row.field_map),
        "newest": newest,
        "listed": listed,
        "asked": ago(listed.at) if listed.at else "",
        "missing": missing,
        "sample": sample,
        "number": request.GET.get("order", "").strip(),
        "query": _query(request, "&"),
        "versions": [(one, ago(one.created_at), masked_text(one.reason)) for one in field_maps.history(row)],
        "report": map_check.report_of(row),
        "to": {
            **{name: at(row, name) for name in PAGES if name != "field_restore"},
            "add": at(row, "field_row") + _query(request),
        },
        "back": page_of(row),
    }
    return TemplateResponse(request, "sync/bridge/fields.html", context)


def _query(request: HttpRequest, mark: str = "?") -> str:
    """The chosen sample order goes from page to page."""
    number = request.GET.get("order", "").strip()
    return f"{mark}order={number}" if number.isalnum() else ""


def _targets(rows: field_maps.Rows) -> set[str]:
    return set(field_maps.targets(rows))


def _shown(said: Any, sample: Sample | None, listed: field_maps.Listed) -> dict[str, Any]:
    """A row as the list shows it, also where this release cannot read it."""
    try:
        row = Row.of(said)
        row.ensure_good()
    except (BadRow, TypeError) as error:
        return {"target": said.get("target"), "kind": "", "source": "", "value": "", "doubts": [str(error)]}
    field = listed.named(row.target)
    return {
        "target": row.target,
        "label": row.label,
        "kind": TYPE_NAMES[row.kind],
        "required": row.required,
        "source": row.source,
        "transforms": ", ".join(one.name for one in row.transforms),
        "value": sample.value_of(row) if sample else "",
        "doubts": [] if field or not listed.fields else ["The CRM does not list this field (any more)."],
    }


def _do(request: HttpRequest, bridge: Bridge) -> None:
    by = request.user.get_username()
    action, _, target = request.POST.get("do", "").partition(":")
    if action == "ask":
        listed = field_maps.ask_fields(bridge)  # what goes wrong is told by `guarded`
        told = f"The CRM named {len(listed.fields)} fields." if listed.fields else "This CRM does not tell its fields."
        messages.success(request, told)
    elif action == "up":
        field_maps.edit(bridge, lambda rows: field_maps.moved_up(rows, target), by=by, words=f"{target} up")
    elif action == "remove":
        field_maps.edit(bridge, lambda rows: field_maps.without(rows, target), by=by, words=f"{target} removed")
        messages.success(request, f"{target} is no longer in the draft.")


# --- one row -------------------------------------------------------------------------------------------------------


@guarded(BRIDGES)
def row_view(owner: ModelAdmin, request: HttpRequest, row: Bridge) -> HttpResponse:
    """A new one, or the one of `?target=`. A POST may ask the sides for what is not known here."""
    target, rows = request.GET.get("target", ""), field_maps.rows_of(row)
    known = said_of(rows, target)
    tab = request.GET.get("tab") if request.GET.get("tab") in TABS else tab_of(known) if known else ORDER
    assert tab is not None  # noqa: S101  for the type alone
    listed, sample = field_maps.listed(row), field_maps.sample(row, request.GET.get("order", "").strip())
    data = request.POST if request.method == "POST" else None
    if data is not None:
        listed, sample = _asked(request, row)
    form = RowForm(data, tab=tab, rows=rows, listed=listed, sample=sample, instead_of=target if known else "")
    value = ""
    if form.is_valid() and request.POST.get("do") == "try":
        value = sample.value_of(form.row) if sample else "There is no order yet on which it could be tried."
    elif form.is_valid():
        _save(request, row, form)
        return HttpResponseRedirect(f"{at(row, 'fields_map')}{_query(request)}")
    here = f"{at(row, 'field_row')}?" + (f"target={quote(target)}" if known else "") + _query(request, "&")
    return form_page(
        owner,
        request,
        title=f"{'Change' if known else 'Add'} a field: {row}",
        words="What the CRM's field gets of each order.",
        form=form,
        button="Save the field",
        back=at(row, "fields_map") + _query(request),
        template="sync/bridge/field_row.html",
        tabs=[(words, f"{here}&tab={name}", name == tab) for name, words in TABS.items()],
        sample=sample,
        value=value,
        asked=ago(listed.at) if listed.at else "",
    )


def _asked(request: HttpRequest, bridge: Bridge) -> tuple[field_maps.Listed, Sample | None]:
    """What a row is checked against. Where a side cannot be asked, it is checked by what is known."""
    listed, sample = field_maps.listed(bridge), field_maps.sample(bridge, request.GET.get("order", "").strip())
    try:
        listed = field_maps.ask_fields(bridge) if listed.is_old else listed
        sample = sample or field_maps.read_sample(bridge)
    except SideError as error:
        messages.warning(request, f"{told(error)} The field was checked against what is known here.")
    return listed, sample


def _save(request: HttpRequest, bridge: Bridge, form: RowForm) -> None:
    new, old = form.row, form.instead_of
    words = f"{new.target} from {masked_text(new.source)}"
    by = request.user.get_username()
    field_maps.edit(bridge, lambda rows: field_maps.with_row(rows, new, instead_of=old), by=by, words=words)
    messages.success(request, f"{new.target} is in the draft. Nothing is sent with it until the map is switched on.")


# --- on, or not ----------------------------------------------------------------------------------------------------


@guarded(BRIDGES)
def switch_on_view(owner: ModelAdmin, request: HttpRequest, row: Bridge) -> HttpResponse:
    def perform(said: dict[str, str]) -> str:
        version = field_maps.switch_on(row, by=request.user.get_username(), reason=said["reason"])
        return f"Version {version} of the field map is on. Each order gets it with its next change, or by a backfill."

    if not field_maps.is_draft(row):
        return _no_draft(request, row)
    report = map_check.report_of(row)
    tried = report.in_short if report and report.is_of_draft else "No dry run was made of this draft."
    words = "From now on, an order is sent with these fields when it is created or changed. Switching on sends nothing."
    return ask_reason(
        request,
        owner.admin_site,
        title=f"Switch the field map on: {row}",
        words=words,
        listed=[tried, *_differences(row)],
        button="Switch on",
        back=at(row, "fields_map"),
        perform=perform,
    )


def _differences(bridge: Bridge) -> list[str]:
    old, new = (
        {one["target"]: one for one in rows} for rows in (field_maps.rows_on(bridge), field_maps.rows_of(bridge))
    )
    return [
        *(f"New: {name}" for name in new if name not in old),
        *(f"Changed: {name}" for name in new if name in old and new[name] != old[name]),
        *(f"No longer sent: {name}. The CRM keeps what it has." for name in old if name not in new),
    ]


def _no_draft(request: HttpRequest, bridge: Bridge) -> HttpResponse:
    messages.info(request, "There is no draft: the map that is shown is the one that is on.")
    return HttpResponseRedirect(at(bridge, "fields_map"))


@guarded(BRIDGES)
def discard_view(owner: ModelAdmin, request: HttpRequest, row: Bridge) -> HttpResponse:
    def perform(said: dict[str, str]) -> str:
        field_maps.discard(row, by=request.user.get_username(), reason=said["reason"])
        return "The draft is discarded."

    if not field_maps.is_draft(row):
        return _no_draft(request, row)
    return ask_reason(
        request,
        owner.admin_site,
        title=f"Discard the draft: {row}",
        words="The map that is on stays as it is.",
        button="Discard",
        back=at(row, "fields_map"),
        perform=perform,
    )


@guarded(BRIDGES)
def restore_view(owner: ModelAdmin, request: HttpRequest, row: Bridge, version: int) -> HttpResponse:
    old = FieldMapVersion.objects.filter(bridge=row, version=version).exclude(version=FieldMapVersion.DRAFT).first()
    if old is None:
        messages.error(request, f"There is no version {version} of this map.")
        return HttpResponseRedirect(at(row, "fields_map"))

    def perform(said: dict[str, str]) -> str:
        words = f"version {version} as it was: {said['reason']}"
        field_maps.edit(row, lambda _: list(old.rows or ()), by=request.user.get_username(), words=words)
        return f"The draft is version {version} again. Look at it, then switch it on."

    return ask_reason(
        request,
        owner.admin_site,
        title=f"Make version {version} the draft: {row}",
        words="What is in the draft now is overwritten. The map that is on stays as it is.",
        button="Make it the draft",
        back=at(row, "fields_map"),
        perform=perform,
    )
