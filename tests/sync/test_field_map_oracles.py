"""Whoever makes a field map may ask anything of a real order: no page tells by its answer what is masked (0128)."""

import json
import re
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client

from sync.backoffice import field_maps
from sync.clients.mapping.field_map import FieldMap, as_text
from sync.clients.mapping.veils import veiled
from sync.jobs import engine, map_check
from sync.models import FieldMapVersion, Run
from tests import pipeline
from tests.factories import WebhookEventFactory
from tests.sync.conftest import TwoSides
from webhooks.connections import Bridge
from webhooks.masking import MASK
from webhooks.models import WebhookEvent

ANN = {"first_name": "Anna", "last_name": "Quill", "email": "anna@home.example", "phone": "0151234567", "city": "Bonn"}
BOB = {"first_name": "Abel", "last_name": "Quirk", "email": "abel@home.example", "phone": "O15i234567", "city": "Suhl"}
"""Alike in all that masks tell: what is empty, and how long."""
DAYS = ("2026-11-28", "in a week ")
ASKED: list[dict[str, Any]] = [
    {"expression": "billing.last_name == 'Quill' && 'a' || 'b'"},
    {"expression": "contains(billing.email, 'anna')", "kind": "yes_no"},
    {"expression": "billing.first_name < 'Ac' && 'a'"},
    {"expression": "starts_with(billing.last_name, 'Quil') && 'a'"},
    {"expression": "to_number(billing.phone) && 'a'"},
    {"expression": "billing | values(@)[?@ == 'Anna'] | [0]"},
    {"expression": "reverse(billing.first_name) == 'annA' && 'a'"},
    {"expression": "sort([billing.first_name, 'Ac'])[0] == 'Ac' && 'a'"},
    {"expression": "max([billing.first_name, 'Ac']) == 'Ac' && 'a'"},
    {"expression": "contains(to_string(@), 'Quill') && id == `14` && 'a'"},
    {"expression": "meta_data[?value == '2026-11-28'].key | [0]"},
    {"expression": "join('', billing.[first_name, last_name])"},
    {"expression": "merge({a: billing.last_name}, {b: 'c'}) | a"},
    {"expression": "not_null(billing.company, draft.customer.email)"},
    {"expression": "map(&(@ == 'Quill'), billing.[last_name]) | [0] && 'a'"},
    {"expression": "sort_by([{n: billing.first_name, v: 'a'}, {n: 'Ac', v: 'b'}], &n)[0].v"},
    {"expression": "billing.[last_name][?starts_with(@, 'Quil')] | [0] && 'a'"},
    {"paths": ["billing.email"], "transforms": [{"name": "map", "values": {"anna@home.example": "fax"}}]},
    {
        "paths": ["billing.email"],
        "transforms": [{"name": "map", "values": {"anna@home.example": "x"}}],
        "kind": "number",
    },
    {"paths": ["billing.phone"], "kind": "number"},
    {"paths": ["meta._day"], "kind": "date"},
    {"paths": ["meta._day"], "transforms": [{"name": "date", "argument": "%Y"}]},
    {"paths": ["billing.first_name"], "transforms": [{"name": "cut", "argument": "2"}], "kind": "choice"},
    {"paths": ["draft.customer.name", "billing.city"], "transforms": [{"name": "join", "argument": " "}]},
]
ROWS = [{"target": f"f{number}", "kind": "text", **row} for number, row in enumerate(ASKED)]
TRIED = ROWS[::4]
"""On a page of its own, which takes a while. The list and the preview show all."""
BY_CHANCE = re.compile(
    r'name="csrfmiddlewaretoken" value="[^"]+"|nonce="[^"]+"|X-CSRFToken[^}]+|title="[^"]+">(now|[^<]+ ago)<'
    r"|[^<>]+ ago|\bnow\b|Dry run of a field map \d+|run/\d+"
)
COUNTS = re.compile(
    r"Of the latest \d+ orders.*?refuse\.|sent with.*?</span>(?= <span)"
    r'|<span class="block [^>]*">(?!Order)[^<]*</span> ?'
)
"""Of a dry run, and why, without the order: each costs a run that tells who asked, for what reason, and what."""


@pytest.fixture(autouse=True)
def fields(monkeypatch: pytest.MonkeyPatch) -> None:
    told = [{"name": row["target"], "type": row["kind"], "choices": ["a", "b", "An"]} for row in ROWS]
    monkeypatch.setattr("sync.sandbox.crm.FIELDS", told)


def client_of(groups: tuple[str, ...], *, is_superuser: bool = False) -> Client:
    user = User.objects.create_user("curious", is_staff=True, is_superuser=is_superuser)
    user.groups.set(Group.objects.filter(name__in=groups))
    client = Client()
    client.force_login(user)
    return client


