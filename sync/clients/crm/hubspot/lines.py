"""The line items of an order. Each has a key of ours, so that it is made once and known again when it changes."""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

from sync.clients.crm.cache import Cache
from sync.clients.crm.hubspot.api import BATCH, Api
from sync.clients.crm.hubspot.document import LINE_PROPERTIES
from sync.clients.crm.hubspot.words import CONFLICT, ID, LINE_KEY, LINES, PRODUCTS, Words
from sync.clients.errors import AuthFailed, Rejected
from sync.clients.paging import in_parts

PRODUCT, SKU = "hs_product_id", "hs_sku"


class LineItems:
    def __init__(self, api: Api, words: Words, ids: Cache) -> None:
        self.api, self.words, self.ids = api, words, ids

    def upsert(self, name: str, wanted: Sequence[Mapping[str, Any]]) -> list[str]:
        """All of them, for an order that is made next. Whoever does it again gets the same ones."""
        return self._upsert(self._keyed(name, wanted))

    def change(self, order_id: str, name: str, wanted: Sequence[Mapping[str, Any]], known: Sequence[str]) -> None:
        """Of an order that is there. `known`: its line items in HubSpot; those that people added there stay."""
        keyed = self._keyed(name, wanted)
        shown = self.api.read(LINES, known, (LINE_KEY, PRODUCT, *LINE_PROPERTIES))
        there = {str(row["properties"].get(LINE_KEY)): row for row in shown}
        changed = {key: told for key, told in keyed.items() if key not in there or _differs(there[key], told)}
        made = self._upsert(changed)
        self.api.associate(self.words.type_id, order_id, LINES, [one for one in made if one not in known])
        ours = _key(name, "")
        self.api.archive(LINES, [str(there[key]["id"]) for key in there if key.startswith(ours) and key not in keyed])

    def _upsert(self, keyed: Mapping[str, Mapping[str, str]]) -> list[str]:
        try:
            made = self.api.upsert(LINES, keyed, by=LINE_KEY)
        except Rejected as error:
            if error.code != CONFLICT:
                raise
            made = self.api.upsert(LINES, keyed, by=LINE_KEY)  # another worker made them a moment ago
        return [str(row["id"]) for row in made]

    def _keyed(self, name: str, wanted: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, str]]:
        products = self._products({line["properties"][SKU] for line in wanted} - {""})
        return {
            _key(name, line["id"]): {
                **line["properties"],
                **({PRODUCT: products[sku]} if (sku := line["properties"][SKU]) in products else {}),
            }
            for line in wanted
        }

    def _products(self, skus: Iterable[str]) -> dict[str, str]:
        """Those of the library that have just this SKU, once each. They are never made: a line of text says it, too."""
        known: dict[str, str] = self.ids.get("products", dict)
        for unknown in in_parts(sorted(sku for sku in skus if sku not in known), BATCH):
            try:
                asked: list[tuple[str, str, str | list[str]]] = [(SKU, "IN", list(unknown))]
                found = self.api.search(PRODUCTS, [asked], (SKU,), sort=ID)
            except AuthFailed:  # without that scope all lines are text
                found = []
            named = [str(row["properties"].get(SKU)) for row in found]
            known |= dict.fromkeys(unknown, "")
            known |= {sku: str(row["id"]) for sku, row in zip(named, found, strict=True) if named.count(sku) == 1}
        return {sku: product for sku, product in known.items() if product}


def _key(name: str, line_id: str) -> str:
    return f"{name}.{line_id}"


def _differs(there: Mapping[str, Any], wanted: Mapping[str, str]) -> bool:
    shown = there["properties"]
    return any(not _same(shown.get(name) or "", value) for name, value in wanted.items())


def _same(one: str, other: str) -> bool:
    """HubSpot may write a number otherwise than it was sent."""
    try:
        return one == other or Decimal(one) == Decimal(other)
    except InvalidOperation:
        return False
