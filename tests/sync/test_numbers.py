"""Staff know the number on the invoice: where a plugin gives orders numbers of their own, they are found by them."""

import json
from io import StringIO

import pytest
from django.core.management import call_command
from django.test import Client

from orders.models import OrderLink
from sync.backoffice.search import search
from sync.models import DriftFinding
from sync.monitoring import todo
from sync.pipeline.whose import number_of
from tests.factories import OrderLinkFactory, StatusTransitionFactory, WebhookEventFactory
from tests.pipeline import work_once
from tests.sync.conftest import TwoSides
from webhooks.models import Side, State, WebhookEvent

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("order", "number"),
    [
        ({"id": 14, "number": "14"}, ""),
        ({"id": 14, "number": "2026-0042"}, "2026-0042"),
        ({"id": 14, "number": "42"}, "42"),
        ({"id": 14}, ""),
        ({"id": 14, "number": None}, ""),
        ({"id": 14, "number": {"a": 1}}, ""),
        ({"id": 14, "number": "#1042"}, "#1042"),
        ({"id": 14, "number": "WC-2026/11-0042/A"}, "WC-2026/11-0042/A"),
        ({"id": 14, "number": "9" * 100}, ""),
        ({"id": 14, "number": "4\0002"}, ""),
        ({"id": 14, "number": "ann1@example.test"}, ""),
        ({"id": 14, "number": "Ann Quill 7"}, ""),
    ],
)
def test_the_number_is_kept_where_it_is_not_the_id(order: dict[str, object], number: str) -> None:
    assert number_of(order) == number


def test_an_orders_number_is_noted_and_follows_the_shop(two_sides: TwoSides) -> None:
    order = two_sides.order(14, number="A-1")
    WebhookEventFactory(order_ref="14")
    assert work_once()
    assert OrderLink.objects.get(woo_id=14).number == "A-1"
    two_sides.shop.load({**order, "number": "A-2"})
    WebhookEventFactory(order_ref="14")
    assert work_once()
    assert OrderLink.objects.get(woo_id=14).number == "A-2"


@pytest.fixture
def known() -> OrderLink:
    link: OrderLink = OrderLinkFactory(woo_id=14, crm_order_id="C-9", number="1042", woo_status="cancelled")
    return link


@pytest.mark.parametrize(
    "page",
    ["orders/orderlink", "orders/statustransition", "sync/driftfinding", "sync/todoitem", "webhooks/webhookevent"],
)
def test_every_list_of_orders_finds_it_by_its_number(admin_client: Client, known: OrderLink, page: str) -> None:
    StatusTransitionFactory(link=known)
    event = WebhookEventFactory(order_ref="14", state=State.PARKED, next_attempt_at=None)
    DriftFinding.objects.create(kind="status", woo_id=14, crm_order_id="C-9")
    todo.refresh()
    answer = admin_client.get(f"/admin/{page}/", {"q": "1042"})
    assert len(answer.context["cl"].result_list) == 1
    assert len(admin_client.get(f"/admin/{page}/", {"q": "1043"}).context["cl"].result_list) == 0
    assert event.pk


def test_events_of_both_sides_are_found(known: OrderLink) -> None:
    ours = [WebhookEventFactory(side=side, order_ref=ref) for side, ref in ((Side.SHOP, "14"), (Side.CRM, "C-9"))]
    WebhookEventFactory(order_ref="1043")
    assert set(search(WebhookEvent.objects.all(), "1042", may_reveal=False).events) == set(ours)


def explained(order: str, *more: str) -> str:
    out = StringIO()
    call_command("explain", order, *more, stdout=out)
    return out.getvalue()


def test_explain_takes_the_number(known: OrderLink) -> None:
    assert json.loads(explained("1042", "--json"))["woo_id"] == 14
    assert json.loads(explained("14", "--json"))["number"] == "1042"
    assert "shop order 14 (no. 1042)" in explained("C-9")


def test_an_id_that_is_another_orders_number_is_told_of(known: OrderLink) -> None:
    OrderLinkFactory(woo_id=1042)
    said = explained("1042")
    assert said.startswith("shop order 1042:")
    assert "Order 14 of the shop has this as its number" in said
