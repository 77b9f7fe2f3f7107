"""What a CRM cannot take of a text is cut or replaced in one place, staff see it, and it is neither outage nor park."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sync.clients.crm.rest import RestCrm
from sync.clients.crm.tryton.document import COMPOSER
from sync.clients.limits import Limit, Limits, fitted
from sync.clients.snapshots import AS_IT_IS, Composer
from sync.models import Attempt, SideState
from sync.pipeline import dry_run
from tests import pipeline
from tests.factories import WebhookEventFactory
from tests.sync.conftest import TwoSides
from webhooks.models import WebhookEvent

NAMES = Limit(20, without="<>", emoji=False, what="the customer's name")
STRICT: Limits = {
    "billing.first_name": NAMES,
    "customer_note": Limit(250, emoji=False, what="the note"),
    "line_items.*.name": Limit(30, without='"'),
}


@pytest.mark.parametrize(
    ("limit", "text", "expected", "why"),
    [
        (NAMES, "Jürgen O'Neill", "Jürgen O'Neill", ()),
        (NAMES, "x" * 20, "x" * 20, ()),
        (NAMES, "x" * 21, "x" * 19 + "…", ("at most 20 characters",)),
        (NAMES, "x" * 18 + " yz", "x" * 18 + "…", ("at most 20 characters",)),
        (NAMES, "<b>Ann</b>", "‹b›Ann‹/b›", ("no < >",)),
        (NAMES, "Ann 🚪", "Ann ?", ("no emoji",)),
        (NAMES, "👩‍👩‍👧 & 王", "? & 王", ("no emoji",)),
        (NAMES, "𠮷野家", "?野家", ("no emoji",)),
        (NAMES, "🚪<" + "x" * 300, "?‹" + "x" * 17 + "…", ("at most 20 characters", "no <", "no emoji")),
        (Limit(without="|"), "a|b", "a?b", ("no |",)),
        (Limit(), "🚪<" * 500, "🚪<" * 500, ()),
    ],
)
def test_a_text_is_cut_and_what_the_crm_does_not_know_replaced(
    limit: Limit, text: str, expected: str, why: tuple[str, ...]
) -> None:
    assert limit.fitted(text) == (expected, set(why))


def test_a_path_leads_to_each_text_of_a_list_or_object_and_to_nothing_else() -> None:
    order: dict[str, Any] = {
        "party": {"name": "Ann 🚪", "code": "🚪"},
        "lines": [{"name": "🚪", "quantity": 1}, {"quantity": 2}, "🚪", None],
        "fields": {"a": "🚪", "b": 3, "c": ["🚪"]},
        "note": None,
    }
    plain = Limit(emoji=False)
    paths = ("party.name", "lines.*.name", "fields.*", "note", "missing.name", "party.name.deeper", "*.*.nothing")
    told, words = fitted(order, dict.fromkeys(paths, plain))
    assert told == {
        "party": {"name": "Ann ?", "code": "🚪"},
        "lines": [{"name": "?", "quantity": 1}, {"quantity": 2}, "🚪", None],
        "fields": {"a": "?", "b": 3, "c": ["🚪"]},
        "note": None,
    }
    assert order["party"]["name"] == "Ann 🚪", "the shop's own order stays what it is"
    assert words == [f"The CRM takes no emoji in {path}: they were replaced." for path in paths[:3]]


TEXTS = st.text(st.sampled_from('ab <>"🚪\u200d\ufe0fü王'), max_size=40)


@settings(max_examples=60, deadline=None)
@given(name=TEXTS, note=TEXTS, lines=st.lists(TEXTS, max_size=3), longest=st.integers(1, 12))
def test_whatever_the_text_the_crm_can_take_it_and_a_second_time_changes_nothing(
    name: str, note: str, lines: list[str], longest: int
) -> None:
    limit = Limit(longest, without='<>"', emoji=False)
    order = {"name": name, "note": note, "lines": [{"name": one} for one in lines]}
    limits = {"name": limit, "lines.*.name": limit}
    told, words = fitted(order, limits)
    texts = [told["name"], *(one["name"] for one in told["lines"])]
    assert all(len(one) <= longest and not set(one) & set('<>"🚪') for one in texts)
    assert fitted(told, limits) == (told, [])
    assert told["note"] == note
    assert bool(words) == (told != order)


def strict(sides: TwoSides, monkeypatch: pytest.MonkeyPatch, limits: Limits = STRICT) -> None:
    composer = replace(AS_IT_IS, version="strict1", earlier={}, limits=limits)
    monkeypatch.setattr(RestCrm, "composer", classmethod(lambda cls, access: composer))


def deliver(woo_id: int) -> WebhookEvent:
    event = WebhookEventFactory(order_ref=str(woo_id))
    while pipeline.work_once():
        pass
    event.refresh_from_db()
    return event


def test_an_odd_order_reaches_the_crm_and_staff_see_what_of_it_did_not(
    two_sides: TwoSides, monkeypatch: pytest.MonkeyPatch
) -> None:
    strict(two_sides, monkeypatch)
    order = two_sides.shop.create_order(
        customer_note="Bitte 🚪 " + "klingeln " * 100,
        billing={"first_name": "Jürgen <b>„O'Neill\"</b> 🚪 " + "x" * 300, "country": "ZZ"},
        line_items=[{"name": 'A 6" pot'}, {"name": "plain"}],
    )
    tried = dry_run.run_dry(WebhookEventFactory(order_ref=str(order["id"])))
    event = deliver(order["id"])
    assert (event.state, event.outcome) == ("done", "created"), event.reason
    [there] = two_sides.crm.by_external(order["id"])
    assert there["order"]["billing"]["first_name"] == "Jürgen ‹b›„O'Neill\"…"
    assert len(there["order"]["customer_note"]) == 250
    assert [one["name"] for one in there["order"]["line_items"]] == ["A 6” pot", "plain"]
    expected = [
        "The CRM takes at most 20 characters in the customer's name: the text was cut.",
        "The CRM takes no < > in the customer's name: they were replaced.",
        "The CRM takes no emoji in the customer's name: they were replaced.",
        "The CRM takes at most 250 characters in the note: the text was cut.",
        "The CRM takes no emoji in the note: they were replaced.",
        'The CRM takes no " in line_items.*.name: they were replaced.',
    ]
    attempt = Attempt.objects.filter(event=event).latest("pk")
    assert [words for code, words in attempt.reasons if code == "cut"] == expected
    assert [one.words for one in tried.reasons if one.code == "cut"] == expected, "a dry run tells it beforehand"
    assert all(words in event.reason for words in expected)
    assert "Jürgen" not in event.reason
    assert not SideState.objects.exclude(failures=0).exists()


def test_what_the_crm_does_not_get_is_no_content(two_sides: TwoSides, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fingerprint is that of the document as it is sent: behind the cut nothing counts."""
    strict(two_sides, monkeypatch)
    order = two_sides.shop.create_order(customer_note="x" * 300)
    deliver(order["id"])
    shown = two_sides.shop.orders[order["id"]]
    shown["customer_note"] = "x" * 300 + "y"
    assert deliver(order["id"]).outcome == "no_change"
    shown["customer_note"] = "y" + "x" * 300
    event = deliver(order["id"])
    assert event.outcome == "updated"
    assert "250 characters in the note" in event.reason


def test_a_composer_without_limits_makes_what_it_composes() -> None:
    plain = Composer(version="1", compose=lambda order: {"note": order["note"]})
    order = {"note": "🚪" * 1000}
    assert (plain.document(order), plain.cuts(order)) == (order, [])


def test_of_tryton_each_limit_is_one_of_its_document() -> None:
    order = {"id": 1, "number": "1", "customer_note": "n" * 20_000, "line_items": [{"id": 1, "name": "l" * 3000}]}
    person = {name: name[0] * 600 for name in ("first_name", "address_1", "city", "postcode", "email")}
    person["phone"] = "030 " * 150
    words = COMPOSER.cuts({**order, "billing": person})
    assert len(words) == len(COMPOSER.limits)
    told = COMPOSER.document({**order, "billing": person})
    assert (len(told["party"]["name"]), len(told["shipment_address"]["street"])) == (250, 500)
