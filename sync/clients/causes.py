"""Why a side gave no good answer, and what to do about it, in one line that names the setting.

By the classes and fields of errors and answers: a library's own words are for those who wrote it, and name no setting.
"""

import errno
import http.client
import json
import socket
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from urllib.parse import urljoin, urlsplit

import urllib3.exceptions as urllib3

from sync.clients.deadline import TooMuch
from webhooks.configs import CRM, SHOP
from webhooks.masking import is_address, quoted

Cause = tuple[str, str]
"""What is the matter, and what to do."""

SETTINGS = {
    "put it into WOO_CONSUMER_KEY and WOO_CONSUMER_SECRET": "enter it here",
    "WOO_CONSUMER_KEY and WOO_CONSUMER_SECRET": "the keys",
    "WOO_CONSUMER_SECRET": "the consumer secret",
    "WOO_CONSUMER_KEY": "the consumer key",
    "WOO_BASIC_AUTH": "the user and password of the server",
    "WOO_OTHER_URLS": "its other addresses",
    "WOO_WEBHOOK_SECRETS": "the webhook secrets",
    "CRM_WEBHOOK_SECRETS": "the webhook secrets",
    "WOO_URL": "the address",
    "CRM_URL": "the address",
    "CRM_TOKEN": "the token",
    "Correct .env.": "Correct it.",
    "Correct it in .env.": "Correct it.",
}
"""What of the environment's is in a connection of the back office."""
ON_ITS_PAGE = "Correct the connection {slug} on its page."
ADDRESS_SETTING = {"shop": "WOO_URL", "crm": "CRM_URL"}
KEYS_SETTING = {"shop": "WOO_CONSUMER_KEY and WOO_CONSUMER_SECRET", "crm": "CRM_TOKEN"}
PERMALINKS = (
    "WordPress knows no such address: pretty permalinks are off, or WOO_URL is not the shop's address",
    "In WordPress choose anything but Plain under Settings → Permalinks; WOO_URL ends without /wp-json or /wc-api.",
)
MAINTENANCE = {
    "shop": (
        "WordPress is in maintenance mode (an update is running).",
        "Wait: that takes some seconds. If it stays, delete the file .maintenance in WordPress's folder.",
    ),
    "crm": (
        "a page of maintenance stands in the CRM's place.",
        "Wait, or ask those who run the CRM. If it stays, see that CRM_URL leads to its API.",
    ),
}
"""What it is, and what to do."""
NEW_KEY = "Make one with the permission Read/Write, and put it into WOO_CONSUMER_KEY and WOO_CONSUMER_SECRET."
OF_AUTHENTICATION = {
    "signature": (
        "WooCommerce does not accept our signature",
        "Over http WOO_URL must be exactly WordPress's own address (Settings → General); and see WOO_CONSUMER_SECRET.",
    ),
    "timestamp": ("the shop's clock and ours are more than 15 minutes apart", "Set both by NTP."),
    "permission": ("the key may only read", NEW_KEY),
}
"""By a word of what WooCommerce says, whose code is the same for all of it."""
OUT_OF_DATE = {9: "is not valid yet", 10: "has expired"}
ANOTHER_NAME = (62, 64)
UNKNOWN_CA = (2, 18, 19, 20, 21)
"""Of OpenSSL's verify_code (openssl-verification-options(1))."""
JSON_STARTS = 20
"""Places at which the JSON may begin behind what PHP printed."""


# --- of a connection that is a row ---------------------------------------------------------------------------------


def is_of_a_row(slug: str) -> bool:
    return slug not in ("", SHOP, CRM)


def told(words: str, slug: str) -> str:
    """Of a message for whoever keeps .env, what can be done about it on the page of the connection of this slug."""
    return plain(words).replace("enter it here", "enter it on its page") if is_of_a_row(slug) else words


def plain(words: str) -> str:
    """The same for somebody who is at that page."""
    for name, said in SETTINGS.items():
        words = words.replace(name, said)
    return words.strip()


# --- no answer -----------------------------------------------------------------------------------------------------


