"""The shop's client against what FACTS section B says of WooCommerce's REST API."""

import base64
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import responses
from requests.auth import _basic_auth_str

from sync.clients import shop as shop_client
from sync.clients.errors import (
    AuthFailed,
    Blocked,
    Hidden,
    NotConfigured,
    NotFound,
    Odd,
    Rejected,
    ServerTrouble,
    SideError,
)
from sync.clients.http import CallRecord
from sync.clients.shop import Shop
from sync.sandbox.server import HttpError, Request
from sync.sandbox.shop import SandboxShop
from sync.sandbox.shop_auth import KeyCheck

HTTPS, HTTP = "https://shop.example", "http://shop.internal:8080"
ORDERS = "/wp-json/wc/v3/orders"
TOTALS = "/wp-json/wc/v3/reports/orders/totals"
KEYS = ("ck_of_the_shop", "cs_of_the_shop")
ORDER = {"id": 14, "status": "processing", "total": "12.00"}
NO_SUCH = {"code": "woocommerce_rest_shop_order_invalid_id", "message": "Invalid ID.", "data": {"status": 404}}
NO_ROUTE = {"code": "rest_no_route", "message": "No route was found matching the URL.", "data": {"status": 404}}


@pytest.fixture(autouse=True)
def keys(settings: Any) -> None:
    settings.WOO_URL = HTTPS
    settings.WOO_CONSUMER_KEY, settings.WOO_CONSUMER_SECRET = KEYS


@pytest.fixture
def answers() -> Iterator[responses.RequestsMock]:
    with responses.RequestsMock() as mock:
        yield mock


def sent(answers: responses.RequestsMock, index: int = 0) -> Request:
    """A call as the shop's server sees it."""
    request = answers.calls[index].request
    assert request.url is not None
    parts = urlsplit(request.url)
    headers = {name.lower(): str(value) for name, value in request.headers.items()}
    body = request.body or b""
    target = f"{parts.path}?{parts.query}" if parts.query else parts.path
    return Request(str(request.method), target, headers, body.encode() if isinstance(body, str) else bytes(body))


# --- keys ----------------------------------------------------------------------------------------------------------


def test_over_https_the_keys_go_as_basic_and_never_in_the_address(answers: responses.RequestsMock) -> None:
    answers.get(f"{HTTPS}{ORDERS}/14", json=ORDER)
    shop_client.connect().get(14)
    call = sent(answers)
    assert call.headers["authorization"] == _basic_auth_str(*KEYS)
    assert not [name for name in call.query if name.startswith(("oauth", "consumer"))]


@pytest.mark.parametrize("what", ["read", "write", "statuses", "ping"])
def test_over_http_every_call_is_signed_with_oauth_and_shows_no_secret(
    answers: responses.RequestsMock, settings: Any, what: str
) -> None:
    settings.WOO_URL = HTTP
    answers.get(f"{HTTP}{ORDERS}/14", json=ORDER)
    answers.put(f"{HTTP}{ORDERS}/14", json=ORDER)
    answers.options(f"{HTTP}{ORDERS}", json=SCHEMA)
    answers.get(f"{HTTP}{ORDERS}", json=[])
    answers.assert_all_requests_are_fired = False
    shop = shop_client.connect()
    calls = {
        "read": lambda: shop.get(14),
        "write": lambda: shop.set_status(14, "processing"),
        "statuses": shop.statuses,
        "ping": shop.ping,
    }
    calls[what]()
    call = sent(answers)
    KeyCheck(*KEYS).check(call, HTTP)  # raises unless the signature fits
    with pytest.raises(HttpError):
        KeyCheck(KEYS[0], "cs_another_secret").check(call, HTTP)
    assert call.query["oauth_signature_method"] == "HMAC-SHA256"
    assert KEYS[1] not in f"{call.target} {call.headers} {call.body!r}"
    assert "authorization" not in call.headers


