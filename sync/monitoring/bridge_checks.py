"""What the doctor asks of one bridge: our address for its shop, the shop, its webhooks, the CRM. It writes nothing."""

import secrets
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import islice
from urllib.parse import urlsplit

import requests
import urllib3.exceptions

from orders.lifecycle import shop_lint_warnings
from orders.models import OrderLink
from orders.rules import current_lifecycle, gone_statuses
from sync.clients import causes
from sync.clients.addresses import is_private
from sync.clients.bridged import crm_of, shop_of
from sync.clients.deadline import Bounds, bounds
from sync.clients.http import CallRecord, bound
from sync.clients.shop import Shop
from sync.monitoring import preparing, shop_webhooks
from sync.monitoring.connecting import try_crm
from sync.monitoring.findings import Finding, Level, good, in_time, warning, wrong
from sync.pipeline.whose import external_id
from webhooks.connections import Bridge
from webhooks.models import Side

PING_SECONDS = 5.0
"""As long as WooCommerce waits for the answer to its ping (FACTS A10)."""
WOO_PORTS = (None, 80, 443, 8080)
"""WooCommerce delivers to no other (FACTS A1)."""
SKEW = timedelta(minutes=1)
SIGNED_WITH_A_TIME = "standard-webhooks"
SIGNED_WITHIN = timedelta(minutes=5)
"""Deliveries with an older or newer timestamp are refused (CONTRACT section 2)."""
CHANGES_LOOKED_AT = 500


# --- our address ---------------------------------------------------------------------------------------------------


def _public_url(bridge: Bridge) -> Iterator[Finding]:
    yield from reached_at(shop_webhooks.delivery_url(bridge), bridge.shop_config.url)


def reached_at(url: str, shop: str) -> Iterator[Finding]:
    """Whether the shop of that address could deliver to this one of ours."""
    yield _answers(url)
    parts = urlsplit(url)
    if not is_private(urlsplit(shop).hostname or "") and (
        is_private(parts.hostname or "") or parts.port not in WOO_PORTS
    ):
        yield wrong(
            "public_url",
            f"WooCommerce does not deliver to {parts.netloc}: it is private, or the port is not 80, 443 or 8080.",
            "Set PUBLIC_URL to a public address on one of these ports.",
        )


def _answers(url: str) -> Finding:
    """WooCommerce's own ping. A redirect looks like a success to it, and loses every delivery (FACTS A6)."""
    try:
        with requests.Session() as session:
            session.trust_env = False
            bound(session)
            bounds.set(Bounds(time.monotonic() + PING_SECONDS, PING_SECONDS, 100_000))
            session.headers["Accept-Encoding"] = "identity"
            form = {"webhook_id": "1"}
            # Nothing of it is unpacked: whoever sits at that address may have packed anything.
            with session.post(url, data=form, timeout=PING_SECONDS, allow_redirects=False, stream=True) as answer:
                said = answer.raw.read(100, decode_content=False)
    except (requests.RequestException, urllib3.exceptions.HTTPError, ValueError) as error:
        why, advice = causes.of_silence(error, "PUBLIC_URL", url)
        return wrong(
            "public_url",
            f"{url} does not answer when called from here: {why}.",
            f"Start the web server if it is not running. {advice}",
        )
    if 300 <= answer.status_code < 400:
        words = f"{url} redirects to {answer.headers.get('Location', 'nowhere')}: every delivery would be lost."
        advice = "Correct PUBLIC_URL, or exempt /webhooks/ from the redirect of the proxy."
        return wrong("public_url", words, advice)
    if answer.status_code != 200 or b'"ping"' not in said:
        words = f"{url} answers WooCommerce's ping with {answer.status_code}, and not as this service does."
        advice = "Check that PUBLIC_URL leads to this service and that the proxy passes POST requests on."
        return wrong("public_url", words, advice)
    return good("public_url", f"{url} answers and does not redirect.")


# --- the shop ------------------------------------------------------------------------------------------------------


def _shop(bridge: Bridge) -> Iterator[Finding]:
    calls: list[CallRecord] = []
    shop = shop_of(bridge, on_call=calls.append, before_call=in_time)
    shop.ping()
    yield good("shop", "The key may read orders.")
    # OAuth, which is used over http, has a timestamp of its own.
    yield from _clock(Side.SHOP, calls, 3 * SIGNED_WITHIN if bridge.shop_config.url.startswith("http://") else None)
    yield good("shop", f"The shop's time zone is {shop.time_zone()}. We ask it in UTC.")
    yield from _statuses(shop, bridge)
    shop.prove_write()
    yield good("shop", "The key may write orders.")


GONE_STATUS_ADVICE = "Activate the plugin that added the status, or give these orders another status in the shop."