def roots(error: BaseException) -> Iterator[BaseException]:
    """The error and what it wraps. Not `__context__`: that may be an error of another call, handled by our caller."""
    yield error
    for inner in {id(one): one for one in (*error.args, getattr(error, "reason", None), error.__cause__)}.values():
        if isinstance(inner, BaseException):
            yield from roots(inner)


def of_silence(error: BaseException, setting: str, url: str) -> Cause:
    """Why no whole answer came from the address in that setting.

    What is at the bottom of the error says most; that no connection came about, more.
    """
    host, deepest_first = _host(url), list(roots(error))[::-1]
    connecting = (_of_connection(one, host, setting) for one in deepest_first)
    talking = (_of_transport(one, setting) for one in deepest_first)
    for found in filter(None, chain(connecting, talking)):
        return found
    return "the connection failed", f"See that {setting} is right."


def _of_connection(error: BaseException, host: str, setting: str) -> Cause | None:
    match error:
        case ssl.SSLCertVerificationError():
            return _of_certificate(error.verify_code, host, setting)
        case ssl.SSLError():
            return f"{host} does not answer with TLS", f"See that {setting} names the port of https."
        case socket.gaierror() if error.errno == socket.EAI_AGAIN:
            return f"the name {host} cannot be looked up", "See that the DNS of this machine works."
        case socket.gaierror() | urllib3.NameResolutionError():
            return f"there is no host {host}", f"Correct {setting}."
        case ConnectionRefusedError():
            return f"{host} refuses the connection", f"Start what should listen there, or correct {setting}."
        case urllib3.ConnectTimeoutError():
            return f"{host} does not answer", f"Let this machine through the firewall there, or correct {setting}."
        case OSError() if error.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH):
            return f"no way leads to {host}", f"See to the network of this machine, or correct {setting}."
    return None


def _of_transport(error: BaseException, setting: str) -> Cause | None:
    match error:
        case TimeoutError() | urllib3.ReadTimeoutError():
            return "it took too long", "See there why it is slow; HTTP_TIMEOUT says how long we wait."
        case TooMuch():
            return "it sends without end", f"See that {setting} leads to its API."
        case ConnectionError():
            return "the connection was cut", f"If it stays so, see there why, and that {setting} is right."
        case http.client.IncompleteRead() | urllib3.InvalidChunkLength():
            return "its answer broke off", "If it stays so, see its error log."
        case urllib3.DecodeError():
            return "its answer cannot be unpacked", "See what compresses it on the way."
        case http.client.HTTPException():
            return "what it answers is not HTTP", f"See that {setting} names the right port."
    return None


def _of_certificate(code: int, host: str, setting: str) -> Cause:
    if code in OUT_OF_DATE:
        return f"the certificate of {host} {OUT_OF_DATE[code]}", "Have it renewed; and see that our clock is right."
    if code in ANOTHER_NAME:
        return f"the certificate of {host} is for another name", f"Set {setting} to that name, or have one made for it."
    if code in UNKNOWN_CA:
        whole = "Of a private CA, set CA_BUNDLE to its PEM file; of a public one, have the whole chain sent."
        return f"the certificate of {host} is signed by nobody whom we trust", whole
    return f"the certificate of {host} is not accepted", "Have a new one made."


def _host(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)


# --- an answer that is none ----------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class BadAnswer:
    """An answer that is no good one."""

    side: str
    base_url: str
    path: str
    status: int
    headers: Mapping[str, str]
    body: bytes
    is_json: bool
    code: str
    message: str
    is_let_in: bool = False
    "We have a user and password for a server in front of it."

    @property
    def setting(self) -> str:
        return ADDRESS_SETTING[self.side]

    @property
    def is_shop(self) -> bool:
        return self.side == "shop"

    @property
    def is_signed(self) -> bool:
        return self.base_url.startswith("http://")


