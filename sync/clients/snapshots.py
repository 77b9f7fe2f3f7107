"""What each side says about one order at one moment. Frozen: the decision works on these and on nothing else."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
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
CRM_ORDER_META = "_orderbridge_crm_order_id"
"""In it, the shop's order says which order of the CRM it is."""
WORD_LENGTH = 64
"""Characters of an id or a status; a longer one is none, and would not fit into the database."""
LARGEST_INTEGER = 2**63 - 1
TRASH = "trash"
"""The status of an order that was moved to the trash; of such a one the CRM hears just that (CONTRACT section 3)."""
DRAFTS = frozenset({"checkout-draft", "auto-draft", "draft", "new"})
"""Statuses under which WooCommerce keeps an order that is not one yet (FACTS A4)."""


def document(order: Mapping[str, Any]) -> dict[str, Any]:
    """What the CRM is told of an order: the same when it is created there and whenever it changes."""
    if order.get("status") == TRASH:
        return {name: order[name] for name in ("id", "status") if name in order}
    told = {name: order[name] for name in CARRIED if name in order}
    if isinstance(told.get("meta_data"), list):
        told["meta_data"] = [one for one in told["meta_data"] if not _is_ignored(one)]
    return told


def _key_of(meta: Any) -> str:
    return str(meta.get("key")) if isinstance(meta, Mapping) else ""


def _is_ignored(meta: Any) -> bool:
    return any(fnmatchcase(_key_of(meta), pattern) for pattern in (OUR_META, *settings.META_IGNORED))


def _document_1(order: Mapping[str, Any]) -> dict[str, Any]:
    """What counted as content before version 2; more was sent than that."""
    names = (
        "status currency customer_id customer_note billing shipping payment_method payment_method_title transaction_id "
        "discount_total discount_tax shipping_total shipping_tax cart_tax total total_tax line_items tax_lines "
        "shipping_lines fee_lines coupon_lines refunds"
    )
    counted = ["status"] if order.get("status") == TRASH else names.split()
    return {name: order[name] for name in counted if name in order}


def _hash(told: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(told, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


Document = Mapping[str, Any]
"""What a CRM is told of an order: JSON, in whatever form its backend sends."""
Compose = Callable[[Mapping[str, Any]], Document]


@dataclass(frozen=True, kw_only=True)
class Composer:
    """Makes the document of the shop's order for one CRM. What it makes counts as content, and nothing else does.

    Fingerprints carry its version. One that composes otherwise gets a new version, and the one before moves to
    `earlier`: an order whose earlier document is unchanged is not sent again (docs/decisions/0084).
    """

    version: str
    compose: Compose
    earlier: Mapping[str, Compose] = field(default_factory=dict)
    "By version."

    def fingerprint(self, order: Mapping[str, Any]) -> str:
        """Equal ones: nothing has changed that the CRM should hear of."""
        return f"{self.version}:{_hash(self.compose(order))}"[:64]

    def is_known_as(self, order: Mapping[str, Any], known: str) -> bool:
        """Whether this fingerprint is that of its content, also if an earlier composer made it."""
        version = known.rpartition(":")[0]
        earlier = self.earlier.get(version)
        if earlier is None:
            return known == self.fingerprint(order)
        return known == (f"{version}:{_hash(earlier(order))}"[:64] if version else _hash(earlier(order)))


AS_IT_IS = Composer(version="2", compose=document, earlier={"": _document_1})
"""For a CRM that takes the shop's order as it is. Fingerprints of its version 1 have none."""


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
    composer: Composer = field(default=AS_IT_IS, repr=False, compare=False)
    "Of the CRM that is told of it."

    @classmethod
    def gone(cls, woo_id: int, composer: Composer = AS_IT_IS) -> Self:
        order = {"id": woo_id, "status": TRASH}
        return cls(woo_id=woo_id, status=TRASH, order=order, is_known=False, composer=composer)

    @property
    def document(self) -> Document:
        """What the CRM is told of it."""
        return self.composer.compose(self.order)

    @property
    def crm_order_id(self) -> str:
        """The CRM's id as the shop shows it in our field of its order; empty: it has none."""
        meta = self.order.get("meta_data")
        ours = [one.get("value") for one in meta if _key_of(one) == CRM_ORDER_META] if isinstance(meta, list) else []
        return str(ours[0]) if len(ours) == 1 else ""

    @property
    def fingerprint(self) -> str:
        return self.composer.fingerprint(self.order)

    def is_known_as(self, known: str) -> bool:
        """Whether the CRM was told just this when this fingerprint was taken."""
        return self.composer.is_known_as(self.order, known)


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
    total: Decimal | None = field(default=None, repr=False)
    "What the customer pays by the CRM's own count, taxes included; None where it does not say."
