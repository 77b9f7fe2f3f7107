"""Long jobs: who may work on one, and that it goes on where it was."""

import subprocess
import sys
from collections.abc import Generator, Iterator
from dataclasses import replace
from datetime import timedelta
from unittest.mock import Mock, patch

import pytest
from django.utils import timezone

from sync import tasks
from sync.clients.errors import Unreachable
from sync.jobs import engine
from sync.models import Run
from sync.registry import JOBS
from webhooks.masking import masked_text

pytestmark = pytest.mark.django_db
done: list[int] = []
trouble: dict[int, BaseException] = {}


def counting(run: Run) -> Generator[None, None, None]:
    """A job of five pages; `trouble` comes after the work of a page and before its checkpoint."""
    for page in range(run.checkpoint.get("page", 0), 5):
        done.append(page)
        if page in trouble:
            raise trouble.pop(page)
        run.checkpoint, run.counts = {"page": page + 1}, {"seen": page + 1}
        yield


@pytest.fixture(autouse=True)
def a_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(JOBS, "backfill", replace(JOBS["backfill"], work=counting))
    done.clear()
    trouble.clear()


@pytest.fixture(autouse=True)
def enqueue() -> Iterator[Mock]:
    with patch("sync.jobs.engine.enqueue") as enqueued:
        yield enqueued


def backfill(**fields: object) -> Run:
    return engine.start("backfill", options={}, **fields)  # type: ignore[arg-type]


def held_by_another(run: Run, holder: str = "elsewhere:7", silent: float = 0) -> Run:
    Run.objects.filter(pk=run.pk).update(holder=holder, beat_at=timezone.now() - timedelta(seconds=silent))
    run.refresh_from_db()
    return run


def test_an_error_that_is_not_ours_may_quote_a_customer_and_is_marked() -> None:
    run = backfill()
    trouble[2] = ValueError("could not convert Ann Lee")
    engine.carry_out(run)
    assert "Ann Lee" in run.error
    assert masked_text(run.error) == "Unexpected: ValueError: «•••». The log has more."


def test_a_run_works_to_its_end() -> None:
    run = backfill()
    assert engine.carry_out(run)
    assert (run.state, run.counts, run.holder) == (Run.State.DONE, {"seen": 5}, "")
    assert run.finished_at


def test_progress_is_told_after_each_page() -> None:
    seen: list[int] = []
    engine.carry_out(backfill(), on_progress=lambda run: seen.append(run.counts["seen"]))
    assert seen == [1, 2, 3, 4, 5, 5]


def test_a_second_one_is_told_who_has_the_first_and_since_when() -> None:
    run = held_by_another(backfill(actor="anna"))
    with pytest.raises(engine.AlreadyRunning) as refusal:
        backfill()
    for word in ("Backfill", f"{run.started_at:%Y-%m-%d %H:%M:%S}", "anna", "elsewhere:7", "cancel"):
        assert word in str(refusal.value)


def test_two_that_start_at_the_same_moment_are_one(monkeypatch: pytest.MonkeyPatch) -> None:
    held_by_another(backfill())
    monkeypatch.setattr(engine, "_unfinished", lambda kind, bridge: Run.objects.none())
    with pytest.raises(engine.AlreadyRunning):
        backfill()


def test_replays_may_run_side_by_side() -> None:
    engine.start("replay", options={})
    engine.start("replay", options={})
    assert Run.objects.filter(state=Run.State.RUNNING).count() == 2


def test_a_crash_between_page_and_checkpoint_repeats_that_page_only() -> None:
    trouble[2] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        engine.carry_out(backfill())
    held_by_another(Run.objects.get(), silent=61)
    run = backfill()
    engine.carry_out(run)
    assert done == [0, 1, 2, 2, 3, 4]
    assert (run.state, run.counts) == (Run.State.DONE, {"seen": 5})
    assert Run.objects.count() == 1


