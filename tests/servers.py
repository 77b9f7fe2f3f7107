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


def wait_for_port(port: int, seconds: float = 60.0) -> None:
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


class Postgres:
    """A server of its own on a free port of 127.0.0.1. Only what was started here is ended.

    `shared`: an address of this machine at which other networks of it may come, too, with the password.
    """

    def __init__(self, home: Path, fsync: bool = False, shared: str = "") -> None:
        self.home = home
        self._pg_ctl, self._whom = binary("pg_ctl"), _as_whom()
        password = secrets.token_hex(16)
        (home / "password").write_text(password)
        (home / "log").touch()
        if self._whom:
            for path in (home, home / "password", home / "log"):
                os.chown(path, self._whom["user"], self._whom["group"])
        self._data, port = home / "data", free_port()
        self.url = f"postgres://orderbridge:{password}@127.0.0.1:{port}/postgres"
        prepare = [binary("initdb"), "-D", str(self._data), "-U", "orderbridge", "-A", "scram-sha-256", "-E", "UTF8"]
        self._run([*prepare, "--no-sync", "--locale=C.UTF-8", "--pwfile", str(home / "password")])
        if shared:
            with (self._data / "pg_hba.conf").open("a") as rules:
                rules.write(f"host all all {shared}/24 scram-sha-256\n")
        listens = f"127.0.0.1,{shared}".rstrip(",")
        self._options = f"-p {port} -k {home} -c listen_addresses={listens} -c max_connections=200"
        if not fsync:
            self._options += " -c fsync=off -c synchronous_commit=off -c full_page_writes=off"

    def start(self) -> None:
        self._run([self._pg_ctl, "-D", str(self._data), "-w", "-t", "60", "-o", self._options, "start"])

    def stop(self) -> None:
        """At once, as if it had been killed."""
        self._run([self._pg_ctl, "-D", str(self._data), "-w", "-t", "30", "-m", "immediate", "stop"])

    def is_running(self) -> bool:
        status = [self._pg_ctl, "-D", str(self._data), "status"]
        return subprocess.run(status, capture_output=True, check=False, **self._whom).returncode == 0

    def _run(self, command: list[str]) -> None:
        _run(command, self.home, self._whom)


@contextmanager
def postgres(fsync: bool = False) -> Iterator[str]:
    """Yields the URL of a running one."""
    home = Path(tempfile.mkdtemp(prefix="orderbridge-pg-"))
    try:
        server = Postgres(home, fsync)
        server.start()
        try:
            yield server.url
        finally:
            server.stop()
    finally:
        shutil.rmtree(home, ignore_errors=True)


class Redis:
    """The same for Redis; it keeps nothing over a stop, and has no password."""

    def __init__(self, home: Path, shared: str = "") -> None:
        found = shutil.which("redis-server")
        if not found:
            raise NotInstalled("`redis-server` is not installed: apt-get install redis-server")
        self._port = free_port()
        self.url = f"redis://127.0.0.1:{self._port}/0"
        self._home = home
        self._command = [found, "--port", str(self._port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        if shared:
            self._command += ["--bind", "127.0.0.1", shared, "--protected-mode", "no"]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self._home / "redis.log").open("ab") as log:
            self._process = subprocess.Popen(self._command, cwd=self._home, stdout=log, stderr=log)
        wait_for_port(self._port)

    def stop(self) -> None:
        """At once, and with all that it knew."""
        if self._process:
            self._process.kill()
            self._process.wait()

    def hang(self) -> None:
        """The kernel goes on accepting connections for it, and nobody answers."""
        if self._process:
            self._process.send_signal(signal.SIGSTOP)

    def answer(self) -> None:
        if self._process:
            self._process.send_signal(signal.SIGCONT)


@contextmanager
def redis() -> Iterator[str]:
    """Yields the URL of a running one."""
    with tempfile.TemporaryDirectory(prefix="orderbridge-redis-") as home:
        server = Redis(Path(home))
        server.start()
        try:
            yield server.url
        finally:
            server.stop()


def end(signum: int, frame: Any) -> NoReturn:
    """On SIGTERM: by way of every `finally`."""
    raise SystemExit(128 + signum)


def main(arguments: list[str]) -> int:
    if len(arguments) < 3 or arguments[:2] != ["postgres", "--"]:
        sys.stderr.write("usage: python -m tests.servers postgres -- COMMAND…\n")
        return 2
    signal.signal(signal.SIGTERM, end)
    try:
        with postgres() as url:
            return subprocess.run(arguments[2:], env={**os.environ, "DATABASE_URL": url}, check=False).returncode
    except NotInstalled as error:
        sys.stderr.write(f"{error}\n")
        return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
