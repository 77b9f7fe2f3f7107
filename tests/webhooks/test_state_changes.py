"""What moves an event from state to state stands in one place, and does it to many in one statement."""

import ast
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from tests.factories import WebhookEventFactory
from webhooks import clock
from webhooks.models import Change, State, WebhookEvent

ROOT = Path(__file__).resolve().parents[2]
HOME = ROOT / "webhooks" / "models.py"
IN_MEMORY = {"sync/jobs/processing.py", "sync/pipeline/failures.py"}
"""They assign to what is not stored yet, or was only read. What is saved goes through the methods."""
COLUMNS = {"state", "outcome", "reason", "attempts", "next_attempt_at", "finished_at", "trigger", "requested_by"}
AN_EVENTS_ONLY = {"outcome", "attempts", "next_attempt_at", "trigger"}
"""No other model has these, or only as a part of what is written once."""
LATER = datetime(2100, 1, 1, tzinfo=UTC)

pytestmark = pytest.mark.django_db


def modules() -> Iterator[Path]:
    for app in ("webhooks", "orders", "sync", "integration_site"):
        for path in sorted((ROOT / app).rglob("*.py")):
            if "migrations" not in path.parts and path != HOME:
                yield path


def changes_of_state(source: str) -> list[int]:
    """Lines on which an event's state is written by something else than the methods that are there for it."""
    return [node.lineno for node in ast.walk(ast.parse(source)) if is_change_of_state(node)]  # type: ignore[attr-defined]


def is_change_of_state(node: ast.AST) -> bool:
    match node:
        case ast.Assign(targets=targets):
            each = [one for target in targets for one in (target.elts if isinstance(target, ast.Tuple) else [target])]
            return any(isinstance(one, ast.Attribute) and is_an_events(one) for one in each)
        case ast.AugAssign(target=ast.Attribute() as target):
            return is_an_events(target)
        case ast.Call(func=ast.Attribute(attr="update"), keywords=keywords):
            return any(one.arg in AN_EVENTS_ONLY or is_a_state(one) for one in keywords)
        case ast.Call(func=ast.Attribute(attr="save" | "bulk_update")):
            return any(isinstance(one, ast.Constant) and one.value in AN_EVENTS_ONLY for one in ast.walk(node))
        case ast.Constant(value=str(text)):
            words = " ".join(text.split()).lower()
            return "update webhooks_webhookevent" in words and any(f" {name} =" in words for name in COLUMNS)
    return False


def is_an_events(written: ast.Attribute) -> bool:
    return written.attr in COLUMNS and isinstance(written.value, ast.Name) and "event" in written.value.id


def is_a_state(given: ast.keyword) -> bool:
    """`State.DONE`, but not `Run.State.DONE`."""
    match given:
        case ast.keyword(arg="state", value=ast.Attribute(value=ast.Name(id="State"))):
            return True
    return False


def test_nobody_else_writes_an_events_state() -> None:
    found = {str(path.relative_to(ROOT)): changes_of_state(path.read_text()) for path in modules()}
    assert {path: lines for path, lines in found.items() if lines and path not in IN_MEMORY} == {}


@pytest.mark.parametrize(
    "source",
    [
        "event.state = State.DONE",
        "event.reason, other = words, 1",
        "event.attempts += 1",
        "WebhookEvent.objects.filter(pk=1).update(state=State.DEAD)",
        "stuck.update(reason=words, outcome='')",
        "event.save(update_fields=['next_attempt_at'])",
        "WebhookEvent.objects.bulk_update(events, ['trigger'])",
        "sql.execute('UPDATE webhooks_webhookevent SET  state = %s')",
    ],
)
def test_who_else_wrote_it_would_be_found(source: str) -> None:
    assert changes_of_state(f"def one():\n    {source}\n") == [2]


def three() -> list[WebhookEvent]:
    """In another order of their keys than of their ids, as they come in."""
    return [WebhookEventFactory(order_ref=str(n), dedupe_key=f"key:{9 - n}", attempts=n) for n in range(3)]


def seen(events: list[WebhookEvent], *columns: str) -> list[tuple[Any, ...]]:
    return list(WebhookEvent.objects.filter(pk__in=[one.pk for one in events]).order_by("pk").values_list(*columns))


def test_what_becomes_of_each_is_its_own() -> None:
    one, two, three_, four, five = [WebhookEventFactory(attempts=n, trigger="delivery") for n in range(5)]
    six = WebhookEventFactory(reason="Was there.", trigger="sweep")
    other = WebhookEventFactory(reason="Is no matter of theirs.")
    before = clock.now()
    changes = [
        Change.done(one, "created", "Made.", customer="abc"),
        Change.superseded(two, by=one),
        Change.parked(three_, "Which one?"),
        Change.dead(four, "Given up.", attempts=9),
        Change.retry(five, "Away.", at=LATER, failed=True),
        Change.released(six),
    ]
    with (
        transaction.atomic(),
        CaptureQueriesContext(
            connection,
        ) as asked,
    ):
        assert WebhookEvent.objects.record(changes) == 6
    assert len(asked) == 1
    events = [one, two, three_, four, five, six, other]
    assert seen(events, "state", "outcome", "reason", "attempts", "trigger", "next_attempt_at", "customer") == [
        ("done", "created", "Made.", 0, "delivery", None, "abc"),
        ("done", "superseded", f"Answered by the same read as event {one.pk}.", 1, "delivery", None, None),
        ("parked", "", "Which one?", 2, "delivery", None, None),
        ("dead", "", "Given up.", 9, "delivery", None, None),
        ("retrying", "", "Away.", 5, "retry", LATER, None),
        ("pending", "", "Was there.", 0, "sweep", six.next_attempt_at, None),
        ("pending", "", "Is no matter of theirs.", 0, "delivery", other.next_attempt_at, None),
    ]
    ended = [at for (at,) in seen(events, "finished_at")]
    assert all(at and at >= before - timedelta(seconds=1) for at in ended[:4])
    assert ended[4:] == [None, None, None]


