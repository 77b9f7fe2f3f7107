"""The to-do list follows from what is so: one item for each order and cause, which closes itself and says why."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client
from django.utils import timezone

from orders.models import StaffAction
from sync.models import DriftFinding, TodoItem
from sync.monitoring import todo
from tests.factories import AttemptFactory, OrderLinkFactory, WebhookEventFactory
from webhooks.models import Outcome, Side, State, WebhookEvent

pytestmark = pytest.mark.django_db
NOW = timezone.now


def stuck(state: str = State.PARKED, **said: Any) -> WebhookEvent:
    said = {"order_ref": "14", "reason": "It is stuck.", "finished_at": NOW() - timedelta(minutes=5), **said}
    return WebhookEventFactory(state=state, next_attempt_at=None, **said)


def went_through(**said: Any) -> WebhookEvent:
    return WebhookEventFactory(
        **{"order_ref": "14", "outcome": Outcome.UPDATED, **said},
        state=State.DONE,
        next_attempt_at=None,
        finished_at=NOW(),
    )


def items() -> list[tuple[str, str]]:
    todo.refresh()
    return sorted(TodoItem.objects.filter(closed_at=None).values_list("order", "cause"))


def closed() -> TodoItem:
    assert items() == []
    return TodoItem.objects.latest("pk")


def test_however_many_events_of_an_order_are_stuck_there_is_one_item_for_each_cause() -> None:
    for _ in range(3):
        newest = stuck()
    stuck(State.DEAD)
    assert items() == items() == [("woo:14", "dead"), ("woo:14", "parked")]
    assert TodoItem.objects.get(cause="parked").event == newest


@pytest.mark.parametrize(
    ("said", "order"),
    [
        ({"side": Side.SHOP, "order_ref": "14"}, "woo:14"),
        ({"side": Side.CRM, "order_ref": "C-1"}, "woo:14"),
        ({"side": Side.CRM, "order_ref": "C-2"}, "crm:C-2"),
    ],
)
def test_an_order_has_one_name_whichever_side_speaks_of_it(said: dict[str, str], order: str) -> None:
    OrderLinkFactory(woo_id=14, crm_order_id="C-1")
    stuck(**said)
    assert items() == [(order, "parked")]


def test_what_names_no_order_stands_for_itself() -> None:
    event = stuck(order_ref="")
    assert items() == [(f"event:{event.pk}", "parked")]


@pytest.mark.parametrize("outcome", todo.WENT_THROUGH)
@pytest.mark.parametrize("state", todo.STUCK)
def test_a_later_success_of_the_same_order_settles_what_was_stuck(state: str, outcome: str) -> None:
    event = stuck(state)
    assert items()
    went_through(outcome=outcome)
    assert "Solved" in closed().closed_because
    event.refresh_from_db()
    assert (event.state, event.outcome) == (State.DONE, Outcome.SUPERSEDED)
    assert "It is stuck." in event.reason


@pytest.mark.parametrize(
    "said",
    [
        {"order_ref": "15"},
        {"side": Side.CRM},
        {"outcome": Outcome.NOT_OURS},
        {"outcome": Outcome.REFUSED},
        {"outcome": Outcome.STALE},
    ],
)
def test_what_answers_nothing_of_it_settles_nothing(said: dict[str, str]) -> None:
    stuck()
    went_through(**said)
    assert ("woo:14", "parked") in items()


def test_an_earlier_success_settles_nothing() -> None:
    went_through()
    stuck(finished_at=NOW() + timedelta(seconds=1))
    assert items() == [("woo:14", "parked")]


def test_a_forced_move_that_is_stuck_waits_for_its_person() -> None:
    stuck(topic="order.force", source="staff")
    went_through()
    assert items() == [("woo:14", "parked")]


@pytest.mark.parametrize("state", todo.AT_WORK)
def test_what_is_tried_again_stays_until_it_went_through(state: str) -> None:
    event = stuck()
    assert items()
    WebhookEvent.objects.filter(pk=event.pk).update(state=state, next_attempt_at=NOW())
    assert items() == [("woo:14", "parked")]
    WebhookEvent.objects.filter(pk=event.pk).update(state=State.DONE, outcome=Outcome.CREATED, reason="Created.")
    assert "Created." in closed().closed_because


def refused(crm: str, shop: str) -> None:
    OrderLinkFactory(woo_id=14, crm_order_id="C-1", crm_status=crm, woo_status=shop)
    said = {"side": Side.CRM, "order_ref": "C-1", "outcome": Outcome.REFUSED, "reason": "not an allowed move"}
    WebhookEventFactory(**said, state=State.DONE, next_attempt_at=None, finished_at=NOW())


@pytest.mark.parametrize(
    ("crm", "shop", "cause"),
    [
        ("cancelled", "completed", "refused"),
        ("refunded", "cancelled", "refused"),
        ("paid", "cancelled", "paid"),
        ("completed", "cancelled", "paid"),
    ],
)
def test_a_refused_move_that_leaves_the_sides_apart_needs_a_person(crm: str, shop: str, cause: str) -> None:
    refused(crm, shop)
    assert items() == [("woo:14", cause)]


@pytest.mark.parametrize(
    ("crm", "shop"),
    [
        ("processing", "completed"),
        ("new", "processing"),
        ("paid", "processing"),
        ("paid", "trash"),
        ("shipped", "refunded"),
    ],
)
def test_a_crm_that_is_behind_or_agrees_needs_nobody(crm: str, shop: str) -> None:
    refused(crm, shop)
    assert items() == []


def test_a_conflict_is_over_when_the_sides_agree() -> None:
    refused("cancelled", "completed")
    assert items()
    todo.OrderLink.objects.filter(woo_id=14).update(woo_status="cancelled")
    assert "no conflict" in closed().closed_because


@pytest.mark.parametrize("side", Side.values)
def test_an_order_that_the_crm_lost_says_so(side: str) -> None:
    OrderLinkFactory(woo_id=14, crm_order_id="C-1")
    event = stuck(side=side, order_ref="14" if side == Side.SHOP else "C-1")
    result, reasons = ("NotFound", []) if side == Side.SHOP else ("parked", [["unknown_order", "404"]])
    AttemptFactory(event=event, result=result, reasons=reasons)
    assert items() == [("woo:14", "lost")]


def test_an_order_that_drift_misses_in_the_crm_is_lost_until_it_is_back() -> None:
    finding = DriftFinding.objects.create(kind="missing_in_crm", woo_id=14, crm_order_id="C-1")
    assert items() == [("woo:14", "lost")]
    DriftFinding.objects.filter(pk=finding.pk).update(gone_at=NOW())
    assert "has it again" in closed().closed_because


# --- staff ---------------------------------------------------------------------------------------------------------


def signed_in(role: str) -> Client:
    user = User.objects.create_user(role, password="x", is_staff=True)
    user.groups.add(Group.objects.get(name=role))
    client = Client()
    client.force_login(user)
    return client


def test_an_item_is_taken_given_back_and_put_off_and_all_of_it_is_in_the_audit() -> None:
    stuck()
    todo.refresh()
    item = TodoItem.objects.get()
    address, client = f"/admin/sync/todoitem/{item.pk}", signed_in("support")
    client.post(f"{address}/take/", {"reason": "mine"})
    item.refresh_from_db()
    assert item.owner == "support"
    client.post(f"{address}/give-back/", {"reason": "holiday"})
    day = NOW() + timedelta(days=3)
    client.post(f"{address}/snooze/", {"reason": "the CRM's side is asked", "until": f"{day:%Y-%m-%d}"})
    item.refresh_from_db()
    assert (item.owner, item.snoozed_because) == ("", "the CRM's side is asked")
    assert list(TodoItem.objects.open(NOW())) == []
    assert list(TodoItem.objects.open(day + timedelta(days=1))) == [item]
    assert list(StaffAction.objects.order_by("id").values_list("action", flat=True)) == [
        "to-do: take it",
        "to-do: give back",
        "to-do: snooze",
    ]


def test_a_viewer_sees_the_list_and_takes_nothing() -> None:
    stuck(reason="Ask maria@example.test why.")
    todo.refresh()
    client = signed_in("viewer")
    page = client.get("/admin/sync/todoitem/").content.decode()
    assert "Parked" in page and "maria@" not in page
    assert client.post(f"/admin/sync/todoitem/{TodoItem.objects.get().pk}/take/", {"reason": "x"}).status_code == 403
    assert TodoItem.objects.get().owner == ""
    assert "maria@" not in client.get("/admin/").content.decode()


def test_each_item_leads_to_the_page_that_mends_it() -> None:
    refused("cancelled", "completed")
    event = stuck(order_ref="15")
    todo.refresh()
    page = signed_in("viewer").get("/admin/sync/todoitem/").content.decode()
    assert f"/admin/orders/orderlink/{todo.OrderLink.objects.get().pk}/change/" in page
    assert f"/admin/webhooks/webhookevent/{event.pk}/change/" in page
