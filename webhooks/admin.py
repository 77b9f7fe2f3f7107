"""The back office of the inbox: what came, what became of it, and what was not let in."""

import json
from collections.abc import Sequence
from datetime import datetime
from functools import cached_property, lru_cache
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.exceptions import DisallowedModelAdminLookup
from django.contrib.admin.views.main import ERROR_FLAG
from django.contrib.humanize.templatetags.humanize import naturaltime
from django.core.exceptions import FieldDoesNotExist
from django.core.paginator import Page, Paginator
from django.db.models import BooleanField, CharField, JSONField, Max, Q, QuerySet, TextField
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.loader import render_to_string
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin
from unfold.contrib.filters.admin import ChoicesDropdownFilter, DropdownFilter, RangeDateTimeFilter
from unfold.views import ChangeList

from webhooks.masking import LIKE_JSON, masked, masked_row, masked_text, masked_topic
from webhooks.models import Outcome, RefusedDelivery, State, WebhookEvent

BODY_SHOWN = 200_000
STATE_COLOURS = {
    State.PENDING: "info",
    State.PROCESSING: "info",
    State.RETRYING: "warning",
    State.DONE: "success",
    State.PARKED: "warning",
    State.DEAD: "danger",
}


class EstimatingPaginator(Paginator):
    """Counts the first rows exactly and estimates the rest: a COUNT(*) over 300 000 rows would make each page slow."""

    EXACT_UP_TO = 10_000
    object_list: QuerySet

    @cached_property
    def count(self) -> int:
        rows = self.object_list.order_by()[: self.EXACT_UP_TO].count()
        if rows < self.EXACT_UP_TO or self.object_list.query.where:
            return rows
        return self.object_list.order_by().aggregate(newest=Max("pk"))["newest"]

    def page(self, number: int | str) -> Page:
        """Far into the list its rows are found by their ids first: whole rows would be read only to be skipped."""
        place = self.validate_number(number)
        start = (place - 1) * self.per_page
        if start < self.EXACT_UP_TO:
            return super().page(number)
        ids = list(self.object_list.values_list("pk", flat=True)[start : start + self.per_page])
        return Page(self.object_list.filter(pk__in=ids), place, self)


def exactly(term: str, *numbers: str, text: str = "") -> Q:
    """Exact matches only, so that the indexes serve: Django's own search compares a number as text, row by row."""
    wanted = Q(**{text: term}) if text else Q(pk__in=())
    if term.isascii() and term.isdigit() and len(term) <= 18:
        for name in numbers:
            wanted |= Q(**{name: int(term)})
    return wanted


FILTER_ENDINGS = (
    *("", "__exact", "__id__exact", "__isnull", "__isempty", "__gte", "__lt", "__year", "__month", "__day"),
    *(f"_{end}{part}" for end in ("from", "to") for part in ("", "_0", "_1")),
)


class DeclaredFilters(ChangeList):
    """A list that is filtered and ordered by what its admin declares, and by nothing else that Django would take from
    an address: whoever sees a value masked could ask for it letter by letter. The list itself, its export, a bulk
    replay and the actions on all that match read their rows through this."""

    def get_filters(self, request: HttpRequest) -> Any:
        # PostgreSQL refuses it as soon as rows are read, which is too late for Django's own check of filters.
        if any("\0" in one for values in self.get_filters_params().values() for one in values):
            raise DisallowedModelAdminLookup("NUL is in no value")
        found = super().get_filters(request)
        dates = {f"{self.date_hierarchy}__{end}" for end in ("gte", "lt")}
        if undeclared := found[2].keys() - dates - self.model_admin.exact_filters():
            raise DisallowedModelAdminLookup(f"no filters of this list: {', '.join(sorted(undeclared))}")
        return found

    def get_ordering_field(self, field_name: Any) -> Any:
        """Of a column that is no column to sort by: none, also if the address asks for it."""
        return super().get_ordering_field(field_name) if field_name in self.sortable_by else None


