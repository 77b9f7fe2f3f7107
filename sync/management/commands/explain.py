"""The timeline of one order, by the id of either side, or by its number."""

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from sync.backoffice import links
from sync.backoffice.timeline import Timeline, find_timeline, numbered
from sync.management.bridges import add_bridge, chosen_bridge
from sync.management.moments import WRONG_USE
from webhooks.connections import DEFAULT_BRIDGE
from webhooks.models import Bridge


class Command(BaseCommand):
    help = "Print the timeline of one order, by either id or its number, from what is known here. Asks neither side."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.epilog = "Example: python manage.py explain 1042 --json"
        parser.add_argument("order", metavar="ORDER", help="the order's id in the shop or in the CRM, or its number")
        add_bridge(parser)
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *args: Any, order: str, **options: Any) -> None:
        told = _found(order, options["bridge"])
        if told is None:
            raise CommandError(f"No order {order} is known here: no link and no event names it.", returncode=WRONG_USE)
        if options["json"]:
            self.stdout.write(json.dumps(as_json(told), ensure_ascii=False))
            return
        self.stdout.write("\n".join(as_lines(told)))
        for other in numbered(order, told.bridge or DEFAULT_BRIDGE).exclude(woo_id=told.woo_id or 0):
            words = f"Order {other.woo_id} of the shop has this as its number: python manage.py explain {other.woo_id}"
            self.stdout.write(words)


def _found(order: str, slug: str | None) -> Timeline | None:
    """Nobody has to say of which bridge an order is that only one of them has."""
    if not order.isprintable():  # no id holds what no database takes: NUL, or bytes that are no text
        return None
    bridges = [chosen_bridge(slug)] if slug else list(Bridge.objects.order_by("pk"))
    known = {bridge.slug: told for bridge in bridges if (told := find_timeline(order, bridge.pk))}
    if len(known) > 1:
        words = f"Several shops have an order {order}: say which with --bridge SLUG. There are: {', '.join(known)}."
        raise CommandError(words, returncode=WRONG_USE)
    return next(iter(known.values()), None)


def as_json(told: Timeline) -> dict[str, Any]:
    return {
        "woo_id": told.woo_id,
        "number": told.number,
        "crm_order_id": told.crm_order_id,
        **dict(zip(("shop_url", "crm_url"), _pages(told), strict=True)),
        "shop_status": told.shop_status,
        "crm_status": told.crm_status,
        "timeline": [
            {"at": entry.at.isoformat(), "kind": entry.group, "words": entry.words} for entry in told.oldest_first()
        ],
        "removed": told.removed,
    }


def _pages(told: Timeline) -> tuple[str, str]:
    bridge = Bridge.objects.with_connections().get(pk=told.bridge or DEFAULT_BRIDGE)
    return links.shop_page(bridge, told.woo_id), links.crm_page(bridge, told.crm_order_id or "")


def as_lines(told: Timeline) -> list[str]:
    number = f" (no. {told.number})" if told.number else ""
    return [
        f"shop order {told.woo_id or 'unknown'}{number}: {told.shop_status or 'status unknown'}",
        f"CRM order {told.crm_order_id or 'unknown'}: {told.crm_status or 'status unknown'}",
        *(f"{entry.at:%Y-%m-%d %H:%M:%S}  {entry.group:<10}  {entry.words}" for entry in told.oldest_first()),
        *([told.removed] if told.removed else []),
        *filter(None, _pages(told)),
    ]
