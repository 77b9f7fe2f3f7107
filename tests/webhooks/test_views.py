"""What each delivery is answered, and what is in the database when it is."""

import gc
import io
import json
import logging
import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from unittest.mock import Mock, patch

import pytest
from django.conf import settings
from django.db import OperationalError, connection
from django.test import Client, RequestFactory
from django.utils import timezone
from django_q.brokers import get_broker
from django_q.signing import SignedPackage
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from rest_framework.request import Request

from integration_site.wsgi import application
from tests.deliveries import (
    CRM,
    WOO,
    counted_statements,
    from_crm,
    from_shop,
    post,
    recorded,
    signed_by_crm,
    signed_by_shop,
)
from webhooks import clock, connections, intake, signatures, sources, wake
from webhooks.insert import MOST_OF_A_SECOND
from webhooks.intake import MASK
from webhooks.models import Outcome, RefusalCount, RefusedDelivery, State, WebhookEvent
from webhooks.sources import MAX_EVENTS
from webhooks.views import DeliveryView

pytestmark = pytest.mark.django_db
EVENT = {
    "event_id": "evt_1",
    "type": "order.status_changed",
    "crm_order_id": "C-1001",
    "status": "shipped",
    "version": 7,
    "updated_at": "2026-11-24T03:20:00Z",
}


def handed_out() -> list[str]:
    """What a cluster gives to the next worker that is free."""
    return [SignedPackage.loads(payload)["func"] for _, payload in get_broker().dequeue()]


def one() -> WebhookEvent:
    return WebhookEvent.objects.get()


@pytest.mark.parametrize("url", [WOO, WOO.rstrip("/")])
def test_a_new_delivery_is_stored_as_it_came_and_wakes_a_worker(url: str) -> None:
    body, headers = recorded("00008")
    answer = post(url, body, headers)
    event = one()
    assert (answer.status_code, answer.json()) == (200, {"status": "accepted", "event": str(event.pk)})
    assert (event.side, event.source, event.topic, event.order_ref) == ("shop", "woocommerce", "order.updated", "14")
    assert bytes(event.body) == body
    assert event.headers["X-Wc-Webhook-Signature"] == MASK
    assert (event.state, event.is_finished, event.signed_by[:8]) == (State.PENDING, False, "secret 1")
    assert str(event.occurred_at) == "2026-11-24 02:12:09+00:00"
    assert handed_out() == ["sync.tasks.drain"]


def test_a_repeated_delivery_is_counted_on_the_first() -> None:
    body, headers = recorded("00008")
    first = post(WOO, body, headers).json()["event"]
    for _ in range(2):
        answer = post(WOO, body, headers)
        assert (answer.status_code, answer.json()) == (200, {"status": "duplicate", "event": first})
    assert one().duplicates == 2


def test_two_states_with_one_delivery_id_are_two_events() -> None:
    for number in ("00008", "00009"):
        assert post(WOO, *recorded(number)).json()["status"] == "accepted"
    assert len(set(WebhookEvent.objects.values_list("delivery_id", flat=True))) == 1


def test_the_ping_is_answered_200_and_leaves_nothing() -> None:
    answer = post(WOO, *recorded("00002"))
    assert (answer.status_code, WebhookEvent.objects.count(), RefusedDelivery.objects.count()) == (200, 0, 0)
    assert post(CRM, *recorded("00002")).status_code == 401


@pytest.mark.parametrize("secrets", [[], [""]])
def test_the_ping_needs_no_secret_for_it_comes_before_there_is_one(settings: Any, secrets: list[str]) -> None:
    settings.WOO_WEBHOOK_SECRETS = secrets
    assert post(WOO, *recorded("00002")).status_code == 200
    assert post(WOO, *recorded("00008")).status_code == 503
    assert post(CRM, *recorded("00002")).status_code == 401
    assert (WebhookEvent.objects.count(), RefusedDelivery.objects.count()) == (0, 1)


@pytest.mark.parametrize("body", [b"webhook_id=", b"webhook_id=4&x=1", b"webhook_id=x", b" webhook_id=4", b""])
def test_what_is_not_quite_a_ping_is_refused(body: bytes) -> None:
    assert post(WOO, body, {"Content-Type": "application/x-www-form-urlencoded"}).status_code == 401


@pytest.mark.parametrize("signature", [None, "", "AAAA", "é", "x" * 3000])
def test_a_bad_signature_is_refused_and_kept_without_its_body(signature: str | None) -> None:
    body, headers = recorded("00008")
    del headers["X-WC-Webhook-Signature"]
    answer = post(WOO, body, headers | ({} if signature is None else {"X-WC-Webhook-Signature": signature}))
    assert (answer.status_code, answer.json()) == (401, {"error": "bad_signature"})
    kept = RefusedDelivery.objects.get()
    assert (kept.reason, kept.body_bytes, WebhookEvent.objects.count()) == ("bad_signature", len(body), 0)
    assert RefusalCount.objects.get().count == 1


