"""Who may do what, and the lifecycle: each edit is in the audit, before and after; and nobody grants himself more."""

import sys
from typing import Any

import pytest
from allauth.usersessions.models import UserSession
from django.contrib import admin
from django.contrib.auth.models import Group, Permission, User
from django.core.management import call_command
from django.test import Client
from django.urls import reverse
from simple_history.middleware import _context_manager

from orders import audit
from orders.models import AllowedMove, StaffAction, StatusRule

pytestmark = pytest.mark.django_db
SECRET = "Long-enough-4711"


@pytest.fixture
def bob() -> User:
    user = User.objects.create_user("bob", password="x")
    user.groups.add(Group.objects.get(name="viewer"))
    return user


def url(model: str, page: str, *arguments: Any) -> str:
    return reverse(f"admin:{model}_{page}", args=arguments)


def change(client: Client, person: User, **fields: Any) -> None:
    """By the page of the person, whose other fields stay."""
    flags = {flag: "on" for flag in ("is_active", "is_staff", "is_superuser") if getattr(person, flag)}
    groups = list(person.groups.values_list("pk", flat=True))
    told = {"username": person.username, "groups": groups, **flags, **fields}
    told |= {f"{name}_{part}": "" for name in ("last_login", "date_joined") for part in (0, 1)}
    told |= {"date_joined_0": "2026-01-01", "date_joined_1": "00:00:00"}
    sent = {name: value for name, value in told.items() if value is not None}
    assert client.post(url("auth_user", "change", person.pk), sent).status_code == 302


def told() -> list[tuple[str, str, dict[str, Any], dict[str, Any]]]:
    """What is in the audit: who did what, before and after."""
    rows = StaffAction.objects.order_by("id")
    return [(row.actor, row.action, row.details["before"], row.details["after"]) for row in rows]


def test_what_a_person_may_is_told_with_before_and_after(admin_client: Client, bob: User) -> None:
    manager = Group.objects.get(name="manager")
    force = Permission.objects.get(codename="force_orderlink")
    change(admin_client, bob, is_staff="on", is_superuser="on", groups=[manager.pk], user_permissions=[force.pk])
    changes = told()
    assert {actor for actor, *_ in changes} == {"admin"}
    for said in (
        ("user: change", {"is_staff": False, "is_superuser": False}, {"is_staff": True, "is_superuser": True}),
        ("user: change", {"groups": ["viewer"]}, {"groups": []}),
        ("user: change", {"groups": []}, {"groups": ["manager"]}),
        ("user: change", {"user_permissions": []}, {"user_permissions": ["orders.force_orderlink"]}),
    ):
        assert ("admin", *said) in changes
    assert "is_superuser: False → True" in StaffAction.objects.order_by("id")[0].result


def test_a_person_is_added_and_deleted_with_what_he_could_do(admin_client: Client, bob: User) -> None:
    new = {"username": "eve", "usable_password": "true", "password1": SECRET, "password2": SECRET}
    admin_client.post(url("auth_user", "add"), new)
    actor, action, before, after = told()[0]
    assert (actor, action, before) == ("admin", "user: add", {})
    assert (after["username"], after["is_superuser"], after["password"]) == ("eve", False, "•••")
    selected = {"action": "delete_selected", "_selected_action": [bob.pk], "post": "yes"}
    admin_client.post(url("auth_user", "changelist"), selected)
    assert not User.objects.filter(username="bob").exists()
    actor, action, before, after = told()[-1]
    assert (actor, action, before["username"], before["groups"], after) == (
        "admin",
        "user: delete",
        "bob",
        ["viewer"],
        {},
    )


def test_a_password_is_told_of_and_not_told(admin_client: Client, bob: User) -> None:
    hashed = User.objects.get(pk=bob.pk).password
    sent = {"password1": SECRET, "password2": SECRET, "usable_password": "true", "set-password": "1"}
    admin_client.post(url("auth_user", "password_change", bob.pk), sent)
    bob.refresh_from_db()
    assert bob.check_password(SECRET)
    assert told() == [("admin", "user: change", {"password": "•••"}, {"password": "•••"})]
    kept = str(StaffAction.objects.values().get())
    assert not any(secret in kept for secret in (SECRET, hashed, bob.password))


def test_a_sign_in_is_no_edit(client: Client, bob: User, settings: Any) -> None:
    settings.PASSWORD_HASHERS = [
        "django.contrib.auth.hashers.PBKDF2PasswordHasher",
        "django.contrib.auth.hashers.MD5PasswordHasher",
    ]
    User.objects.filter(pk=bob.pk).update(is_staff=True)
    assert client.post("/admin/login/", {"username": "bob", "password": "x"}).status_code == 302
    assert User.objects.get(pk=bob.pk).password.startswith("pbkdf2")  # hashed anew
    assert [row.action for row in StaffAction.objects.all()] == ["sign in"]