@pytest.mark.parametrize("silent", [61, 0])
def test_a_dead_holder_is_succeeded_from_the_checkpoint(silent: float) -> None:
    """Silent for a minute, wherever it was; or at once, if its process on this host is gone."""
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    holder = "elsewhere:7" if silent else f"{engine.worker_name().rpartition(':')[0]}:{gone.pid}"
    run = held_by_another(backfill(), holder, silent)
    Run.objects.update(checkpoint={"page": 3})
    engine.carry_out(backfill())
    assert done == [3, 4]
    assert Run.objects.get().pk == run.pk


def test_other_options_or_restart_begin_anew() -> None:
    first = backfill()
    engine.pause(first)
    second = engine.start("backfill", options={"status": ["completed"]})
    engine.pause(second)
    third = engine.start("backfill", options={"status": ["completed"]}, restart=True)
    assert len({first.pk, second.pk, third.pk}) == 3
    assert set(Run.objects.exclude(pk=third.pk).values_list("state", flat=True)) == {Run.State.CANCELLED}


def test_what_rested_for_a_week_begins_anew() -> None:
    old = backfill()
    engine.pause(old)
    Run.objects.update(beat_at=timezone.now() - timedelta(days=8))
    assert backfill().pk != old.pk


def test_the_budget_ends_a_stretch_and_the_next_goes_on(enqueue: Mock) -> None:
    run = backfill()
    assert not engine.carry_out(run, budget=0)
    assert (run.state, run.counts) == (Run.State.RUNNING, {"seen": 1})
    tasks.carry_out(run.pk)
    run.refresh_from_db()
    assert (run.state, run.counts) == (Run.State.DONE, {"seen": 5})


def test_who_has_a_run_may_go_on_with_it_stretch_by_stretch() -> None:
    run = backfill()
    for _ in range(5):
        assert not engine.carry_out(run, budget=0)
    assert engine.carry_out(run, budget=0)
    assert (run.state, run.counts, done) == (Run.State.DONE, {"seen": 5}, [0, 1, 2, 3, 4])


