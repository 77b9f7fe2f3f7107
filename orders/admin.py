"""The back office of orders: links, the history of their statuses, and the lifecycle that staff edit."""

import json
from typing import Any, ClassVar

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from simple_history.admin import SimpleHistoryAdmin
from unfold.contrib.filters.admin import ChoicesDropdownFilter, RangeDateTimeFilter
from unfold.views import ChangeList

from orders.drawing import draw
from orders.exports import Columns, Exporting
from orders.forms import AllowedMoveForm, StatusRuleForm
from orders.lifecycle import Lifecycle, lint_warnings
from orders.models import AllowedMove, Decision, OrderLink, StaffAction, StatusRule, StatusTransition
from orders.rules import current_lifecycle
from orders.verification import CHAINS
from webhooks.backoffice.bridges import ByBridge, choice_of, chosen_bridge, name_of
from webhooks.backoffice.display import ago, badge, preformatted, pretty, time_column
from webhooks.backoffice.filters import ByValue, RecentValuesFilter
from webhooks.backoffice.lists import DeclaredFilters, ForgivingList, ReadOnlyAdmin
from webhooks.backoffice.pages import page_of, text_link
from webhooks.backoffice.paging import EstimatingPaginator, ExactSearch, exactly
from webhooks.connections import Bridge, bridge_names
from webhooks.masking import masked, masked_row, masked_text, masked_words

EDITS_SHOWN = FINDINGS_SHOWN = 10
DECISION_COLOURS = {Decision.APPLIED: "success", Decision.REFUSED: "danger", Decision.FORCED: "warning"}


def _lifecycles() -> list[Lifecycle]:
    """That of each bridge."""
    return [current_lifecycle(pk) for pk in bridge_names()]


class ShopStatusFilter(ByValue):
    """Offers what the lifecycle names: DISTINCT over all orders would read all of them."""

    title = "status in the shop"
    parameter_name = "woo_status"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin) -> list[tuple[str, str]]:
        return [(status, status) for status in sorted(set().union(*(one.statuses for one in _lifecycles())))]


class CrmStatusFilter(ShopStatusFilter):
    title = "status in the CRM"
    parameter_name = "crm_status"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin) -> list[tuple[str, str]]:
        return [(status, status) for status in sorted(set().union(*(one.status_map for one in _lifecycles())))]


class ActionFilter(RecentValuesFilter):
    title = "action"
    parameter_name = "action"


class OrderLinkAdmin(ByBridge, ExactSearch, ReadOnlyAdmin):
    """Both sides of an order. Registered by sync.admin, which adds the timeline."""

    paginator = EstimatingPaginator
    list_display = ("woo_id", "crm_order_id", "number", "woo_status", "crm_status", "crm_version", "verified")
    list_display_links = ("woo_id", "crm_order_id")
    sortable_by = ("woo_id", "crm_order_id", "woo_status", "crm_status", "crm_version", "verified")
    list_filter = (ShopStatusFilter, CrmStatusFilter, ("verified_at", RangeDateTimeFilter))
    search_fields = ("woo_id", "crm_order_id")
    search_help_text = "Exact order id (shop or CRM) or order number"
    fieldsets = (
        ("Shop", {"fields": ("woo_id", "woo_status", "written_by_us")}),
        ("CRM", {"fields": ("crm_order_id", "crm_status", "crm_version", "crm_updated_at")}),
        ("Link", {"fields": ("created_at", "verified_at")}),
    )

    def named(self, rows: QuerySet, term: str) -> QuerySet:
        return rows & OrderLink.objects.named(term)

    verified = time_column("verified_at", "Last read", ordering="verified_at")


