"""Many events are replayed by a run: a few at a time, each once, and whatever comes in goes first."""

from collections import Counter
from contextlib import closing
from datetime import timedelta
from itertools import islice
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import pytest
from django.contrib.auth.models import Permission, User
from django.utils import timezone

from sync.jobs import bulk_replay, engine, run_report, selection
from sync.jobs.bulk_replay import Checkpoint
from sync.jobs.processing import THREADS
from sync.jobs.selection import Selection
from sync.models import Attempt, Run, RunPart, SideState
from sync.pipeline import internal_events, process
from tests.factories import OrderLinkFactory, WebhookEventFactory
from tests.sync.conftest import TwoSides
from tests.sync.test_runs import held_by_another
from webhooks.models import Outcome, Side, State, WebhookEvent

pytestmark = pytest.mark.django_db
HOUR = timedelta(hours=1)
A_STRETCH = timedelta(seconds=5)


@pytest.fixture(autouse=True)
def person(db: None) -> User:
    return User.objects.create_superuser("ada")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk_replay, "POLL", 0.005)
    monkeypatch.setattr(bulk_replay, "PAGE", 5)


def event(order_ref: object, **fields: Any) -> WebhookEvent:
    """It was given up an hour ago."""
    past = timezone.now() - HOUR
    given_up = {"state": State.DEAD, "next_attempt_at": None, "finished_at": past, "received_at": past}
    row: WebhookEvent = WebhookEventFactory(order_ref=str(order_ref), **{**given_up, **fields})
    return row


def given_up(two_sides: TwoSides, many: int) -> list[WebhookEvent]:
    return [event(woo_id) for woo_id in two_sides.orders(many)]


def start(state: str = State.DEAD, **fields: Any) -> Run:
    found = WebhookEvent.objects.filter(state=state) if state else WebhookEvent.objects.all()
    chosen = Selection(events=found, query=f"state__exact={state}" if state else "")
    return bulk_replay.start(chosen, actor="ada", reason="the CRM is mended", **fields)


def stretch(run: Run, steps: int = 10) -> bool:
    """So many steps, by a job that knows only what was saved. Whether it came to its end."""
    with closing(bulk_replay.job(run)) as job:
        return len(list(islice(job, steps))) < steps


def replayed() -> set[int]:
    return set(Attempt.objects.values_list("event", flat=True))


def test_all_that_match_are_replayed_and_counted_by_what_came_of_them(two_sides: TwoSides) -> None:
    events = given_up(two_sides, 12)
    other = event(1, state=State.PARKED)
    run = start()
    assert engine.carry_out(run)
    assert (run.state, run.counts, run.error) == (Run.State.DONE, {"created": 12, "seen": 12}, "")
    assert len(two_sides.crm.orders) == 12
    tries = Attempt.objects.values_list("event", "trigger", "actor")
    assert sorted(tries) == [(one.pk, "replay", "ada") for one in events]
    other.refresh_from_db()
    assert other.state == State.PARKED


def test_what_came_after_the_start_is_not_in_it(two_sides: TwoSides) -> None:
    known, later = two_sides.orders(2)
    first = event(known)
    run = start()
    event(later)
    engine.carry_out(run)
    assert replayed() == {first.pk}