@pytest.mark.parametrize("moment", [0.0, 99_999_999_999.0])
def test_a_time_far_off_is_refused(moment: float) -> None:
    answer = post(CRM, b"{}", signed_by_crm(b"{}", moment=moment))
    assert (answer.status_code, answer.json()) == (401, {"error": "stale_timestamp"})


def test_the_table_of_refusals_is_bounded_and_the_count_is_not(settings: Any) -> None:
    settings.REFUSED_KEEP = 5
    for _ in range(12):
        post(CRM, b"{}", {})
    assert (RefusedDelivery.objects.count(), RefusalCount.objects.get().count) == (5, 12)


def test_a_refusal_stays_one_when_the_database_is_away() -> None:
    with patch("webhooks.intake.RefusedDelivery.objects.create", side_effect=OperationalError):
        assert post(CRM, b"{}", {}).status_code == 401


@pytest.mark.parametrize("number", ["00023", "00111"])
def test_a_recorded_body_that_is_no_order_is_parked(number: str) -> None:
    assert post(WOO, *recorded(number)).status_code == 200
    event = one()
    assert (event.state, event.next_attempt_at, bool(event.reason)) == (State.PARKED, None, True)
    assert handed_out() == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff\xfe",
        b"<html>",
        b'{"id": NaN}',
        b'{"id": 1, "total": Infinity}',
        b"[]",
        b"null",
        b"{}",
        b'{"id": true}',
        b'{"id": "14"}',
        b'{"id": 14.0}',
        b'{"id": 0}',
        b'{"id": -1}',
        b'{"id": 9223372036854775808}',
        b'{"id": ' + b"9" * 5000 + b"}",
        b"[" * 100_000,
        b'{"code":"a\\u0000\\ud800","message":"m","data":{"status":404}}',
    ],
)
def test_a_signed_body_that_is_not_understood_is_parked(body: bytes) -> None:
    assert from_shop(body).status_code == 200
    assert bytes(one().body) == body
    assert one().state == State.PARKED
    assert from_shop(body).json()["status"] == "duplicate"


def test_a_topic_of_another_resource_is_parked() -> None:
    from_shop(b'{"id": 5}', topic="product.updated")
    assert one().state == State.PARKED


LABELS = {
    "X-WC-Webhook-Topic": [
        "order.updated",
        "order.created",
        "order.deleted",
        "product.updated",
        "action.x",
        "",
        "\xe9",
    ],
    "X-WC-Webhook-ID": ["4", "5", "99999", "", "x"],
    "X-WC-Webhook-Delivery-ID": ["a" * 32, "b" * 32, ""],
    "X-WC-Webhook-Source": ["https://shop.example/", "https://evil.example/"],
    "X-WC-Webhook-Resource": ["order", "product"],
    "X-WC-Webhook-Event": ["updated", "deleted"],
}


@pytest.mark.parametrize("number", ["00008", "00017", "00111", "00023"])
def test_one_captured_delivery_is_one_event_under_whatever_is_not_signed(number: str) -> None:
    """A signature of the shop covers the body alone, and has no time: it can be sent again for ever."""
    body, headers = recorded(number)
    answers = [post(WOO, body, headers | {name: value}).json() for name, values in LABELS.items() for value in values]
    for name in LABELS:
        answers.append(post(WOO, body, {one: value for one, value in headers.items() if one != name}).json())
    assert {answer["event"] for answer in answers} == {str(one().pk)}
    assert [answer["status"] for answer in answers] == ["accepted"] + ["duplicate"] * (len(answers) - 1)


@pytest.mark.parametrize("number", ["00008", "00020"])
@pytest.mark.parametrize("topic", ["product.updated", "coupon.deleted", "action.woocommerce_x", "subscription.updated"])
def test_no_topic_keeps_the_orders_own_delivery_out(number: str, topic: str) -> None:
    """Whoever is faster than the shop, and sends what it signed as something else."""
    body, headers = recorded(number)
    post(WOO, body, headers | {"X-WC-Webhook-Topic": topic})
    post(WOO, body, headers)
    [event] = WebhookEvent.objects.exclude(state=State.PARKED)
    assert (event.state, event.order_ref) == (State.PENDING, str(json.loads(body)["id"]))


