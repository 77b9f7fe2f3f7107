"""Orders that differ between the two sides, as drift saw them."""

from datetime import datetime, time
from functools import cache
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from unfold.contrib.filters.admin import ChoicesDropdownFilter, DropdownFilter
from unfold.decorators import action

from orders import audit
from orders.asking import UntilForm, ask_reason
from orders.models import OrderLink
from sync.admin.bulk import CLASSES, SAMPLE_SECONDS
from sync.admin.one_row import AboutAnOrder
from sync.admin.repairs import repair_event
from sync.jobs.bulk_replay import run_all_dry
from sync.models import DriftFinding
from sync.pipeline.dry_run import DryRunResult
from webhooks.backoffice.display import ago, badge, time_column
from webhooks.backoffice.lists import may
from webhooks.backoffice.pages import list_of, page_of, text_link
from webhooks.masking import masked_text
from webhooks.wake import wake

FORESEEN = 20
"""Orders of which the page that asks shows what a repair would do: both sides are read for each."""


class FindingStateFilter(DropdownFilter):
    """Open findings unless asked otherwise: those that are gone or ignored need nobody."""

    title = "state"
    parameter_name = "standing"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin) -> list[tuple[str, str]]:
        return [("expected", "Ahead as expected"), ("ignored", "Ignored for now"), ("gone", "Gone"), ("all", "All")]

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        ignored = Q(ignored_until__gt=timezone.now())
        match self.value():
            case "all":
                return queryset
            case "gone":
                return queryset.filter(gone_at__isnull=False)
            case "expected":
                return queryset.filter(gone_at=None, expected=True)
            case "ignored":
                return queryset.filter(ignored, gone_at=None)
        return queryset & DriftFinding.objects.open(timezone.now())


@admin.register(DriftFinding)
class DriftFindingAdmin(AboutAnOrder):
    list_display = ("id", "kind_badge", "order", "pages", "shop", "crm", "found", "seen", "standing")
    list_filter = (FindingStateFilter, ("kind", ChoicesDropdownFilter))
    fields = (
        "kind_badge",
        "order",
        "pages",
        "crm_order_id",
        "shop",
        "crm",
        "found",
        "seen",
        "standing",
        "ignored_by",
        "ignored_because",
    )
    actions = ("repair_selected",)
    actions_detail = ("ignore",)
    has_check_permission = may("orders.check_orderlink")
    has_ignore_permission = may("sync.ignore_driftfinding")

    @admin.display(description="Kind")
    def kind_badge(self, finding: DriftFinding) -> str:
        return badge(finding.get_kind_display(), "info" if finding.kind == DriftFinding.Kind.AHEAD else "danger")

    @admin.display(description="Order")
    def order(self, finding: DriftFinding) -> str:
        return text_link(reverse("admin:sync_driftfinding_order", args=[finding.pk]), finding.woo_id)

    found = time_column("found_at", "Found", ordering="found_at")
    seen = time_column("seen_at", "Last seen", ordering="seen_at")

    @admin.display(description="State")
    def standing(self, finding: DriftFinding) -> str:
        if finding.gone_at:
            return format_html("gone {}", ago(finding.gone_at))
        if finding.ignored_until and finding.ignored_until > timezone.now():
            return f"ignored until {finding.ignored_until:%Y-%m-%d}"
        return "expected" if finding.expected else "open"

    def get_custom_urls(self) -> tuple[tuple[str, str, Any], ...]:
        return (("<int:pk>/order/", "sync_driftfinding_order", self.order_view),)

    def order_view(self, request: HttpRequest, pk: int, **kwargs: Any) -> HttpResponse:
        """To the order's page: it compares both sides now, and repairs after a dry run."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        finding = get_object_or_404(DriftFinding, pk=pk)
        order = OrderLink.objects.filter(bridge=finding.bridge_id, woo_id=finding.woo_id).first()
        return redirect(page_of(order) if order else list_of(self))

    @action(description="Ignore until…", permissions=["ignore"], url_path="ignore", icon="snooze")
    def ignore(self, request: HttpRequest, object_id: str) -> HttpResponse:
        finding = get_object_or_404(DriftFinding, pk=object_id)

        def perform(said: dict[str, Any]) -> str:
            until = timezone.make_aware(datetime.combine(said["until"], time.min))
            by, reason = said["by"], said["reason"]
            ignored = {"ignored_until": until, "ignored_by": by, "ignored_because": reason}
            DriftFinding.objects.filter(pk=finding.pk).update(**ignored)
            order = OrderLink.objects.filter(bridge=finding.bridge_id, woo_id=finding.woo_id).first()
            audit.record("ignore drift", actor=by, reason=reason, link=order, finding=finding.pk, until=f"{until:%F}")
            return f"Ignored until {until:%Y-%m-%d}."

        return ask_reason(
            self,
            request,
            finding,
            words="The finding moves to the ignored ones and does not count until that day.",
            button="Ignore",
            perform=perform,
            form_class=UntilForm,
        )

    @admin.action(description="Repair…", permissions=["check"])
    def repair_selected(self, request: HttpRequest, queryset: QuerySet) -> HttpResponse:
        """Bring the shop to the CRM's state, as far as the lifecycle allows, or tell the CRM what it was not told, by
        the same path as an event. The page that asks for a reason is a dry run."""
        found = queryset.filter(bridge=OuterRef("bridge"), woo_id=OuterRef("woo_id"))
        orders = OrderLink.objects.filter(Exists(found.order_by())).order_by("woo_id", "pk")

        def perform(said: dict[str, Any]) -> str:
            by, reason = said["by"], said["reason"]
            for order in orders:
                repair_event(order, by=by, reason=reason).save(force_insert=True)
                audit.record("repair", actor=by, reason=reason, link=order)
            wake()
            return f"A worker was asked to repair {len(orders)} orders. The page of each order shows the result."

        return ask_reason(
            self,
            request,
            title="Repair",
            words=f"{orders.count()} orders: the worker compares both sides and sets the shop to the CRM's state, as "
            "far as the lifecycle allows; what the CRM was not told of an order, it is told. Nothing is written yet. A "
            "repair would do this now:",
            # Called by the page that asks: the answer to it reads neither side.
            listed=cache(lambda: _tried(orders, request.user.get_username())),
            button="Repair",
            back=list_of(self),
            perform=perform,
        )


def _tried(links: QuerySet[OrderLink], who: str) -> list[str]:
    """What a repair of the first of them would do now, a line each, and how many were not looked at."""
    first = list(links[:FORESEEN])
    audit.record("dry run of a repair", actor=who, orders=[link.woo_id for link in first])
    asked = [repair_event(link) for link in first]
    seen = run_all_dry(asked, within=SAMPLE_SECONDS)
    lines = [_told(link, tried) for link, (_, tried) in zip(first, seen, strict=True)]
    left = links.count() - len(first)
    more = [f"{left} more orders were not checked. Their own pages show what a repair would do."] if left else []
    return [*lines, *more]


def _told(link: OrderLink, tried: DryRunResult | None) -> str:
    _, name = CLASSES[tried.kind if tried else "unknown"]
    told = [f"Order {link.woo_id}: {name.lower()}."]
    if tried:
        told += [f"{one.side} {one.name}: {one.before} → {one.after}." for one in tried.changes]
        told.append(masked_text(tried.words))
    return " ".join(told)