@pytest.mark.parametrize("url", [HTTPS, HTTP])
@pytest.mark.parametrize("what", ["read", "write"])
def test_behind_basic_auth_the_header_is_the_servers_and_the_keys_go_in_the_address(
    answers: responses.RequestsMock, settings: Any, url: str, what: str
) -> None:
    settings.WOO_URL, settings.WOO_BASIC_AUTH = url, "staging:pass:wörd"
    answers.add("GET" if what == "read" else "PUT", f"{url}{ORDERS}/14", json=ORDER)
    kept: list[CallRecord] = []
    shop = shop_client.connect(on_call=kept.append)
    shop.get(14) if what == "read" else shop.set_status(14, "processing")
    call = sent(answers)
    assert base64.b64decode(call.headers["authorization"].removeprefix("Basic ")).decode() == "staging:pass:wörd"
    KeyCheck(*KEYS).check(call, url)  # raises unless the keys fit
    assert (KEYS[1] in call.target) is (url == HTTPS)
    assert not [key for key in (*KEYS, "wörd") if key in str(kept)]


@pytest.mark.parametrize("value", ["staging", ":", "staging:", ":password"])
def test_what_is_no_user_and_password_is_told_without_it(settings: Any, value: str) -> None:
    settings.WOO_BASIC_AUTH = value
    with pytest.raises(NotConfigured, match=r"^WOO_BASIC_AUTH is not user:password\. Correct it in \.env\.$"):
        shop_client.connect()


def test_a_write_that_goes_as_post_is_signed_as_post(answers: responses.RequestsMock, settings: Any) -> None:
    """WooCommerce signs the method of the request line, whatever X-HTTP-Method-Override says."""
    settings.WOO_URL = HTTP
    answers.put(f"{HTTP}{ORDERS}/14", status=501)
    answers.post(f"{HTTP}{ORDERS}/14", json=ORDER)
    shop_client.connect().set_status(14, "processing")
    KeyCheck(*KEYS).check(sent(answers, 1), HTTP)


@pytest.mark.parametrize("name", ["WOO_URL", "WOO_CONSUMER_KEY", "WOO_CONSUMER_SECRET"])
def test_a_missing_setting_is_named(settings: Any, name: str) -> None:
    setattr(settings, name, "")
    with pytest.raises(NotConfigured, match=f"{name} is not set"):
        shop_client.connect()


def test_wrong_keys_are_told(answers: responses.RequestsMock) -> None:
    refusal = {"code": "woocommerce_rest_cannot_view", "message": "Sorry, you cannot list resources."}
    answers.get(f"{HTTPS}{ORDERS}", status=401, json=refusal)
    with pytest.raises(AuthFailed, match="woocommerce_rest_cannot_view"):
        shop_client.connect().ping()


def test_an_order_that_the_key_may_not_read_is_no_outage_of_the_shop(answers: responses.RequestsMock) -> None:
    refusal = {"code": "woocommerce_rest_cannot_view", "message": "Sorry, you cannot view this resource."}
    answers.get(f"{HTTPS}{ORDERS}/14", status=403, json=refusal)
    answers.get(f"{HTTPS}{ORDERS}", json=[])
    with pytest.raises(Hidden, match="but not order 14"):
        shop_client.connect().get(14)


def test_an_order_that_the_key_may_not_change_is_no_outage_of_the_shop(answers: responses.RequestsMock) -> None:
    refusal = {"code": "woocommerce_rest_cannot_edit", "message": "Sorry, you are not allowed to edit this resource."}
    answers.put(f"{HTTPS}{ORDERS}/14", status=403, json=refusal)
    answers.get(f"{HTTPS}{ORDERS}", json=[])
    with pytest.raises(Hidden, match=r"but not change order 14\. Give the user of WOO_CONSUMER_KEY the right to"):
        shop_client.connect().set_status(14, "completed")


