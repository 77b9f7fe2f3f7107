"""What the client makes of every answer, and of none: again or not, and whether a write may have got through."""

import base64
import functools
import gzip
import json
import logging
import re
import socket
import ssl
import struct
import threading
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
import requests
import responses
import trustme
from django.core import checks
from requests.auth import HTTPBasicAuth
from requests_oauthlib import OAuth1

from sync.clients import http, redaction
from sync.clients.errors import (
    Ambiguous,
    AuthFailed,
    Blocked,
    Hidden,
    LimitReached,
    Maintenance,
    NotConfigured,
    NotFound,
    RateLimited,
    Rejected,
    ServerTrouble,
    SideError,
    TooLarge,
    Unreachable,
)
from sync.clients.http import CallRecord, JsonClient, current_event
from sync.clients.parsing import retry_after
from sync.clients.redaction import clean
from tests.servers import free_port

BASE = "https://crm.example/api"
HTML = b"<!doctype html><title>Just a moment</title>"
READ, WRITE = "GET", "POST"


@pytest.fixture(autouse=True)
def impatient(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.HTTP_TIMEOUT = 0.2
    monkeypatch.setattr(http, "CONNECT_SECONDS", 0.2)


@pytest.fixture
def patient(impatient: None, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where an answer comes, although the machine may be busy."""
    settings.HTTP_TIMEOUT = 10.0
    monkeypatch.setattr(http, "CONNECT_SECONDS", 10.0)


@pytest.fixture
def answers() -> Iterator[responses.RequestsMock]:
    with responses.RequestsMock() as mock:
        yield mock


def failure(client: JsonClient, method: str = READ, **request: Any) -> SideError:
    with pytest.raises(SideError) as raised:
        client.request(method, "/orders", **request)
    return raised.value


# --- answers that came whole ---------------------------------------------------------------------------------------

SLOW = {"Retry-After": "7"}
CAPTCHA = {"SG-Captcha": "challenge", "Content-Type": "text/html"}


@pytest.mark.parametrize(("asked", "error"), [(3600, RateLimited), (3601, LimitReached), (86399, LimitReached)])
def test_a_limit_of_a_day_is_believed(answers: responses.RequestsMock, asked: int, error: type[SideError]) -> None:
    """Of a 429 only; and of nothing longer, which somebody set by mistake."""
    answers.add(READ, f"{BASE}/orders", status=429, headers={"Retry-After": str(asked)}, body=b"{}")
    found = failure(JsonClient("crm", BASE))
    assert type(found) is error
    assert round(found.after or 0.0, -1) == round(float(asked), -1)


@pytest.mark.parametrize("method", [READ, WRITE])
@pytest.mark.parametrize(
    ("status", "headers", "body", "error", "after"),
    [
        (429, SLOW, HTML, RateLimited, 7),
        (429, {}, b"{}", RateLimited, None),
        (429, {"Retry-After": "soon"}, b"", RateLimited, None),
        (429, {"Retry-After": "999999"}, b"{}", RateLimited, 3600),
        (503, SLOW, HTML, Maintenance, None),
        (503, {**SLOW, "Content-Type": "text/html; charset=UTF-8"}, b"Briefly unavailable", Maintenance, None),
        (503, SLOW, b'{"code": "busy"}', RateLimited, 7),
        (503, SLOW, b"", RateLimited, 7),
        (503, {"Retry-After": "Fri, 21 Oct 2095 07:28:00 GMT"}, b"{}", RateLimited, 3600),
        (503, {}, HTML, ServerTrouble, None),
        (500, {}, b'{"code": "oops"}', ServerTrouble, None),
        (500, SLOW, b"", ServerTrouble, 7),
        (502, {}, HTML, ServerTrouble, None),
        (522, {}, HTML, ServerTrouble, None),
        (200, {}, HTML, Blocked, None),
        (200, {}, b"", Blocked, None),
        (200, {}, b"Warning: foreach()\n{}", Blocked, None),
        (200, {}, b'{"version": NaN}', Blocked, None),
        (200, {}, b'{"version": -Infinity}', Blocked, None),
        (200, {}, b'{"id": "C-1', Blocked, None),
        (200, {}, b"\xff\xfe{}", Blocked, None),
        (200, {}, b"[" * 100_000, Blocked, None),
        (202, CAPTCHA, HTML, Blocked, None),
        (200, CAPTCHA, b"{}", Blocked, None),
        (301, {"Location": "https://crm.example/api/orders/"}, b"", Blocked, None),
        (302, {"Location": "https://evil.example/orders"}, b"", Blocked, None),
        (307, {"Location": "/orders/"}, b"{}", Blocked, None),
        (308, {}, b"", Blocked, None),
        (403, {}, HTML, Blocked, None),
        (403, {}, b'{"error": "forbidden"}', AuthFailed, None),
        (403, {}, b"", AuthFailed, None),
        (401, {}, b'{"error": "unauthorized"}', AuthFailed, None),
        (401, {}, HTML, AuthFailed, None),
        (404, {}, b'{"error": "not_found"}', NotFound, None),
        (404, {}, b"", NotFound, None),
        (400, {}, b'{"error": "invalid"}', Rejected, None),
        (409, {}, b'"conflict"', Rejected, None),
        (422, {}, HTML, Rejected, None),
        (413, {}, HTML, Rejected, None),
        (400, {}, HTML, Blocked, None),
        (405, {}, HTML, Blocked, None),
        (406, {}, HTML, Blocked, None),
    ],
)
def test_an_answer_that_is_no_success_has_its_class(
    answers: responses.RequestsMock,
    status: int,
    headers: dict[str, str],
    body: bytes,
    error: type[SideError],
    after: float | None,
    method: str,
) -> None:
    answers.add(method, f"{BASE}/orders", body=body, status=status, headers=headers)
    found = failure(JsonClient("crm", BASE), method)
    assert (type(found), found.side, found.status, found.after) == (error, "crm", status, after)
    assert len(answers.calls) == 1  # redirects are not followed, answers are not asked for again
    assert str(found).startswith(f"{method} on the crm: {status}")


@pytest.mark.parametrize(
    ("error", "again", "outage", "may_have_got_through"),
    [
        (Unreachable, True, True, False),
        (Ambiguous, True, True, True),
        (ServerTrouble, True, True, True),
        (Maintenance, True, True, True),
        (RateLimited, True, False, True),
        (Blocked, True, True, True),
        (AuthFailed, True, True, False),
        (NotConfigured, True, True, False),
        (NotFound, False, False, False),
        (Hidden, False, False, False),
        (Rejected, False, False, False),
    ],
)
def test_the_class_says_again_or_not(
    error: type[SideError], again: bool, outage: bool, may_have_got_through: bool
) -> None:
    assert (error.again, error.outage, error.may_have_got_through) == (again, outage, may_have_got_through)


@pytest.mark.parametrize(
    ("status", "headers", "body", "words"),
    [
        (302, {"Location": "https://evil.example/"}, b"", "a redirect to https://evil.example/. Set CRM_URL to where"),
        (200, {}, HTML, "a page instead of JSON: «Just a moment». Let us through the firewall or captcha"),
        (403, {}, b'{"code": "no_right", "message": "Ask an admin"}', "no_right «Ask an admin». Check the keys"),
        (422, {}, b'{"error": "total is missing"}', "422: «total is missing»"),
        (500, {}, b"\xef\xbb\xbfFatal error: \x00 in wp-config.php", "500: «Fatal error: � in wp-config.php»"),
    ],
)
def test_the_message_tells_what_to_do(
    answers: responses.RequestsMock, status: int, headers: dict[str, str], body: bytes, words: str
) -> None:
    answers.add(READ, f"{BASE}/orders", body=body, status=status, headers=headers)
    assert words in str(failure(JsonClient("crm", BASE)))


@pytest.mark.parametrize("body", [b'{"id": "\xc3\xb6"}', b'\xef\xbb\xbf{"id": "\xc3\xb6"}', b' \n{"id":"\\u00f6"}\n'])
def test_json_is_understood_also_behind_a_bom(answers: responses.RequestsMock, body: bytes) -> None:
    answers.add(READ, f"{BASE}/orders", body=body, status=200)
    assert JsonClient("crm", BASE).request(READ, "/orders").data == {"id": "ö"}


def test_what_is_no_json_is_never_sent() -> None:
    found = failure(JsonClient("crm", BASE), WRITE, json={"total": float("nan")})
    assert isinstance(found, Rejected)
    assert "NaN" in str(found)


@pytest.mark.parametrize(
    ("url", "token"),
    [
        ("crm.example", "t"),
        ("ftp://crm.example", "t"),
        ("http://", "t"),
        ("http://crm.example:99999", "t"),
        (f"http://{'a' * 70}.example", "t"),
        (BASE, "secret\ntoken"),
    ],
)
@pytest.mark.parametrize("method", [READ, WRITE])
def test_an_unusable_address_or_key_is_told_without_the_key(method: str, url: str, token: str) -> None:
    found = failure(JsonClient("crm", url, headers={"Authorization": f"Bearer {token}"}), method)
    assert isinstance(found, NotConfigured)
    assert "Correct .env" in str(found)
    assert "secret" not in f"{found!r} {found.__cause__!r}"


def test_a_key_that_no_header_can_hold_is_told_without_the_key() -> None:
    with Peer(does_not_listen) as peer:
        found = failure(JsonClient("crm", f"http://{peer.address}", headers={"Authorization": "Bearer secret→token"}))
    assert isinstance(found, NotConfigured)
    assert "secret" not in f"{found!r} {found.__cause__!r}"


def in_a_minute() -> str:
    return format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)


@pytest.mark.parametrize(
    ("value", "least", "most"),
    [
        ("7", 7, 7),
        ("0.5", 0.5, 0.5),
        ("-5", 0, 0),
        ("1e400", 86400, 86400),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0, 0),
        ("Fri, 21 Oct 2095 07:28:00 GMT", 86400, 86400),
    ],
)
def test_retry_after_is_seconds_or_a_date_within_a_day(value: str, least: float, most: float) -> None:
    found = retry_after(value)
    assert found is not None
    assert least <= found <= most


def test_retry_after_in_a_minute_is_less_than_a_minute_away() -> None:
    found = retry_after(in_a_minute())
    assert found is not None
    assert 1 <= found <= 60


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        "nan",
        "soon",
        "Wed, 21 Oct",
        "Wed, 21 Oct 2015 07:28:00 -0000",
        "Wed, 21 Oct 99999 07:28:00 GMT",
        f"Wed, 21 Oct 2015 07:28:00 +{'9' * 20}",
    ],
)
def test_a_retry_after_that_says_nothing_is_none(value: str | None) -> None:
    assert retry_after(value) is None


# --- what is kept and logged ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("status", "body"), [(200, b"{}"), (500, b"{}"), (404, b"{}"), (200, HTML)])
def test_each_call_is_one_record_and_one_log_line_with_its_event(
    answers: responses.RequestsMock, caplog: pytest.LogCaptureFixture, status: int, body: bytes
) -> None:
    answers.add(WRITE, f"{BASE}/orders", body=body, status=status)
    records: list[CallRecord] = []
    context = current_event.set(77)
    with caplog.at_level(logging.INFO, logger="orderbridge.calls"), suppress(SideError):
        JsonClient("crm", BASE, on_call=records.append).request(WRITE, "/orders", json={"id": 1})
    current_event.reset(context)
    [record], [line] = records, caplog.records
    assert (record.method, record.url, record.status) == (WRITE, f"{BASE}/orders", status)
    assert (record.request_body, record.response_body) == ('{"id": 1}', body.decode())
    logged = vars(line)
    assert [logged[name] for name in ("event", "side", "method", "url", "status", "error")] == [
        77,
        "crm",
        WRITE,
        f"{BASE}/orders",
        status,
        record.error,
    ]
    assert logged["milliseconds"] == record.milliseconds >= 0


def test_long_bodies_are_kept_in_part(answers: responses.RequestsMock) -> None:
    answers.add(WRITE, f"{BASE}/orders", json={"text": "ö" * 50_000})
    records: list[CallRecord] = []
    JsonClient("crm", BASE, on_call=records.append).request(WRITE, "/orders", json={"text": "ü" * 50_000})
    assert [len(records[0].request_body), len(records[0].response_body)] == [http.KEPT_CHARACTERS, http.KEPT_CHARACTERS]


SECRETS = {
    "WOO_CONSUMER_KEY": "ck_5a1b6c2d7e3f",
    "WOO_CONSUMER_SECRET": "cs_0987654321/+abc",
    "CRM_TOKEN": 'crm-tok"en→1234567890',
    "WOO_WEBHOOK_SECRETS": ["first-hook-secret", "first-hook-secret-2"],
    "CRM_WEBHOOK_SECRETS": ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"],
    "WOO_BASIC_AUTH": "staging:pass/word+9",
}


@pytest.fixture
def secrets(settings: Any) -> list[str]:
    """Every secret of the settings, each in every spelling."""
    for name, value in SECRETS.items():
        setattr(settings, name, value)
    plain = [one for value in SECRETS.values() for one in ([value] if isinstance(value, str) else value)]
    basic = base64.b64encode(f"{SECRETS['WOO_CONSUMER_KEY']}:{SECRETS['WOO_CONSUMER_SECRET']}".encode()).decode()
    staging = base64.b64encode(SECRETS["WOO_BASIC_AUTH"].encode()).decode()
    return [*plain, "pass/word+9", staging, basic]


@pytest.mark.parametrize("status", [200, 302, 400, 401, 404, 429, 500])
@pytest.mark.parametrize("kind", ["json", "html"])
def test_no_secret_is_kept_logged_or_told(
    answers: responses.RequestsMock, caplog: pytest.LogCaptureFixture, secrets: list[str], status: int, kind: str
) -> None:
    echo = " ".join(secrets) + " ?consumer_key=kkk&consumer_secret=sss https://user:pass@shop.example/"
    body = json.dumps({"code": "x", "message": echo}) if kind == "json" else f"<html>{echo}"
    answers.add(WRITE, re.compile(".*"), body=body, status=status, headers={"Location": f"https://e.example/?{echo}"})
    records: list[CallRecord] = []
    client = JsonClient("shop", "http://user:pass@shop.example", on_call=records.append)
    told = ""
    with caplog.at_level(logging.INFO):
        try:
            client.request(WRITE, "/orders", json={"secrets": secrets}, params={"consumer_key": "kkk"})
        except SideError as error:
            told = repr(error)
    everything = f"{told} {records} {[vars(line) for line in caplog.records]}"
    for secret in (*secrets, json.dumps(SECRETS["CRM_TOKEN"])[1:-1], "kkk", "sss", "user:pass"):
        assert secret not in everything


def test_a_secret_at_the_edge_of_what_is_quoted_is_not_told_in_part(
    answers: responses.RequestsMock, secrets: list[str]
) -> None:
    for length in range(150, 205):
        answers.upsert(READ, f"{BASE}/orders", body="<html>".ljust(length, ".") + secrets[3] * 3, status=200)
        assert "first-" not in str(failure(JsonClient("crm", BASE)))


@pytest.mark.parametrize("auth", ["oauth", "basic"])
def test_a_call_that_never_got_out_tells_no_key(
    auth: str, secrets: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    pair = (SECRETS["WOO_CONSUMER_KEY"], SECRETS["WOO_CONSUMER_SECRET"])
    signer = HTTPBasicAuth(*pair) if auth == "basic" else OAuth1(*pair, signature_type="query")
    records: list[CallRecord] = []
    client = JsonClient("shop", f"http://127.0.0.1:{free_port()}", auth=signer, on_call=records.append)
    with caplog.at_level(logging.INFO, logger="orderbridge"):
        told = failure(client)
    everything = f"{told!r} {records} {[vars(line) for line in caplog.records]}"
    assert isinstance(told, Unreachable)
    assert not [secret for secret in secrets if secret in everything]
    assert not re.search(r"oauth_\w+=[^•]", everything)


@pytest.mark.parametrize(
    "name", ["access_token", "api_key", "apiKey", "X-Api-Key", "db_password", "client_secret", "pwd"]
)
@pytest.mark.parametrize(
    "shape",
    [
        "?page=1&{}={}&per_page=2",
        "grant_type=x&{}={}",
        '{{"a": {{"{}": "{}"}}, "b": 1}}',
        '{{"{}": "one \\"{}"}}',
        '{{"{}": ["{}", "and \\"other"], "x": {{"y": 1}}}}',
        '{{"{}": {{"x": ["{}"]}}',
        '{{"payload": "{{\\"{}\\": \\"{}\\"}}"}}',
        "{{'{}': 'one {}'}}",
    ],
)
def test_what_is_called_a_secret_is_not_kept_whichever_backend_it_is_of(
    answers: responses.RequestsMock, name: str, shape: str
) -> None:
    text = shape.format(name, "s3cr3t")
    answers.add(WRITE, re.compile(".*"), body=text, status=400)
    records: list[CallRecord] = []
    query, body = {"page": "1", name: "s3cr3t"}, {"page": 1, "params": [{name: {"x": ["s3cr3t"]}, "text": text}]}
    told = failure(JsonClient("crm", BASE, on_call=records.append), WRITE, params=query, json=body)
    assert "s3cr3t" not in f"{told!r} {records}"
    assert "page=1" in records[0].url and '"page": 1' in records[0].request_body


def test_a_secret_of_any_setting_is_not_kept_wherever_it_stands(answers: responses.RequestsMock, settings: Any) -> None:
    settings.CRM_PASSWORD = "correct horse"
    redaction._secret_settings.cache_clear()
    answers.add(WRITE, f"{BASE}/orders", json={"echo": ["db", 2, "correct horse"]})
    records: list[CallRecord] = []
    JsonClient("crm", BASE, on_call=records.append).request(WRITE, "/orders", json=["db", 2, "correct horse"])
    assert "horse" not in str(records)
    redaction._secret_settings.cache_clear()


def test_what_a_database_refuses_is_cleaned() -> None:
    assert clean("a\x00b\ud800c") == "a�b?c"


# --- no answer, or not a whole one: a server that says exactly these bytes -----------------------------------------


class Peer:
    """Plays one script per connection; the last one again and again. `requests` holds what was sent to it."""

    def __init__(self, *scripts: "Script") -> None:
        self.scripts = list(scripts)
        self.requests: list[bytes] = []
        self.heard = threading.Event()
        self.closing = threading.Event()
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.address = f"127.0.0.1:{self.socket.getsockname()[1]}"
        self.thread = threading.Thread(target=self._play, daemon=True)

    def __enter__(self) -> "Peer":
        self.thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.closing.set()
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        self.thread.join(60)

    def _play(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self.socket.accept()
                script = self.scripts.pop(0) if len(self.scripts) > 1 else self.scripts[0]
                with connection, suppress(OSError):
                    script(self, connection)

    def hear(self, connection: socket.socket) -> None:
        """Read one request with its body."""
        text = b""
        while b"\r\n\r\n" not in text:
            part = connection.recv(65536)
            if not part:
                raise OSError("the client is gone")
            text += part
        length = re.search(rb"(?i)content-length: (\d+)", text)
        missing = int(length[1]) - len(text.partition(b"\r\n\r\n")[2]) if length else 0
        while missing > 0:
            missing -= len(connection.recv(missing))
        self.requests.append(text)
        self.heard.set()


Script = Callable[[Peer, socket.socket], None]


def says(*parts: bytes, every: float = 0.0) -> Script:
    """Hear one request, say these bytes, hang up."""

    def script(peer: Peer, connection: socket.socket) -> None:
        peer.hear(connection)
        for part in parts:
            connection.sendall(part)
            peer.closing.wait(every)

    return script


def resets(peer: Peer, connection: socket.socket) -> None:
    peer.hear(connection)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def is_silent(peer: Peer, connection: socket.socket) -> None:
    peer.hear(connection)
    peer.closing.wait(5)


def does_not_listen(peer: Peer, connection: socket.socket) -> None:
    peer.closing.wait(5)


def hangs_up(peer: Peer, connection: socket.socket) -> None:
    """Before it has heard anything."""


def speaks_plainly(peer: Peer, connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


def answers_once(peer: Peer, connection: socket.socket) -> None:
    """Keep the connection after a good answer, and hang up at the second request."""
    says(GOOD)(peer, connection)
    peer.hear(connection)


GOOD = b'HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n{"id": "C-1"}'
ENDLESS = b'HTTP/1.1 200 OK\r\n\r\n{"id": "'
NO_ANSWER: dict[str, Script] = {
    "hangs up": says(),
    "resets": resets,
    "is silent": is_silent,
    "half a line": says(b"HTTP/1.1 2"),
    "half a body": says(GOOD[:-5]),
    "half a chunk": says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n{"),
    "a bad chunk": says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}"),
    "bad gzip": says(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}"),
    "another protocol": says(b"SSH-2.0-OpenSSH_9.2\r\n"),
    "a trickle": says(ENDLESS, *[b"x"] * 100, every=0.05),
}


@pytest.mark.parametrize("script", NO_ANSWER.values(), ids=NO_ANSWER)
@pytest.mark.parametrize(("method", "error"), [(READ, Unreachable), (WRITE, Ambiguous), ("PUT", Ambiguous)])
def test_a_broken_answer_is_harmless_to_a_read_and_leaves_a_write_in_doubt(
    script: Script, method: str, error: type[SideError]
) -> None:
    records: list[CallRecord] = []
    with Peer(script) as peer:
        found = failure(JsonClient("crm", f"http://{peer.address}", on_call=records.append), method, json={"id": 1})
        assert peer.heard.wait(60)  # its thread may come after our patience has ended
    assert type(found) is error
    assert found.may_have_got_through is (method != READ)
    assert len(records) == 1
    assert records[0].error == str(found)
    assert method == READ or len(peer.requests) == 1


def drips(beginning: bytes, drop: bytes, *, every: float) -> Script:
    """Hear one request, begin to answer, and go on for as long as anybody listens."""

    def script(peer: Peer, connection: socket.socket) -> None:
        peer.hear(connection)
        connection.sendall(beginning)
        while not peer.closing.wait(every):
            connection.sendall(drop)

    return script


def sips(peer: Peer, connection: socket.socket) -> None:
    """Take the request in, byte by byte, for as long as any is left."""
    while connection.recv(1) and not peer.closing.wait(0.01):
        pass


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
HOLDS: dict[str, Script] = {
    "continues slowly": drips(b"", b"HTTP/1.1 100 Continue\r\n\r\n", every=0.03),
    "continues at once": drips(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000, every=0),
    "continues with headers": drips(b"", b"HTTP/1.1 100 Continue\r\nX-Y: 1\r\n\r\n", every=0.03),
    "early hints": drips(b"", b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n", every=0.03),
    "a status byte by byte": drips(b"HTTP/1.1 200 ", b"O", every=0.03),
    "a header byte by byte": drips(b"HTTP/1.1 200 OK\r\nX-Long: ", b"x", every=0.03),
    "header after header": drips(b"HTTP/1.1 200 OK\r\n", b"X-Y: 1\r\n", every=0.03),
    "headers of a megabyte": drips(b"HTTP/1.1 200 OK\r\n", b"X-Y: " + b"x" * 60_000 + b"\r\n", every=0),
    "the size of a chunk byte by byte": drips(CHUNKED, b"0", every=0.03),
    "a long word after the size of a chunk": drips(CHUNKED + b"1;x=", b"y" * 1000, every=0),
    "small chunks": drips(CHUNKED, b"1\r\n \r\n", every=0.03),
    "trailers slowly": drips(CHUNKED + b"2\r\n{}\r\n0\r\n", b"X-Y: 1\r\n", every=0.03),
    "trailers at once": drips(CHUNKED + b"2\r\n{}\r\n0\r\n", b"X-Y: 1\r\n" * 1000, every=0),
    "a body byte by byte": drips(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", b" ", every=0.03),
    "a body that is never whole": drips(b"HTTP/1.1 200 OK\r\n\r\n", b" ", every=0.03),
}


@pytest.mark.parametrize("script", HOLDS.values(), ids=HOLDS)
@pytest.mark.parametrize(("method", "error"), [(READ, Unreachable), (WRITE, Ambiguous)])
def test_an_answer_without_end_is_ended_by_us(
    settings: Any, script: Script, method: str, error: type[SideError]
) -> None:
    """Each step of it is in time, so that no timeout of a socket sees anything wrong."""
    settings.HTTP_TIMEOUT = 0.07
    records: list[CallRecord] = []
    with Peer(script) as peer:
        found = failure(JsonClient("crm", f"http://{peer.address}", on_call=records.append), method, json={"id": 1})
        assert peer.heard.wait(60)
    assert type(found) is error
    assert [record.status for record in records] in ([None], [200])
    assert len(peer.requests) == 1


@pytest.mark.parametrize("method", ["PUT", READ])
def test_a_request_that_is_taken_in_byte_by_byte_is_ended_by_us(settings: Any, method: str) -> None:
    settings.HTTP_TIMEOUT = 0.4
    with Peer(sips) as peer:
        found = failure(JsonClient("crm", f"http://{peer.address}"), method, json={"text": "x" * 6_000_000})
    assert type(found) is (Unreachable if method == READ else Ambiguous)


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("interim", [b"100 Continue", b"102 Processing", b"103 Early Hints"])
def test_what_comes_before_the_answer_is_no_answer(interim: bytes) -> None:
    """Taken for one, it would leave the real one for the next call on this connection."""
    before = b"HTTP/1.1 " + interim + b"\r\nLink: </style.css>\r\n\r\n"
    with Peer(answers_twice(before * 2 + GOOD, GOOD.replace(b"C-1", b"C-2"))) as peer:
        client = JsonClient("crm", f"http://{peer.address}")
        assert [client.request(READ, "/orders").data["id"] for _ in range(2)] == ["C-1", "C-2"]


def answers_twice(*answers: bytes) -> Script:
    """On one connection."""

    def script(peer: Peer, connection: socket.socket) -> None:
        for answer in answers:
            peer.hear(connection)
            connection.sendall(answer)

    return script


def test_a_write_is_waited_for_longer_than_a_read(settings: Any) -> None:
    """One that is slow has taken effect when it is repeated: twice the notes, twice the mails."""
    settings.HTTP_TIMEOUT = 1.0

    def is_slow(peer: Peer, connection: socket.socket) -> None:
        peer.hear(connection)
        peer.closing.wait(1.3)
        connection.sendall(GOOD)

    with Peer(is_slow) as peer:
        client = JsonClient("crm", f"http://{peer.address}")
        assert client.request("PUT", "/orders").data == {"id": "C-1"}
        assert type(failure(client)) is Unreachable


def test_many_dead_addresses_share_the_time(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    tried: list[str] = []

    def connects(self: socket.socket, address: tuple[str, int]) -> None:
        tried.append(address[0])
        threading.Event().wait(self.gettimeout())
        raise TimeoutError

    addresses = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (f"127.0.0.{n}", 9)) for n in range(1, 100)]
    real = socket.getaddrinfo
    found = {f"127.0.0.{n}": [addresses[n - 1]] for n in range(1, 100)} | {"many.example": addresses}
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *rest, **more: found.get(host) or real(host, *rest, **more))
    monkeypatch.setattr(socket.socket, "connect", connects)
    settings.HTTP_TIMEOUT = 0.2
    assert type(failure(JsonClient("crm", "http://many.example"))) is Unreachable
    assert 1 < len(tried) < 5


@pytest.mark.parametrize("method", [READ, WRITE])
def test_a_refused_connection_sends_nothing(method: str) -> None:
    tried: list[int] = []
    client = JsonClient("crm", f"http://127.0.0.1:{free_port()}", before_call=lambda: tried.append(1))
    found = failure(client, method)
    assert type(found) is Unreachable
    assert (found.may_have_got_through, len(tried)) == (False, 1)


@pytest.mark.parametrize("script", [hangs_up, does_not_listen, speaks_plainly])
def test_without_tls_nothing_is_sent(script: Script) -> None:
    with Peer(script) as peer:
        found = failure(JsonClient("crm", f"https://{peer.address}"), WRITE)
    assert type(found) is Unreachable


def test_a_write_that_is_not_taken_in_is_in_doubt(settings: Any) -> None:
    settings.HTTP_TIMEOUT = 0.4
    with Peer(does_not_listen) as peer:
        found = failure(JsonClient("crm", f"http://{peer.address}"), WRITE, json={"text": "x" * 6_000_000})
    assert type(found) is Ambiguous


def test_the_caller_may_say_that_a_post_is_a_read() -> None:
    with Peer(is_silent) as peer:
        assert type(failure(JsonClient("crm", f"http://{peer.address}"), WRITE, write=False)) is Unreachable


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\n\r\n" + b" " * 100_000,
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + gzip.compress(b" " * 10_000_000),
    ],
)
@pytest.mark.parametrize("method", [READ, WRITE])
def test_an_answer_that_is_too_large_is_not_read_to_its_end(
    monkeypatch: pytest.MonkeyPatch, answer: bytes, method: str
) -> None:
    monkeypatch.setattr(http, "MAX_ANSWER_BYTES", 10_000)
    with Peer(says(answer)) as peer:
        found = failure(JsonClient("crm", f"http://{peer.address}"), method)
    assert type(found) is TooLarge
    assert "larger than" in str(found)


BLANKS = b" " * 30_000_000
BOMBS = {
    "gzip": ([b"gzip"], lambda: gzip.compress(BLANKS)),
    "gzip in many members": ([b"gzip"], lambda: gzip.compress(BLANKS[:1_000_000]) * 30),
    "x-gzip": ([b"X-GZIP"], lambda: gzip.compress(BLANKS)),
    "gzip twice": ([b"gzip, gzip"], lambda: gzip.compress(gzip.compress(BLANKS))),
    "gzip twice, in two headers": ([b"gzip", b"gzip"], lambda: gzip.compress(gzip.compress(BLANKS))),
    "gzip five times": (
        [b"gzip,gzip,gzip,gzip,gzip"],
        lambda: functools.reduce(lambda b, _: gzip.compress(b), range(5), BLANKS),
    ),
    "gzip and nothing": ([b"gzip, identity"], lambda: gzip.compress(BLANKS)),
    "deflate": ([b"deflate"], lambda: zlib.compress(BLANKS)),
    "deflate in gzip": ([b"deflate, gzip"], lambda: gzip.compress(zlib.compress(BLANKS))),
}


@pytest.mark.parametrize("bomb", BOMBS)
@pytest.mark.parametrize("method", [READ, WRITE])
def test_however_an_answer_is_packed_it_takes_little_memory(
    settings: Any, monkeypatch: pytest.MonkeyPatch, bomb: str, method: str
) -> None:
    settings.HTTP_TIMEOUT = 10
    monkeypatch.setattr(http, "MAX_ANSWER_BYTES", 1_000_000)
    packings, pack = BOMBS[bomb]
    names = b"".join(b"Content-Encoding: %b\r\n" % packing for packing in packings)
    with Peer(says(b"HTTP/1.1 200 OK\r\n" + names + b"\r\n" + pack())) as peer:
        tracemalloc.start()
        try:
            found = failure(JsonClient("crm", f"http://{peer.address}"), method)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert isinstance(found, Blocked)
    assert peak < 5 * http.MAX_ANSWER_BYTES


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("packing", ["br", "zstd", "compress", "deflate", "gzip, br", "br, identity", "x" * 9000])
def test_a_packing_that_was_not_asked_for_is_named_and_not_unpacked(packing: str) -> None:
    answer = f"HTTP/1.1 200 OK\r\nContent-Encoding: {packing}\r\nContent-Length: 2\r\n\r\n{{}}".encode()
    with Peer(says(answer)) as peer:
        found = failure(JsonClient("crm", f"http://{peer.address}"), READ)
    assert type(found) is Blocked
    assert f"packed as '{packing[:60]}', and only gzip was asked for" in str(found)
    assert b"\r\naccept-encoding: gzip\r\n" in peer.requests[0].lower()


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("packing", ["gzip", "GZip", "x-gzip", "identity", "none", "UTF-8"])
def test_a_packing_that_is_none_or_ours_is_read(packing: str) -> None:
    body = gzip.compress(b'{"id": 1}') if "zip" in packing.lower() else b'{"id": 1}'
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: {packing}\r\nContent-Length: {len(body)}\r\n\r\n"
    with Peer(says(head.encode() + body)) as peer:
        assert JsonClient("crm", f"http://{peer.address}").request(READ, "/").data == {"id": 1}


# --- connections that were kept ------------------------------------------------------------------------------------


@pytest.mark.usefixtures("patient")
def test_a_read_on_a_stale_connection_is_asked_again_at_once() -> None:
    renewed: list[int] = []
    with Peer(answers_once, says(GOOD)) as peer:
        client = JsonClient("crm", f"http://{peer.address}", before_call=lambda: renewed.append(1))
        assert [client.request(READ, "/orders").data for _ in range(2)] == [{"id": "C-1"}] * 2
    assert len(peer.requests) == len(renewed) == 3


@pytest.mark.usefixtures("patient")
def test_a_write_on_a_stale_connection_is_not_repeated() -> None:
    with Peer(answers_once, says(GOOD)) as peer:
        client = JsonClient("crm", f"http://{peer.address}")
        client.request(READ, "/orders")
        assert type(failure(client, WRITE)) is Ambiguous
    assert len(peer.requests) == 2


@pytest.mark.parametrize(
    ("script", "times"), [(says(), 2), (resets, 2), (is_silent, 1), (says(b"HTTP/1.1 2"), 1), (says(GOOD[:-5]), 1)]
)
def test_a_read_is_asked_again_once_and_only_when_no_byte_came(script: Script, times: int) -> None:
    with Peer(script) as peer:
        failure(JsonClient("crm", f"http://{peer.address}"))
    assert len(peer.requests) == times


@pytest.mark.usefixtures("patient")
def test_a_signed_read_that_is_asked_again_is_signed_again() -> None:
    with Peer(answers_once, says(GOOD)) as peer:
        client = JsonClient("shop", f"http://{peer.address}", auth=OAuth1("key", "secret", signature_type="query"))
        for _ in range(2):
            client.request(READ, "/orders")
    nonces = [re.search(rb"oauth_nonce=(\d+)", request) for request in peer.requests]
    assert len({nonce[1] for nonce in nonces if nonce}) == 3


@pytest.mark.usefixtures("patient")
def test_cookies_and_the_machines_own_settings_stay_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "")
    answer = GOOD.replace(b"\r\n\r\n", b"\r\nSet-Cookie: seen=1\r\n\r\n")
    with Peer(says(answer)) as peer:
        client = JsonClient("crm", f"http://{peer.address}")
        for _ in range(2):
            client.request(READ, "/orders")
    assert b"Cookie" not in peer.requests[1]


# --- TLS -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def private_ca() -> trustme.CA:
    return trustme.CA()


def over_tls(certificate: trustme.LeafCert, script: Script) -> Script:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)

    def secured(peer: Peer, connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as inner:
            script(peer, inner)

    return secured


@pytest.fixture
def bundle(settings: Any, private_ca: trustme.CA, tmp_path: Path) -> Path:
    path = tmp_path / "ca.pem"
    private_ca.cert_pem.write_to_path(str(path))
    settings.CA_BUNDLE = str(path)
    return path


@pytest.mark.usefixtures("patient")
def test_the_private_ca_of_the_settings_is_trusted(private_ca: trustme.CA, bundle: Path) -> None:
    with Peer(over_tls(private_ca.issue_cert("127.0.0.1"), says(GOOD))) as peer:
        assert JsonClient("crm", f"https://{peer.address}").request(READ, "/orders").data == {"id": "C-1"}


@pytest.mark.usefixtures("patient")
def test_the_public_cas_are_trusted_besides(monkeypatch: pytest.MonkeyPatch, bundle: Path, tmp_path: Path) -> None:
    public = trustme.CA()
    public.cert_pem.write_to_path(str(tmp_path / "public.pem"))
    monkeypatch.setattr(requests.adapters, "DEFAULT_CA_BUNDLE_PATH", str(tmp_path / "public.pem"))
    with Peer(over_tls(public.issue_cert("127.0.0.1"), says(GOOD))) as peer:
        assert JsonClient("crm", f"https://{peer.address}").request(READ, "/orders").data == {"id": "C-1"}


@pytest.mark.parametrize("held", ["continues slowly", "a header byte by byte", "the size of a chunk byte by byte"])
@pytest.mark.parametrize("method", [READ, WRITE])
def test_over_tls_an_answer_without_end_is_ended_too(
    settings: Any, monkeypatch: pytest.MonkeyPatch, private_ca: trustme.CA, bundle: Path, held: str, method: str
) -> None:
    settings.HTTP_TIMEOUT = 0.3
    monkeypatch.setattr(http, "CONNECT_SECONDS", 5.0)
    with Peer(over_tls(private_ca.issue_cert("127.0.0.1"), HOLDS[held])) as peer:
        found = failure(JsonClient("crm", f"https://{peer.address}"), method)
    assert type(found) is (Unreachable if method == READ else Ambiguous)


def test_over_tls_a_request_that_is_taken_in_byte_by_byte_is_ended_too(
    settings: Any, monkeypatch: pytest.MonkeyPatch, private_ca: trustme.CA, bundle: Path
) -> None:
    settings.HTTP_TIMEOUT = 0.4
    monkeypatch.setattr(http, "CONNECT_SECONDS", 5.0)
    with Peer(over_tls(private_ca.issue_cert("127.0.0.1"), sips)) as peer:
        found = failure(JsonClient("crm", f"https://{peer.address}"), "PUT", json={"text": "x" * 6_000_000})
    assert type(found) is Ambiguous


def unreadable(path: Path) -> None:
    path.write_text("-----BEGIN CERTIFICATE-----\nno\n-----END CERTIFICATE-----\n")


def is_no_file(path: Path) -> None:
    path.mkdir()


@pytest.mark.django_db  # one of the checks reads stored credentials
@pytest.mark.parametrize("make", [Path.touch, unreadable, is_no_file, lambda path: None])
def test_a_bundle_that_can_not_be_used_is_named(settings: Any, tmp_path: Path, make: Callable[[Path], None]) -> None:
    settings.CA_BUNDLE = str(tmp_path / "ca.pem")
    make(tmp_path / "ca.pem")
    found = failure(JsonClient("shop", BASE))
    assert isinstance(found, NotConfigured) and found.side == "shop"
    assert re.match(r"CA_BUNDLE is .*/ca\.pem: .*\. Name a PEM file", str(found))
    assert [one.id for one in checks.run_checks() if one.level >= checks.ERROR] == ["orderbridge.E022"]
