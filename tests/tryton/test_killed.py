"""A worker of its own process, killed (-9) at a call to a real Tryton; and a key that is revoked while orders wait."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests
from django.utils import timezone

from orders.models import OrderLink
from sync.clients.errors import AuthFailed, Hidden, Rejected, ServerTrouble, SideError
from sync.models import SideState
from sync.sandbox.crms.tryton import KEY
from sync.sandbox.shop import SandboxShop
from tests import pipeline
from tests.factories import WebhookEventFactory
from tests.tryton.server import Database
from tests.tryton.test_journeys import Sides, sides  # noqa: F401  a fixture
from webhooks.models import WebhookEvent

ROOT = Path(__file__).parents[2]
WORK = """
import sys
import django
django.setup()
from datetime import UTC, datetime
from sync.clients.crm.defaults import ensure_rules
from sync.models import Lease
from tests import pipeline
from tests.factories import WebhookEventFactory
from webhooks.models import WebhookEvent
if sys.argv[1:]:
    ensure_rules("tryton")
    WebhookEventFactory(order_ref=sys.argv[1])
Lease.objects.update(expires_at=datetime(2026, 1, 1, tzinfo=UTC))  # as if the dead one's had run out
WebhookEvent.objects.unfinished().update(next_attempt_at=datetime(2026, 1, 1, tzinfo=UTC))
while pipeline.work_once():
    pass
