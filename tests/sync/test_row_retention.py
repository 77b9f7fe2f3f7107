"""Attempts and calls go after ROWS_RETENTION_DAYS; what counts and tells of them does not."""

import json
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db.models import Sum
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from orders.verification import Checkup
from sync.jobs import pruning
from sync.models import Attempt, Call, Counted, HourlyFigure, Run
from sync.monitoring import counting, hourly
from sync.monitoring.counting import ATTEMPTS, CALLS, count_rows
from tests.factories import (
    AttemptFactory,
    CallFactory,
    OrderLinkFactory,
    StatusTransitionFactory,
    WebhookEventFactory,
)
from tests.people import signed_in
from webhooks.connections import Bridge, Connection
from webhooks.models import State

pytestmark = pytest.mark.django_db(transaction=True)
NOW = timezone.now()
OLD, YOUNG = NOW - timedelta(days=366), NOW - timedelta(days=364)
DONE = {"state": State.DONE, "outcome": "applied", "next_attempt_at": None}


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    monkeypatch.setattr(pruning, "_give_way", lambda since: None)
    settings.ROWS_RETENTION_DAYS = 365


def attempt(at: Any = OLD, calls: int = 2, **fields: Any) -> Attempt:
    event = WebhookEventFactory(received_at=at, finished_at=at, **{**DONE, **fields})
    made: Attempt = AttemptFactory(event=event, started_at=at)
    for number in range(calls):
        CallFactory(attempt=made, at=at, milliseconds=10 + number)
    return made


def prune(*args: str) -> dict[str, Any]:
    out = StringIO()
    call_command("prune", "--json", *args, stdout=out)
    told: dict[str, Any] = json.loads(out.getvalue())
    return told


def kept() -> set[int]:
    return set(Attempt.objects.values_list("pk", flat=True))


def counted() -> list[int]:
    return [sum(n for n, _ in count_rows(table).values()) for table in (ATTEMPTS, CALLS)]


def said(client: Client, url: str) -> str:
    return client.get(url).content.decode()


def test_what_is_past_its_days_goes_with_its_calls() -> None:
    old, young = attempt(), attempt(YOUNG)
    told = prune()
    assert (told["attempts"], told["rows_days"]) == (1, 365)
    assert kept() == {young.pk}
    assert set(Call.objects.values_list("attempt", flat=True)) == {young.pk}
    old.event.refresh_from_db()
    assert (old.event.state, old.event.outcome) == (State.DONE, "applied")


@pytest.mark.parametrize("state", [state for state in State if state != State.DONE])
def test_of_what_waits_every_attempt_is_kept_until_it_is_done(state: State) -> None:
    waits = attempt(state=state, next_attempt_at=None if state in (State.PARKED, State.DEAD) else NOW)
    assert prune()["attempts"] == 0
    assert kept() == {waits.pk}
    type(waits.event).objects.filter(pk=waits.event_id).update(**DONE)
    assert prune()["attempts"] == 1


@pytest.mark.parametrize("scraped", ["never", "just now", "some time ago"])
def test_no_counter_falls(monkeypatch: pytest.MonkeyPatch, scraped: str) -> None:
    monkeypatch.setattr(pruning, "PAGE", 2)
    for number in range(5):
        attempt(calls=number)
    CallFactory(attempt=attempt(), at=OLD, is_shared=True)
    attempt(YOUNG)
    if scraped != "never":
        counted()
    if scraped == "some time ago":
        Counted.objects.update(next_at=OLD)
        counted()
    assert prune()["attempts"] == 6
    assert counted() == [7, 0 + 1 + 2 + 3 + 4 + 2 + 2]
    Counted.objects.update(next_at=OLD)
    assert counted() == counted() == [7, 14]


def test_a_scrape_during_the_removal_counts_every_row_once(monkeypatch: pytest.MonkeyPatch) -> None:
    attempt()
    counted()
    real, once = counting._remembered, [prune]

    def remembered(table: counting.Growing, known: Counted) -> Any:
        if once:
            once.pop()()  # all of it, between the scrape's look at what is remembered and its look at the rows
        return real(table, known)

    monkeypatch.setattr(counting, "_remembered", remembered)
    assert counted() == [1, 2]
    assert kept() == set()