@pytest.mark.parametrize(
    ("one", "code", "list_"),
    [(403, "woocommerce_rest_cannot_view", 403), (401, "woocommerce_rest_cannot_view", 200), (403, "firewall", 200)],
)
def test_a_key_that_may_read_no_order_is_told_as_such(
    answers: responses.RequestsMock, one: int, code: str, list_: int
) -> None:
    answers.get(f"{HTTPS}{ORDERS}/14", status=one, json={"code": code})
    if list_ == 403:
        answers.get(f"{HTTPS}{ORDERS}", status=403, json={"code": "woocommerce_rest_cannot_view"})
    with pytest.raises(AuthFailed):
        shop_client.connect().get(14)


# --- reading -------------------------------------------------------------------------------------------------------


def test_no_cache_answers_for_the_shop(answers: responses.RequestsMock) -> None:
    answers.get(f"{HTTPS}{ORDERS}/14", json=ORDER)
    shop = shop_client.connect()
    for _ in range(2):
        assert shop.get(14).order == ORDER
    first, second = sent(answers), sent(answers, 1)
    assert first.query["_"] != second.query["_"]
    assert first.headers["cache-control"] == "no-cache"


def test_the_status_is_told_without_its_prefix(answers: responses.RequestsMock) -> None:
    answers.get(f"{HTTPS}{ORDERS}/14", json=ORDER | {"status": "wc-shipped"})
    assert shop_client.connect().get(14).status == "shipped"


READ_ERRORS = [
    (404, NO_SUCH, NotFound),
    (400, NO_SUCH, NotFound),
    (404, NO_ROUTE, Blocked),
    (404, {"error": "woocommerce_rest_shop_order_invalid_id is a word in here"}, Blocked),
    (200, ORDER | {"id": 15}, Odd),
    (200, ORDER | {"id": "14"}, Odd),
    (200, ORDER | {"id": 14.0}, Odd),
    (200, ORDER | {"id": True}, Odd),
    (200, {"id": 14}, Odd),
    (200, ORDER | {"status": None}, Odd),
    (200, [ORDER], Odd),
    (200, None, Blocked),
    (400, {"code": "rest_invalid_param", "message": "Invalid parameter(s): status"}, Rejected),
    (500, {"code": "internal_server_error"}, ServerTrouble),
]


@pytest.mark.parametrize(("status", "body", "error"), READ_ERRORS)
@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_only_the_shops_own_word_means_that_an_order_is_not_there(
    answers: responses.RequestsMock, status: int, body: Any, error: type[SideError], method: str
) -> None:
    answers.add(method, f"{HTTPS}{ORDERS}/14", status=status, json=body)
    shop = shop_client.connect()
    with pytest.raises(SideError) as raised:
        shop.get(14) if method == "GET" else shop.set_status(14, "processing")
    assert type(raised.value) is error
    assert raised.value.side == "shop"


def test_a_wrong_address_says_where_to_look(answers: responses.RequestsMock) -> None:
    answers.get(f"{HTTPS}{ORDERS}/14", status=404, body="<html>Not found")
    answers.get(f"{HTTPS}{ORDERS}", status=404, json=NO_ROUTE)
    answers.options(f"{HTTPS}{ORDERS}", status=404, json=NO_ROUTE)
    answers.get(f"{HTTPS}{TOTALS}", status=404, json=NO_ROUTE)
    shop = shop_client.connect()
    with pytest.raises(Blocked, match="pretty permalinks are off, or WOO_URL is not the shop's address"):
        shop.get(14)
    for call in (shop.ping, shop.statuses):
        with pytest.raises(Blocked, match="See in WordPress that the plugin WooCommerce is active, and that WOO_URL"):
            call()


# --- writing -------------------------------------------------------------------------------------------------------


