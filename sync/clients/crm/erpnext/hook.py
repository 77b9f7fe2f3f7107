"""The webhook that people of ERPNext make, and what it sends. Its body is a template that they paste."""

from collections.abc import Mapping
from typing import Any

from webhooks.hooks import Hooks, scheme
from webhooks.sources import reader

TEMPLATE = (
    '{"crm_order_id": "{{ doc.name }}", "external_id": "{{ doc.woo_order_id or \'\' }}", "status": "{{ doc.status }}", '
    '"modified": "{{ doc.modified }}"}'
)
HEADER = "X-Frappe-Webhook-Signature"


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
