"""A shop and a CRM are set up in the browser, from the first click to a bridge that is on: by mouse, by keyboard, on a
phone; and no page is wider than the screen."""

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from sync.sandbox import second
from sync.sandbox.crm import SandboxCrm
from sync.sandbox.shop import SandboxShop
from tests.browser.conftest import PHONE, SignIn, tab_to
from tests.journeys.conftest import World
from tests.servers import free_port
from webhooks.models import Bridge

Pair = tuple[SandboxShop, SandboxCrm]


@pytest.fixture
def unconnected(world: World, live_server: Any, settings: Any) -> Iterator[Pair]:
    settings.PUBLIC_URL, settings.ALLOW_PRIVATE_ADDRESSES = live_server.url, True
    settings.SANDBOX_URLS = [f"http://127.0.0.1:{free_port()}" for _ in range(2)]
    shop, crm = second.servers()
    for _ in range(3):
        shop.create_order()
    shop.start()
    crm.start()
    yield shop, crm
    shop.stop()
    crm.stop()


def fits(page: Page) -> None:
    page.wait_for_load_state()
    fitting = page.locator("html").evaluate("html => html.scrollWidth <= window.innerWidth + 1")
    assert fitting, f"{page.url} is too wide"


@pytest.mark.parametrize("options", [{}, {"viewport": PHONE, "color_scheme": "dark"}], ids=["desk", "dark phone"])
def test_another_shop_and_crm_are_connected_and_bridged_by_clicks_alone(
    unconnected: Pair, sign_in: SignIn, options: dict[str, Any]
) -> None:
    shop, crm = unconnected
    page = sign_in("manager", **options)
    steps = page.get_by_role("region", name="What is left until it works")

    def click(role: Any, name: str) -> None:
        fits(page)
        page.get_by_role(role, name=name, exact=True).click()

    page.goto("/admin/webhooks/connection/add-shop/")
    click("button", "Continue")
    click("link", "Approve in the shop")
    expect(page.get_by_text("would like to connect to your store")).to_be_visible()
    page.get_by_role("link", name="Approve", exact=True).click()
    click("button", "Try the keys and connect")
    expect(page.get_by_text("4 webhooks were made in the shop")).to_be_visible()
    click("link", "See whether all is well")
    click("button", "Run the checks")
    expect(page.get_by_text("order.restored: it is active.")).to_be_visible()
    fits(page)
    click("link", "Back")
    click("link", "Add a CRM")
    click("link", "JSON API in the format of Orderbridge (rest)")
    click("button", "Try and connect")
    expect(page.get_by_text("Second sandbox CRM is connected")).to_be_visible()
    click("link", "Bridge it")
    page.get_by_label("Name").fill("Second")
    page.locator("select[name=shop]").select_option(label="Second sandbox shop")
    page.locator("select[name=crm]").select_option(label="Second sandbox CRM")
    click("button", "Continue")
    click("button", "Save the map")
    steps.get_by_role("link", name="Dry run").click()
    click("button", "Run it")
    expect(page.get_by_text("What would be done with 3 orders")).to_be_visible()
    click("link", "Back")
    steps.get_by_role("link", name="Switch on").click()
    page.get_by_label("Reason").fill("It is ready")
    click("button", "Switch on")
    expect(page.get_by_text("This bridge is on")).to_be_visible()
    assert Bridge.objects.get(slug="second").is_on
    assert len(shop.webhooks) == 4 and crm.orders == {}


def test_a_shop_is_approved_by_keyboard_alone(unconnected: Pair, sign_in: SignIn) -> None:
    page = sign_in("manager", keyboard_only=True)
    page.goto("/admin/webhooks/connection/add-shop/")
    tab_to(page, "Continue")
    page.keyboard.press("Enter")
    expect(page.get_by_role("link", name="Approve in the shop")).to_be_visible()
    tab_to(page, "Approve in the shop")
    page.keyboard.press("Enter")
    expect(page.get_by_role("link", name="Approve", exact=True)).to_be_visible()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Try the keys and connect")).to_be_visible()
    tab_to(page, "Try the keys and connect")
    page.keyboard.press("Enter")
    expect(page.get_by_text("4 webhooks were made in the shop")).to_be_visible()
