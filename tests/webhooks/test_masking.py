"""What is left of a document when no person may be known from it."""

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.deliveries import PAYLOADS, recorded
from webhooks.masking import MANY_DIGITS, MASK, NUMBER, PHONE, StillMasked, masked, masked_text, restored

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
PERSONAL = (
    *(
        "Zoë Quill",
        "Иван Петров",
        "Zaphod O'Neill",
        "zaphod quill@home",
        "+49 151 2345678",
        "0151 2345678",
        "01512345678",
    ),
    *(
        "0151-2345678",
        "(030) 1234567",
        "Main Street 12",
        "12/1 Baker Lane",
        "Zaphodquill",
        "ring twice: it's urgent \\",
    ),
)
FIELDS = (
    *(
        "id",
        "number",
        "order_id",
        "customer_id",
        "sku",
        "status",
        "state",
        "type",
        "topic",
        "code",
        "error",
        "key",
        "value",
    ),
    *(
        "total",
        "price",
        "quantity",
        "version",
        "currency",
        "country",
        "date_created",
        "updated_at",
        "href",
        "name",
        "имя",
    ),
    *("billing", "message", "phone_number", "vorname", "Content-Type", "ok", "source", "payment_method", "reason", ""),
)
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
    for name in (
        *("id", "parent_id", "status", "currency", "version", "number", "customer_id", "payment_method", "created_via"),
        *("total", "total_tax", "discount_total", "shipping_total", "prices_include_tax", "needs_payment"),
        *("date_created", "date_created_gmt", "date_modified_gmt", "date_paid", "date_completed"),
    ):
        assert shown.get(name) == order.get(name), name
    for name in (
        "id",
        "sku",
        "product_id",
        "variation_id",
        "quantity",
        "price",
        "subtotal",
        "total",
        "taxes",
        "tax_class",
    ):
        assert [line[name] for line in shown["line_items"]] == [line[name] for line in order["line_items"]], name
    assert shown["_links"]["self"][0]["href"] == order["_links"]["self"][0]["href"]
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
        {"phone_number": "Ann", "given_name": "Ann", "vorname": "Ann", "имя": "Ann", "House number": 4711},
        {"meta": [{"name": "Deliver to", "value": "Ann"}, {"name": "Ann", "content": 4711}]},
        {"line_items": [{"name": "A cup for Ann"}], "message": "Ann", "": "Ann"},
        {"Ann Lee": 1, "total": 1},
        ["Ann", [4711]],
        "Ann",
        {"birth_date": "1985-04-711", "house_number": 4711, "dob": "Ann", "is_pregnant": True},
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
        {"error": "not_found", "code": "woocommerce_rest_invalid_id", "data": {"status": 404}},
        {"results": [], "next_cursor": None, "ok": True, "total": 12.5},
        {"customer_id": 17, "shipping_total": "4.90", "line_items": [{"quantity": 2, "sku": "T-300-400-5000"}]},
        {
            "event_id": "evt_7",
            "type": "order.status_changed",
            "crm_order_id": "SAL-ORD-2026-00001",
            "status": "On Hold",
        },
        {"state": "sale", "write_date": "2026-11-27 22:37:06", "createdAt": "2026-11-24T03:12:09.123+01:00"},
        {"X-WC-Webhook-Topic": "order.updated", "Content-Type": "application/json", "X-WC-Webhook-ID": "3"},
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
        ("call 030 123456 or 0151/2345678 or (0151) 234-5678.", f"call {MASK} or {MASK} or {MASK}."),
        ("PUT on the shop: 400: invalid_email «Ann Lee has none»", f"PUT on the shop: 400: invalid_email «{MASK}»"),
        ("a quotation that was cut «Ann", f"a quotation that was cut «{MASK}»"),
        ("The CRM's status 'Ann Lee' has no status rule.", f"The CRM's status '{MASK}' has no status rule."),
        (
            "The CRM's status 'To Deliver' or 'in_production' of 'C-7' is not \"it's Ann's\".",
            f"The CRM's status 'To Deliver' or 'in_production' of 'C-7' is not \"{MASK}\".",
        ),
        (
            "GET /orders/1042 → 200 (12 ms) at 2026-11-24 03:12:09",
            "GET /orders/1042 → 200 (12 ms) at 2026-11-24 03:12:09",
        ),
        ('{"email": "ann@shop.example"}', f'{{"email": "a{MASK}@shop.example"}}'),
    ],
)
def test_in_words_mail_and_phone_are_masked(text: str, shown: str) -> None:
    assert masked_text(text) == shown


