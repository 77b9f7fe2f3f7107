"""The page of an order: its two sides and its timeline."""

from dataclasses import dataclass
from typing import Any, Self

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.http import urlencode

from orders.admin import OrderLinkAdmin
from orders.models import OrderLink
from sync.timeline import AT_ONCE, STRANDS, Entry, Story, Strand, story_of
from webhooks.admin import ago

LAST_PAGE = 10_000

ICONS = {
    Strand.SHOP: "shopping_cart",
    Strand.CRM: "contacts",
    Strand.ATTEMPT: "sync",
    Strand.TRANSITION: "swap_horiz",
    Strand.STAFF: "person",
    Strand.FINDING: "search",
}
PAGES = {
    Strand.SHOP: "webhooks_webhookevent",
    Strand.CRM: "webhooks_webhookevent",
    Strand.ATTEMPT: "sync_attempt",
    Strand.TRANSITION: "orders_statustransition",
}


@dataclass(frozen=True, kw_only=True)
class Shown:
    """One page of the timeline, as the query string asks for it. What it asks for wrongly is left out."""

    entries: list[tuple[Entry, str, str, str]]
    "Each with its icon, its moment and the address of its own page."
    filters: list[tuple[str, str, bool]]
    newer: str
    older: str

    @classmethod
    def of(cls, story: Story, query: dict[str, str]) -> Self:
        only = query.get("only", "")
        page = query.get("page", "")
        number = min(int(page), LAST_PAGE) if page.isascii() and page.isdigit() and page.strip("0") else 1
        start = (number - 1) * AT_ONCE
        strands = [Strand(only)] if only in STRANDS else STRANDS
        found = story.newest(start, start + AT_ONCE + 1, strands)
        chosen = {"only": only} if only in STRANDS else {}
        return cls(
            entries=[(entry, ICONS[entry.strand], ago(entry.at), _url(entry)) for entry in found[:AT_ONCE]],
            filters=[
                ("Everything", "?", not chosen),
                *((strand.label, f"?only={strand.value}", strand == only) for strand in STRANDS),
            ],
            newer=f"?{urlencode({**chosen, 'page': str(number - 1)})}" if number > 1 else "",
            older=f"?{urlencode({**chosen, 'page': str(number + 1)})}" if len(found) > AT_ONCE else "",
        )


def _url(entry: Entry) -> str:
    return reverse(f"admin:{PAGES[entry.strand]}_change", args=[entry.pk]) if entry.strand in PAGES else ""


@admin.register(OrderLink)
class OrderAdmin(OrderLinkAdmin):
    """An order with its timeline, which is told from attempts too: hence registered here and not in orders."""

    change_form_outer_before_template = "sync/order/page.html"

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        link = self.get_object(request, object_id)
        context = {**(extra_context or {})}
        if link:
            context["timeline"] = Shown.of(story_of(link), request.GET.dict())
        return super().change_view(request, object_id, form_url, context)
