"""Behind the password: authenticator apps, recovery codes, roles that need them, sessions, and the way back."""

import re
import time
from collections.abc import Iterator
from io import StringIO
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import TOTP, format_hotp_value, hotp_value, yield_hotp_counters_from_time
from allauth.usersessions.models import UserSession
from axes.models import AccessAttempt
from django.contrib.auth.models import Group, User
from django.contrib.sessions.models import Session
from django.core.cache import cache
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from integration_site import checks, sign_in
from orders.models import StaffAction
from sync.roles import ROLES

LOGIN, SECOND, HOME = "/admin/login/", "/admin/account/2fa/authenticate/", "/admin/"
PASSWORD, SECRET = "right-horse-battery", "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def nothing_is_remembered() -> Iterator[None]:
    """allauth counts in the cache of the process."""
    cache.clear()
    yield
    cache.clear()


@pytest.fixture
def alice() -> User:
    return User.objects.create_superuser("alice", password=PASSWORD)


@pytest.fixture
def app(alice: User) -> User:
    """Alice has an authenticator app."""
    TOTP.activate(alice, SECRET)
    return alice


def code(later: int = 0) -> str:
    return format_hotp_value(hotp_value(SECRET, next(iter(yield_hotp_counters_from_time())) + later))


def wrong() -> str:
    near = {code(n) for n in range(-3, 4)}
    return next(one for one in (f"{n:06}" for n in range(10)) if one not in near)


def with_password(client: Client, name: str = "alice", to: str = "") -> Any:
    return client.post(LOGIN + (f"?next={to}" if to else ""), {"username": name, "password": PASSWORD})


def is_in(client: Client) -> bool:
    return client.get(HOME).status_code == 200


def test_the_password_alone_opens_nothing_for_somebody_with_a_second_factor(app: User, client: Client) -> None:
    assert with_password(client).headers["Location"] == SECOND
    assert not is_in(client)
    for path in (HOME, "/admin/auth/user/", "/admin/account/2fa/", "/admin/account/sessions/"):
        assert client.get(path).headers["Location"].startswith(LOGIN), path


def test_with_the_code_somebody_is_in_where_they_wanted_to_go(app: User, client: Client) -> None:
    with_password(client, to="/admin/auth/user/")
    assert "Two-Factor Authentication" in client.get(SECOND).content.decode()
    assert client.post(SECOND, {"code": code()}).headers["Location"] == "/admin/auth/user/"
    assert is_in(client)
    assert StaffAction.objects.get(action="sign in").result == "With password and totp."


def test_nobody_is_led_elsewhere(app: User, client: Client) -> None:
    with_password(client, to="https://evil.example/")
    assert client.post(SECOND, {"code": code()}).headers["Location"] == HOME


def test_the_page_of_the_code_without_a_password_leads_to_the_login(client: Client) -> None:
    for answer in (client.get(SECOND), client.post(SECOND, {"code": "123456"})):
        assert answer.headers["Location"] == LOGIN


def test_a_recovery_code_works_once(app: User, client: Client) -> None:
    one = RecoveryCodes.activate(app).generate_codes()[0]
    with_password(client)
    assert client.post(SECOND, {"code": one}).status_code == 302 and is_in(client)
    other = Client()
    with_password(other)
    assert other.post(SECOND, {"code": one}).status_code == 200 and not is_in(other)


def test_wrong_codes_shut_the_door_as_wrong_passwords_do(app: User, client: Client) -> None:
    with_password(client)
    statuses = [client.post(SECOND, {"code": wrong()}).status_code for _ in range(5)]
    assert statuses == [200] * 4 + [429]
    assert client.post(SECOND, {"code": code()}).status_code == 429 and not is_in(client)
    assert with_password(Client()).status_code == 429
    assert AccessAttempt.objects.get().failures_since_start >= 5


def test_the_password_again_does_not_let_somebody_guess_codes_anew(app: User) -> None:
    """Only the whole sign-in is a success."""
    for n in range(4):
        client = Client()
        assert with_password(client).headers["Location"] == SECOND
        assert client.post(SECOND, {"code": wrong()}).status_code == 200, n
    client = Client()
    with_password(client)
    assert client.post(SECOND, {"code": wrong()}).status_code == 429


def test_wrong_codes_and_wrong_passwords_count_together_by_address(
    app: User, monkeypatch: pytest.MonkeyPatch, client: Client
) -> None:
    monkeypatch.setattr(sign_in, "ADDRESS_LIMIT", 3)
    with_password(client)
    for n in range(3):
        Client().post(LOGIN, {"username": f"nobody-{n}", "password": "wrong"})
    assert client.post(SECOND, {"code": code()}).status_code == 429