def test_what_a_role_may_is_told(admin_client: Client) -> None:
    viewer = Group.objects.get(name="viewer")
    before = sorted(
        f"{app}.{name}" for app, name in viewer.permissions.values_list("content_type__app_label", "codename")
    )
    kept = list(viewer.permissions.values_list("pk", flat=True))
    force = Permission.objects.get(codename="force_orderlink")
    admin_client.post(url("auth_group", "change", viewer.pk), {"name": "viewer", "permissions": [*kept, force.pk]})
    grown = sorted([*before, "orders.force_orderlink"])
    assert told() == [("admin", "group: change", {"permissions": before}, {"permissions": grown})]
    admin_client.post(url("auth_group", "delete", viewer.pk), {"post": "yes"})
    assert told()[-1] == ("admin", "group: delete", {"name": "viewer", "permissions": grown}, {})


@pytest.mark.parametrize("action", ["add", "set", "remove", "clear"])
def test_seen_from_the_other_end_it_is_the_same_grant(admin_user: User, bob: User, rf: Any, action: str) -> None:
    group = Group.objects.get(name="viewer" if action in ("remove", "clear") else "manager")
    with acting(admin_user, rf):
        getattr(group.user_set, action)(*{"clear": [], "set": [[bob]]}.get(action, [bob]))
    after = [] if action in ("remove", "clear") else ["manager", "viewer"]
    assert told() == [("admin", "user: change", {"groups": ["viewer"]}, {"groups": after})]


def acting(user: User, rf: Any) -> Any:
    """As within a request of this person."""
    request = rf.get("/admin/")
    request.user = user
    return _context_manager(request)


def test_what_changes_nothing_is_not_told(admin_client: Client, bob: User, admin_user: User, rf: Any) -> None:
    change(admin_client, bob)
    with acting(admin_user, rf):
        bob.groups.add(Group.objects.get(name="viewer"))
        bob.groups.remove(Group.objects.get(name="manager"))
    assert told() == []


def test_the_lifecycle_is_told_of_whichever_way_it_is_edited(admin_client: Client) -> None:
    rule, move = StatusRule.objects.get(crm_status="paid"), AllowedMove.objects.order_by("id")[0]
    edit = {"crm_status": "paid", "woo_status": "cancelled", "critical": "on"}
    admin_client.post(url("orders_statusrule", "change", rule.pk), edit)
    assert told() == [("admin", "lifecycle: change", {"woo_status": "processing"}, {"woo_status": "cancelled"})]
    admin_client.post(url("orders_allowedmove", "add"), {"from_status": "refunded", "to_status": "pending"})
    new = {"from_status": "refunded", "to_status": "pending"}
    assert told()[-1] == ("admin", "lifecycle: add", {}, new)
    rows = {"form-TOTAL_FORMS": 1, "form-INITIAL_FORMS": 1, "form-0-id": rule.pk, "_save": "Save"}
    admin_client.post(url("orders_statusrule", "changelist") + "?q=paid", {**rows, "form-0-woo_status": "failed"})
    both = [{"woo_status": "cancelled", "critical": True}, {"woo_status": "failed", "critical": False}]
    assert told()[-1] == ("admin", "lifecycle: change", *both)
    selected = {"action": "delete_selected", "_selected_action": [move.pk, AllowedMove.objects.latest("id").pk]}
    admin_client.post(url("orders_allowedmove", "changelist"), {**selected, "post": "yes"})
    assert [action for _, action, _, after in told()[-2:] if not after] == ["lifecycle: delete"] * 2
    assert {before["from_status"] for _, _, before, _ in told()[-2:]} == {"refunded", move.from_status}


