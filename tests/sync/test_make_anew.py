"""An order that the CRM lost is made there again: looked for first, once, and linked in its place."""

import pytest
from django.utils import timezone

from orders.checkpoints import make_checkpoint
from orders.models import OrderLink
from orders.verification import Checkup
from sync.models import TodoItem
from sync.monitoring import todo
from sync.pipeline import internal_events
from tests.factories import WebhookEventFactory
from tests.pipeline import work_once
from tests.sync.conftest import TwoSides
from webhooks.models import Outcome, Side, State, WebhookEvent

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def linked(two_sides: TwoSides) -> OrderLink:
    two_sides.order(14)
    WebhookEventFactory(order_ref="14")
    assert work_once()
    two_sides.forget_calls()
    return OrderLink.objects.get(woo_id=14)


def made_anew(link: OrderLink) -> WebhookEvent:
    event = internal_events.make_anew(link, by="ann", reason="deleted by mistake")
    while work_once():
        pass
    event.refresh_from_db()
    return event


def test_an_order_that_the_crm_lost_is_made_again_and_linked_in_its_place(
    two_sides: TwoSides, linked: OrderLink
) -> None:
    del two_sides.crm.orders[linked.crm_order_id]
    lost = WebhookEventFactory(side=Side.CRM, source="crm", order_ref=linked.crm_order_id)
    WebhookEvent.objects.update(state=State.PARKED, next_attempt_at=None)
    event = made_anew(linked)
    assert (event.state, event.outcome) == (State.DONE, Outcome.CREATED)
    now = OrderLink.objects.get(woo_id=14)
    assert now.pk == linked.pk and now.crm_order_id != linked.crm_order_id
    assert list(two_sides.crm.orders) == [now.crm_order_id]
    assert (now.crm_status, now.crm_version) == ("new", 1)
    lost.refresh_from_db()
    assert (lost.state, lost.outcome) == (State.DONE, Outcome.SUPERSEDED)


@pytest.mark.parametrize("changed", [False, True], ids=["ours", "changed by hand before"])
def test_the_audit_knows_the_new_pair_and_makes_no_forged_one_good(
    two_sides: TwoSides, linked: OrderLink, changed: bool
) -> None:
    make_checkpoint()
    if changed:
        OrderLink.objects.update(crm_order_id="C-theirs")
        linked.refresh_from_db()
    two_sides.crm.orders.clear()
    assert made_anew(linked).outcome == Outcome.CREATED
    make_checkpoint()
    checkup = Checkup()
    list(checkup.go_on())
    assert [(one.what, one.order) for one in checkup.findings] == ([("order", 14)] if changed else [])


def test_one_that_somebody_made_there_meanwhile_is_found_and_linked(two_sides: TwoSides, linked: OrderLink) -> None:
    order = two_sides.crm.orders.pop(linked.crm_order_id)
    order.update(id="C-by-hand")
    two_sides.crm.orders["C-by-hand"] = order
    assert made_anew(linked).outcome == Outcome.CREATED
    assert OrderLink.objects.get(woo_id=14).crm_order_id == "C-by-hand"
    assert two_sides.writes()["crm POST"] == 0


def test_one_that_the_crm_knows_stays_as_it_is(two_sides: TwoSides, linked: OrderLink) -> None:
    event = made_anew(linked)
    assert (event.outcome, two_sides.writes()) == (Outcome.NO_CHANGE, {})
    assert OrderLink.objects.get(woo_id=14).crm_order_id == linked.crm_order_id


def test_an_answer_that_got_lost_makes_no_second_one(two_sides: TwoSides, linked: OrderLink) -> None:
    del two_sides.crm.orders[linked.crm_order_id]
    two_sides.crm.faults.add("truncated", times=1, method="POST")
    event = internal_events.make_anew(linked, by="ann", reason="deleted by mistake")
    assert work_once()
    event.refresh_from_db()
    assert event.state == State.RETRYING
    WebhookEvent.objects.filter(pk=event.pk).update(next_attempt_at=timezone.now())
    assert work_once()
    event.refresh_from_db()
    assert event.outcome == Outcome.CREATED
    assert len(two_sides.crm.orders) == 1


def test_it_is_not_answered_by_a_delivery_that_comes_meanwhile(two_sides: TwoSides, linked: OrderLink) -> None:
    del two_sides.crm.orders[linked.crm_order_id]
    event = internal_events.make_anew(linked, by="ann", reason="x")
    WebhookEventFactory(order_ref="14")
    while work_once():
        pass
    event.refresh_from_db()
    assert event.outcome == Outcome.CREATED
    assert len(two_sides.crm.orders) == 1


def test_the_item_of_the_to_do_list_closes(two_sides: TwoSides, linked: OrderLink) -> None:
    del two_sides.crm.orders[linked.crm_order_id]
    two_sides.shop.orders[14]["billing"]["first_name"] = "Zoë"
    WebhookEventFactory(order_ref="14")
    while work_once():
        pass
    todo.refresh()
    assert TodoItem.objects.get().cause == TodoItem.Cause.LOST
    made_anew(linked)
    todo.refresh()
    assert not TodoItem.objects.filter(closed_at=None).exists()
