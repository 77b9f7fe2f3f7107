"""An auditor has the audit verified, is led to the bad row, and takes the list along; nobody else finds the buttons."""

from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import expect

from orders.models import StaffAction, StatusTransition
from tests.browser.conftest import SignIn
from tests.browser.story import moved, order
from tests.journeys.conftest import World, run_queue


def test_the_audit_is_verified_by_a_button_that_leads_to_the_bad_row(
    world: World, sign_in: SignIn, tamper: Callable[[str], None]
) -> None:
    woo_id, crm_id = order(world, 0)
    moved(world, crm_id, "paid", "shipped")
    page = sign_in("auditor")
    page.get_by_role("link", name="Status transitions").click()
    page.get_by_role("link", name="Verify").click()
    page.get_by_label("Reason").fill("yearly audit")
    page.get_by_role("button", name="Verify").click()
    expect(page.get_by_text("was handed to the workers")).to_be_visible()
    run_queue()
    expect(page.get_by_text("2 transitions, 2 staff actions: nothing changed or removed.")).to_be_visible()

    bad = StatusTransition.objects.latest("id")
    tamper(f"UPDATE orders_statustransition SET to_status = 'refunded' WHERE id = {bad.pk}")  # noqa: S608
    page.reload()
    page.get_by_label("Reason").fill("again")
    page.get_by_role("button", name="Verify").click()
    run_queue()
    page.get_by_role("link", name=f"transition {bad.pk} of order {woo_id}").click()
    expect(page.get_by_text("Broken")).to_be_visible()
    page.goto("/admin/")
    banner = page.get_by_role("alert").filter(has_text="The audit is broken")
    expect(banner.get_by_role("link", name="Verify…")).to_be_visible()


def test_the_list_is_taken_along_as_it_is_filtered(world: World, sign_in: SignIn) -> None:
    _, crm_id = order(world, 0)
    moved(world, crm_id, "shipped", "paid")
    page = sign_in("auditor")
    page.goto("/admin/orders/statustransition/?decision__exact=refused")
    page.get_by_role("link", name="Export CSV").click()
    page.get_by_label("Reason").fill("The auditors ask for it")
    with page.expect_download() as download:
        page.get_by_role("button", name="Export").click()
    lines = Path(download.value.path()).read_text().splitlines()
    assert len(lines) == 2
    assert "refused" in lines[1]
    page.get_by_role("link", name="Staff actions").click()
    expect(page.get_by_text("status transitions as CSV")).to_be_visible()
    assert list(StaffAction.objects.order_by("id").values_list("action", flat=True)) == ["sign in", "export"]


def test_a_viewer_finds_neither_button(world: World, sign_in: SignIn) -> None:
    page = sign_in("viewer")
    page.goto("/admin/orders/statustransition/")
    expect(page.get_by_role("link", name="Verify")).to_have_count(0)
    expect(page.get_by_role("link", name="Export CSV")).to_have_count(0)
    expect(page.get_by_role("link", name="Staff actions")).to_have_count(0)
