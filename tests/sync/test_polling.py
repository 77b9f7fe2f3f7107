"""A CRM is asked what changed as often as its connection says: by one worker, cheaply, and not while it is away."""

import threading
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone
from django_q.models import OrmQ
from django_q.signing import SignedPackage

from orders.models import OrderLink
from sync import checks, tasks
from sync.clients.crm.rest import RestCrm
from sync.clients.errors import TooLarge
from sync.clients.snapshots import CrmSnapshot
from sync.jobs import engine, polling, reconciliation
from sync.models import Run, SideState
from sync.queue import polls, schedules
from tests import pipeline
from tests.sync.conftest import TwoSides
from tests.sync.connecting import CRM_VALUES, crm, manager, page  # noqa: F401  fixtures
from webhooks.connections import WOOCOMMERCE, Bridge, Connection
from webhooks.models import WebhookEvent


@pytest.fixture
def polled(two_sides: TwoSides, settings: Any) -> TwoSides:
    """A pair that reconcile has seen."""
    settings.CRM_POLL_SECONDS = 30
    order = two_sides.shop.create_order(status="pending")
    made = two_sides.crm.add_order(str(order["id"]))
    linked = {"woo_id": order["id"], "crm_order_id": made["id"], "external_id": str(order["id"])}
    OrderLink.objects.create(**linked, crm_status="new", crm_version=1, woo_status="pending")
    assert engine.carry_out(reconciliation.start(actor="command"))
    while pipeline.work_once():
        pass
    two_sides.forget_calls()
    return two_sides


def come_due() -> None:
    SideState.objects.update(poll_at=timezone.now() - timedelta(seconds=1))


def calls(sides: TwoSides) -> Counter[str]:
    return Counter(f"{call.method} {call.path.partition('?')[0]}" for call in sides.crm.requests)


def test_a_change_comes_to_the_shop_without_a_run(polled: TwoSides) -> None:
    link, runs = OrderLink.objects.get(), Run.objects.count()
    polled.crm.set_status(link.crm_order_id, "paid")
    tasks.poll()
    while pipeline.work_once():
        pass
    assert polled.shop.orders[link.woo_id]["status"] == "processing"
    assert Run.objects.count() == runs
    come_due()
    tasks.poll()
    assert not WebhookEvent.objects.unfinished().exists(), "what is known by now is no news"


def test_while_nothing_changes_a_poll_is_one_call_and_comes_when_it_is_due(polled: TwoSides) -> None:
    assert polls.is_due()
    for _ in range(3):
        tasks.poll()
    assert calls(polled) == {"GET /orders": 1}
    assert not polls.is_due()
    come_due()
    tasks.poll()
    assert calls(polled) == {"GET /orders": 2}
    assert not polled.shop.requests


