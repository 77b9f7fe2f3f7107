"""Attempts, replays and timelines in the back office."""

from collections.abc import Iterator
from typing import Any
from unittest.mock import Mock, patch

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.utils import timezone

from sync.models import Heartbeat, SideState
from tests.factories import (
    AttemptFactory,
    CallFactory,
    OrderLinkFactory,
    StatusTransitionFactory,
    WebhookEventFactory,
)
from webhooks.models import Side, State, WebhookEvent

pytestmark = pytest.mark.django_db
LIST = "/admin/webhooks/webhookevent/"


@pytest.fixture(autouse=True)
def wake() -> Iterator[Mock]:
    with patch("sync.pipeline.replays.wake") as woken:
        yield woken


def signed_in(*codenames: str) -> Client:
    user = User.objects.create_user("support", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    client = Client(enforce_csrf_checks=False)
    client.force_login(user)
    return client


@pytest.fixture
def viewer() -> Client:
    return signed_in("view_webhookevent")


@pytest.fixture
def support() -> Client:
    return signed_in("view_webhookevent", "replay_webhookevent")


@pytest.fixture
def dead() -> WebhookEvent:
    event: WebhookEvent = WebhookEventFactory(state=State.DEAD, next_attempt_at=None, attempts=12, reason="gave up")
    return event


def test_a_viewer_has_no_replay_button_and_may_not_replay(viewer: Client, dead: WebhookEvent) -> None:
    assert "/replay/" not in viewer.get(f"{LIST}{dead.pk}/change/").content.decode()
    assert "replay_selected" not in viewer.get(LIST).content.decode()
    assert viewer.get(f"{LIST}{dead.pk}/replay/").status_code == 403
    assert viewer.post(f"{LIST}{dead.pk}/replay/", {"reason": "x"}).status_code == 403
    viewer.post(LIST, {"action": "replay_selected", "_selected_action": dead.pk, "confirmed": "yes", "reason": "x"})
    dead.refresh_from_db()
    assert dead.state == State.DEAD


def test_the_replay_permission_alone_is_not_enough(dead: WebhookEvent) -> None:
    assert signed_in("replay_webhookevent").post(f"{LIST}{dead.pk}/replay/", {"reason": "x"}).status_code == 403


def test_a_get_only_asks(support: Client, dead: WebhookEvent, wake: Mock) -> None:
    assert f"{LIST}{dead.pk}/replay/" in support.get(f"{LIST}{dead.pk}/change/").content.decode()
    answer = support.get(f"{LIST}{dead.pk}/replay/", {"reason": "x", "confirmed": "yes"})
    assert (answer.status_code, "csrfmiddlewaretoken" in answer.content.decode()) == (200, True)
    dead.refresh_from_db()
    assert dead.state == State.DEAD
    wake.assert_not_called()


def test_support_replays_one_with_a_reason(support: Client, dead: WebhookEvent, wake: Mock) -> None:
    assert support.post(f"{LIST}{dead.pk}/replay/", {"reason": "CRM mended"}).status_code == 302
    dead.refresh_from_db()
    assert (dead.state, dead.attempts, dead.trigger, dead.requested_by) == (State.PENDING, 0, "replay", "support")
    wake.assert_called_once_with()
    assert "CRM mended" in support.get(f"{LIST}{dead.pk}/change/").content.decode()


def test_no_replay_without_a_reason(support: Client, dead: WebhookEvent) -> None:
    assert support.post(f"{LIST}{dead.pk}/replay/", {"reason": " "}).status_code == 200
    dead.refresh_from_db()
    assert dead.state == State.DEAD


def test_no_replay_without_the_csrf_token(admin_user: User, dead: WebhookEvent) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(admin_user)
    assert client.post(f"{LIST}{dead.pk}/replay/", {"reason": "x"}).status_code == 403


def test_an_unknown_event_cannot_be_replayed(support: Client) -> None:
    assert support.post(f"{LIST}999999/replay/", {"reason": "x"}).status_code == 404


def test_an_event_in_work_is_left_alone_and_said_so(support: Client, wake: Mock) -> None:
    event = WebhookEventFactory(state=State.PROCESSING)
    answer = support.post(f"{LIST}{event.pk}/replay/", {"reason": "x"}, follow=True)
    assert "so it is not replayed" in answer.content.decode()
    event.refresh_from_db()
    assert event.state == State.PROCESSING
    wake.assert_not_called()


def test_an_event_shows_its_attempts_and_their_calls(admin_client: Client) -> None:
    attempt = AttemptFactory(result="ServerTrouble", error="<script>alert(1)")
    CallFactory(attempt=attempt, status=502)
    page = admin_client.get(f"{LIST}{attempt.event_id}/change/").content.decode()
    assert "GET /orders/C-1 → 502 (12 ms)" in page
    assert "<script>alert(1)" not in page


def test_the_order_of_an_event_leads_to_its_timeline(admin_client: Client) -> None:
    link = OrderLinkFactory(woo_id=5, crm_order_id="6")
    other = OrderLinkFactory(woo_id=6, crm_order_id="7")
    from_shop = WebhookEventFactory(order_ref="6")
    from_crm = WebhookEventFactory(order_ref="6", side=Side.CRM, source="crm")
    unlinked = WebhookEventFactory(order_ref="8")
    assert admin_client.get(f"{LIST}{from_shop.pk}/order/")["Location"] == f"/admin/orders/orderlink/{other.pk}/change/"
    assert admin_client.get(f"{LIST}{from_crm.pk}/order/")["Location"] == f"/admin/orders/orderlink/{link.pk}/change/"
    events = admin_client.get(f"{LIST}{unlinked.pk}/order/", follow=True)
    assert list(events.context["cl"].queryset) == [unlinked]


def test_an_order_shows_its_timeline(admin_client: Client) -> None:
    link = OrderLinkFactory(woo_id=5)
    WebhookEventFactory(order_ref="5", reason="<script>alert(1)")
    StatusTransitionFactory(link=link, reason="paid in full")
    page = admin_client.get(f"/admin/orders/orderlink/{link.pk}/change/").content.decode()
    assert "processing → completed applied: paid in full" in page
    assert "<script>alert(1)" not in page
    assert admin_client.get("/admin/orders/orderlink/999999/change/").status_code == 302


def test_an_attempt_is_read_and_not_touched(admin_client: Client) -> None:
    call = CallFactory(response_body="<script>alert(1)", attempt__reasons=[["newer", "version 3 after 2"]])
    url = f"/admin/sync/attempt/{call.attempt_id}/"
    page = admin_client.get(f"{url}change/").content.decode()
    assert "newer: version 3 after 2" in page
    assert "<script>alert(1)" not in page
    assert admin_client.post(f"{url}delete/", {"post": "yes"}).status_code == 403
    assert admin_client.get("/admin/sync/attempt/add/").status_code == 403


@pytest.mark.parametrize(
    "path", ["", "sync/attempt/", "sync/sidestate/", "sync/heartbeat/", "auth/user/", "auth/group/"]
)
def test_each_page_opens(admin_client: Client, path: str) -> None:
    AttemptFactory()
    SideState.objects.get_or_create(name=Side.SHOP)
    Heartbeat.objects.create(worker="host/1", at=timezone.now())
    assert admin_client.get(f"/admin/{path}").status_code == 200


def test_user_pages_open(admin_client: Client, admin_user: User) -> None:
    for path in ("add/", f"{admin_user.pk}/change/", f"{admin_user.pk}/password/"):
        assert admin_client.get(f"/admin/auth/user/{path}").status_code == 200


@pytest.mark.parametrize("path", ["django_q/failure/", "django_q/success/", "sync/intent/", "sync/lease/"])
def test_what_would_lose_history_has_no_page(admin_client: Client, path: str) -> None:
    assert admin_client.get(f"/admin/{path}").status_code == 404


@pytest.mark.parametrize("rows", [3, 25])
def test_the_list_says_what_each_event_did_in_the_same_few_queries(
    admin_client: Client, rows: int, django_assert_max_num_queries: Any
) -> None:
    link = OrderLinkFactory()
    for _ in range(rows):
        done = {"state": State.DONE, "outcome": "applied", "next_attempt_at": None}
        StatusTransitionFactory(link=link, event=WebhookEventFactory(**done))
    with django_assert_max_num_queries(11):
        page = admin_client.get(LIST).content.decode()
    assert page.count("processing → completed") == rows
