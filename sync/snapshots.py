"""What each side says about one order at one moment. Frozen: the decision works on these and on nothing else."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self

CARRIED = (
    "status",
    "currency",
    "customer_id",
    "customer_note",
    "billing",
    "shipping",
    "payment_method",
    "payment_method_title",
    "transaction_id",
    "discount_total",
    "discount_tax",
    "shipping_total",
    "shipping_tax",
    "cart_tax",
    "total",
    "total_tax",
    "line_items",
    "tax_lines",
    "shipping_lines",
    "fee_lines",
    "coupon_lines",
    "refunds",
)
"""The fields of a WooCommerce order that we carry. Neither dates nor meta_data: every save bumps those (FACTS A9)."""


TRASH = "trash"
"""The status of an order that was moved to the trash; of such a one the CRM hears just that (CONTRACT section 3)."""


def fingerprint(order: Mapping[str, Any]) -> str:
    """SHA-256 over what we carry of it. Equal fingerprints: nothing changed that the CRM should hear of."""
    names = ("status",) if order.get("status") == TRASH else CARRIED
    carried = {name: order[name] for name in names if name in order}
    return hashlib.sha256(json.dumps(carried, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class ShopSnapshot:
    """An order as the shop's REST API shows it (status `trash` included)."""

    woo_id: int
    status: str
    order: Mapping[str, Any] = field(repr=False)
    is_known: bool = True
    "False: the shop answered that it has no such order (404); it is treated as one in the trash."

    @classmethod
    def gone(cls, woo_id: int) -> Self:
        return cls(woo_id=woo_id, status=TRASH, order={"id": woo_id, "status": TRASH}, is_known=False)

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.order)


@dataclass(frozen=True, kw_only=True)
class CrmSnapshot:
    """An order as the CRM shows it. `version` grows by one a change; a CRM without one is ordered by `updated_at`."""

    crm_order_id: str
    external_id: str | None
    status: str
    version: int | None
    updated_at: datetime | None
    answer: Mapping[str, Any] = field(repr=False)
    content: Mapping[str, Any] = field(default_factory=dict, repr=False)
    "What it shows of what was bought and by whom, in the words of WooCommerce; compared and never kept."