def test_hourly_figures_outlive_the_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pruning, "PAGE", 1)
    hour = OLD.replace(minute=0, second=0, microsecond=0)
    first, *_ = (attempt(hour + timedelta(minutes=minute)) for minute in (1, 59))
    attempt(hour + timedelta(minutes=60), calls=0)
    CallFactory(attempt=first, at=hour, status=None, milliseconds=99)
    prune()
    rows = HourlyFigure.objects.order_by("hour", "what", "result")
    assert list(rows.values_list("hour", "what", "side", "result", "count", "milliseconds", "slowest")) == [
        (hour, "attempt", "shop", "applied", 2, 240, 120),
        (hour, "call", "crm", "0", 1, 99, 99),
        (hour, "call", "crm", "200", 4, 42, 11),
        (hour + timedelta(hours=1), "attempt", "shop", "applied", 1, 120, 120),
    ]
    page = said(signed_in("viewer"), "/admin/sync/hourlyfigure/?what=call")
    assert ">99<" in page and ">120<" not in page


def rolled_up(at: Any) -> dict[str, int]:
    """As some minutes later, when no older row can be on its way."""
    for _ in range(2):
        hourly.roll_up()
        Counted.objects.filter(pk=hourly.MARK).update(next_at=at - timedelta(hours=1))
    hourly.roll_up()
    return figures()


def figures() -> dict[str, int]:
    rows = HourlyFigure.objects.order_by().values_list("what").annotate(n=Sum("count"))
    return dict(rows)


def test_figures_are_added_up_once_and_stay_as_they_are_when_the_rows_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hourly, "PAGE", 2)
    for at in (OLD, OLD, OLD, YOUNG):
        attempt(at)
    assert rolled_up(NOW) == {"attempt": 4, "call": 8}
    attempt(YOUNG, calls=0)
    assert rolled_up(NOW) == {"attempt": 5, "call": 8}
    before = list(HourlyFigure.objects.order_by("pk").values())
    assert prune()["attempts"] == 3
    rolled_up(NOW)
    assert list(HourlyFigure.objects.order_by("pk").values()) == before


