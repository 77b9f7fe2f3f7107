"""Long lists and quick answers: counts that are estimated, and searches that the indexes serve."""

from functools import cached_property

from django.core.paginator import Page, Paginator
from django.db.models import Max, Q, QuerySet
from django.http import HttpRequest
from unfold.admin import ModelAdmin

from webhooks.texts import is_number


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
    if is_number(term):
        for name in numbers:
            wanted |= Q(**{name: int(term)})
    return wanted


class ExactSearch(ModelAdmin):
    """A list that is searched by `named`, and by nothing else."""

    def named(self, rows: QuerySet, term: str) -> QuerySet:
        raise NotImplementedError

    def get_search_results(self, request: HttpRequest, queryset: QuerySet, search_term: str) -> tuple[QuerySet, bool]:
        term = search_term.strip()
        return (self.named(queryset, term) if term else queryset), False
