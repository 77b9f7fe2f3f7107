"""The pages on which the field map of a bridge is made: its rows, one of them, a preview, the dry run, the switch."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any
from urllib.parse import quote

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from unfold.admin import ModelAdmin

from orders.asking import ReasonForm, ask_reason
from sync.admin.connection_pages import BRIDGES, form_page, guarded, told
from sync.admin.field_map_forms import ORDER, TABS, RowForm, said_of, tab_of
from sync.backoffice import field_maps
from sync.backoffice.field_maps import Changed
from sync.backoffice.samples import Sample, read_sample
from sync.backoffice.samples import sample as known_sample
from sync.clients.errors import SideError
from sync.clients.mapping.field_map import BadRow, Row
from sync.clients.mapping.transforms import TYPE_NAMES
from sync.jobs import map_check
from sync.models import FieldMapVersion
from webhooks.backoffice.display import ago
from webhooks.backoffice.pages import page, page_of
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
    rows, sample = field_maps.rows_of(row), known_sample(row, request.GET.get("order", "").strip())
    listed, newest = field_maps.listed(row), FieldMapVersion.newest_of(row.pk)
    missing = [one for one in listed.fields if one.required and one.writable and one.name not in _targets(rows)]
    context = {
        "bridge": row,
        "rows": [_shown(one, sample, listed) for one in rows],
        "is_draft": field_maps.is_draft(row),
        "add_variant": "default" if field_maps.is_draft(row) else "primary",
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
    return page(owner, request, "sync/bridge/fields.html", f"Map the fields: {row}", **context)


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
    doubts = [] if field or not listed.fields else ["The CRM does not list this field (any more)."]
    if field and not field.writable:
        doubts = ["The CRM lets nobody write it (any more)."]
    return {
        "target": row.target,
        "label": row.label,
        "kind": TYPE_NAMES[row.kind],
        "required": row.required,
        "source": row.source,
        "transforms": ", ".join(one.name for one in row.transforms),
        "value": sample.value_of(row) if sample else "",
        "doubts": doubts,
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
    listed, sample = field_maps.listed(row), known_sample(row, request.GET.get("order", "").strip())
    data = request.POST if request.method == "POST" else None
    if data is not None:
        listed, sample = _asked(request, row)
    form = RowForm(data, tab=tab, rows=rows, listed=listed, sample=sample, instead_of=target if known else "")
    value = ""
    if form.is_valid() and request.POST.get("do") == "try":
        value = sample.value_of(form.row) if sample else "There is no order yet on which it could be tried."
    elif form.is_valid() and _save(request, row, form):
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
    listed, sample = field_maps.listed(bridge), known_sample(bridge, request.GET.get("order", "").strip())
    try:
        listed = field_maps.ask_fields(bridge) if listed.is_old else listed
        sample = sample or read_sample(bridge)
    except SideError as error:
        messages.warning(request, f"{told(error)} The field was checked against what is known here.")
    return listed, sample


def _save(request: HttpRequest, bridge: Bridge, form: RowForm) -> bool:
    new, by = form.row, request.user.get_username()
    words = f"{new.target} from {masked_text(new.source)}"
    change = partial(field_maps.with_row, row=new, instead_of=form.instead_of, as_seen=form.cleaned_data["as_seen"])
    try:
        field_maps.edit(bridge, change, by=by, words=words)
    except Changed as error:
        form.add_error("target", str(error))
        return False
    messages.success(request, f"{new.target} is in the draft. Nothing is sent with it until the map is switched on.")
    return True


# --- on, or not ----------------------------------------------------------------------------------------------------


class SeenForm(ReasonForm):
    """What is done is done to what the person has seen."""

    as_seen = forms.CharField(widget=forms.HiddenInput, required=False)

    def __init__(self, data: Any = None, *, seen: str) -> None:
        super().__init__(data, initial={"as_seen": seen})


def _ask(
    owner: ModelAdmin, request: HttpRequest, bridge: Bridge, do: Callable[[dict[str, str]], str], **more: Any
) -> HttpResponse:
    """`do` may raise Changed: then it is shown again."""

    def perform(said: dict[str, str]) -> str | HttpResponse:
        try:
            return do(said)
        except Changed as error:
            messages.warning(request, f"{error} This is how it is now.")
            return HttpResponseRedirect(request.get_full_path())

    form = partial(SeenForm, seen=field_maps.seen(bridge))
    back = at(bridge, "fields_map")
    return ask_reason(owner, request, back=back, perform=perform, form_class=form, **more)


@guarded(BRIDGES)
def switch_on_view(owner: ModelAdmin, request: HttpRequest, row: Bridge) -> HttpResponse:
    def do(said: dict[str, str]) -> str:
        version = field_maps.switch_on(row, **said)
        return f"Version {version} of the field map is on. Each order gets it with its next change, or by a backfill."

    if not field_maps.is_draft(row):
        return _no_draft(request, row)
    report, tried = map_check.report_of(row), "No dry run was made of this draft."
    if report and report.is_of_draft:
        tried = report.in_short if report.is_done else f"{report.run} of this draft: {report.run.get_state_display()}."
    return _ask(
        owner,
        request,
        row,
        do,
        title=f"Switch the field map on: {row}",
        words="From now on, an order is sent with these fields when it is created or changed. Switching on sends "
        "nothing.",
        listed=[*_differences(row), *_doubts(row), tried],
        button="Switch on",
        links=[] if report and report.is_of_draft else [("Dry run over history first", at(row, "field_dry_run"))],
    )


def _differences(bridge: Bridge) -> Iterator[str]:
    old, new = (
        {one["target"]: one for one in rows} for rows in (field_maps.rows_on(bridge), field_maps.rows_of(bridge))
    )
    yield from (f"New: {name}" for name in new if name not in old)
    yield from (f"Changed: {name}" for name in new if name in old and new[name] != old[name])
    yield from (f"No longer sent: {name}. The CRM keeps what it has." for name in old if name not in new)
    if list(old) != list(new) and old == new:
        yield "Only their order differs."


def _doubts(bridge: Bridge) -> Iterator[str]:
    listed = field_maps.listed(bridge)
    for one in field_maps.rows_of(bridge):
        yield from (f"{one.get('target')}: {words}" for words in _shown(one, None, listed)["doubts"])


def _no_draft(request: HttpRequest, bridge: Bridge) -> HttpResponse:
    messages.info(request, "There is no draft: the map that is shown is the one that is on.")
    return HttpResponseRedirect(at(bridge, "fields_map"))


@guarded(BRIDGES)
def discard_view(owner: ModelAdmin, request: HttpRequest, row: Bridge) -> HttpResponse:
    def do(said: dict[str, str]) -> str:
        field_maps.discard(row, **said)
        return "The draft is discarded."

    if not field_maps.is_draft(row):
        return _no_draft(request, row)
    return _ask(
        owner,
        request,
        row,
        do,
        title=f"Discard the draft: {row}",
        words="The map that is on stays as it is.",
        listed=list(_differences(row)),
        button="Discard",
    )


@guarded(BRIDGES)
def restore_view(owner: ModelAdmin, request: HttpRequest, row: Bridge, version: int) -> HttpResponse:
    old = FieldMapVersion.objects.filter(bridge=row, version=version).exclude(version=FieldMapVersion.DRAFT).first()
    if old is None:
        messages.error(request, f"There is no version {version} of this map.")
        return HttpResponseRedirect(at(row, "fields_map"))

    def do(said: dict[str, str]) -> str:
        words = f"version {version} as it was: {said['reason']}"
        by, as_seen = said["by"], said["as_seen"]
        field_maps.edit(row, lambda _: list(old.rows or ()), by=by, words=words, as_seen=as_seen)
        return f"The draft is version {version} again. Look at it, then switch it on."

    is_draft = field_maps.is_draft(row)
    overwritten = "What is in the draft now is overwritten. " if is_draft else ""
    return _ask(
        owner,
        request,
        row,
        do,
        title=f"Make version {version} the draft: {row}",
        words=f"{overwritten}The map that is on stays as it is.",
        listed=list(_differences(row)) if is_draft else [],
        button="Make it the draft",
    )
