"""A new long run is declared in one place, and people and the clock can start it."""

import ast
import json
from collections.abc import Generator
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from django.contrib import admin
from django.core.management import CommandError, call_command
from django.urls import path
from django_q.brokers import get_broker
from django_q.signing import SignedPackage

from integration_site.urls import urlpatterns
from sync import jobs, registry, tasks
from sync.jobs import engine, forms, run_report
from sync.models import Run
from sync.queue import allowed, schedules
from sync.registry import DAY, JOBS, Job, Planned, Starter
from tests.factories import WebhookEventFactory
from tests.people import signed_in

# The next lines are all that stand in the file of a new job.


class PolishForm(forms.RunForm):
    times = forms.number("Times", "How often.", 9)
    hard = forms.flag("Hard", "100 % force.")


def start(*, actor: str = "", reason: str = "", times: int | None = None, hard: bool = False) -> Run:
    return engine.start("polish", options={"times": times, "hard": hard}, actor=actor, reason=reason)


def work(run: Run) -> Generator[None, None, None]:
    for number in range(run.options["times"] or 1):
        run.counts = {"seen": number + 1, "shiny": 1}
        yield


POLISH = Job(
    kind="polish",
    label="Polish",
    work=work,
    unit="spoons",
    count_names={"shiny": "Shiny by now"},
    starter=Starter(words="Each spoon is polished.", form=PolishForm, start=start, permission="orders.view_orderlink"),
    schedules=lambda: (Planned(name="polish", task="sync.tasks.polish", minutes=DAY, start=start),),
)

# So far.


@pytest.fixture
def polish(settings: Any) -> Generator[None, None, None]:
    """Registered, and with addresses as a process has them that starts with its file."""
    registry.register(POLISH)
    others = [one for one in urlpatterns if getattr(one, "app_name", "") != "admin"]
    settings.ROOT_URLCONF = type("Urls", (), {"urlpatterns": [path("admin/", admin.site.urls), *others]})
    yield
    JOBS.pop("polish", None)


@pytest.mark.django_db
def test_it_is_started_by_a_command(polish: None) -> None:
    out = StringIO()
    call_command("run", "polish", "--times", "3", "--hard", stdout=out)
    run = Run.objects.get()
    assert (run.kind, run.state, run.actor) == ("polish", Run.State.DONE, "command")
    assert run.options == {"times": 3, "hard": True}
    assert out.getvalue() == "3 seen, 1 shiny by now\n"


@pytest.mark.django_db
def test_the_command_tells_a_program_what_came_of_it(polish: None) -> None:
    out = StringIO()
    call_command("run", "polish", "--json", stdout=out)
    run = Run.objects.get()
    told = {"run": run.pk, "kind": "polish", "seen": 1, "shiny": 1, "needs_a_person": []}
    assert json.loads(out.getvalue()) == told


@pytest.mark.django_db
def test_what_failed_is_named_and_is_the_exit_code(polish: None) -> None:
    event = WebhookEventFactory(state="dead", order_ref="77", reason="the CRM says no")

    def fails(run: Run) -> Generator[None, None, None]:
        run.checkpoint, run.counts = {"failed": [event.pk]}, {"seen": 1, "failed": 1}
        yield

    JOBS["polish"] = replace(POLISH, work=fails)
    out = StringIO()
    with pytest.raises(CommandError) as failed:
        call_command("run", "polish", stdout=out)
    assert failed.value.returncode == 1
    assert out.getvalue() == "77: the CRM says no\n1 seen, 1 failed\n"


@pytest.mark.django_db
def test_the_command_checks_options_as_the_page_does(polish: None) -> None:
    with pytest.raises(CommandError, match="times: ") as refused:
        call_command("run", "polish", "--times", "10")
    assert refused.value.returncode == 2
    assert not Run.objects.exists()


