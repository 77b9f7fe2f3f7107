"""Two people make one field map: what is done is done to what the person has seen, and nobody overwrites the other."""

from html import unescape
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client

from sync.admin import field_maps as pages
from sync.backoffice import field_maps
from sync.clients.mapping.field_map import as_text
from sync.jobs import engine, map_check
from sync.models import FieldMapVersion, Run
from tests.sync.conftest import TwoSides
from tests.sync.test_field_map_pages import add, confirm, errors, page, rows
from webhooks.connections import Bridge

WEB, NUMBER = {"target": "x_channel", "constant": "web"}, {"target": "x_number", "paths": ["number"]}


@pytest.fixture
def anna(two_sides: TwoSides) -> Client:
    return a_manager("anna")


@pytest.fixture
def bob(two_sides: TwoSides) -> Client:
    return a_manager("bob")


def a_manager(name: str) -> Client:
    user = User.objects.create_user(name, is_staff=True)
    user.groups.add(Group.objects.get(name="manager"))
    client = Client()
    client.force_login(user)
    return client


def edit(*new: dict[str, Any], by: str = "bob") -> None:
    field_maps.edit(Bridge.objects.get(pk=1), lambda _: list(new), by=by, words="changed")


def on() -> Any:
    return field_maps.rows_on(Bridge.objects.get(pk=1))


def seen_on(client: Client, name: str, *args: Any) -> dict[str, str]:
    return {"as_seen": client.get(page(name, *args)).context["form"].initial["as_seen"], "reason": "because"}


@pytest.mark.parametrize(("name", "args"), [("field_switch_on", ()), ("field_discard", ()), ("field_restore", (1,))])
def test_a_draft_that_changed_since_it_was_looked_at_is_shown_again(
    anna: Client, bob: Client, name: str, args: tuple[int, ...]
) -> None:
    FieldMapVersion.objects.create(bridge_id=1, version=1, rows=[NUMBER], actor="anna")
    edit(WEB, by="anna")
    said = seen_on(anna, name, *args)
    add(bob, "text", target="x_express", constant="yes")
    before = rows()
    answer = anna.post(page(name, *args), said, follow=True)
    shown = unescape(answer.content.decode())
    assert "The map was changed by bob after you looked at it. Nothing was done." in shown
    assert answer.context["form"].initial["as_seen"] != said["as_seen"] and "New: x_express" in shown
    assert (rows(), on()) == (before, [])
    confirm(anna, name, *args, reason="because")
    assert (rows(), on()) != (before, [])


def test_of_two_who_switch_on_at_once_the_second_is_told_and_no_map_is_emptied(
    anna: Client, bob: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit(WEB)
    saids = [seen_on(one, "field_switch_on") for one in (anna, bob)]
    monkeypatch.setattr(pages.field_maps, "is_draft", lambda bridge: True)  # as both had been here before either wrote
    anna.post(page("field_switch_on"), saids[0])
    answer = bob.post(page("field_switch_on"), saids[1])
    assert answer.status_code == 302 and [one["constant"] for one in on()] == ["web"]
    monkeypatch.undo()
    shown = bob.get(answer["Location"], follow=True).content.decode()
    assert "changed by anna after you looked at it" in shown and "There is no draft" in shown
    assert FieldMapVersion.newest_of(1).version == 1  # type: ignore[union-attr]


def test_a_row_that_somebody_else_changed_or_removed_is_not_overwritten(anna: Client, bob: Client) -> None:
    edit(WEB)
    url = f"{page('field_row')}?tab=text&target=x_channel"
    seen = anna.get(url).context["form"]["as_seen"].value()
    said = {"target": "x_channel", "constant": "mail", "as_seen": seen}
    bob.post(url, {**said, "constant": "phone"})
    for words, there in (("changed", ["phone"]), ("removed", [])):
        answer = anna.post(url, said)
        assert [
            f"Somebody else has {words} the row of x_channel" in one for one in answer.context["form"].errors["target"]
        ]
        assert [one["constant"] for one in rows()] == there
        bob.post(page("fields_map"), {"do": "remove:x_channel"})


def test_two_who_map_one_field_at_once_do_not_map_it_twice(
    anna: Client, two_sides: TwoSides, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = pages._asked

    def meanwhile(*args: Any) -> Any:
        edit(WEB)
        return asked(*args)

    monkeypatch.setattr(pages, "_asked", meanwhile)
    assert errors(anna, "text", target="x_channel", constant="phone") == {
        "target": ["x_channel is mapped already. Edit its row."]
    }
    assert rows() == [WEB]


def test_without_a_dry_run_of_just_this_draft_it_is_said_and_one_is_offered(anna: Client, two_sides: TwoSides) -> None:
    two_sides.orders(1)
    edit(WEB)

    def asked() -> str:
        return unescape(anna.get(page("field_switch_on")).content.decode())

    def dry_run() -> Run:
        return map_check.start(actor="anna", bridge=1)

    offered = f'href="{page("field_dry_run")}"'
    assert "No dry run was made of this draft." in asked() and offered in asked()
    run = dry_run()
    assert "Dry run of a field map" in asked() and "of this draft: Running" in asked() and offered not in asked()
    assert engine.carry_out(run), run.error
    assert "Of the latest 1 orders, 1 would get other fields" in asked() and offered not in asked()
    Bridge.objects.filter(pk=1).update(field_map=as_text(1, [NUMBER]))
    assert "No dry run was made of this draft." in asked(), "what it would change is another thing now"
    confirm(anna, "field_switch_on", reason="All the same")
    assert on() == [WEB], "it is offered, not forced"


def test_what_is_wrong_with_the_draft_is_told_before_it_is_on(anna: Client, two_sides: TwoSides) -> None:
    field_maps.ask_fields(Bridge.objects.get(pk=1))
    edit({"target": "x_gone", "constant": "a"}, {"target": "x_score", "constant": "1"}, {"target": "x_old", "magic": 1})
    shown = unescape(anna.get(page("field_switch_on")).content.decode())
    assert "x_gone: The CRM does not list this field (any more)." in shown
    assert "x_score: The CRM lets nobody write it (any more)." in shown
    assert "x_old: " in shown