class ForgivingList(ModelAdmin):
    """A list whose address may ask for nonsense: then it says so and shows everything. The base of all our lists."""

    linked_by: Sequence[str] = ()
    """Fields by which other pages link to a part of the list; only their exact values."""

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return DeclaredFilters

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """The names that the declared filters may have; which they have indeed, DeclaredFilters tells."""
        filters = self.get_list_filter(request)
        declared = [
            getattr(one, "parameter_name", None) or (one[0] if isinstance(one, tuple | list) else one)
            for one in filters
        ]
        known = {f"{name}{ending}" for name in [*declared, self.date_hierarchy] if name for ending in FILTER_ENDINGS}
        return lookup in known or lookup in self.exact_filters()

    def exact_filters(self) -> set[str]:
        """Fields that may be asked for without a filter of their own, by whole values: the choices, and `linked_by`."""
        chosen = {field.name for field in self.opts.concrete_fields if field.choices or isinstance(field, BooleanField)}
        return {f"{name}{ending}" for name in chosen.union(self.linked_by) for ending in ("", "__exact")}

    def get_sortable_by(self, request: HttpRequest) -> list[Any] | tuple[Any, ...]:
        """Numbers, times and choices, unless the list says more: the order of words tells what is in them."""
        if self.sortable_by is not None:
            return list(self.sortable_by)
        return [column for column in self.get_list_display(request) if self._sorts_by_no_words(column)]

    def _sorts_by_no_words(self, column: Any) -> bool:
        shown = getattr(self, column, None) if isinstance(column, str) else column
        try:
            field = self.opts.get_field(getattr(shown, "admin_order_field", None) or column)
        except FieldDoesNotExist:
            return False
        return bool(field.primary_key or field.choices) or not isinstance(field, CharField | TextField | JSONField)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        try:
            answer: HttpResponse = super().changelist_view(request, extra_context)
        except DisallowedModelAdminLookup:
            return self._start_anew(request)
        # Django tells of it with ?e=1, and of a second mistake with a page about broken databases.
        broken = getattr(answer, "template_name", "") == "admin/invalid_setup.html"
        flagged = isinstance(answer, HttpResponseRedirect) and answer.url == f"{request.path}?{ERROR_FLAG}=1"
        return self._start_anew(request) if broken or flagged else answer

    def _start_anew(self, request: HttpRequest) -> HttpResponse:
        words = "The address names a filter or a page that there is not, so everything is shown. Choose filters here."
        self.message_user(request, words, messages.WARNING)
        return HttpResponseRedirect(request.path)


class MaskedRows(DeclaredFilters):
    """What a column shows raw is masked as well as what a method makes of it."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        self.result_list = [masked_row(row) for row in self.result_list]  # type: ignore[has-type]


class ReadOnlyAdmin(ForgivingList):
    """Looking only, for superusers too: what happened is not edited. Rows are masked as they are read."""

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return MaskedRows

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        row = super().get_object(request, object_id, from_field)
        return masked_row(row) if row is not None else None

    list_per_page = 25
    show_full_result_count = False
    ordering = ("-pk",)
    list_filter_submit = True

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        """Without the button to a history of edits: there are none."""
        return super().changeform_view(request, object_id, form_url, {**(extra_context or {}), "show_history": False})

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Nothing here is edited, so there is no history of edits to lead to."""
        return super().change_view(request, object_id, form_url, {"show_history": False, **(extra_context or {})})

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@lru_cache(maxsize=256, typed=True)
def badge(words: str, kind: str = "") -> SafeString:
    """Words on a coloured ground: success, info, warning, danger. The same in a list and on a row's own page.

    Remembered, as a list has one in each row, and a template costs; safe words and plain ones apart.
    """
    return render_to_string("unfold/helpers/label.html", {"text": words, "type": kind})


def coded(text: str) -> SafeString:
    """A text for people in which what stands between backticks is to be typed."""
    parts = (("code" if number % 2 else "span", part) for number, part in enumerate(text.split("`")))
    return format_html_join("", "<{0}>{1}</{0}>", parts)


def ago(moment: datetime | None) -> str:
    """Relative for the eye, exact on hover."""
    if moment is None:
        return "–"
    return format_html(
        '<span class="moment" title="{}">{}</span>', f"{moment:%Y-%m-%d %H:%M:%S %Z}", naturaltime(moment)
    )


