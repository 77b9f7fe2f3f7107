"""Bridges: one shop joined to one CRM. Each is set up here, step by step, then switched on, paused or archived."""

from dataclasses import dataclass
from functools import partial
from typing import Any

from django.contrib import admin, messages
from django.core.cache import cache
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.html import format_html
from unfold.decorators import action

from orders import audit
from orders.asking import NotDone, ask_reason
from orders.models import StatusRule
from sync.admin import bridge_dry_run, field_map_preview, field_maps
from sync.admin.bridge_forms import BridgeForm, EditBridgeForm, MappingForm
from sync.admin.bridge_sending import sending_view
from sync.admin.connection_pages import BRIDGES, form_page, guarded, list_of, page_of, told
from sync.clients.errors import SideError
from sync.monitoring import bridging
from sync.monitoring.bridging import StatusLists
from webhooks import clock
from webhooks.backoffice.display import ago, badge
from webhooks.backoffice.lists import ReadOnlyAdmin
from webhooks.connections import Bridge, Connection
from webhooks.wake import wake

PAUSE = "webhooks.pause_bridge"
COLOURS = {Bridge.State.DRAFT: "info", Bridge.State.ON: "success", Bridge.State.PAUSED: "warning"}
LISTS_KEPT = 600


@dataclass(frozen=True, kw_only=True)
class Step:
    """One of those that lead to a working bridge."""

    words: str
    done: bool
    link: str = ""
    label: str = ""


def steps(bridge: Bridge) -> list[Step]:
    crm, rules = bridge.crm, StatusRule.objects.filter(bridge=bridge).count()
    looked = bool(bridge.options.get("dry_run_at")) or bridge.state != Bridge.State.DRAFT
    at = partial(_at, bridge)
    return [
        Step(words=f"The shop: {bridge.shop}", done=True, link=page_of(bridge.shop), label="Open"),
        Step(words=f"The CRM: {crm or 'none'}", done=crm is not None, link=page_of(crm or bridge.shop), label="Open"),
        Step(words=f"{rules} statuses are mapped", done=bool(rules), link=at("statuses"), label="Map the statuses"),
        Step(words="A dry run over the latest orders", done=looked, link=at("dry_run"), label="Dry run"),
        Step(words="Switched on", done=bridge.is_on, link=at("switch_on"), label="Switch on"),
    ]


def _at(bridge: Bridge, page: str) -> str:
    return reverse(f"admin:webhooks_bridge_{page}", args=[bridge.pk])


