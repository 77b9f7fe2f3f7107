"""From 0.3.0 to this version with orders under way: `migrate` is all, and nothing is lost or done twice."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from sync.sandbox.crm import SandboxCrm
from sync.sandbox.shop import SandboxShop
from tests.journeys.conftest import CRM_SECRET
from tests.journeys.processes import ROOT, migrate

OLD = {"webhooks": "0008_keyed_customers", "orders": "0011_lifecycle_has_history", "sync": "0019_shared_calls"}
"""The tables of 0.3.0."""
AS_IT_WAS = """
import json, sys
from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
told = json.loads(sys.stdin.read())
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
from sync.models import Intent
from webhooks.models import WebhookEvent
tasks.drain()
events = {e.dedupe_key: e.outcome or f"{e.state}: {e.reason}" for e in WebhookEvent.objects.all()}
links = {one.woo_id: one.crm_order_id for one in OrderLink.objects.all()}
print(json.dumps({"events": events, "links": links, "intents": Intent.objects.count()}))
"""


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
def env(tmp_path: Path, shop: SandboxShop, crm: SandboxCrm) -> dict[str, str]:
    return {
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        "DATABASE_URL": f"sqlite:///{tmp_path / 'db.sqlite3'}",
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
    answer = requests.post(f"{crm.url}/orders", json=body, headers=headers, timeout=10)
    return str(answer.json()["id"])


def event(key: str, source: str, ref: str, body: Any, **more: Any) -> dict[str, Any]:
    common = {"side": "crm" if source == "crm" else "shop", "source": source, "order_ref": ref, "dedupe_key": key}
    return {**common, "body": json.dumps(body), "next_attempt_at": "2026-11-01T00:00:00Z", **more}


def test_what_was_under_way_is_finished_by_the_new_version(
    env: dict[str, str], shop: SandboxShop, crm: SandboxCrm
) -> None:
    new, tried, lost, linked = (shop.create_order() for _ in range(4))
    known = in_the_crm(crm, linked)
    made_by_the_dead = in_the_crm(crm, lost)
    rows = {
        "webhooks.WebhookEvent": [
            event("new", "woocommerce", str(new["id"]), new, topic="order.created"),
            event("tried", "woocommerce", str(tried["id"]), tried, topic="order.created", state="retrying", attempts=3),
            event("lost", "woocommerce", str(lost["id"]), lost, topic="order.created", state="processing", attempts=1),
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
            }
        ],
        "sync.Intent": [{"woo_id": lost["id"], "kind": "create"}],
    }
    shell(AS_IT_WAS, env, {"old": OLD, "rows": rows})
    crm.set_status(known, "paid", notify=False)

    migrate(env)

    after = json.loads(shell(AFTERWARDS, env).splitlines()[-1])
    expected = {"new": "created", "tried": "created", "lost": "created", "moved": "applied", "before": "created"}
    assert after["events"] == expected
    assert after["intents"] == 0
    assert shop.orders[linked["id"]]["status"] == "processing"
    assert after["links"][str(lost["id"])] == made_by_the_dead and after["links"][str(linked["id"])] == known
    assert len(crm.orders) == len(after["links"]) == 4
