"""After RETENTION_DAYS what was said is forgotten: bodies and headers go. After ROWS_RETENTION_DAYS attempts and calls
go as a whole, and their hourly figures stay. Events, outcomes and transitions stay for ever."""

import itertools
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from allauth.usersessions.models import UserSession
from axes.models import AccessAttempt, AccessFailureLog, AccessLog
from django.conf import settings
from django.contrib.sessions.models import Session
from django.db import transaction
from django.db.models import Max, Q, QuerySet
from django.utils import timezone
from django_q.models import Task

from sync.jobs import engine
from sync.jobs.processing import Steps
from sync.models import Attempt, Call, OpenChoice, Run
from sync.monitoring import hourly
from sync.monitoring.counting import ATTEMPTS, CALLS, cover
from sync.registry import DAY, Job, Planned, register
from webhooks.customers import rekey
from webhooks.models import RefusedDelivery, ShopApproval, State, WebhookEvent

PAGE = 200
"""Rows of one short transaction."""
BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
COUNTS = ("events", "calls", "attempts", "refusals", "runs", "tasks", "logins", "sessions")


def start(*, dry_run: bool = False, actor: str = "", reason: str = "") -> Run:
    """Raises AlreadyRunning."""
    return engine.start(JOB.kind, options={"dry_run": dry_run}, actor=actor, reason=reason)


def job(run: Run) -> Steps[None]:
    """`checkpoint`: up to where events and calls were seen to. `counts`: what was emptied, and what was removed."""
    if settings.RETENTION_DAYS < 1:
        raise engine.Failed("RETENTION_DAYS must be 1 or more, or all bodies would go at once. Correct it in .env.")
    if 0 != settings.ROWS_RETENTION_DAYS < settings.RETENTION_DAYS:
        words = "must not be less than RETENTION_DAYS, or rows would go before what they say. 0 keeps them for ever."
        raise engine.Failed(f"ROWS_RETENTION_DAYS={settings.ROWS_RETENTION_DAYS} {words} Correct it in .env.")
    before = run.started_at - timedelta(days=settings.RETENTION_DAYS)
    if not run.checkpoint:
        run.checkpoint = _where_the_last_one_ended()
    if not run.options["dry_run"]:
        rekey(WebhookEvent.objects.all())  # what processes of an older version stored while this one was installed
    yield from _empty_events(run, before)
    yield from _empty_calls(run, before)
    if settings.ROWS_RETENTION_DAYS:
        yield from _remove_attempts(run, run.started_at - timedelta(days=settings.ROWS_RETENTION_DAYS))
    for name, done in _leftovers(run, before):
        run.counts = {**run.counts, name: done}
        yield


def _where_the_last_one_ended() -> dict[str, Any]:
    """What lies before was seen to, and costs nothing again: however old a database is, a night takes as long."""
    last = Run.objects.filter(kind=JOB.kind, state=Run.State.DONE, options__dry_run=False).order_by("-id").first()
    kept: dict[str, Any] = last.kept if last else {}
    waiting = kept.get("waiting")
    return {
        "events": [waiting, 0] if waiting else kept.get("events", [BEGINNING.isoformat(), 0]),
        "waiting": None,
        "calls": kept.get("calls", 0),
    }


# --- events --------------------------------------------------------------------------------------------------------


def _empty_events(run: Run, before: datetime) -> Steps[None]:
    """In the order of their coming. One that still waits is left alone, and the next run begins with it."""
    while page := _page(run.checkpoint["events"], before):
        began = time.monotonic()
        rows = WebhookEvent.objects.filter(pk__in=[pk for pk, _ in page])
        done = _empty(rows.filter(next_attempt_at=None), run, **NO_EVENT)
        # After it: what was asked again between our look and the emptying waits, too.
        waits = rows.unfinished().order_by("received_at").values_list("received_at", flat=True).first()
        last, at = page[-1]
        run.checkpoint = {
            **run.checkpoint,
            "events": [at.isoformat(), last],
            "waiting": run.checkpoint["waiting"] or (waits and waits.isoformat()),
        }
        _count(run, seen=len(page), events=done)
        yield
        _give_way(began)


def _page(after: list[Any], before: datetime) -> list[tuple[int, datetime]]:
    at, pk = datetime.fromisoformat(after[0]), after[1]
    # The first condition is implied by the second. It is what lets the index begin there.
    old = WebhookEvent.objects.filter(received_at__gte=at, received_at__lt=before)
    beyond = old.filter(Q(received_at__gt=at) | Q(pk__gt=pk)).order_by("received_at", "id")
    return list(beyond.values_list("id", "received_at")[:PAGE])


