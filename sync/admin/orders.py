"""The page of an order: its two sides and its timeline."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse

from orders.admin import OrderLinkAdmin
from orders.models import OrderLink
from sync.timeline import story_of


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
