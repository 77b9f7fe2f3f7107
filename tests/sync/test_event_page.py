"""The page of one event: its way, why, what came, what was tried, and its neighbours."""

import json
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from orders import audit
from sync.admin.event_page import curl
from sync.backoffice.steps import span
from sync.models import Attempt
from tests.deliveries import recorded
from tests.factories import AttemptFactory, CallFactory, OrderLinkFactory, StatusTransitionFactory, WebhookEventFactory
from webhooks.intake import MASK
from webhooks.models import Outcome, Side, State, WebhookEvent

pytestmark = pytest.mark.django_db
LIST = "/admin/webhooks/webhookevent/"
START = timezone.now().replace(microsecond=0) - timedelta(hours=1)


def after(milliseconds: float) -> Any:
    return START + timedelta(milliseconds=milliseconds)


def shown(client: Client, event: WebhookEvent) -> dict[str, Any]:
    answer = client.get(f"{LIST}{event.pk}/change/")
    assert answer.status_code == 200
    context: dict[str, Any] = answer.context
    return context


def way(client: Client, event: WebhookEvent) -> list[tuple[str, str, str]]:
    return [(step.name, step.gap, step.tone) for step in shown(client, event)["steps"]]


@pytest.fixture
def applied() -> WebhookEvent:
    """A status of the CRM that was written to the shop."""
    link = OrderLinkFactory(woo_id=14, crm_order_id="C-1001")
    event: WebhookEvent = WebhookEventFactory(
        **{"side": Side.CRM, "source": "crm", "topic": "order.status_changed", "order_ref": "C-1001"},
        **{"received_at": START, "stored_at": after(2), "status": "shipped", "version": 7},
        **{"state": State.DONE, "outcome": Outcome.APPLIED, "next_attempt_at": None, "finished_at": after(300)},
    )
    attempt = AttemptFactory(
        **{"event": event, "started_at": after(40), "decided_at": after(100), "milliseconds": 260},
        reasons=[["crm_moved", "The CRM says 'shipped' (version 7; paid)."], ["move_allowed", "Allowed: a → b."]],
        compared={"event": {"version": "7"}, "known": {"status": "paid", "version": "6"}, "crm": {"version": "7"}},
    )
    CallFactory(attempt=attempt, at=after(41), milliseconds=19, response_body='{"status": "shipped", "version": 7}')
    CallFactory(attempt=attempt, side=Side.SHOP, url="/orders/14", at=after(62), milliseconds=30)
    CallFactory(attempt=attempt, side=Side.SHOP, method="PUT", url="/orders/14", at=after(110), milliseconds=140)
    StatusTransitionFactory(link=link, event=event)
    return event


# --- the way -------------------------------------------------------------------------------------------------------


def test_the_way_of_an_applied_event_has_times_and_gaps(admin_client: Client, applied: WebhookEvent) -> None:
    assert way(admin_client, applied) == [
        ("Received", "", "success"),
        ("Stored", "+2 ms", "success"),
        ("Started", "+38 ms", "success"),
        ("Read back", "+52 ms", "success"),
        ("Decided", "+8 ms", "success"),
        ("Applied", "+150 ms", "success"),
    ]


def test_an_event_that_waits_has_not_been_started(admin_client: Client) -> None:
    event = WebhookEventFactory(next_attempt_at=after(0))
    assert [(step.name, step.at is None) for step in shown(admin_client, event)["steps"]][2:] == [
        *(("Started", True), ("Read back", True), ("Decided", True), ("Applied", True)),
    ]
    assert f"Due at {START:%H:%M:%S}" in shown(admin_client, event)["steps"][2].words


def test_a_read_that_failed_is_where_the_way_ends(admin_client: Client) -> None:
    event = WebhookEventFactory(state=State.RETRYING, next_attempt_at=after(5000), attempts=1)
    attempt = AttemptFactory(event=event, result="ServerTrouble", error="GET on the crm: 502", decided_at=None)
    CallFactory(attempt=attempt, status=502)
    steps = {step.name: step for step in shown(admin_client, event)["steps"]}
    assert (steps["Read back"].tone, steps["Read back"].at) == ("danger", None)
    assert "The CRM answered 502." in steps["Read back"].words
    assert steps["Decided"].words == "Not reached: ServerTrouble."
    assert f"The next attempt is at {after(5000):%H:%M:%S}" in steps["Applied"].words


def test_a_write_that_failed_is_shown_as_such(admin_client: Client) -> None:
    event = WebhookEventFactory(state=State.DEAD, next_attempt_at=None)
    attempt = AttemptFactory(event=event, result="Unreachable", error="no answer", decided_at=after(10))
    CallFactory(attempt=attempt, method="PUT", status=None, error="timeout")
    last = shown(admin_client, event)["steps"][-1]
    assert (last.tone, last.words, last.at) == ("danger", "There was no answer.", None)


def test_a_superseded_event_shows_the_attempt_that_answered_it(admin_client: Client) -> None:
    one, two = WebhookEventFactory(order_ref="14"), WebhookEventFactory(order_ref="14")
    done = {"state": State.DONE, "next_attempt_at": None, "finished_at": after(300)}
    WebhookEvent.objects.filter(pk=one.pk).update(outcome=Outcome.SUPERSEDED, **done)
    WebhookEvent.objects.filter(pk=two.pk).update(outcome=Outcome.UPDATED, **done)
    AttemptFactory(event=two, started_at=after(100), decided_at=after(200), reasons=[["x", "The content differs."]])
    AttemptFactory(event=two, started_at=after(900), reasons=[["x", "A later replay."]])
    one.refresh_from_db()
    assert f"together with event {two.pk}" in shown(admin_client, one)["steps"][2].words
    assert "The content differs." in shown(admin_client, one)["why"]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(-3, "0 ms"), (0.004, "4 ms"), (1.26, "1.3 s"), (75, "1 min 15 s"), (7500, "2 h 5 min"), (90_000, "1 d 1 h")],
)
def test_a_gap_is_said_in_the_units_that_count(seconds: float, words: str) -> None:
    assert span(timedelta(seconds=seconds)) == words


