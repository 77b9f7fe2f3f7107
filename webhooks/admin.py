"""The back office of the inbox: what came, what became of it, and what was not let in."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.text import Truncator
from unfold.contrib.filters.admin import ChoicesDropdownFilter, DropdownFilter, RangeDateTimeFilter

from webhooks.backoffice.bridges import ByBridge, are_several
from webhooks.backoffice.display import ago, badge, preformatted, pretty, time_column
from webhooks.backoffice.filters import RecentValuesFilter
from webhooks.backoffice.lists import ReadOnlyAdmin
from webhooks.backoffice.paging import EstimatingPaginator
from webhooks.masking import masked, masked_text, masked_topic
from webhooks.models import Outcome, RefusedDelivery, State, WebhookEvent

STATE_COLOURS = {
    State.PENDING: "info",
    State.PROCESSING: "info",
    State.RETRYING: "warning",
    State.DONE: "success",
    State.PARKED: "warning",
    State.DEAD: "danger",
}


class SourceFilter(RecentValuesFilter):
    title = "source"
    parameter_name = "source"


class TopicFilter(RecentValuesFilter):
    """A topic is what an unsigned header says: one that tells of a person is not offered."""

    title = "topic"
    parameter_name = "topic"
    masking = staticmethod(masked_topic)


class OutcomeFilter(DropdownFilter):
    title = "outcome"
    parameter_name = "outcome"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin) -> list[tuple[str, str]]:
        return Outcome.choices

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        # SQLite uses the index, which has only events with an outcome, if the query says that it wants no others.
        return queryset.filter(outcome=self.value(), outcome__gt="") if self.value() else queryset


class AttemptsFilter(DropdownFilter):
    """Those that failed at least so often. They are few, and picked first: so the index serves on every database."""

    title = "failed attempts"
    parameter_name = "attempts"
    LATEST = 10_000

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin) -> list[tuple[str, str]]:
        return [(str(least), f"{least} or more") for least in (1, 2, 5, 10)]

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        if self.value() not in dict(self.lookup_choices):
            return queryset
        failed = WebhookEvent.objects.filter(attempts__gt=0, attempts__gte=int(self.value()))
        return queryset.filter(pk__in=failed.order_by("-attempts", "-pk").values("pk")[: self.LATEST])


class SigningKeyFilter(RecentValuesFilter):
    title = "signing key"
    parameter_name = "signed_by"


class RefusalFilter(RecentValuesFilter):
    title = "reason"
    parameter_name = "reason"


class ConnectionFilter(RecentValuesFilter):
    title = "connection"
    parameter_name = "connection"


class WebhookEventAdmin(ByBridge, ReadOnlyAdmin):
    """The list, as far as the inbox knows it. Registered by sync.admin, which adds orders, attempts and the page."""

    paginator = EstimatingPaginator
    list_display = ("id", "state_badge", "received", "came_from", "order", "what", "tried", "latency")
    list_display_links = ("id", "state_badge")
    sortable_by = ("id",)
    list_filter = (
        ("state", ChoicesDropdownFilter),
        OutcomeFilter,
        SourceFilter,
        TopicFilter,
        AttemptsFilter,
        SigningKeyFilter,
        ("received_at", RangeDateTimeFilter),
    )
    linked_by = ("side", "order_ref")
    search_fields = ("id",)
    search_help_text = (
        "Event id, order id (shop or CRM), order number, or a customer's whole email address. If you may reveal "
        "personal data, other words are searched in the newest bodies. Start with text: to search bodies only."
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        return super().get_queryset(request).defer("body", "headers")

    @admin.display(description="State")
    def state_badge(self, event: WebhookEvent) -> str:
        return badge(event.get_state_display(), STATE_COLOURS[State(event.state)])

    received = time_column("received_at", "Received", ordering="id")

    @admin.display(description="From")
    def came_from(self, event: WebhookEvent) -> str:
        """The source and the topic; and how often, if it came more than once."""
        lines = [event.source, event.topic, f"came {event.duplicates + 1} times" if event.duplicates else ""]
        return format_html_join("", "<div>{}</div>", ((line,) for line in lines if line))

    @admin.display(description="Attempts")
    def tried(self, event: WebhookEvent) -> str:
        """The failed ones, and when the next is due."""
        if event.state != State.RETRYING:
            return str(event.attempts)
        return format_html("<div>{}</div><div>next {}</div>", event.attempts, ago(event.next_attempt_at))

    @admin.display(description="What it did")
    def what(self, event: WebhookEvent) -> str:
        words = ": ".join(filter(None, [event.get_outcome_display(), masked_text(event.reason)]))
        return Truncator(words).chars(80)

    @admin.display(description="Latency")
    def latency(self, event: WebhookEvent) -> str:
        if event.finished_at is None:
            return "–"
        return f"{(event.finished_at - event.received_at).total_seconds():.1f} s"


@admin.register(RefusedDelivery)
class RefusedDeliveryAdmin(ReadOnlyAdmin):
    list_display = ("id", "received", "source", "reason", "detail", "size", "remote_addr")
    list_filter = (SourceFilter, RefusalFilter, ("received_at", RangeDateTimeFilter))

    def get_list_display(self, request: HttpRequest) -> list[str]:
        return [*self.list_display, *(["connection"] if are_several() else [])]

    def get_list_filter(self, request: HttpRequest) -> list[Any]:
        return [*([ConnectionFilter] if are_several() else []), *self.list_filter]

    fields = ("received_at", "source", "connection", "reason", "detail", "remote_addr", "size", "headers_text")

    received = time_column("received_at", "Received", ordering="received_at")

    @admin.display(description="Size")
    def size(self, refused: RefusedDelivery) -> str:
        """Roughly: what was refused may have been let in later, and then its masked body is shown."""
        return f"up to {-(-refused.body_bytes // 1024)} kB" if refused.body_bytes else "–"

    @admin.display(description="Headers")
    def headers_text(self, refused: RefusedDelivery) -> str:
        return preformatted(pretty(masked(refused.headers)))
