"""The status map that a bridge begins with: what each status of its backend means in the shop, until staff edit it."""

from typing import Any

from django.apps import apps as present
from django.apps.registry import Apps

from sync.clients.crm import backend
from sync.clients.errors import NotConfigured
from webhooks.configs import CrmConfig
from webhooks.connections import CRM, DEFAULT_BRIDGE

CRITICAL = frozenset({"processing", "completed", "cancelled", "refunded"})
"""What leads there is read back, whatever VERIFY says."""


def ensure_rules(kind: str, bridge: int = DEFAULT_BRIDGE, using: str = "default", apps: Apps = present) -> int:
    """A rule for each status that never had one on this bridge: what staff changed or removed stays so. How many."""
    rules, history = apps.get_model("orders", "StatusRule"), apps.get_model("orders", "HistoricalStatusRule")
    known = {
        name
        for table in (rules, history)
        for name in table.objects.using(using).filter(bridge_id=bridge).values_list("crm_status", flat=True)
    }
    new = [one for one in backend(kind).default_statuses if one.shop_status and one.name not in known]
    rules.objects.using(using).bulk_create(
        rules(bridge_id=bridge, crm_status=one.name, woo_status=one.shop_status, critical=one.shop_status in CRITICAL)
        for one in new
    )
    return len(new)


def after_migrate(using: str, apps: Apps = present, **kwargs: Any) -> None:
    """Of the bridge of the environment. A backend that is not there is told of elsewhere."""
    try:
        kind = CrmConfig.of_environment(CRM).backend
        if backend(kind).default_statuses:
            ensure_rules(kind, using=using, apps=apps)
    except (LookupError, NotConfigured):  # migrated back to before there were bridges
        return
