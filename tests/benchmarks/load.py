"""Many senders at once: signed real bodies over raw sockets, so that the senders take little of the machine."""

import base64
import hashlib
import hmac
import json
import multiprocessing
import socket
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.benchmarks.running import ROOT, percentile

SECRET = b"bench-secret"
RECORDED = ROOT / "tests" / "payloads" / "woocommerce" / "00025-order.created-22.json"
PATH = "/webhooks/woocommerce/"
PROCESSES = 2
WARM_UP = 200


@dataclass(frozen=True, kw_only=True)
class Figures:
    rate: float
    took: list[float]
    "Seconds of each delivery."
    bad: list[int]
    "Every answer that was not 200; 0 is none at all."

    def milliseconds(self, share: float) -> float:
        return percentile(self.took, share) * 1000


def deliveries(first: int, count: int) -> list[bytes]:
    """Whole HTTP requests: real bodies with an order number of their own, signed."""
    capture = json.loads(RECORDED.read_text())
    body: bytes = capture["body"].encode()
    kept = [(name, value) for name, value in capture["headers"] if name.startswith(("X-WC-", "Content-Type", "User-"))]
    made = []
    for number in range(first, first + count):
        one = body.replace(b'"id":22,', b'"id":%d,' % number, 1).replace(b'"number":"22"', b'"number":"%d"' % number)
        signature = base64.b64encode(hmac.new(SECRET, one, hashlib.sha256).digest()).decode()
        headers = {**dict(kept), "X-WC-Webhook-Signature": signature, "Content-Length": str(len(one))}
        head = "".join(f"{name}: {value}\r\n" for name, value in {"Host": "127.0.0.1", **headers}.items())
        made.append(f"POST {PATH} HTTP/1.1\r\n{head}\r\n".encode() + one)
    return made


class Sender:
    """One connection, kept as long as the server keeps it."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.socket: socket.socket | None = None

    def send(self, request: bytes) -> int:
        """The status; 0 if there was no answer."""
        try:
            if self.socket is None:
                self.socket = socket.create_connection(("127.0.0.1", self.port), timeout=30)
                self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.socket.sendall(request)
            return self._answer(self.socket)
        except (OSError, ValueError):
            self.close()
            return 0

    def _answer(self, connection: socket.socket) -> int:
        got = b""
        while b"\r\n\r\n" not in got:
            part = connection.recv(65536)
            if not part:
                raise ConnectionError("no whole answer")
            got += part
        head, _, body = got.partition(b"\r\n\r\n")
        lines = head.lower().split(b"\r\n")
        length = int(next((line[15:] for line in lines if line.startswith(b"content-length:")), b"no length"))
        while len(body) < length:
            body += connection.recv(65536)
        if b"connection: close" in lines:
            self.close()
        return int(head.split(b" ", 2)[1])

    def close(self) -> None:
        if self.socket:
            self.socket.close()
        self.socket = None


def _send_all(port: int, mine: Sequence[bytes], took: list[float], bad: list[int]) -> None:
    sender = Sender(port)
    for request in mine:
        started = time.perf_counter()
        status = sender.send(request)
        took.append(time.perf_counter() - started)
        if status != 200:
            bad.append(status)
    sender.close()


def _process(port: int, first: int, count: int, connections: int, start: Any, results: Any) -> None:
    work = deliveries(first, count)
    took: list[float] = []
    bad: list[int] = []
    threads = [
        threading.Thread(target=_send_all, args=(port, work[n::connections], took, bad)) for n in range(connections)
    ]
    start.wait()
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    results.put((began, time.monotonic(), took, bad))


def steadily(port: int, per_second: float, seconds: float) -> list[int]:
    """One delivery after the other at an even pace; every answer that was not 200."""
    global _next
    count = max(1, int(per_second * seconds))
    first, _next = _next, _next + count
    bad: list[int] = []
    sender, started = Sender(port), time.monotonic()
    for number, request in enumerate(deliveries(first, count)):
        time.sleep(max(0.0, started + number / per_second - time.monotonic()))
        status = sender.send(request)
        if status != 200:
            bad.append(status)
    sender.close()
    return bad


_next = 10_000_000


def post(port: int, count: int, connections: int) -> Figures:
    """So many new deliveries over so many connections at once. No two calls send the same ones."""
    global _next
    first, _next = _next, _next + count
    processes = min(PROCESSES, connections)
    context = multiprocessing.get_context("spawn")
    start, results = context.Barrier(processes), context.Queue()
    each = count // processes
    loaders = [
        context.Process(
            target=_process, args=(port, first + n * each, each, connections // processes, start, results), daemon=True
        )
        for n in range(processes)
    ]
    for one in loaders:
        one.start()
    found = [results.get(timeout=300) for _ in loaders]
    for one in loaders:
        one.join(30)
    took = [seconds for _, _, times, _ in found for seconds in times]
    elapsed = max(end for _, end, _, _ in found) - min(began for began, _, _, _ in found)
    return Figures(rate=len(took) / elapsed, took=took, bad=[status for *_, bad in found for status in bad])
