"""The shop's REST API: read orders, set a status, keep our webhooks, and nothing else is ever written."""

import base64
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from http import HTTPStatus
from operator import attrgetter
from typing import Any

from requests import PreparedRequest
from requests.auth import AuthBase, HTTPBasicAuth
from requests_oauthlib import OAuth1

from sync.clients import causes, installation
from sync.clients import crm as crm_backends
from sync.clients.errors import (
    AuthFailed,
    Blocked,
    Hidden,
    NotConfigured,
    NotFound,
    Odd,
    Rejected,
    ServerTrouble,
    Unreadable,
)
from sync.clients.http import Answer, CallRecord, JsonClient, ignore, nothing, readable
from sync.clients.paging import OF_A_PAGE, alone, batches, pages
from sync.clients.snapshots import AS_IT_IS, CRM_ORDER_META, LARGEST_INTEGER, Composer, ShopSnapshot, is_word
from webhooks.configs import SHOP, ShopConfig
from webhooks.credentials import hide
from webhooks.moments import utc
from webhooks.texts import is_number

ORDERS = "/wp-json/wc/v3/orders"
TOTALS = "/wp-json/wc/v3/reports/orders/totals"
WEBHOOKS = "/wp-json/wc/v3/webhooks"
MOST_HOOK_PAGES = 100
NO_WOOCOMMERCE = (
    "WordPress answers, and knows no such address of WooCommerce",
    "See in WordPress that the plugin WooCommerce is active, and that WOO_URL is the shop's.",
)
NEEDED = ("url", "consumer_key", "consumer_secret")
UNUSED_ID = 2**53 - 1
NO_SUCH_ORDER = "woocommerce_rest_shop_order_invalid_id"
NOT_ALLOWED = "woocommerce_rest_cannot_"
NOT_TO_BE_CHANGED = "woocommerce_rest_cannot_edit"


@dataclass(frozen=True, kw_only=True)
class OrderPage:
    orders: list[ShopSnapshot]
    total: int | None
    "On all pages together; None where something on the way has taken the header."
    pages: int | None = None
    "How many pages of this size there are, by the shop's own count: one that ignores `per_page` has more."
    odd: tuple[tuple[str, str], ...] = ()
    "The ids of those that are no orders as they should be, and why."


@dataclass(frozen=True, kw_only=True)
class Hook:
    """A webhook of the shop. `touched_at`, by the shop's clock: its last delivery, good or bad, or its last edit.

    None of a new one: WooCommerce's data store gives it no date of a change, and its REST answer is then null.
    """

    number: int
    topic: str
    status: str
    url: str
    created_at: datetime | None
    touched_at: datetime | None