@pytest.mark.cases_alike
@pytest.mark.parametrize(
    "body",
    [
        {"name": "Shirt", "sku": "S-1", "permalink": "https://shop.example/shirt"},
        {"email": "a@example.test", "username": "a", "billing": {}},
        {"code": "ten", "amount": "10.00", "discount_type": "percent"},
        {"order_key": "wc_order_x", "line_items": [], "total": "1.00", "billing_period": "month"},
    ],
    ids=["product", "customer", "coupon", "subscription"],
)
@pytest.mark.parametrize("topic", ["order.updated", "", "product.updated"])
def test_what_is_no_order_is_none_under_any_topic(body: dict[str, Any], topic: str) -> None:
    from_shop(json.dumps({"id": 5, "date_modified_gmt": "2026-11-24T02:12:09", **body}).encode(), topic)
    assert (one().state, one().order_ref) == (State.PARKED, "")
    assert "no order" in one().reason


def test_what_nobody_understood_is_a_new_item_once_staff_have_dealt_with_it() -> None:
    first = post(WOO, *recorded("00023")).json()["event"]
    assert post(WOO, *recorded("00024")).json() == {"status": "duplicate", "event": first}
    WebhookEvent.objects.update(state=State.DONE, outcome=Outcome.RESOLVED)
    answer = post(WOO, *recorded("00023")).json()
    assert (answer["status"], answer["event"] != first) == ("accepted", True)
    assert WebhookEvent.objects.get(pk=answer["event"]).state == State.PARKED


@pytest.mark.parametrize("state", [State.DONE, State.PARKED, State.DEAD, State.PROCESSING])
def test_a_delivery_known_by_its_hash_alone_is_news_once_the_first_may_have_been_read(state: State) -> None:
    body, headers = recorded("00020")
    first = post(WOO, body, headers).json()["event"]
    assert post(WOO, body, headers).json() == {"status": "duplicate", "event": first}
    lease = timezone.now() + timedelta(minutes=1) if state == State.PROCESSING else None
    WebhookEvent.objects.update(state=state, next_attempt_at=lease)
    answer = post(WOO, body, headers).json()
    assert answer["status"] == "accepted"
    assert answer["event"] != first
    assert post(WOO, body, headers).json() == {"status": "duplicate", "event": answer["event"]}
    assert WebhookEvent.objects.get(pk=answer["event"]).state == State.PENDING


@pytest.mark.parametrize("state", [State.DONE, State.PARKED, State.DEAD])
def test_so_it_is_for_an_event_of_the_crm(settings: Any, state: State) -> None:
    settings.CRM_SIGNATURE, settings.CRM_WEBHOOK_SECRETS = "woocommerce", ["lab-webhook-secret"]
    body = b'[{"crm_order_id": "C-1"}, {"crm_order_id": "C-2"}]'
    first = post(CRM, body, signed_by_shop(body)).json()["events"]
    assert post(CRM, body, signed_by_shop(body)).json() == {"status": "duplicate", "events": first}
    WebhookEvent.objects.filter(order_ref="C-1").update(state=state, next_attempt_at=None)
    answer = post(CRM, body, signed_by_shop(body)).json()
    assert answer["status"] == "accepted"
    assert (answer["events"][0] in first, answer["events"][1]) == (False, first[1])


def test_a_finished_delivery_with_a_time_of_its_own_stays_a_duplicate() -> None:
    post(WOO, *recorded("00008"))
    WebhookEvent.objects.update(state=State.DONE, next_attempt_at=None)
    assert post(WOO, *recorded("00008")).json()["status"] == "duplicate"


def shop_tells(status: str, second: int = 0) -> Any:
    return from_shop(
        json.dumps({"id": 5, "status": status, "date_modified_gmt": f"2026-11-24T02:12:{second:02}"}).encode()
    )


@pytest.mark.parametrize(
    "between", [b'{"id": 5}', b'{"id": 5, "status": "b", "date_modified_gmt": "2026-11-24T02:12:00"}']
)
def test_back_within_a_second_is_news_once(between: bytes) -> None:
    """To the trash and back, on hold and back: the same bytes, and the first of them were answered before."""
    first = shop_tells("a").json()["event"]
    from_shop(between)
    assert shop_tells("a").json() == {"status": "duplicate", "event": first}
    WebhookEvent.objects.update(state=State.DONE, next_attempt_at=None)
    again = shop_tells("a").json()
    assert (again["status"], again["event"] != first) == ("accepted", True)
    WebhookEvent.objects.update(state=State.DONE, next_attempt_at=None)
    assert [shop_tells("a").json() for _ in range(3)] == [{"status": "duplicate", "event": again["event"]}] * 3


@pytest.mark.parametrize("between", ["b", None], ids=["another status", "the trash"])
def test_two_captured_deliveries_in_turn_do_not_make_events_without_end(between: str | None) -> None:
    answers = []
    for _ in range(MOST_OF_A_SECOND + 5):
        answers.append(shop_tells("a").json()["status"])
        shop_tells(between) if between else from_shop(b'{"id": 5}')
        WebhookEvent.objects.update(state=State.DONE, next_attempt_at=None)
    assert answers[:3] == ["accepted"] * 3 and answers[-5:] == ["duplicate"] * 5
    assert WebhookEvent.objects.exclude(occurred_at=None).count() == MOST_OF_A_SECOND
    assert shop_tells("a", 1).json()["status"] == "accepted"