def test_a_write_holds_the_status_and_nothing_else(answers: responses.RequestsMock) -> None:
    answers.put(f"{HTTPS}{ORDERS}/14", json=ORDER | {"status": "completed"})
    assert shop_client.connect().set_status(14, "completed").status == "completed"
    call = sent(answers)
    assert json.loads(call.body) == {"status": "completed"}
    assert (call.target, call.headers["content-type"]) == (f"{ORDERS}/14", "application/json")


@pytest.mark.parametrize("shown", ["processing", "wc-processing", "trash", ""])
def test_a_200_may_show_another_status_and_the_caller_is_told(answers: responses.RequestsMock, shown: str) -> None:
    answers.put(f"{HTTPS}{ORDERS}/14", json=ORDER | {"status": shown})
    assert shop_client.connect().set_status(14, "completed").status == shown.removeprefix("wc-")


@pytest.mark.parametrize("body", ["<html>Method Not Implemented", '{"code": "x"}', ""])
def test_where_put_is_forbidden_a_post_takes_its_place(answers: responses.RequestsMock, body: str) -> None:
    answers.put(f"{HTTPS}{ORDERS}/14", status=501, body=body)
    answers.post(f"{HTTPS}{ORDERS}/14", json=ORDER | {"status": "completed"})
    assert shop_client.connect().set_status(14, "completed").status == "completed"
    call = sent(answers, 1)
    assert call.headers["x-http-method-override"] == "PUT"
    assert json.loads(call.body) == {"status": "completed"}


@pytest.mark.parametrize("status", [500, 502, 503])
def test_other_trouble_is_not_answered_with_a_second_write(answers: responses.RequestsMock, status: int) -> None:
    answers.put(f"{HTTPS}{ORDERS}/14", status=status, body="501:")
    with pytest.raises(ServerTrouble):
        shop_client.connect().set_status(14, "completed")
    assert len(answers.calls) == 1


# --- statuses and ping ---------------------------------------------------------------------------------------------

SCHEMA = {"schema": {"properties": {"status": {"enum": ["auto-draft", "pending", "wc-shipped", "trash"]}}}}


def test_the_shop_tells_its_own_statuses(answers: responses.RequestsMock) -> None:
    answers.options(f"{HTTPS}{ORDERS}", json=SCHEMA)
    assert shop_client.connect().statuses() == {"auto-draft", "pending", "shipped", "trash"}


@pytest.mark.parametrize(
    "instead",
    [
        {"body": "", "status": 200},
        {"json": {}, "status": 200},
        {"json": {"schema": {"properties": {"status": {"enum": [1]}}}}},
        {"body": "<h1>Forbidden</h1>", "status": 403},
        {"json": {"code": "not_allowed"}, "status": 405},
        {"body": "Not implemented", "status": 501},
    ],
)
def test_where_options_is_not_the_shops_to_answer_a_report_tells(
    answers: responses.RequestsMock, instead: dict[str, Any]
) -> None:
    answers.options(f"{HTTPS}{ORDERS}", **instead)
    answers.get(f"{HTTPS}{TOTALS}", json=[{"slug": "pending", "total": 3}, {"slug": "wc-shipped", "total": 0}])
    assert shop_client.connect().statuses() == {"pending", "shipped"}


@pytest.mark.parametrize("report", [{}, [], None, [1], [{"name": "Pending"}]])
def test_what_tells_no_status_is_blocked(answers: responses.RequestsMock, report: Any) -> None:
    answers.options(f"{HTTPS}{ORDERS}", json={})
    answers.get(f"{HTTPS}{TOTALS}", json=report)
    with pytest.raises(Blocked):
        shop_client.connect().statuses()


def test_a_list_without_its_total_is_a_list_all_the_same(answers: responses.RequestsMock) -> None:
    answers.get(f"{HTTPS}{ORDERS}", json=[ORDER])
    page = shop_client.connect().orders({})
    assert ([order.woo_id for order in page.orders], page.total) == ([14], None)