class Shop:
    """WooCommerce's REST API v3, as far as we need it. Raises the errors of `sync.clients.errors`."""

    def __init__(self, client: JsonClient, composer: Composer = AS_IT_IS) -> None:
        """`composer`: of the CRM that is told of this shop's orders."""
        self.client = client
        self.composer = composer

    def get(self, woo_id: int) -> ShopSnapshot:
        """The order as it is now: a nonce keeps page caches from answering for the shop (FACTS B7)."""
        with self._of_this_order(woo_id):
            answer = self._order("GET", woo_id, params=_nonce(), headers={"Cache-Control": "no-cache"})
        return self._snapshot(answer, woo_id)

    def _snapshot(self, data: Any, woo_id: int | None = None) -> ShopSnapshot:
        return replace(_snapshot(data, woo_id), composer=self.composer)

    def set_status(self, woo_id: int, status: str, crm_order_id: str = "") -> ShopSnapshot:
        """PUT the status, beside it the CRM's id if it is told, and only that. A 200 does not prove the write: the
        answer may show any status (FACTS B2)."""
        return self._change(woo_id, {"status": status, **(_names(crm_order_id) if crm_order_id else {})})

    def set_crm_order_id(self, woo_id: int, crm_order_id: str) -> ShopSnapshot:
        """The CRM's id alone. WooCommerce knows a field of ours by its key, so that there is never a second one."""
        return self._change(woo_id, _names(crm_order_id))

    def _change(self, woo_id: int, body: Mapping[str, Any]) -> ShopSnapshot:
        with self._of_this_order(woo_id):
            try:
                answer = self._order("PUT", woo_id, json=body)
            except ServerTrouble as error:
                if error.status != 501:
                    raise
                # mod_security forbids PUT on some hosts (FACTS B7)
                answer = self._order("POST", woo_id, json=body, headers={"X-HTTP-Method-Override": "PUT"})
        return self._snapshot(answer, woo_id)

    @contextmanager
    def _of_this_order(self, woo_id: int) -> Iterator[None]:
        """A right that the key lacks for one order says nothing about the shop."""
        try:
            yield
        except NotFound as error:
            raise NotFound(
                f"The shop has no order {woo_id} ({error.code}).",
                advice="It was deleted, or this is the number of a refund, a subscription or something else.",
                side="shop",
                status=error.status,
                code=error.code,
            ) from error
        except AuthFailed as error:
            if error.status != HTTPStatus.FORBIDDEN or not error.code.startswith(NOT_ALLOWED):
                raise  # that may be a firewall
            self.ping()  # raises where the key may read no order at all
            action = "change " if error.code == NOT_TO_BE_CHANGED else ""
            raise Hidden(
                f"The shop's key may read orders, but not {action}order {woo_id}.",
                advice=f"Give the user of WOO_CONSUMER_KEY the right to. ({error})",
                side="shop",
                status=error.status,
                code=error.code,
            ) from error

    def orders(self, query: Mapping[str, str]) -> OrderPage:
        """One page of the list. Dates in the query are UTC without a `Z`; filters are strictly after and before."""
        params = {"dates_are_gmt": "true", **query, **_nonce()}
        answer = self._call("GET", ORDERS, params=params, headers={"Cache-Control": "no-cache"})
        if not isinstance(answer.data, list):
            raise Blocked("The shop's answer is not a list of orders.", side="shop", status=answer.status)
        odd: list[tuple[str, str]] = []
        orders = readable(answer.data, self._snapshot, side="shop", left_out=odd)
        total, number = _count(answer, "X-WP-Total"), _count(answer, "X-WP-TotalPages")
        return OrderPage(orders=orders, total=total, pages=number, odd=tuple(odd))

    def of_ids(self, ids: Sequence[int], query: Mapping[str, str]) -> tuple[list[ShopSnapshot], dict[int, str]]:
        """What the list shows of up to a hundred orders; and those that fail, with the reason. One that is not shown
        may be there all the same, with a status that no list knows."""
        if not ids:
            return [], {}

        def read() -> list[ShopSnapshot]:
            return self.orders({"include": ",".join(map(str, ids)), "per_page": str(len(ids)), **query}).orders

        if len(ids) == 1:
            try:
                return alone(read, self.ping), {}
            except Unreadable as error:
                return [], {ids[0]: str(error)}
        try:
            return read(), {}
        except OF_A_PAGE:
            self.ping()  # in halves only if it is not the shop itself
        middle = len(ids) // 2
        some, failed = self.of_ids(ids[:middle], query)
        more, too = self.of_ids(ids[middle:], query)
        return some + more, failed | too

    def get_many(self, woo_ids: Sequence[int]) -> dict[int, ShopSnapshot]:
        """Those of these orders that the list shows, mostly by one call. An absent one is to be read singly before
        anything is concluded: lists show neither the trash nor statuses whose plugin is gone (FACTS B6)."""

        def fetch(ids: Sequence[int]) -> list[ShopSnapshot]:
            query = {"status": "any", "orderby": "include", "per_page": str(len(ids))}
            return self.orders({**query, "include": ",".join(map(str, ids))}).orders

        asked = list(dict.fromkeys(woo_ids))
        shown = batches.of(self.client.base_url, ORDERS).read(asked, fetch, self.ping)
        return {order.woo_id: order for order in shown if order.woo_id in asked}

    def statuses(self) -> frozenset[str]:
        """The statuses that this shop knows, those of its plugins included.

        A firewall or a plugin for CORS may answer OPTIONS in the shop's place: then a report tells them (FACTS B3).
        """
        try:
            return _statuses_of_schema(self._call("OPTIONS", ORDERS).data)
        except (AuthFailed, Blocked, Rejected, ServerTrouble):
            return _statuses_of_report(self._call("GET", TOTALS, params=_nonce()).data)

    def prove_write(self) -> None:
        """Raises AuthFailed where the key may only read. No order has this number, so nothing is written."""
        with suppress(NotFound):
            self._order("PUT", UNUSED_ID, json={})

    def addresses(self) -> list[str]:
        """How the shop calls itself: WordPress's own address, and that of the site, which may be another."""
        site = self._call("GET", "/wp-json/", params={"_fields": "url,home", **_nonce()}).data
        named = [site.get(name) for name in ("url", "home")] if isinstance(site, dict) else []
        return [url for url in named if isinstance(url, str)]

    def time_zone(self) -> str:
        """Its name, or its distance from UTC where the shop has not chosen a place."""
        site = self._call("GET", "/wp-json/").data
        if not isinstance(site, dict):
            raise Blocked("The shop's answer is not WordPress's. Is WOO_URL right?", side="shop")
        return str(site.get("timezone_string") or f"{site.get('gmt_offset') or 0} hours from UTC")

    def webhooks(self) -> list[Hook]:
        """All of them, other people's as well. Secrets and failure counts are not shown (FACTS A7)."""
        listed = pages(self._hooks, 1, side="shop", what="webhooks", name=attrgetter("number"), most=MOST_HOOK_PAGES)
        return [hook for page in listed for hook in page]

    def _hooks(self, page: int) -> tuple[list[Hook], int | None]:
        params = {"status": "all", "per_page": "100", "page": str(page), "orderby": "id", "order": "asc", **_nonce()}
        answer = self._call("GET", WEBHOOKS, params=params)
        if not isinstance(answer.data, list):
            raise Blocked("The shop's answer is not a list of webhooks.", side="shop")
        more = len(answer.data) >= 100 or page < (_count(answer, "X-WP-TotalPages") or 0)
        return [_hook(one) for one in answer.data], page + 1 if more else None

    def create_webhook(self, *, name: str, topic: str, url: str, secret: str) -> Hook:
        """It is active at once; the shop pings the address before it answers, and creates it whatever comes back."""
        wanted = {"name": name, "topic": topic, "delivery_url": url, "secret": secret}
        return _hook(self._call("POST", WEBHOOKS, json=wanted).data)

    def set_webhook_secret(self, number: int, secret: str) -> None:
        """From its next delivery on it signs with this one."""
        self._call("PUT", f"{WEBHOOKS}/{number}", json={"secret": secret})

    def delete_webhook(self, number: int) -> None:
        self._call("DELETE", f"{WEBHOOKS}/{number}", params={"force": "true"})

    def ping(self) -> None:
        orders = self._call("GET", ORDERS, params={"per_page": "1", "_fields": "id", **_nonce()}).data
        if not isinstance(orders, list):
            raise Blocked("The shop's answer is not a list of orders. Is WOO_URL right?", side="shop")

    def _order(self, method: str, woo_id: int, **request: Any) -> Any:
        return self._call(method, f"{ORDERS}/{woo_id}", **request).data

    def _call(self, method: str, path: str, **request: Any) -> Answer:
        """Every call to the shop: only its own word for it means that an order is not there."""
        try:
            return self.client.request(method, path, **request)
        except (NotFound, Rejected) as error:
            if error.code == NO_SUCH_ORDER:  # a PUT on a missing order is a 400
                raise NotFound(str(error), side="shop", status=error.status, code=error.code) from error
            if isinstance(error, Rejected):
                raise
            # Any other 404 is about the address; an order must not be taken for gone because of it.
            words, advice = NO_WOOCOMMERCE if error.code else causes.PERMALINKS
            words = f"{error.message}: {words}."
            raise Blocked(words, advice=advice, side="shop", status=error.status, code=error.code) from error


