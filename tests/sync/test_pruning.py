"""What is older than RETENTION_DAYS is emptied, and nothing else is touched."""

import json
import threading
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from allauth.usersessions.models import UserSession
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone
from django_q.models import Task

from orders.verification import Checkup
from sync import tasks
from sync.jobs import pruning
from sync.models import Call, Run
from tests.factories import AttemptFactory, CallFactory, StatusTransitionFactory, WebhookEventFactory
from webhooks.models import RefusedDelivery, State, WebhookEvent

pytestmark = pytest.mark.django_db(transaction=True)
NOW = timezone.now()
OLD, YOUNG = NOW - timedelta(days=91), NOW - timedelta(days=89)


def event(at: Any = OLD, **fields: Any) -> WebhookEvent:
    done = {"state": State.DONE, "outcome": "applied", "next_attempt_at": None, "body_sha256": "a" * 64}
    made: WebhookEvent = WebhookEventFactory(received_at=at, **{**done, **fields})
    return made


def call(at: Any = OLD, **fields: Any) -> Call:
    made: Call = CallFactory(at=at, request_body='{"email": "ann@example.org"}', response_body="{}", **fields)
    return made


def prune(*args: str) -> dict[str, Any]:
    out = StringIO()
    call_command("prune", "--json", *args, stdout=out)
    told: dict[str, Any] = json.loads(out.getvalue())
    return told


def emptied() -> set[int]:
    return set(WebhookEvent.objects.filter(body=b"", headers={}).values_list("pk", flat=True))


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pruning, "_give_way", lambda since: None)


@pytest.mark.parametrize("state", [State.DONE, State.PARKED, State.DEAD])
def test_an_old_event_loses_its_body_and_keeps_the_rest(state: str) -> None:
    old, young = event(state=state, customer="c" * 32), event(YOUNG, state=state)
    row = WebhookEvent.objects.filter(pk=old.pk).values().get()
    assert prune()["events"] == 1
    assert emptied() == {old.pk}
    assert WebhookEvent.objects.filter(pk=old.pk).values().get() == {
        **row,
        **{"body": b"", "headers": {}, "customer": None},
    }
    young.refresh_from_db()
    assert young.headers