def of_redirect(odd: BadAnswer) -> Cause:
    """Where the address is meant to be another one, that is named."""
    to = urljoin(odd.base_url + odd.path, odd.headers.get("Location", ""))
    there, here = urlsplit(to), urlsplit(odd.base_url + odd.path)
    if to.partition("?")[0].rstrip("/").endswith(odd.path):
        own = to.partition("?")[0].rstrip("/").removesuffix(odd.path)
        if own != odd.base_url:
            return f"the {odd.side}'s own address is {own}", f"Set {odd.setting} to it."
    elif "login" in there.path:
        return "something in front asks to sign in", _let_us_past(odd)
    if odd.is_shop and there.hostname == here.hostname:
        return PERMALINKS
    if "Location" not in odd.headers:
        to = "nowhere"
    return (
        f"a redirect to {to if is_address(to) else quoted(to)}",
        f"Set {odd.setting} to where the API itself answers.",
    )


def of_refusal(odd: BadAnswer) -> Cause:
    """401 or 403."""
    asks = odd.headers.get("WWW-Authenticate", "").lower().startswith("basic")
    if not odd.is_json and asks:
        if odd.is_let_in:
            return "the server in front of the shop does not accept WOO_BASIC_AUTH", "Correct user and password in it."
        return f"a server in front of the {odd.side} asks for user and password (Basic auth)", _let_us_past(odd)
    if not odd.is_shop or odd.status != 401:
        return "", f"Check the keys and their permissions: {KEYS_SETTING[odd.side]}."
    if not odd.code.startswith("woocommerce_rest_authentication"):
        return _of_unread_keys(odd)
    said = odd.message.lower()
    for word, cause in OF_AUTHENTICATION.items():
        if word in said:
            return cause
    # One of the others, or all of them said in the language of the shop.
    address = (
        " Over http WOO_URL must be exactly WordPress's own address, and both clocks right." if odd.is_signed else ""
    )
    return "WooCommerce does not accept the key", f"{NEW_KEY}{address}"


def _of_unread_keys(odd: BadAnswer) -> Cause:
    """401 of WordPress, which then knows nobody; who may not is 403."""
    if odd.is_signed:
        return (
            "WordPress takes this call for https, and so reads no signature",
            "Set WOO_URL to the shop's https address; or see that nothing sends X-Forwarded-Proto: https for http.",
        )
    return (
        "WordPress did not read the key",
        "Behind a proxy that ends TLS WordPress must know that it is https: pass X-Forwarded-Proto, and set the server "
        "variable HTTPS by it in wp-config.php. Else let the web server pass the header Authorization on.",
    )


def of_page(odd: BadAnswer) -> Cause:
    """What is no JSON where JSON was due."""
    body = odd.body.lstrip(b"\xef\xbb\xbf \t\r\n")
    if not body:
        return "an empty answer", "See the PHP error log of the shop." if odd.is_shop else "See the CRM's error log."
    if body.startswith((b"<?xml", b"<errors", b"<order")):
        return "XML", f"Set {odd.setting} to the address of {'the shop alone' if odd.is_shop else 'the JSON API'}."
    if _holds_json(body):
        printed = "Switch display_errors off in php.ini, or WP_DEBUG_DISPLAY in wp-config.php."
        ask = f"See that {odd.setting} leads to its API, and ask those who run it what prints there."
        return "something is printed before or after the JSON, as a notice of PHP", printed if odd.is_shop else ask
    if body[:1] in (b"{", b"["):
        return "JSON that breaks off or is none", "If it stays so, see there what cuts or changes it."
    return "a page instead of JSON", f"Let us through the firewall or captcha, or correct {odd.setting}."


def _holds_json(body: bytes) -> bool:
    """JSON up to the end with something before it, or from the beginning with something after it."""
    text, at = body.decode("utf-8", "replace"), -1
    for _ in range(JSON_STARTS):
        at = min((place for one in "{[" if (place := text.find(one, at + 1)) >= 0), default=-1)
        if at < 0:
            return False
        try:
            _, end = json.JSONDecoder().raw_decode(text, at)
        except (ValueError, RecursionError):
            continue
        if (at > 0) != bool(text[end:].strip()):
            return True
        at = end - 1
    return False


def _let_us_past(odd: BadAnswer) -> str:
    if odd.is_shop:
        return "Set WOO_BASIC_AUTH to user:password, or let our calls to /wp-json/ past it."
    return "Let our calls past it."
