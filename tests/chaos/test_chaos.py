"""A short run of `make chaos`: a minute of kills, with all its zeros. What else can happen is in the long ones."""

import itertools
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest

from tests.chaos import happenings
from tests.chaos.happenings import Happenings, plan
from tests.journeys.processes import ROOT


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
