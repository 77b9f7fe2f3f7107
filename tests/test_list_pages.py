"""Each list of the back office answers nonsense in its address with words, and never with a 500."""

import pytest
from django.contrib import admin
from django.test import Client

from tests.factories import AttemptFactory, OrderLinkFactory, StatusTransitionFactory, WebhookEventFactory
from webhooks.backoffice.lists import ForgivingList

pytestmark = pytest.mark.django_db

NONSENSE = [
    "received_at__gte=xyz",
    "received_at_from_0=xyz&received_at_from_1=abc",
    "received_at_from_0=99999-01-01",
    "started_at_from_0=2026-13-45",
    "state=nonsense",
    "state__exact=nonsense",
    "outcome__in=",
    "attempts__gte=abc",
    "attempts=abc",
    "attempts=99999999999999999999",
    "outcome=nonsense",
    "p=99999999",
    "p=abc",
    "p=-1",
    "id=99999999999999999999999999",
    "id__in=a,b",
    "id__regex=[",
    "id__iregex=(a%2B)%2B$",
    "pk__lookup__that__is__none=1",
    "tries__calls__url=x",
    "e=1&p=99999999",
    "e=1",
    "o=99.-98.abc",
    "all=",
    "q=%00",
    "q=" + "9" * 40,
    "q=" + "x" * 10_000,
    "source=%00",
    "topic=" + "x" * 5_000,
    "_facets=True&state=nonsense",
]
LISTS = sorted(f"/admin/{model._meta.app_label}/{model._meta.model_name}/" for model in admin.site._registry)


@pytest.mark.parametrize("address", LISTS)
def test_a_list_survives_every_nonsense(admin_client: Client, address: str) -> None:
    StatusTransitionFactory(link=OrderLinkFactory(), event=AttemptFactory(event=WebhookEventFactory()).event)
    answers = {query: admin_client.get(f"{address}?{query}") for query in NONSENSE}
    led_to = {answer["Location"] for answer in answers.values() if answer.status_code == 302}
    answers |= {there: admin_client.get(there) for there in led_to}
    assert led_to <= {address, f"{address}?e=1"}
    assert {query: one.status_code for query, one in answers.items() if one.status_code not in (200, 302, 403)} == {}
    assert all(answers[there].status_code == 200 for there in led_to)


@pytest.mark.parametrize("query", ["attempts__gte=abc", "received_at__gte=xyz", "e=1&id__in=a", "x=1"])
def test_what_was_not_understood_is_said_and_everything_shown(admin_client: Client, query: str) -> None:
    WebhookEventFactory()
    answer = admin_client.get(f"/admin/webhooks/webhookevent/?{query}", follow=True)
    assert "names a filter or a page that does not exist" in answer.content.decode()
    assert answer.context["cl"].result_count == 1


def test_every_list_of_ours_forgives() -> None:
    ours = [one for one in admin.site._registry.values() if one.model._meta.app_label in ("webhooks", "orders", "sync")]
    assert [str(one) for one in ours if not isinstance(one, ForgivingList)] == []