"""
OF_THE_WAY = {"transfer-encoding", "content-encoding", "content-length", "connection", "host", "accept-encoding"}


@contextmanager
def in_between(to: str, at: Callable[[str, str, Callable[[], requests.Response]], requests.Response]) -> Iterator[str]:
    """What stands before Tryton and sees each call: `at` gets method, path, and what sends it on."""

    class Handler(BaseHTTPRequestHandler):
        def handle_one_request(self) -> None:
            try:
                super().handle_one_request()
            except OSError:  # whoever asked is dead
                self.close_connection = True

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {name: value for name, value in self.headers.items() if name.lower() not in OF_THE_WAY}

            def send_on() -> requests.Response:
                return requests.request(self.command, to + self.path, data=body, headers=headers, timeout=60)

            found = at(self.command, self.path.partition("?")[0], send_on)
            self.send_response(found.status_code)
            for name, value in found.headers.items():
                if name.lower() not in OF_THE_WAY:
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(found.content)))
            self.end_headers()
            self.wfile.write(found.content)

        do_GET = do_POST = do_PUT = do_DELETE = answer

        def log_message(self, *said: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join(60)


def test_a_worker_killed_between_party_and_sale_leaves_one_of_each(
    database: Database, tmp_path: Path, migrated: Path
) -> None:
    """In this process, test_journeys.py lets it die at each of the calls."""
    shop = SandboxShop(consumer_key="ck_test", consumer_secret="cs_test")
    shop.start()
    woo_id = shop.create_order(billing={"email": "", "phone": "", "first_name": "Ann"})["id"]
    parties = database.count("party_party")
    workers: list[subprocess.Popen[bytes]] = []
    killed = threading.Event()

    def kill_at_the_sale(method: str, path: str, send_on: Callable[[], requests.Response]) -> requests.Response:
        if (method, path) != ("POST", "/crm/rest/model/sale.sale") or killed.is_set():
            return send_on()
        killed.set()
        assert database.count("party_party") == parties + 1
        os.kill(workers[-1].pid, signal.SIGKILL)
        raise OSError("nobody is left to answer to")

    def work(*said: str) -> int:
        with in_between(f"http://127.0.0.1:{database.server.port}", kill_at_the_sale) as url:
            env = {
                **os.environ,
                "DJANGO_SETTINGS_MODULE": "tests.settings",
                "DATABASE_URL": f"sqlite:///{tmp_path / 'db.sqlite3'}",
                **{"WOO_URL": shop.url, "WOO_CONSUMER_KEY": "ck_test", "WOO_CONSUMER_SECRET": "cs_test"},
                **{"CRM_BACKEND": "tryton", "CRM_URL": f"{url}/crm", "CRM_TOKEN": KEY.format("sales")},
                **{"CRM_LIST_LAG": "0", "RETRY_BASE_SECONDS": "0", "LOG_LEVEL": "CRITICAL"},
            }
            workers.append(subprocess.Popen([sys.executable, "-c", WORK, *said], cwd=ROOT, env=env))
            return workers[-1].wait(120)

    shutil.copy(migrated, tmp_path / "db.sqlite3")
    assert work(str(woo_id)) == -signal.SIGKILL
    assert database.count("sale_sale") == 0
    assert work() == 0
    shop.stop()
    with closing(sqlite3.connect(tmp_path / "db.sqlite3")) as ours:
        events = ours.execute("SELECT state, outcome FROM webhooks_webhookevent").fetchall()
        links = ours.execute("SELECT woo_id FROM orders_orderlink").fetchall()
    assert (events, links) == ([("done", "created")], [(woo_id,)])
    assert database.count("party_party") == parties + 1
    assert database.count("sale_sale") == 1


def test_a_key_that_is_revoked_while_ten_orders_wait_costs_no_order(sides: Sides, settings: Any) -> None:  # noqa: F811
    settings.BREAKER_THRESHOLD = 2
    ids = [sides.order(billing={"email": f"c{number}@example.test"}) for number in range(10)]
    events = [WebhookEventFactory(order_ref=str(woo_id)) for woo_id in ids]
    assert pipeline.work_once()
    _set_key(sides, "cancelled")
    while pipeline.work_once():
        pass
    states = [*WebhookEvent.objects.values_list("state", flat=True)]
    assert sorted(set(states)) == ["done", "pending", "retrying"]
    assert states.count("done") == OrderLink.objects.count() == sides.tryton.count("sale_sale")
    side = SideState.objects.get(name="crm")
    assert side.opened_at is not None, "after so many refusals nobody calls any more"
    assert side.failures == 2
    _set_key(sides, "validated")
    SideState.objects.update(probe_at=timezone.now())
    WebhookEvent.objects.unfinished().update(next_attempt_at=timezone.now())
    while pipeline.work_once():
        pass
    outcomes = [*WebhookEvent.objects.values_list("state", "outcome")]
    assert outcomes == [("done", "created")] * len(events)
    assert sides.tryton.count("sale_sale") == len(ids)


def _set_key(sides: Sides, state: str) -> None:  # noqa: F811
    """As its user does in Tryton."""
    with closing(sqlite3.connect(sides.tryton.server.file)) as tryton:
        tryton.execute("UPDATE res_user_application SET state = ?", [state])
        tryton.commit()


def test_whose_fault_a_refusal_is(sides: Sides) -> None:  # noqa: F811
    """About this order, about the key, or not to be told: then the ping decides (docs/decisions/0085)."""
    woo_id = sides.order()
    sides.deliver(woo_id)
    crm_order_id = OrderLink.objects.get().crm_order_id
    crm = sides.tryton.crm()
    calls: dict[str, tuple[Callable[[], object], type[SideError], bool | None]] = {
        "a value that it does not take": (
            lambda: crm._call("PUT", f"sale.sale/{crm_order_id}", json={"state": "nonsense"}),
            Rejected,
            True,
        ),
        "an action that it does not offer": (
            lambda: crm._call("POST", f"sale.sale/{crm_order_id}/explode", json={}),
            Hidden,
            True,
        ),
        "a user without rights": (sides.tryton.crm("nobody").ping, AuthFailed, False),
        "no key of any user": (sides.tryton.crm("nonsense").ping, AuthFailed, None),
        "a field that there is not": (lambda: crm._call("GET", "sale.sale", fields=("nonsense",)), ServerTrouble, None),
    }
    for name, (call, kind, about_order) in calls.items():
        with pytest.raises(SideError) as raised:
            call()
        assert (type(raised.value), raised.value.about_order) == (kind, about_order), name
