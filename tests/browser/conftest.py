"""A real browser on the whole small world: a person of each role, and no error of the console goes unseen."""

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.core.cache import cache
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, Response, expect

from tests.journeys.conftest import World, world

__all__ = ["world"]

# Playwright's loop runs in the thread of the tests; Django would take each of their queries for one of async code.
os.environ.setdefault("DJANGO_ALLOW_ASYNC_UNSAFE", "true")

NAMES = ("chromium", "chromium-browser", "google-chrome")
HOW_TO_GET_IT = (
    "There is no Chromium on the PATH: install it (on Debian `apt-get install chromium`) and run the tests again; "
    "playwright's own download is not used."
)
QUIET = (
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PASSWORD = "a long way from guessable"
TABS = 120
FOCUSED = """() => {
    const at = document.activeElement, style = getComputedStyle(at);
    const label = at.labels && at.labels[0] ? at.labels[0].innerText : "";
    const name = at === document.body ? "" : at.getAttribute("aria-label") || label || at.innerText || at.value || "";
    return [name, style.outlineStyle !== "none" || style.boxShadow !== "none"];
}"""
WAIT = 60_000
"Milliseconds until a page that does not come is a failure: as long as a loaded machine may need."
PHONE = {"width": 375, "height": 812}
DESK = {"width": 1280, "height": 900}


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args: dict[str, Any]) -> dict[str, Any]:
    """Debian's Chromium. Without one the tests are skipped; in CI nothing skips."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        if os.environ.get("CI"):
            pytest.fail(HOW_TO_GET_IT)
        pytest.skip(HOW_TO_GET_IT)
    # Chromium's own sandbox does not work for root.
    alone = ("--no-sandbox",) if os.geteuid() == 0 else ()
    return {**browser_type_launch_args, "executable_path": found, "args": [*QUIET, *alone]}


@pytest.fixture(scope="package")
def browser(launch_browser: Callable[[], Browser]) -> Iterator[Browser]:
    """One for all of them, closed behind the last: an idle one takes a fortieth of a core for the rest of the run."""
    browser = launch_browser()
    yield browser
    browser.close()


@dataclass
class Watch:
    """What the browser complains of: errors in the console, exceptions, requests that fail."""

    complaints: list[str] = field(default_factory=list)
    forbidden: list[str] = field(default_factory=list)
    "Addresses that answered 403: a test says which it expects."

    def over(self, context: BrowserContext) -> None:
        context.on("console", self._said)
        context.on("weberror", lambda error: self.complaints.append(f"exception: {error.error}"))
        context.on("requestfailed", self._failed)
        context.on("response", self._answered)

    def _said(self, message: ConsoleMessage) -> None:
        # Chromium's line for an answer of 400 and above; `_answered` tells of it with its address.
        if message.type in ("error", "warning") and not message.text.startswith("Failed to load resource"):
            self.complaints.append(f"console: {message.text} ({message.location.get('url')})")

    def _failed(self, request: Request) -> None:
        # A page that is left gives up what it was still loading.
        if request.failure != "net::ERR_ABORTED":
            self.complaints.append(f"failed: {request.method} {request.url}: {request.failure}")

    def _answered(self, response: Response) -> None:
        if response.status == 403:
            self.forbidden.append(response.url)
        elif response.status >= 400:
            self.complaints.append(f"{response.status}: {response.request.method} {response.url}")


@pytest.fixture
def watch() -> Iterator[Watch]:
    watch = Watch()
    yield watch
    assert watch.complaints == []
    assert watch.forbidden == [], "a page answered 403, and the test did not say that it expects it"


@pytest.fixture
def open_page(
    world: World, new_context: Callable[..., BrowserContext], live_server: Any, watch: Watch
) -> Callable[..., Page]:
    """A fresh browser window on the back office, watched. It takes what `Browser.new_context` takes."""
    cache.clear()
    expect.set_options(timeout=WAIT)

    def open_(**options: Any) -> Page:
        context = new_context(**{"base_url": live_server.url, "viewport": DESK, **options})
        context.set_default_timeout(WAIT)
        watch.over(context)
        return context.new_page()

    return open_


SignIn = Callable[..., Page]


@pytest.fixture
def sign_in(open_page: Callable[..., Page]) -> SignIn:
    """A window in which a person of this role has signed in by the form; with `keyboard_only` without a mouse.

    `instead_of` is the window of the person before: what the browser has loaded once need not be loaded again.
    """

    def sign(role: str, *, keyboard_only: bool = False, instead_of: Page | None = None, **options: Any) -> Page:
        employ(role)
        page = instead_of or open_page(**options)
        page.context.clear_cookies()
        page.goto("/admin/")
        if keyboard_only:
            tab_to(page, "Username")
            page.keyboard.type(role)
            tab_to(page, "Password")
            page.keyboard.type(PASSWORD)
            page.keyboard.press("Enter")
        else:
            page.get_by_label("Username").fill(role)
            page.get_by_label("Password").fill(PASSWORD)
            page.get_by_role("button", name="Log in").click()
        page.wait_for_url(lambda url: "/login/" not in url)
        return page

    return sign


def tab_to(page: Page, name: str) -> None:
    """Press Tab until the thing of this name has the focus, and shows that it has."""
    page.wait_for_load_state()
    if name in page.evaluate(FOCUSED)[0]:
        return
    for _ in range(TABS):
        page.keyboard.press("Tab")
        reached, shown = page.evaluate(FOCUSED)
        if name in reached:
            assert shown, f"{name} has the focus and does not show it"
            return
    raise AssertionError(f"{name} is not reached with the Tab key")


def employ(role: str) -> User:
    """A person with this role; `root` may do everything."""
    known = User.objects.filter(username=role).first()
    if known:
        return known
    if role == "root":
        return User.objects.create_superuser(role, password=PASSWORD)
    person = User.objects.create_user(role, password=PASSWORD, is_staff=True)
    person.groups.add(Group.objects.get(name=role))
    return person
