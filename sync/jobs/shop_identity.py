"""Is it still the same shop? After WOO_URL has changed, another one may answer under the order numbers that we know."""

import json
from collections.abc import Iterable
from typing import Any

from orders.models import OrderLink
from sync.clients.shop import Shop
from sync.clients.snapshots import ShopSnapshot
from sync.jobs.engine import Failed
from sync.models import Run
from sync.pipeline.whose import identity, is_same
from webhooks.connections import Bridge
from webhooks.models import Side, WebhookEvent

SAMPLE = 20
"""Half of them the latest orders that are linked, half the first: a shop that was restored from a backup has these."""


class AnotherShop(Failed):
    """The shop's orders are not those that are linked."""


def check(shop: Shop, bridge: Bridge) -> None:
    """Compare some linked orders with what the shop shows under their ids. Raises AnotherShop."""
    halves = (OrderLink.objects.filter(bridge=bridge).order_by(way)[: SAMPLE // 2] for way in ("-pk", "pk"))
    links = list({link.pk: link for half in halves for link in half}.values())
    if not links:
        return
    orders, _ = shop.of_ids([link.woo_id for link in links], {})
    shown = {order.woo_id: order for order in orders}
    created = _created(bridge, (link.woo_id for link in links if not link.identity))
    verdicts = [_is_same(link, shown.get(link.woo_id), created.get(link.woo_id)) for link in links]
    if True in verdicts or (False not in verdicts and not _moved(bridge)):
        return
    raise AnotherShop(
        f"The shop at {bridge.shop_config.url} does not have the orders that are linked here: of {len(links)} it "
        f"shows {len(shown)}, and none as we know it. Is WOO_URL right? Another shop needs a database of its own."
    )


def _is_same(link: OrderLink, shown: ShopSnapshot | None, created: str | None) -> bool | None:
    """None: nothing is known that would tell."""
    if shown is None:
        return None
    if link.identity:
        return is_same(link.identity, identity(shown.order))
    if created is not None:
        return bool(shown.order.get("date_created_gmt") == created)
    return True if shown.is_unchanged_since(link.woo_fingerprint) else None


def _created(bridge: Bridge, woo_ids: Iterable[int]) -> dict[int, str]:
    """When each order was made, as the shop said when it last told us of it."""
    told = WebhookEvent.objects.filter(bridge=bridge, side=Side.SHOP, order_ref__in=map(str, woo_ids)).order_by("pk")
    known: dict[int, str] = {}
    for order_ref, body in told.values_list("order_ref", "body"):
        order = _read(body)
        if isinstance(order, dict) and isinstance(order.get("date_created_gmt"), str):
            known[int(order_ref)] = order["date_created_gmt"]
    return known


def _read(body: bytes | memoryview) -> Any:
    try:
        return json.loads(bytes(body))
    except ValueError:
        return None


def _moved(bridge: Bridge) -> bool:
    """The last run had another address for the shop."""
    runs = Run.objects.filter(bridge=bridge, options__has_key="shop").order_by("-pk")
    last = runs.values_list("options__shop", flat=True).first()
    return last is not None and last != bridge.shop_config.url
