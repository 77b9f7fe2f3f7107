"""A person accepts that the totals of an order differ, and is not asked again while both stay as they are (0130)."""

from decimal import Decimal

from django.db.models import F

from orders.models import OrderLink
from webhooks.models import Side, WebhookEvent

DIFFERS = "total_differs"


LONGEST = 64


def figures(crm: Decimal, shop: Decimal, currency: str) -> str:
    """As the link keeps them. Empty: too long, and so asked about each time."""
    text = f"{crm:f} {shop:f} {currency}"
    return text if len(text) <= LONGEST else ""


def accepted_by(event: WebhookEvent) -> OrderLink | None:
    """Whose difference is accepted, if this event is resolved: the order that it was parked for, as it still is."""
    [reasons] = event.tries.order_by("-pk").values_list("reasons", flat=True)[:1] or [[]]
    words = next((words for code, words in reasons if code == DIFFERS), "")
    of = {"woo_id": event.order_ref} if event.side == Side.SHOP else {"crm_order_id": event.order_ref}
    link = OrderLink.objects.filter(bridge=event.bridge_id, **of).exclude(totals="").first() if words else None
    return link if link and in_words(link.totals) in words else None


def in_words(known: str) -> str:
    crm, shop, currency = known.split(" ", 2)
    return f"{crm}, and the shop's is {shop} {currency}"


def accept(link: OrderLink) -> None:
    OrderLink.objects.filter(pk=link.pk, totals=link.totals).update(totals_accepted=F("totals"))
