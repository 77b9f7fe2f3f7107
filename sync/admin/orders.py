"""The page of an order: its two sides, its lifecycle and its timeline; checked, repaired and forced from here."""

from dataclasses import dataclass
from typing import Any, Self

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.html import format_html
from django.utils.http import urlencode
from unfold.widgets import UnfoldAdminSelectWidget

from orders import audit
from orders.admin import OrderLinkAdmin
from orders.asking import ReasonForm, ask_reason
from orders.drawing import draw
from orders.lifecycle import StatusPath
from orders.models import OrderLink
from orders.rules import current_lifecycle
from sync.admin.lifecycle import remembered_statuses, shop_statuses
from sync.admin.one_row import for_row
from sync.admin.repairs import repair_event
from sync.backoffice import links
from sync.backoffice.comparison import compare, last_seen, take_for_the_same
from sync.backoffice.timeline import AT_ONCE, ENTRY_KINDS, Entry, EntryKind, Timeline, summary, timeline_of
from sync.pipeline import internal_events
from sync.pipeline.dry_run import run_dry
from webhooks.backoffice.bridges import are_several
from webhooks.backoffice.display import ago
from webhooks.backoffice.pages import page, page_of
from webhooks.masking import masked_row
from webhooks.models import WebhookEvent
from webhooks.texts import is_number
from webhooks.wake import wake

LAST_PAGE = 10_000
REPAIRABLE = ("forward", "waits")

ICONS = {
    EntryKind.SHOP: "shopping_cart",
    EntryKind.CRM: "contacts",
    EntryKind.OWN: "bolt",
    EntryKind.ATTEMPT: "sync",
    EntryKind.TRANSITION: "swap_horiz",
    EntryKind.STAFF: "person",
    EntryKind.FINDING: "search",
}
ENTRY_PAGES = {
    EntryKind.SHOP: "webhooks_webhookevent",
    EntryKind.CRM: "webhooks_webhookevent",
    EntryKind.OWN: "webhooks_webhookevent",
    EntryKind.ATTEMPT: "sync_attempt",
    EntryKind.TRANSITION: "orders_statustransition",
    EntryKind.FINDING: "sync_driftfinding",
}


@dataclass(frozen=True, kw_only=True)
class Shown:
    """One page of the timeline, as the query string asks for it. What it asks for wrongly is left out."""

    entries: list[tuple[Entry, str, str, str]]
    "Each with its icon, its moment and the address of its own page."
    filters: list[tuple[str, str, bool]]
    newer: str
    older: str
    removed: str

    @classmethod
    def of(cls, timeline: Timeline, query: dict[str, str]) -> Self:
        only = query.get("only", "")
        asked = query.get("page", "")
        number = min(int(asked), LAST_PAGE) if is_number(asked) and int(asked) else 1
        start = (number - 1) * AT_ONCE
        kinds = [EntryKind(only)] if only in ENTRY_KINDS else ENTRY_KINDS
        found = timeline.newest(start, start + AT_ONCE + 1, kinds)
        chosen = {"only": only} if only in ENTRY_KINDS else {}
        return cls(
            entries=[(entry, ICONS[entry.kind], ago(entry.at), _url(entry)) for entry in found[:AT_ONCE]],
            filters=[
                ("All", "?", not chosen),
                *((kind.label, f"?only={kind.value}", kind == only) for kind in ENTRY_KINDS),
            ],
            newer=f"?{urlencode({**chosen, 'page': str(number - 1)})}" if number > 1 else "",
            older=f"?{urlencode({**chosen, 'page': str(number + 1)})}" if len(found) > AT_ONCE else "",
            removed=timeline.removed,
        )


def _url(entry: Entry) -> str:
    return reverse(f"admin:{ENTRY_PAGES[entry.kind]}_change", args=[entry.pk]) if entry.kind in ENTRY_PAGES else ""


