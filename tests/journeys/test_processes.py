"""The service as it runs for real: gunicorn, a cluster of django-q2, a database file, and both sides over HTTP."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import requests

from sync.sandbox.crm import SandboxCrm
from sync.sandbox.shop import SandboxShop
from tests.journeys.conftest import CRM_SECRET, wait_for

ROOT = Path(__file__).parent.parent.parent
ORDERS = 30


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(*command: str, env: dict[str, str], log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """A child of ours in a group of its own; its main process alone is asked to stop (QUEUE.md, point 12)."""
    with log.open("ab") as out:
        child = subprocess.Popen(command, env=env, cwd=ROOT, stdout=out, stderr=out, start_new_session=True)
    try:
        yield child
    finally:
        child.terminate()
        try:
            with suppress(subprocess.TimeoutExpired):
                child.wait(10)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait(10)


@pytest.fixture
def both(tmp_path: Path) -> Iterator[tuple[SandboxShop, SandboxCrm, str, dict[str, str]]]:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    shop = SandboxShop(
        webhook_url=f"{url}/webhooks/woocommerce/",
        webhook_secret="lab-webhook-secret",
        consumer_key="ck_test",
        consumer_secret="cs_test",
    )
    crm = SandboxCrm(token="crm-token", webhook_url=f"{url}/webhooks/crm/", webhook_secret=CRM_SECRET)
    shop.start()
    crm.start()
    env = {
        "PATH": os.environ["PATH"],
        "ORDERBRIDGE_ENV_FILE": "",
        "SECRET_KEY": "x" * 50,
        "PUBLIC_URL": url,
        "DATABASE_URL": f"sqlite:///{tmp_path / 'db.sqlite3'}",
        "WOO_URL": shop.url,
        "WOO_CONSUMER_KEY": "ck_test",
        "WOO_CONSUMER_SECRET": "cs_test",
        "WOO_WEBHOOK_SECRETS": "lab-webhook-secret",
        "CRM_URL": crm.url,
        "CRM_TOKEN": "crm-token",
        "CRM_WEBHOOK_SECRETS": CRM_SECRET,
        "RETRY_BASE_SECONDS": "0.2",
    }
    yield shop, crm, url, env
    shop.stop()
    crm.stop()


def ready(url: str) -> bool:
    try:
        return requests.get(f"{url}/readyz", timeout=5).status_code == 200
    except requests.ConnectionError:
        return False


def test_web_and_workers_carry_thirty_orders_there_and_their_statuses_back(both: Any, tmp_path: Path) -> None:
    shop, crm, url, env = both
    log = tmp_path / "out.log"
    subprocess.run([sys.executable, "manage.py", "migrate", "-v0"], env=env, cwd=ROOT, check=True, timeout=60)
    gunicorn = (sys.executable, "-m", "gunicorn", "integration_site.wsgi", "-w2", "-b", url.removeprefix("http://"))
    cluster = (sys.executable, "manage.py", "qcluster")
    with running(*gunicorn, env=env, log=log), running(*cluster, env=env, log=log):
        wait_for(lambda: ready(url), 45)
        ids = [shop.create_order(status="pending")["id"] for _ in range(ORDERS)]
        wait_for(lambda: all(len(crm.by_external(woo_id)) == 1 for woo_id in ids), 45)
        for woo_id in ids:
            crm.set_status(crm.by_external(woo_id)[0]["id"], "paid")
        wait_for(lambda: all(shop.orders[woo_id]["status"] == "processing" for woo_id in ids), 45)
    assert len(crm.creates) == ORDERS
    written = log.read_text()
    assert "database is locked" not in written
    assert '"what": "transition"' in written and '"what": "delivery"' in written
    assert "crm-token" not in written and "cs_test" not in written
