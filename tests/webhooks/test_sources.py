"""What a delivery says, by its body alone: each form that it may have, and what staff are told of the others."""

import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from django.utils.datastructures import CaseInsensitiveMapping

from webhooks import sources
from webhooks.sources import BIGINT, MAX_EVENTS, Signal, clean, parse_crm, parse_woocommerce

AT = datetime(2026, 11, 24, 3, 20, tzinfo=UTC)
TOPIC = {"X-WC-Webhook-Topic": "order.updated", "X-WC-Webhook-Delivery-ID": "d-1"}


def sha(*parts: bytes) -> str:
    """Of the parts, each with its length before it."""
    return hexdigest(b"".join(b"%d:%s" % (len(part), part) for part in parts))


def hexdigest(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()


# --- WooCommerce ---------------------------------------------------------------------------------------------------

ORDER: dict[str, Any] = {
    "id": 14,
    "status": "processing",
    "order_key": "wc_order_a",
    "date_modified_gmt": "2026-11-24T03:20:00",
    "billing": {"email": "ann@example.test"},
}


def raw(body: Any) -> bytes:
    return body if isinstance(body, bytes) else json.dumps(body).encode()


def shop(body: Any, headers: dict[str, str] = TOPIC, *, is_edited: bool = False) -> Signal:
    [signal] = parse_woocommerce(raw(body), CaseInsensitiveMapping(headers), is_edited=is_edited)
    return signal


def without(*names: str) -> dict[str, Any]:
    return {name: value for name, value in ORDER.items() if name not in names}


def test_an_order_of_the_shop() -> None:
    signal = shop(ORDER)
    assert signal.customer
    assert replace(signal, customer="") == Signal(
        dedupe_key=f"hash:{sha(raw(ORDER))}",
        by_hash=True,
        topic="order.updated",
        delivery_id="d-1",
        order_ref="14",
        occurred_at=AT,
    )


def test_labels_are_cut_to_what_their_columns_hold_and_may_be_missing() -> None:
    long = {"X-WC-Webhook-Topic": "order." + "x" * 200, "X-WC-Webhook-Delivery-ID": "y" * 200}
    assert (len(shop(ORDER, long).topic), len(shop(ORDER, long).delivery_id)) == (100, 128)
    assert (shop(ORDER, {}).topic, shop(ORDER, {}).delivery_id) == ("", "")


@pytest.mark.parametrize("number", [1, 14, BIGINT])
def test_a_number_of_64_bits_is_one(number: int) -> None:
    signal = shop({**ORDER, "id": number})
    assert (signal.order_ref, signal.parked_reason) == (str(number), "")


@pytest.mark.parametrize("number", [0, -1, BIGINT + 1, True, "14", 14.0, None, [14]])
def test_what_is_no_number_of_an_order_is_parked(number: Any) -> None:
    signal = shop({**ORDER, "id": number})
    assert (signal.order_ref, signal.dedupe_key) == ("", f"hash:{sha(raw({**ORDER, 'id': number}))}")
    assert "its id is not an integer from 1 to 2^63-1" in signal.parked_reason


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "The body is empty"),
        (b" \n", "The body is empty"),
        (b"\xef\xbb\xbf", "The body is empty"),
        (b"<html>", "XML or a page"),
        (b" \xef\xbb\xbf", "is not JSON. Look"),
        (b'{"id": 14', "though it begins as such"),
        (b"[1, 2", "though it begins as such"),
        (b'{"id": NaN}', "though it begins as such"),
        (b'{"id": -Infinity}', "though it begins as such"),
        (b"webhook_id=5", "is not JSON. Look"),
        (b"XML", "is not JSON. Look"),
        (b"\n <html>", "XML or a page"),
        (b"\xef\xbb\xbf {", "though it begins as such"),
        (b"NaN", "is not JSON. Look"),
        (b'{"id": "\xff"}', "not UTF-8"),
        (b"[" * 100_000, "nested too deeply"),
        (b"[]", "JSON and not an object"),
        (b"14", "JSON and not an object"),
        (b"null", "JSON and not an object"),
        ({"code": "woocommerce_rest_cannot_view", "data": {"status": 401}}, "woocommerce_rest_cannot_view (401)"),
        ({"code": "x" * 200, "data": {"status": "y" * 99}}, f"order: {'x' * 100} ({'y' * 20})"),
        ({"code": 5, "data": {"status": 401}}, "its id is not an integer"),
        ({"code": "x", "data": None}, "its id is not an integer"),
        ({"order": {"id": 14}}, "legacy API"),
        ({"order": 14}, "its id is not an integer"),
        ({"action": "woocommerce_order_updated", "arg": 14}, "an action of WordPress"),
        ({"action": "x"}, "its id is not an integer"),
        ({"arg": 14}, "its id is not an integer"),
        ({**without("order_key"), "sku": "T-1"}, "it has sku. Remove"),
        ({"id": 14, "username": "ann", "slug": "x"}, "it has slug, username. Remove"),
        ({**ORDER, "next_payment_date_gmt": ""}, "it has next_payment_date_gmt. Remove"),
        ({**without("order_key"), "billing_period": "month"}, "it has billing_period. Remove"),
        ({**ORDER, "refunded_by": 1}, "is a refund"),
        (without("status"), "has an id and no status"),
        ({**ORDER, "status": ""}, "has an id and no status"),
        ({**ORDER, "status": ["processing"]}, "has an id and no status"),
    ],
)
def test_staff_are_told_what_a_body_is_that_is_no_order(body: Any, words: str) -> None:
    signal = shop(body)
    assert words in signal.parked_reason
    assert signal == Signal(
        dedupe_key=f"hash:{sha(raw(body))}",
        by_hash=True,
        topic="order.updated",
        delivery_id="d-1",
        parked_reason=signal.parked_reason,
    )


