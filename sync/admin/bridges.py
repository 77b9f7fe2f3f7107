"""Bridges: one shop joined to one CRM. Each is set up here, step by step, then switched on, paused or archived."""

from dataclasses import dataclass
from functools import partial
from typing import Any

from django.contrib import admin, messages
from django.core.cache import cache
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from unfold.dataclasses import UnfoldAction
from unfold.decorators import action

from orders import audit
from orders.asking import NotDone, ask_reason
from orders.models import StatusRule
from sync.admin import bridge_dry_run, field_map_preview, field_maps
from sync.admin.bridge_forms import BridgeForm, EditBridgeForm, MappingForm
from sync.admin.bridge_sending import sending_view
from sync.admin.connection_pages import BRIDGES, form_page, guarded, told
from sync.clients.errors import SideError
from sync.monitoring import bridging
from sync.monitoring.bridging import StatusLists
from webhooks import clock
from webhooks.backoffice.display import badge, time_column
from webhooks.backoffice.lists import ReadOnlyAdmin, may
from webhooks.backoffice.pages import list_of, page_of, text_link
from webhooks.connections import Bridge
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
    has_set_up_permission = may(BRIDGES)
    has_pause_permission = may(PAUSE)

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
        return text_link(page_of(bridge.shop), bridge.shop)

    @admin.display(description="CRM")
    def to_crm(self, bridge: Bridge) -> str:
        return text_link(page_of(bridge.crm), bridge.crm) if bridge.crm else "–"

    since = time_column("created_at", "Made", ordering="created_at")

    def page_context(self, request: HttpRequest, row: Bridge) -> dict[str, Any]:
        return {"steps": steps(row), "may_set_up": request.user.has_perm(BRIDGES), "bridge": row}

    def get_actions_detail(self, request: HttpRequest, object_id: int) -> list[UnfoldAction]:
        """It is on, or it can be switched on: one button of the two."""
        row = self.get_object(request, str(object_id))
        left_out = "_switch_on" if row and row.is_on else "_pause"
        return [one for one in super().get_actions_detail(request, object_id) if not one.action_name.endswith(left_out)]

    # --- buttons ---------------------------------------------------------------------------------------------------

    @action(description="Bridge a shop and a CRM", permissions=["set_up"], url_path="new", icon="add_link")
    @guarded(BRIDGES)
    def new(self, request: HttpRequest) -> HttpResponse:
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
        return form_page(self, request, title=title, words=words, form=form, button="Continue", links=links)

    @action(description="Edit", permissions=["set_up"], url_path="edit", icon="edit")
    @guarded(BRIDGES)
    def edit(self, request: HttpRequest, row: Bridge) -> HttpResponse:
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
            result = f"{row}. {result or 'Nothing changed.'}"
            audit.record("bridge: edit", actor=by, reason=reason, result=result, bridge=row.slug)
            messages.success(request, f"{row} was changed.")
            return HttpResponseRedirect(page_of(row))
        words = "Everything else of it has a page of its own."
        title, back = f"Edit: {before[0]}", page_of(row)
        return form_page(self, request, title=title, words=words, form=form, button="Save", back=back)

    @action(description="Statuses", permissions=["set_up"], url_path="statuses", icon="rule")
    @guarded(BRIDGES)
    def statuses(self, request: HttpRequest, row: Bridge) -> HttpResponse:
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
            self,
            request,
            title=f"Map the statuses: {row}",
            words="What the CRM says on the left, what the shop shows on the right. An order in a status without a "
            "choice waits for a person.",
            listed=_about(lists),
            form=form,
            button="Save the map",
            back=page_of(row),
            extra_button=("ask", "Ask both sides"),
        )

    @action(description="Fields", permissions=["set_up"], url_path="fields", icon="schema")
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

    @action(description="Orders sent", permissions=["set_up"], url_path="sending", icon="filter_alt")
    def sending(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return sending_view(self, request, pk=object_id)

    @action(description="Dry run", permissions=["set_up"], url_path="dry-run", icon="science")
    def dry_run(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return bridge_dry_run.dry_run_view(self, request, pk=object_id)

    @action(description="Switch on", permissions=["pause"], url_path="on", icon="play_arrow")
    @guarded(PAUSE)
    def switch_on(self, request: HttpRequest, row: Bridge) -> HttpResponse:
        words = "Orders of the shop go to the CRM, and the CRM's statuses go to the shop. What waited is processed now."
        fields = {"state": Bridge.State.ON, "archived_at": None}
        return self._turn(request, row, button="Switch on", words=words, then="it is on.", **fields)

    @action(description="Pause", permissions=["pause"], url_path="pause", icon="pause")
    @guarded(PAUSE)
    def pause(self, request: HttpRequest, row: Bridge) -> HttpResponse:
        words = "Nothing is read or written for this bridge. Deliveries are stored and wait. Other bridges go on."
        return self._turn(request, row, button="Pause", words=words, then="it is paused.", state=Bridge.State.PAUSED)

    @action(description="Archive", permissions=["set_up"], url_path="archive", icon="archive")
    @guarded(BRIDGES)
    def archive(self, request: HttpRequest, row: Bridge) -> HttpResponse:
        if row.is_environment:
            messages.error(request, f"{row} is the pair of the environment. Empty WOO_URL and CRM_URL, or pause it.")
            return HttpResponseRedirect(page_of(row))
        if not bridging.is_used(row):
            return self._delete(request, row)
        words = "It stops for good, and stays in the lists with its orders. Switching it on brings it back."
        fields = {"state": Bridge.State.PAUSED, "archived_at": clock.now()}
        return self._turn(request, row, button="Archive", words=words, then="it is archived.", **fields)

    def _turn(
        self, request: HttpRequest, row: Bridge, *, button: str, words: str, then: str, **fields: Any
    ) -> HttpResponse:
        def perform(said: dict[str, str]) -> str:
            if why := _why_not(row, fields):
                raise NotDone(why)
            Bridge.objects.filter(pk=row.pk).update(**fields)
            by, reason = said["by"], said["reason"]
            audit.record(f"bridge: {button.lower()}", actor=by, reason=reason, result=str(row), bridge=row.slug)
            wake()
            return f"{row}: {then}"

        return ask_reason(self, request, row, button=button, words=words, perform=perform)

    def _delete(self, request: HttpRequest, row: Bridge) -> HttpResponse:
        def perform(said: dict[str, str]) -> HttpResponse:
            audit.record("bridge: delete", actor=said["by"], reason=said["reason"], result=str(row), bridge=row.slug)
            bridging.delete(row)
            messages.success(request, f"{row} is deleted. No order hung on it.")
            return HttpResponseRedirect(list_of(self))

        words = "No order hangs on it yet, so it is deleted with its status rules. Shop and CRM stay connected."
        return ask_reason(self, request, row, button="Delete", words=words, perform=perform)


def _ask(bridge: Bridge) -> StatusLists:
    lists = bridging.ask_both(bridge)
    cache.set(f"bridge-statuses-{bridge.pk}", lists, LISTS_KEPT)
    return lists


def _about(lists: StatusLists | None) -> list[str]:
    if lists is None:
        return ["Neither side was asked within the last ten minutes. Press Ask both sides for what they know now."]
    crm = f"The CRM named {len(lists.crm)}." if lists.crm else "This CRM does not tell its own: these are the usual."
    return [f"The shop knows {len(lists.shop)} statuses. {crm}"]


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
