"""Deliveries per second into the inbox, beside the least a Django view can do and what the database itself can do."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from tests import servers
from tests.benchmarks import limits
from tests.benchmarks.load import WARM_UP, Figures, post
from tests.benchmarks.running import Options, database, environment, migrate, python, say, web

CONNECTIONS = (1, 8, 16, 32)
ROUNDS = 3
BARE = "tests.benchmarks.bare"


@contextmanager
def receivers(url: str, home: Path, server: str) -> Iterator[dict[str, int]]:
    """The bare view and ours, each on its port. Both live all the time; only one of them is busy at a time."""
    ports = {"bare": servers.free_port(), "ours": servers.free_port()}
    with ExitStack() as stack:
        for name, port in ports.items():
            env = environment(url, port)
            if name == "bare":
                env["DJANGO_SETTINGS_MODULE"] = BARE
                python(["-m", BARE], env)
            else:
                migrate(env)
            app = f"{BARE}:application()" if name == "bare" else "integration_site.wsgi:application"
            stack.enter_context(web(env, port, home / f"{name}.log", app, server))
        yield ports


def ingest(options: Options) -> None:
    with TemporaryDirectory(prefix="orderbridge-bench-") as home, database(options.kind, Path(home)) as url:
        count = options.size(2000)
        say(f"\n{options.kind}, gunicorn, 2 sync workers; median of {ROUNDS} rounds of {count} deliveries each")
        with receivers(url, Path(home), "sync") as ports:
            limit = {1: 0.0, 16: 0.0}
            limit |= {clients: limits.commits_per_second(options.kind, url, Path(home), clients) for clients in limit}
            say("                 bare view                      ours")
            say("  connections    per second      p50       p99    per second      p50       p99   of bare  of limit")
            for port in ports.values():
                post(port, WARM_UP, 16)
            for connections in CONNECTIONS:
                rounds = [{name: post(port, count, connections) for name, port in ports.items()} for _ in range(ROUNDS)]
                _row(connections, rounds, limit[1 if connections == 1 else 16])
        say(f"  the database alone: {limit[1]:.0f} commits/s of one row with one client, {limit[16]:.0f} with 16")


def _row(connections: int, rounds: Sequence[dict[str, Figures]], limit: float) -> None:
    bare, ours = ([one[name] for one in rounds] for name in ("bare", "ours"))
    ratio = median(mine.rate / least.rate for mine, least in zip(ours, bare, strict=True))
    say(
        f"  {connections:11}   {_speed(bare)}   {_speed(ours)}   {ratio:7.2f}"
        f"   {median(one.rate for one in ours) / limit:8.2f}{_bad([*bare, *ours])}"
    )


def _speed(of: Sequence[Figures]) -> str:
    p50, p99 = (median(one.milliseconds(share) for one in of) for share in (0.5, 0.99))
    return f"{median(one.rate for one in of):9.0f}/s {p50:6.1f} ms {p99:6.1f} ms"


def _bad(of: Sequence[Figures]) -> str:
    statuses = sorted({status for one in of for status in one.bad})
    return f"   NOT 200: {statuses}" if statuses else ""


def compare_servers(options: Options) -> None:
    """The same application behind gunicorn's two kinds of workers and behind granian."""
    with TemporaryDirectory(prefix="orderbridge-bench-") as home, database(options.kind, Path(home)) as url:
        count = options.size(2000)
        say(f"\n{options.kind}, 2 processes, 16 connections; median of {ROUNDS} rounds of {count} deliveries each")
        say("  server     bare view          ours: deliveries/s   p50       p99      longest")
        for server in ("sync", "gthread", "granian"):
            with receivers(url, Path(home), server) as ports:
                rounds = []
                for port in ports.values():
                    post(port, WARM_UP, 16)
                for _ in range(ROUNDS):
                    rounds.append({name: post(port, count, 16) for name, port in ports.items()})
                ours = [one["ours"] for one in rounds]
                longest = max(max(one.took) for one in ours) * 1000
                bare = median(one["bare"].rate for one in rounds)
                say(f"  {server:8}   {bare:6.0f}/s   {_speed(ours)}   {longest:7.0f} ms{_bad(ours)}")
