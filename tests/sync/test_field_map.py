"""A field map is pure: rows and an order in, the CRM's fields out, with a reason for each that is left out."""

import json
from typing import Any

import pytest

from sync.clients.mapping.facts import facts, paths, value_at
from sync.clients.mapping.field_map import BadRow, FieldMap, Row, as_text, field_map
from sync.clients.mapping.transforms import TRANSFORMS, TYPES

ORDER: dict[str, Any] = {
    "id": 14,
    "number": "R-14",
    "status": "processing",
    "currency": "EUR",
    "total": "24.50",
    "date_created_gmt": "2026-11-28T23:30:00",
    "date_modified_gmt": "2026-11-29T00:00:00",
    "customer_note": "",
    "payment_method": "bacs",
    "billing": {"first_name": "Jürgen", "last_name": "Müller", "email": "JM@Example.test", "company": "", "phone": "0"},
    "line_items": [
        {"id": 1, "name": "T-shirt", "sku": "ts-1", "quantity": 2, "total": "20.00", "total_tax": "0.00"},
        {"id": 2, "name": "Card", "sku": "", "quantity": 1, "total": "4.50", "total_tax": "0.00"},
        {"id": 3, "name": "Mug", "sku": "mug", "quantity": 1, "total": "0.00", "total_tax": "0.00"},
    ],
    "meta_data": [
        {"id": 1, "key": "_delivery.day", "value": "28.11.2026"},
        {"id": 2, "key": "gift", "value": "yes"},
        {"id": 3, "key": "gift", "value": "no"},
        {"id": 4, "key": "empty", "value": ""},
        {"id": 5, "key": "slots", "value": ["am", "pm"]},
        {"id": 6, "key": "_orderbridge_crm_order_id", "value": "C-1"},
    ],
}


def made(**row: Any) -> Any:
    """What a map of this one row makes of the order."""
    return FieldMap.of(1, [{"target": "x", **row}]).apply(ORDER)[0].get("x")


def left_out(**row: Any) -> str:
    told, [words] = FieldMap.of(1, [{"target": "x", **row}]).apply(ORDER)
    assert told == {}
    return words


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("billing.email", "JM@Example.test"),
        ("total", "24.50"),
        ("draft.total", "24.50"),
        ("draft.customer.name", "Jürgen Müller"),
        ("draft.lines.name", ["T-shirt", "Card", "Mug"]),
        ("line_items.sku", ["ts-1", "", "mug"]),
        ("meta._delivery.day", "28.11.2026"),
        ("meta.gift", "yes"),
        ("meta.missing", None),
        ("nothing.of.this", None),
        ("total.of.this", None),
        ("date_modified_gmt", None),
        ("meta._orderbridge_crm_order_id", None),
    ],
)
def test_a_path_leads_to_a_value_of_the_order(path: str, value: Any) -> None:
    assert value_at(facts(ORDER), path) == value


def test_facts_are_json_and_each_path_that_is_offered_leads_somewhere() -> None:
    known = json.loads(json.dumps(facts(ORDER)))
    offered = paths(known)
    assert {"billing.email", "draft.customer.email", "meta.gift", "line_items.sku", "draft.lines.net"} <= set(offered)
    assert all(value_at(known, path) is not None for path in offered if not path.startswith("draft."))
    assert "order" not in known["draft"]


