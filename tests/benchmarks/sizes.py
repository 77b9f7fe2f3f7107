"""What 100 000 orders take on disk: fresh, past RETENTION_DAYS, and past ROWS_RETENTION_DAYS."""

import json
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from tests import servers
from tests.benchmarks.drain import KEYS, MANAGE
from tests.benchmarks.running import Options, database, environment, migrate, python, running, say, talk, web

ORDERS = 1000
HAPPENINGS = 8
"""Of each order: it is placed, edited, moved along."""
RATE = 12
"""So many of them come in a second."""
CRM_SECRET = "whsec_b25seS1mb3ItYS1tZWFzdXJlbWVudA=="
PER = 100_000
STAGES = {"fresh": "", "past RETENTION_DAYS": "0", "past ROWS_RETENTION_DAYS": "365"}
"""By name, with ROWS_RETENTION_DAYS of the prune before it."""


def sizes(options: Options) -> None:
    """Orders of the sandbox's traffic: placed, edited, moved along in the CRM, each with its webhooks."""
    with ExitStack() as stack:
        home = Path(stack.enter_context(TemporaryDirectory(prefix="orderbridge-bench-")))
        url = stack.enter_context(database(options.kind, home))
        port, shop, crm = servers.free_port(), servers.free_port(), servers.free_port()
        sides = {"WOO_URL": f"http://127.0.0.1:{shop}", "CRM_URL": f"http://127.0.0.1:{crm}", "LOG_LEVEL": "WARNING"}
        env = environment(url, port, CRM_WEBHOOK_SECRETS=CRM_SECRET, **sides, **KEYS)
        migrate(env)
        stack.enter_context(web(env, port, home / "web.log", server="gthread"))
        orders = options.size(ORDERS)
        empty = _look(env)
        with running([*MANAGE, "qcluster"], env, home / "worker.log"):
            traffic = ["sandbox", "--rate", str(RATE), "--orders", str(orders), "--seed", "7"]
            with running([*MANAGE, *traffic], env, home / "sandbox.log"):
                time.sleep(orders * HAPPENINGS / RATE)
            talk(["-m", "tests.benchmarks.drain", "empty"], env, 330)
        found = {}
        for stage, days in STAGES.items():
            if days:
                python(["-m", "tests.benchmarks.sizes", "prune"], {**env, "ROWS_RETENTION_DAYS": days}, 600)
            found[stage] = _look(env)
    linked = found["fresh"]["orders_orderlink"][0]
    say(f"\n{options.kind}, MB of {PER} orders, from {linked:.0f} of them; in brackets rows of each order")
    say(f"  {'':28}" + "".join(f"{stage:>28}" for stage in STAGES))
    rest = dict.fromkeys(STAGES, 0.0)
    for table in sorted(found["fresh"], key=lambda name: -found["fresh"][name][1]):
        cells = {stage: (tables[table][0], tables[table][1] - empty[table][1]) for stage, tables in found.items()}
        for stage, (_, size) in cells.items():
            rest[stage] += size
        if cells["fresh"][1] * PER / linked > 1_000_000:
            row = (f"{size * PER / linked / 1e6:16.0f} ({rows / linked:5.1f})   " for rows, size in cells.values())
            say(f"  {table:28}" + "".join(f"{cell:>28}" for cell in row))
    say(f"  {'all':28}" + "".join(f"{size * PER / linked / 1e6:>17.0f}{'':11}" for size in rest.values()))


def _look(env: dict[str, str]) -> dict[str, list[float]]:
    """Rows and bytes of each table, its indexes among them."""
    looked: dict[str, list[float]] = json.loads(talk(["-m", "tests.benchmarks.sizes", "look"], env, 120))
    return looked


# --- inside, with Django ---------------------------------------------------------------------------------------------


def look() -> dict[str, tuple[int, int]]:
    from django.db import connection

    names = connection.introspection.table_names()
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("VACUUM FULL")
            size = "SELECT pg_total_relation_size(%s::regclass)"
        else:
            cursor.execute("VACUUM")
            size = "SELECT sum(pgsize) FROM dbstat JOIN sqlite_master USING (name) WHERE tbl_name = %s"
        found = {}
        for name in names:
            cursor.execute(f"SELECT count(*) FROM {name}")  # noqa: S608  a table of ours
            rows = cursor.fetchone()[0]
            cursor.execute(size, [name])
            found[name] = rows, cursor.fetchone()[0] or 0
    return found


def prune() -> None:
    """As it is a long time later: everything is older by 400 days."""
    from datetime import timedelta

    from django.core.management import call_command
    from django.db.models import DateTimeField, F

    from sync.models import Attempt, Call
    from webhooks.models import WebhookEvent

    for model in (WebhookEvent, Attempt, Call):
        times = [field.name for field in model._meta.concrete_fields if isinstance(field, DateTimeField)]
        kept = [name for name in times if name != "next_attempt_at"]
        model._default_manager.update(**{name: F(name) - timedelta(days=400) for name in kept})
    started = time.monotonic()
    call_command("prune", stdout=sys.stderr)
    say(f"    prune took {time.monotonic() - started:.0f} s, the half of it at rest")


if __name__ == "__main__":
    import django

    django.setup()
    if sys.argv[1] == "look":
        sys.stdout.write(json.dumps(look()))
    else:
        prune()