def pretty(value: Any) -> str:
    """JSON for people. Lone surrogates are legal JSON and not legal UTF-8, so they are replaced."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    return text.encode("utf-8", "replace").decode()


def readable(body: bytes, *, revealed: bool = False) -> str:
    """The body as text: JSON laid out, other text as it is, anything else as the first bytes in hexadecimal.

    Personal data is masked unless it is revealed; what is not JSON may hold any, wherever. Nor is told how long it is:
    of whom all but one thing is known, that tells of the one.
    """
    try:
        content = json.loads(body)
        return pretty(content if revealed else masked(content))[:BODY_SHOWN]
    except (ValueError, RecursionError):
        pass
    try:
        text = body.decode()
    except UnicodeDecodeError:
        if not revealed:
            return "Bytes that are not text"
        return f"{len(body)} bytes that are not text, beginning with\n{body[:256].hex(' ')}"
    if not revealed:
        text = masked_text(text) if LIKE_JSON.match(text) or not text else "Text that is not JSON"
    return text[:BODY_SHOWN]


def preformatted(text: str) -> SafeString:
    return format_html('<pre class="whitespace-pre-wrap break-all font-mono text-xs">{}</pre>', text)


class RecentValuesFilter(DropdownFilter):
    """Offers the values of the latest rows: DISTINCT over the whole table would read all of it."""

    LATEST = 2_000
    masking = staticmethod(masked_text)

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin) -> list[tuple[str, str]]:
        rows = model_admin.model._default_manager.order_by("-pk")
        latest = rows.values_list(self.parameter_name, flat=True)[: self.LATEST]
        return [(value, value) for value in sorted(set(latest)) if value and self.masking(value) == value]

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        return queryset.filter(**{self.parameter_name: self.value()}) if self.value() else queryset


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
    """Those that failed at least so often. They are few; picked first, so that the index serves on every database."""

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


class WebhookEventAdmin(ReadOnlyAdmin):
    """The list, as far as the inbox knows it. Registered by sync.admin, which adds orders, attempts and the page."""

    paginator = EstimatingPaginator
    list_display = (
        "id",
        "state_badge",
        "received",
        "came_from",
        "order",
        "what",
        "tried",
        "latency",
    )
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
        "Event, order of either side, or a customer's whole e-mail address. For those who may reveal personal data, "
        "what is none of these is searched in the newest bodies; text:… does only that."
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        return super().get_queryset(request).defer("body", "headers")

    @admin.display(description="State")
    def state_badge(self, event: WebhookEvent) -> str:
        return badge(event.get_state_display(), STATE_COLOURS[State(event.state)])

    @admin.display(description="Received", ordering="id")
    def received(self, event: WebhookEvent) -> str:
        return ago(event.received_at)

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
        return words if len(words) <= 80 else f"{words[:79]}…"

    @admin.display(description="Latency")
    def latency(self, event: WebhookEvent) -> str:
        if event.finished_at is None:
            return "–"
        return f"{(event.finished_at - event.received_at).total_seconds():.1f} s"


@admin.register(RefusedDelivery)
class RefusedDeliveryAdmin(ReadOnlyAdmin):
    list_display = ("id", "received", "source", "reason", "detail", "size", "remote_addr")
    list_filter = (SourceFilter, RefusalFilter, ("received_at", RangeDateTimeFilter))
    fields = ("received_at", "source", "reason", "detail", "remote_addr", "size", "headers_text")

    @admin.display(description="Received", ordering="received_at")
    def received(self, refused: RefusedDelivery) -> str:
        return ago(refused.received_at)

    @admin.display(description="Size")
    def size(self, refused: RefusedDelivery) -> str:
        """Roughly: what was refused may have been let in later, and then its masked body is shown."""
        return f"up to {-(-refused.body_bytes // 1024)} kB" if refused.body_bytes else "–"

    @admin.display(description="Headers")
    def headers_text(self, refused: RefusedDelivery) -> str:
        return preformatted(pretty(masked(refused.headers)))
