"""Deliveries and long runs share the workers, so that neither waits for the end of the other."""

from collections.abc import Generator, Iterator
from dataclasses import replace
from unittest.mock import Mock, patch

import pytest

from sync import tasks
from sync.jobs import engine
from sync.models import Run
from sync.registry import JOBS
from tests.sync.test_runs import held_by_another

pytestmark = pytest.mark.django_db
done: list[str] = []
clock = [0.0]


def backlog(size: object) -> bool:
    """There is always one more order, and each takes a second."""
    clock[0] += 1
    done.append("order")
    return True


def nothing(size: object) -> bool:
    clock[0] += 1
    return False


def pages(run: Run) -> Generator[None, None, None]:
    """A job of twenty pages, each of which takes four seconds."""
    for page in range(run.checkpoint.get("page", 0), 20):
        clock[0] += 4
        done.append(run.kind)
        run.checkpoint = {"page": page + 1}
        yield


@pytest.fixture(autouse=True)
def by_the_clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mock]:
    done.clear()
    clock[0] = 0.0
    for kind in ("reconcile", "drift", "replay"):
        monkeypatch.setitem(JOBS, kind, replace(JOBS[kind], work=pages))
    monkeypatch.setattr("sync.tasks.time.monotonic", lambda: clock[0])
    monkeypatch.setattr("sync.tasks.time.sleep", lambda seconds: None)
    monkeypatch.setattr(tasks, "process_due", backlog)
    with patch("sync.jobs.engine.enqueue") as enqueued:
        yield enqueued


def waiting(kind: str) -> Run:
    run = engine.start(kind, options={})
    Run.objects.filter(pk=run.pk).update(holder="")
    return run


def test_behind_a_backlog_a_run_gets_a_turn_after_each_turn_of_the_deliveries() -> None:
    """Even where there is one worker only."""
    waiting("reconcile")
    tasks.drain()
    tasks.drain()
    assert done == [*["order"] * 10, *["reconcile"] * 3] * 2


def test_a_run_that_was_gone_on_with_leaves_no_task_behind(by_the_clock: Mock) -> None:
    """Else there would be more of them after each drain, and in the end nothing else."""
    run = waiting("reconcile")
    tasks.drain()
    run.refresh_from_db()
    assert (run.state, run.holder, run.checkpoint) == (Run.State.RUNNING, "", {"page": 3})
    by_the_clock.assert_not_called()


def test_a_run_that_somebody_works_on_takes_no_turn() -> None:
    held_by_another(waiting("reconcile"))
    tasks.drain()
    assert done == ["order"] * 20


def test_of_two_runs_the_one_goes_first_that_has_waited_longer() -> None:
    held_by_another(waiting("reconcile"), holder="", silent=5)
    held_by_another(waiting("drift"), holder="", silent=30)
    tasks.drain()
    tasks.drain()
    assert [name for name in done if name != "order"] == ["drift"] * 3 + ["reconcile"] * 3


def test_a_replay_of_many_waits_for_the_end_of_the_backlog(monkeypatch: pytest.MonkeyPatch) -> None:
    waiting("replay")
    tasks.drain()
    assert done == ["order"] * 20
    monkeypatch.setattr(tasks, "process_due", nothing)
    tasks.drain()
    assert done[20:] == ["replay"] * 12


def test_where_nothing_is_due_a_run_is_gone_on_with_at_once(
    by_the_clock: Mock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No drain comes after this one: a task goes on with what remains."""
    monkeypatch.setattr(tasks, "process_due", nothing)
    run = waiting("reconcile")
    by_the_clock.reset_mock()
    tasks.drain()
    assert done == ["reconcile"] * 4
    by_the_clock.assert_called_once_with("sync.tasks.carry_out", run.pk)