@pytest.mark.parametrize("part", [1, 3, 4, 5, 100])
def test_what_was_counted_at_the_start_is_what_is_replayed(
    two_sides: TwoSides, part: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever becomes of the filter: here none of them matches any more, and others do."""
    monkeypatch.setattr(selection, "PART", part)
    events = given_up(two_sides, 12)
    run = start()
    WebhookEvent.objects.update(state=State.PARKED)
    others = [event(1), event(2)]
    assert engine.carry_out(run)
    assert (run.total, run.counts["seen"], replayed()) == (12, 12, {one.pk for one in events})
    assert {WebhookEvent.objects.get(pk=one.pk).state for one in others} == {State.DEAD}


@pytest.mark.parametrize("kind", [State.DONE, State.PARKED])
def test_what_somebody_saw_to_meanwhile_is_left_alone_and_counted(two_sides: TwoSides, kind: str) -> None:
    resolved, other = given_up(two_sides, 2)
    run = start()
    WebhookEvent.objects.filter(pk=resolved.pk).update(state=kind, outcome=Outcome.RESOLVED, finished_at=timezone.now())
    engine.carry_out(run)
    assert replayed() == {other.pk}
    assert run.counts == {"settled": 1, "created": 1, "seen": 2}
    assert ("Left alone: settled since the start", 1) in run_report.counts(run)


def test_a_run_of_an_earlier_version_which_kept_no_ids_says_so_and_replays_nothing(two_sides: TwoSides) -> None:
    given_up(two_sides, 2)
    options = {"query": "state__exact=dead", "ticked": None, "up_to": 10**9}
    run = engine.start("replay", options=options, actor="ada", reason="x")
    engine.carry_out(run)
    assert run.state == Run.State.FAILED
    assert "Start a new run" in run.error
    assert run_report.options(run) == [("events", "state: dead")]
    assert not replayed()


def test_the_row_that_is_written_after_each_page_holds_no_ids(two_sides: TwoSides) -> None:
    given_up(two_sides, 6)
    run = start()
    assert run.options == {"query": "state__exact=dead", "ticked": None}
    assert [part.last for part in RunPart.objects.all()] == [WebhookEvent.objects.latest("pk").pk]


def test_those_that_were_ticked_and_no_others(two_sides: TwoSides) -> None:
    first, _, third = given_up(two_sides, 3)
    chosen = Selection.of_ticked(f"{third.pk},{first.pk},nonsense,,{10**30}")
    run = bulk_replay.start(chosen, actor="ada", reason="x")
    engine.carry_out(run)
    assert replayed() == {first.pk, third.pk}


def test_two_events_of_one_order_are_both_answered(two_sides: TwoSides) -> None:
    (woo_id,) = two_sides.orders(1)
    for _ in range(4):
        event(woo_id)
    run = start()
    engine.carry_out(run)
    assert run.counts["seen"] == 4
    assert run.counts["created"] == len(two_sides.crm.orders) == 1
    assert not WebhookEvent.objects.exclude(state=State.DONE).exists()


def test_none_of_them_stands_before_what_comes_in(two_sides: TwoSides) -> None:
    """They are asked again and processed in one go, a batch at a time."""
    given_up(two_sides, 15)
    for _ in bulk_replay.job(start()):
        assert not WebhookEvent.objects.unfinished().filter(trigger="replay").exists()
    assert len(replayed()) == 15


def test_a_process_that_died_before_it_asked_leaves_nothing_out(two_sides: TwoSides) -> None:
    given_up(two_sides, 7)
    run = start()
    assert not engine.carry_out(run, budget=0)
    assert (len(run.checkpoint["open"]), Attempt.objects.count()) == (5, 0)
    held_by_another(run, silent=61)
    assert engine.carry_out(run)
    assert run.counts == {"created": 7, "seen": 7}


def test_what_was_claimed_and_not_asked_is_told_from_what_has_ended_since(two_sides: TwoSides) -> None:
    """Also if the next page was claimed by then."""
    lying, ended, tried = given_up(two_sides, 3)
    checkpoint = Checkpoint.of(start())
    checkpoint.claim([lying.pk, ended.pk])
    WebhookEvent.objects.filter(pk=ended.pk).update(finished_at=timezone.now())
    checkpoint.claim([tried.pk])
    WebhookEvent.objects.filter(pk=tried.pk).update(next_attempt_at=timezone.now())
    assert checkpoint.not_asked() == [lying.pk]
    assert checkpoint.count(but={lying.pk})
    assert set(checkpoint.open) == {lying.pk, tried.pk}


@pytest.mark.parametrize("dies_at", [1, 4, 6])
def test_a_process_that_died_under_way_is_succeeded_and_no_event_is_replayed_twice(
    two_sides: TwoSides, monkeypatch: pytest.MonkeyPatch, dies_at: int
) -> None:
    monkeypatch.setattr(process, "LARGEST", 1)
    given_up(two_sides, 9)
    run, begun = start(), Counter[str]()
    before = bulk_replay._replay

    def dying(*args: Any) -> bool:
        begun["all"] += 1
        if begun["all"] == dies_at:
            raise KeyboardInterrupt
        return before(*args)

    with patch.object(bulk_replay, "_replay", dying), pytest.raises(KeyboardInterrupt):
        engine.carry_out(run)
    held_by_another(Run.objects.get(), silent=61)
    run.refresh_from_db()
    assert engine.carry_out(run)
    assert run.counts == {"created": 9, "seen": 9}
    assert set(Counter(Attempt.objects.values_list("event", flat=True)).values()) == {1}


def test_cancelled_it_leaves_the_rest_as_it_is(two_sides: TwoSides) -> None:
    given_up(two_sides, 30)
    run = start()
    engine.carry_out(run, on_progress=lambda run: engine.cancel(run) if run.counts.get("seen") else None)
    assert run.state == Run.State.CANCELLED
    done = len(replayed())
    assert 0 < done < 30
    assert WebhookEvent.objects.filter(state=State.DEAD).count() == 30 - done


def test_while_a_side_is_paused_none_is_asked(two_sides: TwoSides) -> None:
    given_up(two_sides, 3)
    SideState.objects.filter(name=Side.CRM).update(paused=True)
    steps = bulk_replay.job(start())
    for _ in range(20):
        next(steps)
    assert WebhookEvent.objects.filter(state=State.DEAD).count() == 3
    SideState.objects.update(paused=False)
    for _ in steps:
        pass
    assert len(replayed()) == 3


def test_what_needs_a_person_is_named_in_the_report(two_sides: TwoSides) -> None:
    lost = event("C-404", side=Side.CRM, source="crm")
    run = start()
    engine.carry_out(run)
    assert (run.state, run.counts) == (Run.State.DONE, {"parked": 1, "seen": 1})
    (told,) = run_report.failures(run)
    assert (told.event, told.order) == (lost.pk, "C-404")
    assert "does not know" in told.words or "404" in told.words


def test_what_can_not_be_replayed_is_left_alone_and_counted(two_sides: TwoSides) -> None:
    (woo_id,) = two_sides.orders(1)
    busy = event(woo_id, state=State.PROCESSING, next_attempt_at=timezone.now() + HOUR, finished_at=None)
    event("", state=State.PARKED)
    run = start("")
    engine.carry_out(run)
    assert (run.state, run.counts) == (Run.State.DONE, {"skipped": 1, "unreadable": 1, "seen": 2})
    busy.refresh_from_db()
    assert busy.state == State.PROCESSING


def test_what_does_more_than_a_replay_is_left_alone_and_counted(two_sides: TwoSides) -> None:
    person = User.objects.create_user("eve", is_staff=True)
    person.user_permissions.set(Permission.objects.filter(codename="bulk_replay_webhookevent"))
    force = internal_events.force(OrderLinkFactory(), to_status="cancelled", by="mia", reason="asked to")
    anew = internal_events.make_anew(OrderLinkFactory(), by="mia", reason="asked to")
    WebhookEvent.objects.filter(pk__in=(force.pk, anew.pk)).update(state=State.DEAD, next_attempt_at=None)
    copy = event(1, copy_of=event(1, state=State.DONE), source="staff")
    event("C-1", side=Side.CRM, source=internal_events.RESYNC)
    Run.objects.filter(pk=start().pk).update(actor="eve")
    run = Run.objects.get()
    engine.carry_out(run)
    assert (run.state, run.counts) == (Run.State.DONE, {"forced": 2, "barred": 2, "seen": 4})
    assert set(WebhookEvent.objects.exclude(pk=copy.copy_of_id).values_list("state", flat=True)) == {State.DEAD}


def test_what_is_tried_again_at_the_end_is_left_to_the_workers_and_named(
    two_sides: TwoSides, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    settings.RETRY_BASE_SECONDS = settings.RETRY_MAX_SECONDS = 3600.0
    monkeypatch.setattr(bulk_replay, "REST", timedelta(seconds=0.1))
    lost = event("C-404", side=Side.CRM, source="crm", received_at=timezone.now())
    run = start()
    engine.carry_out(run)
    assert (run.state, run.counts) == (Run.State.DONE, {"again": 1})
    assert [one.event for one in run_report.still_tried(run)] == [lost.pk]


def test_also_stretch_by_stretch_it_ends_once_nothing_gets_on(
    two_sides: TwoSides, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stretch is shorter than the time for which what is tried again is waited for."""
    event("C-404", side=Side.CRM, source="crm", received_at=timezone.now())
    run, moment = start(), timezone.now()
    stretches = 0
    monkeypatch.setattr(bulk_replay, "clock", SimpleNamespace(now=lambda: moment + stretches * A_STRETCH))
    while stretches < 30 and not stretch(run):
        stretches += 1
    assert run.counts == {"again": 1}
    assert stretches >= bulk_replay.REST / A_STRETCH


def test_many_events_of_one_order_are_answered_stretch_by_stretch(
    two_sides: TwoSides, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk_replay, "MOST_OPEN", 10)
    (woo_id,) = two_sides.orders(1)
    for _ in range(41):
        event(woo_id)
    run, stretches = start(), 0
    while stretches < 200 and not stretch(run):
        stretches += 1
    assert run.counts["seen"] == 41
    assert len(two_sides.crm.orders) == 1


def test_the_speed_limit_outlives_the_process(two_sides: TwoSides, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [timezone.now()]
    monkeypatch.setattr(bulk_replay, "clock", SimpleNamespace(now=lambda: now[0]))
    waiting = [WebhookEventFactory().pk]
    run = start(per_minute=6)
    checkpoint = Checkpoint.of(run)
    assert bulk_replay._may_go(run, checkpoint, waiting)
    checkpoint.save(run)
    successor = Checkpoint.of(run)
    assert not bulk_replay._may_go(run, successor, waiting)
    now[0] += timedelta(seconds=9.9)
    assert not bulk_replay._may_go(run, successor, waiting)
    now[0] += timedelta(seconds=0.2)
    assert bulk_replay._may_go(run, successor, waiting)


def test_whose_account_is_gone_can_not_be_gone_on_for(two_sides: TwoSides, person: User) -> None:
    given_up(two_sides, 1)
    run = start()
    person.delete()
    engine.carry_out(run)
    assert run.state == Run.State.FAILED
    assert "has no account any more" in run.error
    assert not replayed()


def test_the_same_events_are_not_replayed_by_two_runs_at_once(two_sides: TwoSides) -> None:
    first = start()
    with pytest.raises(bulk_replay.Running, match=f"{first} replays the same events since"):
        start()
    start(State.PARKED)
    engine.cancel(first)
    start()


def test_how_long_it_would_take_is_judged_by_the_latest_attempts() -> None:
    assert bulk_replay.estimate(1000) is None
    Attempt.objects.create(event=event(1), trigger="delivery", result="applied", milliseconds=400)
    assert bulk_replay.estimate(1000) == timedelta(seconds=400 / THREADS)
    assert bulk_replay.estimate(1000, 60) == timedelta(seconds=1000)
