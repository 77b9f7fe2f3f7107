"""The lifecycle as staff have edited it, read from its rows."""

from django.db.models import Count

from orders.defaults import NO_ORDER
from orders.lifecycle import Lifecycle
from orders.models import AllowedMove, OrderLink, StatusRule


def current_lifecycle() -> Lifecycle:
    """Two small queries; read anew for each order, so that an edit counts at once on every host."""
    return Lifecycle.of(
        StatusRule.objects.values_list("crm_status", "woo_status", "critical"),
        AllowedMove.objects.values_list("from_status", "to_status"),
    )


def gone_statuses(known: frozenset[str]) -> list[tuple[str, int]]:
    """Statuses in which linked orders were seen and that the shop has no more, as their plugin is gone; and how many
    orders. The shop's lists leave such orders out (FACTS B6)."""
    links = OrderLink.objects.exclude(woo_status__in={*known, *NO_ORDER, ""})
    return list(links.values_list("woo_status").annotate(number=Count("pk")).order_by("woo_status"))