def test_what_was_captured_before_the_order_went_on_stays_a_duplicate() -> None:
    first = [shop_tells("a", 0).json()["event"], shop_tells("b", 1).json()["event"]]
    WebhookEvent.objects.update(state=State.DONE, next_attempt_at=None)
    for _ in range(3):
        assert [shop_tells("a", 0).json()["event"], shop_tells("b", 1).json()["event"]] == first


# --- the CRM -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("url", [CRM, CRM.rstrip("/")])
def test_a_crm_event_is_stored_with_what_it_claims(url: str) -> None:
    body = json.dumps(EVENT).encode()
    assert post(url, body, signed_by_crm(body)).json() == {"status": "accepted", "event": str(one().pk)}
    event = one()
    assert (event.order_ref, event.version, event.status, event.dedupe_key) == ("C-1001", 7, "shipped", "id:evt_1")


def test_the_same_event_in_another_delivery_is_a_duplicate() -> None:
    from_crm(EVENT, "msg_1")
    assert from_crm([EVENT], "msg_2").json() == {"status": "duplicate", "events": [str(one().pk)]}


@pytest.mark.parametrize(
    ("missing", "key"),
    [
        (["event_id"], "version:C-1001:7"),
        (["event_id", "version"], "time:C-1001:2026-11-24T03:20:00+00:00:shipped"),
        (["event_id", "version", "updated_at"], "delivery:msg_1:0"),
    ],
)
def test_what_an_event_without_id_is_known_by(missing: list[str], key: str) -> None:
    from_crm({name: value for name, value in EVENT.items() if name not in missing})
    assert one().dedupe_key == key


def test_beside_the_names_of_svix_an_unsigned_id_is_not_trusted() -> None:
    body = b'{"crm_order_id": "C-1"}'
    headers = {name.replace("webhook", "svix"): value for name, value in signed_by_crm(body).items()}
    first = post(CRM, body, headers).json()["event"]
    assert one().dedupe_key == "delivery:msg_1:0"
    for name in ("msg_2", "msg_3"):
        assert post(CRM, body, headers | {"webhook-id": name}).json() == {"status": "duplicate", "event": first}


def test_an_unsigned_delivery_id_is_not_trusted(settings: Any) -> None:
    settings.CRM_SIGNATURE, settings.CRM_WEBHOOK_SECRETS = "woocommerce", ["lab-webhook-secret"]
    body = b'{"crm_order_id": "C-1"}'
    post(CRM, body, signed_by_shop(body) | {"webhook-id": "msg_1"})
    assert one().dedupe_key.startswith("hash:")


def test_an_array_is_answered_in_its_order_and_a_bad_element_parks_only_itself() -> None:
    content: list[Any] = [EVENT | {"event_id": f"e{n}"} for n in range(150)]
    content[3] = "nonsense"
    answer = from_crm(content).json()
    events = list(WebhookEvent.objects.order_by("body_index"))
    assert answer == {"status": "accepted", "events": [str(event.pk) for event in events]}
    assert [event.body_index for event in events if event.state == State.PARKED] == [3]
    assert json.loads(bytes(events[0].body)) == content
    assert json.loads(bytes(events[9].body)) == content[9]


def test_an_array_partly_known_is_accepted() -> None:
    first = from_crm(EVENT).json()["event"]
    answer = from_crm([EVENT, EVENT | {"event_id": "evt_2"}, EVENT], "msg_2").json()
    assert answer["status"] == "accepted"
    assert [answer["events"][0], answer["events"][2]] == [first, first]
    assert WebhookEvent.objects.get(pk=first).duplicates == 2


def test_an_array_is_inserted_by_its_keys_and_answered_in_its_own_order() -> None:
    """Two arrays of the same events in another order would else wait for each other on PostgreSQL."""
    names = [f"e{number:03}" for number in range(450)]
    for turn, order in enumerate((names, names[::-1], names[::7] + names[::11])):
        WebhookEvent.objects.all().delete()
        answer = from_crm([EVENT | {"event_id": name} for name in order], f"msg_{turn}").json()["events"]
        keys = dict(WebhookEvent.objects.order_by("pk").values_list("dedupe_key", "pk"))
        assert [int(pk) for pk in answer] == [keys[f"id:{name}"] for name in order]
        assert list(keys) == sorted(keys)