def connect(on_call: Callable[[CallRecord], None] = ignore, before_call: Callable[[], None] = nothing) -> Shop:
    """The shop of the environment."""
    return connect_to(ShopConfig.of_environment(SHOP), on_call, before_call, crm_backends.composer())


def connect_to(
    config: ShopConfig,
    on_call: Callable[[CallRecord], None] = ignore,
    before_call: Callable[[], None] = nothing,
    composer: Composer = AS_IT_IS,
) -> Shop:
    """Basic over https; OAuth 1.0a over http, where Basic would show the keys. If a server in front of the shop wants
    Basic auth, that header is taken, and over https the keys go in the address."""
    installation.ensure_ours("shop")
    for name in NEEDED:
        if not getattr(config, name):
            raise NotConfigured(_missing(config, name), side="shop")
    key, secret = config.consumer_key, config.consumer_secret
    hide((key, secret, f"{key}:{secret}", config.basic_auth, *config.webhook_secrets))
    auth: AuthBase = HTTPBasicAuth(key, secret)
    if not config.url.startswith("https://"):
        auth = OAuth1(key, secret, signature_method="HMAC-SHA256", signature_type="query")
    elif config.basic_auth:
        auth = _InQuery(key, secret)
    if config.basic_auth:
        auth = _Behind(*basic_auth(config), auth)
    public = config.public_only
    client = JsonClient(
        "shop",
        config.url,
        auth=auth,
        on_call=on_call,
        before_call=before_call,
        public_only=public,
        is_let_in=bool(config.basic_auth),
    )
    return Shop(client, composer)


