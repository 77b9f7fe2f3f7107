"""Orders per second of backfill and drift, beside the same HTTP calls made by nothing else, and their memory."""

import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from statistics import median
from typing import Any

import requests
from requests_oauthlib import OAuth1

from tests import servers
from tests.benchmarks.running import ROOT, Options, database, environment, migrate, running, say

ORDERS, MANY = 2_000, 20_000
ROUNDS = 3
THREADS, PAGE = 4, 100
LATENCIES = (0.0, 0.02)
"""Seconds that each side takes to answer: none, where all processes share the cores; and as over a network."""
KEYS = {"WOO_CONSUMER_KEY": "ck_bench", "WOO_CONSUMER_SECRET": "cs_bench", "CRM_TOKEN": "bench-token"}


# --- the sides, the bare calls and ours: each in a process of its own ----------------------------------------------


def sides(shop_port: int, crm_port: int, orders: int, latency: float) -> None:
    """A shop with so many orders, and an empty CRM."""
    from datetime import UTC, datetime, timedelta

    from sync.sandbox.crm import SandboxCrm
    from sync.sandbox.orders import dated, new_order
    from sync.sandbox.shop import SandboxShop

    shop = SandboxShop(shop_port, consumer_key=KEYS["WOO_CONSUMER_KEY"], consumer_secret=KEYS["WOO_CONSUMER_SECRET"])
    crm = SandboxCrm(crm_port, KEYS["CRM_TOKEN"])
    began = datetime(2025, 1, 1, tzinfo=UTC)
    for number in range(1, orders + 1):
        at = began + timedelta(minutes=number)
        shop.load({**new_order(number, at, shop.url, {}), **dated("date_modified", at)})
    for server in (shop, crm):
        if latency:
            server.faults.add("slow", seconds=latency)
        server.start()
    threading.Event().wait()


class Bare:
    """The calls of both runs, with kept connections and the same concurrency; no database and no decision."""

    def __init__(self) -> None:
        self.shop, self.crm = os.environ["WOO_URL"], os.environ["CRM_URL"]
        self.auth = OAuth1(
            KEYS["WOO_CONSUMER_KEY"],
            KEYS["WOO_CONSUMER_SECRET"],
            signature_method="HMAC-SHA256",
            signature_type="query",
        )
        self.mine = threading.local()

    def call(self, method: str, url: str, **request: Any) -> Any:
        if not hasattr(self.mine, "session"):
            self.mine.session = requests.Session()
            self.mine.session.trust_env = False
        if url.startswith(self.crm):
            request["headers"] = {"Authorization": f"Bearer {KEYS['CRM_TOKEN']}"}
        else:
            request["auth"] = self.auth
        answer = self.mine.session.request(method, url, timeout=10, **request)
        answer.raise_for_status()
        return answer.json()

    def pages(self) -> Iterator[list[Any]]:
        """As the walk reads them: each from the last one's last second on."""
        since = "2020-01-01T00:00:00"
        while True:
            query = {"modified_after": since, "orderby": "modified", "order": "asc", "per_page": str(PAGE)}
            page = self.call("GET", f"{self.shop}/wp-json/wc/v3/orders", params={"dates_are_gmt": "true", **query})
            yield page
            if len(page) < PAGE:
                return
            since = page[-1]["date_modified_gmt"]

    def link(self, order: Any) -> None:
        found = self.call("GET", f"{self.crm}/orders", params={"external_id": str(order["id"])})
        assert not found["results"]
        self.call("POST", f"{self.crm}/orders", json={"external_id": str(order["id"]), "order": order})

    def backfill(self) -> None:
        with ThreadPoolExecutor(THREADS) as pool:
            for page in self.pages():
                list(pool.map(self.link, page))

    def drift(self) -> None:
        query = {"updated_since": "1970-01-01T00:00:00Z", "limit": str(PAGE)}
        while True:
            listed = self.call("GET", f"{self.crm}/orders", params=query)
            ids = ",".join(order["external_id"] for order in listed["results"])
            about = {"include": ids, "per_page": str(PAGE), "_fields": "id,status"}
            self.call("GET", f"{self.shop}/wp-json/wc/v3/orders", params=about)
            if not listed["next_cursor"]:
                return
            query["cursor"] = listed["next_cursor"]


