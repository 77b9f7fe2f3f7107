"""Staff start long runs, watch them, stop them and read what came of them."""

from dataclasses import replace
from datetime import timedelta
from typing import Any
from unittest.mock import Mock, patch

import pytest
from django.urls import reverse
from django.utils import timezone
from django.utils.html import escape

from orders.models import StaffAction
from sync import registry, tasks
from sync.jobs import engine, run_report
from sync.models import Run
from sync.registry import JOBS
from tests.factories import OrderLinkFactory, WebhookEventFactory
from tests.people import signed_in
from tests.sync.conftest import TwoSides
from tests.sync.test_bad_orders import FAULTS, break_shop
from tests.sync.test_runs import counting
from webhooks.models import State, WebhookEvent

pytestmark = pytest.mark.django_db
LIST = "/admin/sync/run/"
START = f"{LIST}start/reconcile/"


@pytest.fixture(autouse=True)
def enqueue() -> Any:
    with patch("sync.jobs.engine.enqueue") as enqueued:
        yield enqueued


def a_run(**fields: Any) -> Run:
    return Run.objects.create(**{"kind": "reconcile", "bridge_id": 1, "options": {"deep": True}, **fields})


def page(run: Run, role: str = "viewer") -> str:
    return signed_in(role).get(f"{LIST}{run.pk}/change/").content.decode()


def test_a_viewer_looks_and_may_press_nothing(enqueue: Mock) -> None:
    run = a_run(actor="anna")
    client = signed_in("viewer")
    shown = client.get(LIST).content.decode() + page(run)
    assert "anna" in shown
    for url in (f"{LIST}reconcile/", START, *(f"{LIST}{run.pk}/do/{name}/" for name in ("pause", "resume", "cancel"))):
        assert url not in shown
        assert client.get(url).status_code == 403, url
        assert client.post(url, {"confirmed": "yes", "reason": "x"}).status_code == 403, url
    run.refresh_from_db()
    assert (run.state, Run.objects.count()) == (Run.State.RUNNING, 1)
    enqueue.assert_not_called()


def test_whoever_may_not_see_runs_sees_no_progress(client: Any, django_user_model: Any) -> None:
    client.force_login(django_user_model.objects.create_user("nobody", is_staff=True))
    assert client.get(f"{LIST}{a_run().pk}/progress/").status_code == 403


def test_an_operator_starts_a_reconcile_and_the_workers_do_it(enqueue: Mock) -> None:
    client = signed_in("operator")
    assert reverse("admin:sync_run_start_reconcile") in client.get(LIST).content.decode()
    assert client.get(f"{LIST}reconcile/")["Location"] == START
    assert "no delivery reported" in client.get(START).content.decode()
    assert not Run.objects.exists()
    answer = client.post(START, {"deep": "on", "dry_run": "on", "reason": "the shop was away"})
    run = Run.objects.get()
    assert answer["Location"] == f"{LIST}{run.pk}/change/"
    assert (run.options["deep"], run.options["dry_run"], run.actor, run.holder) == (True, True, "operator", "")
    enqueue.assert_called_once_with("sync.tasks.carry_out", run.pk)
    done = StaffAction.objects.get()
    assert (done.action, done.actor, done.reason) == ("run: start reconcile", "operator", "the shop was away")
    assert done.details["run"] == run.pk


def test_a_person_says_that_orders_are_really_gone(enqueue: Mock) -> None:
    client = signed_in("operator")
    assert "They are really gone" in client.get(START).content.decode()
    client.post(START, {"confirm_deleted": "on", "reason": "we cleaned up"})
    run = Run.objects.get()
    assert (run.options["confirm_deleted"], run.options["deep"]) == (True, True)


def test_no_run_without_a_reason() -> None:
    assert "This field is required" in signed_in("operator").post(START, {"deep": "on"}).content.decode()
    assert not Run.objects.exists()


