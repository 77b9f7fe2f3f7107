"""Every page in a browser: no error, no wider than a phone, readable in both themes and aloud; and by keyboard."""

from collections.abc import Iterator
from pathlib import Path

from django.contrib import admin
from django.urls import reverse
from playwright.sync_api import expect

from tests.browser.conftest import PHONE, SignIn, tab_to
from tests.browser.story import a_day, dead
from tests.journeys.conftest import World
from webhooks.models import State, WebhookEvent

CONTRAST = (Path(__file__).parent / "contrast.js").read_text()
NAMES = (Path(__file__).parent / "names.js").read_text()
ALONE = (
    "/admin/",
    "/admin/password_change/",
    "/admin/orders/statustransition/verify/",
    "/admin/sync/run/start/reconcile/",
    "/admin/sync/sidestate/doctor/",
    "/admin/sync/sidestate/webhooks/",
    "/admin/sync/run/start/month_end/",
    "/admin/webhooks/connection/add-shop/keys/",
    "/admin/webhooks/bridge/1/statuses/",
)


def pages() -> Iterator[str]:
    """The home page, each list, one row of each, and what belongs to no list."""
    yield from ALONE
    for model, shown in admin.site._registry.items():
        name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
        yield reverse(f"{name}_changelist")
        row = model._default_manager.order_by("-pk").first()
        if row:
            yield reverse(f"{name}_change", args=[row.pk])
        if shown.get_search_fields(None):  # type: ignore[arg-type]
            yield reverse(f"{name}_changelist") + "?q=no-such-thing"


def test_no_page_errs_or_is_too_wide_or_hard_to_read_or_hear(world: World, sign_in: SignIn, settings: object) -> None:
    a_day(world, settings)
    page = sign_in("root", viewport=PHONE)
    too_wide, hard_to_read, unheard = [], set(), set()
    for path in pages():
        answer = page.goto(path)
        assert answer and answer.status == 200, path
        beyond = page.locator("html").evaluate("html => html.scrollWidth - window.innerWidth")
        if beyond > 0:
            too_wide.append((path, beyond))
        hard_to_read |= {(path, text) for text in page.evaluate(CONTRAST)}
        if not path.startswith("/admin/auth/"):  # with widgets that Django makes once the page is there
            unheard |= {(path, text) for text in page.evaluate(NAMES)}
    assert (too_wide, hard_to_read, unheard) == ([], set(), set())
    page.get_by_role("button", name="Menu").click()
    page.get_by_role("link", name="Refused deliveries").click()
    expect(page.get_by_role("heading", name="Refused deliveries")).to_be_visible()


def test_an_event_is_replayed_without_a_mouse(world: World, sign_in: SignIn, settings: object) -> None:
    woo_id = dead(world, settings)
    page = sign_in("support", keyboard_only=True)
    for name in ("Dead", str(WebhookEvent.objects.get(state=State.DEAD).pk), "Replay"):
        tab_to(page, name)
        with page.expect_navigation():
            page.keyboard.press("Enter")
    tab_to(page, "Reason")
    page.keyboard.type("By keyboard")
    page.keyboard.press("Enter")
    expect(page.get_by_text("A worker was asked to replay it.", exact=True)).to_be_visible()
    world.settle()
    assert world.shop.orders[woo_id]["status"] == "processing"
    for name in ("support", "Log out"):
        tab_to(page, name)
        page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Signed out of Orderbridge")).to_be_visible()
