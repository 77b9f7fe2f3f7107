"""A database that version 0.2.0 made migrates to this version: same orders, same audit, and nothing is sent for it.

`tests/payloads/stored/0.2.0.json` has its rows, as its own code wrote them, and both sides as they were then. It had
processed four orders, refused a move, parked a status without a rule, forced a move, and found three orders to differ.
"""

import copy
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sync.sandbox.crm import SandboxCrm
from sync.sandbox.shop import SandboxShop
from tests import servers
from tests.journeys.conftest import CRM_SECRET
from tests.journeys.processes import ROOT, migrate

STORED = Path(__file__).parent.parent / "payloads" / "stored" / "0.2.0.json"
OLD = {
    "auth": "0012_alter_user_first_name_max_length",
    "webhooks": "0008_keyed_customers",
    "orders": "0011_lifecycle_has_history",
    "sync": "0016_marked_words",
}
AS_IT_WAS = """
import json, sys
from django.core.management import call_command
from django.core.management.color import no_style
from django.db import connection, models
from django.db.migrations.executor import MigrationExecutor
from django.utils.dateparse import parse_datetime
from orders.append_only import GUARDS

old, rows = json.loads(sys.stdin.read())
for app, name in old.items():
    call_command("migrate", app, name, verbosity=0)
apps = MigrationExecutor(connection).loader.project_state(list(old.items())).apps
apps.get_model("orders.OrderLink").sign = lambda link: None  # the rows bring their signatures

def values(model, row):
    for name, value in row.items():
        field = next(one for one in model._meta.concrete_fields if one.attname == name)
        if isinstance(field, models.BinaryField):
            value = value.encode()
        elif isinstance(field, models.DateTimeField) and value:
            value = parse_datetime(value)
        yield name, value

def execute(statements):
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)

execute(statement for guard in GUARDS for statement in guard.disarm(connection.vendor))
for label, some in rows.items():
    model = apps.get_model(label)
    model._base_manager.all().delete()
    model._base_manager.bulk_create([model(**dict(values(model, row))) for row in some])
execute(statement for guard in GUARDS for statement in guard.arm(connection.vendor))
execute(connection.ops.sequence_reset_sql(no_style(), [apps.get_model(label) for label in rows]))
"""
AFTERWARDS = """
import json
from django.apps import apps
from django.test import Client
from orders.models import OrderLink
from orders.verification import Checkup
from sync import tasks
from sync.jobs import drift, engine, reconciliation
from sync.models import Alarm, DriftFinding, Intent, Run, TodoItem
from sync.monitoring import todo
from sync.monitoring.counting import ATTEMPTS, CALLS, EVENTS, TRANSITIONS, count_rows
from sync.pipeline import replays
from sync.sandbox.signing import hmac_base64, standard_webhooks
from webhooks.connections import Bridge, Connection
from webhooks.models import WebhookEvent

def audit():
    checkup = Checkup()
    for _ in checkup.go_on():
        pass
    return [str(one) for one in checkup.findings]

def events():
    return {e.pk: e.outcome or f"{e.state}: {e.reason}" for e in WebhookEvent.objects.all()}

def deliver(source, body, headers):
    answer = Client().post(f"/webhooks/{source}/", body, content_type="application/json", headers=headers)
    return [answer.status_code, answer.json().get("status")]

told = {"audit": audit(), "events": events(), "links": {}, "of": {}}
for link in OrderLink.objects.all():
    told["links"][link.woo_id] = [link.crm_order_id, link.woo_status, link.crm_status, link.is_ours]
for model in apps.get_models():
    if any(field.name == "bridge" for field in model._meta.concrete_fields):
        told["of"][model._meta.label] = sorted({str(pk) for pk in model._base_manager.values_list("bridge", flat=True)})
told["pair"] = [[one.slug, one.kind] for one in Connection.objects.order_by("pk")]
told["bridges"] = [[one.pk, one.slug, one.state, one.shop.slug, one.crm.slug] for one in Bridge.objects.all()]
told["counted"] = [sum(n for n, _ in count_rows(one).values()) for one in (EVENTS, ATTEMPTS, CALLS, TRANSITIONS)]

tasks.drain()
assert engine.carry_out(reconciliation.start(actor="command"))
assert engine.carry_out(drift.start(actor="command"))
todo.refresh()
told["found"] = sorted(DriftFinding.objects.filter(gone_at=None).values_list("pk", "woo_id", "kind"))
told["todo"] = sorted(TodoItem.objects.filter(closed_at=None).values_list("pk", "order", "cause"))
told["alarms"] = sorted(Alarm.objects.filter(cleared_at=None).values_list("key", "bridge"))
told["later"] = events()

first = WebhookEvent.objects.filter(source="woocommerce").earliest("pk")
body = bytes(first.body)
told["again"] = [deliver("woocommerce", body, {"X-WC-Webhook-Signature": hmac_base64(body, "lab-webhook-secret")})]
moved = bytes(WebhookEvent.objects.filter(source="crm").earliest("pk").body)
told["again"].append(deliver("crm", moved, standard_webhooks(moved, SECRET, "msg_1")))

asked = replays.ask_again([pk for pk in told["events"]], by="ann")
tasks.drain()
outcomes = WebhookEvent.objects.filter(pk__in=asked.again).values_list("outcome", flat=True)
told["replayed"] = [len(asked.again), sorted(set(outcomes))]
unfinished = WebhookEvent.objects.unfinished().count()
told["at_last"] = [audit(), Intent.objects.count(), unfinished, OrderLink.objects.count()]
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def stored() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(STORED.read_text())
    return found


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'db.sqlite3'}"
        return
    try:
        with servers.postgres() as url:
            yield url
    except servers.NotInstalled as error:
        pytest.skip(str(error))


def shell(code: str, env: dict[str, str], told: Any = None) -> str:
    command = [sys.executable, "manage.py", "shell", "-v", "0", "-c", code]
    done = subprocess.run(
        command, env=env, cwd=ROOT, input=json.dumps(told), capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


def writes(*sides: SandboxShop | SandboxCrm) -> list[str]:
    calls = (call for side in sides for call in side.requests)
    return [f"{call.method} {call.path}" for call in calls if call.method not in ("GET", "OPTIONS")]


def test_a_database_of_0_2_0_becomes_one_of_today(database: str, stored: dict[str, Any]) -> None:
    shop = SandboxShop(consumer_key="ck_test", consumer_secret="cs_test")
    crm = SandboxCrm(token="crm-token")
    shop.start()
    crm.start()
    try:
        shop.orders.update({int(pk): order for pk, order in copy.deepcopy(stored["sides"]["shop"]).items()})
        crm.orders.update(copy.deepcopy(stored["sides"]["crm"]))
        env = {
            "DJANGO_SETTINGS_MODULE": "tests.settings",
            "DATABASE_URL": database,
            "WOO_URL": shop.url,
            "CRM_URL": crm.url,
            "CRM_WEBHOOK_SECRETS": CRM_SECRET,
            "CRM_LIST_LAG": "0",
        }
        shell(AS_IT_WAS, env, [OLD, stored["rows"]])
        migrate(env)
        assert not shop.requests and not crm.requests
        told = json.loads(shell(f"SECRET = {CRM_SECRET!r}\n{AFTERWARDS}", env).splitlines()[-1])
        _is_the_same(told, stored["rows"])
        assert writes(shop, crm) == []
        shown = {pk: order["status"] for pk, order in shop.orders.items()}
        assert shown == {int(pk): order["status"] for pk, order in stored["sides"]["shop"].items()}
        assert crm.orders.keys() == stored["sides"]["crm"].keys()
    finally:
        shop.stop()
        crm.stop()


def _is_the_same(told: dict[str, Any], rows: dict[str, list[dict[str, Any]]]) -> None:
    was = {
        str(row["id"]): row["outcome"] or f"{row['state']}: {row['reason']}" for row in rows["webhooks.WebhookEvent"]
    }
    assert told["events"] == told["later"] == was
    assert told["links"] == {
        str(row["woo_id"]): [row["crm_order_id"], row["woo_status"], row["crm_status"], True]
        for row in rows["orders.OrderLink"]
    }
    assert told["audit"] == []
    assert (told["pair"], told["bridges"]) == (
        [["shop", "woocommerce"], ["crm", "rest"]],
        [[1, "default", "on", "shop", "crm"]],
    )
    assert {label: of for label, of in told["of"].items() if of not in ([], ["1"])} == {"sync.Run": ["1", "None"]}
    names = ("webhooks.WebhookEvent", "sync.Attempt", "sync.Call", "orders.StatusTransition")
    assert told["counted"] == [len(rows[name]) for name in names]
    assert told["found"] == [[row["id"], row["woo_id"], row["kind"]] for row in rows["sync.DriftFinding"]]
    assert told["todo"] == [[row["id"], row["order"], row["cause"]] for row in rows["sync.TodoItem"]]
    assert told["alarms"] == [["silence:crm", 1]]
    assert told["again"] == [[200, "duplicate"], [200, "duplicate"]]
    count, outcomes = told["replayed"]
    assert count > 10 and Counter(outcomes).keys() <= {"", "echo", "no_change", "refused", "stale", "superseded"}
    assert told["at_last"] == [[], 0, 0, len(rows["orders.OrderLink"])]
