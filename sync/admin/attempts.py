"""Attempts and their outgoing calls: append-only, to be looked at."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from unfold.admin import TabularInline

from sync.models import Attempt, Call
from sync.timeline import summary
from webhooks.admin import EstimatingPaginator, ReadOnlyAdmin, ago, preformatted


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
