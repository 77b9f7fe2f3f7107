"""Another order stands where ours should be: a person decides, and nothing is written. Pure, as the decision is."""

from sync.clients.snapshots import DRAFTS, CrmSnapshot, ShopSnapshot
from sync.pipeline.plan import LinkFacts, Park, Reason
from sync.pipeline.whose import agrees, identity, is_named, is_same

ANOTHER_SHOP, REUSED_NUMBER, REUSED_ID, FOUND_ANOTHER = "another_shop", "reused_number", "reused_id", "found_another"
DOUBTS = {
    ANOTHER_SHOP: "This delivery comes from another shop",
    REUSED_NUMBER: "The shop has given this number to another order",
    REUSED_ID: "The CRM has given this id to another order",
    FOUND_ANOTHER: "The CRM's order of this number is another one",
}
"""Reasons that are alarms, too, and how their words begin."""
SAME_ORDER = "If it is the same order after all, confirm it on the order's page (Confirm same order…), then replay."


def another_shop(address: str, shop_url: str, connection: str = "") -> Park:
    """`connection`: of the back office, where its address and others are entered."""
    known, where = "WOO_URL", "add it to WOO_OTHER_URLS (or set WOO_URL to it if the shop has moved)"
    if connection:
        known, where = f"the address of {connection}", f"add it on the page of {connection} (Other addresses)"
    words = (
        f"{DOUBTS[ANOTHER_SHOP]}: it names {address}, and {known} is {shop_url}. A copy of the shop "
        "still has its webhooks: remove them there, then resolve this event. If the address belongs to this shop, "
        f"{where}, then replay."
    )
    return Park(reasons=(Reason(ANOTHER_SHOP, words),))


def another_in_shop(link: LinkFacts | None, shop: ShopSnapshot | None) -> Park | None:
    """The shop has given the number of a linked order to another one."""
    if link is None or shop is None or not shop.is_known or shop.status in DRAFTS:
        return None
    if is_same(link.identity, identity(shop.order)):
        return None
    words = (
        f"{DOUBTS[REUSED_NUMBER]}: {link.woo_id} is linked to {link.crm_order_id}, but now has another order key or "
        "creation time (or, without these, another customer and total). Was the shop restored from a backup? "
        f"Nothing is written. The new order needs another number, or a person who enters it. {SAME_ORDER}"
    )
    return Park(reasons=(Reason(REUSED_NUMBER, words),))


def another_in_crm(link: LinkFacts | None, crm: CrmSnapshot | None) -> Park | None:
    """The CRM has given the id of a linked order to another one."""
    if link is None or crm is None or is_named(crm.external_id, link.woo_id, link.prefix, link.external_id):
        return None
    words = (
        f"{DOUBTS[REUSED_ID]}: {crm.crm_order_id} is linked to the shop's order {link.woo_id}, but its external id is "
        f"now {crm.external_id!r}. Nothing is written. If ours was deleted there, create it again on the order's page. "
        f"If the external id was changed by hand, correct it in the CRM, then replay. {SAME_ORDER}"
    )
    return Park(reasons=(Reason(REUSED_ID, words),))


def another_found(crm: CrmSnapshot, shop: ShopSnapshot, *, is_perhaps_ours: bool = True) -> Park | None:
    """The CRM's order names this one, and is not linked yet. `is_perhaps_ours`: an attempt may have made it, and the
    shop's order may have been edited since; if not, its total tells as well, where the CRM shows nothing else of it."""
    total = {} if is_perhaps_ours or crm.total is None else {"total": f"{crm.total:f}"}
    if not shop.is_known or agrees(crm.content or total, shop.order):
        return None
    words = (
        f"{DOUBTS[FOUND_ANOTHER]}: {crm.crm_order_id} has the external id {crm.external_id!r} and shows another order "
        f"key, creation time, customer or total than the shop's order {shop.woo_id}. Do two shops share this CRM "
        "(EXTERNAL_ID_PREFIX)? Nothing is written. Correct the external id in the CRM, then replay."
    )
    return Park(reasons=(Reason(FOUND_ANOTHER, words),))
