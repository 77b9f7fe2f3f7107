"""Whatever a stranger or a broken sender may send, and what the contract says to each: the oracle of the fuzzers."""

import base64
import hashlib
import hmac
import json
import os
import re
import time
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings as django_settings
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from tests.deliveries import CRM, WOO
from webhooks.signatures import SCHEMES

WOO_SECRETS = ("first-webhook-secret", "second&amp;webhook-secret")
STANDARD_SECRETS = ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_c2Vjb25kIHNlY3JldCBvZiB0aGUgY3Jt")
PING = re.compile(rb"webhook_id=[0-9]{1,20}")

many = settings(
    max_examples=int(os.environ.get("FUZZ_EXAMPLES", "60")),
    deadline=None,
    suppress_health_check=list(HealthCheck),
    derandomize="FUZZ_EXAMPLES" not in os.environ,
    database=None,
)
"""`make fuzz` asks for more of them, and for others each time."""
fewer = settings(many, max_examples=max(5, many.max_examples // 5))
few = settings(many, max_examples=max(5, many.max_examples // 20))


# --- bodies --------------------------------------------------------------------------------------------------------

texts = st.one_of(
    st.text(max_size=70),
    st.text(st.characters(categories=["Cs", "Cc", "Co", "Lo"]), max_size=10),
    st.sampled_from(
        ["", " ", "\0", "a\0b", "\ud800", "C-1001", "x" * 65, "💥", "../../orders", "2026-11-24T03:20:00Z"]
    ),
)
numbers = st.one_of(
    st.integers(),
    st.integers(min_value=-(10**40), max_value=10**40),
    st.sampled_from([0, 1, 2**31, 2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 10**4299]),
    st.floats(),
)
values = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, texts),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)


def _either(*good: Any) -> Any:
    return st.one_of(st.sampled_from(good), values)


orders = st.fixed_dictionaries(
    {},
    optional={
        "id": _either(1, 14, 2**63 - 1, 14.0, "14", True),
        "status": _either("processing"),
        "date_modified_gmt": _either("2026-11-24T02:12:09", "0001-01-01T00:00:00", "2026-11-24"),
        "code": _either("woocommerce_rest_cannot_view"),
        "data": _either({"status": 401}),
        "billing": values,
        "meta_data": values,
    },
)
events = st.fixed_dictionaries(
    {},
    optional={
        "event_id": _either("evt_1", "evt_2", 7),
        "type": _either("order.status_changed"),
        "crm_order_id": _either("C-1001", 1001),
        "status": _either("shipped"),
        "version": _either(7, 8),
        "updated_at": _either("2026-11-24T03:20:00Z", "9999-12-31T23:59:59-23:59"),
    },
)


def as_json(value: Any) -> bytes:
    """Also what is not JSON by the RFC, as others write it: NaN and Infinity."""
    return json.dumps(value).encode()


TOKENS = (
    *'{}[]:,"',
    *("null", "true", "NaN", "-Infinity", "-0", "1e999", "-1.5E-400", "0x1", "'a'", "\\u0000", "\\ud800", "\\"),
    *('"id":', '"id":1,', '"crm_order_id":"C-1"', '"\\ud83d"', "\ufeff", " ", "\n", "//", "9" * 30, "9" * 5000),
)
bodies = st.one_of(
    st.binary(max_size=200),
    st.lists(st.sampled_from(TOKENS), max_size=25).map(lambda tokens: "".join(tokens).encode()),
    values.map(as_json),
    orders.map(as_json),
    events.map(as_json),
    st.lists(events, max_size=5).map(as_json),
    st.tuples(events, st.integers(1, 1200)).map(lambda made: as_json([made[0]] * made[1])),
    st.sampled_from([b"[", b'{"a":', b'{"id":1,"id":', b"[0,"]).flatmap(
        lambda part: st.integers(1, 3000).map(lambda times: part * times)
    ),
    st.sampled_from(
        [b"webhook_id=7", b"webhook_id=7\n", b"webhook_id=", b'{"id":14,"id":15}', b"[[],{},[0]]", b"\xff"]
    ),
    st.binary(min_size=1, max_size=3).map(lambda part: part * 30_000),
)


# --- signatures ----------------------------------------------------------------------------------------------------


def secrets_for(scheme: str) -> tuple[str, ...]:
    return STANDARD_SECRETS if scheme == "standard-webhooks" else WOO_SECRETS


def signed(scheme: str, secret: str, body: bytes, url: str, moment: float) -> dict[str, str]:
    """The headers of an authentic delivery, computed here and not by the code that is tested."""
    key = secret.encode()
    if scheme == "standard-webhooks":
        key, stamp = base64.b64decode(secret.removeprefix("whsec_")), f"{moment:.0f}"
        mac = hmac.new(key, b"msg_%d.%s." % (len(body), stamp.encode()) + body, hashlib.sha256).digest()
        name = f"msg_{len(body)}"
        given = f"v1a,xx v1,AAAA v1,{base64.b64encode(mac).decode()}"
        return {"webhook-id": name, "webhook-timestamp": stamp, "webhook-signature": given}
    if scheme == "hubspot-v3":
        stamp = f"{moment * 1000:.0f}"
        mac = hmac.new(key, f"POST{url}".encode() + body + stamp.encode(), hashlib.sha256).digest()
        return {"X-HubSpot-Signature-v3": base64.b64encode(mac).decode(), "X-HubSpot-Request-Timestamp": stamp}
    mac = hmac.new(key, body, hashlib.sha256).digest()
    if scheme == "hmac-sha256-hex":
        return {"X-CRM-Signature": f"sha256={mac.hex()}"}
    name = "X-WC-Webhook-Signature" if scheme == "woocommerce" else "X-CRM-Signature"
    return {name: base64.b64encode(mac).decode()}


SIGNING = (
    *("X-WC-Webhook-Signature", "X-CRM-Signature", "webhook-id", "webhook-timestamp", "webhook-signature"),
    *("X-HubSpot-Signature-v3", "X-HubSpot-Request-Timestamp"),
)
OTHER = (
    *("X-WC-Webhook-Topic", "X-WC-Webhook-ID", "X-WC-Webhook-Delivery-ID", "Accept", "Cookie", "Authorization"),
    *(
        "Content-Encoding",
        "X-Forwarded-For",
        "X-Forwarded-Proto",
        "X-Forwarded-Host",
        "X-HTTP-Method-Override",
        "Range",
    ),
    *("Origin", "Referer", "If-Match", "If-Modified-Since", "Expect", "Upgrade", "User-Agent", "X-Strange"),
)
# What WSGI hands over: text of latin-1. Some servers let control characters through.
header_values = st.one_of(
    st.text(st.characters(max_codepoint=255), max_size=40),
    st.sampled_from(["", "v1,", "v1,AAAA", "sha256=", "0" * 64, "9" * 14, "9" * 400, "order.updated", "x" * 9000, "é"]),
)
garbage = st.dictionaries(st.sampled_from(SIGNING), header_values, max_size=4)
others = st.dictionaries(st.sampled_from(OTHER), header_values, max_size=5)
content_types = st.one_of(
    st.none(),
    st.sampled_from(
        [
            "application/json",
            "application/x-www-form-urlencoded",
            "application/x-www-form-urlencoded; charset=iso-8859-1",
            "multipart/form-data; boundary=x",
            "text/plain; charset*=x''%41",
            "a/b; charset=rot13",
        ]
    ),
    header_values,
)
queries = st.one_of(
    st.just(""),
    st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=30),
    st.sampled_from(["a=%00", "%ff=%zz", "a&" * 1500, "format=api", "_method=DELETE"]),
)


# --- the whole of it -----------------------------------------------------------------------------------------------


class Counting:
    """A body as the server hands it over. `endless`: more comes for ever."""

    def __init__(self, body: bytes, *, endless: bool) -> None:
        self.rest, self.endless, self.given = body, endless, 0

    def read(self, size: int = -1) -> bytes:
        assert size >= 0, "never all at once: nobody knows how much there is"
        part, self.rest = self.rest[:size], self.rest[size:]
        if self.endless and len(part) < size:
            part += b" " * (size - len(part))
        self.given += len(part)
        return part

    def readline(self, size: int = -1) -> bytes:
        raise AssertionError("a body is no text")


@dataclass(frozen=True, kw_only=True)
class Sent:
    url: str
    method: str
    query: str
    scheme: str
    limit: int
    body: bytes
    framing: str
    headers: dict[str, str] = field(default_factory=dict)
    content_type: str | None
    secret: int | None
    "Which of the secrets signed it; None: nobody did, and the headers hold whatever they hold."
    age: float

    def read(self) -> bytes | tuple[int, str]:
        """The body as it arrives, or the refusal of one that does not."""
        announced = self.announced
        if self.framing == "nonsense announced":
            return 400, "bad_content_length"
        if self.framing == "nothing announced":
            return b""
        if self.framing == "endless" or (announced or len(self.body)) > self.limit:
            return 413, "too_large"
        if self.framing == "too long announced":
            return 400, "incomplete_body"
        return self.body if announced is None else self.body[:announced]

    def expected(self) -> set[tuple[int, str]]:
        """Every answer that the contract allows."""
        if self.method != "POST":
            return {(405, "")}
        body = self.read()
        if isinstance(body, tuple):
            return {body}
        if self.url.startswith(WOO[:-1]) and self._is_ping(body):
            return {(200, "ping")}
        if self.secret is None or body != self.body:
            return {(401, "bad_signature")}
        if abs(self.age) > 300 and self._has_a_time():
            return {(401, "stale_timestamp")}
        return {(200, "accepted"), (200, "duplicate")}

    def _has_a_time(self) -> bool:
        return self.scheme in ("standard-webhooks", "hubspot-v3")

    def _is_ping(self, body: bytes) -> bool:
        signed_header = {name.lower() for name in self.all_headers()}
        return "x-wc-webhook-signature" not in signed_header and PING.fullmatch(body) is not None

    @property
    def announced(self) -> int | None:
        match self.framing:
            case "exact" | "chunked and exact":
                return len(self.body)
            case "too long announced":
                return len(self.body) + 7
            case "too short announced":
                return len(self.body) // 2
        return None

    def all_headers(self) -> dict[str, str]:
        if self.secret is None:
            return self.headers
        url = f"{django_settings.PUBLIC_URL}{self.url}{'?' if self.query else ''}{self.query}"
        secret = secrets_for(self.scheme)[self.secret]
        if self.scheme == "woocommerce":
            secret = secret.replace("&amp;", "&")  # as WordPress stores it, and WooCommerce signs with it
        rest = {name: value for name, value in self.headers.items() if name not in SIGNING}
        return rest | signed(self.scheme, secret, self.body, url, time.time() - self.age)

    def environ(self, stream: Counting) -> dict[str, Any]:
        made: dict[str, Any] = {
            "REQUEST_METHOD": self.method,
            "SCRIPT_NAME": "",
            "PATH_INFO": self.url,
            "QUERY_STRING": self.query,
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REMOTE_ADDR": "192.0.2.1",
            "HTTP_HOST": "localhost",
            "wsgi.url_scheme": "http",
            "wsgi.input": stream,
            "wsgi.errors": None,
            "wsgi.multithread": False,
            "wsgi.multiprocess": True,
            "wsgi.run_once": False,
        }
        made |= {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in self.all_headers().items()}
        if self.content_type is not None:
            made["CONTENT_TYPE"] = self.content_type
        if self.announced is not None:
            made["CONTENT_LENGTH"] = str(self.announced)
        if self.framing == "nonsense announced":
            made["CONTENT_LENGTH"] = "-1"
        if "chunked" in self.framing or self.framing == "endless":
            made |= {"HTTP_TRANSFER_ENCODING": "gzip, chunked", "wsgi.input_terminated": True}
        return made


FRAMINGS = (
    *("exact",) * 6,
    *("chunked", "chunked and exact", "endless"),
    *("too long announced", "too short announced", "nonsense announced", "nothing announced"),
)


@st.composite
def deliveries(draw: st.DrawFn, method: str = "POST") -> Sent:
    url = draw(st.sampled_from([WOO, CRM, CRM, WOO[:-1], CRM[:-1]]))
    scheme = "woocommerce" if url.startswith(WOO[:-1]) else draw(st.sampled_from(sorted(SCHEMES)))
    secret = draw(st.sampled_from([None, 0, 0, 1]))
    return Sent(
        url=url,
        method=method,
        query=draw(queries),
        scheme=scheme,
        limit=draw(st.sampled_from([50, 3_000, 1_048_576, 1_048_576])),
        body=draw(bodies),
        framing=draw(st.sampled_from(FRAMINGS)),
        headers={**draw(others), **draw(garbage)},
        content_type=draw(content_types),
        secret=secret,
        age=draw(st.sampled_from([0.0, 0.0, 0.0, 200.0, -200.0, 400.0, -400.0, 1.7e9])),
    )
