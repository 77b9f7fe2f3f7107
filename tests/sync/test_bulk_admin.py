"""The page that says what a bulk replay would be, and starts it."""

import threading
from datetime import timedelta
from typing import Any
from unittest.mock import Mock, patch

import pytest
from django.utils import timezone

from orders.models import StaffAction
from sync.jobs import bulk_replay, selection
from sync.jobs.selection import Selection, measure
from sync.models import Attempt, Run
from tests.factories import WebhookEventFactory
from tests.people import signed_in
from tests.sync.conftest import TwoSides
from webhooks.models import State, WebhookEvent

pytestmark = pytest.mark.django_db
LIST = "/admin/webhooks/webhookevent/"
PLAN = f"{LIST}replay-many/"
SAMPLE = f"{PLAN}sample/"
RUNS = "/admin/sync/run/"


@pytest.fixture(autouse=True)
def enqueue() -> Any:
    with patch("sync.jobs.engine.enqueue") as enqueued:
        yield enqueued


def event(**fields: Any) -> WebhookEvent:
    row: WebhookEvent = WebhookEventFactory(**{"state": State.DEAD, "next_attempt_at": None, **fields})
    return row


@pytest.mark.parametrize("role", ["viewer", "support", "auditor"])
def test_who_may_not_replay_many_sees_no_button_and_gets_403(role: str) -> None:
    dead, client = event(), signed_in(role)
    assert "replay_selected" not in client.get(LIST).content.decode()
    for url in (PLAN, SAMPLE):
        assert client.get(f"{url}?state__exact=dead").status_code == 403
        assert client.post(f"{url}?state__exact=dead", {"reason": "x"}).status_code == 403
    client.post(LIST, {"action": "replay_selected", "_selected_action": dead.pk})
    dead.refresh_from_db()
    assert (dead.state, Run.objects.count()) == (State.DEAD, 0)


def test_the_action_of_the_list_leads_to_the_plan_of_those_ticked() -> None:
    first, second = event(), event()
    client = signed_in("operator")
    assert "replay_selected" in client.get(LIST).content.decode()
    chosen = {"action": "replay_selected", "_selected_action": [first.pk, second.pk]}
    answer = client.post(f"{LIST}?state__exact=dead", chosen)
    assert answer["Location"] == f"{PLAN}?ticked={first.pk}%2C{second.pk}"
    assert "Replay 2 events" in client.get(answer["Location"]).content.decode()


def test_the_action_for_all_that_match_leads_to_the_plan_of_the_filter() -> None:
    dead = event()
    chosen = {"action": "replay_selected", "_selected_action": [dead.pk], "select_across": "1"}
    answer = signed_in("operator").post(f"{LIST}?state__exact=dead&q=7&p=1&o=1", chosen)
    assert answer["Location"] == f"{PLAN}?state__exact=dead&q=7"


def test_the_plan_says_how_many_of_which_kind_and_how_long() -> None:
    for _ in range(3):
        event()
    event(source="crm", topic="order.status_changed")
    event(state=State.PARKED)
    Attempt.objects.create(event=event(state=State.DONE), trigger="delivery", result="applied", milliseconds=60_000)
    page = signed_in("operator").get(f"{PLAN}?state__exact=dead").content.decode()
    for words in ("Replay 4 events", "State: dead", "crm · order.status_changed", "At full speed: about", "60 s"):
        assert words in page, words
    assert f'hx-post="{SAMPLE}?state__exact=dead"' in page
    assert not Run.objects.exists()


def test_the_plan_starts_a_run_for_the_workers(enqueue: Mock) -> None:
    for _ in range(3):
        event()
    client = signed_in("operator")
    answer = client.post(f"{PLAN}?state__exact=dead", {"reason": "the CRM is mended", "per_minute": "120"})
    run = Run.objects.get()
    assert answer["Location"] == f"{RUNS}{run.pk}/change/"
    assert (run.kind, run.total, run.per_minute, run.actor) == ("replay", 3, 120, "operator")
    enqueue.assert_called_once_with("sync.tasks.carry_out", run.pk)
    done = StaffAction.objects.get()
    assert (done.action, done.reason, done.details["run"]) == ("run: start replay", "the CRM is mended", run.pk)
    assert not WebhookEvent.objects.filter(state=State.PENDING).exists()
    assert "state: dead" in client.get(answer["Location"]).content.decode()


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"reason": ""}, "This field is required"),
        ({"reason": "x", "per_minute": "0"}, "greater than or equal to 1"),
        ({"reason": "x", "per_minute": "a lot"}, "whole number"),
    ],
)
def test_what_is_said_wrongly_is_told_and_starts_nothing(said: dict[str, str], words: str) -> None:
    event()
    assert words in signed_in("operator").post(f"{PLAN}?state__exact=dead", said).content.decode()
    assert not Run.objects.exists()


