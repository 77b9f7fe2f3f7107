"""From 0.3.0 to this version with orders under way: `migrate` is all, and nothing is lost or done twice. On the kind of
database that the tests have."""

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import requests
from django.db import connection

from sync.sandbox.crm import SandboxCrm
from sync.sandbox.shop import SandboxShop
from tests.journeys.conftest import CRM_SECRET
from tests.journeys.processes import ROOT, migrate

OLD = {"webhooks": "0008_keyed_customers", "orders": "0011_lifecycle_has_history", "sync": "0019_shared_calls"}
"""The tables of 0.3.0."""
DRIFT = 70
"""The number of a run."""
AS_IT_WAS = """
import json, sys
from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
told = json.loads(sys.stdin.read())
call_command("migrate", "auth", verbosity=0)  # whose first tables have no room for the names of our permissions
for app, name in told["old"].items():
    call_command("migrate", app, name, verbosity=0)
apps = MigrationExecutor(connection).loader.project_state(list(told["old"].items())).apps
apps.get_model("orders.OrderLink").sign = lambda link: None
for label, rows in told["rows"].items():
    for row in rows:
        apps.get_model(label).objects.create(**{**row, **({"body": row["body"].encode()} if "body" in row else {})})
"""
AFTERWARDS = """
import json
from orders.models import OrderLink
from sync import tasks
from sync.models import Intent, Lease, Run
from webhooks.models import WebhookEvent
delivered = WebhookEvent.objects.filter(source__in=("woocommerce", "crm"))
tasks.go_on_with_a_run = lambda *, busy: False  # events first, so that counts agree
tasks.drain()
held = list(delivered.exclude(state="done").values_list("dedupe_key", "state"))
Lease.objects.update(expires_at="2026-11-01T00:00:00Z")
tasks.drain()
for run in Run.objects.order_by("pk"):
    tasks.carry_out(run.pk)
print(json.dumps({
    "held": held,
    "events": {e.dedupe_key: e.outcome or f"{e.state}: {e.reason}" for e in delivered},
    "links": {one.woo_id: one.crm_order_id for one in OrderLink.objects.all()},
    "intents": Intent.objects.count(),
    "runs": {run.kind: [run.state, run.counts["seen"], run.error or run.note] for run in Run.objects.all()},
}))
"""


@pytest.fixture
def database_url(tmp_path: Path) -> Iterator[str]:
    """Of a database of its own."""
    if connection.vendor == "sqlite":
        yield f"sqlite:///{tmp_path / 'db.sqlite3'}"
        return
    server, name = os.environ["DATABASE_URL"], f"upgrade_{secrets.token_hex(6)}"
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}")
        yield f"{server.rpartition('/')[0]}/{name}"
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def shop() -> Iterator[SandboxShop]:
    shop = SandboxShop(consumer_key="ck_test", consumer_secret="cs_test")
    shop.start()
    yield shop
    shop.stop()


@pytest.fixture
def crm() -> Iterator[SandboxCrm]:
    crm = SandboxCrm(token="crm-token")
    crm.start()
    yield crm
    crm.stop()


@pytest.fixture
def env(database_url: str, shop: SandboxShop, crm: SandboxCrm) -> dict[str, str]:
    return {
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        "DATABASE_URL": database_url,
        "WOO_URL": shop.url,
        "WOO_CONSUMER_KEY": "ck_test",
        "WOO_CONSUMER_SECRET": "cs_test",
        "CRM_URL": crm.url,
        "CRM_TOKEN": "crm-token",
        "CRM_WEBHOOK_SECRETS": CRM_SECRET,
        "CRM_LIST_LAG": "0",
    }