def _missing(config: ShopConfig, name: str) -> str:
    if config.slug == SHOP:
        return f"WOO_{name.upper()} is not set. Put it into .env."
    return f"The connection {config.slug} has no {name.replace('_', ' ')}. Enter it on the connection's page."


def basic_auth(config: ShopConfig) -> tuple[str, str]:
    """User and password for a server in front of the shop. Raises NotConfigured."""
    user, colon, password = config.basic_auth.partition(":")
    if not (user and colon and password):
        raise NotConfigured("WOO_BASIC_AUTH is not user:password.", advice="Correct it in .env.", side="shop")
    return user, password


class _InQuery(AuthBase):
    """WooCommerce's keys in the address, where it looks first."""

    def __init__(self, key: str, secret: str) -> None:
        self.keys = {"consumer_key": key, "consumer_secret": secret}

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        request.prepare_url(request.url, self.keys)
        return request


class _Behind(AuthBase):
    """The header belongs to the server in front of the shop; the shop's own keys go in the address."""

    def __init__(self, user: str, password: str, shop: AuthBase) -> None:
        self.basic = base64.b64encode(f"{user}:{password}".encode()).decode()
        self.shop = shop

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        signed: PreparedRequest = self.shop(request)
        signed.headers["Authorization"] = f"Basic {self.basic}"
        return signed


def _count(answer: Answer, header: str) -> int | None:
    text = answer.headers.get(header, "")
    return int(text) if is_number(text) else None


def _names(crm_order_id: str) -> dict[str, Any]:
    return {"meta_data": [{"key": CRM_ORDER_META, "value": crm_order_id}]}


def _nonce() -> dict[str, str]:
    return {"_": secrets.token_hex(8)}


def _snapshot(data: Any, woo_id: int | None = None) -> ShopSnapshot:
    """`woo_id`: the order that was asked for; None: whichever stands in a list."""
    is_order = isinstance(data, dict) and type(data.get("id")) is int and isinstance(data.get("status"), str)
    if not is_order or woo_id not in (None, data["id"]):
        raise Odd(
            f"The shop's answer is not {f'order {woo_id}' if woo_id else 'an order'}.",
            advice=_not_one(data),
            side="shop",
        )
    status, modified = data["status"].removeprefix("wc-"), data.get("date_modified_gmt")
    is_good = {
        "id": data["id"] <= LARGEST_INTEGER,
        "status": is_word(status),
        "date_modified_gmt": not isinstance(modified, str) or is_word(modified),
    }
    if wrong := ", ".join(name for name in is_good if not is_good[name]):
        words = f"The shop's order {str(data['id'])[:20]} has no good {wrong}: it is too long, or has odd characters."
        raise Odd(words, advice="Correct it in the shop, then replay.", side="shop")
    return ShopSnapshot(woo_id=data["id"], status=status, order=data)


def _not_one(data: Any) -> str:
    """What it is instead."""
    if isinstance(data, dict) and isinstance(data.get("order"), dict):
        return "It has the form of the legacy API: set WOO_URL to the shop's address alone."
    return ""


def _statuses_of_schema(schema: Any) -> frozenset[str]:
    try:
        return frozenset(one.removeprefix("wc-") for one in schema["schema"]["properties"]["status"]["enum"])
    except (KeyError, TypeError, AttributeError) as error:
        raise Blocked("The shop's answer is not the schema of its orders.", side="shop") from error


def _statuses_of_report(report: Any) -> frozenset[str]:
    try:
        known = frozenset(one["slug"].removeprefix("wc-") for one in report)
    except (KeyError, TypeError, AttributeError) as error:
        raise Blocked("The shop's answer is not the report of its orders.", side="shop") from error
    if not known:
        raise Blocked("The shop names no status of orders.", side="shop")
    return known


def _hook(data: Any) -> Hook:
    try:
        return Hook(
            number=int(data["id"]),
            topic=str(data["topic"]),
            status=str(data["status"]),
            url=str(data["delivery_url"]),
            created_at=_moment(data["date_created_gmt"]),
            touched_at=_moment(data["date_modified_gmt"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise Blocked("The shop's answer is not a webhook.", side="shop") from error


def _moment(text: str | None) -> datetime | None:
    return None if text is None else utc(text)
