"""What a decision compared, fit to be kept and shown: statuses, versions and times, nothing personal."""

from datetime import datetime

from sync.clients.snapshots import CrmSnapshot, ShopSnapshot
from sync.pipeline.plan import EventFacts, LinkFacts
from webhooks.sources import clean

LONGEST = 64

Compared = dict[str, dict[str, str]]
"""Who says it (event, known, crm, shop), then what: status, version, changed, content."""


def compared(
    event: EventFacts, status: str, known: LinkFacts | None, crm: CrmSnapshot | None, shop: ShopSnapshot | None
) -> Compared:
    """Only what somebody said; who was not asked, or does not know the order, is left out."""
    said = {
        "event": {"status": status, "version": _say(event.version), "changed": _say(event.occurred_at)},
        "known": _known(known),
        "crm": {"status": crm.status, "version": _say(crm.version), "changed": _say(crm.updated_at)} if crm else {},
        "shop": _shop(shop, known),
    }
    filled = {
        who: {what: clean(words, LONGEST) for what, words in facts.items() if words} for who, facts in said.items()
    }
    return {who: facts for who, facts in filled.items() if facts}


def _known(link: LinkFacts | None) -> dict[str, str]:
    if link is None:
        return {}
    return {
        "status": link.crm_status,
        "version": _say(link.crm_version),
        "changed": _say(link.crm_updated_at),
        "shop status": link.woo_status,
    }


def _shop(shop: ShopSnapshot | None, link: LinkFacts | None) -> dict[str, str]:
    if shop is None:
        return {}
    changed = _say(shop.order.get("date_modified_gmt"))
    facts = {"shop status": shop.status, "changed": changed.replace("T", " ")}
    if link is None:
        return facts
    same = shop.is_known_as(link.woo_fingerprint)
    return {**facts, "content": "as known" if same else "other than known"}


def _say(value: datetime | int | str | None) -> str:
    return f"{value:%Y-%m-%d %H:%M:%S}" if isinstance(value, datetime) else "" if value is None else str(value)