NO_EVENT: dict[str, Any] = {"body": b"", "headers": {}, "customer": None}
NO_CALL: dict[str, Any] = {"request_body": "", "response_body": ""}


# --- calls ---------------------------------------------------------------------------------------------------------


def _empty_calls(run: Run, before: datetime) -> Steps[None]:
    """What was sent and answered, by its own age: a replay of yesterday keeps its calls, whatever it replayed."""
    while page := _old_calls(run.checkpoint["calls"], before):
        began = time.monotonic()
        done = _empty(Call.objects.filter(pk__in=page), run, **NO_CALL)
        run.checkpoint = {**run.checkpoint, "calls": page[-1]}
        _count(run, seen=len(page), calls=done)
        yield
        _give_way(began)


def _old_calls(after: int, before: datetime) -> list[int]:
    return _old(Call.objects.values_list("id", "at"), after, before)


def _old(rows: QuerySet[Any, tuple[int, datetime]], after: int, before: datetime) -> list[int]:
    """Up to the first that is young: ids are given in the order of time, but for those of one moment."""
    page = rows.filter(pk__gt=after).order_by("id")[:PAGE]
    return [pk for pk, _ in itertools.takewhile(lambda row: row[1] < before, page)]


# --- rows ----------------------------------------------------------------------------------------------------------


def _remove_attempts(run: Run, before: datetime) -> Steps[None]:
    """With their calls. Those of an event that waits for a worker or a person are left alone; as they are few, each run
    begins with them."""
    after = run.checkpoint.get("attempts", 0)
    while page := _old(Attempt.objects.values_list("id", "started_at"), after, before):
        began = time.monotonic()
        going = Attempt.objects.filter(pk__in=page, event__state=State.DONE)
        done = (
            going.count() if run.options["dry_run"] else _remove_and_remember(list(going.values_list("pk", flat=True)))
        )
        after = page[-1]
        run.checkpoint = {**run.checkpoint, "attempts": after}
        _count(run, seen=len(page), attempts=done)
        yield
        _give_way(began)


def _remove_and_remember(attempts: list[int]) -> int:
    calls = Call.objects.filter(attempt__in=attempts)
    with transaction.atomic():
        cover(ATTEMPTS, max(attempts, default=0))
        cover(CALLS, calls.aggregate(newest=Max("pk"))["newest"] or 0)
        hourly.add(hourly.read(hourly.not_added(attempts)))
        calls.delete()
        Attempt.objects.filter(pk__in=attempts).delete()
    return len(attempts)


# --- the rest ------------------------------------------------------------------------------------------------------


def _leftovers(run: Run, before: datetime) -> Iterator[tuple[str, int]]:
    """Tables that are small, as they are bounded or emptied every night."""
    refused = RefusedDelivery.objects.filter(received_at__lt=before).exclude(headers={}, remote_addr="")
    yield "refusals", _empty(refused, run, headers={}, remote_addr="")
    runs_of_the_clock = Run.objects.filter(actor="", finished_at__lt=before).exclude(kind=JOB.kind)
    yield "runs", _remove(runs_of_the_clock, run)
    yield "tasks", _remove(Task.objects.filter(stopped__lt=before), run)
    logins = (model.objects.filter(attempt_time__lt=before) for model in (AccessAttempt, AccessFailureLog, AccessLog))
    yield "logins", sum(_remove(one, run) for one in logins)
    yield "sessions", _remove(Session.objects.filter(expire_date__lt=timezone.now()), run)
    _remove(OpenChoice.objects.filter(asked_at__lt=before), run)  # a replay asks again
    _remove(ShopApproval.objects.filter(expires_at__lt=timezone.now()), run)  # with keys that nobody came back for
    # What is left of those: it is no figure of its own.
    _remove(UserSession.objects.exclude(session_key__in=Session.objects.values("session_key")), run)


def _empty(rows: QuerySet[Any], run: Run, **nothing: Any) -> int:
    left = rows.exclude(**nothing)
    return left.count() if run.options["dry_run"] else left.update(**nothing)


def _remove(rows: QuerySet[Any], run: Run) -> int:
    return rows.count() if run.options["dry_run"] else rows.delete()[0]


def _count(run: Run, **more: int) -> None:
    run.counts = {**run.counts, **{name: run.counts.get(name, 0) + number for name, number in more.items()}}


def _give_way(since: float) -> None:
    """Half of the time belongs to those who have more important things to write."""
    time.sleep(time.monotonic() - since)


JOB = register(
    Job(
        kind="prune",
        label="Prune",
        work=job,
        unit="rows",
        schedules=lambda: (Planned(name="prune", task="sync.tasks.prune", minutes=DAY, start=start),),
    )
)