def test_what_somebody_replays_at_that_moment_is_not_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between our look and the emptying; a replay of many at night makes that likely."""
    again, real = event(), pruning._empty

    def empty(rows: Any, *args: Any, **nothing: Any) -> int:
        if rows.model is WebhookEvent:
            again.ask_again(trigger="replay")
        return real(rows, *args, **nothing)

    monkeypatch.setattr(pruning, "_empty", empty)
    assert prune()["events"] == 0
    monkeypatch.undo()
    WebhookEvent.objects.update(state=State.DONE, next_attempt_at=None)
    assert prune()["events"] == 1


def test_what_still_waits_is_left_alone_and_not_forgotten() -> None:
    waiting, later = event(state=State.RETRYING, next_attempt_at=NOW), event()
    told = prune()
    assert told["waiting_since"] == waiting.received_at.isoformat()
    assert emptied() == {later.pk}
    WebhookEvent.objects.filter(pk=waiting.pk).update(state=State.DONE, next_attempt_at=None)
    told = prune()
    assert (told["events"], told["waiting_since"]) == (1, None)
    assert emptied() == {waiting.pk, later.pk}


def test_calls_go_by_their_own_age() -> None:
    attempt = AttemptFactory(event=event())
    old, young = call(attempt=attempt), call(YOUNG, attempt=attempt)
    assert prune()["calls"] == 1
    assert list(Call.objects.order_by("id").values_list("id", "request_body")) == [
        (old.pk, ""),
        (young.pk, young.request_body),
    ]
    assert Call.objects.get(pk=old.pk).status == 200


def test_the_audit_is_whole_afterwards() -> None:
    StatusTransitionFactory(event=event(), created_at=OLD)
    prune()
    checkup = Checkup()
    for _ in checkup.go_on():
        pass
    assert checkup.seen["transitions"] == 1
    assert checkup.findings == []


def test_the_next_night_looks_only_at_what_has_become_old_since() -> None:
    for _ in range(3):
        call(attempt=AttemptFactory(event=event()))
    prune()
    run = Run.objects.get()
    assert run.counts["seen"] == 6
    Run.objects.filter(pk=run.pk).update(finished_at=OLD)
    event(OLD + timedelta(hours=1))
    tasks.prune()
    assert Run.objects.latest("id").counts["seen"] == 1
    assert WebhookEvent.objects.exclude(body=b"").count() == 0


def test_a_dry_run_counts_and_leaves_all_as_it_is() -> None:
    call(attempt=AttemptFactory(event=event()))
    before = list(WebhookEvent.objects.values())
    told = prune("--dry-run")
    assert (told["dry_run"], told["events"], told["calls"]) == (True, 1, 1)
    assert list(WebhookEvent.objects.values()) == before
    assert not Run.objects.exists()
    assert prune()["events"] == 1


@pytest.mark.parametrize("stop_after", [1, 2, 3])
def test_a_run_that_was_killed_is_gone_on_with(monkeypatch: pytest.MonkeyPatch, stop_after: int) -> None:
    monkeypatch.setattr(pruning, "PAGE", 2)
    events = [event() for _ in range(5)]
    run = pruning.start(actor="command")
    steps = pruning.job(run)
    for _ in range(stop_after):
        next(steps)
    Run.objects.filter(pk=run.pk).update(checkpoint=run.checkpoint, counts=run.counts, state=Run.State.PAUSED)
    assert prune()["events"] == 5
    assert emptied() == {one.pk for one in events}


def test_leftovers_go_and_what_people_asked_for_stays() -> None:
    person = User.objects.create_user("ann")
    for at in (OLD, YOUNG):
        RefusedDelivery.objects.create(
            source="crm", reason="bad_signature", headers={"X": "y"}, remote_addr="192.0.2.1", received_at=at
        )
        for actor in ("", "ann"):
            Run.objects.create(kind="reconcile", bridge_id=1, state=Run.State.DONE, actor=actor, finished_at=at)
        Task.objects.create(id=f"{at:%d}", name="drain", func="sync.tasks.drain", started=at, stopped=at, success=False)
        Session.objects.create(
            session_key=f"{at:%d}", session_data="", expire_date=NOW + (at - OLD) - timedelta(days=1)
        )
        UserSession.objects.create(session_key=f"{at:%d}", user=person, ip="192.0.2.7", user_agent="")
    told = prune()
    assert UserSession.objects.count() == Session.objects.count() == 1
    assert {name: told[name] for name in ("refusals", "runs", "tasks", "sessions")} == dict.fromkeys(
        ("refusals", "runs", "tasks", "sessions"), 1
    )
    assert list(RefusedDelivery.objects.order_by("id").values_list("headers", "remote_addr", "reason")) == [
        ({}, "", "bad_signature"),
        ({"X": "y"}, "192.0.2.1", "bad_signature"),
    ]
    assert Run.objects.filter(kind="reconcile").count() == 3


@pytest.mark.parametrize("days", [0, -1])
def test_no_day_at_all_would_be_everything_and_is_refused(settings: Any, days: int) -> None:
    settings.RETENTION_DAYS = days
    event()
    with pytest.raises(CommandError, match="RETENTION_DAYS must be 1 or more") as raised:
        prune()
    assert raised.value.returncode == 1
    assert emptied() == set()


def test_deliveries_come_in_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pruning, "PAGE", 3)
    old = {event().pk for _ in range(60)}
    errors, stored, begun = [], [], threading.Event()

    def deliver() -> None:
        try:
            while len(stored) < 30:
                stored.append(WebhookEventFactory().pk)
                begun.set()
        except Exception as error:
            errors.append(error)
        finally:
            connection.close()

    writer = threading.Thread(target=deliver)
    writer.start()
    assert begun.wait(60)
    told = prune()
    writer.join(60)
    assert errors == []
    assert len(stored) == 30
    assert told["events"] == 60
    assert emptied() == old
