"""Events: the list with what each did, and the page of one event with all that is known of it."""

from functools import partial
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils.html import format_html
from django.utils.http import urlencode

from sync.admin import bulk
from sync.admin.actions import EventActions, buttons
from sync.admin.choosing import Choosing
from sync.admin.event_page import shown
from sync.admin.reveals import Revealing
from sync.backoffice.search import search
from sync.backoffice.timeline import link_of
from webhooks.admin import WebhookEventAdmin
from webhooks.backoffice.lists import may
from webhooks.backoffice.pages import page_of, text_link
from webhooks.models import Outcome, WebhookEvent
from webhooks.reveal import may_reveal


@admin.register(WebhookEvent)
class EventAdmin(EventActions, Choosing, Revealing, WebhookEventAdmin):
    """Registered here because attempts, transitions and orders are above webhooks, which may not know them."""

    change_form_outer_before_template = "sync/event/page.html"
    actions = ("replay_selected",)
    has_bulk_permission = may(bulk.PERMISSION)

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        return super().get_queryset(request).prefetch_related("transitions")

    def get_fieldsets(self, request: HttpRequest, obj: WebhookEvent | None = None) -> list[Any]:
        """None: the page's template shows all of it."""
        return []

    def page_context(self, request: HttpRequest, row: WebhookEvent) -> dict[str, Any]:
        return {**shown(row, request), "buttons": list(buttons(row, request))}

    def get_custom_urls(self) -> tuple[tuple[str, str, Any], ...]:
        views = {
            "order": self.order_view,
            "replay": self.replay_view,
            "dry-run": self.dry_run_view,
            "edit": self.edit_view,
            "retry": self.retry_view,
            "cancel": self.cancel_view,
            "resolve": self.resolve_view,
            "choose": self.choose_view,
            "reveal": self.reveal_view,
            "body": self.body_view,
        }
        return (
            ("replay-many/", "webhooks_webhookevent_bulk", partial(bulk.plan_view, self)),
            ("replay-many/sample/", "webhooks_webhookevent_bulk_sample", partial(bulk.sample_view, self)),
            *(
                (f"<int:pk>/{path}/", f"webhooks_webhookevent_{path.replace('-', '_')}", view)
                for path, view in views.items()
            ),
        )

    def get_search_results(self, request: HttpRequest, queryset: QuerySet, search_term: str) -> tuple[QuerySet, bool]:
        found = search(queryset, search_term, may_reveal=may_reveal(request))
        if found.onward:
            onward = urlencode({**request.GET.dict(), "q": found.onward})
            words = format_html('{} <a class="underline" href="?{}">Search older events</a>', found.note, onward)
            self.message_user(request, words, messages.INFO)
        elif found.note:
            self.message_user(request, found.note, messages.INFO)
        return found.events, False

    @admin.display(description="What it did")
    def what(self, event: WebhookEvent) -> str:
        """A status that was moved says more than the name of the outcome."""
        moved = [f"{one.from_status} → {one.to_status}" for one in event.transitions.all()]
        if event.outcome == Outcome.APPLIED and moved:
            return ", ".join(moved)
        return super().what(event)

    @admin.display(description="Order")
    def order(self, event: WebhookEvent) -> str:
        """The link is looked up when it is pressed: in the list that would cost a query a row."""
        if not event.order_ref:
            return "–"
        return text_link(reverse("admin:webhooks_webhookevent_order", args=[event.pk]), event.order_ref)

    def order_view(self, request: HttpRequest, pk: int, **kwargs: Any) -> HttpResponse:
        """To the order's timeline if it is linked, otherwise to the list of its events."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        event = get_object_or_404(self.get_queryset(request), pk=pk)
        link = link_of(event)
        if link:
            return HttpResponseRedirect(page_of(link))
        query = urlencode({"side": event.side, "order_ref": event.order_ref})
        return HttpResponseRedirect(f"{reverse('admin:webhooks_webhookevent_changelist')}?{query}")

    @admin.action(description="Replay…", permissions=["bulk"])
    def replay_selected(self, request: HttpRequest, queryset: QuerySet) -> HttpResponse:
        """The ticked ones, or all that match: first the page that says what it would be."""
        return bulk.to_plan(request)
