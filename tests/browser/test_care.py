"""What keeps the service well, with the mouse: retries, findings, the shop's webhooks, the doctor."""

from datetime import timedelta
from typing import Any

from django.utils import timezone
from playwright.sync_api import Page, expect

from orders.models import StaffAction
from sync.jobs import drift, engine
from sync.models import DriftFinding
from tests.browser.conftest import SignIn
from tests.browser.story import fell_behind, order
from tests.journeys.conftest import World
from webhooks.models import State, WebhookEvent


def press(page: Page, action: str, because: str) -> None:
    page.get_by_role("link", name=f"{action}…").click()
    page.get_by_label("Reason").fill(because)
    page.get_by_role("button", name=action, exact=True).click()


def test_retries_are_hurried_and_given_up_and_the_event_resolved(world: World, sign_in: SignIn, settings: Any) -> None:
    settings.RETRY_BASE_SECONDS = settings.RETRY_MAX_SECONDS = 600.0
    settings.BREAKER_THRESHOLD = 100
    woo_id, crm_id = order(world, 3)
    world.shop.faults.add("500")
    world.crm.set_status(crm_id, "paid")
    world.work()
    event = WebhookEvent.objects.get(state=State.RETRYING)
    page = sign_in("support")
    page.goto(f"/admin/webhooks/webhookevent/{event.pk}/change/")
    press(page, "Retry now", "They say that it is mended")
    expect(page.get_by_text("The next attempt is due now.", exact=True)).to_be_visible()
    world.work()
    event.refresh_from_db()
    assert (event.state, event.attempts) == (State.RETRYING, 2)
    page.reload()
    press(page, "Cancel retries", "It is not")
    expect(page.get_by_text("There are no further retries. The event is parked.", exact=True)).to_be_visible()
    press(page, "Mark resolved", "Set by hand in the shop")
    expect(page.get_by_text("Marked resolved.", exact=True)).to_be_visible()
    event.refresh_from_db()
    assert (event.state, event.outcome) == (State.DONE, "resolved")
    assert world.shop.orders[woo_id]["status"] == "pending"
    assert list(StaffAction.objects.order_by("id").values_list("action", flat=True)) == [
        "sign in",
        "retry now",
        "cancel retries",
        "resolve",
    ]


def test_a_finding_is_ignored_until_a_day(world: World, sign_in: SignIn) -> None:
    woo_id = fell_behind(world)
    engine.carry_out(drift.start(actor="test"))
    until = timezone.now() + timedelta(days=3)
    page = sign_in("operator")
    page.get_by_role("link", name="Drift", exact=True).first.click()
    row = page.get_by_role("row").filter(has_text=str(woo_id))
    row.get_by_role("link").first.click()
    page.get_by_role("link", name="Ignore until…").click()
    page.get_by_label("Until").fill(f"{until:%Y-%m-%d}")
    page.get_by_label("Reason").fill("The warehouse knows")
    page.get_by_role("button", name="Ignore", exact=True).click()
    expect(page.get_by_text(f"Ignored until {until:%Y-%m-%d}.")).to_be_visible()
    page.get_by_role("link", name="Drift", exact=True).first.click()
    expect(page.get_by_role("row").filter(has_text=str(woo_id))).to_have_count(0)
    assert DriftFinding.objects.get().ignored_because == "The warehouse knows"


def test_the_shops_webhooks_are_made_and_the_doctor_looks_at_them(world: World, sign_in: SignIn) -> None:
    world.shop.webhooks.clear()
    page = sign_in("operator")
    page.get_by_role("link", name="Webhooks in the shop", exact=True).click()
    page.get_by_role("button", name="Check now").click()
    expect(page.get_by_text("not working").first).to_be_visible()
    page.get_by_role("button", name="Create missing…").click()
    expect(page.get_by_role("heading", name="Changes in the shop")).to_be_visible()
    assert world.shop.webhooks == {}
    page.get_by_label("Reason").fill("A new shop")
    page.get_by_role("button", name="Create missing", exact=True).click()
    expect(page.get_by_text("All four are active.")).to_be_visible()
    assert {one["topic"] for one in world.shop.webhooks.values()} == {
        f"order.{what}" for what in ("created", "updated", "deleted", "restored")
    }
    page.get_by_role("link", name="Doctor", exact=True).click()
    page.get_by_role("button", name="Run the checks").click()
    expect(page.get_by_role("button", name="Run the checks again")).to_be_visible()
    expect(page.get_by_role("listitem").filter(has_text="webhooks").first).to_be_visible()