@pytest.mark.parametrize("name", ["order_key", "line_items", "currency", "total", "number"])
def test_what_only_orders_have_makes_it_one_whatever_else_it_has_and_its_topic_says(name: str) -> None:
    body = {"id": 14, "status": "processing", name: "x", "slug": "x"}
    assert shop(body, {"X-WC-Webhook-Topic": "product.updated"}).parked_reason == ""


@pytest.mark.parametrize("topic", ["", "order.deleted", "order"])
@pytest.mark.parametrize("body", [{"id": 14}, without("order_key")])
def test_a_bare_number_is_an_orders_unless_its_topic_says_otherwise(topic: str, body: dict[str, Any]) -> None:
    signal = shop(body, {"X-WC-Webhook-Topic": topic})
    assert (signal.order_ref, signal.parked_reason) == ("14", "")
    other = shop(body, {"X-WC-Webhook-Topic": "product.deleted"})
    assert "The topic 'product.deleted' is not about orders" in other.parked_reason
    assert (other.order_ref, other.dedupe_key) == ("", f"other:{signal.dedupe_key}")


def test_staff_need_not_write_a_whole_order() -> None:
    assert shop({"id": 14, "note": "x"}, is_edited=True).order_ref == "14"
    [from_shop] = parse_woocommerce(raw({"id": 14, "note": "x"}), CaseInsensitiveMapping(TOPIC))
    assert from_shop.parked_reason
    assert shop({"id": 14, "refunded_by": 1}, is_edited=True).parked_reason


@pytest.mark.parametrize(
    ("value", "at"),
    [("2026-11-24T03:20:00", AT), ("2026-11-24T04:20:00+01:00", AT), ("soon", None), (None, None), (5, None)],
)
def test_a_time_that_is_none_parks_no_order(value: Any, at: datetime | None) -> None:
    signal = shop({**ORDER, "date_modified_gmt": value})
    assert (signal.occurred_at, signal.parked_reason) == (at, "")


# --- the CRM -------------------------------------------------------------------------------------------------------

EVENT: dict[str, Any] = {
    "event_id": "evt_1",
    "type": "order.status_changed",
    "crm_order_id": "C-1",
    "status": "shipped",
    "version": 7,
    "updated_at": "2026-11-24T03:20:00Z",
}
SENT = {"webhook-id": "msg_1"}