# --- why -----------------------------------------------------------------------------------------------------------


def test_why_tells_the_rule_the_versions_and_what_the_crm_said(admin_client: Client, applied: WebhookEvent) -> None:
    seen = shown(admin_client, applied)
    assert seen["why"] == ["The CRM says 'shipped' (version 7; paid).", "Allowed: a → b."]
    assert seen["compared"]["columns"] == ["The event says", "Last known", "The CRM said"]
    assert ("Version", ["7", "6", "7"]) in seen["compared"]["rows"]
    page = admin_client.get(f"{LIST}{applied.pk}/change/").content.decode()
    assert "processing → completed" in page
    assert "PUT /orders/14 → 200 (140 ms)" in page


def test_an_event_parked_at_the_door_tells_why_by_itself(admin_client: Client) -> None:
    event = WebhookEventFactory(order_ref="", state=State.PARKED, next_attempt_at=None, reason="The body is not JSON.")
    assert shown(admin_client, event)["why"] == ["The body is not JSON."]


# --- what came -----------------------------------------------------------------------------------------------------


def test_the_delivery_can_be_copied_as_curl_without_secrets_or_people(admin_client: Client) -> None:
    body, headers = recorded("00007")
    signed = {**headers, "X-WC-Webhook-Signature": MASK}
    line = shown(admin_client, WebhookEventFactory(body=body, headers=signed))["curl"]
    assert line.startswith("curl -X POST http://127.0.0.1:8000/webhooks/woocommerce/ \\\n")
    assert "X-WC-Webhook-Topic: order.updated" in line
    assert "X-WC-Webhook-Signature: <signature>" in line
    assert "juergen@" not in line and "Müller" not in line


def test_a_quote_in_the_body_does_not_end_the_command(admin_client: Client) -> None:
    event = WebhookEventFactory(body=b'{"id": 5, "x": "\'; rm -rf /; echo \'"}')
    assert "rm -rf" not in shown(admin_client, event)["curl"]
    line = curl(event, revealed=True)
    assert "'\"'\"'; rm -rf /" in line


@pytest.mark.parametrize("made", [{"source": "sweep", "signed_by": ""}, {"body": b""}])
def test_what_nobody_delivered_or_is_gone_has_no_curl(admin_client: Client, made: dict[str, Any]) -> None:
    assert shown(admin_client, WebhookEventFactory(**made))["curl"] == ""


def test_the_verdict_names_the_key(admin_client: Client) -> None:
    assert shown(admin_client, WebhookEventFactory())["signature"] == (
        "success",
        "valid",
        "Signed with woocommerce key 1.",
    )
    own = WebhookEventFactory(source="sweep", signed_by="")
    assert "created here by sweep" in shown(admin_client, own)["signature"][2]


# --- history and neighbours ----------------------------------------------------------------------------------------


def test_attempts_and_staff_actions_are_one_history(admin_client: Client, applied: WebhookEvent) -> None:
    audit.record("replay", actor="mia", reason="customer called", result="A worker was asked.", event=applied)
    AttemptFactory(event=applied, trigger="replay", actor="mia", result="no_change", started_at=timezone.now())
    lines = shown(admin_client, applied)["history"]
    assert [(line.title.split(":")[0], line.label) for line in lines] == [
        ("Replay by mia", "No change"),
        ("Replay by mia", "staff"),
        ("Delivery", "Status applied to the shop"),
    ]
    assert "customer called" in lines[1].words


def test_the_neighbours_are_those_of_both_sides(admin_client: Client, applied: WebhookEvent) -> None:
    before, other = WebhookEventFactory(order_ref="14"), WebhookEventFactory(order_ref="15")
    seen = [event for event, _ in shown(admin_client, applied)["neighbours"]]
    assert before in seen and applied in seen and other not in seen


@pytest.mark.parametrize("attempts", [2, 20])
def test_more_attempts_cost_no_more_queries(
    admin_client: Client, applied: WebhookEvent, attempts: int, django_assert_max_num_queries: Any
) -> None:
    for _ in range(attempts):
        CallFactory(attempt=AttemptFactory(event=applied))
        WebhookEventFactory(side=Side.CRM, source="crm", order_ref="C-1001")
    with django_assert_max_num_queries(20):
        shown(admin_client, applied)


def test_what_a_side_says_does_not_run_in_the_page(admin_client: Client) -> None:
    bad = "<script>alert(1)</script>"
    event = WebhookEventFactory(topic=bad, reason=bad, order_ref=bad, delivery_id=bad, status=bad, headers={bad: bad})
    attempt = AttemptFactory(event=event, result="Rejected", error=bad, reasons=[["x", bad]], actor=bad)
    CallFactory(attempt=attempt, request_body=bad, response_body=json.dumps({"x": bad}), url=f"/{bad}")
    Attempt.objects.update(compared={"crm": {"status": bad}})
    audit.record("replay", actor=bad, reason=bad, result=bad, event=event)
    assert bad not in admin_client.get(f"{LIST}{event.pk}/change/").content.decode()