def test_a_second_one_is_told_who_has_the_first_and_its_form_is_kept() -> None:
    a_run(actor="anna", holder="elsewhere:7")
    shown = signed_in("operator").post(START, {"reason": "to be <sure>"}).content.decode()
    assert "is running since" in shown
    assert "for anna" in shown
    assert "to be &lt;sure&gt;" in shown
    assert not StaffAction.objects.exists()


def test_an_unknown_kind_leads_back_to_the_list() -> None:
    assert signed_in("operator").get(f"{LIST}start/nonsense/")["Location"] == LIST
    assert signed_in("operator").get(f"{LIST}999999/progress/").status_code == 404
    assert signed_in("operator").post(f"{LIST}999999/do/pause/", {}).status_code == 404


@pytest.mark.parametrize(
    ("before", "action", "after"),
    [
        (Run.State.RUNNING, "pause", Run.State.PAUSED),
        (Run.State.PAUSED, "resume", Run.State.RUNNING),
        (Run.State.FAILED, "resume", Run.State.RUNNING),
        (Run.State.RUNNING, "cancel", Run.State.CANCELLED),
        (Run.State.PAUSED, "cancel", Run.State.CANCELLED),
    ],
)
def test_a_run_is_paused_resumed_and_cancelled_with_a_reason(before: str, action: str, after: str) -> None:
    run, client = a_run(state=before), signed_in("operator")
    url = f"{LIST}{run.pk}/do/{action}/"
    assert url in page(run, "operator")
    assert client.get(url).status_code == 200
    client.post(url, {"confirmed": "yes", "reason": ""})
    run.refresh_from_db()
    assert run.state == before
    client.post(url, {"confirmed": "yes", "reason": "peak hours"})
    run.refresh_from_db()
    assert run.state == after
    done = StaffAction.objects.get()
    assert (done.action, done.reason) == (f"run: {action}", "peak hours")


@pytest.mark.parametrize("state", [Run.State.DONE, Run.State.CANCELLED])
def test_what_has_ended_can_not_be_stopped_and_says_so(state: str) -> None:
    run, client = a_run(state=state), signed_in("operator")
    assert "/do/" not in page(run, "operator")
    for action in ("pause", "resume", "cancel"):
        answer = client.post(f"{LIST}{run.pk}/do/{action}/", {"confirmed": "yes", "reason": "x"}, follow=True)
        assert "there was nothing to do" in answer.content.decode()
    run.refresh_from_db()
    assert run.state == state
    assert not StaffAction.objects.exists()


def test_a_run_is_not_resumed_beside_another_and_says_so() -> None:
    run = a_run(state=Run.State.PAUSED)
    a_run(holder="elsewhere:7")
    answer = signed_in("operator").post(f"{LIST}{run.pk}/do/resume/", {"confirmed": "yes", "reason": "x"}, follow=True)
    assert "is running since" in answer.content.decode()


def test_the_page_of_a_run_follows_it_and_stops_when_it_has_ended() -> None:
    run = a_run(counts={"seen": 250}, total=1000, worked=60.0, per_minute=300)
    assert f'hx-get="{LIST}{run.pk}/progress/"' in page(run)
    told = signed_in("viewer").get(f"{LIST}{run.pk}/progress/").content.decode()
    for words in ("250 of 1,000", "25 %", "250 a minute, at most 300", "about 3 min left", "Waits for a worker"):
        assert words in told, words
    Run.objects.update(state=Run.State.DONE)
    told = signed_in("viewer").get(f"{LIST}{run.pk}/progress/").content.decode()
    assert "hx-get" not in told
    assert "100 %" in told


def test_the_report_names_what_failed_with_the_way_to_it() -> None:
    event = WebhookEventFactory(state=State.PARKED, next_attempt_at=None, order_ref="77", reason="mail to a@b.example")
    run = a_run(
        state=Run.State.FAILED,
        error="The shop cannot be reached: <no route>",
        counts={"seen": 2, "shop": 1, "crm": 0},
        checkpoint={"failed": [event.pk], "found": [["shop", "78", "order.created"]]},
    )
    told = page(run)
    assert f"/admin/webhooks/webhookevent/{event.pk}/change/" in told
    assert "Order 77" in told
    assert "a@b.example" not in told
    assert "order_ref=78" in told
    assert "Missed from the shop" in told
    assert "The shop cannot be reached: &lt;no route&gt;" in told
    assert "then press Resume" in told