@pytest.mark.parametrize(
    "query", ["state__exact=dead", "ticked=", "ticked=999999", "ticked=nonsense", "q=" + "x" * 10_000]
)
def test_a_bulk_replay_over_nothing_is_a_clear_message(query: str) -> None:
    event(state=State.DONE)
    client = signed_in("operator")
    for answer in (
        client.get(f"{PLAN}?{query}", follow=True),
        client.post(f"{PLAN}?{query}", {"reason": "x"}, follow=True),
    ):
        assert "there is nothing to replay" in answer.content.decode()
    assert not Run.objects.exists()


@pytest.mark.parametrize(
    "query", ["nonsense=1", "tries__error__contains=x", "state__exact__in=1", "received_at__gte=no"]
)
def test_a_filter_that_the_list_does_not_have_is_a_clear_message(query: str) -> None:
    event()
    client = signed_in("operator")
    assert "This filter is not one of the list" in client.get(f"{PLAN}?{query}", follow=True).content.decode()
    assert "This filter is not one of the list" in client.post(f"{SAMPLE}?{query}", {"reason": "x"}).content.decode()
    client.post(f"{PLAN}?{query}", {"reason": "x"})
    assert not Run.objects.exists()


def test_what_a_search_found_is_replayed_although_newer_ones_came() -> None:
    found, client = event(delivery_id="d-88"), signed_in("operator")
    event()
    page = client.get(f"{PLAN}?q=d-88").content.decode()
    assert "Replay 1 event" in page
    assert "No event, order or customer is known as" in page
    client.post(f"{PLAN}?q=d-88", {"reason": "x"})
    run = Run.objects.get()
    assert (run.options["ticked"], run.total) == ([found.pk], 1)
    assert "q: d-88" in client.get(f"{RUNS}{run.pk}/change/").content.decode()


def test_the_same_twice_is_told() -> None:
    event()
    client = signed_in("operator")
    client.post(f"{PLAN}?state__exact=dead", {"reason": "x"})
    assert "replays the same events since" in client.post(f"{PLAN}?state__exact=dead", {"reason": "x"}).content.decode()
    assert Run.objects.count() == 1


def test_beyond_the_bound_the_number_is_an_estimate_and_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    signed_in("operator")
    for n in range(60):
        event(state=State.DEAD if n % 2 else State.DONE)
    monkeypatch.setattr(selection, "EXACT", 10)
    size = measure(Selection(events=WebhookEvent.objects.filter(state=State.DEAD)), 5)
    assert not size.is_exact
    assert 25 <= size.number <= 35
    assert len(size.spread) <= 5
    page = signed_in("operator").get(f"{PLAN}?state__exact=dead").content.decode()
    assert "Replay about" in page
    assert "The number is an estimate" in page


def test_the_plan_costs_the_same_for_many(django_assert_max_num_queries: Any) -> None:
    for _ in range(40):
        event()
    client = signed_in("operator")
    client.get(f"{PLAN}?state__exact=dead")
    with django_assert_max_num_queries(19):
        client.get(f"{PLAN}?state__exact=dead")


@pytest.mark.django_db(transaction=True)
def test_the_sample_says_what_would_happen_and_nothing_happens(two_sides: TwoSides) -> None:
    for woo_id in two_sides.orders(3):
        event(order_ref=str(woo_id))
    event(side="crm", source="crm", order_ref="C-404", received_at=timezone.now() - timedelta(hours=1))
    client, url = signed_in("operator"), f"{SAMPLE}?state__exact=dead"
    assert client.get(url)["Location"] == f"{PLAN}?state__exact=dead"
    assert "Enter a reason first" in client.post(url, {"reason": " "}).content.decode()
    assert (two_sides.shop.requests, two_sides.crm.requests, StaffAction.objects.count()) == ([], [], 0)
    told = client.post(url, {"reason": "the CRM is mended"}).content.decode()
    done = StaffAction.objects.get()
    assert (done.action, done.actor, done.reason) == ("dry run of many", "operator", "the CRM is mended")
    assert len(done.details["events"]) == 4
    assert "Out of 4 checked" in told
    assert told.count("Something would be written") == 3
    assert "Would need a person" in told
    assert not two_sides.writes()
    assert WebhookEvent.objects.filter(state=State.DEAD).count() == 4
    assert not Attempt.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_sample_that_takes_too_long_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    dead, go_on = event(), threading.Event()
    monkeypatch.setattr(bulk_replay, "run_dry", lambda event, until: go_on.wait())
    try:
        assert bulk_replay.sample([dead.pk], within=0.05) == [(dead, None)]
    finally:
        go_on.set()
