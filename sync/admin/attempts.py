"""Attempts and their outgoing calls: append-only, to be looked at."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse

from sync.backoffice.timeline import summary
from sync.models import Attempt, Call
from webhooks.backoffice.bridges import ByBridge
from webhooks.backoffice.display import preformatted, readable, time_column
from webhooks.backoffice.filters import RecentValuesFilter
from webhooks.backoffice.lists import ReadOnlyAdmin
from webhooks.backoffice.pages import text_link
from webhooks.backoffice.paging import EstimatingPaginator, ExactSearch, exactly
from webhooks.masking import masked_text
from webhooks.reveal import is_revealed


def called(call: Call, *, revealed: bool) -> tuple[str, str, str, str]:
    """For sync/call.html: the call in short, its tone, what was sent, what was answered."""
    good = call.status is not None and call.status < 400
    sent, answered = (readable(text.encode(), revealed=revealed) for text in (call.request_body, call.response_body))
    return masked_text(summary(call)), "success" if good else "danger", sent, answered


class TriggerFilter(RecentValuesFilter):
    title = "trigger"
    parameter_name = "trigger"


@admin.register(Attempt)
class AttemptAdmin(ByBridge, ExactSearch, ReadOnlyAdmin):
    bridge_path = "event__bridge"
    paginator = EstimatingPaginator
    change_form_outer_after_template = "sync/attempt/calls.html"
    list_display = ("id", "started", "event_link", "trigger", "actor", "result", "milliseconds", "what_failed")
    list_filter = (TriggerFilter,)
    search_fields = ("event",)
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

    def named(self, rows: QuerySet, term: str) -> QuerySet:
        return rows.filter(exactly(term, "event_id"))

    def page_context(self, request: HttpRequest, row: Attempt) -> dict[str, Any]:
        revealed = is_revealed(request, row.event_id)
        return {"calls": [called(call, revealed=revealed) for call in row.calls.order_by("pk")]}

    started = time_column("started_at", "Started", ordering="id")

    @admin.display(description="Event")
    def event_link(self, attempt: Attempt) -> str:
        url = reverse("admin:webhooks_webhookevent_change", args=[attempt.event_id])
        return text_link(url, f"event {attempt.event_id}")

    @admin.display(description="Error")
    def what_failed(self, attempt: Attempt) -> str:
        return masked_text(attempt.error)

    @admin.display(description="Reasons")
    def reasons_text(self, attempt: Attempt) -> str:
        return preformatted(masked_text("\n".join(": ".join(map(str, reason)) for reason in attempt.reasons)) or "–")
