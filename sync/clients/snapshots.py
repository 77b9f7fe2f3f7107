"""What each side says about one order at one moment. Frozen: the decision works on these and on nothing else."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from fnmatch import fnmatchcase
from typing import Any, Protocol, Self

from django.conf import settings

from sync.clients.limits import Limits, fitted
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
SHORT, SHORTEST, WITH = 28, 16, "|"
"""Digits of a hash, and what stands between its two parts, in a fingerprint of an order with mapped fields."""
FIELDS = "fields"
"""What is mapped stands under this name in the document."""
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


class Mapped(Protocol):
    """The field map of a bridge."""

    @property
    def version(self) -> int: ...

    def apply(self, order: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
        """By field of the CRM, its value; and in words what the CRM does not get."""


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
    "By version. Each makes what was sent, its limits included."
    limits: Limits = field(default_factory=dict)
    "What the CRM cannot take of the texts in it."
    mapped: Mapped | None = None
    "What staff map to fields of the CRM besides. It is told under FIELDS."

    def document(self, order: Mapping[str, Any]) -> Document:
        """As it is sent."""
        return self._fitted(self._whole(order))

    def cuts(self, order: Mapping[str, Any]) -> list[str]:
        """What the CRM does not get of it."""
        words = self.mapped.apply(order)[1] if self.mapped else []
        return [*words, *fitted(self._whole(order), self.limits)[1]] if self.limits else words

    def _whole(self, order: Mapping[str, Any]) -> Document:
        fields = self.mapped.apply(order)[0] if self.mapped else {}
        return {**self.compose(order), FIELDS: fields} if fields else self.compose(order)

    def _fitted(self, told: Document) -> Document:
        return fitted(told, self.limits)[0] if self.limits else told

    def _own(self, order: Mapping[str, Any]) -> Document:
        """Without what is mapped."""
        return self._fitted(self.compose(order))

    def fingerprint(self, order: Mapping[str, Any]) -> str:
        """Equal ones: nothing has changed that the CRM should hear of."""
        digest = _hash(self._own(order))
        if self.mapped is None:
            return f"{self.version}:{digest}"[:64]
        return f"{self.version}:{digest[:SHORT]}{WITH}{self.mapped.version}:{self._mapped_digest(order)}"

    def is_known_as(self, order: Mapping[str, Any], known: str) -> bool:
        """Whether the CRM was told just this when this fingerprint was taken, by this composer or an earlier one. A
        field map of before counts where it made the same of the order."""
        own, _, fields = known.partition(WITH)
        return self._is_own_part(order, own) and fields.rpartition(":")[2] == self._mapped_digest(order)

    def is_unchanged_since(self, order: Mapping[str, Any], known: str) -> bool:
        """The same, but that what another field map made of the order does not matter: it is the map that changed, and
        a change of it alone sends nothing (docs/decisions/0114)."""
        own, _, fields = known.partition(WITH)
        version, _, digest = fields.rpartition(":")
        is_of_this_map = version == (str(self.mapped.version) if self.mapped else "")
        return self._is_own_part(order, own) and (not is_of_this_map or digest == self._mapped_digest(order))

    def renewed(self, order: Mapping[str, Any], known: str) -> str:
        """A fingerprint of an earlier composer as one of this. What it says of mapped fields stays."""
        fields = known.partition(WITH)[1:]
        if not any(fields):
            return replace(self, mapped=None).fingerprint(order)
        return f"{self.version}:{_hash(self._own(order))[:SHORT]}{''.join(fields)}"

    def _is_own_part(self, order: Mapping[str, Any], known: str) -> bool:
        version, _, digest = known.rpartition(":")
        compose = self._own if version == self.version else self.earlier.get(version)
        return compose is not None and len(digest) >= SHORT and _hash(compose(order)).startswith(digest)

    def _mapped_digest(self, order: Mapping[str, Any]) -> str:
        """Empty: nothing is mapped."""
        fields = self.mapped.apply(order)[0] if self.mapped else {}
        return _hash(self._fitted({FIELDS: fields})[FIELDS])[:SHORTEST] if fields else ""


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
        return self.composer.document(self.order)

    @property
    def cuts(self) -> list[str]:
        """What of it does not reach the CRM."""
        return self.composer.cuts(self.order)

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

    def is_unchanged_since(self, known: str) -> bool:
        """Whether the shop's order is what it was then, although another field map may tell more of it now."""
        return self.composer.is_unchanged_since(self.order, known)


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
