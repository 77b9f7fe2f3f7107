"""The lines of an order: their products and taxes, and what has to change so that they are the shop's."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from sync.clients.crm.base import Access
from sync.clients.crm.odoo.calls import FIRST_WITH_JSON2, Calls
from sync.clients.crm.odoo.words import decimal, reference
from sync.clients.errors import Rejected

LINE = "sale.order.line"
FIELDS = ("name", "product_id", "product_uom_qty", "price_unit", "create_uid", "display_type")
PRODUCT, PRODUCTS = "product.product", "products"


class Lines:
    def __init__(self, access: Access, calls: Calls) -> None:
        self.access, self.calls = access, calls

    @property
    def taxes(self) -> str:
        """The field of a line that holds them."""
        return "tax_ids" if self.calls.version >= FIRST_WITH_JSON2 else "tax_id"

    def values(self, lines: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """As Odoo wants them. A line without a product of its own is one of text, on a product that stands for all."""
        stand_ins = {self.access["item_product"], self.access["shipping_product"]}
        known = self._products({*(one["sku"] for one in lines), *stand_ins} - {""})
        if self.access["make_products"] == "yes":
            known |= self._made({one["sku"]: one["name"] for one in lines if one["sku"] and known[one["sku"]] is None})
        return [self._line(one, known) for one in lines]

    def changes(self, crm_order_id: int, row: Mapping[str, Any], lines: Sequence[Mapping[str, Any]]) -> list[Any]:
        """Commands that make our lines those of the shop. Ours are those of whoever made the order: us. Lines that
        people of Odoo added stay."""
        there = self.calls.search(LINE, [["order_id", "=", crm_order_id]], (*FIELDS, self.taxes), order="id")
        maker = reference(row["create_uid"])
        left = [one for one in there if reference(one["create_uid"]) == maker and not one["display_type"]]
        new = []
        for wanted in self.values(lines):
            same = next((one for one in left if self._is_same(one, wanted)), None)
            left.remove(same) if same else new.append(wanted)
        commands: list[Any] = []
        for wanted in new:
            before = next((one for one in left if reference(one["product_id"]) == wanted["product_id"]), None)
            commands.append([1, before["id"], wanted] if before else [0, 0, wanted])
            if before:
                left.remove(before)
        if row["state"] == "sale":  # where none can be deleted any more
            gone = [one["id"] for one in left if one["product_uom_qty"]]
            return commands + [[1, one, {"product_uom_qty": 0}] for one in gone]
        return commands + [[2, one["id"], 0] for one in left]

    # ---------------------------------------------------------------------------------------------------------------

    def _line(self, one: Mapping[str, Any], known: Mapping[str, int | None]) -> dict[str, Any]:
        product, name = known.get(one["sku"]), one["name"]
        if product is None:
            name = f"{name} ({one['sku']})" if one["sku"] else name
            product = self._stand_in(one["kind"], known)
        return {
            "product_id": product,
            "name": name,
            "product_uom_qty": float(one["quantity"]),
            "price_unit": float(one["price"]),
            self.taxes: [[6, 0, [self._tax(rate) for rate in one["rates"]]]],
        }

    def _stand_in(self, kind: str, known: Mapping[str, int | None]) -> int:
        item = self.access["item_product"]
        product = (known.get(self.access["shipping_product"]) if kind == "shipping" else None) or known.get(item)
        if product is None:
            self.calls.ids.forget(PRODUCTS)
            words = f"Odoo has no product with the internal reference {item}, on which lines of text stand."
            raise Rejected(words, advice="Make it there, as a service, then replay.", side="crm", about_order=True)
        return product

    def _products(self, references: set[str]) -> dict[str, int | None]:
        """Their ids; None for those that Odoo does not have. Both are believed for a while."""
        known: dict[str, int | None] = self.calls.ids.get(PRODUCTS, dict)
        missing = sorted(references - known.keys())
        if missing:
            rows = self.calls.search(PRODUCT, [["default_code", "in", missing]], ("default_code",), order="id desc")
            known |= {**dict.fromkeys(missing), **{row["default_code"]: int(row["id"]) for row in rows}}
        return known

    def _made(self, names: Mapping[str, str]) -> dict[str, int]:
        """By SKU. Of two that are made at once, the older one counts from the next order on."""
        values = [{"name": name, "default_code": sku} for sku, name in names.items()]
        made = self.calls.create(PRODUCT, values) if values else []
        self.calls.ids.forget(PRODUCTS)
        return dict(zip(names, made, strict=True))

    def _tax(self, rate: str) -> int:
        known: dict[Decimal, int] = self.calls.ids.get("taxes", self._taxes)
        if Decimal(rate) not in known:
            self.calls.ids.forget("taxes")
            words = f"Odoo has no sales tax of {rate} % that is a percentage, active, and not included in the price."
            raise Rejected(words, advice="Make it there, then replay.", side="crm", about_order=True)
        return known[Decimal(rate)]

    def _taxes(self) -> dict[Decimal, int]:
        """The first of each rate, as Odoo orders them."""
        domain: list[Any] = [["type_tax_use", "=", "sale"], ["amount_type", "=", "percent"]]
        domain += [["price_include", "=", False]]
        if name := self.access["company"]:
            domain.append(["company_id.name", "=", name])
        rows = self.calls.search("account.tax", domain, ("amount",), order="sequence, id")
        return {decimal(row["amount"]).normalize(): int(row["id"]) for row in reversed(rows)}

    def _is_same(self, there: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
        return (
            there["name"] == wanted["name"]
            and reference(there["product_id"]) == wanted["product_id"]
            and decimal(there["product_uom_qty"]) == decimal(wanted["product_uom_qty"])
            and decimal(there["price_unit"]) == decimal(wanted["price_unit"])
            and sorted(there[self.taxes]) == sorted(wanted[self.taxes][0][2])
        )