def test_a_stretch_with_work_left_enqueues_itself_again(enqueue: Mock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(JOBS, "backfill", replace(JOBS["backfill"], stretch=0))
    run = backfill()
    engine.hand_over(run)
    tasks.carry_out(run.pk)
    assert [call.args for call in enqueue.call_args_list] == [("sync.tasks.carry_out", run.pk)] * 2


@pytest.mark.parametrize(
    ("stop", "state"), [(engine.pause, Run.State.PAUSED), (engine.cancel, Run.State.CANCELLED)], ids=["pause", "cancel"]
)
def test_a_stop_counts_after_the_page(stop: object, state: str) -> None:
    run = backfill()
    engine.carry_out(run, on_progress=lambda run: stop(run) if run.counts == {"seen": 2} else None)  # type: ignore[operator]
    assert run.state == state
    assert done == [0, 1, 2]
    assert run.checkpoint == {"page": 2}


def test_a_paused_run_is_resumed_in_the_workers(enqueue: Mock) -> None:
    run = backfill()
    engine.pause(run)
    tasks.carry_out(run.pk)
    assert done == []
    assert engine.resume(run)
    enqueue.assert_called_once_with("sync.tasks.carry_out", run.pk)
    tasks.carry_out(run.pk)
    assert done == [0, 1, 2, 3, 4]


def test_a_paused_run_is_not_resumed_beside_another() -> None:
    run = backfill()
    engine.pause(run)
    engine.start("backfill", options={"limit": 5})
    Run.objects.filter(pk=run.pk).update(state=Run.State.PAUSED)
    with pytest.raises(engine.AlreadyRunning):
        engine.resume(run)


def test_an_error_of_a_side_fails_the_run_and_the_next_goes_on() -> None:
    trouble[1] = Unreachable("The shop cannot be reached: no route", side="shop")
    run = backfill()
    engine.carry_out(run)
    assert (run.state, run.error) == (Run.State.FAILED, "The shop cannot be reached: no route")
    assert engine.carry_out(backfill())
    assert Run.objects.get().state == Run.State.DONE


def test_a_bug_fails_the_run_in_words() -> None:
    trouble[0] = ZeroDivisionError("division by zero")
    run = backfill()
    engine.carry_out(run)
    assert run.state == Run.State.FAILED
    assert "ZeroDivisionError" in run.error


def test_a_run_that_was_taken_over_is_left_alone() -> None:
    run = backfill()

    def steal(run: Run) -> None:
        Run.objects.filter(pk=run.pk).update(holder="elsewhere:7")

    engine.carry_out(run, on_progress=steal)
    assert (run.state, run.holder, run.checkpoint) == (Run.State.RUNNING, "elsewhere:7", {"page": 1})
    engine.carry_out(run)
    assert done == [0, 1]


def test_the_sweep_picks_up_what_the_dead_left(enqueue: Mock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "drain", lambda: None)
    living, dead = backfill(), engine.start("replay", options={})
    held_by_another(dead, silent=61)
    tasks.sweep()
    enqueue.assert_called_once_with("sync.tasks.carry_out", dead.pk)
    assert living.pk != dead.pk


# --- an upgrade in the middle of a run -----------------------------------------------------------------------------


def begun(monkeypatch: pytest.MonkeyPatch, **of_now: object) -> Run:
    """A run whose first two pages another release did; this one has another version of the job."""
    run = backfill()
    engine.carry_out(run, budget=0)
    assert run.checkpoint == {"page": 1}
    done.clear()
    monkeypatch.setitem(JOBS, "backfill", replace(JOBS["backfill"], **of_now))  # type: ignore[arg-type]
    return run


def renamed(checkpoint: dict[str, int]) -> dict[str, int]:
    return {"pages": checkpoint["page"]}


def counted_again(checkpoint: dict[str, int]) -> dict[str, int]:
    return {"page": checkpoint["pages"]}


def test_a_checkpoint_of_before_is_brought_up_to_date_step_by_step(monkeypatch: pytest.MonkeyPatch) -> None:
    run = begun(monkeypatch, version=3, upcasts={1: renamed, 2: counted_again})
    assert engine.carry_out(run)
    assert (done, run.state, run.version, run.note) == ([1, 2, 3, 4], Run.State.DONE, 3, "")


@pytest.mark.parametrize("of_now", [{"version": 2}, {"version": 3, "upcasts": {1: renamed}}])
@pytest.mark.parametrize("how", ["carried out", "started again", "resumed"])
def test_one_that_nobody_can_read_begins_anew_and_says_so(
    monkeypatch: pytest.MonkeyPatch, of_now: dict[str, object], how: str
) -> None:
    run = begun(monkeypatch, **of_now)
    if how == "started again":
        engine.pause(run)
        run = backfill()
    elif how == "resumed":
        engine.pause(run)
        engine.resume(run)
        run.refresh_from_db()
    assert engine.carry_out(run)
    assert (done, run.state, run.counts) == ([0, 1, 2, 3, 4], Run.State.DONE, {"seen": 5})
    assert run.version == of_now["version"]
    assert "began anew" in run.note


def test_one_of_a_newer_release_is_not_misread_either(monkeypatch: pytest.MonkeyPatch) -> None:
    run = backfill()
    Run.objects.filter(pk=run.pk).update(version=9, checkpoint={"page": 4})
    run.refresh_from_db()
    assert run.kept == {}
    assert engine.carry_out(run)
    assert (done, run.version) == ([0, 1, 2, 3, 4], 1)
    assert "began anew" in run.note


@pytest.mark.parametrize("kind", sorted(JOBS))
def test_the_jobs_of_this_release_read_every_checkpoint_of_before(kind: str) -> None:
    """Whoever raises the version of a job says what becomes of a run of before."""
    job = JOBS[kind]
    assert set(job.upcasts) <= set(range(1, job.version))
    assert job.read({}, job.version) == {}


@pytest.mark.parametrize("kind", ["drift", "resync"])
def test_where_the_list_of_the_crm_went_on_in_the_first_runs(kind: str) -> None:
    old = {"since": "2026-11-24T08:00:00+00:00", "gap": None, "pages": 3}
    assert JOBS[kind].read(old, 1) == {**old, "feed": old}
    new = {"feed": old, "left_out": []}
    assert JOBS[kind].read(new, 1) == new
