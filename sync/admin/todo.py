"""The to-do list: each item leads to the page with the button that mends it."""

from datetime import datetime, time
from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet, Subquery
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from unfold.contrib.filters.admin import ChoicesDropdownFilter, DropdownFilter
from unfold.decorators import action

from orders import audit
from orders.asking import ReasonForm, UntilForm, ask_reason
from orders.models import OrderLink
from sync.admin.one_row import AboutAnOrder
from sync.models import TodoItem
from sync.monitoring.todo import Cause
from webhooks.backoffice.display import ago, badge, time_column
from webhooks.backoffice.lists import may
from webhooks.backoffice.pages import text_link
from webhooks.masking import masked_text

TONES = {Cause.PARKED: "warning", Cause.CHOICE: "warning", Cause.REFUSED: "warning"}
ADVICE_BY_CAUSE = {
    Cause.PARKED: "Fix the problem that the event names, then replay it there. The item then closes by itself.",
    Cause.CHOICE: "Choose the customer of this order. The choice is remembered, and the order is processed at once.",
    Cause.DEAD: "All attempts are used up. Fix the problem that the event names, then replay it there.",
    Cause.REFUSED: "The two sides disagree, and the lifecycle does not allow the move. Correct the status in the CRM, "
    "or force the move on the order's page.",
    Cause.PAID: "The CRM holds money for an order that the shop has cancelled. Refund it in the CRM, or force the "
    "order to another status on its page.",
    Cause.LOST: "The CRM does not have this order any more. Create it again on the order's page, or restore it in the "
    "CRM and replay the event.",
}


class ItemStateFilter(DropdownFilter):
    """Open items unless asked otherwise."""

    title = "state"
    parameter_name = "standing"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin) -> list[tuple[str, str]]:
        return [("mine", "Taken by me"), ("free", "Not taken"), ("snoozed", "Snoozed"), ("closed", "Closed")]

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        now = timezone.now()
        match self.value():
            case "mine":
                return queryset & TodoItem.objects.open(now).filter(owner=request.user.get_username())
            case "free":
                return queryset & TodoItem.objects.open(now).filter(owner="")
            case "snoozed":
                return queryset.filter(Q(snoozed_until__gt=now), closed_at=None)
            case "closed":
                return queryset.filter(closed_at__isnull=False)
        return queryset & TodoItem.objects.open(now)


@admin.register(TodoItem)
class TodoItemAdmin(AboutAnOrder):
    list_display = ("id", "what", "order_shown", "pages", "why", "age", "owner", "mend")
    list_display_links = ("id", "what")
    list_filter = (ItemStateFilter, ("cause", ChoicesDropdownFilter))
    fields = (
        *("what", "order_shown", "pages", "why", "advice", "mend", "age"),
        *("standing", "owner", "snoozed_because", "closing"),
    )
    actions_detail = ("take", "give_back", "snooze")
    has_handle_permission = may("sync.handle_todoitem")

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        """With the order that each is about."""
        link = OrderLink.objects.of_row().values("pk")[:1]
        return super().get_queryset(request).annotate(link_pk=Subquery(link))

    @admin.display(description="What")
    def what(self, item: TodoItem) -> str:
        return badge(item.get_cause_display(), TONES.get(Cause(item.cause), "danger"))

    @admin.display(description="Order")
    def order_shown(self, item: TodoItem) -> str:
        return " ↔ ".join(str(one) for one in (item.woo_id, item.crm_order_id) if one) or "–"

    @admin.display(description="Why")
    def why(self, item: TodoItem) -> str:
        return masked_text(item.words)

    @admin.display(description="What to do")
    def advice(self, item: TodoItem) -> str:
        return ADVICE_BY_CAUSE[Cause(item.cause)]

    age = time_column("opened_at", "Since", ordering="opened_at")

    @admin.display(description="State")
    def standing(self, item: TodoItem) -> str:
        if item.closed_at:
            return "closed"
        if item.snoozed_until and item.snoozed_until > timezone.now():
            return f"snoozed until {item.snoozed_until:%Y-%m-%d}"
        return "open"

    @admin.display(description="Closed")
    def closing(self, item: TodoItem) -> str:
        return format_html("{} {}", ago(item.closed_at), masked_text(item.closed_because)) if item.closed_at else "–"

    @admin.display(description="Fix it")
    def mend(self, item: Any) -> str:
        """To the page whose button ends it: the event's, or the order's."""
        if item.cause == Cause.CHOICE:
            page, words = reverse("admin:webhooks_webhookevent_choose", args=[item.event_id]), "Choose the customer…"
        elif item.link_pk and (item.cause not in (Cause.PARKED, Cause.DEAD) or item.event_id is None):
            page, words = reverse("admin:orders_orderlink_change", args=[item.link_pk]), "The order…"
        elif item.event_id:
            page, words = reverse("admin:webhooks_webhookevent_change", args=[item.event_id]), "The event…"
        else:
            return "–"
        return text_link(page, words)

    @action(description="Take it", permissions=["handle"], url_path="take", icon="person_check")
    def take(self, request: HttpRequest, object_id: str) -> HttpResponse:
        by = request.user.get_username()
        words = "Others see that you are working on it. The item closes by itself once the problem is solved."
        return self._ask(request, object_id, "Take it", words, owner=by)

    @action(description="Give back", permissions=["handle"], url_path="give-back", icon="person_off")
    def give_back(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._ask(request, object_id, "Give back", "Anybody can take it again.", owner="", snoozed_until=None)

    @action(description="Snooze until…", permissions=["handle"], url_path="snooze", icon="snooze")
    def snooze(self, request: HttpRequest, object_id: str) -> HttpResponse:
        words = "The item does not count until that day. It may close by itself before."
        return self._ask(request, object_id, "Snooze", words, UntilForm)

    def _ask(
        self,
        request: HttpRequest,
        object_id: str,
        button: str,
        words: str,
        form_class: type[ReasonForm] = ReasonForm,
        **fields: Any,
    ) -> HttpResponse:
        item = get_object_or_404(TodoItem, pk=object_id, closed_at=None)

        def perform(said: dict[str, Any]) -> str:
            by, reason, until = said["by"], said["reason"], said.get("until")
            changed = dict(fields)
            if until:
                at = timezone.make_aware(datetime.combine(until, time.min))
                changed |= {"snoozed_until": at, "snoozed_because": reason}
            TodoItem.objects.filter(pk=item.pk).update(**changed)
            day = f"{until:%F}" if until else None
            audit.record(f"to-do: {button.lower()}", actor=by, reason=reason, event=item.event, item=item.pk, until=day)
            return f"{item}: {button.lower()}."

        return ask_reason(self, request, item, button=button, words=words, perform=perform, form_class=form_class)
