"""A field map is made in the browser with the sandbox: by mouse at a desk, and on a dark phone; no page is too wide."""

from typing import Any

import pytest
from playwright.sync_api import Page, expect

from sync.jobs import engine
from sync.models import Run
from tests.browser.conftest import PHONE, SignIn
from tests.browser.test_connecting import fits
from tests.journeys.conftest import World, linked_order

META = [{"id": 1, "key": "_gift_note", "value": "Happy birthday"}]


@pytest.mark.parametrize("options", [{}, {"viewport": PHONE, "color_scheme": "dark"}], ids=["desk", "dark phone"])
def test_a_field_is_mapped_looked_at_and_sent(world: World, sign_in: SignIn, options: dict[str, Any]) -> None:
    woo_id, _ = linked_order(world, meta_data=META)
    page = sign_in("manager", **options)

    def click(role: Any, name: str) -> None:
        fits(page)
        page.get_by_role(role, name=name, exact=True).click()

    page.goto("/admin/webhooks/bridge/1/fields")
    click("button", "Ask the CRM for its fields")
    expect(page.get_by_text("Payment terms (x_payment_terms) is required in the CRM")).to_be_visible()
    add(page, click, "x_weight", "payment_method")
    expect(page.get_by_text(f"On order {woo_id}: it is a text, and no number")).to_be_visible()
    page.get_by_label("Field of the CRM").select_option("x_gift_note")
    page.get_by_label("Field of the order").select_option("meta._gift_note")
    page.get_by_label("Letters").select_option("upper")
    click("button", "Try it")
    expect(page.get_by_text("••• (14 characters)", exact=False).first).to_be_visible()
    click("button", "Save the field")
    click("link", "Add a field")
    click("link", "Advanced: an expression")
    page.get_by_label("Field of the CRM").select_option("x_express")
    page.get_by_label("Expression").fill("length(line_items) >")
    click("button", "Save the field")
    expect(page.get_by_text("This is no JMESPath expression")).to_be_visible()
    page.get_by_label("Expression").fill("length(line_items) > `5`")
    click("button", "Save the field")
    click("link", "Preview")
    page.get_by_label("Order", exact=True).fill(str(woo_id))
    click("button", "Show it")
    expect(page.get_by_role("row", name="fields.x_express")).to_contain_text("no")
    click("link", "Back")
    click("link", "Dry run over history")
    page.get_by_label("Reason").fill("Before it is on")
    click("button", "Start it")
    assert engine.carry_out(Run.objects.get(kind="map_check"))
    page.reload()
    click("link", "Show what each field gets")
    expect(page.get_by_text("Of the latest 1 orders, 1 would get other fields")).to_be_visible()
    click("link", "Switch on…")
    page.get_by_label("Reason").fill("Sales asked for it")
    click("button", "Switch on")
    expect(page.get_by_text("Version 1 is on, with 2 fields.")).to_be_visible()
    fits(page)
    world.shop.edit(woo_id, customer_note="Please ring twice.")
    world.settle()
    [there] = world.crm.by_external(woo_id)
    assert there["order"]["fields"] == {"x_gift_note": "HAPPY BIRTHDAY", "x_express": False}


def add(page: Page, click: Any, target: str, path: str) -> None:
    click("link", "Add a field")
    page.get_by_label("Field of the CRM").select_option(target)
    page.get_by_label("Field of the order").select_option(path)
    click("button", "Save the field")


def test_a_row_is_changed_and_removed_by_keyboard_alone(world: World, sign_in: SignIn) -> None:
    linked_order(world)
    page = sign_in("manager", keyboard_only=True)
    page.goto("/admin/webhooks/bridge/1/fields/row/?tab=text")
    page.get_by_label("Field of the CRM").fill("x_channel")
    page.get_by_label("Text", exact=True).fill("web")
    page.keyboard.press("Enter")
    expect(page.get_by_role("link", name="Change x_channel")).to_be_visible()
    page.get_by_role("button", name="Remove x_channel").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_text("No field is mapped.")).to_be_visible()
