"""Calls per order, and orders per second of a backfill into each CRM, beside the backend alone."""

import json
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from typing import Any
from unittest.mock import patch

from sync.sandbox.crms import CRMS, stand_in
from sync.sandbox.crms.base import StandIn
from tests import servers
from tests.benchmarks.running import Options, database, environment, migrate, running, say, talk
from tests.benchmarks.runs import KEYS, THREADS, Bare, _listens, tell

REST = "rest"
KNOWN = (REST, *CRMS)
ORDERS = 400
ORDERS_OF_A_CUSTOMER = 4
LATENCIES = (0.0, 0.02)
TRIES = 5


def kind_of(crm: str) -> type[StandIn]:
    from sync.sandbox.crm import SandboxCrm

    return SandboxCrm if crm == REST else stand_in(crm)


def sandboxed(crm: str, port: int, folder: Path) -> StandIn:
    from sync.sandbox.crms.tryton import TrytonOfTheSandbox, TrytonServer

    kind = kind_of(crm)
    return kind(port, TrytonServer(folder)) if issubclass(kind, TrytonOfTheSandbox) else kind(port)


def sides(crm: str, shop_port: int, crm_port: int, orders: int, latency: float, folder: Path) -> None:
    """A shop with so many orders, each customer with some of them, and an empty CRM."""
    from datetime import UTC, datetime, timedelta

    from sync.sandbox.orders import dated, new_order
    from sync.sandbox.shop import SandboxShop

    shop = SandboxShop(shop_port, consumer_key=KEYS["WOO_CONSUMER_KEY"], consumer_secret=KEYS["WOO_CONSUMER_SECRET"])
    began = datetime(2025, 1, 1, tzinfo=UTC)
    for number in range(1, orders + 1):
        at, customer = began + timedelta(minutes=number), number % max(1, orders // ORDERS_OF_A_CUSTOMER)
        billing = {"email": f"c{customer}@example.test", "phone": f"+49 30 {customer:06}"}
        shop.load({**new_order(number, at, shop.url, {"billing": billing}), **dated("date_modified", at)})
    for server in (shop, sandboxed(crm, crm_port, folder)):
        if latency:
            server.faults.add("slow", seconds=latency)
        server.start()
    threading.Event().wait()


def alone() -> None:
    """The backend's own creations, with as many threads, and the shop's pages: no database, no decision."""
    import django

    django.setup()
    from sync.clients import crm as crm_backends
    from sync.clients.errors import Unconfirmed

    bare, crm, started = Bare(), crm_backends.connect(), time.monotonic()
    compose = crm_backends.composer().document

    def create(order: dict[str, Any]) -> None:
        """Two that make the same customer may have to look again."""
        for _ in range(TRIES):
            try:
                crm.create(str(order["id"]), compose(order))
            except Unconfirmed:
                continue
            return

    with counted_calls() as calls, ThreadPoolExecutor(THREADS) as pool:
        for page in bare.pages():
            list(pool.map(create, page))
    tell(started, calls=calls)


@contextmanager
def counted_calls() -> Iterator[Counter[str]]:
    """By side."""
    from sync.clients.http import JsonClient

    calls: Counter[str] = Counter()
    real = JsonClient.request

    def counted(client: JsonClient, *args: Any, **more: Any) -> Any:
        calls[client.side] += 1
        return real(client, *args, **more)

    with patch.object(JsonClient, "request", counted):
        yield calls


def ours() -> None:
    import django
    from django.core.management import call_command

    django.setup()
    out, started = StringIO(), time.monotonic()
    with counted_calls() as calls:
        call_command("backfill", "--json", stdout=out)
    tell(started, calls=calls, **json.loads(out.getvalue()))


@contextmanager
def world(crm: str, kind: str, orders: int, latency: float) -> Iterator[dict[str, str]]:
    """Fresh sides and a fresh database; its environment."""
    chosen = kind_of(crm)
    with tempfile.TemporaryDirectory(prefix="orderbridge-bench-") as home, database(kind, Path(home)) as url:
        ports = servers.free_port(), servers.free_port()
        shop_url, crm_url = (f"http://127.0.0.1:{port}" for port in ports)
        where = {"WOO_URL": shop_url, "CRM_URL": f"{crm_url}{chosen.path}", "CRM_BACKEND": crm, "CRM_LIST_LAG": "0"}
        told = {f"CRM_{name.upper()}": value for name, value in chosen.settings.items()}
        more = {**KEYS, **where, **told, "LOG_LEVEL": "ERROR"}
        env = environment(url, servers.free_port(), DJANGO_SETTINGS_MODULE="integration_site.settings", **more)
        command = [sys.executable, "-m", "tests.benchmarks.backends", "sides", crm]
        with running([*command, *map(str, (*ports, orders, latency, home))], env, Path(home) / "sides.log"):
            migrate(env)
            until = time.monotonic() + 120
            while not (_listens(shop_url) and _listens(crm_url)):
                if time.monotonic() > until:
                    raise SystemExit("the sandbox did not start")
                time.sleep(0.1)
            yield env


def compare(crm: str, kind: str, orders: int, latency: float) -> None:
    told = []
    for what in ("alone", "ours"):
        with world(crm, kind, orders, latency) as env:
            told.append(json.loads(talk(["-m", "tests.benchmarks.backends", what], env, 3600).splitlines()[-1]))
    plain, real = told
    say(
        f"  {crm:<8} {latency * 1000:3.0f} ms   {orders / real['seconds']:6.1f} orders/s   the backend alone "
        f"{orders / plain['seconds']:6.1f} orders/s   ratio {real['seconds'] / plain['seconds']:.2f}   "
        f"{real['calls']['crm'] / orders:.2f} calls of the CRM an order, alone {plain['calls']['crm'] / orders:.2f}"
    )
    if real["created"] != orders:
        say(f"  WRONG: {real}")


def backends(options: Options) -> None:
    """Of one CRM, or of each."""
    from sync.sandbox.crms.tryton import is_made

    orders = options.size(ORDERS)
    say(f"\n{options.kind}, {orders} orders, {ORDERS_OF_A_CUSTOMER} of a customer, {THREADS} calls at once")
    for crm in [options.crm] if options.crm else KNOWN:
        if crm == "tryton" and not is_made():
            say("  tryton is skipped: it is not installed here (make tryton)")
            continue
        for latency in LATENCIES:
            compare(crm, options.kind, orders, latency)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["sides", crm, shop, port, number, seconds, folder]:
            sides(crm, int(shop), int(port), int(number), float(seconds), Path(folder))
        case ["alone"]:
            alone()
        case ["ours"]:
            ours()
