"""Deliveries per second into the inbox, beside the least a Django view can do: `python -m tests.benchmarks.ingest`."""

import argparse
import base64
import hashlib
import hmac
import http.client
import json
import multiprocessing
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from tests import servers
from tests.benchmarks.running import ROOT, database, environment, migrate, percentile, say, web

PROCESSES, THREADS = 2, 8
SECRET = b"bench-secret"
RECORDED = ROOT / "tests" / "payloads" / "woocommerce" / "00025-order.created-22.json"
PATH = "/webhooks/woocommerce/"


def deliveries(first: int, count: int) -> list[tuple[bytes, dict[str, str]]]:
    """Real bodies with an order number of their own, signed."""
    capture = json.loads(RECORDED.read_text())
    body: bytes = capture["body"].encode()
    headers = {name: value for name, value in capture["headers"] if name.startswith(("X-WC-", "Content-Type"))}
    made = []
    for number in range(first, first + count):
        one = body.replace(b'"id":22,', b'"id":%d,' % number, 1).replace(b'"number":"22"', b'"number":"%d"' % number)
        signature = base64.b64encode(hmac.new(SECRET, one, hashlib.sha256).digest()).decode()
        made.append((one, {**headers, "X-WC-Webhook-Signature": signature}))
    return made


def client(port: int, mine: list[tuple[bytes, dict[str, str]]], took: list[float], bad: list[int]) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    for body, headers in mine:
        started = time.perf_counter()
        try:
            connection.request("POST", PATH, body, headers)
            answer = connection.getresponse()
            answer.read()
            status = answer.status
        except (OSError, http.client.HTTPException):
            # A kept-alive connection may be closed under us; counted, never hidden.
            connection.close()
            status = 0
        took.append(time.perf_counter() - started)
        if status != 200:
            bad.append(status)
    connection.close()


def load_process(port: int, first: int, count: int, start: Any, results: Any) -> None:
    work = deliveries(first, count)
    took: list[float] = []
    bad: list[int] = []
    threads = [threading.Thread(target=client, args=(port, work[n::THREADS], took, bad)) for n in range(THREADS)]
    start.wait()
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    results.put((began, time.monotonic(), took, bad))


def measure(port: int, first: int, count: int) -> tuple[float, list[float], list[int]]:
    """Deliveries per second, the time of each, and every answer that was not 200."""
    context = multiprocessing.get_context("spawn")
    start, results = context.Barrier(PROCESSES), context.Queue()
    each = count // PROCESSES
    loaders = [
        context.Process(target=load_process, args=(port, first + n * each, each, start, results))
        for n in range(PROCESSES)
    ]
    for one in loaders:
        one.start()
    found = [results.get(timeout=300) for _ in loaders]
    for one in loaders:
        one.join(30)
    took = [seconds for _, _, times, _ in found for seconds in times]
    elapsed = max(end for _, end, _, _ in found) - min(began for began, _, _, _ in found)
    return len(took) / elapsed, took, [status for *_, bad in found for status in bad]


def report(what: str, rate: float, took: list[float], bad: list[int]) -> None:
    failed = f"  NOT 200: {len(bad)} {sorted(set(bad))}" if bad else ""
    p50, p99 = percentile(took, 0.5) * 1000, percentile(took, 0.99) * 1000
    say(f"  {what:<12} {rate:7.0f} deliveries/s   p50 {p50:6.1f} ms   p99 {p99:6.1f} ms{failed}")


def compare(kind: str, count: int, threads: int) -> None:
    server = "gunicorn -w 2" + (f" --threads {threads}" if threads > 1 else "")
    say(f"{kind}, {server}, {PROCESSES * THREADS} connections, {count} deliveries")
    rates = {}
    with tempfile.TemporaryDirectory(prefix="orderbridge-bench-") as temporary:
        home = Path(temporary)
        with database(kind, home) as url:
            for name, app in (
                ("bare", "tests.benchmarks.bare:application()"),
                ("orderbridge", "integration_site.wsgi"),
            ):
                port = servers.free_port()
                env = environment(url, port)
                if name == "bare":
                    env["DJANGO_SETTINGS_MODULE"] = "tests.benchmarks.bare"
                else:
                    migrate(env)
                with web(env, port, home / f"{name}.log", app, threads):
                    measure(port, 10_000_000, 200)
                    rate, took, bad = measure(port, 1_000, count)
                rates[name] = rate
                report(name, rate, took, bad)
    say(f"  ratio        {rates['orderbridge'] / rates['bare']:.2f} of the bare view\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=3000)
    parser.add_argument("--threads", type=int, default=1, help="above 1: gunicorn's gthread workers, with keep-alive")
    parser.add_argument("--database", choices=["sqlite", "postgres"], action="append")
    options = parser.parse_args()
    for kind in options.database or ["sqlite", "postgres"]:
        try:
            compare(kind, options.count, options.threads)
        except servers.NotInstalled as error:
            say(f"  skipped: {error}\n")


if __name__ == "__main__":
    main()