def test_what_is_the_same_for_all_is_said_once() -> None:
    events = three()
    with CaptureQueriesContext(connection) as asked:
        assert WebhookEvent.objects.record([Change.done(one, "no_change", "Alike.") for one in events]) == 3
    [update] = [one["sql"] for one in asked if one["sql"].startswith("UPDATE")]
    assert "CASE" not in update
    assert seen(events, "outcome", "reason") == [("no_change", "Alike.")] * 3


def test_no_changes_ask_nothing() -> None:
    with CaptureQueriesContext(connection) as asked:
        assert WebhookEvent.objects.record([]) == 0
    assert not asked.captured_queries


def test_an_attempt_counts_on_top_of_what_is_stored() -> None:
    """Between a look at an event and its claim a person may have asked again, and its count begins anew."""
    event = WebhookEventFactory(attempts=7)
    WebhookEvent.objects.update(attempts=0)
    WebhookEvent.objects.record([Change.retry(event, "Away.", at=LATER, failed=True)])
    WebhookEvent.objects.record([Change.retry(event, "Lags.", at=LATER, failed=False)])
    assert seen([event], "attempts", "reason") == [(1, "Lags.")]


@pytest.mark.parametrize(("body", "kept"), [(b"{}", ["abc", "xyz"]), (b"", [None, "xyz"])])
def test_the_customer_of_an_emptied_event_is_not_kept_anew(body: bytes, kept: list[str | None]) -> None:
    """Emptied by a prune while the attempt went on."""
    one, two = WebhookEventFactory(), WebhookEventFactory(customer="xyz")
    WebhookEvent.objects.filter(pk=one.pk).update(body=body, customer=None)
    WebhookEvent.objects.record([Change.done(one, "created", "", customer="abc"), Change.done(two, "created", "")])
    assert [customer for (customer,) in seen([one, two], "customer")] == kept


def test_a_claim_tells_how_many_are_left_to_claim() -> None:
    one, two, last = three()
    WebhookEvent.objects.filter(pk=two.pk).supersede("Meanwhile.")
    assert WebhookEvent.objects.filter(pk__in=[one.pk, two.pk]).claim(LATER) == 1
    assert seen([one, two, last], "state") == [("processing",), ("done",), ("pending",)]
    assert seen([one], "next_attempt_at") == [(LATER,)]


def test_what_is_due_is_unfinished_and_its_time_has_come() -> None:
    one, two, last = three()
    WebhookEvent.objects.filter(pk=one.pk).claim(LATER)
    WebhookEvent.objects.filter(pk=last.pk).supersede("Answered.")
    assert list(WebhookEvent.objects.unfinished().order_by("pk")) == [one, two]
    assert list(WebhookEvent.objects.due(clock.now()).order_by("pk")) == [two]
    assert list(WebhookEvent.objects.due(LATER).order_by("pk")) == [one, two]


CHANGES = {
    "claim": lambda events: events.claim(LATER),
    "count_attempt": lambda events: events.count_attempt(),
    "supersede": lambda events: events.supersede("Answered."),
    "record": lambda events: events.record([Change.parked(one, str(one.pk)) for one in events.all()]),
}


@pytest.mark.parametrize("change", CHANGES)
def test_every_change_of_several_locks_them_by_their_keys(change: str) -> None:
    """Else it and a repeated array wait for each other: tests/sync/test_worker.py shows it with the two at once."""
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has one writer at a time")
    three()
    with CaptureQueriesContext(connection) as asked:
        CHANGES[change](WebhookEvent.objects.all())
    changed = [one["sql"] for one in asked if one["sql"].startswith("UPDATE")]
    assert len(changed) == 1
    assert 'ORDER BY U0."dedupe_key" ASC FOR UPDATE' in changed[0]


def test_whoever_stops_it_keeps_what_was_said_before() -> None:
    event = WebhookEventFactory(state=State.RETRYING, reason="The CRM is away.")
    event.park("Retries cancelled by ada: no need")
    words = "Retries cancelled by ada: no need. Before that: The CRM is away."
    assert seen([event], "state", "outcome", "reason", "next_attempt_at") == [("parked", "", words, None)]
    event.resolve("Resolved by ada: by phone")
    assert seen([event], "state", "outcome") == [("done", "resolved")]
    assert event.reason == f"Resolved by ada: by phone. Before that: {words}"
