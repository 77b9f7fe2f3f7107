"""Processes of a measurement: started on loopback with fresh databases, ended one by one by their ids."""

import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from tests import servers

ROOT = Path(__file__).parent.parent.parent
GRACE_SECONDS = 15


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def environment(database_url: str, port: int, **more: str) -> dict[str, str]:
    """Known settings only: no `.env`, and nothing of the caller's own service."""
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "VIRTUAL_ENV")}
    return {
        **kept,
        "ORDERBRIDGE_ENV_FILE": "",
        "SECRET_KEY": "only-for-a-measurement-" + "x" * 40,
        "DATABASE_URL": database_url,
        "PUBLIC_URL": f"http://127.0.0.1:{port}",
        "WOO_WEBHOOK_SECRETS": "bench-secret",
        "LOG_LEVEL": "WARNING",
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


def migrate(env: dict[str, str]) -> None:
    subprocess.run([sys.executable, "manage.py", "migrate", "-v", "0"], cwd=ROOT, env=env, check=True, timeout=120)


@contextmanager
def web(
    env: dict[str, str], port: int, log: Path, app: str = "integration_site.wsgi", threads: int = 1
) -> Iterator[None]:
    command = [sys.executable, "-m", "gunicorn", "-w", "2", "-b", f"127.0.0.1:{port}", "--error-logfile", "-"]
    if threads > 1:
        command += ["-k", "gthread", "--threads", str(threads)]
    with running([*command, app], env, log) as process:
        until = time.monotonic() + 30
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=2):
                    break
            except OSError:
                if time.monotonic() > until or process.poll() is not None:
                    raise SystemExit(f"the web server did not start:\n{log.read_text()[-2000:]}") from None
                time.sleep(0.05)
        yield


def percentile(values: Sequence[float], share: float) -> float:
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, int(len(ranked) * share))]