@pytest.mark.django_db(transaction=True)
def test_a_large_array_costs_no_statement_an_event_and_none_when_it_comes_again() -> None:
    """As large as a body may be."""
    many = 5000
    events = [EVENT | {"event_id": f"e{n}"} for n in range(many)]
    with counted_statements() as sent:
        first = from_crm(events, "msg_1").json()
    assert len(sent) <= many // 200 + 10
    with counted_statements() as sent:
        answer = from_crm([*events[:-1], events[0]], "msg_2").json()
    assert len(sent) <= many // 200 * 4 + 10
    assert (first["status"], answer["status"]) == ("accepted", "duplicate")
    assert answer["events"] == [*first["events"][:-1], first["events"][0]]
    counted = dict(WebhookEvent.objects.values_list("dedupe_key", "duplicates"))
    assert (counted["id:e0"], counted["id:e5"], counted[f"id:e{many - 1}"]) == (2, 1, 0)


def test_an_event_many_times_in_one_array_is_one_event() -> None:
    answer = from_crm([EVENT] * 450).json()
    assert answer == {"status": "accepted", "events": [str(one().pk)] * 450}
    assert one().duplicates == 449


def test_an_array_beyond_reason_is_one_row_for_a_person_to_look_at() -> None:
    answer = from_crm(b"[" + b"0," * MAX_EVENTS + b"0]").json()
    assert answer == {"status": "accepted", "events": [str(one().pk)]}
    assert (one().state, one().is_finished) == (State.PARKED, True)
    assert f"{MAX_EVENTS + 1} elements" in one().reason and "Start a reconcile now" in one().reason


def test_every_whole_event_that_fits_into_a_body_is_taken(settings: Any) -> None:
    """If it tells all that an event may tell."""
    assert settings.MAX_BODY_BYTES // len(json.dumps(EVENT, separators=(",", ":"))) < MAX_EVENTS


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("state", [State.DONE, State.PROCESSING])
def test_a_large_array_of_hashes_is_news_once_its_events_may_have_been_read_at_no_statement_an_event(
    settings: Any, state: State
) -> None:
    settings.CRM_SIGNATURE, settings.CRM_WEBHOOK_SECRETS = "woocommerce", ["lab-webhook-secret"]
    body = json.dumps([{"crm_order_id": f"C-{number % 350}"} for number in range(400)]).encode()

    def deliver() -> Any:
        with counted_statements() as sent:
            answer = post(CRM, body, signed_by_shop(body)).json()
        assert len(sent) < 40
        return answer

    first, second = deliver(), deliver()
    assert (first["status"], second) == ("accepted", {**first, "status": "duplicate"})
    read = first["events"][:100]
    lease = timezone.now() + timedelta(minutes=1) if state == State.PROCESSING else None
    WebhookEvent.objects.filter(pk__in=read).update(state=state, next_attempt_at=lease)
    third = deliver()
    assert third["status"] == "accepted"
    assert not set(third["events"][:100]) & set(first["events"])
    assert third["events"][100:350] == first["events"][100:350]
    assert third["events"][350:] == third["events"][:50]
    assert set(WebhookEvent.objects.filter(pk__in=read).values_list("duplicates", flat=True)) == {1, 3}
    assert WebhookEvent.objects.count() == 450


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("content", [EVENT, {"crm_order_id": "C-1"}], ids=["strong", "weak"])
def test_a_repeated_delivery_costs_no_more_than_a_new_one(
    settings: Any, monkeypatch: pytest.MonkeyPatch, content: dict[str, Any]
) -> None:
    settings.CRM_SIGNATURE, settings.CRM_WEBHOOK_SECRETS = "woocommerce", ["lab-webhook-secret"]
    body = json.dumps(content).encode()
    sent: list[list[str]] = []
    clock.now()  # asks the database now and then
    monkeypatch.setattr(connections, "SEEN_FOR", 600.0)
    assert connections.bridges_told_by("crm") == (1,)  # asked once a second
    for _ in range(3):
        with patch("webhooks.views.wake"), counted_statements() as statements:
            post(CRM, body, signed_by_shop(body))
        sent.append(statements)
    assert [len(one) for one in sent] == [1, 1, 1]
    assert one().duplicates == 2


@pytest.mark.parametrize(("times", "status"), [(1, 200), (99, 503)])
def test_a_key_that_changes_hands_meanwhile_is_asked_for_again(times: int, status: int) -> None:
    """It was given up, and another process has just taken it, and its event may have been read by now."""
    first = post(WOO, *recorded("00020")).json()["event"]
    WebhookEvent.objects.update(state=State.DONE, next_attempt_at=None)
    hands = [None] * times

    def give_up(bridge: int, source: str, keys: list[str]) -> None:
        if hands:
            hands.pop()
        else:
            given_up(bridge, source, keys)

    given_up = intake.give_up_keys
    with patch("webhooks.intake.give_up_keys", give_up):
        answer = post(WOO, *recorded("00020"))
    assert answer.status_code == status
    if status == 200:
        assert (answer.json()["status"], answer.json()["event"] != first) == ("accepted", True)


