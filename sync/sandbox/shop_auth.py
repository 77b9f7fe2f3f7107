"""How WooCommerce checks the keys of a REST call: OAuth 1.0a, Basic or keys in the query."""

import base64
import binascii
import hmac
import threading
import time
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import unquote

from oauthlib.oauth1.rfc5849 import signature as oauth

from sync.sandbox.server import Answer, HttpError, Request

WINDOW_SECONDS = 900
READS = ("GET", "HEAD", "OPTIONS")


def refused(message: str, code: str = "woocommerce_rest_authentication_error") -> HttpError:
    return HttpError(Answer(401, {"code": code, "message": message, "data": {"status": 401}}))


class Key(NamedTuple):
    secret: str
    may_read: bool
    may_write: bool


@dataclass
class KeyCheck:
    """The keys of the sandbox shop: the one that it begins with, and those that its manager approved since. Basic is
    taken over plain http, too, so that curl is enough to look around."""

    consumer_key: str
    consumer_secret: str
    may_write: bool = True
    others: dict[str, Key] = field(default_factory=dict)
    _nonces: dict[str, float] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def check(self, request: Request, shop_url: str) -> None:
        """Raise a 401 unless the call proves the key."""
        authorization = request.headers.get("authorization", "")
        query = request.query
        if authorization.startswith("OAuth ") or "oauth_signature" in query:
            key = self._oauth(request, shop_url)
        elif "consumer_key" in query:  # looked at before the header
            key = self._compare(query["consumer_key"], query.get("consumer_secret", ""))
        elif authorization.startswith("Basic "):
            key = self._compare(*_basic(authorization))
        else:
            raise refused("Sorry, you cannot list resources.", "woocommerce_rest_cannot_view")
        action, may = ("read", key.may_read) if request.method in READS else ("write", key.may_write)
        if not may:
            raise refused(f"The API key provided does not have {action} permissions.")

    def add(self, consumer_key: str, consumer_secret: str, *, may_read: bool, may_write: bool) -> None:
        self.others[consumer_key] = Key(consumer_secret, may_read, may_write)

    def _known(self, consumer_key: str | None) -> Key:
        if consumer_key == self.consumer_key:
            return Key(self.consumer_secret, True, self.may_write)
        if consumer_key not in self.others:
            raise refused("Consumer key is invalid.")
        return self.others[consumer_key]

    def _compare(self, consumer_key: str, secret: str) -> Key:
        key = self._known(consumer_key)
        if not hmac.compare_digest(secret.encode(), key.secret.encode()):
            raise refused("Consumer secret is invalid.")
        return key

    def _oauth(self, request: Request, shop_url: str) -> Key:
        # The base string uses the shop's own address, whatever host the call named (FACTS I).
        uri = shop_url + request.target
        query = uri.partition("?")[2]
        authorization = request.headers.get("authorization", "")
        headers = {"Authorization": authorization} if authorization.startswith("OAuth ") else {}
        try:
            pairs = oauth.collect_parameters(query, [], headers, exclude_oauth_signature=False)
        except ValueError as error:
            raise refused(f"Malformed OAuth parameters: {error}") from error
        given = dict(pairs)
        key = self._known(given.get("oauth_consumer_key"))
        self._fresh(given.get("oauth_nonce", ""), given.get("oauth_timestamp", ""))
        # Any: the stubs of oauthlib are narrower than what it takes.
        method: Any = request.line_method or request.method
        signed: Any = [(name, value) for name, value in pairs if name != "oauth_signature"]
        base = oauth.signature_base_string(method, oauth.base_string_uri(uri), oauth.normalize_parameters(signed))
        digest = "sha1" if given.get("oauth_signature_method") == "HMAC-SHA1" else "sha256"
        expected = base64.b64encode(hmac.digest(f"{key.secret}&".encode(), base.encode(), digest)).decode()
        signature = given.get("oauth_signature", "")
        if not hmac.compare_digest(expected, signature) and not hmac.compare_digest(expected, unquote(signature)):
            raise refused("Invalid signature - provided signature does not match.")
        return key

    def _fresh(self, nonce: str, timestamp: str) -> None:
        now = time.time()
        if not timestamp.isdigit() or abs(now - int(timestamp)) > WINDOW_SECONDS:
            raise refused("Invalid timestamp.")
        with self._lock:
            # In the order of their arrival: only the oldest can be too old.
            while self._nonces and now - next(iter(self._nonces.values())) > 2 * WINDOW_SECONDS:
                del self._nonces[next(iter(self._nonces))]
            if not nonce or nonce in self._nonces:
                raise refused("Invalid nonce - nonce has already been used.")
            self._nonces[nonce] = now


def _basic(authorization: str) -> tuple[str, str]:
    try:
        key, _, secret = base64.b64decode(authorization.removeprefix("Basic ")).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError) as error:
        raise refused("Malformed Basic credentials.") from error
    return key, secret
