"""What a person reads when a side gives no good answer: the cause, the setting, what to do; no library's own words."""

import json
import re
import socket
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import responses
import trustme

from sync.clients import crm, http
from sync.clients import shop as shop_client
from sync.clients.errors import SideError
from sync.monitoring import doctor
from tests.servers import free_port
from tests.sync.test_http import GOOD, HOLDS, NO_ANSWER, Peer, Script, over_tls, says, speaks_plainly
from webhooks.masking import masked_text

SHOP, INSIDE = "https://shop.example", "http://shop.internal"
ORDERS = "/wp-json/wc/v3/orders"
LIBRARY = re.compile(
    r"HTTPS?Connection|Errno|object at 0x|urllib3|Max retries|Caused by|Error\(|_ssl|Exception|\(\"|\('"
)
"""How Python and its libraries write errors."""


@pytest.fixture(autouse=True)
def keys(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.WOO_URL, settings.CRM_URL = SHOP, "https://crm.example/api"
    settings.WOO_CONSUMER_KEY, settings.WOO_CONSUMER_SECRET, settings.CRM_TOKEN = "ck_1", "cs_1", "token"
    settings.HTTP_TIMEOUT = 0.1
    monkeypatch.setattr(http, "CONNECT_SECONDS", 0.2)


@pytest.fixture
def answers() -> Iterator[responses.RequestsMock]:
    with responses.RequestsMock() as mock:
        yield mock


def told(side: str) -> str:
    """The one line for a call to that side."""
    with pytest.raises(SideError) as raised:
        (shop_client if side == "shop" else crm).connect().ping()
    words = str(raised.value)
    assert not LIBRARY.search(words) and "\n" not in words and "<" not in words
    ours = re.sub("«[^»]*»", "", words)  # what the side said is for those who may reveal it
    assert masked_text(ours) == ours
    assert "WOO_" in words or "CRM_" in words or "HTTP_TIMEOUT" in words or raised.value.advice
    return words


# --- answers of the shop -------------------------------------------------------------------------------------------

NOTICE = b"<br />\n<b>Notice</b>:  Undefined array key [0] in <b>/var/www/x.php</b> on line <b>12</b><br />\n"
CANNOT_LIST = {"code": "woocommerce_rest_cannot_view", "message": "Sorry, you cannot list resources."}
BASIC = {"WWW-Authenticate": 'Basic realm="Staging"'}


def refused(message: str) -> dict[str, Any]:
    return {"code": "woocommerce_rest_authentication_error", "message": message, "data": {"status": 401}}


@pytest.mark.parametrize(
    ("url", "status", "headers", "body", "words"),
    [
        (
            SHOP,
            301,
            {"Location": f"{SHOP}{ORDERS}/?per_page=1"},
            "",
            ["permalinks are off", "but Plain under Settings"],
        ),
        (SHOP, 301, {"Location": f"{SHOP}/"}, "", ["permalinks are off"]),
        (SHOP, 302, {"Location": "/"}, "", ["permalinks are off"]),
        (SHOP, 404, {}, "<html>Page not found", ["permalinks are off", "WOO_URL"]),
        (SHOP, 404, {}, {"code": "rest_no_route", "message": "No route"}, ["plugin WooCommerce is active"]),
        (
            INSIDE,
            301,
            {"Location": f"https://shop.internal{ORDERS}?x=1"},
            "",
            ["own address is https://shop.internal."],
        ),
        (
            SHOP,
            301,
            {"Location": f"https://www.shop.example{ORDERS}"},
            "",
            ["is https://www.shop.example. Set WOO_URL"],
        ),
        (SHOP, 301, {"Location": f"https://shop.example/en{ORDERS}/"}, "", ["is https://shop.example/en. Set WOO_URL"]),
        (SHOP, 302, {"Location": f"{SHOP}/wp-login.php?to=x"}, "", ["asks to sign in", "WOO_BASIC_AUTH"]),
        (SHOP, 302, {"Location": "https://other.example/"}, "", ["https://other.example/", "WOO_URL"]),
        (
            INSIDE,
            401,
            {},
            refused("Invalid signature - provided signature does not match."),
            ["WordPress's own address"],
        ),
        (INSIDE, 401, {}, refused("Ungültige Unterschrift"), ["WOO_URL must be exactly WordPress's own", "Read/Write"]),
        (INSIDE, 401, {}, refused("Invalid timestamp."), ["15 minutes apart", "NTP"]),
        (SHOP, 401, {}, refused("The API key provided does not have write permissions."), ["only read", "Read/Write"]),
        (SHOP, 401, {}, refused("Consumer secret is invalid."), ["WOO_CONSUMER_SECRET"]),
        (SHOP, 401, {}, CANNOT_LIST, ["did not read the key", "X-Forwarded-Proto", "Authorization"]),
        (INSIDE, 401, {}, CANNOT_LIST, ["takes this call for https", "WOO_URL"]),
        (SHOP, 403, {}, CANNOT_LIST, ["WOO_CONSUMER_KEY", "permissions"]),
        (SHOP, 401, BASIC, "<html>401 Authorization Required", ["Basic auth", "WOO_BASIC_AUTH"]),
        (SHOP, 401, BASIC, "", ["Basic auth", "WOO_BASIC_AUTH"]),
        (SHOP, 403, BASIC, "<html>Forbidden", ["Basic auth", "WOO_BASIC_AUTH"]),
        (SHOP, 200, {}, NOTICE + b'[{"id": 1}]', ["notice of PHP", "display_errors", "WP_DEBUG_DISPLAY"]),
        (SHOP, 200, {}, NOTICE + b"[]", ["notice of PHP"]),
        (SHOP, 200, {}, b"[]\n" + NOTICE, ["notice of PHP"]),
        (SHOP, 200, {}, b"", ["an empty answer", "PHP error log"]),
        (SHOP, 200, {}, b" \r\n", ["an empty answer"]),
        (SHOP, 200, {}, b'<?xml version="1.0"?><orders/>', ["XML", "WOO_URL"]),
        (SHOP, 200, {}, b'[{"id": 1', ["breaks off"]),
        (SHOP, 200, {}, b"<title>Robot?</title><script>var x = {'a': 1}</script>", ["a page instead", "captcha"]),
        (SHOP, 200, {}, b'<html><script>go({"a": 1})</script></html>', ["a page instead", "captcha"]),
        (
            INSIDE,
            400,
            {},
            "<title>400 The plain HTTP request was sent to HTTPS port",
            ["HTTPS port", "correct WOO_URL"],
        ),
        (SHOP, 406, {}, "<h1>Not Acceptable</h1>", ["a page instead", "firewall"]),
        (SHOP, 403, {}, "<h1>Forbidden</h1>", ["a page instead", "firewall", "«Forbidden»"]),
        (SHOP, 503, {"Retry-After": "600"}, "<h1>Briefly unavailable", ["maintenance mode (an update is running)"]),
    ],
)
def test_an_answer_of_the_shop_says_what_to_do(
    answers: responses.RequestsMock,
    settings: Any,
    url: str,
    status: int,
    headers: dict[str, str],
    body: Any,
    words: list[str],
) -> None:
    settings.WOO_URL = url
    content = json.dumps(body) if isinstance(body, dict) else body
    answers.get(f"{url}{ORDERS}", status=status, headers=headers, body=content)
    found = told("shop")
    assert not [one for one in words if one not in found], found


def test_basic_auth_that_is_set_and_wrong_is_told_as_such(answers: responses.RequestsMock, settings: Any) -> None:
    settings.WOO_BASIC_AUTH = "staging:password"
    answers.get(f"{SHOP}{ORDERS}", status=401, headers=BASIC, body="<html>")
    assert "does not accept WOO_BASIC_AUTH" in told("shop")


@pytest.mark.parametrize(
    ("status", "headers", "body", "words"),
    [
        (301, {"Location": "https://crm.example/v2/orders"}, "", "own address is https://crm.example/v2. Set CRM_URL"),
        (302, {"Location": "/login"}, "", "asks to sign in"),
        (401, {}, {"error": "unauthorized"}, "CRM_TOKEN"),
        (401, BASIC, "<html>", "asks for user and password"),
        (404, {}, "<html>", "CRM_URL"),
        (200, {}, b"Warning: foreach()\n{}", "printed before or after the JSON"),
        (200, {}, b"", "an empty answer"),
        (200, {}, b"<html>Sign in", "CRM_URL"),
    ],
)
def test_an_answer_of_the_crm_says_what_to_do(
    answers: responses.RequestsMock, status: int, headers: dict[str, str], body: Any, words: str
) -> None:
    content = json.dumps(body) if isinstance(body, dict) else body
    answers.get("https://crm.example/api/orders", status=status, headers=headers, body=content)
    assert words in told("crm")


@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_a_number_that_is_no_orders_is_told(answers: responses.RequestsMock, method: str) -> None:
    """WooCommerce shows refunds and subscriptions under no address of orders."""
    nothing = {"code": "woocommerce_rest_shop_order_invalid_id", "message": "Invalid ID."}
    answers.add(method, f"{SHOP}{ORDERS}/45", status=404 if method == "GET" else 400, json=nothing)
    shop = shop_client.connect()
    with pytest.raises(SideError, match=r"The shop has no order 45 .* the number of a refund, a subscription or"):
        shop.get(45) if method == "GET" else shop.set_status(45, "completed")


def test_an_answer_of_the_legacy_api_is_told(answers: responses.RequestsMock) -> None:
    answers.get(f"{SHOP}{ORDERS}/14", json={"order": {"id": 14, "status": "processing"}})
    with pytest.raises(SideError, match="legacy API: set WOO_URL"):
        shop_client.connect().get(14)


# --- no answer -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", ["shop", "crm"])
@pytest.mark.parametrize("script", [*NO_ANSWER.values(), *HOLDS.values()], ids=[*NO_ANSWER, *HOLDS])
def test_no_whole_answer_is_told_without_a_librarys_words(settings: Any, script: Script, side: str) -> None:
    with Peer(script) as peer:
        settings.WOO_URL = settings.CRM_URL = f"http://{peer.address}"
        words = told(side)
    assert "the connection failed" not in words  # each has a cause of its own


@pytest.mark.parametrize(("side", "setting"), [("shop", "WOO_URL"), ("crm", "CRM_URL")])
def test_a_refused_connection_names_the_setting(settings: Any, side: str, setting: str) -> None:
    address = f"127.0.0.1:{free_port()}"
    settings.WOO_URL = settings.CRM_URL = f"http://{address}"
    assert told(side) == (
        f"The {side} cannot be reached: {address} refuses the connection. "
        f"Start what should listen there, or correct {setting}."
    )


def fails(error: Exception) -> Callable[..., Any]:
    def failing(*args: Any, **options: Any) -> Any:
        raise error

    return failing


@pytest.mark.parametrize(
    ("step", "error", "words"),
    [
        (
            "getaddrinfo",
            socket.gaierror(socket.EAI_NONAME, "Name or service not known"),
            "there is no host crm.example",
        ),
        ("getaddrinfo", socket.gaierror(socket.EAI_AGAIN, "Temporary failure"), "DNS of this machine"),
        ("connect", TimeoutError("timed out"), "does not answer. Let this machine through the firewall"),
        ("connect", OSError(101, "Network is unreachable"), "no way leads to"),
        ("connect", OSError(113, "No route to host"), "no way leads to"),
    ],
)
def test_where_no_connection_comes_about(
    monkeypatch: pytest.MonkeyPatch, settings: Any, step: str, error: Exception, words: str
) -> None:
    settings.CRM_URL = "http://crm.example" if step == "getaddrinfo" else "http://127.0.0.1:9"
    monkeypatch.setattr(socket if step == "getaddrinfo" else socket.socket, step, fails(error))
    assert words in told("crm")


# --- certificates --------------------------------------------------------------------------------------------------

CA = trustme.CA()
NOW = datetime.now(UTC)


@pytest.mark.parametrize(
    ("certificate", "trusted", "words"),
    [
        (CA.issue_cert("127.0.0.1"), False, "signed by nobody whom we trust. Of a private CA, set CA_BUNDLE"),
        (CA.issue_cert("other.example"), True, "is for another name. Set WOO_URL to that name"),
        (CA.issue_cert("127.0.0.1", not_after=NOW - timedelta(days=1)), True, "has expired. Have it renewed"),
        (CA.issue_cert("127.0.0.1", not_before=NOW + timedelta(days=1)), True, "is not valid yet"),
    ],
)
def test_a_certificate_that_is_not_accepted(
    settings: Any, tmp_path: Path, certificate: trustme.LeafCert, trusted: bool, words: str
) -> None:
    settings.HTTP_TIMEOUT = 5.0
    if trusted:
        CA.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
        settings.CA_BUNDLE = str(tmp_path / "ca.pem")
    with Peer(over_tls(certificate, says(GOOD))) as peer:
        settings.WOO_URL = f"https://{peer.address}"
        assert words in told("shop")


def test_no_tls_where_it_is_due(settings: Any) -> None:
    with Peer(speaks_plainly) as peer:
        settings.WOO_URL = f"https://{peer.address}"
        assert "does not answer with TLS. See that WOO_URL names the port of https" in told("shop")


@pytest.mark.django_db
def test_the_doctor_says_the_same_and_no_more(settings: Any) -> None:
    settings.WOO_URL = f"http://127.0.0.1:{free_port()}"
    [finding] = doctor.examine("shop")
    assert "refuses the connection" in finding.words
    assert finding.advice == "Start what should listen there, or correct WOO_URL."