def shell(code: str, env: dict[str, str], told: Any = None) -> str:
    command = [sys.executable, "manage.py", "shell", "-v", "0", "-c", code]
    done = subprocess.run(
        command, env=env, cwd=ROOT, input=json.dumps(told), capture_output=True, text=True, timeout=180
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def in_the_crm(crm: SandboxCrm, order: dict[str, Any]) -> str:
    headers = {"Authorization": "Bearer crm-token", "Idempotency-Key": f"woo-{order['id']}"}
    body = {"external_id": str(order["id"]), "order": order}
    answer = requests.post(f"{crm.url}/orders", json=body, headers=headers, timeout=60)
    return str(answer.json()["id"])


def event(key: str, source: str, ref: str, body: Any, **more: Any) -> dict[str, Any]:
    common = {"side": "crm" if source == "crm" else "shop", "source": source, "order_ref": ref, "dedupe_key": key}
    return {**common, "body": json.dumps(body), "next_attempt_at": "2026-11-01T00:00:00Z", **more}


def runs_under_way(shop: SandboxShop, done: dict[str, Any]) -> list[dict[str, Any]]:
    """Their workers died with one order behind them."""
    silent = {"holder": "before:1", "beat_at": "2026-11-01T00:00:00Z", "counts": {"seen": 1}}
    place = {"at": f"{done['date_modified_gmt']}+00:00", "ids": [done["id"]], "page": 0, "last": None, "size": 100}
    chosen = {"since": None, "until": None, "statuses": [], "limit": None, "dry_run": False, "shop": shop.url}
    at = {"place": place, "open": [], "failed": []}
    return [
        {"id": DRIFT, "kind": "drift", "options": {"shop": shop.url}, "checkpoint": {"step": "rest"}, **silent},
        {"id": DRIFT - 1, "kind": "backfill", "options": chosen, "checkpoint": at, **silent},
    ]


@pytest.mark.equipped
def test_what_was_under_way_is_finished_by_the_new_version(
    env: dict[str, str], shop: SandboxShop, crm: SandboxCrm
) -> None:
    new, tried, lost, linked, held, unheard = (shop.create_order() for _ in range(6))
    known = in_the_crm(crm, linked)
    made_by_the_dead = in_the_crm(crm, lost)
    lease = {"token": "8c5ed4a4-9d7b-4a5e-8f1c-2b6f3c7f0a11", "holder": "before:1"}
    rows = {
        "webhooks.WebhookEvent": [
            event("new", "woocommerce", str(new["id"]), new, topic="order.created"),
            event("tried", "woocommerce", str(tried["id"]), tried, topic="order.created", state="retrying", attempts=3),
            event("lost", "woocommerce", str(lost["id"]), lost, topic="order.created", state="processing", attempts=1),
            event("held", "woocommerce", str(held["id"]), held, topic="order.created"),
            event("moved", "crm", known, {"crm_order_id": known, "status": "paid"}, topic="order.status_changed"),
            event("before", "woocommerce", "1", {}, state="done", outcome="created") | {"next_attempt_at": None},
        ],
        "orders.OrderLink": [
            {
                "woo_id": linked["id"],
                "crm_order_id": known,
                "crm_status": "new",
                "crm_version": 1,
                "woo_status": "pending",
                "compared_in": DRIFT,
            }
        ],
        "sync.Intent": [{"woo_id": lost["id"], "kind": "create"}],
        "sync.Lease": [
            {"key": f"woo:{lost['id']}", "expires_at": "2026-11-01T00:00:00Z", **lease},
            {"key": f"woo:{held['id']}", "expires_at": "2100-01-01T00:00:00Z", **lease},
        ],
        "sync.Run": runs_under_way(shop, linked),
    }
    shell(AS_IT_WAS, env, {"old": OLD, "rows": rows})
    crm.set_status(known, "paid", notify=False)

    migrate(env)

    after = json.loads(shell(AFTERWARDS, env).splitlines()[-1])
    assert after["held"] == [["held", "pending"]], "what another worker holds is left to it"
    assert after["events"].pop("held") in ("created", "superseded")  # by what the backfill found of it
    created = dict.fromkeys(("new", "tried", "lost", "before"), "created")
    assert after["events"] == {**created, "moved": "applied"}
    assert after["intents"] == 0
    assert shop.orders[linked["id"]]["status"] == "processing"
    assert after["links"][str(lost["id"])] == made_by_the_dead and after["links"][str(linked["id"])] == known
    assert len(crm.orders) == len(after["links"]) == 6
    assert str(unheard["id"]) in after["links"], "the backfill went on"
    # The backfill may meet the order again that was moved meanwhile.
    assert after["runs"].pop("backfill") in (["done", 6, ""], ["done", 7, ""])
    assert after["runs"] == {"drift": ["done", 6, ""]}
