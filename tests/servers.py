"""Throwaway servers from the installed binaries: `python -m tests.servers postgres -- COMMAND`."""

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

DEBIAN = Path("/usr/lib/postgresql")


class NotInstalled(RuntimeError):
    """The binaries are not on this machine; the message says what to install."""


def binary(name: str) -> str:
    """From PATH, or from the newest version where Debian keeps them out of it."""
    newest_first = sorted(DEBIAN.glob("*/bin"), key=lambda path: float(path.parent.name), reverse=True)
    found = shutil.which(name, path=os.pathsep.join([*map(str, newest_first), os.environ.get("PATH", "")]))
    if not found:
        raise NotInstalled(f"PostgreSQL's `{name}` is not installed: apt-get install postgresql")
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for_port(port: int, seconds: float = 20.0) -> None:
    until = time.monotonic() + seconds
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        if time.monotonic() > until:
            raise RuntimeError(f"nobody listens on port {port} after {seconds:.0f} s")
        time.sleep(0.05)


def _as_whom() -> dict[str, Any]:
    """PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    raise NotInstalled("PostgreSQL refuses to run as root, and there is neither a user `postgres` nor `nobody`.")


def _run(command: list[str], where: Path, whom: dict[str, Any]) -> None:
    env = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C.UTF-8", "HOME": str(where)}
    # Not a pipe: the server would keep it open, and we would wait for its end.
    with (where / "log").open("ab") as log:
        done = subprocess.run(command, cwd=where, env=env, stdout=log, stderr=log, check=False, timeout=120, **whom)
    if done.returncode:
        said = (where / "log").read_text(errors="replace")[-2000:]
        raise RuntimeError(f"{Path(command[0]).name} failed:\n{said}")


@contextmanager
def postgres(fsync: bool = False) -> Iterator[str]:
    """A server of its own on a free port of 127.0.0.1; yields its URL. Only what was started here is ended."""
    initdb, pg_ctl, whom = binary("initdb"), binary("pg_ctl"), _as_whom()
    home = Path(tempfile.mkdtemp(prefix="orderbridge-pg-"))
    try:
        password = secrets.token_hex(16)
        (home / "password").write_text(password)
        (home / "log").touch()
        if whom:
            for path in (home, home / "password", home / "log"):
                os.chown(path, whom["user"], whom["group"])
        data, port = home / "data", free_port()
        prepare = [initdb, "-D", str(data), "-U", "orderbridge", "-A", "scram-sha-256", "-E", "UTF8", "--no-sync"]
        _run([*prepare, "--locale=C.UTF-8", "--pwfile", str(home / "password")], home, whom)
        options = f"-p {port} -k {home} -c listen_addresses=127.0.0.1 -c max_connections=200"
        if not fsync:
            options += " -c fsync=off -c synchronous_commit=off -c full_page_writes=off"
        _run([pg_ctl, "-D", str(data), "-w", "-t", "60", "-o", options, "start"], home, whom)
        try:
            yield f"postgres://orderbridge:{password}@127.0.0.1:{port}/postgres"
        finally:
            _run([pg_ctl, "-D", str(data), "-w", "-t", "30", "-m", "immediate", "stop"], home, whom)
    finally:
        shutil.rmtree(home, ignore_errors=True)


@contextmanager
def redis() -> Iterator[str]:
    """A server of its own on a free port of 127.0.0.1, that keeps nothing on disk; yields its URL."""
    server = shutil.which("redis-server")
    if not server:
        raise NotInstalled("Redis's `redis-server` is not installed: apt-get install redis-server")
    port = free_port()
    command = [server, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    process = subprocess.Popen(command, cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for_port(port)
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.terminate()
        process.wait()


def _end(signum: int, frame: Any) -> NoReturn:
    raise SystemExit(128 + signum)


def main(arguments: list[str]) -> int:
    if len(arguments) < 3 or arguments[:2] != ["postgres", "--"]:
        sys.stderr.write("usage: python -m tests.servers postgres -- COMMAND…\n")
        return 2
    signal.signal(signal.SIGTERM, _end)
    try:
        with postgres() as url:
            return subprocess.run(arguments[2:], env={**os.environ, "DATABASE_URL": url}, check=False).returncode
    except NotInstalled as error:
        sys.stderr.write(f"{error}\n")
        return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