def test_what_an_upgrade_finds_is_added_up_a_little_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also if the night comes before it is done."""
    monkeypatch.setattr(hourly, "PAGE", 1)
    monkeypatch.setattr(hourly, "PAGES", 2)
    for at in (OLD, OLD, OLD, YOUNG):
        attempt(at, calls=0)
    hourly.roll_up()
    assert figures() == {"attempt": 2}
    prune()
    assert figures() == {"attempt": 3}
    assert rolled_up(NOW) == {"attempt": 4}


def test_an_attempt_that_is_recorded_late_is_not_passed_over() -> None:
    """It had its number before the others, and is seen after them."""
    late, early = attempt(YOUNG, calls=0), attempt(YOUNG, calls=0)
    row = Attempt.objects.filter(pk=late.pk).values().get()
    Attempt.objects.filter(pk=late.pk).delete()
    Counted.objects.create(table=hourly.MARK, next_up_to=0)
    hourly.roll_up()  # sees the early one, and waits for who may still come
    assert figures() == {}
    Attempt.objects.create(**row)
    assert rolled_up(NOW) == {"attempt": 2}
    assert early.pk > late.pk


def test_two_workers_add_each_attempt_once(monkeypatch: pytest.MonkeyPatch) -> None:
    attempt(calls=0)
    real, once = hourly.read, [hourly.roll_up]

    def read(page: Any) -> Any:
        if once:
            once.pop()()  # all of it, between the other's look and its write
        return real(page)

    monkeypatch.setattr(hourly, "read", read)
    hourly.roll_up()
    assert figures() == {"attempt": 1}


def test_each_bridge_has_figures_of_its_own() -> None:
    shop = Connection.objects.create(slug="shop-2", name="Shop 2", kind="woocommerce", settings={"url": "https://two"})
    other = Bridge.objects.create(slug="two", name="Two", shop=shop, external_id_prefix="b-")
    attempt(), attempt(bridge=other), attempt(bridge=other)
    prune()
    of_attempts = HourlyFigure.objects.filter(what="attempt").order_by("bridge")
    assert list(of_attempts.values_list("bridge__slug", "count")) == [("default", 1), ("two", 2)]
    calls = HourlyFigure.objects.filter(what="call").order_by("bridge")
    assert list(calls.values_list("bridge__slug", "count")) == [("default", 2), ("two", 4)]


@pytest.mark.parametrize("stop_after", range(1, 6))
def test_killed_after_any_step_it_ends_with_the_same_figures(monkeypatch: pytest.MonkeyPatch, stop_after: int) -> None:
    monkeypatch.setattr(pruning, "PAGE", 2)
    for _ in range(5):
        attempt(calls=1)
    run = pruning.start(actor="command")
    steps = pruning.job(run)
    for _ in range(stop_after):
        next(steps)
    # As `kill -9` leaves it: the rows of the last step are gone, and the run was not saved.
    Run.objects.filter(pk=run.pk).update(state=Run.State.PAUSED)
    prune()
    assert kept() == set()
    assert sum(HourlyFigure.objects.filter(what="attempt").values_list("count", flat=True)) == 5
    assert counted() == [5, 5]


def test_the_audit_verifies_and_the_pages_say_what_is_gone() -> None:
    link = OrderLinkFactory()
    old = attempt(order_ref=str(link.woo_id))
    StatusTransitionFactory(link=link, event=old.event, created_at=OLD)
    client = signed_in("viewer")
    event = reverse("admin:webhooks_webhookevent_change", args=[old.event_id])
    order = reverse("admin:orders_orderlink_change", args=[link.pk])
    assert "Delivery: 120 ms" in said(client, event)
    prune()
    checkup = Checkup()
    for _ in checkup.go_on():
        pass
    assert (checkup.seen["transitions"], checkup.findings) == (1, [])
    for url in (event, order):
        assert "removed after 365 days" in said(client, url)
    assert "Not yet" not in said(client, event) and "There are no attempts yet" not in said(client, event)
    out = StringIO()
    call_command("explain", str(link.woo_id), stdout=out)
    assert "removed after 365 days" in out.getvalue() and "transition" in out.getvalue()


def test_zero_days_keep_them_for_ever(settings: Any) -> None:
    settings.ROWS_RETENTION_DAYS = 0
    old = attempt()
    assert prune()["attempts"] == 0
    assert kept() == {old.pk}
    url = reverse("admin:webhooks_webhookevent_change", args=[old.event_id])
    assert "removed after" not in said(signed_in("viewer"), url)


@pytest.mark.parametrize("days", [-1, 1, 89])
def test_rows_do_not_go_before_what_they_say(settings: Any, days: int) -> None:
    settings.ROWS_RETENTION_DAYS = days
    old = attempt()
    with pytest.raises(
        CommandError, match=f"ROWS_RETENTION_DAYS={days} must not be less than RETENTION_DAYS"
    ) as raised:
        prune()
    assert raised.value.returncode == 1
    assert kept() == {old.pk}


def test_a_dry_run_counts_and_leaves_all_as_it_is() -> None:
    attempt(), attempt(YOUNG)
    before = list(Attempt.objects.values()), list(Call.objects.values())
    assert prune("--dry-run")["attempts"] == 1
    assert (list(Attempt.objects.values()), list(Call.objects.values())) == before
    assert not HourlyFigure.objects.exists() and not Counted.objects.exists()


def test_a_chart_of_ninety_days_is_the_same_before_and_after_the_rows_go(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webhooks.clock.now", lambda: NOW)  # no midnight comes meanwhile
    settings.RETENTION_DAYS = settings.ROWS_RETENTION_DAYS = 30
    for days, state in ((91, State.DONE), (89, State.DONE), (31, State.DEAD), (31, State.DONE), (29, State.DONE)):
        attempt(NOW - timedelta(days=days), state=state)
    attempt(NOW - timedelta(days=1))
    Attempt.objects.filter(event__state=State.DEAD).update(result="Unreachable")
    rolled_up(NOW)
    client = signed_in("viewer")

    def shown(query: str = "") -> list[Any]:
        context = client.get(f"/admin/sync/hourlyfigure/{query}").context
        attempts, calls = (json.loads(context[name]) for name in ("attempts", "calls"))
        return [len(attempts["labels"]), *([one["data"] for one in chart["datasets"]] for chart in (attempts, calls))]

    before = shown(), shown("?days=30"), shown("?what=call"), shown("?days=365")
    days, (failed, done), (shop, crm) = before[0]
    assert (days, sum(failed), sum(done), done[-2], done[-32], failed[-32]) == (90, 1, 4, 1, 1, 1)
    assert (crm[-2], shop[-2], crm[-3]) == (10, None, None), "a mean, and none on a day without calls"
    assert [sum(one) for one in before[1][1]] == [0, 2] and [sum(one) for one in before[2][1]] == [0, 0]
    assert [sum(one) for one in before[3][1]] == [1, 5]
    assert prune()["attempts"] == 3
    assert (shown(), shown("?days=30"), shown("?what=call"), shown("?days=365")) == before
