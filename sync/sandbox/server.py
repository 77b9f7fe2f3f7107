"""A small HTTP server on loopback with keep-alive and faults, which the sandbox shop and CRM are built on."""

import json
import socket
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from sync.sandbox.faults import Fault, Faults
from sync.sandbox.outbox import Outbox

BEFORE_EFFECT = {"403", "403-html", "422", "500", "502", "503-retry-after", "429", "html", "captcha-202"}


@dataclass
class Request:
    """A call as it came; `status` is what was answered, 0 when the connection was closed instead."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    status: int = 0
    line_method: str = ""
    "The one of the request line, where X-HTTP-Method-Override named another."

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def pairs(self) -> list[tuple[str, str]]:
        return parse_qsl(urlsplit(self.target).query, keep_blank_values=True)

    @property
    def query(self) -> dict[str, str]:
        return dict(self.pairs)

    def json(self) -> Any:
        return json.loads(self.body or b"{}")


@dataclass
class Answer:
    """What goes back; `content` is sent as JSON unless it is bytes."""

    status: int
    content: Any = None
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def body(self) -> bytes:
        return self.content if isinstance(self.content, bytes) else json.dumps(self.content).encode()


class HttpError(Exception):
    """An answer raised instead of returned."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(f"HTTP {answer.status}")
        self.answer = answer


def _html(status: int, title: str, **headers: str) -> Answer:
    page = f"<!doctype html><title>{title}</title><h1>{title}</h1>".encode()
    return Answer(status, page, {"Content-Type": "text/html; charset=utf-8", **headers})


def failed_answer(fault: Fault) -> Answer:
    """What a fault answers that stands in for the real server."""
    after = f"{fault.after:g}"
    match fault.name:
        case "403":
            return Answer(403, {"code": "woocommerce_rest_cannot_edit", "message": "You are not allowed to."})
        case "403-html":
            return _html(403, "Forbidden")
        case "422":
            return Answer(422, {"error": "invalid", "message": "The order lacks what we need."})
        case "500":
            return Answer(500, {"code": "internal_server_error", "message": "There has been a critical error."})
        case "502":
            return _html(502, "Bad Gateway")
        case "503-retry-after":
            return _html(503, "Service Unavailable", **{"Retry-After": after})
        case "429":
            return Answer(429, {"code": "too_many_requests", "message": "Slow down."}, {"Retry-After": after})
        case "captcha-202":
            return _html(202, "Checking your browser", **{"SG-Captcha": "challenge"})
        case _:
            return _html(200, "Maintenance")


class LoopbackServer(ABC):
    """Start, stop, count calls and fail on demand. Subclasses fulfil `handle`.

    `clock_is_ahead` puts its clock wrong; what it signs keeps the right time, else nothing would arrive at all.
    `address` is another than loopback only for tests on several networks of one machine.
    """

    address = "127.0.0.1"

    def __init__(self, port: int = 0) -> None:
        self.port = port
        self.faults = Faults()
        self.requests: list[Request] = []
        self.listener: Callable[[str], None] | None = None
        self.clock_is_ahead = timedelta()
        self.lock = threading.RLock()
        self._connections: set[socket.socket] = set()
        self._server: ThreadingHTTPServer | None = None
        self._closing = threading.Event()
        self.outbox: Outbox | None = None
        "Of one that sends webhooks."

    @property
    def url(self) -> str:
        return f"http://{self.address}:{self.port}"

    def start(self) -> None:
        """Listen; the port stays the same over stop and start, as an outage of a real host would have it."""
        self._closing.clear()
        self._server = _Listener((self.address, self.port), _handler_for(self))
        self.port = self._server.server_address[1]
        threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, name=f"sandbox:{self.port}", daemon=True
        ).start()
        if self.outbox:
            self.outbox.start()

    def stop(self) -> None:
        """Stop listening and cut open connections: a kept-alive one would go on being answered."""
        self._closing.set()
        if self.outbox:
            self.outbox.stop()
        if self._server is None:
            return
        self._server.shutdown()
        self._server.server_close()
        self._server = None
        with self.lock:
            connections = list(self._connections)
        for connection in connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def settle(self, timeout: float = 60.0) -> None:
        """Wait until everything that it sends is delivered or given up; raises TimeoutError."""
        if self.outbox:
            self.outbox.settle(timeout)

    def now(self) -> datetime:
        """By this server's own clock, which dates its orders and answers."""
        return datetime.now(UTC) + self.clock_is_ahead

    def place_of(self, request: Request) -> tuple[str, str]:
        """The method and path by which faults are limited."""
        return request.method, request.path

    def tell(self, line: str) -> None:
        if self.listener:
            self.listener(line)

    @abstractmethod
    def handle(self, request: Request, fault: Fault | None) -> Answer:
        """The server's own answer; what faults do to every answer is done by `answer`."""

    def answer(self, request: Request) -> Answer | None:
        """The answer with faults applied; None: close the connection without one."""
        if request.path == "/_faults":
            return self._fault_control(request)
        fault = self.faults.take(*self.place_of(request), request.query)
        with self.lock:
            self.requests.append(request)
        # Waiting on the event and not sleeping: a stop ends every slow answer at once.
        if fault and fault.name == "slow":
            self._closing.wait(fault.seconds)
        if fault and fault.name == "down":
            return None
        answer = failed_answer(fault) if fault and fault.name in BEFORE_EFFECT else self._handled(request, fault)
        if fault and fault.name == "timeout-after-effect":
            self._closing.wait(fault.seconds)
            return None
        if fault and fault.name == "bom":
            answer = Answer(answer.status, b"\xef\xbb\xbf" + answer.body, answer.headers)
        if fault and fault.name == "truncated":
            answer = Answer(answer.status, answer.body[: len(answer.body) // 2], answer.headers)
        request.status = answer.status
        return answer

    def _handled(self, request: Request, fault: Fault | None) -> Answer:
        try:
            return self.handle(request, fault)
        except HttpError as error:
            return error.answer

    def _fault_control(self, request: Request) -> Answer:
        try:
            if request.method == "DELETE":
                self.faults.clear()
            elif request.method == "POST":
                self.faults.add(**request.json())
        except (ValueError, TypeError) as error:
            return Answer(400, {"error": str(error)})
        return Answer(200, [asdict(fault) for fault in self.faults.active()])


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


def _handler_for(server: LoopbackServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        server_version = "Sandbox"
        disable_nagle_algorithm = True
        wbufsize = -1  # one segment for head and body

        def setup(self) -> None:
            super().setup()
            with server.lock:
                server._connections.add(self.connection)

        def finish(self) -> None:
            with server.lock:
                server._connections.discard(self.connection)
            with suppress(OSError):
                super().finish()

        def handle(self) -> None:
            with suppress(OSError):
                super().handle()

        def date_time_string(self, timestamp: float | None = None) -> str:
            return super().date_time_string(server.now().timestamp() if timestamp is None else timestamp)

        def log_message(self, format: str, *args: Any) -> None:
            """Silence: `requests` has them all."""

        def serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            method = headers.get("x-http-method-override", self.command).upper()
            answer = server.answer(Request(method, self.path, headers, body, line_method=self.command))
            if answer is None:
                self.close_connection = True
                return
            self.send_response(answer.status)
            for name, value in {"Content-Type": "application/json; charset=UTF-8", **answer.headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answer.body)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_HEAD = serve

    return Handler
