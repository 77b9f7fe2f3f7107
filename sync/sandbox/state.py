"""The sandbox's orders in a file, so that a restart does not give old numbers to new orders."""

import json
from pathlib import Path

from sync.sandbox.crm import SandboxCrm
from sync.sandbox.shop import SandboxShop


def save(path: Path, shop: SandboxShop, crm: SandboxCrm) -> None:
    with shop.lock:
        content = {"shop": {"next_id": shop.next_id, "orders": list(shop.orders.values())}}
        text = json.dumps(content)
    with crm.lock:
        crm_text = json.dumps({"next_id": crm.next_id, "orders": list(crm.orders.values())})
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(f'{text[:-1]}, "crm": {crm_text}}}')
    part.replace(path)


def load(path: Path, shop: SandboxShop, crm: SandboxCrm) -> bool:
    """False: there was nothing to load."""
    if not path.exists():
        return False
    content = json.loads(path.read_text())
    for order in content["shop"]["orders"]:
        shop.load(order)
    shop.next_id = max(shop.next_id, content["shop"]["next_id"])
    with crm.lock:
        crm.orders.update({order["id"]: order for order in content["crm"]["orders"]})
        crm.next_id = max(crm.next_id, content["crm"]["next_id"])
    return True