def clean(answer: Any) -> str:
    assert answer.status_code == 200, answer
    return COUNTS.sub("", BY_CHANCE.sub("", " ".join(answer.content.decode().split())))


def told_of(sides: TwoSides, client: Client, person: dict[str, str], day: str) -> list[str]:
    """All pages of the map, over an order of this person that the CRM was told of with the map that was on."""
    Bridge.objects.filter(pk=1).update(field_map=as_text(1, ROWS[:1]))
    order = sides.order(14, billing=person, meta_data=[{"id": 1, "key": "_day", "value": day}])
    WebhookEventFactory(order_ref="14", body=json.dumps(order).encode())
    while pipeline.work_once():
        pass
    bridge, start = Bridge.objects.get(pk=1), "/admin/webhooks/bridge/1/fields/"
    field_maps.ask_fields(bridge)
    pages = []
    for row in TRIED:
        tab = "expression" if "expression" in row else "order"
        said = {"target": row["target"], "do": "try", **form_of(row)}
        pages.append(clean(client.post(f"{start}row/?tab={tab}", said)))
    field_maps.edit(bridge, lambda _: ROWS, by="curious", words="")
    pages += [clean(client.get(start)), clean(client.post(f"{start}preview/", {"order": "14"}))]
    run = map_check.start(actor="curious", bridge=1)
    assert engine.carry_out(run), run.error
    pages.append(clean(client.get(start)))
    Run.objects.all().delete()
    FieldMapVersion.objects.all().delete()
    WebhookEvent.objects.filter(source="backfill").delete()
    return pages


def form_of(row: dict[str, Any]) -> dict[str, str]:
    """As it is typed."""
    said = {"expression": row.get("expression", "")}
    said |= dict(zip(("path", "second"), row.get("paths", ()), strict=False))
    for one in row.get("transforms", ()):
        values = "\n".join(f"{old} = {new}" for old, new in one.get("values", {}).items())
        said |= {"map": {"values": values}, "join": {"combined": "join", "separator": " "}}.get(
            one["name"], {one["name"]: one.get("argument", "")}
        )
    return said


@pytest.mark.parametrize(
    "groups", [("manager",), ("manager", "auditor"), ()], ids=["manager", "may reveal", "superuser"]
)
def test_no_page_of_a_map_tells_two_customers_apart(two_sides: TwoSides, groups: tuple[str, ...]) -> None:
    client = client_of(groups, is_superuser=not groups)
    one, other = (told_of(two_sides, client, *of) for of in zip((ANN, BOB), DAYS, strict=True))
    for number, (seen, also) in enumerate(zip(one, other, strict=True)):
        assert seen == also, TRIED[number] if number < len(TRIED) else "all rows"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: json.dumps(row)[:60])
def test_each_of_these_rows_would_tell(row: dict[str, Any]) -> None:
    """Or the test above would ask nothing."""
    orders = [
        {"id": 14, "billing": who, "meta_data": [{"key": "_day", "value": day}]}
        for who, day in zip((ANN, BOB), DAYS, strict=True)
    ]
    one, other = (FieldMap.of(1, [row]).apply(order) for order in orders)
    assert one != other
    one, other = (FieldMap.of(1, [row], ["x", row["target"]]).apply(order) for order in orders)
    assert one == other


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("length(line_items) > `1` && 'many'", "many"),
        ("line_items[].sku | join(', ', @)", "TS-1, MUG-1"),
        ("currency == 'EUR' && payment_method", "bacs"),
        ("billing.company || payment_method", "bacs"),
        ("keys(billing) | length(@) == `2` && 'two'", "two"),
        ("billing.email && 'known'", "known"),
        ("billing.email", MASK),
        ("length(billing.email) == `17` && 'x'", MASK),
    ],
)
def test_what_depends_on_nothing_masked_is_shown_as_it_is(expression: str, value: str) -> None:
    lines = [{"sku": "TS-1", "name": "T-shirt"}, {"sku": "MUG-1", "name": "Mug"}]
    order = {"currency": "EUR", "payment_method": "bacs", "line_items": lines}
    order["billing"] = {"email": "anna@home.example", "company": ""}
    row = {"target": "x", "expression": expression}
    assert FieldMap.of(1, [row], ["x"]).apply(order)[0] == {"x": value}


def test_numbers_and_lists_are_hidden_as_texts_are() -> None:
    known = {"meta": {"age": 41, "is_ill": True, "slots": ["am", 7], "none": None, "empty": ""}, "draft": {}}
    assert veiled(known)[0]["meta"] == {
        **{"age": 1.0, "is_ill": "Text", "slots": ["Text", 1.0], "none": None, "empty": ""}
    }
