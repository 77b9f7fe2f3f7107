"""Events per second from the inbox to the record, beside the same handler on celery and on procrastinate."""

import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from statistics import median

import requests

from tests import servers
from tests.benchmarks.running import Options, database, environment, migrate, python, running, say, talk

PROCESSES = 2
ROUNDS = 3
SIDES = {
    "at once": (0.0, 600, True),
    "in 200 ms": (0.2, 60, True),
    "in 200 ms, one by one": (0.2, 60, False),
}
"""How long each answer of the two sides takes, how many events are then a fair measure, and whether the CRM has batch
reads."""
MORE = 5
"""Times as many for ours, whose batches grow with the backlog."""
PATIENCE = 300.0


@dataclass(frozen=True, kw_only=True)
class Queue:
    name: str
    command: Sequence[str]
    one_process: bool = False
    "Its command starts one process only."


MANAGE = [sys.executable, "manage.py"]
CELERY = ["-m", "celery", "-A", "tests.benchmarks.rivals:celery_app", "worker", "-c", str(PROCESSES), "-l", "ERROR"]
PROCRASTINATE = ["-m", "procrastinate", "--app=tests.benchmarks.rivals.procrastinate_app"]
QUEUES = (
    Queue(name="ours", command=[*MANAGE, "qcluster"]),
    Queue(
        name="celery",
        command=[sys.executable, *CELERY, "--without-gossip", "--without-mingle"],
    ),
    Queue(
        name="procrastinate",
        command=[sys.executable, *PROCRASTINATE, "worker", "--concurrency=1"],
        one_process=True,
    ),
)


def drain(options: Options) -> None:
    """Distinct orders, so that no read answers two events; two processes each; read CRM, read shop, write shop."""
    say(f"\n{options.kind}, {PROCESSES} processes, one order for each event; median of {ROUNDS} rounds")
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="orderbridge-bench-")))
        url = stack.enter_context(database(options.kind, home))
        redis = stack.enter_context(servers.redis())
        queues = [one for one in QUEUES if one.name != "procrastinate" or options.kind == "postgres"]
        say("  both sides answer       " + "".join(f"{one.name:>18}" for one in queues))
        first = True
        for words, (delay, events, reads_many) in SIDES.items():
            with sides(delay, home, reads_many=reads_many) as address:
                env = environment(url, 1, WOO_URL=address, CRM_URL=address, BENCH_REDIS=redis, **KEYS)
                if first:
                    migrate(env)
                    if options.kind == "postgres":
                        python([*PROCRASTINATE, "schema", "--apply"], env)
                    first = False
                rates: dict[str, list[float]] = {one.name: [] for one in queues}
                calls = 0
                for _ in range(ROUNDS):
                    for one in queues:
                        size = options.size(events) * (MORE if one.name == "ours" else 1)
                        calls_since(address)
                        rates[one.name].append(rate_of(one, env, home, size))
                        calls = calls_since(address) if one.name == "ours" else calls
                _row(words, rates)
                say(f"  {'':22}  ours: {calls / options.size(events) / MORE:.2f} calls to both sides for each order")


KEYS = {
    "DJANGO_SETTINGS_MODULE": "integration_site.settings",
    "WOO_CONSUMER_KEY": "ck_bench",
    "WOO_CONSUMER_SECRET": "cs_bench",
    "CRM_TOKEN": "bench-token",
}


def _row(words: str, rates: dict[str, list[float]]) -> None:
    ours = rates["ours"]
    cells = []
    for name, of in rates.items():
        ratio = median(mine / theirs for mine, theirs in zip(ours, of, strict=True))
        cells.append(f"{median(of):10.1f}/s" + (f" ({ratio:.2f})" if name != "ours" else "").rjust(7))
    say(f"  {words:22}" + " ".join(cells))


@contextmanager
def sides(delay: float, home: Path, *, reads_many: bool = True) -> Iterator[str]:
    """A shop and a CRM that cost next to nothing; their common address."""
    port = servers.free_port()
    command = [
        sys.executable,
        "-m",
        "tests.benchmarks.stub",
        str(port),
        str(delay),
        *([] if reads_many else ["single"]),
    ]
    with running(command, environment("", port), home / "stub.log"):
        servers.wait_for_port(port)
        yield f"http://127.0.0.1:{port}"


def calls_since(address: str) -> int:
    """The calls to both sides since this was asked last."""
    return int(requests.get(f"{address}/calls", timeout=10).json())


def rate_of(queue: Queue, env: dict[str, str], home: Path, events: int) -> float:
    """All events are there before the workers start; counted from the first that is begun to the last that is done."""
    python(["-m", "tests.benchmarks.drain", "fill", queue.name, str(events)], env)
    with ExitStack() as stack:
        for _ in range(PROCESSES if queue.one_process else 1):
            stack.enter_context(running(queue.command, env, home / f"{queue.name}.log"))
        said = talk(["-m", "tests.benchmarks.drain", "wait", str(events)], env, PATIENCE + 30)
    return float(said)


# --- inside, with Django ---------------------------------------------------------------------------------------------


def fill(queue: str, count: int) -> None:
    """Linked orders, and for each the news that the CRM has put it on hold."""
    from django.db.models import Max

    from orders.models import OrderLink
    from webhooks.models import WebhookEvent

    first = (OrderLink.objects.aggregate(newest=Max("woo_id"))["newest"] or 1000) + 1
    numbers = range(first, first + count)
    OrderLink.objects.bulk_create(
        [
            OrderLink(woo_id=n, crm_order_id=f"C-{n}", crm_status="new", crm_version=1, woo_status="pending")
            for n in numbers
        ]
    )
    WebhookEvent.objects.bulk_create(
        [WebhookEvent(side="crm", source="crm", order_ref=f"C-{n}", dedupe_key=f"bench:{n}") for n in numbers]
    )
    if queue != "ours":
        from tests.benchmarks import rivals

        rivals.enqueue(queue, [f"C-{n}" for n in numbers])


def empty() -> None:
    """Wait until nothing is to be done."""
    from webhooks.models import WebhookEvent

    until = time.monotonic() + PATIENCE
    while WebhookEvent.objects.unfinished().exists():
        if time.monotonic() > until:
            raise SystemExit(f"the inbox is not empty after {PATIENCE:.0f} s")
        time.sleep(0.1)


def wait(count: int) -> None:
    """Print events per second once the latest so many are finished."""
    from sync.models import Attempt
    from webhooks.models import WebhookEvent

    empty()
    done = list(WebhookEvent.objects.order_by("-id")[:count])
    times = sorted(event.finished_at for event in done if event.finished_at and event.outcome == "applied")
    if len(times) != count:
        raise SystemExit(f"{count - len(times)} of {count} events did not end as applied")
    [began] = Attempt.objects.filter(event__in=done).order_by("started_at").values_list("started_at", flat=True)[:1]
    sys.stdout.write(str(count / ((times[-1] - began) / timedelta(seconds=1))))


if __name__ == "__main__":
    import django

    django.setup()
    if sys.argv[1] == "fill":
        fill(sys.argv[2], int(sys.argv[3]))
    elif sys.argv[1] == "empty":
        empty()
    else:
        wait(int(sys.argv[2]))