@admin.register(Bridge)
class BridgeAdmin(ReadOnlyAdmin):
    list_display = ("name", "standing", "shop", "crm", "prefixed", "since")
    list_select_related = ("shop", "crm")
    ordering = ("pk",)
    fields = ("name", "slug", "standing", "to_shop", "to_crm", "prefixed", "since")
    change_form_outer_before_template = "sync/bridge/steps.html"
    actions_list = ("new",)
    actions_detail = ("edit", "statuses", "fields_map", "sending", "dry_run", "switch_on", "pause", "archive")

    @admin.display(description="State", ordering="state")
    def standing(self, bridge: Bridge) -> str:
        if bridge.archived_at:
            return badge("Archived")
        return badge(bridge.get_state_display(), COLOURS[Bridge.State(bridge.state)] or "")

    @admin.display(description="Prefix")
    def prefixed(self, bridge: Bridge) -> str:
        return bridge.prefix or "none"

    @admin.display(description="Shop")
    def to_shop(self, bridge: Bridge) -> str:
        return _link(bridge.shop)

    @admin.display(description="CRM")
    def to_crm(self, bridge: Bridge) -> str:
        return _link(bridge.crm) if bridge.crm else "–"

    @admin.display(description="Made", ordering="created_at")
    def since(self, bridge: Bridge) -> str:
        return ago(bridge.created_at)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        bridge = Bridge.objects.with_connections().filter(pk=object_id).first() if object_id.isdigit() else None
        may = request.user.has_perm(BRIDGES)
        context = {"steps": steps(bridge) if bridge else [], "may_set_up": may, "bridge": bridge}
        return super().change_view(request, object_id, form_url, {**(extra_context or {}), **context})

    # --- buttons ---------------------------------------------------------------------------------------------------

    def has_set_up_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        return request.user.has_perm(BRIDGES)

    def has_pause_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        return request.user.has_perm(PAUSE)

    @action(description="Bridge a shop and a CRM", permissions=["set_up"], url_path="new", icon="add_link")
    def new(self, request: HttpRequest) -> HttpResponse:
        return new_view(self, request)

    @action(description="Edit", permissions=["set_up"], url_path="edit", icon="edit")
    def edit(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return edit_view(self, request, pk=object_id)

    @action(description="Map the statuses", permissions=["set_up"], url_path="statuses", icon="rule")
    def statuses(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return statuses_view(self, request, pk=object_id)

    @action(description="Map the fields", permissions=["set_up"], url_path="fields", icon="schema")
    def fields_map(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return field_maps.fields_view(self, request, pk=object_id)

    def get_custom_urls(self) -> tuple[tuple[str, str, Any], ...]:
        views = {
            "field_row": field_maps.row_view,
            "field_preview": field_map_preview.preview_view,
            "field_dry_run": field_map_preview.dry_run_view,
            "field_switch_on": field_maps.switch_on_view,
            "field_discard": field_maps.discard_view,
            "field_restore": field_maps.restore_view,
        }
        pages = field_maps.PAGES.items()
        return tuple(
            (f"<int:pk>/{path}", f"webhooks_bridge_{name}", partial(views[name], self)) for name, path in pages
        )

    @action(description="Which orders are sent", permissions=["set_up"], url_path="sending", icon="filter_alt")
    def sending(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return sending_view(self, request, pk=object_id)

    @action(description="Dry run", permissions=["set_up"], url_path="dry-run", icon="science")
    def dry_run(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return bridge_dry_run.dry_run_view(self, request, pk=object_id)

    @action(description="Switch on", permissions=["pause"], url_path="on", icon="play_arrow")
    def switch_on(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return switch_on_view(self, request, pk=object_id)

    @action(description="Pause", permissions=["pause"], url_path="pause", icon="pause")
    def pause(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return pause_view(self, request, pk=object_id)

    @action(description="Archive", permissions=["set_up"], url_path="archive", icon="archive")
    def archive(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return archive_view(self, request, pk=object_id)


def _link(one: Connection) -> str:
    return format_html('<a class="text-link" href="{}">{}</a>', page_of(one), one)


# --- set up ----------------------------------------------------------------------------------------------------------


@guarded(BRIDGES)
def new_view(owner: BridgeAdmin, request: HttpRequest) -> HttpResponse:
    form = BridgeForm(request.POST or None)
    if form.is_valid():
        bridge = form.save()
        lists = None
        try:
            lists = _ask(bridge)
        except SideError as error:
            messages.warning(request, f"The statuses could not be asked for: {told(error)}")
        bridging.begin(bridge, lists)
        result = f"{bridge}: {bridge.shop} and {bridge.crm}"
        audit.record("bridge: add", actor=request.user.get_username(), result=result, bridge=bridge.slug)
        return HttpResponseRedirect(_at(bridge, "statuses"))
    links = [
        ("Add a shop", reverse("admin:webhooks_connection_add_shop")),
        ("Add a CRM", reverse("admin:webhooks_connection_choose_crm")),
    ]
    words = "Nothing is sent until the bridge is switched on."
    title = "Bridge a shop and a CRM"
    return form_page(owner, request, title=title, words=words, form=form, button="Continue", links=links)


@guarded(BRIDGES)
def edit_view(owner: BridgeAdmin, request: HttpRequest, row: Bridge) -> HttpResponse:
    """Its short name stands in addresses and reports, and stays."""
    before = (row.name, row.external_id_prefix)
    form = EditBridgeForm(request.POST or None, instance=row)
    if form.is_valid():
        form.save()
        name, prefix = before
        changes = {
            "name": f"It was called {name} before.",
            "external_id_prefix": f"Its prefix is {row.prefix or 'none'} and was {prefix or 'none'}.",
        }
        result = " ".join(said for field, said in changes.items() if field in form.changed_data)
        by, reason = request.user.get_username(), form.cleaned_data["reason"]
        audit.record(
            "bridge: edit", actor=by, reason=reason, result=f"{row}. {result or 'Nothing changed.'}", bridge=row.slug
        )
        messages.success(request, f"{row} was changed.")
        return HttpResponseRedirect(page_of(row))
    words = "Everything else of it has a page of its own."
    return form_page(
        owner, request, title=f"Edit: {before[0]}", words=words, form=form, button="Save", back=page_of(row)
    )


def _ask(bridge: Bridge) -> StatusLists:
    lists = bridging.ask_both(bridge)
    cache.set(f"bridge-statuses-{bridge.pk}", lists, LISTS_KEPT)
    return lists


@guarded(BRIDGES)
def statuses_view(owner: BridgeAdmin, request: HttpRequest, row: Bridge) -> HttpResponse:
    """A GET shows what both sides said within the last ten minutes; a POST asks them."""
    lists: StatusLists | None = cache.get(f"bridge-statuses-{row.pk}")
    if request.method == "POST":
        try:
            lists = _ask(row)
        except SideError as error:
            messages.error(request, f"{told(error)} The lists below may be out of date.")
    saves = request.method == "POST" and "ask" not in request.POST
    form = MappingForm(bridging.mapping(row, lists), lists.shop if lists else (), request.POST if saves else None)
    if form.is_valid():
        changed = bridging.remap(row, form.chosen())
        messages.success(request, f"{changed} status rules were changed.")
        return HttpResponseRedirect(page_of(row))
    return form_page(
        owner,
        request,
        title=f"Map the statuses: {row}",
        words="What the CRM says on the left, what the shop shows on the right. An order in a status without a choice "
        "waits for a person.",
        listed=_about(lists),
        form=form,
        button="Save the map",
        back=page_of(row),
        extra_button=("ask", "Ask both sides"),
    )


def _about(lists: StatusLists | None) -> list[str]:
    if lists is None:
        return ["Neither side was asked within the last ten minutes. Press Ask both sides for what they know now."]
    crm = f"The CRM named {len(lists.crm)}." if lists.crm else "This CRM does not tell its own: these are the usual."
    return [f"The shop knows {len(lists.shop)} statuses. {crm}"]


# --- on, paused, archived --------------------------------------------------------------------------------------------


def _turn(
    owner: BridgeAdmin, request: HttpRequest, row: Bridge, *, button: str, words: str, done: str, **fields: Any
) -> HttpResponse:
    def perform(said: dict[str, str]) -> str:
        if why := _why_not(row, fields):
            raise NotDone(why)
        Bridge.objects.filter(pk=row.pk).update(**fields)
        by = request.user.get_username()
        audit.record(f"bridge: {button.lower()}", actor=by, reason=said["reason"], result=str(row), bridge=row.slug)
        wake()
        return f"{row}: {done}"

    return ask_reason(
        request,
        owner.admin_site,
        title=f"{button}: {row}",
        words=words,
        button=button,
        back=page_of(row),
        perform=perform,
    )


def _why_not(row: Bridge, fields: dict[str, Any]) -> str:
    if fields.get("state") != Bridge.State.ON:
        return ""
    if row.crm is None:
        return "It has no CRM. Make a bridge with one."
    if removed := [one.name for one in (row.shop, row.crm) if one.archived_at]:
        return f"Removed: {', '.join(removed)}. Enter new keys there first, under Shops and CRMs."
    try:
        row.clean()  # the account may have got another bridge since
    except ValidationError as error:
        return " ".join(error.messages)
    if not StatusRule.objects.filter(bridge=row).exists():
        return "No status is mapped. Map the statuses first: every order would wait for a person."
    return ""


@guarded(PAUSE)
def switch_on_view(owner: BridgeAdmin, request: HttpRequest, row: Bridge) -> HttpResponse:
    words = "Orders of the shop go to the CRM, and the CRM's statuses go to the shop. What waited is processed now."
    done = "it is on."
    fields = {"state": Bridge.State.ON, "archived_at": None}
    return _turn(owner, request, row, button="Switch on", words=words, done=done, **fields)


@guarded(PAUSE)
def pause_view(owner: BridgeAdmin, request: HttpRequest, row: Bridge) -> HttpResponse:
    words = "Nothing is read or written for this bridge. Deliveries are accepted and stored; they wait. Others go on."
    return _turn(owner, request, row, button="Pause", words=words, done="it is paused.", state=Bridge.State.PAUSED)


@guarded(BRIDGES)
def archive_view(owner: BridgeAdmin, request: HttpRequest, row: Bridge) -> HttpResponse:
    if row.is_environment:
        messages.error(request, f"{row} is the pair of the environment. Empty WOO_URL and CRM_URL, or pause it.")
        return HttpResponseRedirect(page_of(row))
    if not bridging.is_used(row):
        return _delete(owner, request, row)
    words = "It stops for good, and stays in the lists with its orders. Switching it on brings it back."
    fields = {"state": Bridge.State.PAUSED, "archived_at": clock.now()}
    return _turn(owner, request, row, button="Archive", words=words, done="it is archived.", **fields)


def _delete(owner: BridgeAdmin, request: HttpRequest, row: Bridge) -> HttpResponse:
    def perform(said: dict[str, str]) -> HttpResponse:
        by = request.user.get_username()
        audit.record("bridge: delete", actor=by, reason=said["reason"], result=str(row), bridge=row.slug)
        bridging.delete(row)
        messages.success(request, f"{row} is deleted. No order hung on it.")
        return HttpResponseRedirect(list_of(owner))

    return ask_reason(
        request,
        owner.admin_site,
        title=f"Delete: {row}",
        words="No order hangs on it yet, so it is deleted with its status rules. Shop and CRM stay connected.",
        button="Delete",
        back=page_of(row),
        perform=perform,
    )
