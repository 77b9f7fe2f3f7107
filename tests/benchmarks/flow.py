"""Web and worker together: from received to finished at idle, at half load, behind a backlog; start and memory."""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from tests import servers
from tests.benchmarks.drain import KEYS, MANAGE, PATIENCE, sides
from tests.benchmarks.load import steadily
from tests.benchmarks.running import (
    Options,
    database,
    environment,
    migrate,
    percentile,
    python,
    running,
    say,
    talk,
    web,
)

BACKLOG = 10_000
IDLE_PAUSE = 1.4
"""Seconds between two deliveries at idle: longer than a drain looks on after its last find."""


@dataclass(frozen=True, kw_only=True)
class Service:
    env: dict[str, str]
    port: int
    home: Path

    def ask(self, *words: str) -> list[float]:
        found: list[float] = json.loads(talk(["-m", "tests.benchmarks.flow", *words], self.env, PATIENCE * 4))
        return found


@contextmanager
def service(options: Options) -> Iterator[Service]:
    """Everything but the worker, with sides that answer at once."""
    with ExitStack() as stack:
        home = Path(stack.enter_context(TemporaryDirectory(prefix="orderbridge-bench-")))
        url = stack.enter_context(database(options.kind, home))
        address = stack.enter_context(sides(0.0, home))
        port = servers.free_port()
        env = environment(url, port, WOO_URL=address, CRM_URL=address, CRM_LIST_LAG="0", **KEYS)
        migrate(env)
        started = time.monotonic()
        process = stack.enter_context(web(env, port, home / "web.log", server="gthread"))
        took = time.monotonic() - started
        say(f"  web      answers {took:5.1f} s after its start, {memory(process.pid):4.0f} MB in all")
        yield Service(env=env, port=port, home=home)


def latency(options: Options) -> None:
    """New orders of the shop: stored, read back, looked for in the CRM, created there, linked."""
    say(f"\n{options.kind}, gunicorn with 2 processes, qcluster with 2, both sides answer at once")
    with service(options) as it:
        begun = time.monotonic()
        with running([*MANAGE, "qcluster"], it.env, it.home / "worker.log") as worker:
            it.ask("alive")
            words = f"works   {time.monotonic() - begun:5.1f} s after its start"
            time.sleep(2)
            say(f"  worker   {words}, {memory(worker.pid):4.0f} MB in all")
            wrong = steadily(it.port, 1 / IDLE_PAUSE, options.size(30) * IDLE_PAUSE)
            _tell("at idle", it.ask("since"), wrong)
            python(["-m", "tests.benchmarks.drain", "fill", "ours", str(options.size(400))], it.env)
            most = float(talk(["-m", "tests.benchmarks.drain", "wait", str(options.size(400))], it.env, PATIENCE))
            it.ask("since")
            wrong = steadily(it.port, most / 2, options.size(30))
            _tell(f"at half load ({most / 2:.0f}/s)", it.ask("since"), wrong)


def recovery(options: Options) -> None:
    """After an outage: so many orders wait, and new ones keep coming."""
    backlog = options.size(BACKLOG)
    say(f"\n{options.kind}, {backlog} orders wait; meanwhile two new ones come a second")
    with service(options) as it:
        python(["-m", "tests.benchmarks.drain", "fill", "ours", str(backlog)], it.env)
        it.ask("since")
        begun = time.monotonic()
        with running([*MANAGE, "qcluster"], it.env, it.home / "worker.log"):
            wrong: list[int] = []
            while (left := it.ask("backlog")[0]) and time.monotonic() - begun < PATIENCE * 2:
                wrong += steadily(it.port, 2, 10)
                say(f"    {time.monotonic() - begun:5.0f} s: {left:.0f} of the backlog left")
            took = time.monotonic() - begun
            fresh = it.ask("since")
        rest = f", {left:.0f} LEFT" if left else ""
        say(f"  drained  {(backlog - left) / took:7.0f} events/s, {took:.0f} s in all{rest}")
        _tell("new ones", fresh, wrong)
        if fresh and max(fresh) > 2:
            say("  OVER THE LIMIT of 2 s")


def _tell(when: str, seconds: list[float], wrong: list[int]) -> None:
    p50, p99, longest = (percentile(seconds, share) * 1000 for share in (0.5, 0.99, 1.0))
    bad = f"   NOT 200: {sorted(set(wrong))}" if wrong else ""
    times = f"median {p50:.0f} ms   p99 {p99:.0f} ms   longest {longest:.0f} ms"
    say(f"  {when:24} received → finished: {times}   ({len(seconds)} orders){bad}")


def memory(pid: int) -> float:
    """Megabytes of a process and all below it; what they share is counted once."""
    total = 0.0
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            total += int(line.split()[1]) / 1024
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return total + sum(memory(int(child)) for child in children)


# --- inside, with Django ---------------------------------------------------------------------------------------------


def alive() -> list[float]:
    """Once a worker has done its first task."""
    from sync.models import Heartbeat

    while not Heartbeat.objects.exists():
        time.sleep(0.05)
    return []


def backlog() -> list[float]:
    from webhooks.models import WebhookEvent

    return [float(WebhookEvent.objects.unfinished().filter(dedupe_key__startswith="bench:").count())]


def since() -> list[float]:
    """Seconds from received to finished of the deliveries since the last question, once none of them waits."""
    from webhooks.models import WebhookEvent

    delivered = WebhookEvent.objects.filter(source="woocommerce")
    until = time.monotonic() + PATIENCE
    while delivered.unfinished().exists() and time.monotonic() < until:
        time.sleep(0.1)
    rows = list(delivered.exclude(trigger="asked").values_list("pk", "received_at", "finished_at"))
    delivered.filter(pk__in=[pk for pk, _, _ in rows]).update(trigger="asked")
    return [(finished - received).total_seconds() for _, received, finished in rows if finished]


if __name__ == "__main__":
    import django

    django.setup()
    sys.stdout.write(json.dumps({"alive": alive, "backlog": backlog, "since": since}[sys.argv[1]]()))