def test_a_holder_without_a_sign_of_life_is_told() -> None:
    run = a_run(holder="elsewhere:7", beat_at=timezone.now() - timedelta(minutes=5))
    assert "No sign of life from elsewhere:7 for 5 min" in page(run)


def test_pauses_do_not_count_as_work(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(float(second) for second in range(1000))
    monkeypatch.setitem(JOBS, "backfill", replace(JOBS["backfill"], work=counting))
    monkeypatch.setattr("sync.jobs.engine.time.monotonic", lambda: next(clock))
    run = engine.start("backfill", options={})
    engine.carry_out(run, budget=0)
    first = run.worked
    assert first > 0
    next(clock), next(clock)
    Run.objects.update(beat_at=timezone.now() - timedelta(hours=9))
    engine.carry_out(engine.start("backfill", options={}))
    run.refresh_from_db()
    assert first < run.worked < 20


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (89, "89 s"), (90, "2 min"), (3600, "60 min"), (12_000, "3 h 20 min"), (400_000, "4 days")],
)
def test_spans_in_words(seconds: float, words: str) -> None:
    assert run_report.in_words(timedelta(seconds=seconds)) == words


def test_the_list_costs_the_same_for_many(django_assert_max_num_queries: Any) -> None:
    for _ in range(30):
        a_run(state=Run.State.DONE, counts={"seen": 7}, total=9)
    client = signed_in("viewer")
    client.get(LIST)
    with django_assert_max_num_queries(8):
        client.get(LIST)


def test_the_list_says_in_words_what_came_of_each() -> None:
    a_run(state=Run.State.DONE, counts={"seen": 7, "shop": 0, "crm": 2})
    assert "7 seen, 2 missed from the CRM" in signed_in("viewer").get(LIST).content.decode()


def test_home_shows_what_is_at_work() -> None:
    run = a_run(counts={"seen": 250}, total=1000, actor="anna")
    home = signed_in("viewer").get("/admin/").content.decode()
    assert f"{LIST}{run.pk}/change/" in home
    assert "1 running" in home
    assert "250 of 1,000" in home


def missed(two_sides: TwoSides) -> None:
    for woo_id in (1, 2, 3):
        two_sides.order(woo_id, timezone.now())


@pytest.mark.django_db(transaction=True)
def test_the_page_of_a_run_names_what_it_left_out(two_sides: TwoSides) -> None:
    missed(two_sides)
    break_shop(two_sides, {2}, FAULTS["HTTP 500"])
    signed_in("operator").post(START, {"reason": "webhooks were off"})
    run = Run.objects.get()
    tasks.carry_out(run.pk)
    run.refresh_from_db()
    told = page(run)
    assert "Left out, because a side could not return them" in told and "Order 2 of the shop, changed" in told


@pytest.mark.django_db(transaction=True)
def test_a_reconcile_from_the_back_office_finds_what_was_missed(two_sides: TwoSides) -> None:
    missed(two_sides)
    signed_in("operator").post(START, {"deep": "on", "reason": "webhooks were off"})
    run = Run.objects.get()
    tasks.carry_out(run.pk)
    run.refresh_from_db()
    assert (run.state, run.counts["shop"]) == (Run.State.DONE, 3)
    assert WebhookEvent.objects.filter(source="sweep").count() == 3
    told = page(run)
    assert "Missed from the shop" in told
    assert "order.created, from the shop" in told


