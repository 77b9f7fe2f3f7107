"""What a delivery, a claim, a list and a scrape cost with a thousand events and with a million, side by side."""

import functools
import json
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from tests import servers
from tests.benchmarks.drain import KEYS
from tests.benchmarks.load import WARM_UP, post
from tests.benchmarks.running import Options, database, environment, migrate, say, talk, web

SMALL, LARGE = 1_000, 1_000_000
ROUNDS = 5
LIMIT = 1.2
CLAIMS = 25


def growth(options: Options) -> None:
    sizes = {"small": SMALL, "large": options.size(LARGE)}
    say(f"\n{options.kind}, {SMALL} and {sizes['large']} events; median of {ROUNDS} rounds by turns; limit {LIMIT}")
    with ExitStack() as stack:
        ports, envs = {}, {}
        for name, events in sizes.items():
            home = Path(stack.enter_context(TemporaryDirectory(prefix="orderbridge-bench-")))
            url = stack.enter_context(database(options.kind, home))
            ports[name] = servers.free_port()
            envs[name] = environment(
                url, ports[name], WOO_URL="http://127.0.0.1:1", CRM_URL="http://127.0.0.1:1", **KEYS
            )
            migrate(envs[name])
            talk(["-m", "tests.benchmarks.growth", "fill", str(events)], envs[name], 3000)
            stack.enter_context(web(envs[name], ports[name], home / "web.log"))
            post(ports[name], WARM_UP, 8)
        rounds: list[dict[str, dict[str, float]]] = []
        for _ in range(ROUNDS):
            rounds.append({})
            for name in sizes:
                figures = json.loads(talk(["-m", "tests.benchmarks.growth", "look"], envs[name], 600))
                figures["a delivery"] = 1000 / post(ports[name], 400, 8).rate
                rounds[-1][name] = figures
        say("                                      small       large    ratio")
        for what in rounds[0]["small"]:
            small, large = (median(one[name][what] for one in rounds) for name in sizes)
            ratio = median(one["large"][what] / one["small"][what] for one in rounds)
            words = "   OVER THE LIMIT" if ratio > LIMIT else ""
            say(f"  {what:32} {small:7.2f} ms {large:8.2f} ms {ratio:8.2f}{words}")


# --- inside, with Django ---------------------------------------------------------------------------------------------


def fill(events: int) -> None:
    from django.contrib.auth import get_user_model

    from sync.models import Counted
    from tests.benchmarks import filling

    filling.history(events)
    get_user_model().objects.create_superuser("ada")
    for _ in range(2):  # as after some minutes of life: /metrics has counted the past
        _pages()["/metrics"]()
        Counted.objects.update(next_at="2026-01-01T00:00:00Z")
    _pages()["/metrics"]()


def look() -> dict[str, float]:
    """Milliseconds of each."""
    from sync.pipeline import record
    from sync.pipeline.apply import Applied
    from sync.pipeline.batch import Batch
    from sync.pipeline.claim import due_orders
    from sync.pipeline.decide import Plan
    from tests import pipeline

    took = []
    for _ in range(CLAIMS):
        # What came in just now waits: there is no worker.
        started = time.perf_counter()
        work = pipeline.take(*due_orders(1)[0])
        took.append((time.perf_counter() - started) * 1000)
        assert work is not None
        record.finish(Batch([work]), work, Plan(outcome="no_change", reasons=()), Applied())

    found = {"a claim": median(took[5:])}
    for address, get in _pages().items():
        get()
        times = []
        for _ in range(3):
            started = time.perf_counter()
            get()
            times.append((time.perf_counter() - started) * 1000)
        found[address] = median(times)
    return found


def _pages() -> dict[str, Callable[[], object]]:
    from django.contrib.auth import get_user_model
    from django.test import Client

    client = Client(headers={"host": "127.0.0.1"})
    client.force_login(get_user_model().objects.get(), backend="django.contrib.auth.backends.ModelBackend")
    addresses = ("/metrics", "/readyz", "/admin/", *(f"/admin/{one}/" for one in LISTS))
    return {address: functools.partial(client.get, address) for address in addresses}


LISTS = ("webhooks/webhookevent", "orders/orderlink", "orders/statustransition", "sync/attempt")

if __name__ == "__main__":
    import logging

    import django

    django.setup()
    logging.disable(logging.CRITICAL)
    sys.stdout, printed = sys.stderr, sys.stdout
    printed.write(json.dumps(fill(int(sys.argv[2])) if sys.argv[1] == "fill" else look()))