def crm(body: Any, headers: dict[str, str] = SENT, *, id_is_signed: bool = False) -> list[Signal]:
    return parse_crm(raw(body), CaseInsensitiveMapping(headers), id_is_signed=id_is_signed)


def event(**changes: Any) -> Signal:
    """Of one with these changes; None takes away."""
    [signal] = crm({name: value for name, value in {**EVENT, **changes}.items() if value is not ...})
    return signal


ONE = Signal(
    dedupe_key="id:evt_1",
    topic="order.status_changed",
    order_ref="C-1",
    version=7,
    status="shipped",
    occurred_at=AT,
    delivery_id="msg_1",
)


def test_an_event_of_the_crm() -> None:
    assert event() == ONE
    assert event(status=None) == replace(ONE, status="")
    assert event(status=..., type=..., version=..., updated_at=...) == replace(
        ONE, status="", topic="", version=None, occurred_at=None
    )
    assert event(type=5) == replace(ONE, topic="")
    assert event(type="t" * 101, status="s" * 65) == replace(ONE, topic="t" * 100, status="s" * 64)


@pytest.mark.parametrize(
    ("changes", "key", "by_hash"),
    [
        ({}, "id:evt_1", False),
        ({"event_id": 5}, "id:5", False),
        ({"event_id": BIGINT}, f"id:{BIGINT}", False),
        ({"event_id": -BIGINT}, f"id:{-BIGINT}", False),
        ({"event_id": BIGINT + 1}, "version:C-1:7", False),
        ({"event_id": True}, "version:C-1:7", False),
        ({"event_id": ""}, "version:C-1:7", False),
        ({"event_id": None}, "version:C-1:7", False),
        ({"event_id": ..., "version": 0}, "version:C-1:0", False),
        ({"event_id": ..., "version": None}, "time:C-1:2026-11-24T03:20:00+00:00:shipped", False),
        ({"event_id": "e" * 157}, f"id:{'e' * 157}", False),
        ({"event_id": "e" * 158}, f"id:sha256:{hexdigest(b'e' * 158)}", False),
        ({"event_id": "e\0"}, f"id:sha256:{hexdigest(b'e' + bytes(1))}", False),
        ({"event_id": "\ud800"}, f"id:sha256:{hexdigest(bytes([0xED, 0xA0, 0x80]))}", False),
    ],
)
def test_by_what_an_event_is_known_again(changes: dict[str, Any], key: str, by_hash: bool) -> None:
    signal = event(**changes)
    assert (signal.dedupe_key, signal.by_hash, signal.parked_reason) == (key, by_hash, "")
    assert (signal.order_ref, signal.status, signal.delivery_id) == ("C-1", "shipped", "msg_1")


def test_two_moves_within_one_second_are_two_events() -> None:
    keys = [event(event_id=..., version=..., status=status).dedupe_key for status in ("paid", "shipped", "paid")]
    assert keys[0] == keys[2] != keys[1]


def test_an_event_that_says_neither_id_nor_version_nor_time_is_known_by_its_content() -> None:
    bare = {"crm_order_id": "C-1", "status": "shipped"}
    text = json.dumps(bare, sort_keys=True).encode()
    assert crm(bare) == [
        replace(ONE, dedupe_key=f"hash:{sha(text)}", by_hash=True, topic="", version=None, occurred_at=None)
    ]
    assert crm({"status": "shipped", "crm_order_id": "C-1"})[0].dedupe_key == f"hash:{sha(text)}"


