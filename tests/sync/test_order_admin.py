"""The page of one order: what staff see there and what they may do."""

from unittest.mock import patch

import pytest
from django.contrib.auth.models import Permission, User
from django.contrib.contenttypes.models import ContentType
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from orders.models import OrderLink, StaffAction
from tests.factories import AttemptFactory, CallFactory, OrderLinkFactory, StatusTransitionFactory, WebhookEventFactory
from webhooks.connections import bridge_names
from webhooks.models import Side, WebhookEvent

pytestmark = pytest.mark.django_db


@pytest.fixture
def link() -> OrderLink:
    row: OrderLink = OrderLinkFactory(woo_id=5, crm_order_id="C-5")
    return row


def url(link: OrderLink, page: str = "change") -> str:
    return f"/admin/orders/orderlink/{link.pk}/{page}/"


def test_the_timeline_leads_to_what_it_tells(admin_client: Client, link: OrderLink) -> None:
    attempt = AttemptFactory(event__order_ref="5")
    transition = StatusTransitionFactory(link=link, reason="<script>alert(1)")
    page = admin_client.get(url(link)).content.decode()
    assert f'href="/admin/webhooks/webhookevent/{attempt.event_id}/change/"' in page
    assert f'href="/admin/sync/attempt/{attempt.pk}/change/"' in page
    assert f'href="/admin/orders/statustransition/{transition.pk}/change/"' in page
    assert "<script>alert(1)" not in page


def test_the_timeline_is_filtered_without_javascript(admin_client: Client, link: OrderLink) -> None:
    WebhookEventFactory(order_ref="5", topic="order.updated")
    WebhookEventFactory(side=Side.CRM, source="crm", topic="order.status_changed", order_ref="C-5")
    page = admin_client.get(url(link), {"only": "crm"}).content.decode()
    assert 'data-kind="crm"' in page
    assert 'data-kind="shop"' not in page
    assert '<a href="?only=crm#timeline"' in page


def test_a_long_timeline_has_pages(admin_client: Client, link: OrderLink) -> None:
    with patch("sync.admin.orders.AT_ONCE", 2):
        for name in "abcde":
            WebhookEventFactory(order_ref="5", topic=f"topic.{name}")
        first = admin_client.get(url(link), {"only": "shop"}).content.decode()
        last = admin_client.get(url(link), {"only": "shop", "page": "3"}).content.decode()
    assert ("topic.e" in first, "topic.c" in first) == (True, False)
    assert ("topic.a" in last, "topic.b" in last) == (True, False)
    assert ("?only=shop&amp;page=2" in first, "Newer" in first) == (True, False)
    assert ("?only=shop&amp;page=2" in last, "Older" in last) == (True, False)


@pytest.mark.parametrize(
    "query",
    [{"page": "x"}, {"page": "0"}, {"page": "-1"}, {"page": "9" * 5_000}, {"only": "x"}, {"only": "x" * 10_000}],
)
def test_a_broken_query_string_is_no_error(admin_client: Client, link: OrderLink, query: dict[str, str]) -> None:
    assert admin_client.get(url(link), query).status_code == 200


def test_the_page_costs_the_same_queries_for_a_long_story(
    admin_client: Client, link: OrderLink, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    for n in range(10):
        CallFactory(attempt=AttemptFactory(event__order_ref="5"))
        StatusTransitionFactory(link=link, sequence=n)
    ContentType.objects.get_for_model(link)  # a process asks for it once, be it here or in an earlier test
    bridge_names()  # and for these once in ten seconds
    with django_assert_max_num_queries(14):
        admin_client.get(url(link))


def someone(*codenames: str) -> Client:
    user = User.objects.create_user("someone", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    client = Client()
    client.force_login(user)
    return client


BUTTONS = ("check", "repair", "force", "same")


@pytest.mark.parametrize("method", ["get", "post"])
def test_a_viewer_has_no_button_and_no_way_round_it(link: OrderLink, method: str) -> None:
    viewer = someone("view_orderlink")
    page = viewer.get(url(link)).content.decode()
    for button in BUTTONS:
        assert f"/{button}/" not in page
        asked = {"confirmed": "yes", "reason": "x", "to_status": "completed"}
        assert getattr(viewer, method)(url(link, button), asked).status_code == 403
    assert not StaffAction.objects.exists()
    assert not WebhookEvent.objects.exists()


def test_each_button_has_its_own_permission(link: OrderLink) -> None:
    support = someone("view_orderlink", "check_orderlink")
    page = support.get(url(link)).content.decode()
    assert [f"/{button}/" in page for button in BUTTONS] == [True, True, False, False]
    assert support.post(url(link, "force"), {"to_status": "completed", "reason": "x"}).status_code == 403


@pytest.mark.parametrize("button", BUTTONS)
def test_the_buttons_permission_does_not_open_orders_to_those_who_may_not_see_them(
    link: OrderLink, button: str
) -> None:
    assert someone("check_orderlink", "force_orderlink").post(url(link, button)).status_code == 403


@pytest.mark.parametrize("button", ["check", "repair", "same"])
def test_a_get_asks_nobody(admin_client: Client, link: OrderLink, button: str) -> None:
    assert admin_client.get(url(link, button))["Location"] == url(link)
    assert not StaffAction.objects.exists()


@pytest.mark.parametrize("button", BUTTONS)
def test_an_unknown_order_is_not_found(admin_client: Client, button: str) -> None:
    assert admin_client.post(f"/admin/orders/orderlink/999999/{button}/").status_code == 404


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"to_status": "completed", "reason": " "},
        {"to_status": "", "reason": "x"},
        {"to_status": "made-up", "reason": "x"},
        {"to_status": "processing", "reason": "it is there already"},
        {"to_status": "completed", "reason": "x" * 10_000},
    ],
)
def test_a_force_without_target_or_reason_is_asked_for_them(
    admin_client: Client, link: OrderLink, asked: dict[str, str]
) -> None:
    answer = admin_client.post(url(link, "force"), {**asked, "confirmed": "yes"})
    assert (answer.status_code, answer.context["form"].is_valid()) == (200, False)
    assert not WebhookEvent.objects.exists()


def test_a_side_that_is_away_is_said_and_recorded(admin_client: Client, link: OrderLink) -> None:
    """The settings of the tests name a port on which nobody listens."""
    page = admin_client.post(url(link, "check")).content.decode()
    assert page.count("errornote") == 2
    assert "shop" in StaffAction.objects.get().result
    page = admin_client.post(url(link, "repair")).content.decode()
    assert "The result is not known yet" in page
