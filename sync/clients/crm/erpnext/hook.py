"""The webhook of ERPNext, which we make if our key may, or else its people. Its body is a template."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from sync.clients.crm.base import Subscription
from sync.clients.crm.erpnext.records import ORDER, Records
from sync.clients.crm.erpnext.words import path_of
from webhooks.hooks import Hooks, scheme
from webhooks.sources import reader

TEMPLATE = (
    '{"crm_order_id": "{{ doc.name }}", "external_id": "{{ doc.woo_order_id or \'\' }}", "status": "{{ doc.status }}", '
    '"modified": "{{ doc.modified }}"}'
)
HEADER = "X-Frappe-Webhook-Signature"
DOCTYPE, EVENT = "Webhook", "on_change"
MEND = "Run `python manage.py doctor --fix`, press Make what it lacks among the connection's checks, or mend it there."
WANTED = {
    "enabled": (1, "is switched off"),
    "enable_security": (1, "is not signed"),
    "request_method": ("POST", "does not POST"),
    "is_dynamic_url": (0, "takes its Request URL for a template"),
}
"""By field: its value, and what else is said of the webhook. People may add a condition, and more to the body."""
NAMED = "crm_order_id"
"""What the body has to hold."""


def read(event: Mapping[str, Any]) -> dict[str, Any]:
    """Its times have no zone, so none is believed: they only tell one body from another. A deletion sends the body of
    the change before it once more, which the hash of the body takes for news."""
    return {"crm_order_id": event["crm_order_id"], "status": event.get("status")}


HOOKS = Hooks(schema="erpnext/1", parse=reader(read), verify=scheme("hmac-sha256-base64", HEADER))


def advice(address: str) -> str:
    return (
        "In ERPNext, make a Webhook: DocType Sales Order, Doc Event on_change (hold and close send no other), Request "
        f"URL {address}, Request Structure JSON, Enable Security with a secret of the connection, JSON Request Body:"
    )


def subscription(records: Records, address: str) -> Subscription:
    found = _ours(records, address)
    if found is None:
        return Subscription(trouble=f"ERPNext has no webhook for {address}.", advice=MEND)
    amiss = _amiss(found, address)
    if not amiss:
        return Subscription()
    return Subscription(trouble=f"ERPNext's webhook {found['name']} {', '.join(amiss)}.", advice=MEND)


def ensure(records: Records, address: str, secret: str) -> list[str]:
    """Its secret is never shown, and so written whenever anything else is."""
    found = _ours(records, address)
    if found is not None and not _amiss(found, address):
        return []
    values: dict[str, Any] = {name: value for name, (value, _) in WANTED.items()}
    values |= {"request_url": address, "request_structure": "JSON", "webhook_json": TEMPLATE, "webhook_secret": secret}
    if found is not None:
        records.call("PUT", path_of(DOCTYPE, found["name"]), json=values)
        return [f"ERPNext's webhook {found['name']} was mended."]
    of = {"name": f"Orderbridge {records.access.slug}", "webhook_doctype": ORDER, "webhook_docevent": EVENT}
    name = records.make(DOCTYPE, {**of, **values})["name"]
    return [f"The webhook {name} was made in ERPNext."]


def _ours(records: Records, address: str) -> dict[str, Any] | None:
    """That of our address, or else of the same path of another host, or of our name. One that works comes first."""
    of = [["webhook_doctype", "=", ORDER], ["webhook_docevent", "=", EVENT]]
    rows = records.search(DOCTYPE, of, ("name", "request_url", "webhook_json", *WANTED), order_by="name asc")
    path, name = _path(address), f"Orderbridge {records.access.slug}"
    ours = [row for row in rows if _path(str(row["request_url"])) == path or row["name"] == name]
    return min(ours, key=lambda row: len(_amiss(row, address)), default=None)


def _amiss(row: Mapping[str, Any], address: str) -> list[str]:
    found = [words for name, (value, words) in WANTED.items() if row.get(name) != value]
    url = str(row["request_url"])
    if url.rstrip("/") != address.rstrip("/"):
        found.append(f"delivers to {url} and not to {address}")
    if NAMED not in str(row.get("webhook_json")):
        found.append(f"sends no {NAMED}")
    return found


def _path(url: str) -> str:
    return urlsplit(url).path.rstrip("/")