def test_the_id_of_a_delivery_counts_where_it_is_signed() -> None:
    bare = [{"crm_order_id": "C-1"}, {"crm_order_id": "C-2"}]
    assert [one.dedupe_key for one in crm(bare, id_is_signed=True)] == ["delivery:msg_1:0", "delivery:msg_1:1"]
    assert [one.by_hash for one in crm(bare, id_is_signed=True)] == [False, False]
    assert [one.by_hash for one in crm(bare)] == [True, True]
    [single] = crm(bare[0], id_is_signed=True)
    assert (single.dedupe_key, single.index) == ("delivery:msg_1:0", None)
    assert crm(EVENT, id_is_signed=True)[0].dedupe_key == "id:evt_1"
    assert crm({"crm_order_id": "C-1"}, {}, id_is_signed=True)[0].by_hash
    assert crm(EVENT, {"webhook-id": "m" * 129})[0].delivery_id == "m" * 128


def test_of_an_array_each_element_is_a_signal_of_its_own() -> None:
    second = {**EVENT, "event_id": "evt_2", "crm_order_id": ""}
    third = {**EVENT, "event_id": "evt_3"}
    first, bad, last = crm([EVENT, second, third])
    assert first == replace(ONE, index=0)
    assert "names no order" in bad.parked_reason
    assert (bad.dedupe_key, bad.index, bad.element) == ("id:evt_2", 1, json.dumps(second, sort_keys=True).encode())
    assert last == replace(ONE, dedupe_key="id:evt_3", index=2, element=json.dumps(third, sort_keys=True).encode())


def test_an_element_that_can_not_be_written_again_is_known_by_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    def too_deep(event: Any) -> str:
        raise RecursionError

    monkeypatch.setattr(sources.SORTED, "encode", too_deep)
    body = [EVENT, EVENT]
    first, second = crm(body)
    whole = f"hash:{sha(raw(body))}".encode()
    assert [one.dedupe_key for one in (first, second)] == [f"hash:{sha(whole, b'%d' % n)}" for n in (0, 1)]
    assert "not a JSON object" in first.parked_reason and first.by_hash and first.element == second.element == b""


@pytest.mark.parametrize(
    ("body", "index", "words"),
    [
        ([], 0, "The array is empty"),
        ([0] * (MAX_EVENTS + 1), 0, f"The array holds {MAX_EVENTS + 1} elements; more than {MAX_EVENTS} are not taken"),
        ([0] * (MAX_EVENTS + 1), 0, "Start a reconcile now"),
        (b"", None, "The body is empty"),
        (b"[1", None, "though it begins as such"),
    ],
)
def test_a_body_that_is_not_taken_apart_is_one_signal(body: Any, index: int | None, words: str) -> None:
    [signal] = crm(body)
    assert words in signal.parked_reason
    assert replace(signal, parked_reason="") == Signal(
        dedupe_key=f"hash:{sha(raw(body))}", by_hash=True, delivery_id="msg_1", index=index
    )


def test_an_array_of_the_most_elements_is_taken_apart() -> None:
    assert len(crm(b"[" + b"0," * (MAX_EVENTS - 1) + b"0]")) == MAX_EVENTS


@pytest.mark.parametrize("value", [5, "x", None, [EVENT]])
def test_an_element_that_is_no_object_is_parked(value: Any) -> None:
    [signal] = crm([value])
    assert "not a JSON object" in signal.parked_reason
    assert (signal.dedupe_key, signal.by_hash, signal.topic) == (
        f"hash:{sha(json.dumps(value, sort_keys=True).encode())}",
        True,
        "",
    )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"crm_order_id": ...}, "crm_order_id is missing"),
        ({"crm_order_id": ""}, "crm_order_id is missing"),
        ({"crm_order_id": " "}, "crm_order_id is missing"),
        ({"crm_order_id": True}, "crm_order_id is missing"),
        ({"crm_order_id": BIGINT + 1}, "crm_order_id is missing"),
        ({"crm_order_id": ["C-1"]}, "crm_order_id is missing"),
        ({"crm_order_id": "C" * 65}, "longer than 64"),
        ({"crm_order_id": "C\0"}, "no id may hold"),
        ({"crm_order_id": "\ud800"}, "no id may hold"),
        ({"version": "7"}, "version is not an integer of 64 bits"),
        ({"version": 7.0}, "version is not an integer of 64 bits"),
        ({"version": True}, "version is not an integer of 64 bits"),
        ({"version": BIGINT + 1}, "version is not an integer of 64 bits"),
        ({"version": -BIGINT - 1}, "version is not an integer of 64 bits"),
        ({"updated_at": "yesterday"}, "updated_at is not a time"),
        ({"updated_at": 1764000000}, "updated_at is not a time"),
        ({"updated_at": "2026-11-24"}, "updated_at is not a time"),
        ({"updated_at": "2026-13-24T03:20:00Z"}, "updated_at is not a time"),
        ({"updated_at": "2026-11-24T03:20:00Z "}, "updated_at is not a time"),
        ({"status": 5}, "status is not a string"),
        ({"status": ["shipped"]}, "status is not a string"),
    ],
)
def test_an_event_that_can_not_be_understood_is_parked_and_keeps_its_id(changes: dict[str, Any], words: str) -> None:
    signal = event(**changes)
    assert words in signal.parked_reason
    assert replace(signal, parked_reason="") == Signal(
        dedupe_key="id:evt_1", topic="order.status_changed", delivery_id="msg_1"
    )


