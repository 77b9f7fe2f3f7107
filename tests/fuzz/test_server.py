"""What no test client can send: malformed HTTP over a socket, to a real gunicorn as `make run` starts it."""

import re
import shutil
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from tests.benchmarks.running import environment, running
from tests.deliveries import signed_by_shop
from tests.fuzz.sent import fewer
from tests.journeys.conftest import wait_for
from tests.servers import free_port

LIMIT = 20_000
SECRET = "bench-secret"
PATH = "/webhooks/woocommerce/"
CHUNKED = "Transfer-Encoding: chunked"


class Server:
    def __init__(self, port: int, log: Path) -> None:
        self.port, self.log = port, log

    def say(self, raw: bytes, *, then_close: bool = False) -> bytes:
        """What comes back until the server closes; nothing more is sent."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as line:
            try:
                line.sendall(raw)
                line.shutdown(socket.SHUT_RDWR if then_close else socket.SHUT_WR)
                return b"".join(iter(lambda: line.recv(65536), b""))
            except OSError:
                return b""  # it had enough before it had all

    def statuses(self, raw: bytes) -> list[int]:
        return [int(one) for one in re.findall(rb"^HTTP/1\.[01] (\d{3}) ", self.say(raw), re.MULTILINE)]

    def is_well(self) -> bool:
        try:
            return requests.get(f"http://127.0.0.1:{self.port}/healthz", timeout=20).status_code == 200
        except requests.ConnectionError:
            return False


@pytest.fixture(scope="module", params=[["-k", "sync"], ["-k", "gthread", "--threads", "4"]], ids=["sync", "threads"])
def server(request: Any, tmp_path_factory: pytest.TempPathFactory, migrated: Path) -> Iterator[Server]:
    home, port = tmp_path_factory.mktemp("fuzz"), free_port()
    env = environment(f"sqlite:///{home / 'db.sqlite3'}", port, MAX_BODY_BYTES=str(LIMIT), LOG_LEVEL="ERROR")
    shutil.copy(migrated, home / "db.sqlite3")
    command = [sys.executable, "-m", "gunicorn", "integration_site.wsgi", "-w", "2", *request.param]
    command += ["-b", f"127.0.0.1:{port}", "--error-logfile", "-", "--no-control-socket"]
    with running(command, env, home / "log"):
        found = Server(port, home / "log")
        wait_for(found.is_well, 60)
        yield found


def request(*headers: str, body: bytes = b"", line: str = f"POST {PATH} HTTP/1.1") -> bytes:
    return "\r\n".join([line, "Host: localhost", "Connection: close", *headers, "", ""]).encode("latin-1") + body


def announced(body: bytes) -> str:
    return f"Content-Length: {len(body)}"


def signed(body: bytes) -> str:
    return f"X-WC-Webhook-Signature: {signed_by_shop(body, secret=SECRET)['X-WC-Webhook-Signature']}"


def chunks(body: bytes, size: int = 7) -> bytes:
    parts = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(b"%x;a=b\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


ORDER = b'{"id": 14, "status": "processing"}'
BIG = b"x" * (LIMIT + 1)
GOOD = request(announced(ORDER), signed(ORDER), body=ORDER)
CASES: dict[str, tuple[bytes, set[int]]] = {
    "as it should be": (GOOD, {200}),
    "chunked": (request(CHUNKED, signed(ORDER), body=chunks(ORDER)), {200}),
    "expects 100": (request("Expect: 100-continue", announced(ORDER), signed(ORDER), body=ORDER), {100, 200}),
    "unsigned": (request(announced(ORDER), body=ORDER), {401}),
    "no length": (request(signed(ORDER), body=ORDER), {401}),
    "too large": (request(announced(BIG), body=BIG), {413}),
    "too large, and nothing of it comes": (request("Content-Length: 99999999999"), {413}),
    "too large in chunks": (request(CHUNKED, body=chunks(BIG, 900)), {413}),
    "breaks off": (request("Content-Length: 500", signed(ORDER), body=ORDER), {400}),
    "breaks off in chunks": (request(CHUNKED, body=b"5\r\nab"), {400}),
    "a chunk of no size": (request(CHUNKED, body=b"zz\r\nab\r\n0\r\n\r\n"), {400}),
    "a chunk longer than it says": (request(CHUNKED, body=b"2\r\nabcdef\r\n0\r\n\r\n"), {400}),
    "a negative length": (request("Content-Length: -5"), {400}),
    "two lengths": (request("Content-Length: 5", "Content-Length: 6", body=b"abcdef"), {400}),
    "a length and chunks": (request(announced(ORDER), CHUNKED, signed(ORDER), body=chunks(ORDER)), {200, 400}),
    "chunked twice": (request("Transfer-Encoding: chunked, chunked", body=chunks(ORDER)), {400, 501}),
    "an unknown coding": (request("Transfer-Encoding: sourdough", body=ORDER), {400, 501}),
    "NUL in a header": (request("X-WC-Webhook-Topic: a\0b", announced(ORDER), signed(ORDER), body=ORDER), {200, 400}),
    "a header without a colon": (request("nonsense"), {400}),
    "a header of 100 kB": (request("X-Long: " + "x" * 100_000), {400, 431}),
    "a thousand headers": (request(*(f"X-{n}: y" for n in range(1000))), {400, 431}),
    "a charset that nobody knows": (
        request("Content-Type: a/b; charset*=x''%41", announced(ORDER), signed(ORDER), body=ORDER),
        {200},
    ),
    "no HTTP": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 20 + b"\r\n\r\n", {400}),
    "an old HTTP": (b"POST /webhooks/crm/\r\n\r\n", {400}),
    "a future HTTP": (request(line="POST /webhooks/crm/ HTTP/9.9"), {400, 505}),
    "another host": (GOOD.replace(b"Host: localhost", b"Host: evil.example"), {200}),
    "a path from outside": (request(line="POST /webhooks/../../etc/passwd HTTP/1.1"), {404}),
    "NUL in the path": (request(line="POST /webhooks/crm/%00 HTTP/1.1"), {404}),
    "an absolute address": (request(line=f"POST http://localhost{PATH} HTTP/1.1"), {401, 404}),
    "another method": (request(line=f"BREW {PATH} HTTP/1.1"), {405}),
}


@pytest.mark.parametrize("name", CASES)
def test_malformed_http_is_the_senders_fault(server: Server, name: str) -> None:
    raw, allowed = CASES[name]
    found = server.statuses(raw)
    assert found and set(found) <= allowed


def test_who_hangs_up_while_sending_disturbs_nobody(server: Server) -> None:
    for raw in (b"", b"POST", GOOD[:-5], request(CHUNKED, body=b"ffff\r\nabc")):
        server.say(raw, then_close=True)
    assert server.statuses(GOOD) == [200]


SLOW = {
    "a body": (request("Content-Length: 500"), b"x"),
    "headers": (request()[:-2], b"X: y\r\n"),
    "chunks": (request(CHUNKED), b"1\r\nx\r\n"),
    "what was asked for": (request("Expect: 100-continue", "Content-Length: 500"), b"x"),
    "too much": (request("Content-Length: 99999999"), b"x"),
    "nothing": (b"", b""),
    "its goodbye": (GOOD, b""),
}


@pytest.mark.parametrize("server", [["-k", "gthread", "--threads", "4"]], indirect=True)
@pytest.mark.parametrize("name", SLOW)
def test_those_who_are_slow_with_something_keep_nobody_else_waiting(server: Server, name: str) -> None:
    """More of them than there are threads, each of whom has just sent a byte more."""
    first, more = SLOW[name]
    with ExitStack() as lines:
        slow = [
            lines.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=20)) for _ in range(24)
        ]
        for part in (first, more):
            for line in slow:
                line.sendall(part)
        assert server.statuses(GOOD) == [200]


PIECES = [
    b"\r\n",
    b"\n",
    b"\0",
    b":",
    b" ",
    b"\xff",
    b"%",
    b"chunked",
    b"0\r\n\r\n",
    b"HTTP/1.1",
    b"Content-Length: 3\r\n",
]
edits = st.lists(
    st.tuples(st.integers(0, len(GOOD)), st.integers(0, 6), st.one_of(st.sampled_from(PIECES), st.binary(max_size=3))),
    min_size=1,
    max_size=4,
)


def test_a_request_with_any_damage_is_answered_below_500(server: Server) -> None:
    @fewer
    @given(edits)
    def each(changes: list[tuple[int, int, bytes]]) -> None:
        raw = GOOD
        for place, cut, piece in changes:
            raw = raw[:place] + piece + raw[place + cut :]
        assert all(status < 500 or status in (501, 505) for status in server.statuses(raw))

    each()
    assert server.is_well()
    written = server.log.read_text(errors="replace")
    assert "Error handling request" not in written and "Internal Server Error" not in written