def test_whoever_is_no_staff_is_told_so_whichever_way_they_come(alice: User, client: Client) -> None:
    User.objects.create_user("customer", password=PASSWORD)
    answer = with_password(client, "customer")
    assert answer.status_code == 200 and "staff account" in answer.content.decode()
    assert not is_in(client)


def test_an_answer_does_not_tell_who_is_known(app: User) -> None:
    pages = []
    for name in ("alice", "nobody"):
        page = Client().post(LOGIN, {"username": name, "password": "wrong"}).content.decode()
        pages.append(re.sub(r'csrfmiddlewaretoken" value="\w+"', "", page).replace(name, "NAME"))
    assert pages[0] == pages[1]


@pytest.mark.parametrize(
    "path",
    [
        "signup/",
        "password/reset/",
        "password/set/",
        "email/",
        "login/code/",
        "3rdparty/signup/",
        "2fa/webauthn/signup/",
        "oidc/company/login/",
        "oidc/other/login/callback/",
    ],
)
def test_nobody_signs_up_or_resets_a_password(path: str, client: Client) -> None:
    url = f"/admin/account/{path}"
    for answer in (client.get(url), client.post(url, {"username": "eve", "email": "eve@evil.example"})):
        assert answer.status_code in (302, 404, 405)
        assert answer.headers.get("Location", LOGIN).startswith(LOGIN)
    assert not User.objects.exists()


# --- setting one up ------------------------------------------------------------------------------------------------


def confirmed(client: Client) -> None:
    """The password once more, as for whatever changes the account."""
    client.post("/admin/account/confirm/", {"password": PASSWORD})


