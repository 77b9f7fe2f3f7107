"""How one kind of CRM tells of its orders: how its webhooks are verified, read and answered, where that is not as in
`rest`. A backend brings it (`hooks`), and the app that knows the backends registers it (`schemas.register`).

What nobody signed is a hint: it leads to a read, is never believed, and comes in only so fast.
"""

import base64
import binascii
import hmac
import json
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

import jwt

from webhooks import signatures
from webhooks.signatures import BAD_SIGNATURE, Delivery, Verdict, label, timely

if TYPE_CHECKING:
    from webhooks.sources import Signal

Parser = Callable[[bytes, Mapping[str, str]], "list[Signal]"]
Answer = Callable[[Delivery], Mapping[str, Any] | None]
Check = Callable[[Sequence[str], Delivery, float], Verdict]
"""Of these secrets and this delivery, at this time."""

SHOP_SCHEMA, REST_SCHEMA = "woocommerce/wc-v3", "rest/1"
SHORTEST = 16
"""Characters of a secret that comes in the open: it must not be guessed."""
IN_A_PATH = re.compile(rf"[A-Za-z0-9_.~-]{{{SHORTEST},200}}")
BLOT = "•••"
"""In the place of a secret that came in the open."""
MOST_FIELDS = 1000
LONGEST_CHALLENGE = 500


@dataclass(frozen=True, kw_only=True)
class Proof:
    """Of who sends."""

    name: str
    check: Check
    usable: Callable[[str], bool] = bool
    "Whether that can be one of its secrets. Without a usable one nobody is let in."
    header: str = ""
    "Which carries it, and is not kept."


@dataclass(frozen=True, kw_only=True)
class Hooks:
    schema: str
    "Its name and version, as acme/1. A release that reads events otherwise takes a new one, and keeps the old parser."
    parse: Parser
    "`sources.reader` makes it of a function that puts one event into the words of `rest`."
    verify: Proof | None = None
    "None: by the scheme that the connection names (CRM_SIGNATURE)."
    answer: Answer = lambda delivery: None
    "To what proves nothing and tells nothing, as a challenge."
    earlier: Mapping[str, Parser] = field(default_factory=dict)
    "By schema: of what was stored before."


HOOKS: dict[str, Hooks] = {}
"""By the name of the backend."""


# --- proofs --------------------------------------------------------------------------------------------------------


def scheme(name: str, header: str = signatures.HEADER) -> Proof:
    """One of `signatures.SCHEMES`, in the header of this CRM. Of any other no secret is usable."""

    def check(secrets: Sequence[str], delivery: Delivery, now: float) -> Verdict:
        return signatures.verify(name, secrets, delivery, now=now, header=header)

    is_known = name in signatures.SCHEMES
    return Proof(
        name=name, check=check, usable=lambda secret: is_known and signatures.usable(name, secret), header=header
    )


def timed(header: str) -> Proof:
    """`t=1700000000,v1=<hex>`, perhaps several of these: the HMAC of `{t}.{body}`."""

    def check(secrets: Sequence[str], delivery: Delivery, now: float) -> Verdict:
        said = [part.strip().partition("=")[::2] for part in delivery.headers.get(header, "").split(",")]
        given = [value for name, value in said if name == "v1"]
        moments = [value for name, value in said if name == "t" and re.fullmatch("[0-9]{1,14}", value)]
        if not given or len(moments) != 1:
            return _refused(f"{header} is missing or malformed")
        text = f"{moments[0]}.".encode() + delivery.body
        fits = _signs(secrets, text, lambda mac: any(_same(mac.hex(), one.lower()) for one in given))
        return timely(fits, int(moments[0]), now)

    return Proof(name="timed", check=check, header=header)


def id_prefixed(header: str, *, is_hex: bool) -> Proof:
    """base64(id + ':' + the HMAC of the body), as of EspoCRM: raw in `X-Signature`, hexadecimal in `Signature`."""

    def check(secrets: Sequence[str], delivery: Delivery, now: float) -> Verdict:
        try:
            _, _, given = base64.b64decode(delivery.headers.get(header, ""), validate=True).partition(b":")
        except (binascii.Error, ValueError):
            given = b""
        if not given:
            return _refused(f"{header} is missing or malformed")
        return _signs(
            secrets,
            delivery.body,
            lambda mac: hmac.compare_digest(mac.hex().encode() if is_hex else mac, given),
        )

    return Proof(name="id-prefixed", check=check, header=header)


def _open(name: str, secret_in: Callable[[Delivery], str], usable: Callable[[str], bool], *, header: str = "") -> Proof:
    """Whoever saw one delivery can send another."""

    def check(secrets: Sequence[str], delivery: Delivery, now: float) -> Verdict:
        given = secret_in(delivery)
        for place, secret in enumerate(secrets, start=1):
            if usable(secret) and _same(given, secret):
                return Verdict(ok=True, key=label(place, secret), hint=secret)
        return _refused("No secret fits" if given else "There is no secret in it")

    return Proof(name=name, check=check, usable=usable, header=header)