@given(text=st.text("0123456789００５ +＋()（-–./:,x", min_size=7, max_size=24))
def test_only_texts_with_many_digits_need_a_search_for_numbers(text: str) -> None:
    if PHONE.search(text) or NUMBER.search(text):
        assert MANY_DIGITS.search(text)


@pytest.mark.parametrize("length", [30, 700, 1500, 2100, 2600])
def test_an_order_that_was_cut_off_tells_nothing_either(length: int) -> None:
    """Calls keep only the beginning of what was sent and answered."""
    text = json.dumps(json.loads(recorded("00007")[0]), ensure_ascii=False)[:length]
    shown = masked_text(text)
    assert [word for word in OF_THE_CUSTOMER if word in shown] == []
    assert '"id": 14' in shown


OF_A_PERSON = (
    *(
        "card",
        "passport",
        "phone",
        "iban",
        "ssn",
        "postal",
        "zip",
        "birth",
        "birthday",
        "dob",
        "customer",
        "user",
        "login",
    ),
    *(
        "contact",
        "address",
        "person",
        "vat",
        "ip",
        "geo",
        "location",
        "twitter",
        "owner",
        "party",
        "partner",
        "licence",
    ),
    *("Kunde", "value", "custom_fields", "shipping_phone", "имя", "billing", "shipping", "billing_address", ""),
)
LOOKS_HARMLESS = (
    *("4111111111111111", "C01X00T47", "DE89370400440532013000", "jane1985", "1985-03-01", "192.168.17.4", "bavaria"),
    *("jane.doe85", "12.3", "erika-mustermann", "EUR", 80331, 15112345678, 48.137154, True),
)
HARMLESS_NAMES = (
    *(
        "id",
        "number",
        "code",
        "date",
        "time",
        "status",
        "state",
        "total",
        "tax",
        "version",
        "position",
        "place",
        "type",
    ),
    *("key", "sku", "currency", "timestamp", "ids", "quantity", "external_id", "created_at", "order_id", "source"),
)


@given(
    st.lists(st.sampled_from(["order", "data", "results", "line_items", "_links"]), max_size=2),
    st.sampled_from([one for one in OF_A_PERSON if one]) | st.text("qwxyz", min_size=3),
    st.lists(st.sampled_from(["data", "items", "order", "x", "numbers"]), max_size=2),
    st.sampled_from(HARMLESS_NAMES),
    st.sampled_from(LOOKS_HARMLESS),
    st.booleans(),
)
def test_a_harmless_name_in_what_is_not_known_shows_nothing(
    outside: list[str], parent: str, inside: list[str], name: str, value: Any, listed: bool
) -> None:
    document: Any = {"id": 1, name: value, "status": "new"}
    for one in reversed([*outside, parent, *inside]):
        document = {one: [document, 5] if listed else document}
    for text in (as_text(masked(document)), masked_text(as_text(document)[:-1]), masked_text(as_text(document))):
        assert as_text(value) not in text and '"new"' not in text


def test_a_cut_document_is_shown_as_a_whole_one_is() -> None:
    document = {
        "billing": {"country": "DE", "state": "bavaria"},
        "line_items": [{"id": 7, "image": {"id": 8}, "sku": "A-1", "taxes": [{"id": 1, "total": "1.00"}]}, "A-2"],
        "card": [{"number": "4111111111111111"}, {"x": {}}, "A-3"],
        "status": "processing",
        "rest": "",
    }
    cut, whole = masked_text(as_text(document)[:-1]), as_text(masked(document))[:-1]
    assert cut.replace('"', "") == whole.replace('"', "")


@pytest.mark.parametrize(
    "text",
    [
        *("call 15112345678", "tel:15112345678", "151 2345678", "Reason: tel 151-2345678, thanks", "0151–1234567"),
        *("0151 — 1234567", "(0151)\u00a01234567", "＋4915112345678", "０１５１１２３４５６７８", "15112345678 called"),
        *(
            "jane.doe(at)example.test",
            "jane.doe [at] example.test",
            "jane.doe＠example.test",
            "jane.doe @ example.test",
        ),
        *("jane.doe&#64;example.test", "jane.doe\\u0040example.test", "jane.doe%2540example.test"),
    ],
)
def test_however_it_is_written_in_words_it_is_masked(text: str) -> None:
    shown = masked_text(text)
    assert MASK in shown
    assert [one for one in ("2345678", "1234567", "１２３４５６７", "ane.doe") if one in shown] == []