def test_a_second_factor_is_set_up_after_the_password_is_typed_again(alice: User, client: Client) -> None:
    with_password(client)
    url = "/admin/account/2fa/totp/activate/"
    assert client.get(url).headers["Location"].startswith("/admin/account/confirm/")
    confirmed(client)
    page = client.get(url).content.decode()
    [secret] = re.findall(r'value="([A-Z2-7]{32})"', page)
    assert "data:image/svg+xml" in page
    value = format_hotp_value(hotp_value(secret, int(time.time()) // 30))
    assert client.post(url, {"code": value}).headers["Location"] == "/admin/account/2fa/recovery-codes/"
    assert len(re.findall(r"^\d{8}$", client.get("/admin/account/2fa/recovery-codes/").content.decode(), re.M)) >= 8
    assert StaffAction.objects.filter(action="second factor: add", actor="alice").count() == 2


def test_what_is_stored_of_it_is_encrypted(app: User) -> None:
    RecoveryCodes.activate(app)
    told = str(list(Authenticator.objects.values("data")))
    assert SECRET not in told and "gAAAA" in told


def test_a_second_factor_that_cannot_be_read_says_what_to_do(app: User, client: Client, settings: Any) -> None:
    with_password(client)
    settings.CREDENTIAL_KEYS = ["another-key-than-before"]
    answer = client.post(SECOND, {"code": code()})
    words = answer.content.decode()
    assert answer.status_code == 503 and "CREDENTIAL_KEYS" in words and "reset_second_factor" in words
    settings.CREDENTIAL_KEYS = ["another-key-than-before", settings.SECRET_KEY]
    assert client.post(SECOND, {"code": code()}).status_code == 302


# --- roles that need one -------------------------------------------------------------------------------------------


def person(role: str) -> User:
    one = User.objects.create_user(role, password=PASSWORD, is_staff=True, is_superuser=role == "superuser")
    one.groups.set(Group.objects.filter(name=role))
    return one


@pytest.mark.parametrize("role", ["superuser", *ROLES])
def test_a_role_that_needs_a_second_factor_sets_one_up_first(role: str, settings: Any, client: Client) -> None:
    settings.MFA_REQUIRED_ROLES = [role]
    one = person(role)
    with_password(client, role)
    for answer in (client.get(HOME), client.post("/admin/auth/user/add/"), client.get("/admin/sync/alarm/")):
        assert answer.headers["Location"] == "/admin/account/2fa/"
    page = client.get("/admin/account/2fa/").content.decode()
    assert "Your role needs a second factor" in page
    TOTP.activate(one, SECRET)
    assert is_in(client)


def test_other_roles_go_on_as_before(settings: Any, client: Client) -> None:
    settings.MFA_REQUIRED_ROLES = ["superuser", "manager"]
    person("viewer")
    with_password(client, "viewer")
    assert is_in(client)


def test_whoever_signed_in_before_the_rule_needs_one_from_then_on(alice: User, client: Client, settings: Any) -> None:
    with_password(client)
    assert is_in(client)
    settings.MFA_REQUIRED_ROLES = ["superuser"]
    assert not is_in(client)
    assert client.post("/admin/logout/").status_code == 200


def test_a_role_that_nobody_has_is_named(settings: Any) -> None:
    settings.MFA_REQUIRED_ROLES = ["superuser", "manger"]
    [found] = checks.roles_are_known()
    assert "manger" in found.msg and "manager" in str(found.hint)
    settings.MFA_REQUIRED_ROLES = ["superuser", "manager"]
    assert checks.roles_are_known() == []


# --- sessions and the audit ----------------------------------------------------------------------------------------


def test_sessions_are_listed_and_the_others_ended(alice: User, client: Client) -> None:
    other = Client(headers={"user-agent": "Browser at home"})
    for one in (other, client):
        with_password(one)
    assert "Browser at home" in client.get("/admin/account/sessions/").content.decode()
    client.post("/admin/account/sessions/")
    assert is_in(client) and not is_in(other)
    assert UserSession.objects.count() == 1


def test_nobody_sees_or_ends_the_sessions_of_others(alice: User, client: Client) -> None:
    person("viewer")
    other = Client(headers={"user-agent": "Browser of alice"})
    with_password(other)
    with_password(client, "viewer")
    assert "Browser of alice" not in client.get("/admin/account/sessions/").content.decode()
    client.post("/admin/account/sessions/")
    assert is_in(other)


def test_whoever_manages_people_sees_and_ends_the_sessions_of_others(alice: User, client: Client) -> None:
    person("viewer")
    other, expired = Client(headers={"user-agent": "Browser of the thief"}), Client(headers={"user-agent": "Long ago"})
    for one in (other, expired):
        with_password(one, "viewer")
    Session.objects.filter(session_key=expired.session.session_key).update(expire_date=timezone.now())
    with_password(client)
    url = "/admin/usersessions/usersession/"
    page = client.get(url).content.decode()
    assert "Browser of the thief" in page and "127.0.0.1" in page and "Long ago" not in page
    assert other.session.session_key not in page
    [theirs] = UserSession.objects.filter(user_agent="Browser of the thief")
    answer = client.post(f"{url}{theirs.pk}/end/", {"confirmed": "yes", "reason": "laptop stolen"}, follow=True)
    assert "The session of viewer has ended." in answer.content.decode()
    assert not is_in(other) and is_in(client)
    done = StaffAction.objects.get(action="end session")
    assert (done.actor, done.reason) == ("alice", "laptop stolen")
    assert done.result.startswith("viewer, signed in ") and done.result.endswith(" from 127.0.0.1.")


def test_the_session_in_use_is_left_by_logging_out(alice: User, client: Client) -> None:
    with_password(client)
    url = f"/admin/usersessions/usersession/{UserSession.objects.get().pk}/end/"
    answer = client.post(url, {"confirmed": "yes", "reason": "tidy"}, follow=True)
    assert "Log out instead" in answer.content.decode() and is_in(client)


def test_the_audit_says_who_signed_in_how_and_from_where(alice: User) -> None:
    with_password(Client(headers={"user-agent": "Browser at home"}))
    done = StaffAction.objects.get()
    assert (done.action, done.actor, done.result) == ("sign in", "alice", "With password.")
    assert done.details == {"from": "127.0.0.1", "browser": "Browser at home"}
    Client().post(LOGIN, {"username": "alice", "password": "wrong"})
    assert StaffAction.objects.count() == 1


def test_an_account_from_before_signs_in_as_before(alice: User, client: Client) -> None:
    assert with_password(client).headers["Location"] == HOME
    assert is_in(client)


# --- the way back --------------------------------------------------------------------------------------------------


def test_a_lost_second_factor_is_reset_by_command(app: User, client: Client) -> None:
    RecoveryCodes.activate(app)
    thief = Client()
    with_password(thief)
    thief.post(SECOND, {"code": code()})
    out = StringIO()
    call_command("reset_second_factor", "alice", stdout=out)
    assert "TOTP" in out.getvalue() and "Recovery codes" in out.getvalue() and "1 sessions" in out.getvalue()
    assert not Authenticator.objects.exists() and not is_in(thief)
    assert with_password(client).headers["Location"] == HOME
    done = StaffAction.objects.get(action="reset second factor")
    assert done.actor == "command" and done.result.startswith("alice: ")


def test_a_rehearsal_of_it_changes_nothing(app: User) -> None:
    out = StringIO()
    call_command("reset_second_factor", "alice", "--dry-run", stdout=out)
    assert "Would be removed of alice: TOTP" in out.getvalue()
    assert Authenticator.objects.count() == 1 and not StaffAction.objects.exists()


def test_of_others_nothing_is_reset(app: User, client: Client) -> None:
    person("viewer")
    with_password(client, "viewer")
    call_command("reset_second_factor", "alice", stdout=StringIO())
    assert is_in(client) and Session.objects.exists()


def test_a_name_that_nobody_has_is_told() -> None:
    with pytest.raises(CommandError, match="Nobody is called 'bob'"):
        call_command("reset_second_factor", "bob")
