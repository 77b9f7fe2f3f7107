"""Which shop a delivery comes from. A copy of the shop (staging, a backup brought back to life) carries our webhooks
and their secret, so that the signature tells nothing; the order's own `_links` and the Source header do.

A delivery is a signal only: what it says of the order is never used (docs/decisions/0003). So this is not what keeps a
copy's orders out of the CRM, but what tells people that there is a copy.
"""

import json
import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import urlsplit

from sync.clients.errors import AuthFailed, Blocked, NotFound, Rejected
from sync.clients.shop import Shop
from webhooks.connections import Bridge
from webhooks.models import Side, WebhookEvent
from webhooks.schemas import WOOCOMMERCE, schema_of

DELIVERED = "woocommerce"
SOURCE_HEADER = "x-wc-webhook-source"
LINKS = ("self", "collection")
OF_THE_API = re.compile(r"(/index\.php)?/[^/]+/wc/v\d.*|/index\.php$", re.DOTALL)
DEFAULT_PORTS = (80, 443, None)
ASK_AGAIN = 600.0
"""Seconds for which a process believes what the shop said of its address."""
NOT_TOLD = (AuthFailed, Blocked, NotFound, Rejected)
"""A shop that shows its orders may hide the index of its API: then it is known by the settings alone."""

_said: dict[str, tuple[float, frozenset["Address"]]] = {}


@dataclass(frozen=True)
class Address:
    """Where a shop lives, as far as it tells two shops apart: neither http or https, nor `www.`, nor capitals do."""

    host: str
    port: int | None
    path: str

    @classmethod
    def of(cls, url: object) -> Self | None:
        """Of any address in it, the REST API's included; None if it is none."""
        try:
            parts = urlsplit(url.strip()) if isinstance(url, str) else None
            if parts is None or not parts.hostname:
                return None
            host = parts.hostname.rstrip(".").removeprefix("www.")
            host = host if host.isascii() else host.encode("idna").decode()
            port = None if parts.port in DEFAULT_PORTS else parts.port
        except ValueError:  # UnicodeError is one
            return None
        return cls(host, port, OF_THE_API.sub("", parts.path.lower()).rstrip("/"))

    def __str__(self) -> str:
        return f"{self.host}{f':{self.port}' if self.port else ''}{self.path}"


def stated(event: WebhookEvent) -> frozenset[Address]:
    """The addresses that a delivery of the shop, or a copy of one that staff edited, gives as the shop's. What we read
    from the shop ourselves needs no proof."""
    if event.side != Side.SHOP or (event.source != DELIVERED and event.copy_of_id is None):
        return frozenset()
    headers = {name.lower(): value for name, value in event.headers.items()}
    urls = [*_links(order_in(event)), headers.get(SOURCE_HEADER)]
    return frozenset(address for url in urls if (address := Address.of(url)))


def _links(order: Any) -> Iterator[Any]:
    links = order.get("_links") if isinstance(order, dict) else None
    if isinstance(links, dict):
        named = [links.get(name) for name in LINKS]
        each = (link for one in named if isinstance(one, list) for link in one)
        yield from (link.get("href") for link in each if isinstance(link, dict))


def unknown(event: WebhookEvent) -> frozenset[Address]:
    """Those that are not in the settings: another shop's, or what our shop calls itself besides."""
    return stated(event) - _of_settings(event.bridge)


def another(events: Iterable[WebhookEvent], shop: Shop) -> Address | None:
    """An address that is not our shop's, if one of them gives such a one."""
    each = list(events)
    given = sorted({one for event in each for one in unknown(event)}, key=str)
    strange = [one for one in given if one not in _of_shop(each[0].bridge, shop)] if given else []
    return strange[0] if strange else None


def is_on_our_host(address: Address, bridge: Bridge, shop: Shop) -> bool:
    """There, another port or path need not be another shop: languages and proxies have them, too."""
    return address.host in {one.host for one in _of_settings(bridge) | _of_shop(bridge, shop)}


def _of_settings(bridge: Bridge) -> frozenset[Address]:
    shop = bridge.shop_config
    urls = [shop.url, *shop.other_urls]
    return frozenset(address for url in urls if (address := Address.of(url)))


def _of_shop(bridge: Bridge, shop: Shop) -> frozenset[Address]:
    """What the shop says itself: WOO_URL may be an internal address, or an older one."""
    url = bridge.shop_config.url
    at, known = _said.get(url, (float("-inf"), frozenset()))
    if time.monotonic() - at > ASK_AGAIN:
        try:
            known = frozenset(address for url in shop.addresses() if (address := Address.of(url)))
        except NOT_TOLD:
            return frozenset()
        _said[url] = time.monotonic(), known
    return known


def order_in(event: WebhookEvent) -> Any:
    """The shop's order in the body, as this release reads it; None if it is none."""
    if schema_of(event) != WOOCOMMERCE:
        return None
    try:
        return json.loads(bytes(event.body))
    except (ValueError, RecursionError):
        return None