@pytest.mark.parametrize(
    "text",
    [
        *(
            "order 12345678 edited",
            "Orders: 12345678, 23456789 and 34567890.",
            "event 123456789: woocommerce",
            "1234567",
        ),
        *("GET /orders/12345678?include=1234567,1234568 → 200 (12 ms)", "12345678 bytes", "woo:12345678 ↔ 23456789"),
        *(
            "The CRM knows order SAL-2026-00001",
            "linked to 23456789",
            "of 2026-11-24 03:12:09.123456 UTC",
            "1234567.00",
        ),
        "Order 12345678 (no. 23456789) ↔ 2026-00001",
    ],
)
def test_ids_in_our_own_words_stay(text: str) -> None:
    assert masked_text(text) == text


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just("processing"),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(FIELDS) | st.text(), inner, max_size=4),
    max_leaves=12,
)


@st.composite
def planted(draw: st.DrawFn) -> tuple[Any, str]:
    """A document that has one personal value somewhere, under any name, known ones included."""
    mark = draw(st.sampled_from(PERSONAL))
    document: Any = draw(st.sampled_from([mark, [mark]]))
    for _ in range(draw(st.integers(1, 4))):
        around = draw(st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=3))
        name = draw(st.sampled_from(FIELDS) | st.text())
        document = draw(st.sampled_from([{**around, name: document}, {name: document, **around}, [document, around]]))
    return document, str(mark)


@given(planted())
def test_a_personal_value_never_shows_under_any_name_at_any_depth(of: tuple[Any, str]) -> None:
    document, mark = of
    text = as_text(document)
    shown = [
        as_text(masked(document)),
        masked_text(text),
        masked_text(text[: max(len(text) - 3, 1)] + "]"),
        masked_text(f"[{text[:-1]}"),
    ]
    assert [one for one in shown if mark in one] == []


@given(JSON)
def test_what_was_masked_is_put_back_where_it_was(document: Any) -> None:
    assert as_text(restored(masked(document), document)) == as_text(document)


@given(JSON, st.data())
def test_no_edit_makes_visible_what_was_masked(document: Any, data: st.DataObject) -> None:
    """What comes out of the original's masked leaves is masked again, whatever somebody makes of the document."""
    edited = data.draw(edits(masked(document)))
    try:
        result = restored(edited, document)
    except StillMasked:
        return
    for before, after in zip(leaves(edited), leaves(masked(result)), strict=True):
        assert before == after or (before != before and after != after) or MASK not in str(before)


def leaves(value: Any) -> list[Any]:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return [value] if inner is None else [leaf for one in inner for leaf in leaves(one)]


@st.composite
def edits(draw: st.DrawFn, shown: Any) -> Any:
    """Fields renamed, taken away, moved, masks typed in: what an editor of text can do."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.sampled_from([MASK, f"a{MASK}@b.example", {"id": MASK}, 7, "x"]))
    if isinstance(shown, dict):
        pairs = draw(st.permutations(list(shown.items())))
        names = [draw(st.sampled_from([name, name, name, "id", "status", f"{MASK}1", "x"])) for name, _ in pairs]
        return {name: draw(edits(inner)) for name, (_, inner) in zip(names, pairs, strict=True)}
    if isinstance(shown, list):
        return [draw(edits(inner)) for inner in shown[draw(st.integers(0, 1)) :]]
    return shown


def test_an_escaped_quote_ends_no_literal() -> None:
    assert "Ann" not in masked_text(r'{"billing": {"company": "x\", \"id\": \"Ann", "other": "Ann')


@pytest.mark.parametrize(
    "text", ["[" * 100_000, "a" * 1_000_000, "+1" * 300_000, '{"a":"' * 100_000, "1 " * 500_000, "a@" * 300_000]
)
def test_no_text_takes_long(text: str) -> None:
    started = time.process_time()
    masked_text(text)
    assert time.process_time() - started < 2
