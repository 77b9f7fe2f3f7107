"""Personal data in the back office: masked everywhere, revealed to those who may and who say why."""

import json

import pytest
from django.test import Client

from orders.models import StaffAction
from sync.models import Call
from tests.deliveries import recorded
from tests.factories import AttemptFactory, CallFactory, OrderLinkFactory, StatusTransitionFactory, WebhookEventFactory
from tests.test_roles import person
from webhooks.models import WebhookEvent
from webhooks.reveal import SECONDS

pytestmark = pytest.mark.django_db
EVENTS = "/admin/webhooks/webhookevent/"
OF_THE_CUSTOMER = ["juergen@", "Jürgen", "Müller", "Straße", "Berlin", "10623", "123456", "klingeln"]


@pytest.fixture
def call() -> Call:
    """A recorded order, what was sent of it, what the CRM answered, and the decision."""
    body, headers = recorded("00007")
    link = OrderLinkFactory(woo_id=14)
    words = "POST on the crm: 422: juergen@example.test is taken"
    event = WebhookEventFactory(body=body, headers=headers, order_ref="14", reason=words)
    answer = json.dumps({"id": "C-1", "order": json.loads(body)}, ensure_ascii=False)
    attempt = AttemptFactory(event=event, error=words, reasons=[["gave_up", words]])
    StatusTransitionFactory(link=link, event=event, crm_answer=json.loads(answer))
    made: Call = CallFactory(attempt=attempt, request_body=body.decode(), response_body=answer[:2000], error=words)
    return made


def signed_in(role: str) -> Client:
    client = Client()
    client.force_login(person(role))
    return client


def told(client: Client, url: str) -> list[str]:
    answer = client.get(url)
    assert answer.status_code == 200, url
    return [word for word in OF_THE_CUSTOMER if word in answer.content.decode()]


def pages(call: Call) -> list[str]:
    event = call.attempt.event
    transition = event.transitions.get()
    return [
        EVENTS,
        f"{EVENTS}{event.pk}/change/",
        "/admin/sync/attempt/",
        f"/admin/sync/attempt/{call.attempt_id}/change/",
        f"/admin/orders/orderlink/{transition.link_id}/change/",
        "/admin/orders/statustransition/",
        f"/admin/orders/statustransition/{transition.pk}/change/",
    ]


@pytest.mark.cases_alike
@pytest.mark.parametrize("role", ["viewer", "support", "operator", "manager", "auditor"])
def test_no_page_tells_the_customer_by_itself(call: Call, role: str) -> None:
    client = signed_in(role)
    assert [url for url in pages(call) if told(client, url)] == []


@pytest.mark.parametrize("role", ["viewer", "support", "operator", "manager"])
def test_only_the_auditor_may_reveal(call: Call, role: str) -> None:
    client, event = signed_in(role), call.attempt.event_id
    assert "/reveal/" not in client.get(f"{EVENTS}{event}/change/").content.decode()
    assert client.get(f"{EVENTS}{event}/reveal/").status_code == 403
    assert client.post(f"{EVENTS}{event}/reveal/", {"reason": "curious"}).status_code == 403
    assert client.get(f"{EVENTS}{event}/body/").status_code == 403
    assert client.post(f"{EVENTS}{event}/body/", {"reason": "curious"}).status_code == 403
    assert not StaffAction.objects.exists()


def test_the_auditor_reveals_one_event_and_it_is_recorded(call: Call) -> None:
    client, event = signed_in("auditor"), call.attempt.event_id
    other = WebhookEventFactory(body=recorded("00007")[0])
    page = f"{EVENTS}{event}/change/"
    assert f"{EVENTS}{event}/reveal/" in client.get(page).content.decode()
    assert client.post(f"{EVENTS}{event}/reveal/", {"reason": "complaint 7"})["Location"] == page
    assert told(client, page) == OF_THE_CUSTOMER
    assert told(client, f"/admin/sync/attempt/{call.attempt_id}/change/") == OF_THE_CUSTOMER
    assert told(client, f"{EVENTS}{other.pk}/change/") == []
    action = StaffAction.objects.get()
    assert (action.action, action.actor, action.reason, action.event_id) == ("reveal", "auditor", "complaint 7", event)


@pytest.mark.parametrize("reason", ["", "   "])
def test_nothing_is_revealed_without_a_reason_nor_by_a_get(call: Call, reason: str) -> None:
    client, event = signed_in("auditor"), call.attempt.event_id
    assert client.post(f"{EVENTS}{event}/reveal/", {"reason": reason}).status_code == 200
    assert client.get(f"{EVENTS}{event}/reveal/", {"reason": "by a link in a mail"}).status_code == 200
    assert told(client, f"{EVENTS}{event}/change/") == []
    assert not StaffAction.objects.exists()


def test_a_reveal_ends(call: Call) -> None:
    client, event = signed_in("auditor"), call.attempt.event_id
    client.post(f"{EVENTS}{event}/reveal/", {"reason": "complaint 7"})
    session = client.session
    session["revealed"] = {pk: until - SECONDS - 1 for pk, until in session["revealed"].items()}
    session.save()
    assert told(client, f"{EVENTS}{event}/change/") == []


def test_a_reveal_is_that_of_one_person(call: Call) -> None:
    client, event = signed_in("auditor"), call.attempt.event_id
    client.post(f"{EVENTS}{event}/reveal/", {"reason": "complaint 7"})
    assert told(signed_in("viewer"), f"{EVENTS}{event}/change/") == []


def test_a_download_of_the_exact_body_is_recorded(call: Call) -> None:
    client, event = signed_in("auditor"), call.attempt.event
    url = f"{EVENTS}{event.pk}/body/"
    assert told(client, url) == []
    assert "required" in client.post(url, {"reason": " "}).content.decode()
    assert not StaffAction.objects.exists()
    answer = client.post(url, {"reason": "complaint 7"})
    assert answer.content == bytes(WebhookEvent.objects.get(pk=event.pk).body)
    done = StaffAction.objects.get()
    assert (done.action, done.event_id, done.reason) == ("reveal", event.pk, "complaint 7")


def test_what_is_not_there_cannot_be_revealed() -> None:
    client = signed_in("auditor")
    assert client.get(f"{EVENTS}999999/reveal/").status_code == 404
    assert client.get(f"{EVENTS}999999/body/").status_code == 404
    assert not StaffAction.objects.exists()
