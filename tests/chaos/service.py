"""The service of a chaos run: real processes on one host or several, each host with a folder of its own, kept alive."""

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import requests

from tests.benchmarks.running import say
from tests.chaos.networks import Network
from tests.journeys.processes import children
from tests.servers import free_port

ROOT = Path(__file__).parent.parent.parent
SOURCES = ("integration_site", "orders", "sync", "templates", "webhooks", "manage.py")
GRACE_SECONDS = 20
WORKERS = 3
AHEAD = 90
"""Seconds, by which the clock of the host that joins is ahead: more than a lease lasts."""


def wait_for(condition: Callable[[], bool], seconds: float, what: str) -> bool:
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            say(f"  gave up after {seconds:.0f} s: {what}")
            return False
        time.sleep(0.5)
    return True


class Program:
    """A process that a supervisor (systemd, Docker) would start again when it ends."""

    def __init__(self, command: list[str], folder: Path, env: dict[str, str], log: Path) -> None:
        self.command, self.folder, self.env, self.log = command, folder, env, log
        self.process: subprocess.Popen[bytes] | None = None
        self.wanted = False

    def start(self) -> None:
        self.wanted = True
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command, cwd=self.folder, env=self.env, stdout=log, stderr=log, start_new_session=True
            )

    def keep(self) -> None:
        if self.wanted and self.process and self.process.poll() is not None:
            self.start()

    def stop(self) -> None:
        """As a supervisor does: asked first, killed after a grace."""
        self.wanted = False
        if self.process:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(GRACE_SECONDS)
            self.kill()

    def kill(self) -> None:
        if self.process:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


class Host:
    """One web and one cluster."""

    def __init__(self, folder: Path, env: dict[str, str], logs: Path, name: str, network: Network) -> None:
        self.url = f"http://{network.address}:{free_port()}"
        env = {**network.env(env), "PUBLIC_URL": self.url}
        gunicorn = [*network.enter, sys.executable, "-m", "gunicorn", "integration_site.wsgi"]
        gunicorn += ["-b", self.url.removeprefix("http://")]
        gunicorn += ["-w", "2", "-k", "gthread", "--threads", "4", "--graceful-timeout", "5"]
        self.web = Program(gunicorn, folder, env, logs / f"{name}-web.log")
        cluster = [*network.enter, sys.executable, "manage.py", "qcluster"]
        self.cluster = Program(cluster, folder, env, logs / f"{name}-cluster.log")

    @property
    def programs(self) -> tuple[Program, Program]:
        return self.web, self.cluster

    def parts(self) -> list[int]:
        """The processes of the cluster below its guard: workers, monitor, pusher."""
        main = self.cluster.process
        return [part for guard in children(main.pid) for part in children(guard)] if main else []


def deceived(clock_file: Path) -> dict[str, str]:
    """What makes a process believe in another time: that many seconds ahead as stand in the file."""
    return {"CHAOS_CLOCK": str(clock_file), "PYTHONPATH": str(Path(__file__).parent / "deceived")}


class Service:
    """All hosts, kept alive as by a supervisor. `clock_file`: of the time that their processes believe in.

    `guest`: one host more, which comes and goes, and whose clock is AHEAD.
    """

    def __init__(
        self,
        home: Path,
        networks: Sequence[Network],
        env: dict[str, str],
        clock_file: Path | None = None,
        workers: int = WORKERS,
    ) -> None:
        hosts = len(networks)
        folders = [ROOT] if hosts == 1 else [copy_of_the_code(home / f"host{number}") for number in range(hosts)]
        self.env = {**env, "QUEUE_WORKERS": str(workers)}
        self.hosts = [
            Host(folder, self.env | (deceived(clock_file) if clock_file else {}), home, f"host{n}", network)
            for n, (folder, network) in enumerate(zip(folders, networks, strict=True))
        ]
        wrong = home / "clock-ahead"
        wrong.write_text(str(AHEAD))
        self.guest = Host(folders[-1], self.env | deceived(wrong), home, "guest", networks[-1])
        self._over = threading.Event()
        self._lock = threading.Lock()

    def start(self) -> None:
        self.migrate()
        for host in self.hosts:
            for program in host.programs:
                program.start()
        threading.Thread(target=self._keep, daemon=True).start()

    def migrate(self) -> None:
        self.manage("migrate", "-v0").check_returncode()

    def manage(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "manage.py", *arguments]
        return subprocess.run(command, cwd=ROOT, env=self.env, capture_output=True, text=True, check=False, timeout=900)

    def _keep(self) -> None:
        while not self._over.wait(0.5):
            with self._lock:
                for host in self.hosts:
                    for program in host.programs:
                        program.keep()

    def answers(self) -> bool:
        try:
            return all(requests.get(f"{host.url}/healthz", timeout=5).ok for host in self.hosts)
        except requests.RequestException:
            return False

    def stop_everything(self) -> None:
        with self._lock:
            for host in self.hosts:
                for program in host.programs:
                    program.stop()

    def start_everything(self) -> None:
        with self._lock:
            for host in self.hosts:
                for program in host.programs:
                    program.start()

    def invite(self) -> None:
        with self._lock:
            self.hosts.append(self.guest)
            for program in self.guest.programs:
                program.start()

    def see_off(self) -> None:
        with self._lock:
            self.hosts.remove(self.guest)
            for program in self.guest.programs:
                program.stop()

    def end(self) -> None:
        self._over.set()
        self.stop_everything()

    # --- what a host may meet with -------------------------------------------------------------------------------

    def kill_a_part(self, rng: random.Random) -> None:
        parts = rng.choice(self.hosts).parts()
        if parts:
            with contextlib.suppress(ProcessLookupError):
                os.kill(rng.choice(parts), signal.SIGKILL)

    def kill_a_cluster(self, rng: random.Random) -> None:
        rng.choice(self.hosts).cluster.kill()

    def kill_a_web(self, rng: random.Random) -> None:
        rng.choice(self.hosts).web.kill()


def copy_of_the_code(folder: Path) -> Path:
    folder.mkdir()
    for name in SOURCES:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / name)
    return folder