def test_an_empty_array_is_one_parked_row() -> None:
    assert from_crm([]).json() == {"status": "accepted", "events": [str(one().pk)]}
    assert one().state == State.PARKED


@pytest.mark.parametrize(
    "wrong",
    [
        {"crm_order_id": None},
        {"crm_order_id": "x" * 65},
        {"crm_order_id": "a\0b"},
        {"crm_order_id": "\ud800"},
        {"version": True},
        {"version": "7"},
        {"version": 2**63},
        {"status": 5},
        {"updated_at": "yesterday"},
        {"updated_at": "2026-13-01T00:00:00Z"},
        {"updated_at": "0001-01-01T00:00:00+23:59"},
    ],
)
def test_an_event_that_is_wrong_is_parked(wrong: dict[str, Any]) -> None:
    assert from_crm(EVENT | wrong).status_code == 200
    assert one().state == State.PARKED


@pytest.mark.parametrize(
    "odd", [{"event_id": "x" * 500}, {"event_id": "\0\ud800"}, {"status": "\0a" * 99}, {"type": 1}]
)
def test_odd_texts_are_stored(odd: dict[str, Any]) -> None:
    for status in ("accepted", "duplicate"):
        assert from_crm(EVENT | odd).json()["status"] == status
    assert one().state == State.PENDING


# --- the edges -----------------------------------------------------------------------------------------------------


@pytest.mark.cases_alike
@pytest.mark.parametrize("method", ["get", "head", "put", "patch", "delete", "options", "trace"])
@pytest.mark.parametrize("url", [WOO, CRM, WOO.rstrip("/"), CRM.rstrip("/")])
def test_other_methods_are_405(method: str, url: str) -> None:
    assert getattr(Client(), method)(url).status_code == 405


@pytest.mark.parametrize("accept", ["text/html", "nonsense", "image/png;q=x"])
def test_whatever_the_sender_accepts_gets_json(accept: str) -> None:
    body, headers = recorded("00008")
    assert post(f"{WOO}?format=xml", body, headers | {"Accept": accept}).status_code == 200


@pytest.mark.parametrize(("name", "url"), [("WOO_WEBHOOK_SECRETS", WOO), ("CRM_WEBHOOK_SECRETS", CRM)])
@pytest.mark.parametrize("secrets", [[], [""]])
def test_without_a_secret_nobody_gets_in(settings: Any, name: str, url: str, secrets: list[str]) -> None:
    setattr(settings, name, secrets)
    answer = post(url, b"{}", signed_by_shop(b"{}", secret="x"))
    assert (answer.status_code, answer.json()) == (503, {"error": "not_configured"})


def test_an_unknown_scheme_lets_nobody_in(settings: Any) -> None:
    settings.CRM_SIGNATURE = "nonsense"
    assert from_crm(EVENT).status_code == 503


def test_a_database_that_can_not_store_is_503() -> None:
    def full(execute: Any, sql: str, *arguments: Any) -> Any:
        if sql.startswith("INSERT INTO webhooks_webhookevent"):
            raise OperationalError("disk full")
        return execute(sql, *arguments)

    with connection.execute_wrapper(full):
        answer = from_shop(b'{"id": 5}')
    assert (answer.status_code, answer["Retry-After"]) == (503, "30")
    assert answer.json() == {"error": "storage_unavailable"}


