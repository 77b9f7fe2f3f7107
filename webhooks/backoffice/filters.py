"""Filters that need no look at a whole table."""

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.contrib.filters.admin import DropdownFilter

from webhooks.masking import masked_text


class ByValue(DropdownFilter):
    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        return queryset.filter(**{self.parameter_name: self.value()}) if self.value() else queryset


class RecentValuesFilter(ByValue):
    """Offers the values of the latest rows: DISTINCT over the whole table would read all of it."""

    LATEST = 2_000
    masking = staticmethod(masked_text)

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin) -> list[tuple[str, str]]:
        rows = model_admin.model._default_manager.order_by("-pk")
        latest = rows.values_list(self.parameter_name, flat=True)[: self.LATEST]
        return [(value, value) for value in sorted(set(latest)) if value and self.masking(value) == value]