def test_an_odd_order_of_a_list_is_left_out_and_counted(answers: responses.RequestsMock) -> None:
    odd = {**ORDER, "id": 15, "status": None}
    answers.get(f"{HTTPS}{ORDERS}", json=[odd, ORDER], headers={"X-WP-Total": "2"})
    page = shop_client.connect().orders({})
    assert ([order.woo_id for order in page.orders], page.total) == ([14], 2)


@pytest.mark.parametrize("listed", [[None], [{}], [{"id": 14}, {"id": 15}]])
def test_a_list_of_which_nothing_can_be_read_is_blocked(answers: responses.RequestsMock, listed: list[Any]) -> None:
    answers.get(f"{HTTPS}{ORDERS}", json=listed)
    with pytest.raises(Blocked):
        shop_client.connect().orders({})


def test_the_ping_is_a_small_read_past_every_cache(answers: responses.RequestsMock) -> None:
    answers.get(f"{HTTPS}{ORDERS}", json=[{"id": 14}])
    shop_client.connect().ping()
    query = parse_qs(urlsplit(sent(answers).target).query)
    assert (query["per_page"], query["_fields"], len(query["_"])) == (["1"], ["id"], 1)


@pytest.mark.parametrize("body", [{}, {"status": "maintenance"}, "ok", None])
def test_a_ping_is_content_with_a_list_only(answers: responses.RequestsMock, body: Any) -> None:
    answers.get(f"{HTTPS}{ORDERS}", json=body)
    with pytest.raises(Blocked):
        shop_client.connect().ping()


# --- against the sandbox, over HTTP --------------------------------------------------------------------------------


@pytest.fixture
def sandbox(settings: Any) -> Iterator[SandboxShop]:
    one = SandboxShop(consumer_key=KEYS[0], consumer_secret=KEYS[1])
    one.start()
    settings.WOO_URL = one.url
    yield one
    one.stop()


@pytest.fixture
def shop(sandbox: SandboxShop) -> Shop:
    return shop_client.connect()


def test_an_order_is_read_and_its_status_set(sandbox: SandboxShop, shop: Shop) -> None:
    woo_id = sandbox.create_order(status="pending")["id"]
    shop.ping()
    assert shop.get(woo_id).status == "pending"
    assert shop.set_status(woo_id, "processing").status == "processing"
    assert sandbox.orders[woo_id]["status"] == "processing"
    assert {"pending", "completed", "on-hold"} <= shop.statuses()


def test_an_order_that_is_gone_is_not_found_by_reads_and_writes(sandbox: SandboxShop, shop: Shop) -> None:
    for call in (lambda: shop.get(999), lambda: shop.set_status(999, "completed")):
        with pytest.raises(NotFound):
            call()


def test_a_status_that_the_shop_does_not_know_is_rejected(sandbox: SandboxShop, shop: Shop) -> None:
    woo_id = sandbox.create_order()["id"]
    with pytest.raises(Rejected, match="rest_invalid_param"):
        shop.set_status(woo_id, "nonsense")


def test_a_post_in_the_place_of_a_put_is_taken_by_the_shop(sandbox: SandboxShop, shop: Shop) -> None:
    woo_id = sandbox.create_order(status="pending")["id"]
    override = {"X-HTTP-Method-Override": "PUT"}
    answer = shop.client.request("POST", f"{ORDERS}/{woo_id}", json={"status": "completed"}, headers=override)
    assert answer.data["status"] == sandbox.orders[woo_id]["status"] == "completed"


def test_a_webhook_that_was_only_just_made_has_no_date_of_a_change(answers: responses.RequestsMock) -> None:
    """As WooCommerce's answer to the creation, and of one whose ping failed."""
    hook = {"id": 7, "topic": "order.created", "status": "active", "delivery_url": "https://bridge.example/"}
    hook |= {"date_created_gmt": "2026-11-24T03:12:09", "date_modified_gmt": None}
    answers.post(f"{HTTPS}/wp-json/wc/v3/webhooks", status=201, json=hook)
    made = shop_client.connect().create_webhook(
        name="n", topic="order.created", url="https://bridge.example/", secret="s"
    )
    assert (made.number, made.touched_at) == (7, None)


