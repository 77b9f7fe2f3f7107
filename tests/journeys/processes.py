"""Real processes for tests: started here, and ended by their ids."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import requests

ROOT = Path(__file__).parent.parent.parent
CLUSTER = (sys.executable, "manage.py", "qcluster")


@contextmanager
def running(*command: str, env: dict[str, str], log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """A child of ours in a group of its own; its main process alone is asked to stop."""
    with log.open("ab") as out:
        child = subprocess.Popen(command, env=env, cwd=ROOT, stdout=out, stderr=out, start_new_session=True)
    try:
        yield child
    finally:
        child.terminate()
        try:
            with suppress(subprocess.TimeoutExpired):
                child.wait(60)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait(60)


def migrate(env: dict[str, str]) -> None:
    subprocess.run([sys.executable, "manage.py", "migrate", "-v0"], env=env, cwd=ROOT, check=True, timeout=120)


def gunicorn(url: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "gunicorn", "integration_site.wsgi", "-w2", "-b", url.removeprefix("http://"))


def answers(address: str) -> bool:
    try:
        return requests.get(address, timeout=60).ok
    except requests.RequestException:
        return False


def ready(url: str) -> bool:
    return answers(f"{url}/readyz")


def _parents() -> dict[int, int]:
    """Of every process that is more than a name in the table."""
    rows = [line.split() for line in _table()]
    return {int(pid): int(parent) for pid, parent, state in rows if not state.startswith("Z")}


def _table() -> list[str]:
    """Lines of pid, parent and state; from /proc where there is one, as a slim image has no `ps`."""
    if not Path("/proc/self/stat").exists():
        return subprocess.run(
            ["ps", "-A", "-o", "pid=,ppid=,stat="], capture_output=True, text=True, check=True
        ).stdout.splitlines()
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it ended meanwhile
            # After the name, which may hold spaces and brackets: state and parent.
            state, parent = path.read_text().rpartition(")")[2].split()[:2]
            found.append(f"{path.parent.name} {parent} {state}")
    return found


def is_stopped(pid: int) -> bool:
    """By SIGSTOP, which arrives a moment after it was sent."""
    return any(line.split()[0] == str(pid) and line.split()[2].startswith("T") for line in _table())


def children(pid: int) -> list[int]:
    """In the order in which they were started."""
    return sorted(child for child, parent in _parents().items() if parent == pid)


def descendants(pid: int) -> list[int]:
    below = children(pid)
    return below + [one for child in below for one in descendants(child)]


def living(pids: Iterable[int]) -> set[int]:
    return set(pids) & _parents().keys()