@pytest.mark.parametrize(
    ("model", "page", "sent"),
    [
        (
            "auth_user",
            "change",
            {"username": "bob", "is_superuser": "on", "date_joined_0": "2026-01-01", "date_joined_1": "0:0"},
        ),
        ("auth_user", "password_change", {"password1": SECRET, "password2": SECRET, "usable_password": "true"}),
        ("auth_user", "delete", {"post": "yes"}),
        ("orders_statusrule", "change", {"crm_status": "paid", "woo_status": "cancelled"}),
        ("orders_statusrule", "delete", {"post": "yes"}),
    ],
)
def test_without_its_line_in_the_audit_nothing_is_edited(
    admin_client: Client, bob: User, monkeypatch: pytest.MonkeyPatch, model: str, page: str, sent: dict[str, str]
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(audit, "_append", broken)
    row = bob if model == "auth_user" else StatusRule.objects.get(crm_status="paid")
    stored = type(row).objects.filter(pk=row.pk)  # type: ignore[attr-defined]
    before = stored.values().get()
    with pytest.raises(OSError, match="the disk is full"):
        admin_client.post(url(model, page, row.pk), {**sent, "set-password": "1"})
    assert stored.values().get() == before


def test_ones_own_password_is_told_of_or_not_changed(admin_client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = {"old_password": "password", "new_password1": SECRET, "new_password2": SECRET}
    with monkeypatch.context() as patched, pytest.raises(ZeroDivisionError):
        patched.setattr(audit, "_append", lambda row: 1 / 0)
        admin_client.post("/admin/password_change/", sent)
    assert User.objects.get(username="admin").check_password("password")
    assert admin_client.post("/admin/password_change/", sent).status_code == 302
    assert User.objects.get(username="admin").check_password(SECRET)
    assert told() == [("admin", "user: change", {"password": "•••"}, {"password": "•••"})]


def test_what_a_command_grants_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["manage.py", "createsuperuser"])
    call_command("createsuperuser", username="root", email="", interactive=False, verbosity=0)
    [(actor, action, _, after)] = told()
    assert (actor, action, after["username"], after["is_superuser"]) == ("command", "user: add", "root", True)
    call_command("migrate", verbosity=0)
    assert len(told()) == 1


# --- who may grant -------------------------------------------------------------------------------------------------


@pytest.fixture
def personnel() -> Client:
    """Everything of users and groups, and nothing else."""
    user = User.objects.create_user("pam", password="x", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(content_type__app_label="auth"))
    client = Client()
    client.force_login(user)
    return client


def test_who_is_no_superuser_grants_nothing(personnel: Client, bob: User) -> None:
    pam, plain = User.objects.get(username="pam"), User.objects.create_user("carl")
    manager = Group.objects.get(name="manager")
    for person in (pam, plain):
        may = set(person.get_all_permissions())
        more = {"groups": [manager.pk], "user_permissions": [Permission.objects.get(codename="force_orderlink").pk]}
        change(personnel, person, is_superuser="on", is_staff="on", email="new@example.org", **more)
        person = User.objects.get(pk=person.pk)
        assert (person.email, person.is_superuser, set(person.get_all_permissions())) == ("new@example.org", False, may)
    permissions = list(Permission.objects.values_list("pk", flat=True))
    for page in ((), (manager.pk,)):
        address = url("auth_group", "change" if page else "add", *page)
        assert personnel.post(address, {"name": "mine", "permissions": permissions}).status_code == 403
    assert personnel.post(url("auth_group", "delete", manager.pk), {"post": "yes"}).status_code == 403


@pytest.mark.parametrize("kind", ["superuser", "manager", "shut"])
def test_nobody_becomes_one_who_may_do_more(personnel: Client, kind: str) -> None:
    other = User.objects.create_user("mia", password="x", is_staff=True, is_superuser=kind == "superuser")
    other.groups.set(Group.objects.filter(name="manager") if kind == "manager" else [])
    User.objects.filter(pk=other.pk).update(is_active=kind != "shut")
    before = User.objects.filter(pk=other.pk).values().get()
    sent = {"password1": SECRET, "password2": SECRET, "usable_password": "true", "set-password": "1", "post": "yes"}
    for page in ("change", "password_change", "delete"):
        assert personnel.post(url("auth_user", page, other.pk), {"username": "pam2", **sent}).status_code == 403
    selected = {"action": "delete_selected", "_selected_action": [other.pk], "post": "yes"}
    personnel.post(url("auth_user", "changelist"), selected)
    assert User.objects.filter(pk=other.pk).values().get() == before


# --- nobody reaches upwards ----------------------------------------------------------------------------------------


def test_these_pages_are_about_a_person_and_no_others() -> None:
    """Another one needs the question whether whoever presses its buttons may do less than that person, and a test."""
    about = {
        model for model in admin.site._registry if model is User or User in {f.related_model for f in fields(model)}
    }
    assert about == {User, UserSession}


def fields(model: Any) -> Any:
    return [one for one in model._meta.get_fields() if one.concrete]


@pytest.mark.parametrize(
    ("role", "ends"),
    [("viewer", True), ("operator", True), ("manager", True), ("auditor", False), ("superuser", False)],
)
def test_a_manager_throws_out_nobody_who_may_do_more(role: str, ends: bool) -> None:
    theirs, managers = Client(), Client()
    person = User.objects.create_user("pat", password=SECRET, is_staff=True, is_superuser=role == "superuser")
    person.groups.set(Group.objects.filter(name=role))
    boss = User.objects.create_user("mia", password=SECRET, is_staff=True)
    boss.groups.set(Group.objects.filter(name="manager"))
    theirs.post("/admin/login/", {"username": "pat", "password": SECRET})
    managers.post("/admin/login/", {"username": "mia", "password": SECRET})
    address = f"/admin/usersessions/usersession/{UserSession.objects.get(user=person).pk}/end/"
    answer = managers.post(address, {"confirmed": "yes", "reason": "stolen"}, follow=True).content.decode()
    assert ("Ask a superuser" in answer, theirs.get("/admin/").status_code == 200) == (not ends, not ends)
    assert StaffAction.objects.filter(action="end session").exists() is ends
