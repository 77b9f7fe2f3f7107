"""JSON over HTTP to one side: every call has a timeout, one log line, and an error class that says 'again or not'."""

import contextvars
import json as jsonlib
import logging
import os
import ssl
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.cookiejar import DefaultCookiePolicy
from typing import Any, NoReturn, TypeVar

import requests
import urllib3.exceptions
from django.conf import settings
from requests.auth import AuthBase

from sync.clients import addresses, causes
from sync.clients.answers import KEPT_CHARACTERS, Judge, Reply, code, is_page, no_opinion, said, text_of
from sync.clients.deadline import Adapter, Bounds, bounds
from sync.clients.errors import (
    Ambiguous,
    AuthFailed,
    Blocked,
    LimitReached,
    Maintenance,
    NotConfigured,
    NotFound,
    RateLimited,
    Rejected,
    ServerTrouble,
    TooLarge,
    Unreachable,
)
from sync.clients.parsing import http_date, parsed, retry_after
from sync.clients.redaction import clean, our_keys
from webhooks.masking import quoted

log = logging.getLogger("orderbridge.calls")

S = TypeVar("S")

current_event: contextvars.ContextVar[int | None] = contextvars.ContextVar("current_event", default=None)
"""The event that the calls of this worker are made for; it stands in each log line."""

CONNECT_SECONDS = 3.05
MAX_ANSWER_BYTES = 5_000_000
LONGEST_WAIT = 3600.0
"""Seconds that a Retry-After may ask for: a year that somebody set by mistake must not stop all work unseen."""
LONGEST_LIMIT = 24 * 3600.0
"""And a 429, where a day's limit is used up: the pages say until when, and a person may probe before."""
BETWEEN = frozenset({400, 401, 403, 405, 406})
"""Statuses with which a server or firewall in front of an API answers in a page of its own."""
READS = frozenset({"GET", "HEAD", "OPTIONS"})
PACKING = "gzip"
"""The one that we ask for, and unpack piece by piece."""
READABLE = frozenset({"", "identity", "none", "utf-8", PACKING, "x-gzip"})
"""Content-Encodings that we read: some servers name what is none."""


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
    is_shared: bool = False
    "It read several orders, and is counted with the first of them."
    their_time: datetime | None = None
    "By the clock of that side, when it answered; whole seconds."

    @property
    def clock_is_ahead(self) -> timedelta | None:
        """How far that side's clock is ahead of ours, as well as whole seconds and the time of the call tell."""
        return self.their_time - self.at - timedelta(milliseconds=self.milliseconds) if self.their_time else None


@dataclass(frozen=True, kw_only=True)
class Answer:
    status: int
    data: Any
    headers: Mapping[str, str]


def ignore(record: CallRecord) -> None:
    """Nobody wants to keep the call."""


