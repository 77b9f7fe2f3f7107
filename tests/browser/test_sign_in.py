"""Signing in as people do: with an authenticator app, a passkey, the company's directory, and the very first time."""

import re
import time
from collections.abc import Iterator
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value
from django.core.cache import cache
from playwright.sync_api import Page, expect

from integration_site.setup_link import new_link
from orders.models import StaffAction
from tests.browser.conftest import PASSWORD, PHONE, SignIn, Watch, employ
from tests.security.test_directory import company, directory

__all__ = ["company", "directory"]
SECOND_FACTOR = "/admin/account/2fa/"

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.filterwarnings("ignore::DeprecationWarning")]


@pytest.fixture(autouse=True)
def nothing_is_remembered() -> Iterator[None]:
    cache.clear()
    yield
    cache.clear()


def fill_in(page: Page, name: str) -> None:
    page.goto("/admin/login/")
    page.get_by_label("Username").fill(name)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()


def again(page: Page) -> None:
    """Whatever changes the account asks for the password."""
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Confirm").click()


def code(secret: str, later: int = 0) -> str:
    return format_hotp_value(hotp_value(secret, int(time.time()) // 30 + later))


def with_authenticator(page: Page) -> None:
    """A passkey's device, of which the browser asks nobody."""
    session = page.context.new_cdp_session(page)
    session.send("WebAuthn.enable")
    options = {"protocol": "ctap2", "transport": "internal", "hasResidentKey": True, "hasUserVerification": True}
    session.send(
        "WebAuthn.addVirtualAuthenticator",
        {"options": {**options, "isUserVerified": True, "automaticPresenceSimulation": True}},
    )


def test_an_authenticator_app_is_set_up_and_asked_for(sign_in: SignIn, watch: Watch) -> None:
    page = sign_in("manager")
    page.goto(SECOND_FACTOR)
    page.get_by_role("link", name="Activate").click()
    again(page)
    secret = page.get_by_label("Authenticator secret").input_value()
    expect(page.get_by_role("img", name=secret)).to_be_visible()
    page.get_by_label("Code").fill(code(secret))
    page.get_by_role("button", name="Activate").click()
    expect(page.get_by_label("Unused codes")).to_be_visible()
    page.context.clear_cookies()
    fill_in(page, "manager")
    page.get_by_placeholder("Code").fill("000000" if code(secret) != "000000" else "111111")
    page.get_by_role("button", name="Sign In", exact=True).click()
    expect(page.get_by_text("Incorrect code.")).to_be_visible()
    page.get_by_placeholder("Code").fill(code(secret, later=1))
    page.get_by_role("button", name="Sign In", exact=True).click()
    expect(page.get_by_role("navigation", name="Status summary")).to_be_visible()
    assert StaffAction.objects.filter(action="sign in").latest("id").result == "With password and totp."


def test_a_passkey_is_set_up_and_opens_without_a_password(sign_in: SignIn) -> None:
    page = sign_in("operator")
    with_authenticator(page)
    page.goto(f"{SECOND_FACTOR}webauthn/")
    page.get_by_role("link", name="Add").click()
    again(page)
    page.get_by_label("Name").fill("My laptop")
    page.get_by_label("Passwordless").check()
    page.get_by_role("button", name="Add").click()
    expect(page.get_by_label("Unused codes")).to_be_visible()
    assert Authenticator.objects.get(type="webauthn").user.username == "operator"
    page.goto(f"{SECOND_FACTOR}webauthn/")
    expect(page.get_by_role("cell", name="My laptop")).to_be_visible()
    page.context.clear_cookies()
    page.goto("/admin/login/?next=/admin/sync/alarm/")
    page.get_by_role("button", name="Use a passkey").click()
    page.wait_for_url(re.compile(r"\d/admin/sync/alarm/$"))
    assert StaffAction.objects.filter(action="sign in").latest("id").result == "With webauthn."
    page.context.clear_cookies()
    fill_in(page, "operator")
    page.get_by_role("button", name="Use a security key").click()
    expect(page.get_by_role("navigation", name="Status summary")).to_be_visible()
    assert StaffAction.objects.filter(action="sign in").latest("id").result == "With password and webauthn."


def test_whoever_has_no_passkey_is_told_so(page: Page, live_server: Any) -> None:
    with_authenticator(page)
    page.goto(f"{live_server.url}/admin/login/")
    page.get_by_role("button", name="Use a passkey").click()
    expect(page.get_by_role("alert")).to_have_text(re.compile("No passkey was used"))


def test_a_role_that_needs_a_second_factor_is_led_to_it(sign_in: SignIn, settings: Any) -> None:
    settings.MFA_REQUIRED_ROLES = ["auditor"]
    employ("auditor")
    page = sign_in("auditor")
    expect(page.get_by_text("Your role needs a second factor.")).to_be_visible()
    expect(page.get_by_role("heading", name="Authenticator App")).to_be_visible()


def test_the_companys_directory_opens_and_leads_on(company: str, page: Page, live_server: Any) -> None:
    """Past our Content-Security-Policy, which lets forms lead to ourselves only."""
    page.goto(f"{live_server.url}/admin/login/?next=/admin/sync/alarm/")
    page.get_by_role("button", name="Company account").click()
    page.wait_for_url(re.compile(re.escape(company)))
    page.locator("button, input[type=submit]").filter(has_text=re.compile("ann")).first.click()
    page.wait_for_url(re.compile(r"\d/admin/sync/alarm/$"))


def test_sessions_are_seen_and_ended_on_a_phone(sign_in: SignIn, browser: Any, live_server: Any) -> None:
    page = sign_in("viewer")
    other = browser.new_context(base_url=live_server.url).new_page()
    fill_in(other, "viewer")
    expect(other.get_by_role("navigation", name="Status summary")).to_be_visible()
    page.set_viewport_size(PHONE)
    page.goto("/admin/account/sessions/")
    expect(page.get_by_role("row")).to_have_count(3)
    page.get_by_role("button", name="Sign Out Other Sessions").click()
    expect(page.get_by_role("row")).to_have_count(2)
    other.goto("/admin/")
    expect(other.get_by_label("Username")).to_be_visible()
    other.context.close()


def test_the_first_administrator_comes_by_the_link(page: Page, live_server: Any) -> None:
    page.goto(live_server.url + new_link().partition("8000")[2])
    page.get_by_label("Username").fill("ann")
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_label("Password confirmation").fill(PASSWORD)
    page.get_by_role("button", name="Create the administrator").click()
    expect(page.get_by_role("navigation", name="Status summary")).to_be_visible()
