"""The page of a bridge's rule: tried on the latest orders, then saved, and in the audit."""

import re
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from orders.models import StaffAction
from sync.pipeline.sending import NAMES_AT_ONCE, SENDS
from tests.sync.conftest import TwoSides
from webhooks.models import Bridge

PAGE = "/admin/webhooks/bridge/1/sending/"


@pytest.fixture
def client(transactional_db: None) -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    return client


def fields(**said: Any) -> dict[str, Any]:
    return {"sub_orders": "send", "reason": "only what is paid", **said}


def tried(page: str) -> str:
    found = re.search(r'name="tried" value="([^"]*)"', page)
    assert found
    return found[1].replace("&#x27;", "'")


def test_a_rule_is_tried_on_the_latest_orders_and_then_saved(two_sides: TwoSides, client: Client) -> None:
    two_sides.order(14, status="pending")
    two_sides.order(15, status="processing")
    said = fields(statuses="processing, completed", minimum_total="1", countries="de", names_at_once="on")
    page = client.post(PAGE, said).content.decode()
    assert "Of the latest 2 orders" in page and "Order 14: " in page
    assert SENDS not in Bridge.objects.get().options and not StaffAction.objects.exists()
    assert two_sides.writes() == {}

    other = client.post(PAGE, {**said, "minimum_total": "2", "tried": tried(page)}).content.decode()
    assert "Of the latest 2 orders" in other  # another rule than the one that was tried
    assert SENDS not in Bridge.objects.get().options

    assert client.post(PAGE, {**said, "tried": tried(page)}).status_code == 302
    options = Bridge.objects.get().options
    assert options[SENDS] == {"statuses": ["processing", "completed"], "minimum_total": "1", "countries": ["DE"]}
    assert options[NAMES_AT_ONCE] is True
    action = StaffAction.objects.get()
    assert (action.action, action.reason) == ("bridge: which orders are sent", "only what is paid")
    assert action.details["after"][SENDS]["minimum_total"] == "1"
    assert 'value="processing, completed"' in client.get(PAGE).content.decode()


def test_where_the_shop_cannot_be_asked_it_is_said_and_saved_all_the_same(client: Client, settings: Any) -> None:
    settings.WOO_URL = ""
    answer = client.post(PAGE, fields(payment_methods="bacs"), follow=True)
    assert "The rule could not be tried" in answer.content.decode()
    assert Bridge.objects.get().options[SENDS] == {"payment_methods": ["bacs"]}


@pytest.mark.parametrize(
    "said",
    [
        {"statuses": "paid & shipped"},
        {"minimum_total": "-1"},
        {"minimum_total": "ten"},
        {"countries": "Germany"},
        {"meta_value": "pos"},
        {"sub_orders": "perhaps"},
        {"reason": ""},
    ],
)
def test_what_makes_no_sense_is_refused_with_a_word(client: Client, said: dict[str, str]) -> None:
    page = client.post(PAGE, fields(**said))
    assert page.status_code == 200 and page.context["form"].errors
    assert SENDS not in Bridge.objects.get().options
