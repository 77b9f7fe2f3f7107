"""Who signed this? Five signature schemes as pure functions: bytes and headers in, a verdict out."""

import base64
import binascii
import functools
import hashlib
import hmac
import html
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

TOLERANCE = 300
"""Seconds that a signed timestamp may be off, both ways."""

HEADER = "X-CRM-Signature"
BAD_SIGNATURE = "bad_signature"
STALE_TIMESTAMP = "stale_timestamp"


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """`reason` is the word that is answered, `detail` is for staff, `key` says which secret fitted."""

    ok: bool
    reason: str = ""
    key: str = ""
    detail: str = ""
    hint: str = field(default="", repr=False)
    "The secret, where it came in the open (`hooks`): it signs nothing."


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """What a signature may cover. `headers` are looked up without regard to case, `url` is the public one."""

    body: bytes
    headers: Mapping[str, str]
    method: str = "POST"
    url: str = ""
    secret: str = field(default="", repr=False)
    "What stands behind the connection in its path."


def verify(scheme: str, secrets: Sequence[str], delivery: Delivery, *, now: float, header: str = HEADER) -> Verdict:
    """Any secret will do. Whatever is malformed is a refusal, never an exception."""
    return SCHEMES[scheme](secrets, delivery, header, now)


def usable(scheme: str, secret: str) -> bool:
    """An empty key would let everybody in, so it lets nobody in."""
    return bool(_standard_key(secret) if scheme == "standard-webhooks" else secret)


@functools.cache
def label(index: int, secret: str) -> str:
    return f"secret {index} ({hashlib.sha256(secret.encode()).hexdigest()[:8]})"


def _refused(detail: str, reason: str = BAD_SIGNATURE) -> Verdict:
    return Verdict(ok=False, reason=reason, detail=detail)


def _mac(key: bytes, text: bytes) -> bytes:
    return hmac.digest(key, text, "sha256")


def _matches(mac: bytes, given: str) -> bool:
    """Compares the base64 text, not what it decodes to: several texts decode to the same bytes."""
    try:
        return hmac.compare_digest(base64.b64encode(mac), given.strip().encode("ascii"))
    except UnicodeEncodeError:
        return False


def _matches_hex(mac: bytes, given: str) -> bool:
    try:
        return hmac.compare_digest(mac.hex().encode(), given.strip().lower().removeprefix("sha256=").encode("ascii"))
    except UnicodeEncodeError:
        return False


def _keys(secrets: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    for index, secret in enumerate(secrets, start=1):
        if secret:
            yield label(index, secret), secret.encode()


def _woocommerce_keys(secrets: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    """WooCommerce decodes entities in a stored secret before it signs (FACTS A2)."""
    for index, secret in enumerate(secrets, start=1):
        for form in dict.fromkeys((secret, html.unescape(secret))):
            if form:
                yield label(index, secret), form.encode()


def _standard_keys(secrets: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    for index, secret in enumerate(secrets, start=1):
        if key := _standard_key(secret):
            yield label(index, secret), key


def _standard_key(secret: str) -> bytes:
    """The bytes of `whsec_<base64>`; none if it is malformed."""
    text = secret.removeprefix("whsec_")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        return b""


def _first(keys: Iterator[tuple[str, bytes]], fits: Callable[[bytes], bool]) -> Verdict:
    for name, key in keys:
        if fits(key):
            return Verdict(ok=True, key=name)
    return _refused("No secret fits the signature")


def timely(verdict: Verdict, moment: float, now: float) -> Verdict:
    """Asked of authentic deliveries only: what a forger writes as the time says nothing."""
    if verdict.ok and abs(now - moment) > TOLERANCE:
        return _refused(f"The signed time is {now - moment:.0f} s from ours", STALE_TIMESTAMP)
    return verdict


def _over_body(
    secrets: Sequence[str],
    delivery: Delivery,
    header: str,
    keys: Callable[[Sequence[str]], Iterator[tuple[str, bytes]]],
    matches: Callable[[bytes, str], bool],
) -> Verdict:
    given = delivery.headers.get(header, "")
    if not given:
        return _refused(f"No header {header}")
    return _first(keys(secrets), lambda key: matches(_mac(key, delivery.body), given))


def _hex(secrets: Sequence[str], delivery: Delivery, header: str, now: float) -> Verdict:
    return _over_body(secrets, delivery, header, _keys, _matches_hex)


def _base64(secrets: Sequence[str], delivery: Delivery, header: str, now: float) -> Verdict:
    return _over_body(secrets, delivery, header, _keys, _matches)


def _woocommerce(secrets: Sequence[str], delivery: Delivery, header: str, now: float) -> Verdict:
    return _over_body(secrets, delivery, "X-WC-Webhook-Signature", _woocommerce_keys, _matches)


def standard_headers(headers: Mapping[str, str]) -> tuple[str, str, str]:
    """Id, time and signatures, all of them by one of the two names: Svix had them before there was a standard."""
    brand = "svix" if "svix-signature" in headers and "webhook-signature" not in headers else "webhook"
    name, moment, signatures = (headers.get(f"{brand}-{one}", "") for one in ("id", "timestamp", "signature"))
    return name, moment, signatures


def _standard_webhooks(secrets: Sequence[str], delivery: Delivery, header: str, now: float) -> Verdict:
    name, moment, signatures = standard_headers(delivery.headers)
    # With a dot in the id, another id, time and body would have the same signature. The specification forbids it, too.
    if not (name and name.isascii() and "." not in name and re.fullmatch(r"[0-9]{1,14}", moment)):
        return _refused("webhook-id or webhook-timestamp is missing or malformed")
    given = [value for version, _, value in (one.partition(",") for one in signatures.split()) if version == "v1"]
    text = f"{name}.{moment}.".encode() + delivery.body

    def fits(key: bytes) -> bool:
        mac = _mac(key, text)
        return any(_matches(mac, one) for one in given)

    return timely(_first(_standard_keys(secrets), fits), int(moment), now)


# HubSpot decodes these in the URL before it signs; the mark that begins the query string stays as it is.
_HUBSPOT_DECODES = {f"%{ord(character):02X}": character for character in ":/?@!$'()*,;"}


def _hubspot_urls(url: str) -> Iterator[str]:
    yield url
    decoded = re.sub(r"%[0-9A-Fa-f]{2}", lambda code: _HUBSPOT_DECODES.get(code[0].upper(), code[0]), url)
    if decoded != url:
        yield decoded


def _hubspot_v3(secrets: Sequence[str], delivery: Delivery, header: str, now: float) -> Verdict:
    given = delivery.headers.get("X-HubSpot-Signature-v3", "")
    moment = delivery.headers.get("X-HubSpot-Request-Timestamp", "")
    if not (given and re.fullmatch(r"[0-9]{1,17}", moment)):
        return _refused("X-HubSpot-Signature-v3 or X-HubSpot-Request-Timestamp is missing or malformed")
    texts = [
        (delivery.method + url).encode(errors="replace") + delivery.body + moment.encode()
        for url in _hubspot_urls(delivery.url)
    ]
    verdict = _first(_keys(secrets), lambda key: any(_matches(_mac(key, text), given) for text in texts))
    return timely(verdict, int(moment) / 1000, now)


SCHEMES: dict[str, Callable[[Sequence[str], Delivery, str, float], Verdict]] = {
    "standard-webhooks": _standard_webhooks,
    "hmac-sha256-hex": _hex,
    "hmac-sha256-base64": _base64,
    "woocommerce": _woocommerce,
    "hubspot-v3": _hubspot_v3,
}
