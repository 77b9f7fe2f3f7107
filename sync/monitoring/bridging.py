"""A bridge is set up: its statuses are mapped with both live lists, and its first orders are looked at."""

from dataclasses import dataclass

from django.db import transaction

from orders.defaults import MOVES, RULES
from orders.models import AllowedMove, OrderLink, StatusRule
from sync.clients import crm as crm_backends
from sync.clients import shop as shop_client
from sync.clients.bridged import crm_of
from sync.clients.crm.base import Status
from sync.field_map_models import FieldMapVersion
from sync.models import Intent
from webhooks.connections import Bridge
from webhooks.models import WebhookEvent

LEFT_ALONE = "-"
"""The choice for a status that is not applied, and no slug. An empty one means that it has no rule."""
MARKED_CRITICAL = frozenset(woo for _, woo, critical in RULES if critical)


@dataclass(frozen=True, kw_only=True)
class StatusLists:
    """What both sides know at this moment."""

    shop: tuple[str, ...]
    crm: tuple[Status, ...]
    "Empty: this CRM does not tell."


def ask_both(bridge: Bridge) -> StatusLists:
    """Raises SideError."""
    shop = shop_client.connect_to(bridge.shop_config).statuses()
    return StatusLists(shop=tuple(sorted(shop)), crm=tuple(crm_of(bridge).statuses()))


def begin(bridge: Bridge, lists: StatusLists | None) -> None:
    """The rules and moves of a new bridge: what its CRM says its statuses mean, or else the usual ones."""
    kind = bridge.crm_config.backend
    told = (lists.crm if lists else ()) or crm_backends.backend(kind).default_statuses
    usual = {crm: (woo, critical) for crm, woo, critical in RULES}
    rules = [
        (one.name, one.shop_status, one.shop_status in MARKED_CRITICAL)
        if one.shop_status
        else (one.name, *usual.get(one.name, ("", False)))
        for one in told
    ] or list(RULES)
    with transaction.atomic():
        for crm_status, woo_status, critical in rules:
            if woo_status:
                StatusRule(bridge=bridge, crm_status=crm_status, woo_status=woo_status, critical=critical).save()
        for old, news in MOVES.items():
            for new in news:
                AllowedMove(bridge=bridge, from_status=old, to_status=new).save()


def mapping(bridge: Bridge, lists: StatusLists | None) -> list[tuple[Status, str]]:
    """Each status that the CRM has or a rule names, and the shop's status that it leads to, or LEFT_ALONE; empty: no
    rule."""
    stored = StatusRule.objects.filter(bridge=bridge).values_list("crm_status", "woo_status")
    rules = {crm: woo or LEFT_ALONE for crm, woo in stored}
    told = {one.name: one for one in (lists.crm if lists else ())}
    names = [*told, *(name for name in rules if name not in told)]
    return [(told.get(name, Status(name=name, label=name)), rules.get(name, "")) for name in names]


def remap(bridge: Bridge, chosen: dict[str, str]) -> int:
    """Change the rules that differ; how many. An empty choice removes the rule, so that the status parks."""
    rules = {one.crm_status: one for one in StatusRule.objects.filter(bridge=bridge)}
    changed = 0
    with transaction.atomic():
        for crm_status, choice in chosen.items():
            rule, woo_status = rules.get(crm_status), "" if choice == LEFT_ALONE else choice
            if choice and (rule is None or rule.woo_status != woo_status):
                rule = rule or StatusRule(bridge=bridge, crm_status=crm_status)
                rule.woo_status, rule.critical = woo_status, woo_status in MARKED_CRITICAL
                rule.save()
                changed += 1
            elif rule and not choice:
                rule.delete()
                changed += 1
    return changed


def is_linked(bridge: Bridge) -> bool:
    """Whether the CRM knows an order of it, or may: one that is being created has an intent."""
    return any(model.objects.filter(bridge=bridge).exists() for model in (OrderLink, Intent))


def is_used(bridge: Bridge) -> bool:
    """Whether an order or an event hangs on it."""
    return any(model.objects.filter(bridge=bridge).exists() for model in (OrderLink, WebhookEvent))


def delete(bridge: Bridge) -> None:
    """One that nothing hangs on but its own rules. Row by row: each has its history and its line in the audit."""
    with transaction.atomic():
        FieldMapVersion.objects.filter(bridge=bridge).delete()
        for model in (StatusRule, AllowedMove):
            for row in model.objects.filter(bridge=bridge):
                row.delete()
        bridge.delete()