# --- many at once --------------------------------------------------------------------------------------------------


def test_orders_are_read_by_one_call_as_woocommerce_wants_it(answers: responses.RequestsMock) -> None:
    answers.get(f"{HTTPS}{ORDERS}", json=[ORDER | {"id": 15}, ORDER])
    assert {woo_id: one.woo_id for woo_id, one in shop_client.connect().get_many([14, 15, 14, 16]).items()} == {
        14: 14,
        15: 15,
    }
    query = sent(answers).query
    assert query.pop("_")
    assert query == {
        "include": "14,15,16",
        "per_page": "3",
        "status": "any",
        "orderby": "include",
        "dates_are_gmt": "true",
    }
    assert shop_client.connect().get_many([]) == {}
    assert len(answers.calls) == 1


@pytest.mark.parametrize(
    ("listed", "found"),
    [
        ([], set()),
        ([{"id": 14}, {"id": 15, "status": "processing"}], {15}),
        ([{"id": 14, "status": None}], set()),
        ([{"id": "14", "status": "processing"}, {"id": 15, "status": "processing"}], {15}),
        ([{"id": 99, "status": "processing"}, {"id": 15, "status": "processing"}], {15}),
    ],
)
def test_what_the_list_does_not_show_well_is_absent(
    answers: responses.RequestsMock, listed: list[Any], found: set[int]
) -> None:
    answers.get(f"{HTTPS}{ORDERS}", json=listed)
    assert shop_client.connect().get_many([14, 15]).keys() == found


def test_what_no_list_shows_is_absent_and_read_singly(sandbox: SandboxShop, shop: Shop) -> None:
    """The trash, a status whose plugin is gone, a draft, one that the key may not read, one that is gone for good."""
    normal, trashed, orphaned, draft, hidden, gone = (sandbox.create_order()["id"] for _ in range(6))
    sandbox.trash(trashed)
    sandbox.orders[orphaned]["status"] = "in-limbo"
    sandbox.orders[draft]["status"] = "checkout-draft"
    sandbox.hidden.add(hidden)
    sandbox.delete(gone)
    assert shop.get_many([normal, trashed, orphaned, draft, hidden, gone]).keys() == {normal}
    assert len(sandbox.requests) == 1
    assert [shop.get(one).status for one in (trashed, orphaned, draft)] == ["trash", "in-limbo", "checkout-draft"]


def test_a_hundred_are_one_page_and_more_are_further_ones(sandbox: SandboxShop, shop: Shop) -> None:
    ids = [sandbox.create_order()["id"] for _ in range(230)]
    assert shop.get_many(ids[:100]).keys() == {*ids[:100]}
    assert len(sandbox.requests) == 1
    assert shop.get_many(ids) == {woo_id: shop.get(woo_id) for woo_id in ids}
    assert len(sandbox.requests) == 1 + 3 + 230


def test_a_page_of_many_that_is_too_heavy_is_asked_for_in_parts(sandbox: SandboxShop, shop: Shop) -> None:
    ids = [sandbox.create_order()["id"] for _ in range(100)]
    sandbox.faults.add("502", times=1)
    assert shop.get_many(ids).keys() == {*ids}
    assert [call.query["per_page"] for call in sandbox.requests] == ["100", "1", "50", "50"]


def test_a_shop_that_is_down_is_told_and_not_asked_in_parts(sandbox: SandboxShop, shop: Shop) -> None:
    ids = [sandbox.create_order()["id"] for _ in range(10)]
    sandbox.faults.add("500")
    with pytest.raises(ServerTrouble):
        shop.get_many(ids)
    assert len(sandbox.requests) == 2
