"""How long the pages of the back office take over a big inbox."""

import json
import random
import tempfile
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

from tests.benchmarks.running import Options, database, environment, migrate, python, say

EVENTS = 300_000
ORDERS = 60_000
CHUNK = 2_000
TIMES = 5
LIMITS = {"sqlite": 500, "postgres": 300}
"""Milliseconds that a page may take."""


def pages(events: int, orders: int) -> dict[str, str]:
    """Each page by a name, with its address under /admin/."""
    inbox, event, order = "webhooks/webhookevent/", events // 2, orders // 2
    return {
        "events": inbox,
        "… state": f"{inbox}?state=dead",
        "… outcome, frequent": f"{inbox}?outcome=applied",
        "… outcome, rare": f"{inbox}?outcome=refused",
        "… source, frequent": f"{inbox}?source=woocommerce",
        "… source, rare": f"{inbox}?source=staff",
        "… topic, frequent": f"{inbox}?topic=order.updated",
        "… topic, rare": f"{inbox}?topic=order.restored",
        "… signing key, rare": f"{inbox}?signed_by=woocommerce+key+2",
        "… attempts": f"{inbox}?attempts=2",
        "… dates": f"{inbox}?received_at_from_0=2026-03-01&received_at_to_0=2026-03-02",
        "… the middle page": f"{inbox}?p={events // 50}",
        "search: event": f"{inbox}?q={event}",
        "search: order of the shop": f"{inbox}?q={order}",
        "search: order of the CRM": f"{inbox}?q=C-{order}",
        "search: customer": f"{inbox}?q=customer77@example.test",
        "search: text, frequent": f"{inbox}?q=Hand-made",
        "search: text, nowhere": f"{inbox}?q=no+such+text",
        "search: text, rare, filtered": f"{inbox}?q=no+such+text&source=crm",
        "search: nonsense": f"{inbox}?q=%27%3B--",
        "one event": f"{inbox}{event}/change/",
        "attempts": "sync/attempt/",
        "attempts of one event": f"sync/attempt/?q={event}",
        "orders": "orders/orderlink/",
        "one order": f"orders/orderlink/{order}/change/",
        "transitions": "orders/statustransition/",
        "refused deliveries": "webhooks/refuseddelivery/",
        "home": "",
    }


def fill(events: int) -> None:
    """Rows as they are after a year: most are done, few are not, and a few values are rare."""
    import django

    django.setup()
    from orders.models import OrderLink
    from sync.models import Attempt
    from webhooks.models import WebhookEvent

    orders = _orders(events)
    links = (
        OrderLink(woo_id=n, crm_order_id=f"C-{n}", crm_status="paid", woo_status="processing")
        for n in range(1, orders + 1)
    )
    for model, rows in (
        (OrderLink, links),
        (WebhookEvent, (WebhookEvent(**row) for row in _events(events, orders))),
        (Attempt, (Attempt(event_id=n, trigger="delivery", result="applied") for n in range(1, events + 1))),
    ):
        chunk: list[Any] = []
        for row in rows:
            chunk.append(row)
            if len(chunk) == CHUNK:
                model.objects.bulk_create(chunk)  # type: ignore[attr-defined]
                chunk = []
        model.objects.bulk_create(chunk)  # type: ignore[attr-defined]
    from django.db import connection

    if connection.vendor == "postgresql":  # its autovacuum does that by itself; on SQLite nobody does
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE")


def _orders(events: int) -> int:
    return max(2, events * ORDERS // EVENTS)


def _events(events: int, orders: int) -> Iterator[dict[str, Any]]:
    from django.utils import timezone

    from tests.deliveries import recorded
    from webhooks.customers import hashed

    body, headers = recorded("00007")
    order = json.loads(body)
    chance = random.Random(1)
    start = timezone.now() - timedelta(days=365)
    for n in range(events):
        which, at = chance.randint(1, orders), start + timedelta(days=365) * (n / events)
        done = {"state": "done", "next_attempt_at": None, "finished_at": at, "received_at": at, "stored_at": at}
        done["outcome"] = "refused" if n % 50_000 == 7 else chance.choice(["applied", "no_change", "updated", "echo"])
        if n % 10_000 == 9:
            done |= {"state": "dead", "outcome": "", "attempts": 12, "reason": "Given up after 12 attempts."}
        if n % 3:
            email = f"customer{which % 20_000}@example.test"
            order |= {"id": which, "billing": {**order["billing"], "email": email}}
            said = {"side": "shop", "source": "woocommerce", "topic": "order.updated", "order_ref": str(which)}
            said |= {"customer": hashed(email), "headers": headers, "body": json.dumps(order).encode()}
            said["signed_by"] = "woocommerce key 2" if n % 100_000 == 1 else "woocommerce key 1"
        else:
            said = {"side": "crm", "source": "crm", "topic": "order.status_changed", "order_ref": f"C-{which}"}
            said["body"] = b'{"event_id": "evt_%d", "crm_order_id": "C-%d", "status": "paid"}' % (n, which)
            said["signed_by"] = "secret 1"
        if n % 60_000 == 11:
            said |= {"source": "staff", "signed_by": "", "topic": "order.restored"}
        yield {**said, **done, "dedupe_key": f"bench:{n}", "delivery_id": f"d{n}"}


def ask(kind: str, events: int) -> None:
    """Each page as a viewer with a warm cache, some times; the median counts."""
    import django

    django.setup()
    from django.contrib.auth.models import User
    from django.test import Client

    client = Client(SERVER_NAME="127.0.0.1")
    client.force_login(User.objects.create_superuser("bench"))
    slow = 0
    asked = pages(events, _orders(events))
    for name, path in asked.items():
        took, worked = [], []
        for _ in range(TIMES):
            started, busy = time.monotonic(), time.process_time()
            answer = client.get(f"/admin/{path}")
            took.append((time.monotonic() - started) * 1000)
            worked.append((time.process_time() - busy) * 1000)
            if answer.status_code != 200:
                say(f"  WRONG: {name} is answered with {answer.status_code}")
        middle, busy = sorted(took)[TIMES // 2], sorted(worked)[TIMES // 2]
        slow += middle > LIMITS[kind]
        say(f"  {name:30} {middle:7.0f} ms, of it here {busy:5.0f} ms{'   SLOW' if middle > LIMITS[kind] else ''}")
    say(f"  {slow or 'none'} of {len(asked)} above {LIMITS[kind]} ms")


def backoffice(options: Options) -> None:
    events = options.size(EVENTS)
    say(f"\nback office over {events} events, {options.kind}")
    with tempfile.TemporaryDirectory() as folder, database(options.kind, Path(folder)) as url:
        env = environment(url, 8000, LOG_LEVEL="WARNING")
        migrate(env)
        module = "import sys; from tests.benchmarks import backoffice as it; "
        env["DJANGO_SETTINGS_MODULE"] = "integration_site.settings"
        python(["-c", f"{module}it.fill({events})"], env, seconds=1200)
        python(["-c", f"{module}it.ask({options.kind!r}, {events})"], env, seconds=600)
