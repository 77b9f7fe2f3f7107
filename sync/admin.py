"""The back office of the conductor: attempts, replays and timelines, and who may sign in."""

from typing import Any

from django import forms
from django.apps import apps
from django.contrib import admin, messages
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group, User
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.http import urlencode
from unfold.admin import ModelAdmin, TabularInline
from unfold.decorators import action
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm
from unfold.widgets import UnfoldAdminTextInputWidget

from orders.admin import OrderLinkAdmin
from orders.models import OrderLink
from sync.models import Attempt, Call, Heartbeat, SideState
from sync.replays import ask_again
from sync.timeline import link_of, story_of, summary
from webhooks.admin import EstimatingPaginator, ReadOnlyAdmin, WebhookEventAdmin, ago, preformatted
from webhooks.models import State, WebhookEvent

NAMED = 20
LOGGED_AT_ONCE = 500


class ReplayForm(forms.Form):
    reason = forms.CharField(max_length=200, widget=UnfoldAdminTextInputWidget, help_text="Kept in the history")


class ReadOnlyInline(TabularInline):
    extra = 0
    can_delete = False
    show_change_link = True

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class AttemptInline(ReadOnlyInline):
    model = Attempt
    fields = readonly_fields = ("started_at", "trigger", "actor", "result", "milliseconds", "error", "what_was_called")
    verbose_name_plural = "attempts"

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        return super().get_queryset(request).prefetch_related("calls")

    @admin.display(description="Calls")
    def what_was_called(self, attempt: Attempt) -> str:
        return format_html_join("", "<div>{}</div>", ((summary(call),) for call in attempt.calls.all())) or "–"


@admin.register(WebhookEvent)
class EventAdmin(WebhookEventAdmin):
    """The inbox's page of an event, with its attempts and the replay.

    It is registered here because attempts belong to sync, and webhooks, which is below, may not know them.
    """

    inlines = (AttemptInline,)
    actions = ("replay_selected",)
    actions_detail = ("replay_event",)

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


@admin.register(OrderLink)
class OrderAdmin(OrderLinkAdmin):
    """An order with its timeline, which is told from attempts too: hence registered here and not in orders."""

    change_form_outer_before_template = "sync/timeline.html"

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        link = self.get_object(request, object_id)
        story = story_of(link) if link else None
        return super().change_view(request, object_id, form_url, {**(extra_context or {}), "story": story})


class CallInline(ReadOnlyInline):
    model = Call
    show_change_link = False
    fields = readonly_fields = ("at", "in_short", "error", "request_text", "response_text")

    @admin.display(description="Call")
    def in_short(self, call: Call) -> str:
        return summary(call)

    @admin.display(description="Sent")
    def request_text(self, call: Call) -> str:
        return preformatted(call.request_body)

    @admin.display(description="Answered")
    def response_text(self, call: Call) -> str:
        return preformatted(call.response_body)


@admin.register(Attempt)
class AttemptAdmin(ReadOnlyAdmin):
    paginator = EstimatingPaginator
    inlines = (CallInline,)
    list_display = ("id", "started", "event_link", "trigger", "actor", "result", "milliseconds", "error")
    list_filter = ("trigger",)
    search_fields = ("event__id__exact",)
    search_help_text = "Event id"
    fields = (
        "event_link",
        "started_at",
        "trigger",
        "actor",
        "worker",
        "milliseconds",
        "result",
        "error",
        "reasons_text",
    )

    @admin.display(description="Started", ordering="id")
    def started(self, attempt: Attempt) -> str:
        return ago(attempt.started_at)

    @admin.display(description="Event")
    def event_link(self, attempt: Attempt) -> str:
        url = reverse("admin:webhooks_webhookevent_change", args=[attempt.event_id])
        return format_html('<a class="text-primary-600" href="{}">event {}</a>', url, attempt.event_id)

    @admin.display(description="Reasons")
    def reasons_text(self, attempt: Attempt) -> str:
        return preformatted("\n".join(": ".join(map(str, reason)) for reason in attempt.reasons) or "–")


@admin.register(SideState)
class SideStateAdmin(ReadOnlyAdmin):
    list_display = ("name", "failures", "opened_at", "probe_at", "wait_until", "paused", "last_heard_at", "last_error")


@admin.register(Heartbeat)
class HeartbeatAdmin(ReadOnlyAdmin):
    list_display = ("worker", "seen")

    @admin.display(description="Last seen", ordering="at")
    def seen(self, heartbeat: Heartbeat) -> str:
        return ago(heartbeat.at)


admin.site.unregister([User, Group])


@admin.register(User)
class UserAdmin(DjangoUserAdmin, ModelAdmin):
    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm


@admin.register(Group)
class GroupAdmin(DjangoGroupAdmin, ModelAdmin):
    pass


# django-q's own pages delete the failures that they resubmit; our attempts are the history.
for model in apps.get_app_config("django_q").get_models():
    if admin.site.is_registered(model):
        admin.site.unregister(model)
