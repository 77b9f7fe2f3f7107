"""The page of an event: what became of it, and asking for it again."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.http import urlencode
from unfold.decorators import action
from unfold.widgets import UnfoldAdminTextInputWidget

from sync.admin.attempts import AttemptInline
from sync.admin.reveals import Revealing
from sync.replays import ask_again
from sync.timeline import link_of
from webhooks.admin import WebhookEventAdmin
from webhooks.models import State, WebhookEvent

NAMED = 20
LOGGED_AT_ONCE = 500


class ReplayForm(forms.Form):
    reason = forms.CharField(max_length=200, widget=UnfoldAdminTextInputWidget, help_text="Kept in the history")


@admin.register(WebhookEvent)
class EventAdmin(Revealing, WebhookEventAdmin):
    """The inbox's page of an event, with its attempts and the replay.

    It is registered here because attempts belong to sync, and webhooks, which is below, may not know them.
    """

    inlines = (AttemptInline,)
    actions = ("replay_selected",)
    actions_detail = ("replay_event", "reveal_event")

    def has_replay_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        return request.user.has_perm("webhooks.replay_webhookevent") and self.has_view_permission(request)

    @admin.display(description="Order")
    def order(self, event: WebhookEvent) -> str:
        """The link is looked up when it is pressed: in the list that would cost a query a row."""
        if not event.order_ref:
            return "–"
        url = reverse("admin:webhooks_webhookevent_order", args=[event.pk])
        return format_html('<a class="text-primary-600" href="{}">{}</a>', url, event.order_ref)

    def get_custom_urls(self) -> tuple[tuple[str, str, Any], ...]:
        return (("<int:pk>/order/", "webhooks_webhookevent_order", self.order_view),)

    def order_view(self, request: HttpRequest, pk: int, **kwargs: Any) -> HttpResponse:
        """To the order's timeline if it is linked, otherwise to the list of its events."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        event = get_object_or_404(self.get_queryset(request), pk=pk)
        link = link_of(event)
        if link:
            return HttpResponseRedirect(reverse("admin:orders_orderlink_change", args=[link.pk]))
        query = urlencode({"side": event.side, "order_ref": event.order_ref})
        return HttpResponseRedirect(f"{reverse('admin:webhooks_webhookevent_changelist')}?{query}")

    @action(description="Replay", permissions=["replay"], url_path="replay", icon="replay")
    def replay_event(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """A GET only asks for the reason; the POST does it."""
        event = get_object_or_404(self.get_queryset(request), pk=object_id)
        back = reverse("admin:webhooks_webhookevent_change", args=[event.pk])
        form = ReplayForm(request.POST if request.method == "POST" else None)
        if form.is_valid():
            self._replay(request, self.get_queryset(request).filter(pk=event.pk), form.cleaned_data["reason"])
            return HttpResponseRedirect(back)
        return self._confirm(request, form, self.get_queryset(request).filter(pk=event.pk), back)

    @admin.action(description="Replay…", permissions=["replay"])
    def replay_selected(self, request: HttpRequest, queryset: QuerySet) -> HttpResponse | None:
        """First the page that says how many; the second POST, with a reason, does it."""
        form = ReplayForm(request.POST if "confirmed" in request.POST else None)
        if form.is_valid():
            self._replay(request, queryset, form.cleaned_data["reason"])
            return None
        return self._confirm(request, form, queryset, reverse("admin:webhooks_webhookevent_changelist"))

    def _replay(self, request: HttpRequest, events: QuerySet, reason: str) -> None:
        asked = ask_again(list(events.values_list("pk", flat=True)), by=request.user.get_username())
        for start in range(0, len(asked.again), LOGGED_AT_ONCE):
            chunk = WebhookEvent.objects.filter(pk__in=asked.again[start : start + LOGGED_AT_ONCE])
            for event in chunk.only("pk", "topic", "source"):
                self.log_change(request, event, f"Replay: {reason}")
        if asked.again:
            self.message_user(request, f"{len(asked.again)} asked again.", messages.SUCCESS)
        if asked.busy:
            names = ", ".join(map(str, asked.busy[:NAMED]))
            self.message_user(
                request, f"Being processed, and so not replayed: {names}. Try again in a minute.", messages.WARNING
            )

    def _confirm(self, request: HttpRequest, form: ReplayForm, events: QuerySet, back: str) -> HttpResponse:
        total = events.count()
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": "Replay 1 event" if total == 1 else f"Replay {total} events",
            "form": form,
            "total": total,
            "busy": events.filter(state=State.PROCESSING).count(),
            "sample": events.order_by("-pk")[:NAMED],
            "selected": request.POST.getlist("_selected_action"),
            "select_across": request.POST.get("select_across", "0"),
            "back": back,
        }
        return TemplateResponse(request, "sync/replay.html", context)
