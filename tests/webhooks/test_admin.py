"""What staff see of the inbox."""

from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from tests.factories import WebhookEventFactory
from webhooks.connections import bridge_names
from webhooks.models import RefusedDelivery, State

pytestmark = pytest.mark.django_db
LIST = "/admin/webhooks/webhookevent/"


@pytest.fixture
def viewer(client: Client) -> Client:
    user = User.objects.create_user("viewer", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_webhookevent"))
    client.force_login(user)
    return client


def page(client: Client, url: str) -> str:
    answer = client.get(url)
    assert answer.status_code == 200, (url, answer.status_code)
    return answer.content.decode()


def test_a_stranger_is_sent_to_the_login(client: Client) -> None:
    event = WebhookEventFactory()
    for url in (LIST, f"{LIST}{event.pk}/change/", f"{LIST}{event.pk}/body/", f"{LIST}{event.pk}/replay/"):
        answer = client.get(url)
        assert (answer.status_code, answer["Location"].split("?")[0]) == (302, "/admin/login/")


def test_staff_without_the_permission_see_neither_list_nor_body(client: Client) -> None:
    event = WebhookEventFactory()
    client.force_login(User.objects.create_user("staff", is_staff=True))
    for url in (LIST, f"{LIST}{event.pk}/change/", f"{LIST}{event.pk}/body/", f"{LIST}{event.pk}/order/"):
        assert client.get(url).status_code == 403


def test_a_viewer_sees_list_and_event(viewer: Client) -> None:
    event = WebhookEventFactory(order_ref="77", state=State.PARKED, reason="the status 'new' has no rule")
    assert "has no rule" in page(viewer, LIST)
    assert "woocommerce key 1" in page(viewer, f"{LIST}{event.pk}/change/")


@pytest.mark.parametrize("state", State.values)
def test_an_event_of_each_state_can_be_opened(admin_client: Client, state: str) -> None:
    event = WebhookEventFactory(state=state)
    page(admin_client, LIST)
    page(admin_client, f"{LIST}{event.pk}/change/")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x00\xff\xfe\x80binary",
        b"<script>alert(1)</script>",
        b'{"name": "<script>alert(1)</script>"}',
        b'"\\ud800"',
        b"[" * 100_000,
        b"1" * 10_000,
        "Überweisung".encode("latin-1"),
    ],
)
def test_no_body_breaks_the_page_or_runs_in_it(admin_client: Client, body: bytes) -> None:
    event = WebhookEventFactory(body=body, headers={"X": "<script>alert(1)</script>"}, reason="<script>alert(1)")
    assert "<script>alert(1)" not in page(admin_client, f"{LIST}{event.pk}/change/")
    assert "<script>alert(1)" not in page(admin_client, LIST)


def test_the_download_is_the_exact_bytes_and_never_a_page(admin_client: Client) -> None:
    body = b"\x00\xff<script>alert(1)</script>\r\n"
    answer = admin_client.post(f"{LIST}{WebhookEventFactory(body=body).pk}/body/", {"reason": "complaint 7"})
    assert answer.content == body
    assert answer["Content-Type"] == "application/octet-stream"
    assert answer["Content-Disposition"].startswith("attachment")
    assert admin_client.get(f"{LIST}999999/body/").status_code == 404


def test_nobody_adds_changes_or_deletes_an_event(admin_client: Client) -> None:
    event = WebhookEventFactory()
    assert admin_client.get(f"{LIST}add/").status_code == 403
    assert admin_client.post(f"{LIST}{event.pk}/change/", {"state": "done"}).status_code == 403
    assert admin_client.post(f"{LIST}{event.pk}/delete/", {"post": "yes"}).status_code == 403


@pytest.mark.parametrize("filters", ["state=pending", "source=woocommerce", "topic=order.updated", "outcome=applied"])
def test_the_list_can_be_filtered(admin_client: Client, filters: str) -> None:
    WebhookEventFactory()
    page(admin_client, f"{LIST}?{filters}")


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ("outcome=refused", ["refused"]),
        ("attempts=2", ["failed"]),
        ("attempts=1", ["failed", "once"]),
        ("signed_by=crm+key+2", ["other key"]),
        ("outcome=refused&attempts=1", []),
        ("attempts=many", ["failed", "once", "other key", "refused"]),
    ],
)
def test_a_filter_leaves_what_it_names(admin_client: Client, filters: str, found: list[str]) -> None:
    WebhookEventFactory(delivery_id="failed", attempts=3)
    WebhookEventFactory(delivery_id="once", attempts=1)
    WebhookEventFactory(delivery_id="refused", outcome="refused", state=State.DONE)
    WebhookEventFactory(delivery_id="other key", signed_by="crm key 2")
    events = admin_client.get(f"{LIST}?{filters}").context["cl"].queryset
    assert sorted(events.values_list("delivery_id", flat=True)) == found


@pytest.mark.parametrize("what", ["pk", "order_ref", "delivery_id"])
def test_search_finds_by_exact_id(admin_client: Client, what: str) -> None:
    event = WebhookEventFactory(order_ref="C-77", delivery_id="d-88")
    WebhookEventFactory(order_ref="C-777", delivery_id="d-888")
    found = admin_client.get(LIST, {"q": getattr(event, what)}).context["cl"].queryset
    assert list(found) == [event]


@pytest.mark.parametrize("term", ["9" * 40, "²", "'; --", "\x00"])
def test_a_strange_search_finds_nothing(admin_client: Client, term: str) -> None:
    WebhookEventFactory()
    assert admin_client.get(LIST, {"q": term}).status_code in (200, 302)


@pytest.mark.parametrize("rows", [5, 50])
def test_more_rows_cost_no_more_queries(admin_client: Client, rows: int, django_assert_max_num_queries: Any) -> None:
    WebhookEventFactory.create_batch(rows)
    bridge_names()  # which a process reads once in ten seconds
    with django_assert_max_num_queries(8):
        page(admin_client, LIST)


def test_the_neighbours_of_the_same_order_are_linked(admin_client: Client) -> None:
    first, second = WebhookEventFactory(order_ref="5"), WebhookEventFactory(order_ref="5")
    assert f"{LIST}{first.pk}/change/" in page(admin_client, f"{LIST}{second.pk}/change/")


def test_a_refused_delivery_can_be_read_and_not_touched(admin_client: Client) -> None:
    refused = RefusedDelivery.objects.create(source="crm", reason="bad_signature", headers={"X": "<script>alert(1)"})
    url = "/admin/webhooks/refuseddelivery/"
    assert "bad_signature" in page(admin_client, url)
    assert "<script>alert(1)" not in page(admin_client, f"{url}{refused.pk}/change/")
    assert admin_client.post(f"{url}{refused.pk}/delete/", {"post": "yes"}).status_code == 403
