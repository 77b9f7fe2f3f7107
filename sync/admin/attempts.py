"""Attempts and their outgoing calls: append-only, to be looked at."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from unfold.admin import TabularInline

from sync.models import Attempt, Call
from sync.timeline import summary
from webhooks.admin import EstimatingPaginator, ReadOnlyAdmin, ago, preformatted, readable
from webhooks.masking import masked_text
from webhooks.reveal import is_revealed


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


class CallInline(ReadOnlyInline):
    model = Call
    show_change_link = False
    readonly_fields = ("at", "in_short", "request_text", "response_text", "request_exact", "response_exact")

    def get_fields(self, request: HttpRequest, obj: Attempt | None = None) -> tuple[str, ...]:
        if obj and is_revealed(request, obj.event_id):
            return ("at", "in_short", "request_exact", "response_exact")
        return ("at", "in_short", "request_text", "response_text")

    @admin.display(description="Call")
    def in_short(self, call: Call) -> str:
        return masked_text(summary(call))

    @admin.display(description="Sent")
    def request_text(self, call: Call) -> str:
        return preformatted(readable(call.request_body.encode()))

    @admin.display(description="Answered")
    def response_text(self, call: Call) -> str:
        return preformatted(readable(call.response_body.encode()))

    @admin.display(description="Sent, personal data revealed")
    def request_exact(self, call: Call) -> str:
        return preformatted(call.request_body)

    @admin.display(description="Answered, personal data revealed")
    def response_exact(self, call: Call) -> str:
        return preformatted(call.response_body)


@admin.register(Attempt)
class AttemptAdmin(ReadOnlyAdmin):
    paginator = EstimatingPaginator
    inlines = (CallInline,)
    list_display = ("id", "started", "event_link", "trigger", "actor", "result", "milliseconds", "what_failed")
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
        "what_failed",
        "reasons_text",
    )

    @admin.display(description="Started", ordering="id")
    def started(self, attempt: Attempt) -> str:
        return ago(attempt.started_at)

    @admin.display(description="Event")
    def event_link(self, attempt: Attempt) -> str:
        url = reverse("admin:webhooks_webhookevent_change", args=[attempt.event_id])
        return format_html('<a class="text-primary-600" href="{}">event {}</a>', url, attempt.event_id)

    @admin.display(description="Error")
    def what_failed(self, attempt: Attempt) -> str:
        return masked_text(attempt.error)

    @admin.display(description="Reasons")
    def reasons_text(self, attempt: Attempt) -> str:
        return preformatted(masked_text("\n".join(": ".join(map(str, reason)) for reason in attempt.reasons)) or "–")
