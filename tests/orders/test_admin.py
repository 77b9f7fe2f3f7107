"""What staff see of orders, and the lifecycle that they edit."""

import pytest
from django.test import Client

from orders.models import StatusRule, StatusTransition
from tests.factories import OrderLinkFactory, StatusTransitionFactory, WebhookEventFactory

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("model", ["orderlink", "statustransition", "statusrule", "allowedmove"])
def test_each_list_opens(admin_client: Client, model: str) -> None:
    StatusTransitionFactory()
    assert admin_client.get(f"/admin/orders/{model}/").status_code == 200
    assert admin_client.get(f"/admin/orders/{model}/", {"q": "abc"}).status_code == 200
    assert admin_client.get(f"/admin/orders/{model}/", {"q": "1"}).status_code == 200


@pytest.mark.parametrize("model", ["orderlink", "statustransition"])
def test_not_even_a_superuser_changes_history(admin_client: Client, model: str) -> None:
    transition = StatusTransitionFactory()
    pk = transition.pk if model == "statustransition" else transition.link_id
    url = f"/admin/orders/{model}/"
    assert admin_client.get(f"{url}add/").status_code == 403
    assert admin_client.post(f"{url}{pk}/change/", {"reason": "forged"}).status_code == 403
    assert admin_client.post(f"{url}{pk}/delete/", {"post": "yes"}).status_code == 403
    admin_client.post(url, {"action": "delete_selected", "_selected_action": pk, "post": "yes"})
    assert StatusTransition.objects.get().reason == transition.reason


def test_a_transition_shows_its_event_and_what_the_crm_said(admin_client: Client) -> None:
    event = WebhookEventFactory()
    transition = StatusTransitionFactory(event=event, crm_answer={"note": "<script>alert(1)"})
    page = admin_client.get(f"/admin/orders/statustransition/{transition.pk}/change/").content.decode()
    assert f"event {event.pk}" in page
    assert "<script>alert(1)" not in page


def test_an_order_is_found_by_either_id(admin_client: Client) -> None:
    link = OrderLinkFactory(woo_id=42, crm_order_id="C-9")
    OrderLinkFactory(woo_id=421, crm_order_id="C-99")
    for term in ("42", "C-9"):
        assert list(admin_client.get("/admin/orders/orderlink/", {"q": term}).context["cl"].queryset) == [link]


def test_a_changed_rule_is_kept_in_its_history(admin_client: Client) -> None:
    rule = StatusRule.objects.create(crm_status="packed", woo_status="processing")
    url = f"/admin/orders/statusrule/{rule.pk}/"
    answer = admin_client.post(f"{url}change/", {"crm_status": "packed", "woo_status": "completed"})
    assert answer.status_code == 302
    assert [old.woo_status for old in rule.history.all()] == ["completed", "processing"]
    assert admin_client.get(f"{url}history/").status_code == 200


@pytest.mark.parametrize(("query", "found"), [({"woo_status": "completed"}, [7]), ({"crm_status": "paid"}, [8])])
def test_orders_are_filtered_by_the_status_of_either_side(
    admin_client: Client, query: dict[str, str], found: list[int]
) -> None:
    OrderLinkFactory(woo_id=7, woo_status="completed", crm_status="shipped")
    OrderLinkFactory(woo_id=8, woo_status="processing", crm_status="paid")
    page = admin_client.get("/admin/orders/orderlink/", query)
    assert [link.woo_id for link in page.context["cl"].queryset] == found
