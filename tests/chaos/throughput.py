"""Do more workers do more, when the time goes into waiting for the two sides? `python -m tests.chaos.throughput`."""

import argparse
import os
import signal
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from tests import servers
from tests.benchmarks.running import environment
from tests.chaos.networks import networks, shared
from tests.chaos.stores import KINDS, stores

CRM_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ANSWER_SECONDS = 0.2
SHAPES = ((1, 1), (1, 2), (1, 4), (2, 2))
"""Hosts, and worker processes on each."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--on", choices=KINDS, default="redis")
    parser.add_argument("--orders", type=int, default=25, help="for each worker process")
    chosen = parser.parse_args()
    signal.signal(signal.SIGTERM, servers.end)
    sys.stdout.write(
        f"on {chosen.on}, QUEUE_THREADS=1; both sides take {ANSWER_SECONDS * 1000:.0f} ms for each answer\n"
    )
    sys.stdout.write("hosts × workers   orders/s   of linear\n")
    alone = 0.0
    for hosts, workers in SHAPES:
        if chosen.on == "sqlite" and hosts > 1:
            continue
        rate = measure(chosen.on, hosts, workers, chosen.orders * hosts * workers)
        alone = alone or rate
        share = rate / (alone * hosts * workers)
        sys.stdout.write(f"{hosts} × {workers:<14}{rate:8.2f}   {share:9.2f}\n")
        sys.stdout.flush()
    return 0


def measure(kind: str, hosts: int, workers: int, orders: int) -> float:
    """In a child, as the settings of a process are read once."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writer, str(_measured(kind, hosts, workers, orders)).encode())
        finally:
            os._exit(0)
    os.close(writer)
    try:
        with os.fdopen(reader) as answer:
            return float(answer.read())
    except BaseException:
        os.kill(child, signal.SIGTERM)
        raise
    finally:
        os.waitpid(child, 0)


def _measured(kind: str, hosts: int, workers: int, orders: int) -> float:
    """Orders per second, from the first attempt to the last link; all deliveries were in before the workers began."""
    with ExitStack() as stack:
        made = stack.enter_context(networks(hosts))
        found = stack.enter_context(stores(kind, shared=shared(made)))
        home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        env = environment(
            found.database_url,
            0,
            QUEUE_BROKER=found.env["QUEUE_BROKER"],
            WOO_CONSUMER_KEY="ck_chaos",
            WOO_CONSUMER_SECRET="cs_chaos",
            CRM_TOKEN="chaos-token",
            CRM_WEBHOOK_SECRETS=CRM_SECRET,
            CRM_LIST_LAG="0",
            QUEUE_THREADS="1",
            DJANGO_SETTINGS_MODULE="integration_site.settings",
        )
        os.environ.update(env)
        import django

        django.setup()
        from django.db.models import Max, Min

        from orders.models import OrderLink
        from sync.models import Attempt
        from sync.sandbox.crm import SandboxCrm
        from sync.sandbox.shop import SandboxShop
        from tests.chaos.service import Service, wait_for
        from webhooks.models import WebhookEvent

        shop = SandboxShop(0, consumer_key="ck_chaos", consumer_secret="cs_chaos", senders=4)
        crm = SandboxCrm(0, "chaos-token", None, CRM_SECRET)
        for side in (shop, crm):
            side.address = made[0].shared
            side.start()
            stack.callback(side.stop)
            side.faults.add("slow", seconds=ANSWER_SECONDS)
        service = Service(home, made, env | {"WOO_URL": shop.url, "CRM_URL": crm.url}, workers=workers)
        stack.callback(service.end)
        service.migrate()
        for host in service.hosts:
            host.web.start()
        wait_for(service.answers, 60, "the web servers do not answer")
        shop.add_webhook("order.created", f"{service.hosts[0].url}/webhooks/woocommerce/", "bench-secret")
        for _ in range(orders):
            shop.create_order(status="pending")
        shop.settle(60)
        for host in service.hosts:
            host.cluster.start()
        wait_for(lambda: OrderLink.objects.count() == orders, 300, "not all orders are linked")
        first = Attempt.objects.aggregate(at=Min("started_at"))["at"]
        last = WebhookEvent.objects.aggregate(at=Max("finished_at"))["at"]
        return float(orders / (last - first).total_seconds())


if __name__ == "__main__":
    sys.exit(main())
