"""A whole small world: the endpoints under a real server, the real queue, and both sides over real HTTP."""

import os
import pydoc
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.utils import timezone
from django_q.brokers import get_broker
from django_q.signing import SignedPackage

from orders.models import OrderLink
from sync import tasks
from sync.models import Lease
from sync.sandbox.crm import SandboxCrm
from sync.sandbox.shop import SandboxShop
from tests import servers
from webhooks.models import WebhookEvent

PATIENCE = 60.0
"""Seconds until what does not come is a failure: as long as a loaded machine may need."""
CRM_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def wait_for(condition: Callable[[], object], seconds: float = PATIENCE) -> None:
    """Await a condition; fail loudly when it does not come."""
    until = time.monotonic() + seconds
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < until, "the awaited condition did not come"
        pause.wait(0.01)


def run_queue() -> None:
    """What a worker of the cluster does with the broker's tasks, in this process."""
    broker = get_broker()
    while some := broker.dequeue():
        broker.was_empty_at = float("-inf")
        for pk, payload in some:
            task = SignedPackage.loads(payload)
            if pk:
                broker.acknowledge(pk)
            function = pydoc.locate(task["func"])
            assert callable(function), task["func"]
            function(*task["args"], **task["kwargs"])


@dataclass
class World:
    shop: SandboxShop
    crm: SandboxCrm
    endpoint: str
    "Where the shop's deliveries go."

    def settle(self, seconds: float = PATIENCE) -> None:
        """Until every delivery is in and every event is finished."""

        def quiet() -> bool:
            self.shop.settle(seconds)
            self.crm.settle(seconds)
            run_queue()
            tasks.drain()
            self.shop.settle(seconds)
            self.crm.settle(seconds)
            return not WebhookEvent.objects.unfinished().exists()

        wait_for(quiet, seconds)

    def work(self) -> None:
        """One round of the worker: the deliveries that are in, once."""
        self.shop.settle(PATIENCE)
        self.crm.settle(PATIENCE)
        tasks.drain()

    def bury_the_dead(self) -> None:
        """The minute after a crash: the dead worker's leases have run out."""
        past = timezone.now() - timedelta(seconds=1)
        Lease.objects.update(expires_at=past)
        WebhookEvent.objects.unfinished().update(next_attempt_at=past)

    def outcomes(self, side: str = "") -> list[str]:
        rows = WebhookEvent.objects.order_by("id")
        rows = rows.filter(side=side) if side else rows
        return [event.outcome or event.state for event in rows]

    def link(self, woo_id: int) -> OrderLink:
        return OrderLink.objects.get(woo_id=woo_id)


def linked_order(world: World, **fields: Any) -> tuple[int, str]:
    """A new order of the shop, once it stands in the CRM: its id on both sides."""
    order = world.shop.create_order(**fields)
    world.settle()
    return order["id"], world.link(order["id"]).crm_order_id


@pytest.fixture
def world(transactional_db: None, live_server: Any, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    shop = SandboxShop(
        port=0,
        webhook_url=f"{live_server.url}/webhooks/woocommerce/",
        webhook_secret="lab-webhook-secret",
        consumer_key="ck_test",
        consumer_secret="cs_test",
    )
    crm = SandboxCrm(
        port=0, token="crm-token", webhook_url=f"{live_server.url}/webhooks/crm/", webhook_secret=CRM_SECRET
    )
    shop.start()
    crm.start()
    settings.WOO_URL, settings.WOO_CONSUMER_KEY, settings.WOO_CONSUMER_SECRET = shop.url, "ck_test", "cs_test"
    settings.CRM_URL, settings.CRM_TOKEN = crm.url, "crm-token"
    settings.WOO_WEBHOOK_SECRETS, settings.CRM_WEBHOOK_SECRETS = ["lab-webhook-secret"], [CRM_SECRET]
    settings.RETRY_BASE_SECONDS, settings.RETRY_MAX_SECONDS, settings.HTTP_TIMEOUT = 0.02, 0.1, 10.0
    settings.CRM_LIST_LAG = settings.SHOP_WRITE_LAG = 0.0
    monkeypatch.setattr(tasks, "LINGER", 0.0)
    yield World(shop=shop, crm=crm, endpoint=f"{live_server.url}/webhooks/woocommerce/")
    shop.stop()
    crm.stop()


@dataclass
class Both:
    shop: SandboxShop
    crm: SandboxCrm
    url: str
    env: dict[str, str]


@contextmanager
def both_sides(home: Path, migrated: Path) -> Iterator[Both]:
    """The two sides, and the settings of the processes that a test starts between them, with a database."""
    port = servers.free_port()
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
    shutil.copy(migrated, home / "db.sqlite3")
    env = {
        "PATH": os.environ["PATH"],
        "ORDERBRIDGE_ENV_FILE": "",
        "SECRET_KEY": settings.SECRET_KEY,  # with which the database was made, and its audit begun
        "PUBLIC_URL": url,
        "DATABASE_URL": f"sqlite:///{home / 'db.sqlite3'}",
        "WOO_URL": shop.url,
        "WOO_CONSUMER_KEY": "ck_test",
        "WOO_CONSUMER_SECRET": "cs_test",
        "WOO_WEBHOOK_SECRETS": "lab-webhook-secret",
        "CRM_URL": crm.url,
        "CRM_TOKEN": "crm-token",
        "CRM_WEBHOOK_SECRETS": CRM_SECRET,
        "RETRY_BASE_SECONDS": "0.2",
    }
    yield Both(shop, crm, url, env)
    shop.stop()
    crm.stop()


@pytest.fixture
def both(tmp_path: Path, migrated: Path) -> Iterator[Both]:
    with both_sides(tmp_path, migrated) as both:
        yield both
