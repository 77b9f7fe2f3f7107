"""Rows about one event or one order: who may open the pages under theirs, and how their lists are searched."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import Exists, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404

from orders.models import OrderLink
from sync.backoffice import links
from webhooks.backoffice.bridges import ByBridge
from webhooks.backoffice.lists import ReadOnlyAdmin
from webhooks.backoffice.paging import EstimatingPaginator, ExactSearch, exactly

View = Callable[[Any, HttpRequest, Any], HttpResponse]


def for_row(permission: str) -> Callable[[View], Callable[..., HttpResponse]]:
    """A page of one row, for people who may see such rows and have this permission, too."""

    def wrap(view: View) -> Callable[..., HttpResponse]:
        @wraps(view)
        def page(self: Any, request: HttpRequest, pk: int, **kwargs: Any) -> HttpResponse:
            if not (self.has_view_permission(request) and request.user.has_perm(permission)):
                raise PermissionDenied
            return view(self, request, get_object_or_404(self.get_queryset(request), pk=pk))

        return page

    return wrap


class AboutAnOrder(ByBridge, ExactSearch, ReadOnlyAdmin):
    """Rows that name an order by its ids at both sides, whether or not it is linked."""

    paginator = EstimatingPaginator
    list_select_related = ("bridge__shop", "bridge__crm")
    search_fields = ("woo_id", "crm_order_id")
    search_help_text = "Exact order id (shop or CRM) or order number"

    def named(self, rows: QuerySet, term: str) -> QuerySet:
        linked = Exists(OrderLink.objects.named(term).of_row())
        return rows.filter(linked | exactly(term, "woo_id", text="crm_order_id"))

    @admin.display(description="Open in")
    def pages(self, row: Any) -> str:
        return links.pages(row.bridge, row.woo_id, row.crm_order_id)
