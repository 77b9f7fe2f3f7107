"""`manage.py sandbox`: a stand-in shop and CRM on loopback, with traffic."""

import argparse
import signal
import threading
import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from orders.models import StatusRule
from sync.sandbox import second, state
from sync.sandbox.crm import SandboxCrm
from sync.sandbox.crms import CRMS, stand_in
from sync.sandbox.crms.base import PAGE, StandIn
from sync.sandbox.shop import SandboxShop
from sync.sandbox.traffic import Traffic
from webhooks.configs import CrmConfig, ShopConfig
from webhooks.connections import CRM, DEFAULT_BRIDGE, SHOP

LOOPBACK = ("127.0.0.1", "localhost", "::1")
SAVE_SECONDS = 5
SECOND_IS_SLOWER = 4
ID_EPOCH = 1_767_225_600  # 2026-01-01: numbers of a run without a state file start where no earlier run was
EXAMPLE = """example:
  python manage.py sandbox --rate 2 --seed 7
  curl -X POST http://127.0.0.1:8082/_faults -d '{"name": "500", "times": 5}'     the CRM fails five times
  curl -X DELETE http://127.0.0.1:8082/_faults                                    and is well again
"""


def port_of(url: str, default: int) -> int:
    parts = urlsplit(url)
    return parts.port if parts.hostname in LOOPBACK and parts.port else default


Pair = tuple[SandboxShop, StandIn, Path | None]
"""With the file that keeps their orders."""


def _save(pairs: Iterable[Pair]) -> None:
    for shop, crm, path in pairs:
        if path:
            state.save(path, shop, crm)


def _stop(signum: int, frame: Any) -> None:
    raise KeyboardInterrupt


class Command(BaseCommand):
    help = "Run a stand-in WooCommerce shop and CRM on loopback, with traffic, for a first look and for development."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.epilog = EXAMPLE
        parser.formatter_class = argparse.RawDescriptionHelpFormatter
        parser.add_argument("--shop-port", type=int, default=port_of(ShopConfig.of_environment(SHOP).url, 8081))
        parser.add_argument("--crm-port", type=int, default=port_of(CrmConfig.of_environment(CRM).url, 8082))
        parser.add_argument("--rate", type=float, default=1.0, help="happenings a second (default 1)")
        parser.add_argument("--orders", type=int, help="stop ordering after so many orders; moving them goes on")
        parser.add_argument("--seed", type=int, help="the same seed plans the same traffic")
        parser.add_argument("--no-traffic", action="store_true", help="only the two servers")
        parser.add_argument("--state", type=Path, help="keep the orders in this file over a restart")
        parser.add_argument(
            "--crm",
            choices=("rest", *CRMS),
            default=settings.CRM_BACKEND if settings.CRM_BACKEND in CRMS else "rest",
            help="which CRM is stood in for, or tryton, a real one (default: CRM_BACKEND's, or else one of `rest`)",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["rate"] <= 0:
            raise CommandError("--rate must be above 0; for none at all use --no-traffic.", returncode=2)
        pairs = [self._servers(options)]
        if second.shop_url():
            pairs.append(self._second(options))
        self._say_lock = threading.Lock()
        stop = threading.Event()
        try:
            signal.signal(signal.SIGTERM, _stop)
            for place, (shop, crm, _) in enumerate(pairs):
                shop.listener = crm.listener = partial(self._say_of, "second " if place else "")
                self._start(shop, crm)
                if not options["no_traffic"]:
                    rate = options["rate"] / (SECOND_IS_SLOWER if place else 1)
                    traffic = Traffic(shop, crm, options["seed"], rate, options["orders"])
                    threading.Thread(target=traffic.run, args=(stop,), daemon=True).start()
            while not stop.wait(SAVE_SECONDS):
                _save(pairs)
        except KeyboardInterrupt:
            self._say("sandbox: stopped")
        finally:
            stop.set()
            for shop, crm, _ in pairs:
                shop.stop()
                crm.stop()
            _save(pairs)

    def _second(self, options: dict[str, Any]) -> Pair:
        """Not connected to anything; somebody may do that in the back office."""
        shop, crm = second.servers()
        path = options["state"] and options["state"].with_stem(f"{options['state'].stem}-second")
        if not (path and state.load(path, shop, crm)):
            traffic = Traffic(shop, crm, options["seed"])
            for _ in range(second.ORDERS):
                traffic.order()
        return shop, crm, path

    def _say_of(self, whose: str, line: str) -> None:
        self._say(f"{whose}{line}")

    def _servers(self, options: dict[str, Any]) -> Pair:
        keys: dict[str, Any] = {}
        of_shop, of_crm = ShopConfig.of_environment(SHOP), CrmConfig.of_environment(CRM)
        if of_shop.consumer_key:
            keys = {"consumer_key": of_shop.consumer_key, "consumer_secret": of_shop.consumer_secret}
        if not of_shop.webhook_secrets or (options["crm"] == "rest" and not of_crm.webhook_secrets):
            raise CommandError(
                "WOO_WEBHOOK_SECRETS and CRM_WEBHOOK_SECRETS must be set (.env): without them every delivery is "
                "refused. `make run` sets all of it for you.",
                returncode=2,
            )
        first_id = (int(time.time()) - ID_EPOCH) // 10
        base = f"{settings.PUBLIC_URL}/webhooks"
        secret = of_shop.webhook_secrets[0]
        shop = SandboxShop(options["shop_port"], f"{base}/woocommerce/", secret, first_id=first_id, **keys)
        crm = self._crm(options["crm"], options["crm_port"], f"{base}/crm/", first_id)
        self._map(crm)
        if options["state"] and state.load(options["state"], shop, crm):
            self.stdout.write(f"sandbox: {len(shop.orders)} orders of the last run loaded from {options['state']}")
        return shop, crm, options["state"]

    def _crm(self, name: str, port: int, hooks: str, first_id: int) -> StandIn:
        if name in CRMS:
            return stand_in(name).sandboxed(port, hooks, first_id)
        config = CrmConfig.of_environment(CRM)
        token, secret = config.token or "crm-token", config.webhook_secrets[0]
        return SandboxCrm(port, token, hooks, secret, first_id=first_id)

    @staticmethod
    def _map(crm: StandIn) -> None:
        """For whoever looks for the first time. What somebody mapped, or took away, stays so."""
        known = {*StatusRule.history.filter(bridge=DEFAULT_BRIDGE).values_list("crm_status", flat=True)}
        for crm_status, woo_status in crm.rules.items():
            if crm_status not in known:
                StatusRule.objects.create(crm_status=crm_status, woo_status=woo_status)

    def _start(self, shop: SandboxShop, crm: StandIn) -> None:
        for name, server in (("shop", shop), ("CRM", crm)):
            try:
                server.start()
            except OSError as error:
                message = f"Port {server.port} for the {name} is taken ({error.strerror}): use --{name.lower()}-port."
                raise CommandError(message, returncode=2) from error
        sides = f"shop {shop.url}  {crm.title} {crm.url}{PAGE}"
        self._say(f"sandbox: {sides}  webhooks to {settings.PUBLIC_URL}  (Ctrl-C ends it)")

    def _say(self, line: str) -> None:
        with self._say_lock:
            self.stdout.write(line)
            self.stdout.flush()
