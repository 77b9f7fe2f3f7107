"""What each side says about one order at one moment. Frozen: the decision works on these and on nothing else."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Any, Self

from django.conf import settings

from webhooks.texts import is_spoiled

CARRIED = (
    "id",
    "parent_id",
    "number",
    "order_key",
    "created_via",
    "status",
    "currency",
    "prices_include_tax",
    "customer_id",
    "customer_ip_address",
    "customer_user_agent",
    "customer_note",
    "billing",
    "shipping",
    "payment_method",
    "payment_method_title",
    "payment_url",
    "transaction_id",
    "discount_total",
    "discount_tax",
    "shipping_total",
    "shipping_tax",
    "cart_tax",
    "total",
    "total_tax",
    "date_created",
    "date_created_gmt",
    "date_paid",
    "date_paid_gmt",
    "date_completed",
    "date_completed_gmt",
    "line_items",
    "tax_lines",
    "shipping_lines",
    "fee_lines",
    "coupon_lines",
    "refunds",
    "meta_data",
)
"""The fields of a WooCommerce order that the CRM is told. Not among them: what every save bumps (`date_modified`, FACTS
A9), what follows from the status (`needs_payment`), and what says nothing of the order (`version`, `_links`): see
docs/decisions/0059."""
OUR_META = "_orderbridge_*"
WORD_LENGTH = 64
"""Characters of an id or a status; a longer one is none, and would not fit into the database."""
LARGEST_INTEGER = 2**63 - 1
TRASH = "trash"
"""The status of an order that was moved to the trash; of such a one the CRM hears just that (CONTRACT section 3)."""
COMPOSER = "2"
"""The version of `document`. One that composes otherwise gets the next number, and this one moves to `EARLIER`."""


def document(order: Mapping[str, Any]) -> dict[str, Any]:
    """What the CRM is told of an order: the same when it is created there and whenever it changes."""
    if order.get("status") == TRASH:
        return {name: order[name] for name in ("id", "status") if name in order}
    told = {name: order[name] for name in CARRIED if name in order}
    if isinstance(told.get("meta_data"), list):
        told["meta_data"] = [one for one in told["meta_data"] if not _is_ignored(one)]
    return told


def _is_ignored(meta: Any) -> bool:
    key = str(meta.get("key")) if isinstance(meta, Mapping) else ""
    return any(fnmatchcase(key, pattern) for pattern in (OUR_META, *settings.META_IGNORED))


def _document_1(order: Mapping[str, Any]) -> dict[str, Any]:
    """What counted as content before version 2; more was sent than that."""
    names = (
        "status currency customer_id customer_note billing shipping payment_method payment_method_title transaction_id "
        "discount_total discount_tax shipping_total shipping_tax cart_tax total total_tax line_items tax_lines "
        "shipping_lines fee_lines coupon_lines refunds"
    )
    counted = ["status"] if order.get("status") == TRASH else names.split()
    return {name: order[name] for name in counted if name in order}


EARLIER: dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {"": _document_1}
"""By the version that stands before the colon of a fingerprint. Those of version 1 have none."""


def fingerprint(order: Mapping[str, Any]) -> str:
    """Of what the CRM is told. Equal ones: nothing has changed that it should hear of."""
    return f"{COMPOSER}:{_hash(document(order))}"[:64]


def _hash(told: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(told, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def is_word(text: str) -> bool:
    """Whether it can be an id, a status or a time: neither too long, nor with characters that none of them has."""
    return len(text) <= WORD_LENGTH and text.replace(" ", "x").isprintable() and not is_spoiled(text)


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

    def is_known_as(self, known: str) -> bool:
        """Whether this fingerprint is that of its content, also if an earlier release made it."""
        earlier = EARLIER.get(known.rpartition(":")[0])
        return known == (_hash(earlier(self.order)) if earlier else self.fingerprint)


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