@pytest.mark.parametrize(
    ("row", "value"),
    [
        ({"paths": ["billing.email"]}, "JM@Example.test"),
        ({"constant": "web"}, "web"),
        ({"expression": "line_items[?sku].sku | join(', ', @)"}, "ts-1, mug"),
        ({"expression": "billing.company || billing.last_name"}, "Müller"),
        ({"paths": ["billing.email"], "transforms": [{"name": "lower"}]}, "jm@example.test"),
        ({"paths": ["billing.last_name"], "transforms": [{"name": "upper"}]}, "MÜLLER"),
        ({"paths": ["billing.company", "billing.last_name"], "transforms": [{"name": "first"}]}, "Müller"),
        ({"paths": ["line_items.sku"], "transforms": [{"name": "join", "argument": "; "}]}, "ts-1; mug"),
        ({"paths": ["number", "line_items.sku"], "transforms": [{"name": "join", "argument": "/"}]}, "R-14/ts-1/mug"),
        ({"paths": ["billing.email"], "transforms": [{"name": "cut", "argument": "2"}]}, "JM"),
        ({"paths": ["payment_method"], "transforms": [{"name": "map", "values": {"bacs": "Bank"}}]}, "Bank"),
        ({"paths": ["status"], "transforms": [{"name": "map", "values": {"*": "Other"}}]}, "Other"),
        ({"paths": ["status"], "transforms": [{"name": "map", "values": {"bacs": "Bank"}}]}, None),
        ({"paths": ["status"], "transforms": [{"name": "map", "values": {"bacs": "B"}}], "default": "none"}, "none"),
        ({"paths": ["date_created_gmt"], "transforms": [{"name": "date", "argument": "%d.%m.%Y"}]}, "28.11.2026"),
        ({"paths": ["meta._delivery.day"], "transforms": [{"name": "date", "argument": "%Y-%m-%d"}]}, "2026-11-28"),
        ({"paths": ["meta._delivery.day"], "transforms": [{"name": "date", "argument": "epoch"}]}, "1795824000000"),
        ({"paths": ["meta._delivery.day"], "kind": "date"}, "2026-11-28"),
        ({"paths": ["date_created_gmt"], "kind": "date"}, "2026-11-28"),
        ({"paths": ["total"], "kind": "number"}, 24.5),
        ({"paths": ["id"], "kind": "number"}, 14),
        ({"paths": ["id"]}, "14"),
        ({"paths": ["meta.gift"], "kind": "yes_no"}, True),
        ({"expression": "length(line_items) > `5`", "kind": "yes_no"}, False),
        ({"constant": "draft", "kind": "choice"}, "draft"),
        ({"constant": "7", "kind": "reference"}, 7),
        ({"constant": "007", "kind": "reference"}, "007"),
        ({"constant": "Net 30", "kind": "reference"}, "Net 30"),
        ({"paths": ["meta.empty"]}, None),
        ({"paths": ["meta.missing"], "default": "none"}, "none"),
        ({"paths": ["meta.slots"], "transforms": [{"name": "upper"}, {"name": "first"}]}, "AM"),
    ],
)
def test_a_row_makes_a_value(row: dict[str, Any], value: Any) -> None:
    assert made(**row) == value


def test_every_transform_and_every_type_is_among_those_that_are_tested() -> None:
    marks = test_a_row_makes_a_value.pytestmark[0].args[1]  # type: ignore[attr-defined]
    rows = [row for row, _ in marks]
    assert {one["name"] for row in rows for one in row.get("transforms", [])} == set(TRANSFORMS)
    assert {row.get("kind", "text") for row in rows} == set(TYPES)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"paths": ["billing"]}, "it is an object, and no text"),
        ({"paths": ["line_items.sku"]}, "it is a list: join it"),
        ({"paths": ["meta.slots", "number"]}, "it is a list: join it"),
        ({"paths": ["billing.email"], "kind": "number"}, "it is a text, and no number"),
        ({"constant": "nan", "kind": "number"}, "it is no number"),
        ({"paths": ["billing.email"], "kind": "date"}, "it is no date"),
        ({"paths": ["billing.email"], "kind": "yes_no"}, "neither yes nor no"),
        ({"paths": ["billing.email"], "transforms": [{"name": "date", "argument": "%Y"}]}, "it is no date"),
        ({"paths": ["billing"], "transforms": [{"name": "upper"}]}, "it is an object, and no text"),
        ({"expression": "join(', ', billing.email)"}, "the function join() gets a value of the type string"),
        ({"expression": "line_items"}, "it is a list"),
    ],
)
def test_a_value_that_the_field_cannot_take_is_left_out_with_a_reason(row: dict[str, Any], words: str) -> None:
    told = left_out(**row)
    assert words in told and told.startswith("The CRM's field x was left out")
    assert "Example" not in told, "the reason stays for ever, and the customer's words do not"


def test_one_row_that_fails_holds_up_no_other() -> None:
    rows = [{"target": "bad", "paths": ["billing"]}, {"target": "good", "constant": "web"}]
    told, words = FieldMap.of(1, rows).apply(ORDER)
    assert told == {"good": "web"} and len(words) == 1


def test_a_text_that_is_too_long_is_cut_with_a_reason() -> None:
    told, [words] = FieldMap.of(1, [{"target": "x", "constant": "a" * 20, "longest": 10}]).apply(ORDER)
    assert told == {"x": "a" * 9 + "…"} and "at most 10 characters in x" in words


def test_what_no_text_may_hold_is_replaced() -> None:
    order = {**ORDER, "customer_note": "a\0b\ud800"}
    assert FieldMap.of(1, [{"target": "x", "paths": ["customer_note"]}]).apply(order)[0] == {"x": "a\ufffdb\ufffd"}


def test_an_order_in_the_trash_has_no_fields() -> None:
    assert FieldMap.of(1, [{"target": "x", "constant": "web"}]).apply({"id": 1, "status": "trash"}) == ({}, [])


