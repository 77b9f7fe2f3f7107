"""Counts that do not read a whole table, and are those of the whole table all the same."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models import F
from django.test.utils import CaptureQueriesContext

from sync.models import Call, Counted
from sync.monitoring import counting
from sync.monitoring.counting import ATTEMPTS, CALLS, DUPLICATES, EVENTS, STATES, count_rows
from tests.factories import AttemptFactory, WebhookEventFactory
from webhooks.models import State, WebhookEvent

pytestmark = pytest.mark.django_db


def minutes_pass() -> None:
    Counted.objects.update(next_at=F("next_at") - counting.SETTLED - timedelta(seconds=1))


def called(count: int, **fields: Any) -> None:
    attempt = AttemptFactory()
    for _ in range(count):
        Call.objects.create(attempt=attempt, method="GET", url="/", **fields)


def test_what_is_old_is_remembered_and_what_is_new_is_added() -> None:
    called(3, side="shop", status=200, milliseconds=10)
    assert count_rows(CALLS) == {("shop", 200, 1): (3, 30)}
    minutes_pass()
    called(1, side="crm", status=None, milliseconds=7)
    for _ in range(2):
        assert count_rows(CALLS) == {("shop", 200, 1): (3, 30), ("crm", None, 1): (1, 7)}
    assert Counted.objects.get().up_to == Call.objects.order_by("id")[2].pk
    minutes_pass()
    assert count_rows(CALLS) == count_rows(CALLS) == {("shop", 200, 1): (3, 30), ("crm", None, 1): (1, 7)}
    called(2, side="shop", status=200, milliseconds=1)
    assert count_rows(CALLS) == {("shop", 200, 1): (5, 32), ("crm", None, 1): (1, 7)}


def test_what_was_remembered_before_there_were_bridges_is_of_the_default_one() -> None:
    called(2, side="shop", status=200, milliseconds=10)
    newest = Call.objects.latest("pk").pk
    kept = {"counts": [["shop", 200, 5, 90], ["crm", None, 1, 7]], "up_to": newest, "next_up_to": newest}
    Counted.objects.create(table=CALLS.name, **kept)
    called(1, side="shop", status=200, milliseconds=10)
    for _ in range(2):
        assert count_rows(CALLS) == {("shop", 200, 1): (6, 100), ("crm", None, 1): (1, 7)}
        minutes_pass()


def test_rows_that_are_remembered_are_not_read_again() -> None:
    AttemptFactory.create_batch(3)
    for _ in range(2):
        count_rows(ATTEMPTS)
        minutes_pass()
    count_rows(ATTEMPTS)
    known = Counted.objects.get()
    with CaptureQueriesContext(connection) as queries:
        assert sum(n for n, _ in count_rows(ATTEMPTS).values()) == 3
    read = [one["sql"] for one in queries if 'FROM "sync_attempt"' in one["sql"]]
    assert read and all(f'"id" > {known.up_to}' in sql for sql in read), read


def test_what_an_old_row_counts_more_is_found_within_minutes_and_never_falls() -> None:
    old, new = WebhookEventFactory(duplicates=2), WebhookEventFactory()
    seen = []
    for added in (0, 1, 0, 4, 0, 0):
        WebhookEvent.objects.filter(pk__in=(old.pk, new.pk)).update(duplicates=F("duplicates") + added)
        WebhookEventFactory(duplicates=1)
        count_rows(DUPLICATES)
        minutes_pass()
        count_rows(DUPLICATES)
        seen.append(count_rows(DUPLICATES)["woocommerce", 1][1])
    assert seen == sorted(seen)
    assert seen[-1] == sum(WebhookEvent.objects.values_list("duplicates", flat=True))


def test_old_rows_without_a_duplicate_are_never_read() -> None:
    WebhookEventFactory.create_batch(3)
    for _ in range(2):
        count_rows(DUPLICATES)
        minutes_pass()
    with CaptureQueriesContext(connection) as queries:
        count_rows(DUPLICATES)
    read = [one["sql"] for one in queries if "SUM(" in one["sql"]]
    assert len(read) == 2 and all('"id" > ' in sql or '"duplicates" > 0' in sql for sql in read), read


def waiting() -> int:
    found = count_rows(STATES)
    return sum(n for (state, _), (n, _) in found.items() if state in counting.WAIT_FOR_A_PERSON)


def test_events_that_wait_for_a_person_are_counted_within_minutes() -> None:
    parked = {"state": State.PARKED, "next_attempt_at": None}
    old = [WebhookEventFactory(**parked) for _ in range(3)] + [WebhookEventFactory(state=State.DONE)]
    for _ in range(2):
        assert waiting() == 3
        minutes_pass()
    assert waiting() == 3
    new = WebhookEventFactory(**parked)
    assert waiting() == 4, "of a new one it is known at once"
    WebhookEvent.objects.filter(pk__in=(old[0].pk, new.pk)).update(state=State.DONE)
    WebhookEvent.objects.filter(pk=old[3].pk).update(state=State.DEAD)
    for _ in range(2):
        waiting()
        minutes_pass()
    assert waiting() == 3


def test_a_scrape_reads_no_old_event_that_waits_for_a_person() -> None:
    WebhookEventFactory.create_batch(3, state=State.DEAD, next_attempt_at=None)
    for _ in range(3):
        count_rows(STATES)
        minutes_pass()
    count_rows(STATES)
    with CaptureQueriesContext(connection) as queries:
        count_rows(STATES)
    read = [one["sql"] for one in queries if "GROUP BY" in one["sql"]]
    assert len(read) == 1 and '"id" > ' in read[0], read


def test_a_row_that_is_committed_late_is_counted() -> None:
    """Its id is lower than that of a row which was counted before it: the newest of minutes ago is the limit."""
    late = WebhookEventFactory(source="crm").pk
    newest = WebhookEventFactory(source="crm")
    count_rows(EVENTS)
    assert Counted.objects.get().next_up_to == newest.pk
    minutes_pass()
    WebhookEventFactory.create_batch(2, source="crm")
    assert count_rows(EVENTS) == {("crm", "shop", 1): (4, 0)}
    assert Counted.objects.get().up_to == newest.pk >= late


def test_two_that_count_at_the_same_time_remember_it_once(monkeypatch: pytest.MonkeyPatch) -> None:
    AttemptFactory.create_batch(2)
    count_rows(ATTEMPTS)
    minutes_pass()
    real = counting._read

    def meanwhile(*arguments: Any) -> Any:
        monkeypatch.setattr(counting, "_read", real)
        count_rows(ATTEMPTS)
        return real(*arguments)

    monkeypatch.setattr(counting, "_read", meanwhile)
    count_rows(ATTEMPTS)
    assert sum(n for n, _ in count_rows(ATTEMPTS).values()) == 2
