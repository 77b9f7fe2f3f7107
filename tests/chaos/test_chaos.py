"""A short run of `make chaos`: a minute of kills, with all its zeros. What else can happen is in the long ones."""

import itertools
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock, patch

import pytest
import redis
import requests

from sync.sandbox.crm import CrmDelivery, SandboxCrm
from sync.sandbox.shop import Delivery, SandboxShop
from tests.chaos import happenings
from tests.chaos.happenings import Happenings, plan
from tests.chaos.networks import ONE_MACHINE, Network, networks, shared
from tests.chaos.service import AHEAD, Program, Service
from tests.chaos.stores import DATABASE, Stores
from tests.journeys.processes import ROOT
from tests.servers import NotInstalled, Redis


def test_nothing_is_lost_or_done_twice_while_processes_are_killed() -> None:
    command = [sys.executable, "-m", "tests.chaos", "--on", "sqlite", "--orders", "60", "--rate", "6", "--only", "kill"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


NAMES = {"a", "b", "c", "d", "e"}


def first(number: int, seed: int, names: Any = NAMES) -> list[tuple[float, str]]:
    return list(itertools.islice(plan(seed, names), number))


def test_the_same_seed_has_the_same_plan_and_another_seed_another() -> None:
    assert first(50, 7) == first(50, 7, sorted(NAMES, reverse=True))
    assert first(50, 7) != first(50, 8)


def test_each_comes_once_before_any_comes_again() -> None:
    names = [name for _, name in first(20, 7)]
    assert [set(names[start : start + 5]) for start in range(0, 20, 5)] == [NAMES] * 4


def made(*, clock_file: Path | None = None, only: str = "", **stores: Any) -> Happenings:
    found = MagicMock(**{"postgres": None, "redis": None, "disk_is_own": False, **stores})
    return Happenings(7, MagicMock(), found, MagicMock(), MagicMock(), clock_file, only)


def test_a_run_says_what_it_leaves_out(tmp_path: Path) -> None:
    assert [what.partition(":")[0] for what in made().left_out()] == ["disk full", "our own clock jumps"]
    whole = made(clock_file=tmp_path / "clock", disk_is_own=True, postgres=MagicMock(), redis=MagicMock())
    assert list(whole.left_out()) == []
    assert {"disk full", "our own clock jumps", "PostgreSQL and Redis away at once"} <= set(whole.all())


def test_wordpress_asks_for_ten_minutes_while_it_updates_and_is_back_after_seconds() -> None:
    chaos = made(only="WordPress")
    chaos.shop = SandboxShop()
    chaos.shop.start()
    said: list[requests.Response] = []
    with patch.object(chaos, "_wait", lambda *span: said.append(requests.get(chaos.shop.url, timeout=60))):
        [maintenance] = chaos.all().values()
        maintenance()
    chaos.shop.stop()
    [page] = said
    assert (page.status_code, page.headers["Retry-After"], page.text[:1]) == (503, "600", "<")
    assert not chaos.shop.faults.active()


def test_a_host_whose_clock_is_ahead_stays_until_its_turn_comes_again(tmp_path: Path) -> None:
    """What it has to be told, meanwhile, it is told; and what goes wrong by then may go wrong with it."""
    chaos = made(only="90 s ahead")
    chaos.service = Service(tmp_path, [ONE_MACHINE], dict(os.environ))
    chaos.shop = SandboxShop(webhook_url="http://127.0.0.1:9/", webhook_secret="s")
    [host], guest = chaos.service.hosts, chaos.service.guest
    with patch.object(Program, "start") as start, patch.object(Program, "stop") as stop:
        with patch.object(Service, "answers", return_value=True):
            chaos._guest()
        assert (chaos.service.hosts, start.call_count) == ([host, guest], 2)
        assert told(chaos) == {host.url, guest.url}
        chaos.mend()
        assert (chaos.service.hosts, stop.call_count) == ([host], 2)
        assert told(chaos) == {host.url}


def told(chaos: Happenings) -> set[str]:
    urls = [hook["delivery_url"] for hook in chaos.shop.webhooks.values()] + [chaos.crm.webhook_url]
    return {str(url).partition("/webhooks/")[0] for url in urls}


def test_a_process_of_that_host_believes_in_another_time(tmp_path: Path) -> None:
    service = Service(tmp_path, [ONE_MACHINE], dict(os.environ))
    ask = "import time; from django.utils import timezone; print(time.time(), timezone.now().timestamp())"
    command = [sys.executable, "-c", ask]
    said = subprocess.run(command, env=service.guest.cluster.env, capture_output=True, text=True, check=True).stdout
    assert [float(moment) - time.time() for moment in said.split()] == [pytest.approx(AHEAD, abs=20)] * 2
    assert "CHAOS_CLOCK" not in service.hosts[0].web.env


def test_what_came_between_a_backup_and_its_restore_and_nothing_else_may_be_gone(tmp_path: Path) -> None:
    chaos = made(only="from a backup")
    chaos.shop, chaos.crm = SandboxShop(), SandboxCrm()
    chaos.shop.deliveries = [Delivery("order.created", 1, 200, "before")]
    chaos.stores = Stores("sqlite", tmp_path, False)
    database = tmp_path / DATABASE
    database.write_text("the orders of the morning")
    database.with_name(f"{DATABASE}-wal").touch()

    def manage(command: str, action: str, copy: str) -> Any:
        if action == "write":
            Path(copy).write_bytes(database.read_bytes())
        return MagicMock(returncode=0)

    def live(*span: float) -> None:
        chaos.shop.deliveries += [Delivery("order.created", 2, 200, "after"), Delivery("order.created", 3, 0, "never")]
        chaos.crm.deliveries.append(CrmDelivery("C-1", "evt_1", 200, "moved"))
        database.write_text("the orders of the day")

    chaos.service.manage.side_effect = manage  # type: ignore[attr-defined]
    with patch.object(chaos, "_wait", live):
        [restore] = chaos.all().values()
        restore()
    assert chaos.forgotten == {"after", "moved"}
    assert database.read_text() == "the orders of the morning"
    assert [one.name for one in tmp_path.iterdir()] == [DATABASE]
    order = [name for name, *_ in chaos.service.method_calls]  # type: ignore[attr-defined]
    assert order == ["manage", "manage", "stop_everything", "start_everything"]


def test_a_backup_that_is_worth_nothing_ends_the_chaos() -> None:
    chaos = made(only="from a backup")
    chaos.service.manage.return_value = MagicMock(returncode=1, stdout="", stderr="cut off")  # type: ignore[attr-defined]
    [restore] = chaos.all().values()
    with pytest.raises(RuntimeError, match="backup write: cut off"):
        restore()


def asked_of_the_crm(method: str) -> tuple[SandboxCrm, Happenings, Callable[[], int]]:
    """And what asks it."""
    chaos = made(only="CRM")
    crm = chaos.crm = SandboxCrm()
    crm.start()

    def ask() -> int:
        headers = {"Authorization": f"Bearer {crm.token}"}
        order = {"external_id": "14", "status": "new"}
        answer = requests.request(method, f"{crm.url}/orders", json=order, headers=headers, timeout=5)
        return answer.status_code

    return crm, chaos, ask


def test_the_crm_does_not_know_our_key_for_a_while() -> None:
    crm, chaos, ask = asked_of_the_crm("GET")
    said: list[int] = []
    with patch.object(chaos, "_wait", lambda *span: said.append(ask())):
        chaos.all()["the CRM does not know our key"]()
    assert (said, ask()) == ([401], 200)
    crm.stop()


@pytest.mark.parametrize("after", [False, True])
def test_a_cluster_dies_right_before_its_write_takes_effect_or_right_after(
    after: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    crm, chaos, ask = asked_of_the_crm("POST")
    found, host = list[int](), MagicMock()
    host.cluster.kill.side_effect = lambda: found.append(len(crm.orders))
    chaos.service.hosts = [host]
    monkeypatch.setattr(happenings, "wait_for", lambda *condition: ask())
    with patch.multiple(chaos.rng, random=lambda: 0.0 if after else 0.9, randrange=lambda until: 0):
        chaos.all()["kill -9 of a whole cluster as it writes to the CRM"]()
    assert found == [int(after)]
    crm.stop()


@pytest.mark.equipped
def test_a_broker_that_hangs_accepts_and_never_answers(tmp_path: Path) -> None:
    try:
        server = Redis(tmp_path)
    except NotInstalled as missing:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(missing))
    server.start()
    try:
        chaos = made(redis=server, only="never answers")
        [hang] = chaos.all().values()

        def silent(*span: float) -> None:
            with redis.from_url(server.url, socket_timeout=0.2) as client, pytest.raises(redis.TimeoutError):
                client.ping()

        with patch.object(chaos, "_wait", silent):
            hang()
        with redis.from_url(server.url) as client:
            assert client.ping()
    finally:
        server.stop()


def test_a_run_in_which_nothing_could_go_wrong_is_none() -> None:
    with pytest.raises(SystemExit, match="'an earthquake' in its name"):
        made(only="an earthquake")


def test_when_chaos_breaks_off_it_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be a run in which nothing went wrong any more, with all its zeros."""
    chaos = made(only="whole cluster")
    chaos.service.kill_a_cluster.side_effect = RuntimeError("no such process")  # type: ignore[attr-defined]
    monkeypatch.setattr(happenings, "plan", lambda seed, names: [(0.0, name) for name in names])
    chaos.go_on(threading.Event())
    assert chaos.broke_off.endswith("RuntimeError: no such process\n")


REACHES = """
import socket, sys
for address in sys.argv[2:]:
    with socket.socket() as probe:
        print(probe.connect_ex((address, int(sys.argv[1]))) == 0)
"""


@pytest.mark.equipped
def test_hosts_have_networks_of_their_own_where_we_may_make_them() -> None:
    """From there nothing is reached by loopback, only by the address of what they share."""
    with networks(2) as made, socket.create_server((made[0].shared, 0)) as shop:
        alone = made[0].enter == ()
        assert len({network.address for network in made}) == (1 if alone else 2)
        assert shared(made) == ("" if alone else made[0].shared)
        addresses = (made[0].shared, "127.0.0.1")
        command = [*made[1].enter, sys.executable, "-c", REACHES, str(shop.getsockname()[1]), *addresses]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert said == ["True", str(alone)]


def test_one_host_needs_no_network_and_nor_does_one_who_may_make_none(monkeypatch: pytest.MonkeyPatch) -> None:
    with networks(1) as made:
        assert made == [ONE_MACHINE]
    monkeypatch.setattr("tests.chaos.networks._ip", MagicMock(side_effect=OSError))
    with networks(2) as made:
        assert made == [ONE_MACHINE] * 2


def test_a_host_elsewhere_is_told_where_everything_is() -> None:
    env = {"DATABASE_URL": "postgres://o:p@127.0.0.1:5432/x", "CRM_URL": "http://10.213.0.1:80"}
    told = Network(address="10.213.0.11", shared="10.213.0.1").env(env)
    assert told == {"DATABASE_URL": "postgres://o:p@10.213.0.1:5432/x", "CRM_URL": "http://10.213.0.1:80"}
    assert ONE_MACHINE.env(env) == env
