"""Events per second from inbox to link, and the latency of one change at idle."""

import os
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from tests import servers
from tests.benchmarks.running import Options, database, environment, migrate, percentile, python, running, say, web

CRM_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
IDLE_SECONDS = 1.3
"""Between two changes: longer than a drain looks on after its last find."""


def wait_for(condition: Callable[[], bool], seconds: float, what: str) -> None:
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            raise SystemExit(f"  gave up after {seconds:.0f} s: {what}")
        time.sleep(0.02)


def one(home: Path, orders: int, changes: int) -> None:
    """In a process of its own, whose environment names the database."""
    import django

    django.setup()
    from orders.models import OrderLink
    from sync.sandbox.crm import SandboxCrm
    from sync.sandbox.shop import SandboxShop
    from webhooks.models import WebhookEvent

    public = os.environ["PUBLIC_URL"]
    port = int(public.rpartition(":")[2])
    shop = SandboxShop(0, f"{public}/webhooks/woocommerce/", "bench-secret", "ck_bench", "cs_bench")
    crm = SandboxCrm(0, "bench-token", f"{public}/webhooks/crm/", CRM_SECRET)
    env = dict(os.environ)
    with ExitStack() as stack:
        for server in (shop, crm):
            server.start()
            stack.callback(server.stop)
        env |= {"WOO_URL": shop.url, "CRM_URL": crm.url}
        stack.enter_context(web(env, port, home / "web.log"))

        started = time.monotonic()
        ids = [shop.create_order(status="pending")["id"] for _ in range(orders)]
        shop.settle(120)
        say(f"  {len(shop.deliveries)} deliveries of {orders} orders in after {time.monotonic() - started:.1f} s")
        # Only now: what is measured is the worker, not the shop's one-at-a-time sending.
        stack.enter_context(running([sys.executable, "manage.py", "qcluster"], env, home / "worker.log"))
        wait_for(lambda: not WebhookEvent.objects.unfinished().exists(), 300, "the inbox is not empty")
        times = list(WebhookEvent.objects.order_by("finished_at").values_list("finished_at", flat=True))
        seconds = (times[-1] - times[0]).total_seconds()
        linked = OrderLink.objects.filter(woo_id__in=ids).count()
        say(f"  drain        {len(times) / seconds:7.0f} events/s   {linked / seconds:5.0f} orders/s   {seconds:.1f} s")
        if linked != orders or len(crm.creates) != orders:
            say(f"  WRONG: {linked} of {orders} linked, {len(crm.creates)} created in the CRM")

        took = []
        for woo_id in ids[:changes]:
            time.sleep(IDLE_SECONDS)
            crm.set_status(crm.by_external(woo_id)[0]["id"], "on_hold")
            seen = len(took) + 1
            finished = WebhookEvent.objects.filter(side="crm", finished_at__isnull=False)
            wait_for(lambda want=seen, rows=finished: rows.count() >= want, 30, "a change was not applied")  # type: ignore[misc]
            event = finished.latest("id")
            if event.outcome != "applied":
                say(f"  WRONG: event {event.pk} ended {event.outcome}: {event.reason}")
            took.append((event.finished_at - event.received_at).total_seconds() * 1000)
        say(
            f"  at idle      received → applied: median {percentile(took, 0.5):.0f} ms   "
            f"p99 {percentile(took, 0.99):.0f} ms   ({len(took)} changes)\n"
        )


def drain(options: Options) -> None:
    say(f"\n{options.kind}, one qcluster with 2 workers, sandbox shop and CRM on the same machine")
    with tempfile.TemporaryDirectory(prefix="orderbridge-bench-") as home, database(options.kind, Path(home)) as url:
        env = environment(
            url,
            servers.free_port(),
            DJANGO_SETTINGS_MODULE="integration_site.settings",
            WOO_CONSUMER_KEY="ck_bench",
            WOO_CONSUMER_SECRET="cs_bench",
            CRM_TOKEN="bench-token",
            CRM_WEBHOOK_SECRETS=CRM_SECRET,
            CRM_LIST_LAG="0",
        )
        migrate(env)
        arguments = [home, str(options.size(1000)), str(options.size(50))]
        python(["-m", "tests.benchmarks.drain", *arguments], env, seconds=900)


if __name__ == "__main__":
    one(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
