"""The hourly figures of attempts and calls, which outlive them: as a list, and as a chart of each day."""

import json
from collections import defaultdict
from datetime import date, datetime, timedelta
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet, Sum
from django.db.models.functions import TruncDate
from django.http import HttpRequest, HttpResponse
from unfold.contrib.filters.admin import DropdownFilter

from sync.admin.charts import OPTIONS, series
from sync.models import HourlyFigure
from webhooks import clock
from webhooks.backoffice.bridges import ByBridge
from webhooks.backoffice.lists import ReadOnlyAdmin
from webhooks.backoffice.paging import EstimatingPaginator
from webhooks.models import Outcome, Side

PERIODS = {"7": "7 days", "30": "30 days", "90": "90 days", "365": "A year"}
USUAL = "90"
What = HourlyFigure.What
SIDES = {Side.SHOP.value: ("Shop", "var(--color-primary-300)"), Side.CRM.value: ("CRM", "var(--color-primary-600)")}


class PeriodFilter(DropdownFilter):
    title = "period"
    parameter_name = "days"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin) -> list[tuple[str, str]]:
        return list(PERIODS.items())

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        return queryset.filter(hour__gte=_begins(self.value())) if self.value() in PERIODS else queryset


def _begins(days: str | None) -> datetime:
    today = clock.now().replace(hour=0, minute=0, second=0, microsecond=0)
    return today - timedelta(days=int(days if days in PERIODS else USUAL) - 1)


@admin.register(HourlyFigure)
class HourlyFigureAdmin(ByBridge, ReadOnlyAdmin):
    paginator = EstimatingPaginator
    list_display = ("hour", "what", "side", "result", "count", "average", "slowest")
    list_filter = (PeriodFilter, "what", "side")
    list_before_template = "sync/figures.html"
    fields = ("hour", "what", "side", "result", "count", "average", "slowest")
    ordering = ("-hour", "what", "side", "result")  # type: ignore[assignment]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """The charts show what the list is filtered by, 90 days of it unless another period is chosen."""
        answer = super().changelist_view(request, extra_context)
        if shown := getattr(answer, "context_data", {}).get("cl"):
            answer.context_data |= charts(shown.queryset, _begins(request.GET.get("days")))  # type: ignore[attr-defined]
        return answer

    @admin.display(description="Average (ms)")
    def average(self, figure: HourlyFigure) -> str:
        return f"{figure.milliseconds / figure.count:.0f}" if figure.count else "–"


def charts(figures: QuerySet, since: datetime) -> dict[str, str]:
    """Sums of each day, also of those on which nothing was done."""
    day = (
        figures.filter(hour__gte=since)
        .order_by()
        .annotate(day=TruncDate("hour"))
        .values_list("day", "what", "side", "result")
    )
    done, failed = defaultdict[date, int](int), defaultdict[date, int](int)
    calls, took = defaultdict[tuple[date, str], int](int), defaultdict[tuple[date, str], int](int)
    for at, what, side, result, count, milliseconds in day.annotate(Sum("count"), Sum("milliseconds")):
        if what == What.CALL:
            calls[at, side] += count
            took[at, side] += milliseconds
        else:
            (done if result in Outcome.values else failed)[at] += count
    days = [since.date() + timedelta(days=n) for n in range((clock.now() - since).days + 1)]
    labels = [f"{one:%-d %b}" for one in days]
    attempts = [
        series("Failed", [failed[one] for one in days], "#dc2626"),
        series("With an outcome", [done[one] for one in days], "var(--color-primary-600)"),
    ]
    means = {
        side: [round(took[one, side] / calls[one, side]) if calls[one, side] else None for one in days]
        for side in SIDES
    }
    of_sides = [series(label, means[side], colour) for side, (label, colour) in SIDES.items()]
    return {
        "chart_options": OPTIONS,
        "attempts": json.dumps({"labels": labels, "datasets": attempts}),
        "attempts_words": f"{sum(done.values()):,} attempts with an outcome, {sum(failed.values()):,} failed",
        "calls": json.dumps({"labels": labels, "datasets": of_sides}),
        "calls_words": f"{sum(calls.values()):,} calls, on average {_mean(took.values(), calls.values())} ms",
    }


def _mean(took: Any, of: Any) -> str:
    return f"{sum(took) / sum(of):.0f}" if sum(of) else "no"