@pytest.mark.parametrize(
    ("row", "field", "words"),
    [
        ({}, "source", "Choose where the value comes from"),
        ({"constant": "a", "paths": ["b"]}, "source", "Choose where the value comes from"),
        ({"constant": "a", "target": " "}, "target", "Choose the CRM's field"),
        ({"constant": "a", "kind": "money"}, "kind", "is no type"),
        ({"expression": "a."}, "expression", "cannot be read from"),
        ({"expression": "a[?b"}, "expression", "cannot be read from"),
        ({"expression": "a ~ b"}, "expression", "This is no JMESPath expression"),
        ({"expression": "(" * 400 + "a" + ")" * 400}, "expression", "more than 500"),
        ({"expression": "[" * 240 + "a" + "]" * 240}, "expression", ""),
        ({"expression": "upper(a)"}, "expression", "Unknown function: upper()"),
        ({"expression": "join(a)"}, "expression", "for function join()"),
        ({"expression": "|".join(["[@,@]"] * 60)}, "expression", "too many lists"),
        ({"constant": "a", "transforms": [{"name": "reverse"}]}, "transforms", "no transform"),
        ({"constant": "a", "transforms": [{"name": "cut", "argument": "-1"}]}, "cut", "how many characters"),
        ({"constant": "a", "transforms": [{"name": "date", "argument": "%q"}]}, "date", "how the date is written"),
        ({"constant": "a", "transforms": [{"name": "map"}]}, "values", "one value on each line"),
        ({"constant": "a", "kind": "number", "default": "many"}, "default", "no number"),
    ],
)
def test_a_row_that_can_never_work_is_refused_at_its_field(row: dict[str, Any], field: str, words: str) -> None:
    said = {"target": "x", **row}
    try:
        Row.of(said).ensure_good()
    except BadRow as error:
        assert (error.field, words in str(error)) == (field, True), str(error)
    else:
        assert words == "", "it was taken"
    told, reasons = FieldMap.of(1, [said]).apply(ORDER)
    assert told == {} and (len(reasons) == 1 or words == ""), "where one is kept all the same, orders go on"


def test_a_row_is_kept_as_it_was() -> None:
    said = {
        "target": "x_gift",
        "label": "Gift",
        "kind": "choice",
        "choices": ["a", "b"],
        "required": True,
        "longest": 40,
        "paths": ["meta.gift", "meta.empty"],
        "transforms": [{"name": "map", "values": {"yes": "a"}}, {"name": "join", "argument": ", "}],
        "default": "b",
    }
    assert Row.of(said).as_json() == said


def test_a_map_is_compiled_once_for_each_version() -> None:
    text = as_text(3, [{"target": "x", "constant": "web"}])
    assert field_map(text) is field_map(str(text.encode(), "ascii")) and field_map(text).version == 3  # type: ignore[union-attr]
    assert as_text(4, []) == "" and field_map("") is None


# --- what would hold an order up, or take all memory ---------------------------------------------------------------


def grown(call: str, times: int) -> str:
    text = "'\"'"
    for _ in range(times):
        text = call.format(text)
    return text


@pytest.mark.parametrize(
    "expression",
    [
        grown("to_string([{}])", 35),
        grown("join({}, keys(@))", 25),
        grown("join({}, line_items[].sku)", 15),
        "[@, @, @, @] | to_string([@, @, @])",
    ],
)
def test_an_expression_that_multiplies_texts_ends(expression: str) -> None:
    order = {**ORDER, "customer_note": "x" * 10_000, "line_items": ORDER["line_items"] * 20}
    row = {"target": "x", "expression": expression}
    told, words = FieldMap.of(1, [row]).apply(order)
    assert not told
    assert "more than 100000 characters" in words[0]


def test_values_that_are_joined_have_an_end() -> None:
    paths = [f"meta.{number}" for number in range(20)]
    meta = [{"key": str(number), "value": "x" * 10_000} for number in range(20)]
    row = {"target": "x", "paths": paths, "transforms": [{"name": "join"}]}
    told, words = FieldMap.of(1, [row]).apply({**ORDER, "meta_data": meta})
    assert (told, len(words)) == ({}, 1)


@pytest.mark.parametrize("said", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00"])
@pytest.mark.parametrize("transforms", [[], [{"name": "date", "argument": "epoch"}]])
def test_a_time_at_the_end_of_the_calendar_holds_no_order_up(said: str, transforms: list[Any]) -> None:
    """A customer may type it, where a plugin asks for a day of delivery."""
    row = {"target": "day", "kind": "date", "paths": ["meta.day"], "transforms": transforms}
    told, words = FieldMap.of(1, [row]).apply({**ORDER, "meta_data": [{"key": "day", "value": said}]})
    assert told == {}
    assert "it is no date" in words[0]


@pytest.mark.parametrize("odd", [True, 7, "x", {"key": "a"}])
def test_an_order_whose_meta_data_are_odd_is_mapped_nevertheless(odd: Any) -> None:
    assert facts({**ORDER, "meta_data": odd})["meta"] == {}


def test_ids_of_any_length_hold_no_order_up() -> None:
    facts({**ORDER, "id": "9" * 5000, "customer_id": "9" * 5000, "line_items": [{"id": "9" * 5000}]})
