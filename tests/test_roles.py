"""Who may do what in the back office."""

from itertools import product

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.core.management import call_command
from django.test import Client

pytestmark = pytest.mark.django_db

OURS = ("webhooks", "orders", "sync")
SEEN_BY_ALL = [
    *("webhooks.view_webhookevent", "webhooks.view_refuseddelivery"),
    *("orders.view_orderlink", "orders.view_statustransition", "orders.view_statusrule", "orders.view_allowedmove"),
    *("sync.view_attempt", "sync.view_hourlyfigure", "sync.view_call", "sync.view_sidestate", "sync.view_heartbeat"),
    *("webhooks.view_connection", "webhooks.view_bridge"),
    *("sync.view_run", "sync.view_driftfinding", "sync.view_alarm", "sync.view_todoitem"),
    "sync.view_rememberedchoice",
    *("sync.view_recipient", "sync.view_notification"),
]
ALL = {"viewer", "support", "operator", "manager", "auditor"}
MAY = {
    **dict.fromkeys(SEEN_BY_ALL, ALL),
    "webhooks.replay_webhookevent": {"support", "operator", "manager"},
    "webhooks.resolve_webhookevent": {"support", "operator", "manager"},
    "orders.check_orderlink": {"support", "operator", "manager"},
    "sync.handle_todoitem": {"support", "operator", "manager"},
    "sync.choose_customer": {"support", "operator", "manager"},
    "sync.handle_alarm": {"support", "operator", "manager"},
    "sync.test_recipient": {"operator", "manager"},
    "sync.add_recipient": {"manager"},
    "sync.change_recipient": {"manager"},
    "sync.delete_recipient": {"manager"},
    "webhooks.edit_webhookevent": {"operator", "manager"},
    "webhooks.bulk_replay_webhookevent": {"operator", "manager"},
    "sync.pause_sidestate": {"operator", "manager"},
    "webhooks.pause_bridge": {"operator", "manager"},
    "webhooks.set_up_bridge": {"manager"},
    "webhooks.edit_credentials": {"manager"},
    "sync.start_run": {"operator", "manager"},
    "sync.ignore_driftfinding": {"operator", "manager"},
    "orders.force_orderlink": {"manager"},
    "sync.month_end_run": {"manager", "auditor"},
    "sync.confirm_installation": {"manager"},
    "usersessions.view_usersession": {"manager"},
    "usersessions.change_usersession": {"manager"},
    "orders.add_statusrule": {"manager"},
    "orders.change_statusrule": {"manager"},
    "orders.delete_statusrule": {"manager"},
    "orders.add_allowedmove": {"manager"},
    "orders.change_allowedmove": {"manager"},
    "orders.delete_allowedmove": {"manager"},
    "orders.view_staffaction": {"auditor"},
    "orders.verify_statustransition": {"auditor"},
    "orders.export_statustransition": {"auditor"},
    "webhooks.reveal_webhookevent": {"auditor"},
}


def person(role: str) -> User:
    user = User.objects.create_user(role, is_staff=True)
    user.groups.add(Group.objects.get(name=role))
    return user


def held() -> set[tuple[str, str]]:
    rows = Group.objects.values_list("name", "permissions__content_type__app_label", "permissions__codename")
    return {(name, f"{label}.{codename}") for name, label, codename in rows if codename}


@pytest.mark.parametrize("role", sorted(ALL))
def test_a_role_may_do_what_the_table_says_and_nothing_else(role: str) -> None:
    ours = Permission.objects.values_list("content_type__app_label", "codename")
    everything = {f"{label}.{codename}" for label, codename in ours}
    assert set(MAY) <= everything
    user = person(role)
    assert {name for name in everything if user.has_perm(name)} == {name for name in MAY if role in MAY[name]}


def test_every_permission_that_is_ours_alone_belongs_to_a_role() -> None:
    """A button that no role may press is a forgotten one."""
    of_django = {f"{action}_" for action in ("add", "change", "delete", "view")}
    ours = Permission.objects.filter(content_type__app_label__in=OURS).values_list("codename", flat=True)
    special = {codename for codename in ours if not any(map(codename.startswith, of_django))}
    assert special <= {name.split(".")[1] for name in MAY}


def test_migrate_again_gives_back_what_is_missing_and_leaves_what_staff_added() -> None:
    before = held()
    viewer = Group.objects.get(name="viewer")
    added = Permission.objects.get(codename="replay_webhookevent")
    viewer.permissions.set([added])
    Group.objects.get(name="auditor").delete()
    call_command("migrate", verbosity=0)
    assert held() == before | {("viewer", "webhooks.replay_webhookevent")}


@pytest.mark.parametrize(
    ("page", "permission"),
    [
        ("webhooks/webhookevent", "webhooks.view_webhookevent"),
        ("orders/orderlink", "orders.view_orderlink"),
        ("orders/statustransition", "orders.view_statustransition"),
        ("sync/attempt", "sync.view_attempt"),
        ("orders/statusrule/add", "orders.add_statusrule"),
        ("orders/allowedmove/add", "orders.add_allowedmove"),
    ],
)
def test_a_page_opens_for_those_who_may(client: Client, page: str, permission: str) -> None:
    for role in ALL:
        client.force_login(person(role))
        assert client.get(f"/admin/{page}/").status_code == (200 if role in MAY[permission] else 403), role


def test_users_and_groups_are_for_superusers_only(client: Client) -> None:
    for role, page in product(ALL, ("user", "group")):
        user = User.objects.filter(username=role).first() or person(role)
        client.force_login(user)
        assert client.get(f"/admin/auth/{page}/").status_code == 403
