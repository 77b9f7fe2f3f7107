"""By its name it is known of a worker whether it is gone: only here, where its process would still be seen."""

import os
import subprocess

import pytest

from sync.pipeline.leases import is_gone, worker_name


def named(pid: object) -> str:
    """As a process of this place with that id."""
    return f"{worker_name().rpartition(':')[0]}:{pid}"


def ended() -> int:
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def test_a_process_has_one_name_which_no_other_has(monkeypatch: pytest.MonkeyPatch) -> None:
    name = worker_name()
    assert worker_name() == name
    assert name.endswith(f":{os.getpid()}") and len(name) <= 100
    monkeypatch.setattr(os, "getpid", lambda: 12345)  # as after a fork
    other = worker_name()
    assert other.endswith(":12345")
    assert other.split(":")[0] == name.split(":")[0]
    assert other.split(":")[1] != name.split(":")[1]


def test_a_worker_whose_process_ended_is_gone_and_one_that_lives_is_not() -> None:
    assert is_gone(named(ended()))
    assert not is_gone(worker_name())
    assert not is_gone(named(os.getppid()))


@pytest.mark.parametrize(
    "change", [str.upper, lambda place: f"{place}x", lambda place: ""], ids=["case", "more", "none"]
)
def test_of_another_machine_nothing_is_known(change: object) -> None:
    place, rest = named(ended()).split(":", 1)
    assert not is_gone(f"{change(place)}:{rest}")  # type: ignore[operator]


@pytest.mark.parametrize("pid", ["", "x", "-1", "1 2"])
def test_what_is_no_process_id_tells_nothing(pid: str) -> None:
    assert not is_gone(named(pid))
    assert not is_gone(pid)


def test_a_worker_of_somebody_else_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def refuses(pid: int, signal: int) -> None:
        asked.append((pid, signal))
        raise PermissionError

    monkeypatch.setattr(os, "kill", refuses)
    assert not is_gone(named(77))
    assert asked == [(77, 0)]
