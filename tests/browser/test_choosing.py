"""Several customers fit an order: one is chosen in the browser, on a desk and on a phone, and the order goes on."""

import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from sync.models import RememberedChoice
from sync.monitoring import todo
from tests.browser.conftest import DESK, PHONE, SignIn
from tests.journeys.conftest import World
from tests.sync.directory import ANN, CrmWithCustomers, two_anns

CONTRAST = (Path(__file__).parent / "contrast.js").read_text()


@pytest.fixture
def two_orders(world: World, settings: Any) -> Any:
    """They wait, as two customers of the CRM have their e-mail address."""
    settings.CRM_BACKEND = "tests.sync.directory.CrmWithCustomers"
    two_anns()
    billing = {"first_name": "Ann", "last_name": "Lee", "email": ANN, "phone": "+49 30 2", "city": "Berlin"}
    orders = [int(world.shop.create_order(billing=billing)["id"]) for _ in range(2)]
    world.settle()
    todo.refresh()
    yield orders
    CrmWithCustomers.people.clear()
    CrmWithCustomers.taken.clear()


def is_readable_and_fits(page: Page) -> None:
    page.wait_for_load_state()
    assert page.locator("html").evaluate("html => html.scrollWidth - window.innerWidth") <= 0
    assert page.evaluate(CONTRAST) == []


def test_a_customer_is_chosen_among_several_that_fit(world: World, sign_in: SignIn, two_orders: list[int]) -> None:
    page = sign_in("support")
    page.get_by_role("link", name="Customers to choose").click()
    page.get_by_role("link", name="Choose the customer…").first.click()
    expect(page.get_by_role("heading", name=re.compile("^The order"))).to_be_visible()
    is_readable_and_fits(page)
    page.set_viewport_size(PHONE)  # type: ignore[arg-type]
    is_readable_and_fits(page)
    page.emulate_media(color_scheme="dark")
    is_readable_and_fits(page)
    page.get_by_label("Reason").fill("Same phone number")
    page.get_by_role("button", name="Choose", exact=True).click()
    expect(page.get_by_role("alert")).to_have_text("Choose one of the customers.")
    expect(page.get_by_label("Reason")).to_have_value("Same phone number")
    page.get_by_role("radio", name="Customer 12").check()
    page.get_by_role("button", name="Choose", exact=True).click()
    expect(page.get_by_text("process 2 orders that waited for this")).to_be_visible()
    world.settle()
    assert [*CrmWithCustomers.taken.values()] == ["12", "12"]
    page.set_viewport_size(DESK)  # type: ignore[arg-type]
    page.goto("/admin/sync/rememberedchoice/")
    page.get_by_role("row").filter(has_text="support").get_by_role("link").first.click()
    page.get_by_role("link", name="Forget…").click()
    page.get_by_label("Reason").fill("They were merged")
    page.get_by_role("button", name="Forget", exact=True).click()
    expect(page.get_by_text("It is forgotten.")).to_be_visible()
    assert not RememberedChoice.objects.exists()
