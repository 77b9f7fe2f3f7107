"""What staff can do with one event, who may, and what the audit keeps of it."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from unittest.mock import Mock, patch

import pytest
from django.contrib.auth.models import Permission
from django.test import Client
from django.utils import timezone

from orders.models import OrderLink, StaffAction
from sync.pipeline import internal_events
from sync.pipeline.claim import due_orders
from tests.factories import AttemptFactory, OrderLinkFactory, WebhookEventFactory
from tests.test_roles import ALL, MAY, person
from webhooks.models import Outcome, State, WebhookEvent

pytestmark = pytest.mark.django_db
LIST = "/admin/webhooks/webhookevent/"
LATER = timedelta(hours=3)
NEEDS = {
    "replay": "webhooks.replay_webhookevent",
    "dry-run": "webhooks.replay_webhookevent",
    "retry": "webhooks.replay_webhookevent",
    "cancel": "webhooks.resolve_webhookevent",
    "resolve": "webhooks.resolve_webhookevent",
    "reveal": "webhooks.reveal_webhookevent",
}


@pytest.fixture(autouse=True)
def wake() -> Iterator[Mock]:
    with patch("sync.pipeline.replays.wake") as woken:
        yield woken


def signed_in(role: str, name: str = "") -> Client:
    client, user = Client(), person(role)
    if name:
        user.username = name
        user.save()
    client.force_login(user)
    return client


@pytest.fixture
def support() -> Client:
    return signed_in("support")


@pytest.fixture
def dead() -> WebhookEvent:
    event: WebhookEvent = WebhookEventFactory(
        state=State.DEAD, next_attempt_at=None, finished_at=timezone.now(), attempts=12, reason="502 for hours"
    )
    return event


@pytest.fixture
def retrying() -> WebhookEvent:
    event: WebhookEvent = WebhookEventFactory(
        state=State.RETRYING, next_attempt_at=timezone.now() + LATER, attempts=4, trigger="retry", reason="502"
    )
    return event


def do(client: Client, event: WebhookEvent, action: str, reason: str = "the CRM was mended", **more: str) -> str:
    """Press the button, give the reason, and read the page that comes."""
    answer = client.post(f"{LIST}{event.pk}/{action}/", {"reason": reason, "confirmed": "yes", **more}, follow=True)
    assert answer.status_code == 200
    event.refresh_from_db()
    return answer.content.decode()


# --- who may -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", NEEDS)
def test_an_action_is_for_those_who_have_its_permission(retrying: WebhookEvent, action: str) -> None:
    url = f"{LIST}{retrying.pk}/{action}/"
    for role in ALL:
        client, may = signed_in(role), role in MAY[NEEDS[action]]
        assert (url in client.get(f"{LIST}{retrying.pk}/change/").content.decode()) == may, role
        assert client.get(url).status_code == (200 if may else 403), role
        if not may:
            assert client.post(url, {"reason": "x", "confirmed": "yes"}).status_code == 403, role
    retrying.refresh_from_db()
    assert retrying.state == State.RETRYING
    assert not StaffAction.objects.exists()


@pytest.mark.parametrize("action", NEEDS)
def test_a_get_only_asks_and_a_post_without_a_reason_does_nothing(
    admin_client: Client, retrying: WebhookEvent, action: str
) -> None:
    url = f"{LIST}{retrying.pk}/{action}/"
    assert "csrfmiddlewaretoken" in admin_client.get(url, {"reason": "x", "confirmed": "yes"}).content.decode()
    assert "required" in admin_client.post(url, {"reason": " ", "confirmed": "yes"}).content.decode()
    before = WebhookEvent.objects.values().get()
    assert (before["state"], before["attempts"]) == (State.RETRYING, 4)
    assert not StaffAction.objects.exists()


@pytest.mark.parametrize("action", NEEDS)
def test_of_an_unknown_event_nothing_can_be_asked(admin_client: Client, action: str) -> None:
    assert admin_client.post(f"{LIST}999999/{action}/", {"reason": "x", "confirmed": "yes"}).status_code == 404


# --- replay --------------------------------------------------------------------------------------------------------


def test_a_replay_is_recorded_with_its_reason(support: Client, dead: WebhookEvent, wake: Mock) -> None:
    page = do(support, dead, "replay")
    assert (dead.state, dead.trigger, dead.requested_by) == (State.PENDING, "replay", "support")
    done = StaffAction.objects.get()
    assert (done.action, done.actor, done.reason, done.result, done.event_id) == (
        *("replay", "support", "the CRM was mended", "A worker was asked to replay it."),
        dead.pk,
    )
    assert "Replay by support" in page and "the CRM was mended" in page
    wake.assert_called_once_with()


@pytest.mark.parametrize(
    ("state", "words"),
    [(State.PENDING, "already waits for a worker"), (State.PROCESSING, "so it is not replayed")],
)
def test_what_a_worker_has_or_will_have_is_not_asked_for_twice(
    support: Client, wake: Mock, state: str, words: str
) -> None:
    event = WebhookEventFactory(state=state, requested_by="ada")
    page = do(support, event, "replay")
    assert words in page and "asked for by ada" in page
    assert event.state == state
    wake.assert_not_called()
    assert not StaffAction.objects.exists()


def test_of_two_who_looked_at_the_same_moment_one_replays(dead: WebhookEvent, wake: Mock) -> None:
    anna, bert = signed_in("support", "anna"), signed_in("operator", "bert")
    url = f"{LIST}{dead.pk}/replay/"
    seen = [client.get(url).context["form"]["as_seen"].value() for client in (anna, bert)]
    do(anna, dead, "replay", as_seen=seen[0])
    # The worker is quick: when the other one presses, the event is finished already.
    WebhookEvent.objects.filter(pk=dead.pk).update(
        state=State.DEAD, next_attempt_at=None, finished_at=timezone.now() + timedelta(seconds=1)
    )
    assert "has changed since you looked" in do(bert, dead, "replay", as_seen=seen[1])
    assert dead.state == State.DEAD
    wake.assert_called_once_with()
    assert [done.actor for done in StaffAction.objects.all()] == ["anna"]


def test_an_event_whose_body_is_past_its_retention_is_replayed(support: Client) -> None:
    event = WebhookEventFactory(body=b"", headers={}, state=State.DONE, outcome=Outcome.NO_CHANGE, next_attempt_at=None)
    assert "past its retention" in support.get(f"{LIST}{event.pk}/change/").content.decode()
    do(support, event, "replay")
    assert event.state == State.PENDING


def test_an_event_that_names_no_order_says_what_to_do_instead(support: Client, wake: Mock) -> None:
    event = WebhookEventFactory(order_ref="", body=b"", state=State.PARKED, next_attempt_at=None)
    assert "names no order" in do(support, event, "replay")
    assert "names no order" in do(support, event, "dry-run")
    assert event.state == State.PARKED
    wake.assert_not_called()


FINISHED: dict[str, Any] = {"next_attempt_at": None}
TRIED_AGAIN: dict[str, Any] = {"next_attempt_at": timezone.now() + LATER}
FORCES = {
    "done": {"state": State.DONE, **FINISHED},
    "parked": {"state": State.PARKED, **FINISHED},
    "dead": {"state": State.DEAD, **FINISHED},
    "retrying": {"state": State.RETRYING, **TRIED_AGAIN},
    "past its retention": {"state": State.DONE, "body": b"", **FINISHED},
}


def forced(link: OrderLink) -> WebhookEvent:
    return internal_events.force(link, to_status="cancelled", by="mia", reason="asked to")


def made_anew(link: OrderLink) -> WebhookEvent:
    return internal_events.make_anew(link, by="mia", reason="asked to")


def asked_some_day(link: OrderLink) -> WebhookEvent:
    """A action that there is not yet."""
    return WebhookEventFactory(source=internal_events.STAFF, topic="order.some_day", order_ref=str(link.woo_id))  # type: ignore[no-any-return]


@pytest.mark.cases_alike
@pytest.mark.parametrize("turn", range(3))
@pytest.mark.parametrize("number", range(len(FORCES)), ids=FORCES)
def test_a_staff_action_is_not_done_again_by_any_button(number: int, turn: int, wake: Mock) -> None:
    """Each action in each state, each role in each state, and each action by each role."""
    kind, ask = list(FORCES)[number], (forced, made_anew, asked_some_day)[turn]
    role = ("support", "operator", "manager")[(number + turn) % 3]
    client = signed_in(role)
    event = ask(OrderLinkFactory())
    WebhookEvent.objects.filter(pk=event.pk).update(**FORCES[kind])
    before = WebhookEvent.objects.filter(pk=event.pk).values().get()
    page = client.get(f"{LIST}{event.pk}/change/").content.decode()
    assert not any(f"{LIST}{event.pk}/{action}/" in page for action in ("replay", "retry", "edit"))
    assert "Ask for it again" in do(client, event, "replay")
    if kind == "retrying":
        assert "Ask for it again" in do(client, event, "retry")
    else:
        assert "Ask for it again" in do(client, event, "dry-run")
        do(client, event, "retry")
    client.post(f"{LIST}{event.pk}/edit/", {"body": '{"crm_order_id": "C-1"}', "reason": "x", "confirmed": "yes"})
    assert WebhookEvent.objects.values().get() == before
    assert not StaffAction.objects.exclude(action="dry run").exists()
    wake.assert_not_called()


@pytest.mark.parametrize("action", ["replay", "retry"])
@pytest.mark.parametrize(
    ("source", "missing"),
    [(internal_events.RESYNC, "orders.check_orderlink"), (internal_events.STAFF, "webhooks.edit_webhookevent")],
)
def test_a_permission_follows_what_the_event_does_not_the_button(
    action: str, source: str, missing: str, wake: Mock
) -> None:
    copy_of = WebhookEventFactory() if source == internal_events.STAFF else None
    event = WebhookEventFactory(source=source, copy_of=copy_of, state=State.RETRYING, **TRIED_AGAIN)
    url = f"{LIST}{event.pk}/{action}/"
    user = person("support")
    user.groups.clear()
    granted = ("view_webhookevent", "replay_webhookevent")
    user.user_permissions.set(Permission.objects.filter(codename__in=granted))
    client = Client()
    client.force_login(user)
    assert url not in client.get(f"{LIST}{event.pk}/change/").content.decode()
    assert [client.get(url).status_code, client.post(url, {"reason": "x"}).status_code] == [403, 403]
    wake.assert_not_called()
    user.user_permissions.add(Permission.objects.get(codename=missing.split(".")[1]))
    assert url in client.get(f"{LIST}{event.pk}/change/").content.decode()
    do(client, event, action)
    wake.assert_called_once_with()


# --- retries -------------------------------------------------------------------------------------------------------


def test_a_retry_is_brought_forward_and_its_attempts_stay_counted(
    support: Client, retrying: WebhookEvent, wake: Mock
) -> None:
    do(support, retrying, "retry")
    assert (retrying.state, retrying.attempts, retrying.requested_by) == (State.RETRYING, 4, "support")
    assert due_orders(1) == [(retrying.side, retrying.order_ref)]
    wake.assert_called_once_with()
    assert StaffAction.objects.get().action == "retry now"


def test_cancelled_retries_leave_the_event_to_a_person(support: Client, retrying: WebhookEvent) -> None:
    do(support, retrying, "cancel", "the customer gave up")
    assert (retrying.state, retrying.next_attempt_at) == (State.PARKED, None)
    assert retrying.reason == "Retries cancelled by support: the customer gave up. Before that: 502"
    assert not WebhookEvent.objects.unfinished().exists()
    assert StaffAction.objects.get().action == "cancel retries"


@pytest.mark.parametrize("action", ["retry", "cancel"])
def test_without_a_retry_there_is_none_to_move(support: Client, dead: WebhookEvent, wake: Mock, action: str) -> None:
    assert "does not wait for a retry" in do(support, dead, action)
    assert dead.state == State.DEAD
    wake.assert_not_called()
    assert not StaffAction.objects.exists()


@pytest.mark.parametrize("state", [State.PARKED, State.DEAD, State.RETRYING])
def test_what_was_seen_to_otherwise_is_marked_resolved(support: Client, state: str) -> None:
    due = timezone.now() + LATER if state == State.RETRYING else None
    event = WebhookEventFactory(state=state, next_attempt_at=due, reason="404")
    do(support, event, "resolve", "merged by hand")
    assert (event.state, event.outcome, event.next_attempt_at) == (State.DONE, Outcome.RESOLVED, None)
    assert event.reason == "Resolved by support: merged by hand. Before that: 404"
    assert event.finished_at is not None
    assert StaffAction.objects.get().reason == "merged by hand"


@pytest.mark.parametrize("state", [State.DONE, State.PENDING, State.PROCESSING])
def test_what_needs_nobody_cannot_be_resolved(support: Client, state: str) -> None:
    event = WebhookEventFactory(state=state, outcome=Outcome.APPLIED if state == State.DONE else "")
    assert "It needs nobody" in do(support, event, "resolve")
    assert event.state == state


def test_buttons_stand_only_where_they_mean_something(support: Client, dead: WebhookEvent) -> None:
    AttemptFactory(event=dead, result="ServerTrouble", error="502")
    page = support.get(f"{LIST}{dead.pk}/change/").content.decode()
    assert [action for action in NEEDS if f"{LIST}{dead.pk}/{action}/" in page] == ["replay", "dry-run", "resolve"]


# --- dry run -------------------------------------------------------------------------------------------------------


def test_a_dry_run_is_recorded_also_when_a_side_is_away(support: Client, dead: WebhookEvent) -> None:
    page = do(support, dead, "dry-run")
    assert 'data-kind="waits"' in page and "The worker would keep trying" in page
    done = StaffAction.objects.get()
    assert (done.action, done.reason, done.result) == ("dry run", "the CRM was mended", "waits (Unreachable)")
    assert dead.state == State.DEAD
