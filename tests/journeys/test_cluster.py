"""`manage.py qcluster` is never deaf: whichever process of it is killed, work goes on without help from outside."""

import os
import signal
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.journeys.conftest import Both, both_sides, wait_for
from tests.journeys.processes import CLUSTER, answers, children, descendants, gunicorn, is_stopped, living, running

SOON = 60
"""Seconds: the promise."""


@dataclass
class Service:
    both: Both
    cluster: "subprocess.Popen[bytes]"

    def guard(self) -> int:
        (guard,) = children(self.cluster.pid)
        return guard

    def workers(self) -> list[int]:
        return self.parts()[:2]

    def parts(self) -> list[int]:
        """Two workers, the monitor and the pusher, in this order, once all of them run."""
        wait_for(lambda: [len(children(guard)) for guard in children(self.cluster.pid)] == [4], SOON)
        return children(self.guard())

    def has_nothing_to_do(self) -> bool:
        """A task is deleted when it is over, and a drain looks on for a second after its last find."""
        lately = "strftime('%Y-%m-%d %H:%M:%f', 'now', '-3 seconds')"
        busy = (
            "select pk from (select id as pk from django_q_ormq "  # noqa: S608  our own
            f"union all select worker from sync_heartbeat where at > {lately} "
            f"union all select id from webhooks_webhookevent where finished_at > {lately} or next_attempt_at > '')"
        )
        return queue(self.both, busy) == []

    def freezes_idle(self, workers: list[int]) -> bool:
        """Frozen at a task is not deaf, but ended by the task's timeout. It may have begun one at this moment."""
        wait_for(self.has_nothing_to_do, SOON)
        for worker in workers:
            os.kill(worker, signal.SIGSTOP)
        wait_for(lambda: all(is_stopped(worker) for worker in workers), SOON)
        if self.has_nothing_to_do():
            return True
        for worker in workers:
            os.kill(worker, signal.SIGCONT)
        return False

    def works(self) -> None:
        woo_id = self.both.shop.create_order(status="pending")["id"]
        wait_for(lambda: len(self.both.crm.by_external(woo_id)) == 1, SOON)


def queue(both: Both, statement: str) -> list[Any]:
    with (
        closing(sqlite3.connect(both.env["DATABASE_URL"].removeprefix("sqlite:///"), timeout=20)) as database,
        database,
    ):
        return database.execute(statement).fetchall()


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory, migrated: Path) -> Iterator[Both]:
    home = tmp_path_factory.mktemp("service")
    with both_sides(home, migrated) as both, running(*gunicorn(both.url), env=both.env, log=home / "web.log"):
        # What a shop sends before the web listens comes no more: it would be found half a minute later.
        wait_for(lambda: answers(f"{both.url}/healthz"), SOON)
        yield both


@pytest.fixture
def service(web: Both, tmp_path: Path) -> Iterator[Service]:
    queue(web, "delete from django_q_ormq")  # what the tests before left in dead hands
    with running(*CLUSTER, env=web.env, log=tmp_path / "cluster.log") as cluster:
        service = Service(web, cluster)
        service.works()
        yield service


def test_killed_workers_idle_or_at_work_leave_no_deaf_cluster_behind(service: Service) -> None:
    for round_number in range(6):
        at_work = round_number % 2
        if at_work:
            service.both.shop.create_order(status="pending")
        os.kill(service.workers()[round_number % 2], signal.SIGKILL)
        service.works()


@pytest.mark.parametrize("which", [0, 2, 3], ids=["guard", "monitor", "pusher"])
def test_whichever_process_is_killed_work_goes_on(service: Service, which: int) -> None:
    parts = service.parts()
    os.kill(parts[which] if which else service.guard(), signal.SIGKILL)
    wait_for(lambda: not living(parts), SOON)
    service.works()


def test_a_worker_that_is_frozen_with_the_queue_in_its_hands_is_replaced(service: Service) -> None:
    frozen = service.workers()
    wait_for(lambda: service.freezes_idle(frozen), SOON)
    service.works()
    assert not living(frozen)


@pytest.mark.parametrize("to_the_group", [False, True], ids=["main process", "whole group"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "Ctrl-C"])
def test_a_signal_ends_a_busy_cluster_without_survivors(
    service: Service, number: signal.Signals, to_the_group: bool
) -> None:
    everyone = [service.cluster.pid, service.guard(), *service.parts()]
    for _ in range(20):
        service.both.shop.create_order(status="pending")
    tell: Callable[[int, int], None] = os.killpg if to_the_group else os.kill
    tell(service.cluster.pid, number)
    assert service.cluster.wait(30) == 0
    assert not living(everyone)


def test_nothing_outlives_a_main_process_that_is_killed(service: Service) -> None:
    everyone = descendants(service.cluster.pid)
    service.cluster.kill()
    wait_for(lambda: not living(everyone), SOON)


def test_a_database_that_is_away_at_the_start_is_awaited(web: Both, tmp_path: Path) -> None:
    late, log = tmp_path / "late", tmp_path / "cluster.log"
    there = Path(web.env["DATABASE_URL"].removeprefix("sqlite:///"))
    env = web.env | {"DATABASE_URL": f"sqlite:///{late / there.name}"}
    with running(*CLUSTER, env=env, log=log) as cluster:
        wait_for(lambda: "could not start" in log.read_text(), SOON)
        late.symlink_to(there.parent)
        Service(web, cluster).works()
