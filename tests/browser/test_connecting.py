"""A shop and a CRM are set up in the browser, from the first click to a bridge that is on: by mouse, by keyboard, on a
phone; and no page is wider than the screen."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from sync import tasks
from sync.sandbox import second
from sync.sandbox.crm import SandboxCrm
from sync.sandbox.shop import SandboxShop
from tests.browser.conftest import PHONE, SignIn, tab_to
from tests.journeys.conftest import World, wait_for
from tests.servers import free_port
from webhooks.checks import OF_THE_ENVIRONMENT
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


def test_with_nothing_configured_a_working_bridge_is_clicked_together_from_the_first_page(
    unconnected: Pair, world: World, sign_in: SignIn, settings: Any
) -> None:
    """As a fresh clone with an empty .env."""
    for name in OF_THE_ENVIRONMENT:
        setattr(settings, name, "")
    shop, crm = unconnected
    page = sign_in("manager")
    steps = page.get_by_role("region", name="What is left until it works")

    def click(role: Any, name: str) -> None:
        page.get_by_role(role, name=name, exact=True).click()

    page.goto("/admin/")
    for add, approve in (("Add a shop", True), ("Add a CRM", False)):
        page.get_by_role("region", name="Three steps to the first bridge").get_by_role("link", name=add).click()
        if approve:
            click("button", "Continue")
            click("link", "Approve in the shop")
            click("link", "Approve")
            click("button", "Try the keys and connect")
        else:
            click("link", "JSON API in the format of Orderbridge (rest)")
            click("button", "Try and connect")
        expect(page.get_by_text("is connected").first).to_be_visible()
        page.goto("/admin/")
    page.get_by_role("region", name="Three steps to the first bridge").get_by_role("link", name="Bridge them").click()
    page.get_by_label("Name").fill("First")
    page.locator("select[name=shop]").select_option(label="Second sandbox shop")
    page.locator("select[name=crm]").select_option(label="Second sandbox CRM")
    click("button", "Continue")
    click("button", "Save the map")
    steps.get_by_role("link", name="Switch on").click()
    page.get_by_label("Reason").fill("It is ready")
    click("button", "Switch on")
    expect(page.get_by_text("This bridge is on")).to_be_visible()
    _orders_go_both_ways(shop, crm)
    page.goto("/admin/")
    expect(page.get_by_role("region", name="Three steps to the first bridge")).to_have_count(0)


def _orders_go_both_ways(shop: SandboxShop, crm: SandboxCrm) -> None:
    def settled(is_so: Callable[[], object]) -> Callable[[], object]:
        def work() -> object:
            for side in (shop, crm):
                side.settle()
            tasks.drain()
            return is_so()

        return work

    order = shop.create_order(status="pending")
    wait_for(settled(lambda: crm.by_external(order["id"])))
    crm.set_status(crm.by_external(order["id"])[0]["id"], "paid")
    wait_for(settled(lambda: shop.orders[order["id"]]["status"] == "processing"))


def test_the_whole_set_up_is_done_by_keyboard_alone(unconnected: Pair, sign_in: SignIn) -> None:
    page = sign_in("manager", keyboard_only=True)

    def press(name: str, shown: str) -> None:
        tab_to(page, name)
        page.keyboard.press("Enter")
        expect(page.get_by_text(shown).first).to_be_visible()

    page.goto("/admin/webhooks/connection/add-shop/")
    press("Continue", "Approve in the shop")
    press("Approve in the shop", "would like to connect to your store")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Try the keys and connect")).to_be_visible()
    press("Try the keys and connect", "4 webhooks were made in the shop")
    press("Add a CRM", "JSON API in the format of Orderbridge (rest)")
    press("JSON API in the format of Orderbridge (rest)", "Try and connect")
    press("Try and connect", "Second sandbox CRM is connected")
    press("Bridge it", "Prefix of order numbers in the CRM")
    for field, typed in (("Name", "Second"), ("Shop", "Second sandbox shop"), ("CRM", "Second sandbox CRM")):
        tab_to(page, field)
        page.keyboard.type(typed)
    press("Continue", "Map the statuses")
    press("Save the map", "What is left until it works")
    press("Dry run", "Run it")
    press("Run it", "What would be done with 3 orders")
    press("Back", "What is left until it works")
    press("Switch on", "What waited is processed now")
    tab_to(page, "Reason")
    page.keyboard.type("It is ready")
    press("Switch on", "This bridge is on")
    assert Bridge.objects.get(slug="second").is_on