@pytest.mark.parametrize(
    ("changes", "field", "value"),
    [
        ({"crm_order_id": 5}, "order_ref", "5"),
        ({"crm_order_id": BIGINT}, "order_ref", str(BIGINT)),
        ({"crm_order_id": "C" * 64}, "order_ref", "C" * 64),
        ({"crm_order_id": " C "}, "order_ref", " C "),
        ({"version": BIGINT}, "version", BIGINT),
        ({"version": -BIGINT}, "version", -BIGINT),
        ({"version": 0}, "version", 0),
        ({"updated_at": "2026-11-24T03:20:00"}, "occurred_at", AT),
        ({"updated_at": "2026-11-24t03:20:00z"}, "occurred_at", AT),
        ({"updated_at": "2026-11-24 04:20:00+01:00"}, "occurred_at", AT),
    ],
)
def test_what_is_just_good_enough(changes: dict[str, Any], field: str, value: Any) -> None:
    assert event(**changes) == replace(ONE, **{field: value})


# --- both ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("abcdef", "abc"),
        ("ab", "ab"),
        ("a\0bcd", "abc"),
        ("äöüß", "äöü"),
        ("ä\0ö", "äö"),
        ("\ud800ab", "ab"),
        ("é\ud800\0b", "éb"),
        ("", ""),
    ],
)
def test_what_is_stored_fits_its_column_and_any_database(text: str, kept: str) -> None:
    assert clean(text, 3) == kept


def test_the_two_sources(settings: Any) -> None:
    settings.WOO_WEBHOOK_SECRETS = ["", "one", "two"]
    source = sources.woocommerce()
    assert source
    assert (source.name, source.side, source.verify.name) == ("woocommerce", "shop", "woocommerce")
    assert (source.header, source.secrets) == ("X-WC-Webhook-Signature", ("one", "two"))
    assert source.parse is parse_woocommerce


@pytest.mark.parametrize(
    ("scheme", "header", "secrets", "usable", "signed"),
    [
        ("standard-webhooks", "", ["whsec_!", "whsec_b25l"], ("whsec_b25l",), True),
        ("hmac-sha256-hex", "X-Mine", ["", "one", "!"], ("one", "!"), False),
        ("made-up", "", ["one"], (), False),
    ],
)
def test_the_crm_signs_as_it_is_set(
    settings: Any, scheme: str, header: str, secrets: list[str], usable: tuple[str, ...], signed: bool
) -> None:
    settings.CRM_SIGNATURE, settings.CRM_SIGNATURE_HEADER, settings.CRM_WEBHOOK_SECRETS = scheme, header, secrets
    source = sources.crm()
    assert source
    assert (source.name, source.side, source.verify.name) == ("crm", "crm", scheme)
    assert (source.header, source.secrets) == (header or "X-CRM-Signature", usable)
    [one] = source.parse(raw({"crm_order_id": "C-1"}), CaseInsensitiveMapping(SENT))
    assert one.by_hash is not signed
