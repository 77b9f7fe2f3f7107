"""Everything goes wrong, and in the end nothing is lost: `python -m tests.chaos --seed 7 --orders 5000 --on redis`."""

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from sync.sandbox.crms import CRMS, stand_in
from tests import servers
from tests.benchmarks.running import environment
from tests.chaos.networks import networks, shared
from tests.chaos.stores import DISK_BYTES, KINDS, stores

if TYPE_CHECKING:
    from tests.chaos.pairs import Pair

CRM_TOKEN = "chaos-token"
CRM_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
LIST_LAG = 1.0
SENDERS = 8
FASTER = {
    "RETRY_BASE_SECONDS": "0.2",
    "RETRY_MAX_SECONDS": "5",
    "RETRY_MAX_ATTEMPTS": "60",
    "HTTP_TIMEOUT": "3",
    "CRM_LIST_LAG": str(2 * LIST_LAG),
    "LOOP_MAX_CHANGES": "1000000",
    "RECONCILE_MINUTES": "1",
}
"""Waits are shortened, so that a run of minutes sees what else takes hours. The loop breaker asks for a person."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="the same seed, the same story")
    parser.add_argument("--orders", type=int, default=5000)
    parser.add_argument("--on", choices=KINDS, default="sqlite", help="redis: PostgreSQL, with Redis as the broker")
    parser.add_argument("--hosts", type=int, default=1, help="each with a web, a cluster and a folder of its own")
    parser.add_argument("--bridges", type=int, default=1, help="so many shops, whose orders have the same numbers")
    parser.add_argument("--shared", action="store_true", help="all of them on one CRM, told apart by prefixes")
    parser.add_argument("--rate", type=float, default=20.0, help="orders a second")
    parser.add_argument("--only", default="", help="only what has this in its name: 'kill -9', 'full' …")
    parser.add_argument("--crm", choices=CRMS, help="a real Tryton, or the stand-in of another CRM")
    parser.add_argument("--keep-logs", type=Path, help="copy the logs of the processes into this folder")
    chosen = parser.parse_args()
    if chosen.hosts > 1 and chosen.on == "sqlite":
        parser.error("several hosts share a PostgreSQL: --on postgres or --on redis")
    if chosen.crm and chosen.bridges > 1:
        parser.error("with --crm there is one bridge")
    signal.signal(signal.SIGTERM, servers.end)
    shared = " on one CRM" if chosen.shared else ""
    head = (
        f"chaos: seed {chosen.seed}, {chosen.orders} orders over {chosen.bridges} bridge(s){shared}, on {chosen.on}, "
    )
    head += f"{chosen.hosts} host(s){f', with {chosen.crm}' if chosen.crm else ''}"
    sys.stdout.write(f"{head}\n")
    sys.stdout.flush()
    try:
        ok = play(chosen)
    except servers.NotInstalled as error:
        sys.stderr.write(f"{error}\n")
        return 2
    again = f"--seed {chosen.seed} --orders {chosen.orders} --on {chosen.on} --hosts {chosen.hosts} "
    again += f"--bridges {chosen.bridges}{' --shared' if chosen.shared else ''}"
    again += f" --crm {chosen.crm}" if chosen.crm else ""
    sys.stdout.write("all zeros are zeros\n" if ok else f"FAILED; again: python -m tests.chaos {again}\n")
    return 0 if ok else 1


def play(chosen: argparse.Namespace) -> bool:
    with ExitStack() as stack:
        made = stack.enter_context(networks(chosen.hosts))
        found = stack.enter_context(stores(chosen.on, DISK_BYTES, shared(made)))
        logs = Path(tempfile.mkdtemp(prefix="orderbridge-chaos-logs-"))
        stack.callback(shutil.rmtree, logs, ignore_errors=True)
        if chosen.keep_logs:
            stack.callback(shutil.copytree, logs, chosen.keep_logs, dirs_exist_ok=True)
        env = environment(
            found.database_url,
            0,
            **FASTER,
            **{name: value for name, value in found.env.items() if name != "DATABASE_URL"},
            WOO_CONSUMER_KEY="ck_chaos",
            WOO_CONSUMER_SECRET="cs_chaos",
            CRM_TOKEN=CRM_TOKEN,
            CRM_WEBHOOK_SECRETS=CRM_SECRET,
            DJANGO_SETTINGS_MODULE="integration_site.settings",
            ALLOW_PRIVATE_ADDRESSES="true",
        )
        os.environ.update(env)
        import django

        django.setup()
        from tests.chaos.pairs import bridge_them, crms, shops
        from tests.chaos.run import Run
        from tests.chaos.service import Service, wait_for
        from tests.chaos.tryton import ENVIRONMENT

        # A CRM that ignores the key must not meet with a clock of ours that jumps: the two together are not promised.
        honours_key = not chosen.crm and random.Random(chosen.seed).random() < 0.5
        clock_file = logs / "clock" if honours_key else None
        pairs = _sandboxes(chosen, honours_key, logs)
        for side in (*shops(pairs), *crms(pairs)):
            side.address = made[0].shared
            side.start()
            stack.callback(side.stop)
        env |= {"WOO_URL": pairs[0].shop.url, "CRM_URL": f"{pairs[0].crm.url}{pairs[0].crm.path}"}
        if chosen.crm:
            told = {"BACKEND": chosen.crm, **pairs[0].crm.settings}
            env |= {f"CRM_{name.upper()}": value for name, value in told.items()}
        if chosen.crm == "tryton":
            env |= ENVIRONMENT
        if clock_file:
            clock_file.write_text("0")
        service = Service(logs, made, env, clock_file)
        stack.callback(service.end)
        service.start()
        wait_for(service.answers, 60, "the web servers do not answer")
        bridge_them(pairs, ("chaos", "bench-secret", CRM_SECRET), made[0].shared)
        for shop in shops(pairs):
            shop.register_webhooks("", "bench-secret")
        run = Run(
            seed=chosen.seed,
            orders=chosen.orders,
            rate=chosen.rate,
            stores=found,
            service=service,
            pairs=pairs,
            clock_file=clock_file,
            only=chosen.only,
        )
        reckoning = run.play()
        key = "honoured" if honours_key else "ignored"
        known = pairs[0].crm.title if chosen.crm else f"{key}; its lists lag {LIST_LAG:g} s"
        reckoning.figures["the CRM" if chosen.crm else "the CRM and Idempotency-Key"] = known
        reckoning.show()
        return reckoning.ok()


def _sandboxes(chosen: argparse.Namespace, honours_key: bool, logs: Path) -> "list[Pair]":
    """A shop for each bridge, each with a CRM, or all with the first one's."""
    from sync.sandbox.crm import SandboxCrm
    from sync.sandbox.shop import SandboxShop
    from tests.chaos.pairs import Pair
    from tests.chaos.tryton import TrytonInChaos

    pairs = list[Pair]()
    for number in range(1, chosen.bridges + 1):
        shop = SandboxShop(0, consumer_key="ck_chaos", consumer_secret="cs_chaos", senders=SENDERS)
        is_shared = chosen.shared and number > 1
        if is_shared:
            crm = pairs[0].crm
        elif chosen.crm == "tryton":
            crm = TrytonInChaos(logs / "tryton")
        elif chosen.crm:
            crm = stand_in(chosen.crm)()
        else:
            crm = SandboxCrm(0, CRM_TOKEN, None, CRM_SECRET, senders=SENDERS)
            crm.honours_idempotency_key, crm.list_lag = honours_key, LIST_LAG
        prefix = f"shop{chr(ord('a') + number)}-" if is_shared else ""
        pairs.append(Pair(shop=shop, crm=crm, number=number, crm_number=1 if is_shared else number, prefix=prefix))
    return pairs


if __name__ == "__main__":
    sys.exit(main())
