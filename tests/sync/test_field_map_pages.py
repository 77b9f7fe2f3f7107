"""The pages of a field map: a row is checked at its fields, tried on a real order, kept as a draft, and switched on."""

import json
from html import unescape
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from orders.models import OrderLink, StaffAction
from sync.backoffice import field_maps
from sync.clients.mapping.field_map import as_text
from sync.jobs import engine, map_check
from sync.models import FieldMapVersion, Run
from sync.sandbox.crm import FIELDS
from sync.sandbox.server import Answer, Request
from tests import pipeline
from tests.factories import WebhookEventFactory
from tests.people import signed_in
from tests.sync.conftest import TwoSides
from webhooks.connections import Bridge
from webhooks.models import WebhookEvent

SLOW = "line_items|" + "|".join(["[" + ",".join("@" * 10) + "]"] * 3) + "|[][][]" + "|[?@]" * 20 + "|length(@)"
GROWS = "[@, @, @, @] | to_string([@, @, @])"
DEEP = "[" * 240 + "a" + "]" * 240
META = [{"id": 1, "key": "_gift_note", "value": "For you"}, {"id": 2, "key": "_day", "value": "28.11.2026"}]


def page(name: str, *args: Any) -> str:
    return reverse(f"admin:webhooks_bridge_{name}", args=[1, *args])


@pytest.fixture
def manager(two_sides: TwoSides) -> Client:
    return signed_in("manager")


def told(two_sides: TwoSides, woo_id: int = 14, **fields: Any) -> None:
    """The shop has delivered this order."""
    order = two_sides.order(woo_id, **{"meta_data": META, **fields})
    WebhookEventFactory(order_ref=str(woo_id), body=json.dumps(order).encode())


def add(client: Client, tab: str = "order", **row: Any) -> str:
    """What the page says; of a row that was taken, that is the list."""
    answer = client.post(f"{page('field_row')}?tab={tab}", row, follow=True)
    return unescape(answer.content.decode())


def rows() -> Any:
    draft = FieldMapVersion.draft_of(1)
    return draft.rows if draft else None


def errors(client: Client, tab: str = "order", **row: Any) -> dict[str, list[str]]:
    answer = client.post(f"{page('field_row')}?tab={tab}", row)
    assert answer.status_code == 200, "it was taken"
    return {name: list(one) for name, one in answer.context["form"].errors.items()}


def confirm(client: Client, name: str, *args: Any, **said: str) -> Any:
    """As who has looked at the page that asks."""
    form = client.get(page(name, *args)).context["form"]
    return client.post(page(name, *args), {"as_seen": form.initial["as_seen"], **said}, follow=True)


# --- the list ------------------------------------------------------------------------------------------------------


def test_a_get_asks_nobody_and_the_crm_is_asked_when_somebody_says_so(manager: Client, two_sides: TwoSides) -> None:
    told(two_sides)
    assert "The CRM was not asked for its fields yet" in manager.get(page("fields_map")).content.decode()
    assert not two_sides.crm.requests and not two_sides.shop.requests
    shown = manager.post(page("fields_map"), {"do": "ask"}, follow=True).content.decode()
    assert f"The CRM named {len(FIELDS)} fields" in shown and "Payment terms (x_payment_terms) is required" in shown
    row = manager.get(page("field_row")).content.decode()
    assert "* Payment terms (x_payment_terms): text" in row and "Gift note (x_gift_note): text, at most 40" in row
    assert "x_score" not in row, "nobody can write it"


def test_the_source_is_picked_with_its_value_in_a_real_order_and_names_stay_masked(
    manager: Client, two_sides: TwoSides
) -> None:
    told(two_sides, payment_method="bacs")
    shown = unescape(manager.get(page("field_row")).content.decode())
    assert "With its value in order 14" in shown
    for option in (
        "payment_method – bacs",
        "meta._gift_note – ••• (7 characters)",
        f"draft.total – {two_sides.shop.orders[14]['total']}",
    ):
        assert f">{option}<" in shown, option
    assert "Müller" not in shown and "juergen@" not in shown and "For you" not in shown


def test_a_crm_that_does_not_tell_its_fields_has_them_typed(manager: Client, two_sides: TwoSides) -> None:
    two_sides.crm.faults.add("422", path="/fields")
    shown = add(manager, "text", target="x_any", constant="7", kind="number")
    assert "This CRM does not tell which fields it has" in shown
    assert rows() == [{"target": "x_any", "kind": "number", "constant": "7"}]