class StatusTransitionAdmin(ByBridge, ExactSearch, Exporting):
    """The history of statuses. Registered by sync.admin, which can have it verified."""

    bridge_path = "link__bridge"
    paginator = EstimatingPaginator
    list_display = ("id", "created", "order", "move", "decision_badge", "reason", "who")
    list_filter = (("decision", ChoicesDropdownFilter), ("created_at", RangeDateTimeFilter))
    list_select_related = ("link",)
    search_fields = ("link__woo_id__exact", "link__crm_order_id__exact")
    search_help_text = "Exact order id (shop or CRM) or order number"
    fields = (
        "created_at",
        "order",
        "sequence",
        "from_status",
        "to_status",
        "decision_badge",
        "reason",
        "who",
        "cause",
        "crm_status",
        "crm_version",
        "answer",
        "chain",
        "previous_hash",
        "hash",
    )
    columns: ClassVar[Columns] = {
        "id": lambda row: row.pk,
        "at": lambda row: row.created_at.isoformat(),
        "shop order": lambda row: row.link.woo_id,
        "CRM order": lambda row: row.link.crm_order_id,
        "place": lambda row: row.sequence,
        "from": lambda row: row.from_status,
        "to": lambda row: row.to_status,
        "decision": lambda row: row.decision,
        "reason": lambda row: masked_text(row.reason),
        "by": lambda row: row.actor or "the worker",
        "event": lambda row: row.event_id,
        "CRM status": lambda row: row.crm_status,
        "CRM version": lambda row: row.crm_version,
        "previous hash": lambda row: row.previous_hash,
        "hash": lambda row: row.hash,
        "bridge": lambda row: name_of(row.link.bridge_id),
    }

    def named(self, rows: QuerySet, term: str) -> QuerySet:
        return rows.filter(link__in=OrderLink.objects.named(term))

    @admin.display(description="Decision")
    def decision_badge(self, transition: StatusTransition) -> str:
        return badge(transition.get_decision_display(), DECISION_COLOURS[Decision(transition.decision)])

    @admin.display(description="Move")
    def move(self, transition: StatusTransition) -> str:
        return f"{transition.from_status or 'nothing'} → {transition.to_status}"

    created = time_column("created_at", "When", ordering="id")

    @admin.display(description="Order")
    def order(self, transition: StatusTransition) -> str:
        return to_order(transition.link)

    @admin.display(description="By")
    def who(self, transition: StatusTransition) -> str:
        return transition.actor or "the worker"

    @admin.display(description="Caused by")
    def cause(self, transition: StatusTransition) -> str:
        return to_event(transition.event_id)

    @admin.display(description="What the CRM answered")
    def answer(self, transition: StatusTransition) -> str:
        return preformatted(pretty(masked(transition.crm_answer)))

    @admin.display(description="Chain of this order")
    def chain(self, transition: StatusTransition) -> str:
        findings = CHAINS["transitions"].of(transition.link_id)
        if not findings:
            return "Intact: nothing was changed or removed"
        words = format_html_join("", "<div>{}</div>", ((str(one),) for one in findings[:FINDINGS_SHOWN]))
        return format_html('<div class="text-red-600 dark:text-red-500">Broken{}</div>', words)


@admin.register(StaffAction)
class StaffActionAdmin(ExactSearch, Exporting):
    """What staff did. The whole list is for auditors; an order's and an event's own page show what was done there."""

    paginator = EstimatingPaginator
    list_display = ("id", "created", "actor", "action", "reason", "result", "cause", "order")
    list_filter = (ActionFilter, ("created_at", RangeDateTimeFilter))
    list_select_related = ("link",)
    search_fields = ("actor", "event", "link")
    search_help_text = "Exact name of a person, event id, order id or order number"
    fields = (
        "created_at",
        "actor",
        "action",
        "reason",
        "result",
        "cause",
        "order",
        "more",
        "sequence",
        "previous_hash",
        "hash",
    )
    columns: ClassVar[Columns] = {
        "id": lambda row: row.pk,
        "at": lambda row: row.created_at.isoformat(),
        "place": lambda row: row.sequence,
        "who": lambda row: row.actor,
        "what": lambda row: row.action,
        "reason": lambda row: masked_text(row.reason),
        "result": lambda row: masked_text(row.result),
        "event": lambda row: row.event_id,
        "shop order": lambda row: row.link and row.link.woo_id,
        "CRM order": lambda row: row.link and row.link.crm_order_id,
        "details": lambda row: json.dumps(masked_words(row.details), ensure_ascii=False),
        "previous hash": lambda row: row.previous_hash,
        "hash": lambda row: row.hash,
    }

    def named(self, rows: QuerySet, term: str) -> QuerySet:
        wanted = Q(actor__iexact=term) | exactly(term, "event_id") | Q(link__in=OrderLink.objects.named(term))
        return rows.filter(wanted)

    created = time_column("created_at", "When", ordering="id")

    @admin.display(description="Order")
    def order(self, done: StaffAction) -> str:
        return to_order(done.link)

    @admin.display(description="Event")
    def cause(self, done: StaffAction) -> str:
        return to_event(done.event_id)

    @admin.display(description="Details")
    def more(self, done: StaffAction) -> str:
        return preformatted(pretty(masked_words(done.details))) if done.details else "–"


