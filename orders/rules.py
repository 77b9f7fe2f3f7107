"""The lifecycle as staff have edited it, read from its rows."""

from django.db.models import Count

from orders.defaults import MOVES, NO_ORDER, RULES
from orders.lifecycle import Lifecycle
from orders.models import AllowedMove, OrderLink, StatusRule
from webhooks.connections import DEFAULT_BRIDGE


def current_lifecycle(bridge: int | None = DEFAULT_BRIDGE) -> Lifecycle:
    """Two small queries; read anew for each order, so that an edit counts at once on every host."""
    return Lifecycle.of(
        StatusRule.objects.filter(bridge=bridge).values_list("crm_status", "woo_status", "critical"),
        AllowedMove.objects.filter(bridge=bridge).values_list("from_status", "to_status"),
    )


def give_default_lifecycle(bridge: int) -> None:
    """To a bridge that has none: staff edit it from there. Row by row, so that each has a first version."""
    if StatusRule.objects.filter(bridge=bridge).exists() or AllowedMove.objects.filter(bridge=bridge).exists():
        return
    for crm, woo, critical in RULES:
        StatusRule(bridge_id=bridge, crm_status=crm, woo_status=woo, critical=critical).save()
    for old, news in MOVES.items():
        for new in news:
            AllowedMove(bridge_id=bridge, from_status=old, to_status=new).save()


def gone_statuses(known: frozenset[str], bridge: int = DEFAULT_BRIDGE) -> list[tuple[str, int]]:
    """Statuses in which linked orders were seen and that the shop has no more, as their plugin is gone; and how many
    orders. The shop's lists leave such orders out (FACTS B6)."""
    links = OrderLink.objects.filter(bridge=bridge).exclude(woo_status__in={*known, *NO_ORDER, ""})
    return list(links.values_list("woo_status").annotate(number=Count("pk")).order_by("woo_status"))
