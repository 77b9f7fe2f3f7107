"""JSON over HTTP to one side: every call has a timeout, one log line, and an error class that says 'again or not'."""

import contextvars
import json as jsonlib
import logging
import os
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, NoReturn

import requests
from django.conf import settings
from requests.auth import AuthBase

from sync.errors import (
    Ambiguous,
    AuthFailed,
    Blocked,
    NotFound,
    RateLimited,
    Rejected,
    ServerTrouble,
    Unreachable,
)

log = logging.getLogger("orderbridge.calls")

current_event: contextvars.ContextVar[int | None] = contextvars.ContextVar("current_event", default=None)
"""The event that the calls of this worker are made for; it stands in each log line."""

CONNECT_SECONDS = 3.05
MAX_ANSWER_BYTES = 5_000_000
KEPT = 4000
"""Characters of a body that are kept with a call."""
READS = frozenset({"GET", "HEAD", "OPTIONS"})
SECRET_PARAMS = re.compile(r"((?:consumer_key|consumer_secret|oauth_\w+)=)[^&\s]+")


@dataclass(frozen=True, kw_only=True)
class CallRecord:
    """One outgoing call as it is kept: no headers, no secrets, bounded bodies."""

    side: str
    method: str
    url: str
    status: int | None
    milliseconds: int
    request_body: str
    response_body: str
    error: str
    at: datetime


@dataclass(frozen=True, kw_only=True)
class Answer:
    status: int
    data: Any
    headers: Mapping[str, str]


def _ignore(record: CallRecord) -> None:
    """Nobody wants to keep the call."""


def _nothing() -> None:
    """Nothing is to be done before a call."""


class JsonClient:
    """One side's address and credentials. Connections are kept between calls, per process and thread."""

    def __init__(
        self,
        side: str,
        base_url: str,
        *,
        auth: AuthBase | None = None,
        headers: Mapping[str, str] | None = None,
        on_call: Callable[[CallRecord], None] = _ignore,
        before_call: Callable[[], None] = _nothing,
    ) -> None:
        self.side = side
        self.base_url = base_url
        self.auth = auth
        self.headers = dict(headers or {})
        self.on_call = on_call
        self.before_call = before_call

    def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        json: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """The JSON answer of a 2xx; anything else raises a class of `sync.errors`."""
        self.before_call()
        started, at = time.monotonic(), datetime.now(UTC)
        status: int | None = None
        body, error = b"", ""
        url = self.base_url + path
        try:
            response = self._send(method, url, params, json, headers)
            status, url = response.status_code, response.url or url
            body = self._read(response, method)
            return self._understand(method, response, body)
        except Exception as problem:
            error = _clean(str(problem))
            raise
        finally:
            self._keep(method, url, status, started, at, json, body, error)

    def _send(
        self,
        method: str,
        url: str,
        params: Mapping[str, str] | None,
        json: Any,
        headers: Mapping[str, str] | None,
    ) -> requests.Response:
        try:
            return _session(self.base_url).request(
                method,
                url,
                params=params,
                json=json,
                headers={**self.headers, **(headers or {})},
                auth=self.auth,
                timeout=(CONNECT_SECONDS, settings.HTTP_TIMEOUT),
                allow_redirects=False,
                stream=True,
            )
        except (requests.exceptions.ConnectTimeout, requests.exceptions.SSLError, requests.exceptions.ProxyError) as e:
            raise self._unreachable(e) from e
        except requests.exceptions.ConnectionError as e:
            if _never_connected(e):
                raise self._unreachable(e) from e
            self._broken(method, e)
        except requests.exceptions.Timeout as e:
            self._broken(method, e)
        except requests.exceptions.RequestException as e:
            raise Rejected(f"The {self.side}'s address can not be called: {_clean(str(e))}", side=self.side) from e

    def _unreachable(self, error: Exception) -> Unreachable:
        return Unreachable(f"The {self.side} can not be reached: {_clean(str(error))}", side=self.side)

    def _broken(self, method: str, error: Exception) -> NoReturn:
        """Something was sent and no whole answer came: for a read that is harmless, for a write it is in doubt."""
        if method in READS:
            raise self._unreachable(error) from error
        words = f"The {self.side} did not answer a {method}; it may have taken effect: {_clean(str(error))}"
        raise Ambiguous(words, side=self.side) from error

    def _read(self, response: requests.Response, method: str) -> bytes:
        """The body, bounded in bytes and in time: a trickle must not hold a worker."""
        until = time.monotonic() + 2 * settings.HTTP_TIMEOUT
        parts: list[bytes] = []
        size = 0
        try:
            for part in response.iter_content(65536):
                parts.append(part)
                size += len(part)
                if size > MAX_ANSWER_BYTES:
                    response.close()
                    raise Blocked(f"The {self.side}'s answer is larger than {MAX_ANSWER_BYTES} bytes.", side=self.side)
                if time.monotonic() > until:
                    response.close()
                    self._broken(method, TimeoutError("the answer trickles"))
        except (requests.exceptions.RequestException, OSError) as error:
            self._broken(method, error)
        return b"".join(parts)

    def _understand(self, method: str, response: requests.Response, body: bytes) -> Answer:
        status, after = response.status_code, retry_after(response.headers.get("Retry-After"))
        evidence = _clean(body[:200].decode("utf-8", "replace"))
        data, is_json = _parsed(body)
        said = _said(data) if is_json else evidence
        where = f"{method} on the {self.side}"
        if status == 429 or (status == 503 and after is not None):
            raise RateLimited(f"{where}: asked to slow down ({status}).", side=self.side, after=after)
        if status >= 500:
            raise ServerTrouble(f"{where}: {status}: {said}", side=self.side, after=after)
        if 300 <= status < 400:
            to = _clean(response.headers.get("Location", "nowhere"))
            raise Blocked(f"{where}: a redirect to {to}. Correct the address in the settings.", side=self.side)
        if status == 404 and is_json:
            raise NotFound(f"{where}: not found: {said}", side=self.side)
        if status in (401, 403) and is_json:
            raise AuthFailed(f"{where}: {status}: {said}. Check the keys and their permissions.", side=self.side)
        if status >= 400 and is_json:
            raise Rejected(f"{where}: {status}: {said}", side=self.side)
        if not is_json:
            raise Blocked(
                f"{where}: {status} without JSON; a firewall, a captcha or a maintenance page may stand in between: "
                f"{evidence}",
                side=self.side,
            )
        return Answer(status=status, data=data, headers=response.headers)

    def _keep(
        self,
        method: str,
        url: str,
        status: int | None,
        started: float,
        at: datetime,
        json: Any,
        body: bytes,
        error: str,
    ) -> None:
        record = CallRecord(
            side=self.side,
            method=method,
            url=_clean(url),
            status=status,
            milliseconds=round((time.monotonic() - started) * 1000),
            request_body=jsonlib.dumps(json, ensure_ascii=False)[:KEPT] if json is not None else "",
            response_body=body[: 4 * KEPT].decode("utf-8", "replace").replace("\x00", "�")[:KEPT],
            error=error,
            at=at,
        )
        self.on_call(record)
        log.info(
            "call",
            extra={
                "event": current_event.get(),
                "side": record.side,
                "method": method,
                "url": record.url,
                "status": status,
                "milliseconds": record.milliseconds,
                "error": error,
            },
        )


