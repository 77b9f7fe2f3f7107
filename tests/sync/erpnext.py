"""Orders of the shop, and a backend that talks to the ERPNext of the sandbox."""

from typing import Any

from sync.clients import crm as crm_backends
from sync.clients.crm import cache
from sync.clients.crm.base import Access, access
from sync.clients.crm.erpnext import ErpnextCrm
from sync.sandbox.crms.erpnext import ErpnextStandIn
from sync.sandbox.crms.erpnext.documents import Doc

BILLING = {
    "first_name": "Jürgen",
    "last_name": "Müller",
    "email": "juergen@example.test",
    "phone": "+49 30 123456",
    "address_1": "Straße des 17. Juni 135",
    "postcode": "10623",
    "city": "Berlin",
    "country": "DE",
}


def shop_order(**changes: Any) -> dict[str, Any]:
    """A T-shirt twice, a product without SKU, shipping and 19 %."""
    return {
        "id": 14,
        "number": "14",
        "status": "processing",
        "currency": "EUR",
        "total": "38.56",
        "total_tax": "6.16",
        "date_created": "2026-11-27T22:00:00",
        "billing": BILLING,
        "line_items": [
            {"id": 1, "name": "Plain T-shirt", "sku": "LAB-2", "quantity": 2, "total": "24.00", "total_tax": "4.56"},
            {"id": 2, "name": "Gift wrap", "quantity": 1, "total": "3.50", "total_tax": "0.67"},
        ],
        "shipping_lines": [{"id": 3, "method_title": "Flat rate", "total": "4.90", "total_tax": "0.93"}],
        "tax_lines": [
            {"id": 4, "label": "MwSt", "rate_percent": 19, "tax_total": "5.23", "shipping_tax_total": "0.93"},
        ],
        **changes,
    }


def access_to(erpnext: ErpnextStandIn, **more: str) -> Access:
    return access(ErpnextCrm.schema, {"url": erpnext.url, **erpnext.settings, **more}, f"erpnext-{erpnext.port}")


class Backend:
    """Fresh, as in a new process: nothing is remembered."""

    def __init__(self, erpnext: ErpnextStandIn, **settings: str) -> None:
        cache.forget_all()
        self.erpnext, self.access = erpnext, access_to(erpnext, **settings)
        made = crm_backends.connect_to(ErpnextCrm, self.access)
        assert isinstance(made, ErpnextCrm)
        self.crm = made

    def told(self, order: dict[str, Any], **more: Any) -> dict[str, Any]:
        """Its document."""
        return {**ErpnextCrm.composer(self.access).document(order), **more}

    def create(self, name: str = "14", **changes: Any) -> Doc:
        made, _ = self.crm.create(name, self.told(shop_order(**changes)))
        return self.erpnext.orders[made.crm_order_id]

    def update(self, doc: Doc, **changes: Any) -> Doc:
        told = self.crm.update(doc["name"], self.told(shop_order(**changes)))
        return self.erpnext.orders[told.crm_order_id]
