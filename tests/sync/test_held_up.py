"""A key that is revoked and a limit that is used up: orders wait, use no attempts up, and people hear of it once."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from sync.alarms import open_alarms
from sync.models import SideState
from sync.monitoring import lasting
from tests import pipeline
from tests.factories import WebhookEventFactory
from tests.sync.conftest import TwoSides
from webhooks.models import State, WebhookEvent

ORDERS = 10


def wait(sides: TwoSides) -> list[WebhookEvent]:
    """Their events, looked at until nothing more can be done."""
    events = [WebhookEventFactory(order_ref=str(woo_id)) for woo_id in sides.orders(ORDERS)]
    while pipeline.work_once():
        pass
    return events


def attempts() -> set[int]:
    return set(WebhookEvent.objects.values_list("attempts", flat=True))


def crm() -> SideState:
    return SideState.objects.get(name="crm")


@pytest.mark.parametrize("threads", [1, 4])
def test_a_revoked_key_uses_no_attempts_up_and_is_one_alarm(two_sides: TwoSides, settings: Any, threads: int) -> None:
    settings.QUEUE_THREADS = threads
    settings.CRM_TOKEN = "revoked"
    wait(two_sides)
    assert attempts() == {0}
    assert set(WebhookEvent.objects.values_list("state", flat=True)) <= {State.PENDING, State.RETRYING}
    assert crm().opened_at
    SideState.objects.filter(name="crm").update(opened_at=timezone.now() - timedelta(days=1))
    for _ in range(2):
        lasting.on_schedule()
    [alarm] = open_alarms()
    assert alarm.key == "away:crm" and "401" in alarm.words
    settings.CRM_TOKEN = "crm-token"
    pipeline.work_since_it_is_mended("crm")
    assert set(WebhookEvent.objects.values_list("state", flat=True)) == {State.DONE}
    assert len(two_sides.crm.creates) == ORDERS
    lasting.on_schedule()
    assert not open_alarms().exists()


def test_a_refusal_while_orders_can_be_read_is_those_orders_fault(two_sides: TwoSides, settings: Any) -> None:
    settings.RETRY_MAX_ATTEMPTS = 2
    two_sides.crm.faults.add("403", method="POST")
    wait(two_sides)
    assert attempts() == {2}
    assert crm().opened_at is None


@pytest.mark.parametrize("threads", [1, 4])
def test_a_limit_that_is_used_up_is_waited_for_and_said(two_sides: TwoSides, settings: Any, threads: int) -> None:
    settings.QUEUE_THREADS = threads
    two_sides.crm.faults.add("429", method="POST", after=18 * 3600)
    wait(two_sides)
    assert attempts() == {0}
    until = crm().wait_until
    assert until and timedelta(hours=17) < until - timezone.now() <= timedelta(hours=18)
    day = f"{until:%Y-%m-%d %H:%M} UTC"
    asked = [event for event in WebhookEvent.objects.order_by("pk") if event.reason]
    assert asked and all("until 20" in event.reason for event in asked)
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    page = client.get(reverse("admin:webhooks_webhookevent_change", args=[asked[0].pk])).content.decode()
    assert f"asked us to wait until {day}. No attempt is used up." in page
    assert day in client.get("/admin/").content.decode()
    assert day in client.get(reverse("admin:sync_sidestate_changelist")).content.decode()
    lasting.on_schedule()
    [alarm] = open_alarms()
    assert alarm.key == "limited:crm" and day in alarm.words
    two_sides.crm.faults.clear()
    SideState.objects.filter(name="crm").update(wait_until=timezone.now() - timedelta(hours=1))
    while pipeline.work_once():
        pass
    assert len(two_sides.crm.creates) == ORDERS
    lasting.on_schedule()
    assert not open_alarms().exists()