@pytest.mark.parametrize("kind", registry.startable())
def test_each_kind_is_started_from_the_list_by_those_who_may(kind: str) -> None:
    operator, viewer = signed_in("operator"), signed_in("viewer")
    button, form = f"{LIST}{kind}/", f"{LIST}start/{kind}/"
    assert button in operator.get(LIST).content.decode()
    assert operator.get(button)["Location"] == form
    assert escape(registry.startable()[kind][1].words) in operator.get(form).content.decode()
    assert button not in viewer.get(LIST).content.decode()
    for url in (button, form):
        assert viewer.get(url).status_code == viewer.post(url, {"reason": "x"}).status_code == 403
    assert not Run.objects.exists()


@pytest.mark.parametrize(
    ("kind", "said", "options"),
    [
        (
            "backfill",
            {"since": "2026-01-01", "until": "2026-01-31", "statuses": "on-hold, processing", "limit": "7"},
            {"since": "2026-01-01T00:00:00+00:00", "until": "2026-02-01T00:00:00+00:00", "limit": 7},
        ),
        ("backfill", {"dry_run": "on"}, {"since": None, "until": None, "statuses": [], "dry_run": True}),
        ("resync", {"which": "everything", "orders": "left behind"}, {"everything": True, "orders": []}),
        ("resync", {"which": "drifted"}, {"drifted": True, "everything": False}),
        ("resync", {"which": "since", "since": "2026-01-01"}, {"since": "2026-01-01T00:00:00+00:00", "drifted": False}),
        ("resync", {"which": "orders", "orders": "7, C-8"}, {"orders": [7, 8], "everything": False}),
        ("drift", {}, {}),
    ],
)
def test_what_is_said_in_the_form_becomes_the_options(kind: str, said: dict[str, str], options: dict[str, Any]) -> None:
    for number in (7, 8):
        OrderLinkFactory(woo_id=number, crm_order_id=f"C-{number}")
    signed_in("operator").post(f"{LIST}start/{kind}/", {**said, "reason": "after the move"})
    run = Run.objects.get()
    assert (run.kind, run.actor, run.reason, run.holder) == (kind, "operator", "after the move", "")
    assert {name: run.options[name] for name in options} == options


@pytest.mark.parametrize(
    ("kind", "said", "words"),
    [
        ("backfill", {"since": "yesterday"}, "Enter a valid date"),
        ("backfill", {"since": "2026-02-01", "until": "2026-01-01"}, "This is before the first day"),
        ("backfill", {"limit": "0"}, "greater than or equal to 1"),
        ("backfill", {"statuses": "on hold; paid"}, "Write statuses like the shop does"),
        ("backfill", {"until": "9999-12-31"}, "This day is in the future"),
        ("resync", {"which": "orders"}, "Fill this in, or choose another option above"),
        ("resync", {"which": "since"}, "Fill this in, or choose another option above"),
        ("resync", {"which": "nonsense"}, "Select a valid choice"),
        ("resync", {"which": "orders", "orders": "404"}, "No linked order: 404"),
    ],
)
def test_what_is_said_wrongly_is_told_and_starts_nothing(kind: str, said: dict[str, str], words: str) -> None:
    assert words in signed_in("operator").post(f"{LIST}start/{kind}/", {**said, "reason": "x"}).content.decode()
    assert not Run.objects.exists()
    assert not StaffAction.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_backfill_from_the_back_office_links_every_order(two_sides: TwoSides) -> None:
    two_sides.orders(4)
    signed_in("operator").post(f"{LIST}start/backfill/", {"reason": "a new shop"})
    run = Run.objects.get()
    tasks.carry_out(run.pk)
    run.refresh_from_db()
    assert (run.state, run.counts["created"]) == (Run.State.DONE, 4)
    assert "Created in the CRM" in page(run)


@pytest.mark.django_db(transaction=True)
def test_a_dry_run_from_the_back_office_only_counts(two_sides: TwoSides) -> None:
    missed(two_sides)
    signed_in("operator").post(START, {"deep": "on", "dry_run": "on", "reason": "how many?"})
    run = Run.objects.get()
    tasks.carry_out(run.pk)
    run.refresh_from_db()
    assert (run.state, run.counts["shop"]) == (Run.State.DONE, 3)
    assert not WebhookEvent.objects.exists()
    assert not two_sides.writes()
