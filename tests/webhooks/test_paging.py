"""A list far from its beginning, and searches that an index answers."""

from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from tests.factories import AttemptFactory, StatusTransitionFactory, WebhookEventFactory
from webhooks.backoffice.paging import EstimatingPaginator
from webhooks.models import WebhookEvent

pytestmark = pytest.mark.django_db


def test_far_into_a_list_stand_the_same_rows_in_the_same_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EstimatingPaginator, "EXACT_UP_TO", 4)
    WebhookEventFactory.create_batch(11)
    rows = WebhookEvent.objects.order_by("-pk")
    pages = EstimatingPaginator(rows, 3)
    shown = [event for number in pages.page_range for event in pages.page(number).object_list]
    assert shown[:11] == list(rows)


@pytest.mark.parametrize("url", ["/admin/sync/attempt/", "/admin/orders/statustransition/"])
@pytest.mark.parametrize("term", ["x", "C-0", "²", "9" * 30, "-1", "0"])
def test_a_search_for_nothing_finds_nothing(admin_client: Client, url: str, term: str) -> None:
    AttemptFactory()
    StatusTransitionFactory(link__crm_order_id="C-9")
    page = admin_client.get(url, {"q": term})
    assert (page.status_code, page.context["cl"].result_count) == (200, 0)


def test_numbers_are_searched_as_numbers(admin_client: Client) -> None:
    attempt, moved = AttemptFactory(), StatusTransitionFactory()
    AttemptFactory()
    StatusTransitionFactory()
    searches: dict[str, list[Any]] = {
        "/admin/sync/attempt/": [(attempt.event_id, attempt)],
        "/admin/orders/statustransition/": [(moved.link.woo_id, moved), (moved.link.crm_order_id, moved)],
    }
    for url, asked in searches.items():
        for term, found in asked:
            with CaptureQueriesContext(connection) as queries:
                page = admin_client.get(url, {"q": f" {term} "})
            assert list(page.context["cl"].result_list) == [found]
            assert not [one["sql"] for one in queries if "CAST(" in one["sql"] or "::varchar" in one["sql"]]


@pytest.mark.parametrize(
    "url", ["webhooks/webhookevent", "orders/orderlink", "orders/statustransition", "sync/attempt"]
)
def test_no_filter_reads_a_whole_table_for_its_values(admin_client: Client, url: str) -> None:
    AttemptFactory(trigger="replay")
    AttemptFactory()
    StatusTransitionFactory()
    with CaptureQueriesContext(connection) as queries:
        admin_client.get(f"/admin/{url}/")
    assert not [one["sql"] for one in queries if "DISTINCT" in one["sql"]]


def test_attempts_are_filtered_by_what_caused_them(admin_client: Client) -> None:
    asked = AttemptFactory(trigger="replay")
    AttemptFactory()
    page = admin_client.get("/admin/sync/attempt/", {"trigger": "replay"})
    assert list(page.context["cl"].result_list) == [asked]
    assert "replay" in page.content.decode()
