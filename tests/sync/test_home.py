"""The home page tells the truth, and offers the button that mends to those who may press it."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client
from django.utils import timezone

from orders.models import StaffAction
from sync.admin.home import summary_items
from sync.models import Alarm, DriftFinding, Heartbeat, SideState
from sync.monitoring import overview, todo
from tests.factories import OrderLinkFactory, WebhookEventFactory
from webhooks.models import Outcome, State, WebhookEvent

pytestmark = pytest.mark.django_db
NOW = timezone.now


def signed_in(role: str) -> Client:
    user = User.objects.create_user(role, password="x", is_staff=True)
    user.groups.add(Group.objects.get(name=role))
    client = Client()
    client.force_login(user)
    return client


def home(role: str = "viewer") -> str:
    return signed_in(role).get("/admin/").content.decode()


def test_all_is_well() -> None:
    Heartbeat.objects.create(worker="host:1", at=NOW())
    page = home()
    assert "1 alive" in page
    assert 'role="alert"' not in page


def test_whoever_has_no_role_is_told_how_to_get_one() -> None:
    client = Client()
    client.force_login(User.objects.create_user("new", password="x", is_staff=True))
    assert "add you to a group" in client.get("/admin/").content.decode()


def test_no_worker_alive_is_an_alarm_with_advice() -> None:
    Heartbeat.objects.create(worker="host:1", at=NOW() - timedelta(hours=1))
    page = home()
    assert "No worker is alive" in page
    assert "manage.py qcluster" in page


def test_a_breaker_that_is_open_shows_why_and_who_may_pauses_sides_may_probe() -> None:
    SideState.objects.filter(name="crm").update(opened_at=NOW(), last_error="Connection refused")
    assert "Connection refused" in home("viewer")
    assert "/admin/sync/sidestate/crm/probe" not in home("support")
    assert "/admin/sync/sidestate/crm/probe" in home("operator")


def test_a_side_that_asked_for_patience_is_shown_with_its_reason_and_may_be_probed() -> None:
    until = NOW() + timedelta(minutes=9)
    SideState.objects.filter(name="shop").update(wait_until=until, last_error="GET on the shop: 429")
    page = home("operator")
    assert f"{until:%H:%M:%S} UTC" in page and "GET on the shop: 429" in page
    assert "/admin/sync/sidestate/shop/probe" in page
    SideState.objects.filter(name="shop").update(wait_until=NOW() - timedelta(seconds=1))
    assert "GET on the shop: 429" not in home("support")


@pytest.mark.parametrize(
    ("secrets", "poll", "shown"),
    [
        (["a secret"], 0, ("Last delivery from the CRM", "none recently", "watch")),
        ([], 0, ("CRM is asked", "every 5 minutes", "good")),
        ([], 30, ("CRM is asked", "every 30 seconds", "good")),
        (["a secret"], 30, ("CRM is asked", "every 30 seconds", "good")),
    ],
)
def test_a_crm_that_has_no_webhooks_is_not_said_to_be_silent(
    settings: Any, secrets: list[str], poll: int, shown: tuple[str, str, str]
) -> None:
    settings.CRM_WEBHOOK_SECRETS, settings.CRM_POLL_SECONDS, settings.RECONCILE_MINUTES = secrets, poll, 5
    items = summary_items(overview.status_summary(NOW()), NOW())
    assert shown in [(one.label, one.value, one.level) for one in items]


def test_an_open_alarm_stands_there_until_it_is_over() -> None:
    Alarm.objects.create(key="silence:shop", words="The shop is silent.", advice="Look at its webhooks.")
    Alarm.objects.create(key="silence:crm", words="The CRM was silent.", advice="", cleared_at=NOW())
    page = home()
    assert "The shop is silent." in page
    assert "The CRM was silent." not in page


def test_what_needs_a_person_is_counted_and_named() -> None:
    WebhookEventFactory(state=State.PARKED, next_attempt_at=None, reason="status 'teleported' has no rule")
    WebhookEventFactory(state=State.DEAD, next_attempt_at=None, reason="given up")
    DriftFinding.objects.create(kind="status", woo_id=14)
    DriftFinding.objects.create(kind="status", woo_id=15, ignored_until=NOW() + timedelta(days=1))
    seen = overview.status_summary(NOW())
    assert (seen.parked, seen.dead, seen.drift) == (1, 1, 1)
    todo.refresh()
    assert "teleported" in home()


def test_an_hour_counts_what_came_what_took_effect_and_what_failed() -> None:
    came = NOW()
    done: dict[str, Any] = {"state": State.DONE, "next_attempt_at": None, "received_at": came}
    WebhookEventFactory(**done, outcome=Outcome.APPLIED, finished_at=came + timedelta(seconds=2))
    WebhookEventFactory(**done, outcome=Outcome.NO_CHANGE, finished_at=came + timedelta(seconds=4))
    WebhookEventFactory(state=State.DEAD, next_attempt_at=None, received_at=came)
    WebhookEventFactory(received_at=came - timedelta(days=2))
    hours = list(overview._hours(came))
    assert len(hours) == overview.HOURS
    assert (hours[-1].received, hours[-1].effects, hours[-1].failed, hours[-1].latency) == (3, 1, 1, 3.0)
    assert sum(hour.received for hour in hours) == 3


def test_the_home_page_costs_few_queries(django_assert_max_num_queries: Any) -> None:
    for _ in range(5):
        WebhookEventFactory(state=State.PARKED, next_attempt_at=None)
    client = signed_in("viewer")
    overview.hours(NOW())
    with django_assert_max_num_queries(25):
        client.get("/admin/")


def test_an_operator_pauses_a_side_with_a_reason_and_lets_it_go_on() -> None:
    client = signed_in("operator")
    assert "Pause: Shop" in client.get("/admin/sync/sidestate/shop/pause/").content.decode()
    assert not SideState.objects.get(name="shop").paused
    client.post("/admin/sync/sidestate/shop/pause/", {"confirmed": "yes", "reason": ""})
    assert not SideState.objects.get(name="shop").paused
    client.post("/admin/sync/sidestate/shop/pause/", {"confirmed": "yes", "reason": "maintenance"})
    assert SideState.objects.get(name="shop").paused
    done = StaffAction.objects.get()
    assert (done.action, done.actor, done.reason) == ("side: pause", "operator", "maintenance")
    client.post("/admin/sync/sidestate/shop/go-on/", {"confirmed": "yes", "reason": "over"})
    assert not SideState.objects.get(name="shop").paused


def test_support_may_not_pause() -> None:
    answer = signed_in("support").post("/admin/sync/sidestate/shop/pause/", {"confirmed": "yes", "reason": "x"})
    assert answer.status_code == 403
    assert not SideState.objects.get(name="shop").paused


def test_a_finding_is_ignored_until_a_day_to_come() -> None:
    finding = DriftFinding.objects.create(kind="ahead", woo_id=14)
    client, url = signed_in("operator"), f"/admin/sync/driftfinding/{finding.pk}/ignore/"
    client.post(url, {"confirmed": "yes", "reason": "x", "until": "2020-01-01"})
    assert DriftFinding.objects.open(NOW()).exists()
    until = NOW().date() + timedelta(days=9)
    client.post(url, {"confirmed": "yes", "reason": "customer away", "until": f"{until}"})
    assert not DriftFinding.objects.open(NOW()).exists()
    shown = [
        client.get("/admin/sync/driftfinding/", query).context["cl"].result_count
        for query in ({}, {"standing": "ignored"})
    ]
    assert shown == [0, 1]


def test_selected_findings_are_repaired_by_the_path_of_an_event() -> None:
    link = OrderLinkFactory()
    finding = DriftFinding.objects.create(kind="status", woo_id=link.woo_id)
    client, url = signed_in("support"), "/admin/sync/driftfinding/"
    chosen = {"action": "repair_selected", "_selected_action": [finding.pk]}
    page = client.post(url, chosen).content.decode()
    assert "1 orders" in page
    assert not WebhookEvent.objects.exists()
    client.post(url, {**chosen, "confirmed": "yes", "reason": "asked"})
    event = WebhookEvent.objects.get()
    assert (event.source, event.order_ref, event.requested_by) == ("resync", link.crm_order_id, "support")