def to_order(link: OrderLink | None) -> str:
    if link is None:
        return "–"
    return text_link(page_of(link), masked_row(link))


def to_event(event: int | None) -> str:
    if event is None:
        return "–"
    return text_link(reverse("admin:webhooks_webhookevent_change", args=[event]), f"event {event}")


class OfOneBridge(DeclaredFilters):
    """The rows of one lifecycle: those of several are no list to work with."""

    def get_queryset(self, request: HttpRequest, *args: Any, **more: Any) -> QuerySet:
        return super().get_queryset(request, *args, **more).filter(bridge=chosen_bridge(request))


class LifecycleAdmin(SimpleHistoryAdmin, ForgivingList):
    """What both lists of the lifecycle share: above them stand the picture, the lint_warnings, and who changed what."""

    list_before_template = "orders/lifecycle.html"
    linked_by = ("bridge",)

    def known_to_the_shop(self, request: HttpRequest, bridge: Bridge) -> frozenset[str] | None:
        """The statuses of its shop, as far as anybody here can ask it."""
        return None

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return OfOneBridge

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        bridge = chosen_bridge(request)
        lifecycle, known = current_lifecycle(bridge.pk), self.known_to_the_shop(request, bridge)
        context = {
            "bridges": choice_of(bridge),
            "bridge": bridge,
            "drawing": draw(lifecycle),
            "moves": [(old, sorted(news)) for old, news in sorted(lifecycle.moves.items())],
            "lint_warnings": lint_warnings(lifecycle, known),
            "is_unchecked": known is None,
            "may_ask": request.user.has_perm("orders.check_orderlink"),
            "edits": latest_edits(bridge),
        }
        return super().changelist_view(request, {**(extra_context or {}), **context})

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        """A new row is of the bridge from whose list somebody comes."""
        form = super().get_form(request, obj, change=change, **kwargs)
        return form if obj is not None else type(form)(form.__name__, (form,), {"bridge": chosen_bridge(request)})

    def get_changelist_form(self, request: HttpRequest, **kwargs: Any) -> type[forms.ModelForm]:
        """The same checks in the list as on a row's own page."""
        return super().get_changelist_form(request, form=self.form, **kwargs)

    def revert_disabled(self, request: HttpRequest, obj: Any = None) -> bool:
        return True

    def history_form_view(
        self, request: HttpRequest, object_id: str, version_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """An old version is for looking at only: the library saves what is posted here for whoever may look."""
        if request.method not in ("GET", "HEAD"):
            raise PermissionDenied("An old version cannot be edited. Change the row on its own page.")
        return super().history_form_view(request, object_id, version_id, extra_context)


def latest_edits(bridge: Bridge) -> list[tuple[str, str, str]]:
    """What was changed in both lists, by whom and when. Rows that are gone are still told of."""
    edits = [
        edit
        for model in (StatusRule, AllowedMove)
        for edit in model.history.filter(bridge=bridge)
        .select_related("history_user")
        .order_by("-history_date")[:EDITS_SHOWN]
    ]
    edits.sort(key=lambda edit: edit.history_date, reverse=True)
    return [
        (
            f"{edit.get_history_type_display()}: {edit.instance}",
            edit.history_user.get_username() if edit.history_user else "the system",
            ago(edit.history_date),
        )
        for edit in edits[:EDITS_SHOWN]
    ]


class StatusRuleAdmin(LifecycleAdmin):
    """The status map. Registered by sync.admin, which can ask the shop."""

    form = StatusRuleForm
    list_display = ("crm_status", "woo_status", "critical")
    sortable_by = list_display
    list_editable = ("woo_status", "critical")
    search_fields = ("crm_status", "woo_status")


class AllowedMoveAdmin(LifecycleAdmin):
    """The moves. Registered by sync.admin, as the status map is."""

    form = AllowedMoveForm
    list_display = ("__str__", "from_status", "to_status")
    sortable_by = list_display
    list_editable = ("from_status", "to_status")
    search_fields = ("from_status", "to_status")
