"""The status map that a bridge begins with: what each status of its backend means in the shop, until staff edit it."""

from typing import Any

from django.apps import apps as present
from django.apps.registry import Apps
from django.utils import timezone

from sync.clients.crm import backend
from sync.clients.errors import NotConfigured
from webhooks.configs import CrmConfig
from webhooks.connections import CRM, DEFAULT_BRIDGE

REASON = "default of the CRM"
CRITICAL = frozenset({"processing", "completed", "cancelled", "refunded"})
"""What leads there is read back, whatever VERIFY says."""


def ensure_rules(kind: str, bridge: int = DEFAULT_BRIDGE, using: str = "default", apps: Apps = present) -> int:
    """A rule for each status that never had one on this bridge: what staff changed or removed stays so. How many.

    Each has a version that says what it says, else it would be a finding of the audit. Those of a release that made
    none get theirs."""
    rules, history = apps.get_model("orders", "StatusRule"), apps.get_model("orders", "HistoricalStatusRule")
    known = {
        name
        for table in (rules, history)
        for name in table.objects.using(using).filter(bridge_id=bridge).values_list("crm_status", flat=True)
    }
    defaults = {one.name: one.shop_status for one in backend(kind).default_statuses if one.shop_status}
    new = [
        rules(bridge_id=bridge, crm_status=name, woo_status=means, critical=means in CRITICAL)
        for name, means in defaults.items()
        if name not in known
    ]
    rules.objects.using(using).bulk_create(new)
    versions = history.objects.using(using)
    for row in rules.objects.using(using).filter(bridge_id=bridge, crm_status__in=defaults).order_by("pk"):
        is_default = (row.woo_status, row.critical) == (defaults[row.crm_status], row.woo_status in CRITICAL)
        if is_default and not versions.filter(id=row.pk).exists():
            said = {name: getattr(row, name) for name in ("id", "bridge_id", "crm_status", "woo_status", "critical")}
            versions.create(**said, history_type="+", history_date=timezone.now(), history_change_reason=REASON)
    return len(new)


def after_migrate(using: str, apps: Apps = present, **kwargs: Any) -> None:
    """Of the bridge of the environment. A backend that is not there is told of elsewhere."""
    try:
        kind = CrmConfig.of_environment(CRM).backend
        if backend(kind).default_statuses:
            ensure_rules(kind, using=using, apps=apps)
    except (LookupError, NotConfigured):  # migrated back to before there were bridges
        return