def bare(job: str) -> None:
    calls, started = Bare(), time.monotonic()
    getattr(calls, job)()
    tell(started)


def ours(job: str) -> None:
    import django
    from django.core.management import call_command

    django.setup()
    out, started = StringIO(), time.monotonic()
    call_command(job, "--json", stdout=out)
    tell(started, **json.loads(out.getvalue()))


def tell(started: float, **more: Any) -> None:
    used = resource.getrusage(resource.RUSAGE_SELF)
    cost = {
        "seconds": time.monotonic() - started,
        "cpu": used.ru_utime + used.ru_stime,
        "megabytes": used.ru_maxrss / 1024,
    }
    sys.stdout.write(json.dumps({**cost, **more}))


# --- the comparison ------------------------------------------------------------------------------------------------


@contextmanager
def world(kind: str, orders: int, latency: float) -> Iterator[dict[str, str]]:
    """Fresh sides and a fresh database; its environment."""
    with tempfile.TemporaryDirectory(prefix="orderbridge-bench-") as home, database(kind, Path(home)) as url:
        shop, crm = servers.free_port(), servers.free_port()
        where = {"WOO_URL": f"http://127.0.0.1:{shop}", "CRM_URL": f"http://127.0.0.1:{crm}", "CRM_LIST_LAG": "0"}
        env = environment(url, servers.free_port(), DJANGO_SETTINGS_MODULE="integration_site.settings", **where, **KEYS)
        command = [sys.executable, "-m", "tests.benchmarks.runs", "sides", str(shop), str(crm), str(orders)]
        with running([*command, str(latency)], env, Path(home) / "sides.log"):
            migrate(env)
            until = time.monotonic() + 120
            while not (_listens(where["WOO_URL"]) and _listens(where["CRM_URL"])):
                if time.monotonic() > until:
                    raise SystemExit("the sandbox did not start")
                time.sleep(0.1)
            yield env


def _listens(url: str) -> bool:
    try:
        requests.get(f"{url}/_faults", timeout=2)
    except requests.RequestException:
        return False
    return True


def apart(what: str, job: str, env: dict[str, str]) -> dict[str, Any]:
    """In a process of its own; only its last line counts."""
    command = [sys.executable, "-m", "tests.benchmarks.runs", what, job]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=3600, check=False)
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


def compare(kind: str, orders: int, latency: float, rounds: int) -> None:
    say(f"\n{kind}, {orders} orders, {latency * 1000:.0f} ms until a side answers, {THREADS} calls at once")
    told: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for _ in range(rounds):
        with world(kind, orders, latency) as env:
            told["bare backfill"].append(apart("bare", "backfill", env))
        with world(kind, orders, latency) as env:
            told["backfill"].append(apart("ours", "backfill", env))
            told["again"].append(apart("ours", "backfill", env))
            told["bare drift"].append(apart("bare", "drift", env))
            told["drift"].append(apart("ours", "drift", env))
    for job in ("backfill", "drift"):
        plain, real = (median(one["seconds"] for one in told[what]) for what in (f"bare {job}", job))
        cpu = median(one["cpu"] for one in told[job]) * 1000 / orders
        say(
            f"  {job:<9} {orders / real:7.0f} orders/s   bare calls {orders / plain:7.0f} orders/s   "
            f"ratio {real / plain:.2f}   {cpu:.1f} ms of processor an order, the start included   "
            f"peak memory {max(one['megabytes'] for one in told[job]):.0f} MB"
        )
    say(f"  backfill again, nothing to do: {orders / median(one['seconds'] for one in told['again']):.0f} orders/s")
    for one in told["backfill"] + told["drift"]:
        if one.get("findings") or one.get("created", orders) != orders:
            say(f"  WRONG: {one}")


def runs(options: Options) -> None:
    for latency in LATENCIES:
        compare(options.kind, options.size(ORDERS), latency, ROUNDS)


def many(options: Options) -> None:
    compare(options.kind, options.size(MANY), 0.0, rounds=1)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["sides", shop, crm, number, seconds]:
            sides(int(shop), int(crm), int(number), float(seconds))
        case ["bare", job]:
            bare(job)
        case ["ours", job]:
            ours(job)