def _long(secret: str) -> bool:
    return len(secret) >= SHORTEST


SECRET_IN_PATH = _open(
    "secret-in-path", lambda delivery: delivery.secret, lambda one: IN_A_PATH.fullmatch(one) is not None
)
"""The last part of the address: /webhooks/crm/<connection>/<secret>/"""


def secret_in_body(name: str) -> Proof:
    """In this field of it. It is blotted out before the delivery is stored."""

    def given(delivery: Delivery) -> str:
        content = content_of(delivery.body, delivery.headers)
        found = content.get(name) if isinstance(content, dict) else None
        return found if isinstance(found, str) else ""

    return _open("secret-in-body", given, _long)


def _credentials(delivery: Delivery) -> str:
    kind, _, given = delivery.headers.get("Authorization", "").partition(" ")
    try:
        return base64.b64decode(given.strip(), validate=True).decode() if kind.lower() == "basic" else ""
    except (binascii.Error, ValueError):
        return ""


BASIC = _open("basic", _credentials, lambda one: _long(one) and ":" in one, header="Authorization")
"""HTTP Basic. The secret is `user:password`."""


def _check_token(secrets: Sequence[str], delivery: Delivery, now: float) -> Verdict:
    given = delivery.headers.get("Authorization", "").removeprefix("Bearer ").strip()
    for place, secret in enumerate(secrets, start=1):
        if _signs_tokens(secret) and _is_token_of(secret, given):
            return Verdict(ok=True, key=label(place, secret), hint=secret)
    return _refused("No secret fits the token, or it has ended" if given else "There is no token in it")


def _signs_tokens(secret: str) -> bool:
    """RFC 7518, 3.2."""
    return len(secret) >= 32


def _is_token_of(secret: str, token: str) -> bool:
    try:
        jwt.decode(token, secret, algorithms=["HS256"], options={"require": ["exp"], "verify_aud": False})
    except (jwt.PyJWTError, ValueError):
        return False
    return True


JWT = Proof(name="jwt", check=_check_token, usable=_signs_tokens, header="Authorization")
"""A token that was signed with the secret and ends, as of monday. It says nothing of the body, so that it proves no
more than a secret in the open does."""


def _refused(detail: str) -> Verdict:
    return Verdict(ok=False, reason=BAD_SIGNATURE, detail=detail)


def _same(given: str, secret: str) -> bool:
    return hmac.compare_digest(given.encode(errors="replace"), secret.encode(errors="replace"))


def _signs(secrets: Sequence[str], text: bytes, fits: Callable[[bytes], bool]) -> Verdict:
    for place, secret in enumerate(secrets, start=1):
        if secret and fits(hmac.digest(secret.encode(), text, "sha256")):
            return Verdict(ok=True, key=label(place, secret))
    return _refused("No secret fits the signature")


# --- answers -------------------------------------------------------------------------------------------------------


def echo(delivery: Delivery) -> Mapping[str, Any] | None:
    """Of a body that holds a `challenge` and nothing else: it is sent back, once somebody sets the hook up."""
    content = content_of(delivery.body, delivery.headers)
    given = content.get("challenge") if isinstance(content, dict) and len(content) == 1 else None
    is_one = isinstance(given, str) and given.isprintable() and 0 < len(given) <= LONGEST_CHALLENGE
    return {"challenge": given} if is_one else None


# --- bodies --------------------------------------------------------------------------------------------------------


def content_of(body: bytes, headers: Mapping[str, str]) -> Any:
    """JSON, whatever type is announced, or the fields of a form. None: neither."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return form_of(body, headers)


def form_of(body: bytes, headers: Mapping[str, str]) -> dict[str, str] | None:
    if "application/x-www-form-urlencoded" not in headers.get("Content-Type", "").lower():
        return None
    try:
        return dict(parse_qsl(body.decode(), strict_parsing=True, max_num_fields=MOST_FIELDS))
    except ValueError:
        return None


def without(secret: str, body: bytes, headers: Mapping[str, str]) -> bytes:
    """The body with the secret that came in it blotted out, however it is spelled there: a form and JSON may escape
    it. Then the same content is written anew."""
    body = body.replace(secret.encode(), BLOT.encode())
    try:
        content = json.dumps(content_of(body, headers))
    except RecursionError:
        return body
    spelled = json.dumps(secret)[1:-1]
    return content.replace(spelled, BLOT).encode() if spelled in content else body


# --- how fast ------------------------------------------------------------------------------------------------------


class Pace:
    """Of hints, in this process and by connection: whoever floods us with them only makes us ask the CRM what changed,
    which we do in any case."""

    BURST = 600.0
    A_SECOND = 10.0

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._left: dict[str, tuple[float, float]] = {}

    def allows(self, connection: str) -> bool:
        now = time.monotonic()
        with self._lock:
            left, since = self._left.get(connection, (self.BURST, now))
            left = min(self.BURST, left + (now - since) * self.A_SECOND)
            self._left[connection] = max(0.0, left - 1), now
        return left >= 1

    def forget(self) -> None:
        """As a fresh process."""
        self._left.clear()


pace = Pace()
