"""What each role of the back office may do. `migrate` makes a group of each; a person may be in several."""

from typing import Any

from django.apps import apps as present
from django.apps.registry import Apps
from django.db.models import Q

VIEWER = (
    "webhooks.view_webhookevent",
    "webhooks.view_refuseddelivery",
    "webhooks.view_connection",
    "webhooks.view_bridge",
    "orders.view_orderlink",
    "orders.view_statustransition",
    "orders.view_statusrule",
    "orders.view_allowedmove",
    "sync.view_attempt",
    "sync.view_call",
    "sync.view_hourlyfigure",
    "sync.view_sidestate",
    "sync.view_heartbeat",
    "sync.view_run",
    "sync.view_driftfinding",
    "sync.view_alarm",
    "sync.view_recipient",
    "sync.view_notification",
    "sync.view_todoitem",
    "sync.view_rememberedchoice",
)
SUPPORT = (
    *VIEWER,
    "webhooks.replay_webhookevent",
    "webhooks.resolve_webhookevent",
    "orders.check_orderlink",
    "sync.handle_todoitem",
    "sync.handle_alarm",
    "sync.choose_customer",
)
OPERATOR = (
    *SUPPORT,
    "webhooks.edit_webhookevent",
    "webhooks.bulk_replay_webhookevent",
    "sync.pause_sidestate",
    "webhooks.pause_bridge",
    "sync.start_run",
    "sync.ignore_driftfinding",
    "sync.test_recipient",
)
MANAGER = (
    *OPERATOR,
    "webhooks.edit_credentials",
    "webhooks.set_up_bridge",
    "orders.force_orderlink",
    "sync.month_end_run",
    "sync.confirm_installation",
    "usersessions.view_usersession",
    "usersessions.change_usersession",
    *(f"sync.{action}_recipient" for action in ("add", "change", "delete")),
    *(f"orders.{action}_{model}" for model in ("statusrule", "allowedmove") for action in ("add", "change", "delete")),
)
AUDITOR = (
    *VIEWER,
    "orders.view_staffaction",
    "orders.verify_statustransition",
    "orders.export_statustransition",
    "sync.month_end_run",
    "webhooks.reveal_webhookevent",
)
ROLES = {"viewer": VIEWER, "support": SUPPORT, "operator": OPERATOR, "manager": MANAGER, "auditor": AUDITOR}


def make_groups(using: str, apps: Apps = present, **kwargs: Any) -> None:
    """After each `migrate`, so that a role gets what a new version adds. Nothing that staff added is taken away."""
    try:
        groups, permissions = apps.get_model("auth", "Group"), apps.get_model("auth", "Permission")
    except LookupError:  # migrated back to before there were groups
        return
    for name, wanted in ROLES.items():
        group, _ = groups.objects.using(using).get_or_create(name=name)
        named = Q()
        for label, codename in (permission.split(".") for permission in wanted):
            named |= Q(content_type__app_label=label, codename=codename)
        group.permissions.add(*permissions.objects.using(using).filter(named))