@pytest.mark.django_db
def test_it_is_started_in_the_back_office(polish: None) -> None:
    client = signed_in("operator")
    listed = client.get("/admin/sync/run/").content.decode()
    assert "/admin/sync/run/polish/" in listed
    assert client.get("/admin/sync/run/polish/")["Location"] == "/admin/sync/run/start/polish/"
    assert "Each spoon is polished." in client.get("/admin/sync/run/start/polish/").content.decode()
    answer = client.post("/admin/sync/run/start/polish/", {"times": 2, "reason": "guests come"}, follow=True)
    run = Run.objects.get()
    assert (run.kind, run.reason, run.options) == ("polish", "guests come", {"times": 2, "hard": False})
    assert str(run) == f"Polish {run.pk}"
    assert str(run) in answer.content.decode()
    tasks.carry_out(run.pk)
    run.refresh_from_db()
    assert run.state == Run.State.DONE
    assert run_report.counts(run) == [("Seen", 2), ("Shiny by now", 1)]
    assert '<option value="polish">Polish</option>' in client.get("/admin/sync/run/").content.decode()


@pytest.mark.django_db
@pytest.mark.parametrize("url", ["/admin/sync/run/polish/", "/admin/sync/run/start/polish/"])
def test_its_own_permission_decides_who_starts_it(polish: None, url: str) -> None:
    viewer = signed_in("viewer")
    assert viewer.get(url, follow=True).status_code == 200
    assert POLISH.starter is not None
    stricter = replace(POLISH.starter, permission="orders.nobody_has_it")
    JOBS["polish"] = replace(POLISH, starter=stricter)
    assert viewer.get(url).status_code == 403
    assert url not in viewer.get("/admin/sync/run/").content.decode()


@pytest.mark.django_db
def test_it_is_started_by_the_clock(polish: None) -> None:
    schedules.keep_in_step()
    schedules.Schedule.objects.exclude(name="polish").delete()
    schedules.Schedule.objects.filter(name="polish").update(next_run="2020-01-01T00:00Z")
    broker = Mock(wraps=get_broker())
    schedules.enqueue_due(broker)
    queued = [SignedPackage.loads(call.args[0]) for call in broker.enqueue.call_args_list]
    assert "sync.tasks.polish" in [one["func"] for one in queued]
    assert all(allowed.is_ours(one) for one in queued)
    tasks.polish()
    run = Run.objects.get()
    assert (run.kind, run.state, run.actor) == ("polish", Run.State.DONE, "")


def test_the_queue_obeys_a_schedule_of_a_job_only_without_arguments(polish: None) -> None:
    wake_up = {"id": "1", "name": "n", "func": "sync.tasks.polish", "args": ()}
    assert allowed.is_ours(wake_up)
    assert not allowed.is_ours({**wake_up, "args": ("x",)})
    del JOBS["polish"]
    assert not allowed.is_ours(wake_up)
    with pytest.raises(AttributeError):
        _ = tasks.polish


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"schedules": lambda: (Planned(name="x", task="os.system", minutes=1, start=start),)}, "os.system"),
        ({"schedules": lambda: (Planned(name="x", task="sync.tasks.drain", minutes=1),)}, "sync.tasks.drain"),
        ({"kind": "longer_than_its_column"}, "longer than 12"),
        ({"kind": "backfill"}, "two jobs"),
    ],
)
def test_what_would_not_work_is_refused_at_once(wrong: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        registry.register(replace(POLISH, **wrong))  # type: ignore[arg-type]


def test_a_task_of_a_job_takes_the_place_of_no_other() -> None:
    for one in registry.planned():
        assert one.task not in allowed.TASKS
        assert one.task.removeprefix("sync.tasks.") not in vars(tasks)


def test_each_file_that_declares_a_job_is_found_without_being_named() -> None:
    files = [one for one in Path(jobs.__path__[0]).glob("*.py") if "register(" in one.read_text()]
    declared = {
        keyword.value.value
        for one in files
        for node in ast.walk(ast.parse(one.read_text()))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Job"
        for keyword in node.keywords
        if keyword.arg == "kind" and isinstance(keyword.value, ast.Constant)
    }
    assert declared == set(JOBS)
    assert len(declared) >= 7


@pytest.mark.django_db
def test_a_run_of_a_kind_that_is_gone_can_still_be_read_and_ends_with_words() -> None:
    run = Run.objects.create(kind="gone", holder="", counts={"seen": 3})
    tasks.carry_out(run.pk)
    run.refresh_from_db()
    assert run.state == Run.State.FAILED
    assert "'gone'" in run.error
    client = signed_in("operator")
    assert client.get("/admin/sync/run/").status_code == 200
    assert client.get(f"/admin/sync/run/{run.pk}/change/").status_code == 200
