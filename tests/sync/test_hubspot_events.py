"""Webhooks of an app in HubSpot: signed by its scheme, told apart, and about orders or deals alone."""

import base64
import hashlib
import hmac
import json
import time
from typing import Any

import pytest
from django.test import Client

from sync.clients.crm.hubspot.events import HOOKS
from webhooks.models import WebhookEvent
from webhooks.sources import Signal

SECRET = "client-secret-of-the-app"
STAGE: dict[str, Any] = {
    "eventId": 100,
    "subscriptionId": 7,
    "portalId": 123,
    "occurredAt": 1_764_000_000_123,
    "subscriptionType": "object.propertyChange",
    "objectTypeId": "0-123",
    "objectId": 54805205097,
    "propertyName": "hs_pipeline_stage",
    "propertyValue": "4b27b500-f031-4927-9811-68a0b525cbae",
    "changeSource": "CRM_UI",
    "attemptNumber": 0,
}
OLDER = {**STAGE, "subscriptionType": "deal.propertyChange", "objectTypeId": None, "propertyName": "dealstage"}


def read(*events: Any) -> list[Signal]:
    return HOOKS.parse(json.dumps(events).encode(), {})


@pytest.mark.parametrize("event", [STAGE, OLDER, {**STAGE, "objectTypeId": "0-3"}])
def test_a_change_of_an_order_or_deal_leads_to_it(event: dict[str, Any]) -> None:
    [signal] = read(event)
    assert (signal.order_ref, signal.status, signal.version) == ("54805205097", "", None)
    assert str(signal.occurred_at) == "2025-11-24 16:00:00.123000+00:00"
    assert (signal.parked_reason, signal.by_hash) == ("", False)


def test_what_is_about_something_else_is_ignored() -> None:
    assert read({**STAGE, "objectTypeId": "0-1"}, {**OLDER, "subscriptionType": "contact.propertyChange"}) == []
    assert read({**STAGE, "subscriptionType": "object.deletion"}) == []


def test_one_that_cannot_be_read_parks_itself_alone() -> None:
    signals = read({**STAGE, "objectId": None}, STAGE, {**STAGE, "occurredAt": "soon"}, 7)
    assert [bool(one.parked_reason) for one in signals] == [True, False, True, True]


@pytest.mark.parametrize("name", ["eventId", "subscriptionId", "objectId", "occurredAt", "propertyName"])
def test_its_event_id_alone_tells_nothing_apart(name: str) -> None:
    [one], [again], [other] = read(STAGE), read({**STAGE, "attemptNumber": 3}), read({**STAGE, name: 1})
    assert one.dedupe_key == again.dedupe_key != other.dedupe_key


def sent(body: bytes, secret: str, settings: Any) -> Any:
    now = str(int(time.time() * 1000))
    text = f"POST{settings.PUBLIC_URL}/webhooks/crm/".encode() + body + now.encode()
    mac = base64.b64encode(hmac.digest(secret.encode(), text, hashlib.sha256)).decode()
    headers = {"X-HubSpot-Signature-v3": mac, "X-HubSpot-Request-Timestamp": now}
    return Client(headers=headers).post("/webhooks/crm/", body, content_type="application/json")


@pytest.mark.django_db
def test_a_signed_delivery_is_stored_and_another_is_not(settings: Any) -> None:
    settings.CRM_BACKEND, settings.CRM_WEBHOOK_SECRETS = "hubspot", [SECRET]
    body = json.dumps([STAGE, {**STAGE, "objectTypeId": "0-1"}]).encode()
    assert sent(body, "another-secret", settings).status_code == 401
    assert sent(body, SECRET, settings).json()["status"] == "accepted"
    assert sent(body, SECRET, settings).json()["status"] == "duplicate"
    event = WebhookEvent.objects.get()
    assert (event.order_ref, event.schema, bool(event.signed_by)) == ("54805205097", "hubspot/3", True)


@pytest.mark.parametrize("at", [10**15, 10**17, 10**20, 10**400, -(10**20), "1e400", None])
def test_a_time_that_no_clock_shows_is_for_a_person(at: Any) -> None:
    [signal] = read({**STAGE, "occurredAt": at})
    assert signal.parked_reason