def _statuses(shop: Shop, bridge: Bridge) -> Iterator[Finding]:
    known, lifecycle = shop.statuses(), current_lifecycle(bridge.pk)
    wanted = {woo: crm for crm, woo in lifecycle.status_map.items()}
    unknown = {woo: crm for woo, crm in wanted.items() if woo not in known}
    for woo, crm in sorted(unknown.items()):
        words = f"The CRM's {crm!r} is mapped to {woo!r}, which the shop does not know."
        advice = f"Correct /admin/orders/statusrule/. The shop has: {', '.join(sorted(known))}."
        yield wrong("statuses", words, advice)
    for one in shop_lint_warnings(lifecycle, known):
        yield warning("statuses", one.words, "See /admin/orders/allowedmove/.")
    for status, number in gone_statuses(known, bridge.pk):
        words = f"{number} linked orders are {status!r}. The shop has no such status, so no list shows them."
        yield warning("statuses", words, GONE_STATUS_ADVICE)
    if not unknown:
        yield good("statuses", "The shop knows every status that the map names.")


def _webhooks(bridge: Bridge) -> Iterator[Finding]:
    for one in shop_webhooks.look(bridge, before_call=in_time):
        level: Level = "ok" if one.state == "ok" else "error"
        words, advice = (causes.told(said, bridge.shop.slug) for said in (one.words, one.advice))
        yield Finding(check="webhooks", level=level, words=f"{one.topic}: {words}", advice=advice)


def _clock(side: Side, calls: list[CallRecord], limit: timedelta | None) -> Iterator[Finding]:
    """`limit`: beyond it, what is signed with a time is refused."""
    ahead = next((call.clock_is_ahead for call in reversed(calls) if call.clock_is_ahead is not None), None)
    if ahead is None:
        words, level = f"{side.label}: its answers contain no time, so we cannot compare its clock.", "warning"
    elif abs(ahead) < SKEW:
        words, level = f"{side.label}: its clock agrees with ours.", "ok"
    else:
        way = "ahead of" if ahead > timedelta() else "behind"
        words = f"{side.label}: its clock is {abs(ahead) // timedelta(seconds=1)} s {way} ours."
        level = "error" if limit is not None and abs(ahead) > limit else "warning"
    advice = "" if level == "ok" else "Synchronise both clocks with NTP."
    yield Finding(check="clock", level=level, words=words, advice=advice)  # type: ignore[arg-type]


# --- the CRM -------------------------------------------------------------------------------------------------------


def _crm(bridge: Bridge) -> Iterator[Finding]:
    calls: list[CallRecord] = []
    crm = crm_of(bridge, on_call=calls.append, before_call=in_time)
    try_crm(crm)  # what it lacks is told below
    yield good("crm", "The key may read orders.")
    yield from _clock(Side.CRM, calls, SIGNED_WITHIN if bridge.crm_config.signature == SIGNED_WITH_A_TIME else None)
    if bridge.crm:
        yield from preparing.of_webhooks(crm, bridge.crm)
    if lacks := preparing.lacking(crm):
        yield from (wrong("crm", words, advice) for words, advice in lacks)
        return
    calls.clear()
    if crm.find(f"orderbridge-{secrets.token_hex(8)}") is not None or len(calls) > 1:
        words = "The CRM ignores the filter external_id, so each look-up reads its whole list."
        yield warning("crm", words, "Ask the CRM's provider to add it.")
    link = OrderLink.objects.filter(bridge=bridge).exclude(crm_updated_at=None).order_by("-crm_updated_at").first()
    if link is None or link.crm_updated_at is None:
        words = "No order is linked yet, so the CRM's look-ups were not tested."
        yield good("crm", words)
        return
    name = link.external_id or external_id(link.woo_id, bridge.prefix)
    found = crm.find(name)
    if found is None or found.crm_order_id != link.crm_order_id:
        words = f"The CRM does not find {link.crm_order_id} by its external_id {name}."
        advice = "Check whether the CRM has that order. Without this look-up an order may be created twice."
        yield wrong("crm", words, advice)
    else:
        yield good("crm", "The CRM finds orders by external_id.")
    changed = islice(crm.changed_since(link.crm_updated_at), CHANGES_LOOKED_AT)
    if all(one.crm_order_id != link.crm_order_id for one in changed):
        words = (
            f"The CRM's list of changes lacks {link.crm_order_id}, changed {link.crm_updated_at:%Y-%m-%d %H:%M} UTC."
        )
        advice = "Without it `reconcile` cannot see changes in the CRM. Ask the CRM's provider about updated_since."
        yield wrong("crm", words, advice)
    else:
        yield good("crm", "The CRM lists its changes.")
    words = f"We do not test Idempotency-Key, because we search before each creation ({_lag(bridge)})."
    yield good("crm", words)


def _lag(bridge: Bridge) -> str:
    return f"CRM_LIST_LAG {bridge.crm_config.list_lag:g} s before a repeat"


OF_A_BRIDGE: dict[str, Callable[[Bridge], Iterator[Finding]]] = {
    "public_url": _public_url,
    "shop": _shop,
    "webhooks": _webhooks,
    "crm": _crm,
}