class ForceForm(ReasonForm):
    to_status = forms.ChoiceField(label="Status in the shop", widget=UnfoldAdminSelectWidget)
    field_order = ("to_status", "reason")

    def __init__(self, *args: Any, paths: list[StatusPath], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["to_status"].choices = [("", "Choose"), *((path.to, f"{path.to}: {path.words}") for path in paths)]  # type: ignore[attr-defined]


@admin.register(OrderLink)
class OrderAdmin(OrderLinkAdmin):
    """An order with its timeline, which is told from attempts too: hence registered here and not in orders."""

    change_form_outer_before_template = "sync/order/page.html"
    list_display = (*OrderLinkAdmin.list_display, "pages")  # type: ignore[assignment]

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        return super().get_queryset(request).select_related("bridge__shop", "bridge__crm")

    @admin.display(description="Open in")
    def pages(self, link: OrderLink) -> str:
        return links.pages(link.bridge, link.woo_id, link.crm_order_id)

    def get_fieldsets(self, request: HttpRequest, obj: OrderLink | None = None) -> list[Any]:
        """None: the three columns of the page's template show all of it."""
        return []

    def page_context(self, request: HttpRequest, row: OrderLink) -> dict[str, Any]:
        lifecycle = current_lifecycle(row.bridge_id)
        return {
            "link": row,
            "pages": self.pages(row),
            "of_bridge": self.of_bridge(row) if are_several() else "",
            "rows": last_seen(row, lifecycle),
            "verified": ago(row.verified_at),
            "drawing": draw(lifecycle, row.woo_status),
            "paths": lifecycle.paths(row.woo_status),
            "timeline": Shown.of(timeline_of(row), request.GET.dict()),
        }

    def get_custom_urls(self) -> tuple[tuple[str, str, Any], ...]:
        return (
            ("<int:pk>/check/", "orders_orderlink_check", self.check_view),
            ("<int:pk>/repair/", "orders_orderlink_repair", self.repair_view),
            ("<int:pk>/force/", "orders_orderlink_force", self.force_view),
            ("<int:pk>/same/", "orders_orderlink_same", self.same_view),
            ("<int:pk>/anew/", "orders_orderlink_anew", self.anew_view),
        )

    @for_row("orders.check_orderlink")
    def check_view(self, request: HttpRequest, link: OrderLink) -> HttpResponse:
        """Both sides are asked at a POST only, as each look is recorded."""
        if request.method != "POST":
            return HttpResponseRedirect(page_of(link))
        found = compare(link, current_lifecycle(link.bridge_id))
        audit.record("check", actor=request.user.get_username(), result=found.verdict, link=link)
        title = f"Order {link.woo_id} on both sides now"
        return self._page(request, link, "check", title, found=found, calls=map(summary, found.calls))

    @for_row("orders.check_orderlink")
    def repair_view(self, request: HttpRequest, link: OrderLink) -> HttpResponse:
        """The first POST is a dry run; the second, with a reason, asks the worker for it."""
        if request.method != "POST":
            return HttpResponseRedirect(page_of(link))
        actor = request.user.get_username()
        form = ReasonForm(request.POST if "confirmed" in request.POST else None)
        if form.is_valid():
            reason = form.cleaned_data["reason"]
            event = repair_event(link, by=actor, reason=reason)
            event.save(force_insert=True)
            audit.record("repair", actor=actor, reason=reason, result="The worker was asked", event=event, link=link)
            return self._asked(request, link, event)
        tried = run_dry(repair_event(link))
        result = f"{tried.kind}: {tried.words}"
        audit.record("dry run of a repair", actor=actor, result=result, link=link)
        title, calls = f"Repair order {link.woo_id}", map(summary, tried.calls)
        asks = {"form": form, "button": "Repair"} if tried.kind in REPAIRABLE else {}
        return self._page(request, link, "repair", title, tried=tried, calls=calls, **asks)

    @for_row("orders.force_orderlink")
    def force_view(self, request: HttpRequest, link: OrderLink) -> HttpResponse:
        """First the form, then what it means, then the action."""
        # The shop's own list is asked for at the POST only: a look at a page asks nobody.
        known = (shop_statuses if request.method == "POST" else remembered_statuses)(link.bridge)
        paths = current_lifecycle(link.bridge_id).paths(link.woo_status, known)
        form = ForceForm(request.POST if request.method == "POST" else None, paths=paths)
        chosen = None
        if form.is_valid():
            actor, reason = request.user.get_username(), form.cleaned_data["reason"]
            chosen = next(path for path in paths if path.to == form.cleaned_data["to_status"])
            if "confirmed" in request.POST:
                event = internal_events.force(link, to_status=chosen.to, by=actor, reason=reason)
                result = f"The worker was asked for {link.woo_status or 'unknown'} → {chosen.to} ({chosen.words})"
                audit.record("force", actor=actor, reason=reason, result=result, event=event, link=link)
                return self._asked(request, link, event)
            for field in form.fields.values():
                field.widget = field.hidden_widget()
        context = {"button": "Force the move", "tone": "danger"} if chosen else {"button": "Next", "hidden": []}
        title = f"Force a move of order {link.woo_id}"
        return self._page(request, link, "force", title, form=form, chosen=chosen, **context)

    @for_row("orders.force_orderlink")
    def same_view(self, request: HttpRequest, link: OrderLink) -> HttpResponse:
        """First what both sides show; the second POST, with a reason, says that this is the order that is linked."""
        if request.method != "POST":
            return HttpResponseRedirect(page_of(link))
        form = ReasonForm(request.POST if "confirmed" in request.POST else None)
        actor, found = request.user.get_username(), compare(link, current_lifecycle(link.bridge_id))
        if form.is_valid() and not found.errors:
            reason = form.cleaned_data["reason"]
            take_for_the_same(link, found)
            result = "Both sides show the order that is linked"
            audit.record("same order", actor=actor, reason=reason, result=result, link=link)
            self.message_user(request, f"{result}. You can replay the parked events now.", messages.SUCCESS)
            return HttpResponseRedirect(page_of(link))
        audit.record("check", actor=actor, result=found.verdict, link=link)
        title, calls = f"Is it still order {link.woo_id}?", map(summary, found.calls)
        asks = {} if found.errors else {"form": form, "button": "It is the same order", "tone": "danger"}
        return self._page(request, link, "same", title, found=found, calls=calls, **asks)

    @for_row("orders.force_orderlink")
    def anew_view(self, request: HttpRequest, link: OrderLink) -> HttpResponse:
        """For an order that the CRM lost: nothing else would ever bring it back there."""

        def perform(said: dict[str, str]) -> HttpResponse:
            actor, reason = said["by"], said["reason"]
            event = internal_events.make_anew(link, by=actor, reason=reason)
            result = f"The worker was asked. Its id in the CRM was {link.crm_order_id}"
            audit.record("make anew", actor=actor, reason=reason, result=result, event=event, link=link)
            return self._asked(request, link, event)

        return ask_reason(
            self,
            request,
            link,
            title=f"Create order {link.woo_id} again in the CRM",
            words=f"If the CRM still has {link.crm_order_id}, nothing happens. If not, we search the CRM for the "
            "order. Only if it has none, we create the order from the shop's data. In both cases we link it.",
            button="Create it again",
            perform=perform,
        )

    def _asked(self, request: HttpRequest, link: OrderLink, event: WebhookEvent) -> HttpResponse:
        wake()
        url = reverse("admin:webhooks_webhookevent_change", args=[event.pk])
        words = format_html('The worker was asked: <a class="underline" href="{}">event {}</a>.', url, event.pk)
        self.message_user(request, words, messages.SUCCESS)
        return HttpResponseRedirect(page_of(link))

    def _page(self, request: HttpRequest, link: OrderLink, name: str, title: str, **context: Any) -> HttpResponse:
        frame = {"link": masked_row(link), "original": link, "back": page_of(link), "wide": True}
        frame |= {"hidden": [("confirmed", "yes")]}
        return page(self, request, f"sync/order/{name}.html", title, **{**frame, **context})
