"""The page of one order: what staff see there and what they may do."""

from unittest.mock import patch

import pytest
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from orders.models import OrderLink
from tests.factories import AttemptFactory, CallFactory, OrderLinkFactory, StatusTransitionFactory, WebhookEventFactory
from webhooks.models import Side

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
    assert 'data-strand="crm"' in page
    assert 'data-strand="shop"' not in page
    assert '<a href="?only=crm#timeline"' in page


def test_a_long_timeline_has_pages(admin_client: Client, link: OrderLink) -> None:
    with patch("sync.admin.orders.AT_ONCE", 2):
        for n in range(5):
            WebhookEventFactory(order_ref="5", topic=f"topic-{n}")
        first = admin_client.get(url(link), {"only": "shop"}).content.decode()
        last = admin_client.get(url(link), {"only": "shop", "page": "3"}).content.decode()
    assert ("topic-4" in first, "topic-2" in first) == (True, False)
    assert ("topic-0" in last, "topic-1" in last) == (True, False)
    assert ("?only=shop&amp;page=2" in first, "Newer" in first) == (True, False)
    assert ("?only=shop&amp;page=2" in last, "Older" in last) == (True, False)


@pytest.mark.parametrize(
    "query", [{"page": "x"}, {"page": "0"}, {"page": "-1"}, {"page": "9" * 400}, {"only": "x"}, {"only": "x" * 10_000}]
)
def test_a_broken_query_string_is_no_error(admin_client: Client, link: OrderLink, query: dict[str, str]) -> None:
    assert admin_client.get(url(link), query).status_code == 200


def test_the_page_costs_the_same_queries_for_a_long_story(
    admin_client: Client, link: OrderLink, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    for n in range(10):
        CallFactory(attempt=AttemptFactory(event__order_ref="5"))
        StatusTransitionFactory(link=link, sequence=n)
    with django_assert_max_num_queries(14):
        admin_client.get(url(link))
