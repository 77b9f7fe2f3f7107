"""Processes of a measurement: started on loopback with fresh databases, ended one by one by their ids."""

import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests import servers

ROOT = Path(__file__).parent.parent.parent
GRACE_SECONDS = 15


@dataclass(frozen=True, kw_only=True)
class Options:
    """What was asked for on the command line."""

    kind: str
    "sqlite or postgres."
    scale: float
    "1: the sizes that docs/performance.md quotes; less for a quick look."
    crm: str = ""
    "Of the part that asks for one; empty: all that have a stand-in."

    def size(self, full: int) -> int:
        return max(20, int(full * self.scale))


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def environment(database_url: str, port: int, **more: str) -> dict[str, str]:
    """Known settings only: no `.env`, and nothing of the caller's own service."""
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "VIRTUAL_ENV")}
    return {
        **kept,
        "ORDERBRIDGE_ENV_FILE": "",
        "PYTHONWARNINGS": "ignore",
        "SECRET_KEY": "only-for-a-measurement-" + "x" * 40,
        "DATABASE_URL": database_url,
        "PUBLIC_URL": f"http://127.0.0.1:{port}",
        "WOO_WEBHOOK_SECRETS": "bench-secret",
        **more,
    }


@contextmanager
def database(kind: str, home: Path) -> Iterator[str]:
    """An empty one; PostgreSQL with fsync, as in production."""
    if kind == "sqlite":
        yield f"sqlite:///{home / 'bench.sqlite3'}"
        return
    with servers.postgres(fsync=True) as url:
        yield url


@contextmanager
def running(command: Sequence[str], env: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """In a session of its own; at the end its main process alone is told (QUEUE 12), and its rest killed."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            command, cwd=ROOT, env=env, stdout=output, stderr=output, stdin=subprocess.DEVNULL, start_new_session=True
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            say(f"{command[-1]} did not end in {GRACE_SECONDS} s and is killed")
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def python(arguments: Sequence[str], env: dict[str, str], seconds: float = 120) -> None:
    """One command that has to succeed."""
    subprocess.run([sys.executable, *arguments], cwd=ROOT, env=env, check=True, timeout=seconds)


def talk(arguments: Sequence[str], env: dict[str, str], seconds: float) -> str:
    """The same, and what it printed on stdout; its stderr is ours."""
    command = [sys.executable, *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=env, check=True, timeout=seconds, stdout=subprocess.PIPE, text=True
    ).stdout


def migrate(env: dict[str, str]) -> None:
    python(["manage.py", "migrate", "-v", "0", "--skip-checks"], env)


def command(server: str, app: str, port: int) -> list[str]:
    """Two processes of a web server: gunicorn's sync or gthread workers, or granian's."""
    if server == "granian":
        where = ["--host", "127.0.0.1", "--port", str(port), "--workers", "2", "--interface", "wsgi"]
        factory = ["--factory"] if app.endswith("()") else []
        return [sys.executable, "-m", "granian", *where, *factory, "--no-ws", app.removesuffix("()")]
    gunicorn = [sys.executable, "-m", "gunicorn", "-w", "2", "-b", f"127.0.0.1:{port}", "-k", server]
    # gunicorn.conf.py has threads, and gunicorn makes gthread of sync where there are any.
    return [*gunicorn, "--threads", "8" if server == "gthread" else "1", "--error-logfile", "-", app]


@contextmanager
def web(
    env: dict[str, str], port: int, log: Path, app: str = "integration_site.wsgi:application", server: str = "sync"
) -> Iterator[subprocess.Popen[bytes]]:
    with running(command(server, app, port), env, log) as process:
        until = time.monotonic() + 30
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=2):
                    break
            except OSError:
                if time.monotonic() > until or process.poll() is not None:
                    raise SystemExit(f"the web server did not start:\n{log.read_text()[-2000:]}") from None
                time.sleep(0.05)
        yield process


def percentile(values: Sequence[float], share: float) -> float:
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, int(len(ranked) * share))]