def test_what_the_crm_says_of_its_fields_need_not_be_fit_for_a_database(
    manager: Client, two_sides: TwoSides, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = [{"name": "x_odd", "label": "a\0b\ud800<i>", "type": "money", "choices": [1, "a\0"], "longest": "many"}, "no"]
    monkeypatch.setattr("sync.sandbox.crm.FIELDS", odd)
    assert "The CRM named 1 fields" in manager.post(page("fields_map"), {"do": "ask"}, follow=True).content.decode()
    assert "a\ufffdb\ufffd&lt;i&gt; (x_odd): text" in manager.get(page("field_row")).content.decode()


def test_rows_are_moved_changed_and_removed(manager: Client, two_sides: TwoSides) -> None:
    add(manager, "text", target="x_channel", constant="web")
    add(manager, "text", target="x_express", constant="yes")
    manager.post(page("fields_map"), {"do": "up:x_express"})
    assert [one["target"] for one in rows()] == ["x_express", "x_channel"]
    answer = manager.get(f"{page('field_row')}?target=x_channel")
    assert answer.context["form"].initial["constant"] == "web"
    manager.post(f"{page('field_row')}?target=x_channel&tab=text", {"target": "x_channel", "constant": "phone"})
    assert [one["constant"] for one in rows()] == ["yes", "phone"]
    manager.post(page("fields_map"), {"do": "remove:x_express"})
    assert [one["target"] for one in rows()] == ["x_channel"]
    actions = StaffAction.objects.filter(action="field map: edit").order_by("pk")
    assert [one.result.rpartition(": ")[2] for one in actions][2] == "x_express up"
    assert {one.actor for one in actions} == {"manager"}


# --- one row -------------------------------------------------------------------------------------------------------


def test_a_row_with_everything_comes_back_as_it_was(manager: Client, two_sides: TwoSides) -> None:
    told(two_sides)
    said = {
        "target": "x_gift_note",
        "path": "billing.company",
        "second": "meta._gift_note",
        "third": "",
        "other": "meta._other",
        "values": "For you = Gift\r\n* = None",
        "letters": "upper",
        "date": "",
        "combined": "join",
        "separator": " / ",
        "cut": "20",
        "default": "nothing",
    }
    assert "is in the draft" in add(manager, **said)
    assert rows() == [
        {
            "target": "x_gift_note",
            "label": "Gift note",
            "kind": "text",
            "longest": 40,
            "paths": ["billing.company", "meta._gift_note", "meta._other"],
            "transforms": [
                {"name": "map", "values": {"For you": "Gift", "*": "None"}},
                {"name": "upper"},
                {"name": "join", "argument": " / "},
                {"name": "cut", "argument": "20"},
            ],
            "default": "nothing",
        }
    ]
    initial = manager.get(f"{page('field_row')}?target=x_gift_note").context["form"].initial
    again = {**said, "values": "For you = Gift\n* = None", "third": "meta._other"}
    assert {name: str(initial.get(name, "")) for name in said} == {**again, "other": ""}


@pytest.mark.cases_alike
@pytest.mark.parametrize(
    ("tab", "row", "field", "words"),
    [
        ("text", {"target": "", "constant": "a"}, "target", "Choose the CRM's field"),
        ("text", {"target": "x_gone", "constant": "a"}, "target", "The CRM does not list a field 'x_gone'"),
        ("text", {"target": "x_score", "constant": "1"}, "target", "Score of the customer is read-only in the CRM"),
        ("text", {"target": "x_channel", "constant": ""}, "constant", "Choose where the value comes from"),
        ("text", {"target": "x_weight", "constant": "heavy"}, "constant", "On order 14: it is a text, and no number"),
        ("text", {"target": "x_weight", "constant": "1", "default": "a"}, "default", "The field takes a number"),
        ("text", {"target": "x_channel", "constant": "a", "cut": "0"}, "cut", "greater than or equal to 1"),
        ("text", {"target": "x_channel", "constant": "a", "values": "a: b"}, "values", "one value on each line"),
        ("text", {"target": "x_gift_note", "constant": "a" * 41}, "constant", "takes at most 40 characters"),
        ("text", {"target": "x_gift_note", "constant": "a", "default": "b" * 41}, "default", "at most 40 characters"),
        ("text", {"target": "x_channel", "constant": "a" * 501}, "constant", "at most 500 characters"),
        ("text", {"target": "x_channel", "constant": "a", "cut": "many"}, "cut", "Enter a whole number"),
        ("order", {"target": "x_channel"}, "path", "Choose where the value comes from"),
        ("order", {"target": "x_channel", "path": "line_items.sku"}, "path", "it is a list: join it"),
        ("order", {"target": "x_delivery_day", "path": "payment_method"}, "path", "On order 14: it is no date"),
        ("order", {"target": "x_express", "path": "currency"}, "path", "neither yes nor no"),
        ("expression", {"target": "x_channel", "expression": "a..b"}, "expression", "This is no JMESPath expression"),
        ("expression", {"target": "x_channel", "expression": "upper(a)"}, "expression", "Unknown function: upper()"),
        ("expression", {"target": "x_channel", "expression": "line_items"}, "expression", "On order 14: it is a list"),
        ("expression", {"target": "x_channel", "expression": "a" * 501}, "expression", "more than 500 characters"),
        ("expression", {"target": "x_channel", "expression": "billing"}, "expression", "it is an object, and no text"),
        ("expression", {"target": "x_channel", "expression": SLOW}, "expression", "too many steps on this order"),
        ("expression", {"target": "x_channel", "expression": GROWS}, "expression", "more than 100000 characters"),
        ("expression", {"target": "x_channel", "expression": DEEP}, "expression", "it is a list: join it"),
        ("expression", {"target": "x_weight", "expression": "currency"}, "expression", "it is a text, and no number"),
        ("expression", {"target": "x_channel", "expression": "sum(billing)"}, "expression", "the function sum() gets"),
    ],
)
def test_what_is_wrong_is_told_at_the_field(
    manager: Client, two_sides: TwoSides, tab: str, row: dict[str, Any], field: str, words: str
) -> None:
    told(two_sides, line_items=[{"name": "a"}, {"name": "b"}] * 20)
    found = errors(manager, tab, **row)
    assert list(found) == [field] and words in found[field][0]
    assert rows() is None


def test_a_field_is_mapped_once(manager: Client, two_sides: TwoSides) -> None:
    add(manager, "text", target="x_channel", constant="web")
    assert "mapped already" in errors(manager, "text", target="x_channel", constant="web")["target"][0]


def test_an_expression_that_yields_nothing_is_taken_and_says_so(manager: Client, two_sides: TwoSides) -> None:
    told(two_sides)
    said = {"target": "x_channel", "expression": "meta.none"}
    assert "Order 14: empty" in add(manager, "expression", **said, do="try")
    assert "x_channel is in the draft" in add(manager, "expression", **said)


def test_a_map_has_an_end_and_two_hundred_fields_are_shown_and_sent(manager: Client, two_sides: TwoSides) -> None:
    told(two_sides)
    many = [{"target": f"x{number}", "kind": "text", "paths": ["number"]} for number in range(200)]
    field_maps.edit(Bridge.objects.get(pk=1), lambda _: many, by="anna", words="")
    assert manager.get(page("fields_map")).content.decode().count("Change<span") == 200
    two_sides.crm.faults.add("422", path="/fields")
    assert "at most 200 fields" in errors(manager, "text", target="x_channel", constant="web")["target"][0]
    url = f"{page('field_row')}?tab=text&target=x7"
    assert manager.post(url, {"target": "x7", "constant": "web", "kind": "text"}).status_code == 302
    confirm(manager, "field_switch_on", reason="on")
    while pipeline.work_once():
        pass
    [there] = two_sides.crm.by_external(14)
    assert len(there["order"]["fields"]) == 200 and there["order"]["fields"]["x7"] == "web"


def test_a_row_is_tried_without_being_saved(manager: Client, two_sides: TwoSides) -> None:
    told(two_sides)
    row = {"target": "x_delivery_day", "path": "meta._day", "do": "try"}
    assert "Order 14: ••• (10 characters)" in add(manager, **row)
    assert "Order 14: Bank" in add(manager, target="x_channel", path="payment_method", values="* = Bank", do="try")
    assert rows() is None


def test_without_an_order_that_was_told_the_shop_is_asked_for_one(manager: Client, two_sides: TwoSides) -> None:
    two_sides.order(31)
    assert "On order 31" in errors(manager, target="x_delivery_day", path="currency")["path"][0]
    two_sides.shop.faults.add("500")
    assert "The field was checked against what is known here" in add(manager, target="x_channel", path="billing.city")


# --- on ------------------------------------------------------------------------------------------------------------


def test_a_draft_is_switched_on_and_an_old_version_comes_back(manager: Client, two_sides: TwoSides) -> None:
    told(two_sides)
    for constant in ("web", "phone"):
        manager.post(
            f"{page('field_row')}?tab=text&target=x_channel", {"target": "x_channel", "constant": constant}, follow=True
        )
        asked = manager.get(page("field_switch_on")).content.decode()
        assert "No dry run was made of this draft" in asked and "x_channel" in asked
        shown = confirm(manager, "field_switch_on", reason="Sales asked").content.decode()
        assert "of the field map is on" in shown
    kept = json.loads(Bridge.objects.get(pk=1).field_map)
    assert (kept["version"], kept["rows"][0]["constant"]) == (2, "phone")
    assert rows() is None and "There is no draft" in manager.get(page("field_switch_on"), follow=True).content.decode()
    action = StaffAction.objects.filter(action="field map: switch on").latest("pk")
    assert (action.actor, action.reason, action.details["version"]) == ("manager", "Sales asked", 2)
    assert [one["constant"] for one in action.details["before"]] == ["web"]

    confirm(manager, "field_restore", 1, reason="Back")
    assert rows()[0]["constant"] == "web" and json.loads(Bridge.objects.get(pk=1).field_map)["version"] == 2
    confirm(manager, "field_discard", reason="After all")
    assert rows() is None
    assert "no version 7" in manager.get(page("field_restore", 7), follow=True).content.decode()
    two_sides.crm.requests.clear()
    while pipeline.work_once():
        pass
    [there] = two_sides.crm.by_external(14)
    assert there["order"]["fields"] == {"x_channel": "phone"}


def test_a_map_without_rows_is_no_map(manager: Client, two_sides: TwoSides) -> None:
    add(manager, "text", target="x_channel", constant="web")
    confirm(manager, "field_switch_on", reason="on")
    manager.post(page("fields_map"), {"do": "remove:x_channel"})
    confirm(manager, "field_switch_on", reason="off")
    assert Bridge.objects.get(pk=1).field_map == "" and FieldMapVersion.newest_of(1).version == 2  # type: ignore[union-attr]
    assert "No field map is on" in manager.get(page("fields_map")).content.decode()


def test_a_row_that_this_release_cannot_read_is_shown_and_hinders_nobody(manager: Client, two_sides: TwoSides) -> None:
    old = [{"target": "x_old", "magic": 1}, {"target": "x_new", "constant": "web"}]
    Bridge.objects.filter(pk=1).update(field_map=as_text(3, old))
    assert "x_old" in manager.get(page("fields_map")).content.decode()
    manager.post(page("fields_map"), {"do": "remove:x_old"})
    assert [one["target"] for one in rows()] == ["x_new"]


# --- preview -------------------------------------------------------------------------------------------------------


def test_a_preview_shows_what_an_order_would_be_sent_as_and_what_that_changes(
    manager: Client, two_sides: TwoSides
) -> None:
    told(two_sides, payment_method="bacs")
    while pipeline.work_once():
        pass
    add(manager, "order", target="x_channel", path="payment_method", values="bacs = fax")
    add(manager, "order", target="x_gift_note", path="meta._gift_note")
    two_sides.forget_calls()
    shown = unescape(manager.post(page("field_preview"), {"order": "14"}).content.decode())
    assert two_sides.writes() == {} and OrderLink.objects.count() == 1
    assert "fields.x_channel" in shown and ">fax<" in shown and "fields.x_gift_note" in shown
    assert "none of those that the CRM lists" in shown, "fax is no choice of the CRM"
    assert "For you" not in shown and "juergen" not in shown
    assert "updated" in shown and "The order's content differs" in shown
    assert StaffAction.objects.filter(action="field map: preview").exists()


def test_a_preview_of_an_order_that_nobody_knows_says_so(manager: Client, two_sides: TwoSides) -> None:
    assert "The shop has no order yet" in manager.post(page("field_preview"), {"order": ""}).content.decode()
    [words] = manager.post(page("field_preview"), {"order": "77"}).context["form"].errors["order"]
    assert "The shop has no order 77" in words
    assert "Enter the id of an order" in manager.post(page("field_preview"), {"order": "abc"}).content.decode()
    two_sides.order(15)
    assert "Order 15" in manager.post(page("field_preview"), {"order": ""}).content.decode()


# --- dry run over history ------------------------------------------------------------------------------------------


def checked(client: Client) -> Run:
    answer = client.post(page("field_dry_run"), {"reason": "Before it is on"})
    run = Run.objects.get(kind="map_check", state="running")
    assert answer["Location"] == reverse("admin:sync_run_change", args=[run.pk])
    assert engine.carry_out(run), run.error
    run.refresh_from_db()
    assert run.state == "done", run.error
    return run


def test_a_dry_run_over_history_counts_what_would_change_and_what_would_be_refused(
    manager: Client, two_sides: TwoSides, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(map_check, "PAGE", 2)
    for woo_id, method in enumerate(("bacs", "bacs", "paypal", "stripe", "bacs"), start=1):
        two_sides.order(woo_id, payment_method=method)
    told(two_sides, 6, payment_method="bacs")
    add(manager, "order", target="x_channel", path="payment_method", values="bacs = fax\npaypal = web")
    add(manager, "order", target="x_delivery_day", path="meta._day")
    add(manager, "text", target="x_express", constant="no")
    two_sides.order(7, meta_data=[{"id": 1, "key": "_day", "value": "soon"}], payment_method="paypal")
    two_sides.forget_calls()
    run = checked(manager)
    assert two_sides.writes() == {} and not OrderLink.objects.exists() and WebhookEvent.objects.count() == 1
    assert run.counts == {"seen": 7, "changed": 7, "unchanged": 0, "incomplete": 1, "refused": 4}
    report = run.checkpoint["report"]
    assert (report["x_channel"]["sent"], report["x_channel"]["refused"]) == (6, 4)
    assert report["x_channel"]["samples"][0] == ["7", "nothing", "web"]
    assert (report["x_delivery_day"]["sent"], report["x_delivery_day"]["incomplete"]) == (1, 1)
    assert report["x_express"]["changed"] == 7
    shown = unescape(manager.get(page("fields_map")).content.decode())
    assert "Of the latest 7 orders, 7 would get other fields" in shown and "soon" not in shown
    assert "4 the CRM would refuse" in manager.get(page("field_switch_on")).content.decode()
    add(manager, "text", target="x_payment_terms", constant="net 30")
    assert "It was made of another map" in manager.get(page("fields_map")).content.decode()
    progress = manager.get(reverse("admin:sync_run_change", args=[run.pk])).content.decode()
    assert "Show what each field gets" in progress


def test_a_dry_run_that_is_killed_ends_with_the_same_counts(
    manager: Client, two_sides: TwoSides, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(map_check, "PAGE", 2)
    two_sides.orders(5)
    add(manager, "text", target="x_channel", constant="web")
    whole = checked(manager)
    run = map_check.start(actor="anna", bridge=1)
    stops = 0
    while not engine.carry_out(run, budget=0.0):
        stops += 1
    run.refresh_from_db()
    assert stops > 2 and (run.counts, run.checkpoint["report"]) == (whole.counts, whole.checkpoint["report"])


def test_a_crm_that_is_away_is_said_and_the_shops_orders_are_looked_at(manager: Client, two_sides: TwoSides) -> None:
    two_sides.orders(1)
    add(manager, "text", target="x_channel", constant="web")
    draft = FieldMapVersion.draft_of(1)
    assert draft is not None
    draft.listed = {}
    draft.save()
    two_sides.crm.faults.add("403")
    run = checked(manager)
    assert "could not be asked" in run.note and run.counts["seen"] == 1


def test_an_order_that_no_list_can_show_is_left_out_by_name(
    manager: Client, two_sides: TwoSides, monkeypatch: pytest.MonkeyPatch
) -> None:
    two_sides.orders(3)
    add(manager, "text", target="x_channel", constant="web")
    handle = two_sides.shop.handle

    def broken(request: Request, fault: Any) -> Answer:
        answer = handle(request, fault)
        asked = request.query.get("include", "").split(",")
        return Answer(500, {"message": "a plugin died"}) if "2" in asked else answer

    monkeypatch.setattr(two_sides.shop, "handle", broken)
    run = checked(manager)
    assert run.counts["seen"] == 2 and run.counts["left_out"] == 1
    assert "order 2" in run.checkpoint["left_out"][0]