_sessions = threading.local()


def _session(base_url: str) -> requests.Session:
    """Kept connections belong to one process and one thread; a forked worker makes its own."""
    mine: dict[tuple[int, str], requests.Session] = _sessions.__dict__.setdefault("kept", {})
    key = (os.getpid(), base_url)
    if key not in mine:
        mine[key] = requests.Session()
        mine[key].trust_env = False
    return mine[key]


def _never_connected(error: requests.exceptions.ConnectionError) -> bool:
    reason = getattr(error.args[0] if error.args else None, "reason", None)
    return type(reason).__name__ in {"NewConnectionError", "NameResolutionError", "ConnectTimeoutError"}


def _parsed(body: bytes) -> tuple[Any, bool]:
    try:
        return jsonlib.loads(body.decode("utf-8-sig"), parse_constant=_no_constant), True
    except (ValueError, RecursionError):
        return None, False


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _said(data: Any) -> str:
    """What an error answer says, in the words of WooCommerce (`code`, `message`) or of others (`error`)."""
    if not isinstance(data, dict):
        return _clean(str(data)[:200])
    words = [str(data[name]) for name in ("code", "error", "message") if data.get(name)]
    return _clean(": ".join(words)[:400])


def _clean(text: str) -> str:
    return SECRET_PARAMS.sub(r"\1•••", text).replace("\x00", "�")


def retry_after(value: str | None) -> float | None:
    """Seconds to wait: from a number or an HTTP date, 0 to one day; None if it says neither (RFC 9110, 10.2.3)."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds()
        except (ValueError, TypeError):
            return None
    return min(max(seconds, 0.0), 86400.0) if seconds == seconds else None
