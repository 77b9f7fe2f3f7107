"""What is left of a document when no person may be known from it."""

import json
import time
from typing import Any

import pytest

from tests.deliveries import PAYLOADS, recorded
from webhooks.masking import MASK, masked, masked_text

OF_THE_CUSTOMER = [
    "juergen@",
    "Jürgen",
    "Müller",
    "Söhne",
    "Straße",
    "Berlin",
    "10623",
    "123456",
    "klingeln",
    "T04B4YJ2",
]
CALL = "GET /orders/1042 → 200 (12 ms) at 2026-11-24 03:12:09"


def as_text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def test_a_recorded_order_tells_nothing_of_its_customer() -> None:
    order = json.loads(recorded("00007")[0])
    assert [word for word in OF_THE_CUSTOMER if word in as_text(order)] == OF_THE_CUSTOMER
    assert [word for word in OF_THE_CUSTOMER if word in as_text(masked(order))] == []


def test_a_recorded_order_stays_readable() -> None:
    order = json.loads(recorded("00007")[0])
    shown = masked(order)
    assert shown.keys() == order.keys()
    for name in ("id", "status", "currency", "total", "number", "date_created", "payment_method_title", "tax_lines"):
        assert shown[name] == order[name]
    assert [line["name"] for line in shown["line_items"]] == [line["name"] for line in order["line_items"]]
    assert shown["billing"] == {
        **dict.fromkeys(order["billing"], MASK),
        "address_2": "",
        "country": "DE",
        "email": f"j{MASK}@example.test",
    }


@pytest.mark.parametrize("path", sorted(PAYLOADS.glob("*order*.json")), ids=lambda path: path.name[:5])
def test_no_recorded_delivery_tells_names_or_mail(path: Any) -> None:
    shown = masked_text(json.loads(path.read_text())["body"])
    assert "juergen@example.test" not in shown
    assert "Müller" not in shown


@pytest.mark.parametrize(
    "document",
    [
        {"customer": {"id": 7, "name": "Ann", "loyalty": {"card": 4711}}},
        {"contact": [{"Name": "Ann"}]},
        {"customer": "Ann"},
        {"firstName": "Ann"},
        {"order": {"billing": {"nickname": "Ann", "age": 4711}}},
        {"meta_data": [{"id": 1, "key": "engraving", "value": "Ann", "display_value": ["Ann"]}]},
        {"payload": '{"billing": {"first_name": "Ann"}}'},
        {"customerNote": "Ann", "phone": 4711},
        {"user-agent": "Ann/4711"},
    ],
)
def test_people_are_masked_wherever_they_are(document: Any) -> None:
    shown = as_text(masked(document))
    assert "Ann" not in shown
    assert "4711" not in shown
    assert MASK in shown


@pytest.mark.parametrize(
    "document",
    [
        {"id": "C-1001", "external_id": "14", "status": "new", "version": 1, "updated_at": "2026-11-24T03:12:09Z"},
        {"error": "not_found", "message": "There is no order C-1001 (2026-11-24 03:12:09+00:00)"},
        {"results": [], "next_cursor": None, "ok": True, "total": 12.5},
        {"customer_id": 17, "shipping_total": "4.90", "line_items": [{"name": "Tea", "sku": "T-300-400-5000"}]},
    ],
)
def test_what_tells_no_person_is_left_as_it_is(document: Any) -> None:
    assert masked(document) == document


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", ""),
        ("ann@shop.example asked twice", f"a{MASK}@shop.example asked twice"),
        ("?email=ann%40shop.example", f"?email=a{MASK}%40shop.example"),
        ("call +49 30 123456, or 0049 (30) 123456", f"call {MASK}, or {MASK}"),
        ("call (555) 123-4567", f"call {MASK}"),
        (
            "GET /orders/1042 → 200 (12 ms) at 2026-11-24 03:12:09",
            "GET /orders/1042 → 200 (12 ms) at 2026-11-24 03:12:09",
        ),
        ('{"email": "ann@shop.example"}', f'{{"email": "a{MASK}@shop.example"}}'),
    ],
)
def test_in_words_mail_and_phone_are_masked(text: str, shown: str) -> None:
    assert masked_text(text) == shown


@pytest.mark.parametrize("length", [30, 700, 1500, 2100, 2600])
def test_an_order_that_was_cut_off_tells_nothing_either(length: int) -> None:
    """Calls keep only the beginning of what was sent and answered."""
    text = json.dumps(json.loads(recorded("00007")[0]), ensure_ascii=False)[:length]
    shown = masked_text(text)
    assert [word for word in OF_THE_CUSTOMER if word in shown] == []
    assert '"id": 14' in shown


def test_an_escaped_quote_ends_no_literal() -> None:
    assert "Ann" not in masked_text(r'{"billing": {"company": "x\", \"id\": \"Ann", "other": "Ann')


@pytest.mark.parametrize(
    "text", ["[" * 100_000, "a" * 1_000_000, "+1" * 300_000, '{"a":"' * 100_000, "1 " * 500_000, "a@" * 300_000]
)
def test_no_text_takes_long(text: str) -> None:
    started = time.process_time()
    masked_text(text)
    assert time.process_time() - started < 2