def test_of_all_workers_one_asks(polled: TwoSides, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    others = [threading.Thread(target=one) for one in [_other] * 2]

    def slow(slug: str) -> None:
        asked.append(slug)
        if len(asked) == 1:
            for thread in others:
                thread.start()
            for thread in others:
                thread.join(30)

    monkeypatch.setattr(polling, "_poll", slow)
    tasks.poll()
    assert asked == ["crm"]


def _other() -> None:
    try:
        tasks.poll()
    finally:
        connection.close()


def test_one_that_died_keeps_the_others_away_for_a_while_only(polled: TwoSides) -> None:
    with polls.turn("crm", 30) as is_ours:
        assert is_ours
        held = SideState.objects.get(name="crm").poll_at
    SideState.objects.update(poll_at=held)  # it never got to the end of it
    tasks.poll()
    assert not polled.crm.requests
    assert held is not None
    assert held <= timezone.now() + polls.LEASE
    come_due()
    tasks.poll()
    assert polled.crm.requests


def test_a_crm_that_is_away_is_asked_no_more_often_than_its_breaker_allows(polled: TwoSides, settings: Any) -> None:
    settings.BREAKER_THRESHOLD, settings.RETRY_MAX_SECONDS = 2, 21600.0
    settings.RETRY_BASE_SECONDS = 5.0
    polled.crm.stop()
    for _ in range(10):
        come_due()
        tasks.poll()
    side = SideState.objects.get(name="crm")
    assert side.opened_at is not None
    assert side.failures == 2, "from then on nobody called"
    assert not WebhookEvent.objects.unfinished().exists()
    polled.crm.start()
    SideState.objects.update(probe_at=timezone.now())
    come_due()
    tasks.poll()
    assert SideState.objects.get(name="crm").opened_at is None


@pytest.mark.parametrize("why", ["no cursor yet", "crm paused", "shop paused", "bridge paused", "not configured"])
def test_nobody_is_asked_where_nobody_is_to_be(polled: TwoSides, settings: Any, why: str) -> None:
    match why:
        case "no cursor yet":
            SideState.objects.update(cursor={})
        case "crm paused" | "shop paused":
            SideState.objects.filter(name=why.split()[0]).update(paused=True)
        case "bridge paused":
            Bridge.objects.update(state=Bridge.State.PAUSED)
        case "not configured":
            settings.CRM_URL = ""
    tasks.poll()
    assert not polled.crm.requests
    assert not SideState.objects.exclude(failures=0).exists()


def test_what_its_list_cannot_show_is_left_to_reconcile(polled: TwoSides, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(self: RestCrm, since: datetime) -> Iterator[CrmSnapshot]:
        raise TooLarge("a page of 5 MB", side="crm")

    monkeypatch.setattr(RestCrm, "changed_since", fails)
    before = SideState.objects.get(name="crm")
    tasks.poll()
    side = SideState.objects.get(name="crm")
    assert (side.cursor, side.failures) == (before.cursor, 0)
    assert calls(polled) == {"GET /orders": 1}, "the ping, which shows that it is the page"


def test_a_connection_whose_credentials_are_lost_keeps_no_other_from_its_turn(polled: TwoSides) -> None:
    said = {"kind": "rest", "settings": {"url": polled.crm.url, "poll_seconds": "30"}, "credentials": "of another key"}
    lost = Connection.objects.create(pk=0, slug="lost", name="Lost", **said)
    shop = Connection.objects.create(slug="shop-b", name="Shop B", kind=WOOCOMMERCE)
    Bridge.objects.create(slug="b", name="B", shop=shop, crm=lost, state="on", external_id_prefix="b-")
    SideState.objects.get_or_create(name="lost")
    assert list(polls.wanted()) == ["lost", "crm"]
    tasks.poll()
    assert calls(polled) == {"GET /orders": 1}


@pytest.mark.parametrize(
    ("seconds", "every", "warns"),
    [(0, 0, 0), (29, 30, 1), (30, 30, 0), (600, 600, 0), (-1, 0, 1), (100_000, 86_400, 1)],
)
def test_how_often_is_said_by_the_environment(db: None, settings: Any, seconds: int, every: int, warns: int) -> None:
    settings.CRM_POLL_SECONDS = seconds
    assert polls.wanted() == ({"crm": every} if every else {})
    assert sum("CRM_POLL_SECONDS" in one.msg for one in checks.numbers_make_sense()) == warns


def test_the_cluster_hands_a_poll_out_when_one_is_due(polled: TwoSides, settings: Any) -> None:
    def handed_out() -> int:
        schedules.enqueue_due()
        named = [SignedPackage.loads(payload)["func"] for payload in OrmQ.objects.values_list("payload", flat=True)]
        OrmQ.objects.all().delete()
        return named.count("sync.tasks.poll")

    assert handed_out() == 1
    tasks.poll()
    assert handed_out() == 0
    come_due()
    settings.CRM_POLL_SECONDS = 0
    assert handed_out() == 0


@pytest.mark.parametrize(
    ("given", "is_taken"), [("", True), ("30", True), ("29", False), ("often", False), ("-5", False)]
)
def test_a_connection_of_the_back_office_says_it_in_its_form(
    manager: Client,  # noqa: F811
    crm: Any,  # noqa: F811
    given: str,
    is_taken: bool,
) -> None:
    values = {"name": "Other", "url": crm.url, **CRM_VALUES, "poll_seconds": given}
    answer = manager.post(page("connection_add_crm", "rest"), values)
    assert (answer.status_code == 302) is is_taken
    if is_taken:
        assert polls.wanted() == ({"other": 30} if given else {})
        assert Connection.objects.get(slug="other").settings["poll_seconds"] == given


@pytest.mark.parametrize("said", ["100000", "999999999999999"])
def test_one_that_is_asked_more_seldom_than_once_a_day_is_asked_daily(
    polled: TwoSides, settings: Any, said: str
) -> None:
    settings.CRM_POLL_SECONDS = int(said)
    tasks.poll()
    tasks.poll()
    assert calls(polled) == {"GET /orders": 1}