def test_a_broker_that_is_away_fails_no_delivery(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.QUEUE_BROKER = "redis://127.0.0.1:1/0"
    monkeypatch.setattr("webhooks.wake._broker", broker := Mock(side_effect=ConnectionError))
    assert from_shop(b'{"id": 5}').status_code == 200
    if wake._sender:
        wake._sender.join(30)
    broker.assert_called_once_with()


def test_hubspot_signs_the_public_url(settings: Any) -> None:
    settings.CRM_SIGNATURE, settings.CRM_WEBHOOK_SECRETS = "hubspot-v3", ["client-secret"]
    settings.PUBLIC_URL = "https://hub.example"
    headers = {
        "X-HubSpot-Signature-v3": "CQkNI00kc1ENOk30YOu9yZEMSYnNpI2ySLx2+We8TIE=",
        "X-HubSpot-Request-Timestamp": "1700000000000",
    }
    with patch("webhooks.hooks.signatures.verify", wraps=signatures.verify) as asked:
        post("/webhooks/crm?a=1", b"[]", headers)
    assert asked.call_args.args[2].url == "https://hub.example/webhooks/crm?a=1"


def test_one_line_is_logged_for_each_delivery(caplog: pytest.LogCaptureFixture) -> None:
    body, headers = recorded("00008")
    with caplog.at_level(logging.INFO, logger="orderbridge.deliveries"):
        post(WOO, body, headers)
    [line] = caplog.records
    said = vars(line)
    assert (said["source"], said["answer"], said["order"], said["bytes"]) == (
        "woocommerce",
        "accepted",
        "14",
        len(body),
    )


# --- bodies --------------------------------------------------------------------------------------------------------


class Broken(io.RawIOBase):
    def read(self, size: int = -1) -> bytes:
        raise OSError("the client went away")


def call(body: Any, headers: dict[str, str], **environ: Any) -> tuple[int, Any]:
    """As a web server calls us."""
    given = RequestFactory().post(WOO, headers=headers).environ
    given.pop("CONTENT_LENGTH", None)
    given |= {"wsgi.input": io.BytesIO(body) if isinstance(body, bytes) else body, "HTTP_HOST": "localhost", **environ}
    seen: list[str] = []
    answer = b"".join(application(given, lambda status, headers: seen.append(status)))  # type: ignore[arg-type]
    return int(seen[0].split()[0]), json.loads(answer)


@pytest.fixture
def quiet() -> Iterator[None]:
    """The end of a request would close the connection that the test's transaction lives on."""
    with patch("django.http.response.signals.request_finished.send"), patch("django.db.connection.close"):
        yield


CHUNKED = {"HTTP_TRANSFER_ENCODING": "chunked"}


@pytest.mark.parametrize(
    "environ", [CHUNKED, {"wsgi.input_terminated": True}, CHUNKED | {"wsgi.input_terminated": True}]
)
def test_a_chunked_body_is_read_like_any_other(quiet: None, environ: dict[str, Any]) -> None:
    body, headers = recorded("00008")
    assert call(body, headers, **environ)[0] == 200
    assert bytes(one().body) == body


def test_a_body_at_the_limit_is_taken_and_a_larger_one_is_413(quiet: None, settings: Any) -> None:
    settings.MAX_BODY_BYTES = 100
    for size, status in ((100, 200), (101, 413)):
        body = b'{"id": 5}'.ljust(size)
        headers = signed_by_shop(body)
        assert call(body, headers, **CHUNKED)[0] == status
        assert call(body, headers, CONTENT_LENGTH=str(size))[0] == status


def test_what_a_delivery_took_is_free_with_its_answer(quiet: None) -> None:
    """Else bodies of many megabytes would wait for the garbage collector."""
    body = b'{"id": 5}'
    gc.collect()
    gc.disable()
    try:
        assert call(body, signed_by_shop(body), CONTENT_LENGTH=str(len(body)))[0] == 200
        # By the type: `isinstance` would wake up what is lazy, of other tests, too.
        assert not [one for one in gc.get_objects() if issubclass(type(one), (DeliveryView, Request))]
    finally:
        gc.enable()


def test_djangos_own_limit_is_not_in_the_way(quiet: None, settings: Any) -> None:
    settings.MAX_BODY_BYTES, settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 1000, 10
    assert from_shop(b'{"id": 5}'.ljust(900)).status_code == 200


def test_an_announced_excess_is_not_read(quiet: None) -> None:
    assert call(Broken(), {}, CONTENT_LENGTH="9" * 30)[0] == 413


@pytest.mark.parametrize(
    "kind",
    [
        "application/x-www-form-urlencoded; charset=iso-8859-1",
        "application/json; charset=rot13",
        "text/plain; charset*=unheard-of''%41",
        "text/plain; charset=a\0b",
        "é; charset=é",
    ],
)
def test_no_content_type_is_in_the_way_of_a_delivery(quiet: None, kind: str) -> None:
    body, headers = recorded("00008")
    query = "&".join("a" * 1100)  # with a charset, Django counted these before anything could answer for it
    assert call(body, headers, CONTENT_TYPE=kind, CONTENT_LENGTH=str(len(body)), QUERY_STRING=query)[0] == 200
    assert bytes(one().body) == body


@pytest.mark.parametrize("length", ["-5", "+5", "x", "5.0", "١"])
def test_a_malformed_length_is_400(quiet: None, length: str) -> None:
    assert call(b"{}", {}, CONTENT_LENGTH=length)[0] == 400


@pytest.mark.parametrize("environ", [CHUNKED, {"CONTENT_LENGTH": "50"}])
def test_a_sender_that_breaks_off_gets_400(quiet: None, environ: dict[str, Any]) -> None:
    assert call(Broken(), {}, **environ)[0] == 400
    assert call(b"short", {}, CONTENT_LENGTH="50")[0] == 400


# --- many at once, and anything at all -----------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_the_same_delivery_many_times_at_once_is_one_row() -> None:
    answers: list[str] = []

    def deliver() -> None:
        answers.append(post(WOO, *recorded("00020")).json()["status"])
        connection.close()

    threads = [threading.Thread(target=deliver) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == ["accepted"] + ["duplicate"] * 7
    assert one().duplicates == 7


@pytest.mark.django_db(transaction=True)
def test_the_same_events_in_opposite_orders_at_once_are_each_stored_once() -> None:
    statuses: list[int] = []
    barrier = threading.Barrier(2, timeout=60)

    def deliver(turn: int, events: list[dict[str, Any]], name: str) -> None:
        barrier.wait()
        statuses.append(from_crm(events, f"msg_{turn}_{name}").status_code)
        connection.close()

    for turn in range(3):
        events = [EVENT | {"event_id": f"e{turn}_{number}"} for number in range(300)]
        threads = [
            threading.Thread(target=deliver, args=(turn, order, name))
            for name, order in (("there", events), ("back", events[::-1]))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    assert statuses == [200] * 6
    assert (WebhookEvent.objects.count(), sum(event.duplicates for event in WebhookEvent.objects.all())) == (900, 900)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(), lambda some: st.lists(some, max_size=4)
)
events = st.dictionaries(st.sampled_from(sorted(EVENT)), json_values)
headers = st.dictionaries(
    st.sampled_from(["X-WC-Webhook-Topic", "X-WC-Webhook-ID", "X-Other", "webhook-id", "webhook-signature", "Accept"]),
    st.text(st.characters(max_codepoint=255)),
)
fuzz = hypothesis_settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@fuzz
@given(st.binary() | st.text().map(str.encode), headers)
def test_no_bytes_and_no_headers_make_an_error(body: bytes, given_headers: dict[str, str]) -> None:
    assert post(WOO, body, given_headers | signed_by_shop(body)).status_code == 200
    assert post(WOO, body, signed_by_shop(body) | given_headers).status_code == 200
    assert post(CRM, body, given_headers | signed_by_crm(body)).status_code == 200
    assert post(CRM, body, given_headers).status_code in (400, 401)


@fuzz
@given(st.lists(events) | events)
def test_no_event_makes_an_error(content: Any) -> None:
    assert from_crm(content).status_code == 200


def test_an_endpoint_says_who_sends_to_it() -> None:
    with pytest.raises(TypeError, match="source"):
        DeliveryView()  # type: ignore[abstract]


def test_nothing_that_is_for_people_stands_before_a_delivery(settings: Any) -> None:
    """No session, no login, no redirect to https; and DRF's own answers are whole."""
    settings.SECURE_SSL_REDIRECT, settings.SECURE_REDIRECT_EXEMPT = True, []
    answer = post(WOO, *recorded("00008"))
    assert (answer.status_code, int(answer["Content-Length"])) == (200, len(answer.content))
    assert not answer.cookies
    wrong = Client().get(WOO)
    assert (wrong.status_code, wrong["Allow"], int(wrong["Content-Length"])) == (405, "POST", len(wrong.content))
    nobody = Client().post("/webhooks/nobody/")
    assert (nobody.status_code, nobody.json()) == (404, {"error": "not_found"})


if settings.DATABASES["default"]["ENGINE"].endswith("postgresql"):  # SQLite has no connection that could be cut

    @pytest.mark.django_db(transaction=True)
    def test_a_connection_that_was_cut_meanwhile_costs_no_delivery() -> None:
        first = from_shop(b'{"id": 5}').json()["event"]
        # As the test client does not, the database's end of a request would; the connection itself is kept.
        with connection.cursor() as cursor, pytest.raises(OperationalError):
            cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")
        answer = from_shop(b'{"id": 6}')
        assert (answer.status_code, answer.json()["status"]) == (200, "accepted")
        assert answer.json()["event"] != first


@pytest.mark.cases_alike
@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "The body is empty"),
        (b"\xef\xbb\xbf \r\n", "The body is empty"),
        (b"<?xml version='1.0'?><order/>", "XML or a page"),
        (b"<br /><b>Notice</b>", "XML or a page"),
        (b'{"id": 14, "status"', "breaks off"),
        (b"webhook=14", "The body is not JSON. Look at the body"),
        (b'{"order": {"id": 14, "status": "processing"}}', "legacy API"),
        (b'{"action": "woocommerce_order_refunded", "arg": 45}', "an action of WordPress and no order"),
        (b'{"id": 45, "amount": "5.00", "reason": "", "refunded_by": 1, "line_items": []}', "a refund and no order"),
        (b'{"id": 46, "status": "active", "billing_period": "month"}', "no order: it has billing_period"),
    ],
)
def test_what_is_no_order_is_told_by_its_name(body: bytes, words: str) -> None:
    [signal] = sources.parse_woocommerce(body, {})
    assert words in signal.parked_reason
    assert "line 1 column" not in signal.parked_reason  # that is how a library says it


def test_a_body_of_the_crm_that_is_none_is_told_as_well() -> None:
    [signal] = sources.parse_crm(b"", {}, id_is_signed=False)
    assert "The body is empty" in signal.parked_reason
