"""What staff do with one event, with the mouse and to the end; and how they find it."""

import re
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import SignIn
from tests.browser.story import dead, order, parked
from tests.journeys.conftest import World
from webhooks.models import State, WebhookEvent


def answer(page: Page, reason: str, button: str) -> None:
    page.get_by_label("Reason").fill(reason)
    page.get_by_role("button", name=button, exact=True).click()


@pytest.mark.parametrize("options", [{}, {"color_scheme": "dark"}], ids=["light", "dark"])
def test_a_failed_event_is_found_understood_tried_dry_and_replayed(
    world: World, sign_in: SignIn, settings: Any, options: dict[str, str]
) -> None:
    woo_id = dead(world, settings)
    writes = len(world.shop.status_writes)
    page = sign_in("support", **options)
    page.get_by_role("link", name="Dead").click()
    page.get_by_role("row").filter(has_text="Dead").get_by_role("link").first.click()
    expect(page.get_by_role("region", name="Why").get_by_text("Given up after 3 attempts")).to_be_visible()
    page.get_by_role("link", name="Dry run…").click()
    answer(page, "Is the plugin mended?", "Start the dry run")
    expect(page.get_by_text("A replay would make these changes:")).to_be_visible()
    expect(page.get_by_role("row", name="shop status pending processing")).to_be_visible()
    assert (len(world.shop.status_writes), world.shop.orders[woo_id]["status"]) == (writes, "pending")
    page.get_by_role("button", name="Replay…").click()
    expect(page.get_by_label("Reason")).to_have_value("Is the plugin mended?")
    answer(page, "It is", "Replay")
    world.settle()
    page.reload()
    expect(page.get_by_text("Status applied to the shop").first).to_be_visible()
    assert world.shop.orders[woo_id]["status"] == "processing"
    assert not WebhookEvent.objects.filter(state=State.DEAD).exists()


def test_a_copy_is_edited_and_replayed_and_the_original_stays(world: World, sign_in: SignIn) -> None:
    parked(world)
    original = WebhookEvent.objects.get(state=State.PARKED)
    page = sign_in("operator")
    page.goto("/admin/")
    page.get_by_role("link", name="Parked").click()
    page.get_by_role("link", name=str(original.pk), exact=True).click()
    page.get_by_role("link", name="Edit and replay…").click()
    body = page.get_by_label("Body")
    expect(body).to_have_value(re.compile("awaiting_pickup"))  # the page may still be on its way
    text = body.input_value()
    body.fill("{")
    answer(page, "A typing error of the CRM", "Replay the copy")
    expect(page.get_by_text("not JSON").first).to_be_visible()
    body.fill(text.replace("awaiting_pickup", "shipped"))
    page.get_by_role("button", name="Replay the copy", exact=True).click()
    expect(page.get_by_text(f"Event {original.pk} is unchanged")).to_be_visible()
    copy = WebhookEvent.objects.latest("id")
    assert (copy.copy_of_id, bytes(original.body)) == (
        original.pk,
        bytes(WebhookEvent.objects.get(pk=original.pk).body),
    )
    page.get_by_role("link", name=f"event {original.pk}", exact=True).first.click()
    expect(page.get_by_text("Staff replayed an edited copy")).to_be_visible()


def test_an_order_is_found_by_either_id_and_an_event_by_the_customer(world: World, sign_in: SignIn) -> None:
    woo_id, crm_id = order(world, 3)
    other = order(world, 4)[0]
    page = sign_in("support")
    for what, term in (("Orders", str(woo_id)), ("Orders", crm_id), ("Events", "customer3@example.test")):
        page.get_by_role("link", name=what, exact=True).first.click()
        page.locator("#searchbar").fill(term)
        page.keyboard.press("Enter")
        expect(page.get_by_role("link", name="Show all")).to_be_visible()
        expect(page.get_by_role("link", name=str(woo_id), exact=True).first).to_be_visible()
        expect(page.get_by_role("link", name=str(other), exact=True)).to_have_count(0)
    page.locator("#searchbar").fill("x" * 10_000)
    page.keyboard.press("Enter")
    expect(page.get_by_text("Nothing matches").or_(page.get_by_text("too long"))).to_be_visible()
