"""What staff do with one event and with many, and how the audit proves it: with the mouse, to the end."""

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from orders.models import StaffAction
from sync import runs
from sync.models import Run
from tests.browser.conftest import SignIn
from tests.browser.story import dead, order, parked, shipped_then_set_back
from tests.factories import WebhookEventFactory
from tests.journeys.conftest import World, run_queue
from webhooks.models import State, WebhookEvent

MANY = 60


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
    answer(page, "Is the plugin mended?", "Look")
    expect(page.get_by_text("A replay would change this:")).to_be_visible()
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
    text = body.input_value()
    body.fill("{")
    answer(page, "A typing error of the CRM", "Replay the copy")
    expect(page.get_by_text("not JSON").first).to_be_visible()
    body.fill(text.replace("awaiting_pickup", "shipped"))
    page.get_by_role("button", name="Replay the copy", exact=True).click()
    expect(page.get_by_text(f"event {original.pk} stays as it came")).to_be_visible()
    copy = WebhookEvent.objects.latest("id")
    assert (copy.copy_of_id, bytes(original.body)) == (
        original.pk,
        bytes(WebhookEvent.objects.get(pk=original.pk).body),
    )
    page.get_by_role("link", name=f"event {original.pk}", exact=True).first.click()
    expect(page.get_by_text("Staff replayed an edited copy")).to_be_visible()


def test_many_are_replayed_after_a_plan_and_cancelled_under_way(world: World, sign_in: SignIn) -> None:
    woo_id = order(world, 0)[0]
    for _ in range(MANY):
        WebhookEventFactory(order_ref=str(woo_id), state=State.DEAD, next_attempt_at=None)
    page = sign_in("operator")
    page.get_by_role("link", name="Dead").click()
    page.get_by_role("checkbox", name="Select all").first.check()
    page.get_by_text(f"Select all {MANY} events").click()
    page.get_by_role("combobox", name="Action").first.select_option(label="Replay…")
    page.get_by_role("button", name="Run").click()
    expect(page.get_by_role("heading", name=f"Replay {MANY} events")).to_be_visible()
    expect(page.get_by_text("woocommerce · order.updated").first).to_be_visible()
    expect(page.get_by_text("Nothing would change").first).to_be_visible()
    page.get_by_label("Speed limit").fill("600")
    answer(page, "The shop was down", "Start the replay")
    run = Run.objects.get(kind=Run.Kind.REPLAY)
    runs.carry_out(run, budget=1.0)
    seen = Run.objects.get(pk=run.pk).counts["seen"]
    expect(page.get_by_text(f"{seen} of {MANY}")).to_be_visible()
    page.get_by_role("link", name="Cancel…").click()
    answer(page, "It is enough", "Cancel")
    expect(page.get_by_text("Cancelled", exact=True).first).to_be_visible()
    run_queue()
    assert 0 < seen < MANY
    assert WebhookEvent.objects.filter(state=State.DEAD).count() >= MANY - seen - runs_open(run)
    assert Run.objects.get(pk=run.pk).state == Run.State.CANCELLED


def runs_open(run: Run) -> int:
    return len(Run.objects.get(pk=run.pk).checkpoint.get("open", []))


def test_an_auditor_verifies_the_audit_and_takes_it_along(world: World, sign_in: SignIn, tmp_path: Path) -> None:
    woo_id = shipped_then_set_back(world)
    page = sign_in("auditor")
    page.get_by_role("link", name="Status transitions").click()
    page.get_by_role("link", name="Verify").click()
    answer(page, "Year's end", "Verify")
    expect(page.get_by_text("was handed to the workers")).to_be_visible()
    run_queue()
    page.reload()
    expect(page.get_by_text("done").first).to_be_visible()
    page.get_by_role("link", name="Status transitions").first.click()
    with page.expect_download() as download:
        page.get_by_role("link", name="CSV").click()
    rows = Path(download.value.path()).read_text().splitlines()
    assert len(rows) == 4
    assert all(str(woo_id) in row for row in rows[1:])
    page.get_by_role("link", name="Staff actions").click()
    expect(page.get_by_text("Year's end").first).to_be_visible()
    assert StaffAction.objects.filter(actor="auditor").exists()


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