def nothing() -> None:
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
        on_call: Callable[[CallRecord], None] = ignore,
        before_call: Callable[[], None] = nothing,
        public_only: bool = False,
        judge: Judge = no_opinion,
        is_let_in: bool = False,
    ) -> None:
        """`is_let_in`: with a user and password for a server in front of it."""
        self.side, self.base_url = side, base_url
        self.auth = auth
        self.headers = dict(headers or {})
        self.on_call = on_call
        self.before_call, self.public_only = before_call, public_only
        self.judge, self.is_let_in = judge, is_let_in

    def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        json: Any = None,
        form: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        write: bool | None = None,
    ) -> Answer:
        """The JSON answer of a 2xx, of a 204 None; anything else raises a class of `sync.clients.errors`.

        `write`: whether a call without a whole answer may have changed something; by default the method tells.
        `form`: the body is one, as OAuth wants it.
        """
        self.before_call()
        started, at = time.monotonic(), datetime.now(UTC)
        status: int | None = None
        their_time: datetime | None = None
        body, error = b"", ""
        url = self.base_url + path
        is_write = method not in READS if write is None else write
        # A write that is repeated because it was slow would be made twice, so it is waited for longer.
        most = 2 * settings.HTTP_TIMEOUT
        silence = most if is_write else settings.HTTP_TIMEOUT
        bounds.set(Bounds(started + most, silence, 2 * MAX_ANSWER_BYTES, self.public_only))
        try:
            response = self._send(method, url, params, json, form, headers, is_write)
            with response:
                status, url = response.status_code, response.url or url
                their_time = http_date(response.headers.get("Date"))
                body = self._read(response, method, is_write)
            return self._understand(method, path, response, body)
        except BaseException as problem:
            error = clean(str(problem) or type(problem).__name__)
            raise
        finally:
            self._keep(method, url, status, started, at, form or json, body, error, their_time)

    def _send(
        self,
        method: str,
        url: str,
        params: Mapping[str, str] | None,
        json: Any,
        form: Mapping[str, str] | None,
        headers: Mapping[str, str] | None,
        is_write: bool,
    ) -> requests.Response:
        try:
            return self._send_once(method, url, params, json, form, headers, is_write)
        except Unreachable as error:
            if is_write or not _was_cut(error.__cause__):
                raise
        # A kept connection may have been closed by the other side meanwhile; a read may simply ask again.
        self.before_call()
        return self._send_once(method, url, params, json, form, headers, is_write)

    def _send_once(
        self,
        method: str,
        url: str,
        params: Mapping[str, str] | None,
        json: Any,
        form: Mapping[str, str] | None,
        headers: Mapping[str, str] | None,
        is_write: bool,
    ) -> requests.Response:
        try:
            session = _session(self.side, self.base_url)
            named = {**session.headers, **self.headers, **(headers or {})}
            request = requests.Request(method, url, params=params, json=json, data=form, headers=named, auth=self.auth)
            return session.send(
                request.prepare(),  # not by the session, which has nothing to add but cookies
                timeout=(CONNECT_SECONDS, bounds.get().silence),
                allow_redirects=False,
                stream=True,
            )
        except requests.exceptions.InvalidJSONError as error:
            raise Rejected(f"NaN and Infinity cannot be sent to the {self.side}: not JSON.", side=self.side) from error
        except addresses.PrivateAddress as error:
            raise NotConfigured(f"{error}.", advice=addresses.ADVICE, side=self.side) from error
        except urllib3.exceptions.LocationValueError:
            what = f"{causes.ADDRESS_SETTING[self.side]} is no address that can be called."
        except (
            requests.exceptions.ConnectionError,
            requests.exceptions.Timeout,
            urllib3.exceptions.HTTPError,
        ) as error:
            if _never_sent(error):
                raise self._unreachable(error) from error
            self._broken(method, is_write, error)
        except (requests.exceptions.RequestException, ValueError) as error:
            # Such an error may quote a header, and with it the token.
            what = f"{causes.ADDRESS_SETTING[self.side]} is no address that can be called."
            if isinstance(error, requests.exceptions.InvalidHeader | UnicodeError):
                what = f"{causes.KEYS_SETTING[self.side]}: a character in it cannot be sent."
        raise NotConfigured(what, advice="Correct .env.", side=self.side)

    def _unreachable(self, error: Exception) -> Unreachable:
        words, advice = causes.of_silence(error, causes.ADDRESS_SETTING[self.side], self.base_url)
        return Unreachable(f"The {self.side} cannot be reached: {clean(words)}.", advice=advice, side=self.side)

    def _broken(self, method: str, is_write: bool, error: Exception) -> NoReturn:
        """Something was sent and no whole answer came: for a read that is harmless, for a write it is in doubt."""
        if not is_write:
            raise self._unreachable(error) from error
        words, advice = causes.of_silence(error, causes.ADDRESS_SETTING[self.side], self.base_url)
        words = f"The {self.side} did not answer a {method}, which may have taken effect: {clean(words)}."
        raise Ambiguous(words, advice=advice, side=self.side) from error

    def _read(self, response: requests.Response, method: str, is_write: bool) -> bytes:
        """The body, bounded in bytes as it is unpacked: packed twice, a piece of it could become anything."""
        packing = response.headers.get("Content-Encoding", "").strip().lower()
        if packing not in READABLE:
            words = f"The {self.side}'s answer is packed as {clean(packing)[:60]!r}, and only {PACKING} was asked for."
            raise Blocked(words, advice="See what stands in between.", side=self.side, status=response.status_code)
        body = bytearray()
        try:
            # read1 returns what has come; iter_content would wait for a whole block, however slowly it trickles.
            while part := response.raw.read1(65536, decode_content=True):
                body += part
                if len(body) > MAX_ANSWER_BYTES:
                    raise TooLarge(f"The {self.side}'s answer is larger than {MAX_ANSWER_BYTES} bytes.", side=self.side)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            self._broken(method, is_write, error)
        return bytes(body)

    def _understand(self, method: str, path: str, response: requests.Response, body: bytes) -> Answer:
        status = response.status_code
        data, is_json = parsed(body)
        text = body[: 4 * KEPT_CHARACTERS].decode("utf-8", "replace")
        reply = Reply(method=method, path=path, status=status, data=data, text=text, headers=response.headers)
        if error := self.judge(reply):
            raise error
        is_good = 200 <= status < 300 and (is_json or status == 204)
        if is_good and "SG-Captcha" not in response.headers:
            return Answer(status=status, data=data, headers=response.headers)
        asked_for = retry_after(response.headers.get("Retry-After"))
        after = None if asked_for is None else min(asked_for, LONGEST_WAIT)
        theirs = said(data) if is_json else quoted(text_of(body)[:200])
        about: dict[str, Any] = {"side": self.side, "status": status, "code": code(data)}
        where = f"{method} on the {self.side}: {status}"
        odd = causes.BadAnswer(
            side=self.side,
            base_url=self.base_url,
            path=path,
            status=status,
            headers=response.headers,
            body=body,
            is_json=is_json,
            code=about["code"],
            message=str(data.get("message", "")) if isinstance(data, dict) else "",
            is_let_in=self.is_let_in,
        )
        if status == 503 and after is not None and is_page(response, body):
            words, advice = causes.MAINTENANCE[self.side]
            raise Maintenance(f"{where}: {words}", advice=advice, **about)
        if status == 429 or (status == 503 and after is not None):
            raise _asked_to_wait(where, theirs, asked_for, after, about)
        if status >= 500:
            raise ServerTrouble(f"{where}: {theirs}", after=after, **about)
        if 300 <= status < 400:
            words, advice = causes.of_redirect(odd)
            raise Blocked(f"{where}: {clean(words)}.", advice=clean(advice), **about)
        if status in (401, 403):
            words, advice = causes.of_refusal(odd)
            is_guard = status == 403 and not is_json and body.strip() and not words
            if not is_guard and "SG-Captcha" not in response.headers:
                words = ": ".join(filter(None, (where, words, theirs)))
                raise AuthFailed(f"{words}.", advice=advice, **about)
        between = status < 300 or status in BETWEEN
        if "SG-Captcha" in response.headers or (between and not is_json):
            words, advice = causes.of_page(odd)
            raise Blocked(f"{where} with {words}{f': {theirs}' if theirs else ''}.", advice=advice, **about)
        if status == 404:
            raise NotFound(f"{where}: not found: {theirs}", **about)
        raise Rejected(f"{where}: {theirs}", **about)

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
        their_time: datetime | None,
    ) -> None:
        record = CallRecord(
            side=self.side,
            method=method,
            url=clean(url),
            status=status,
            milliseconds=round((time.monotonic() - started) * 1000),
            request_body=clean(jsonlib.dumps(json, ensure_ascii=False, default=str))[:KEPT_CHARACTERS]
            if json is not None
            else "",
            response_body=clean(body[: 4 * KEPT_CHARACTERS].decode("utf-8", "replace"))[:KEPT_CHARACTERS],
            error=error,
            at=at,
            their_time=their_time,
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


def bound(session: requests.Session, side: str = "") -> None:
    """Its calls keep to `bounds`, and trust the CA of the settings."""
    adapter = Adapter(trusted(side))
    for scheme in ("http://", "https://"):
        session.mount(scheme, adapter)


def trusted(side: str = "") -> ssl.SSLContext | None:
    """The CA of CA_BUNDLE, to which requests adds the public ones; None: only those. Raises NotConfigured."""
    if not settings.CA_BUNDLE:
        return None
    context = urllib3.util.create_urllib3_context()
    try:
        context.load_verify_locations(cafile=settings.CA_BUNDLE)
    except FileNotFoundError:
        why = "there is no such file"
    except PermissionError:
        why = "this process may not read it"
    except OSError:
        why = "it holds no certificate in PEM form"
    else:
        return context
    words = f"CA_BUNDLE is {settings.CA_BUNDLE}: {why}."
    raise NotConfigured(words, advice="Name a PEM file with the certificate of the CA.", side=side)


def _session(side: str, base_url: str) -> requests.Session:
    """Kept connections belong to one process, thread and set of keys; a forked worker makes its own."""
    mine: dict[tuple[str | int, ...], requests.Session] = _sessions.__dict__.setdefault("kept", {})
    key = (os.getpid(), side, base_url, settings.CA_BUNDLE, *our_keys())
    if key not in mine:
        session = requests.Session()
        bound(session, side)
        session.trust_env = False  # neither a proxy nor a .netrc of the machine gets at our keys
        session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        session.headers.update({"Accept": "application/json", "Accept-Encoding": PACKING, "User-Agent": "Orderbridge"})
        mine[key] = session
    return mine[key]


def _never_sent(error: BaseException) -> bool:
    """No connection, or none that is secured yet: the request itself cannot have left."""
    return any(
        isinstance(
            one, urllib3.exceptions.NewConnectionError | urllib3.exceptions.ConnectTimeoutError | ssl.CertificateError
        )
        or any(frame.f_code.co_name == "do_handshake" for frame, _ in traceback.walk_tb(one.__traceback__))
        for one in causes.roots(error)
    )


def _was_cut(error: BaseException | None) -> bool:
    """The connection was there and was closed before any byte of an answer came."""
    if error is None or _never_sent(error):
        return False
    return any(isinstance(one, ConnectionError) for one in causes.roots(error))


def readable(
    listed: Iterable[Any], read: Callable[[Any], S], *, side: str, left_out: list[tuple[str, str]] | None = None
) -> list[S]:
    """The orders of a page. One that is odd is left out and named in the log, so that it hides none that follow.

    `left_out` gets their ids, and why. Where none can be read it is not the side that answers: Blocked. One alone that
    has an id is just odd.
    """
    good: list[S] = []
    odd: list[tuple[Any, Blocked]] = []
    for one in listed:
        try:
            good.append(read(one))
        except Blocked as error:
            odd.append((one.get("id") if isinstance(one, dict) else None, error))
    if odd and not good and (len(odd) > 1 or not odd[0][0]):
        raise odd[0][1]
    for order, why in odd:
        log.warning("an order is left out", extra={"side": side, "order": str(order)[:64], "error": str(why)})
        if left_out is not None:
            left_out.append((str(order)[:64], str(why)))
    return good


def _asked_to_wait(
    where: str, theirs: str, asked_for: float | None, after: float | None, about: dict[str, Any]
) -> LimitReached | RateLimited:
    if about["status"] == 429 and asked_for and LONGEST_WAIT < asked_for < LONGEST_LIMIT:
        until = datetime.now(UTC) + timedelta(seconds=asked_for)
        return LimitReached(f"{where}: the limit is used up. {theirs}".rstrip(), until=until, **about)
    asked = f"for {after:.0f} s" if after else "and not told for how long"
    return RateLimited(f"{where}: we were asked to wait {asked}. {theirs}".rstrip(), after=after, **about)
