"""The sandbox's orders in a file, so that a restart does not give old numbers to new orders. So are the keys that it
gave away and, of a shop that begins without any, its webhooks."""

import json
from pathlib import Path

from sync.sandbox.crms.base import StandIn
from sync.sandbox.shop import SandboxShop
from sync.sandbox.shop_auth import Key


def save(path: Path, shop: SandboxShop, crm: StandIn) -> None:
    with shop.lock:
        keys = {key: list(one) for key, one in shop.keys.others.items()}
        kept = {"orders": list(shop.orders.values()), "webhooks": list(shop.webhooks.values()), "keys": keys}
        content = {"shop": {"next_id": shop.next_id, **kept}}
        text = json.dumps(content)
    with crm.lock:
        crm_text = json.dumps(crm.kept())
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(f'{text[:-1]}, "crm": {crm_text}}}')
    part.replace(path)


def load(path: Path, shop: SandboxShop, crm: StandIn) -> bool:
    """False: there was nothing to load."""
    if not path.exists():
        return False
    content = json.loads(path.read_text())
    for order in content["shop"]["orders"]:
        shop.load(order)
    shop.next_id = max(shop.next_id, content["shop"]["next_id"])
    shop.keys.others.update({key: Key(*one) for key, one in content["shop"].get("keys", {}).items()})
    if not shop.webhooks:
        shop.webhooks.update({hook["id"]: hook for hook in content["shop"].get("webhooks", ())})
    with crm.lock:
        crm.restore(content["crm"])
    return True
