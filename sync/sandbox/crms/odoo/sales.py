"""What Odoo makes of orders: totals, states, what may be changed when."""

from collections.abc import Mapping, Sequence
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from sync.sandbox.crms.odoo.records import LINE, PARTNER, SALE, OdooError, Records, Row

CENT = Decimal("0.01")
USER_ERROR = "odoo.exceptions.UserError"
VALIDATION_ERROR = "odoo.exceptions.ValidationError"
STATES = ("draft", "sent", "sale", "done", "cancel")
COUNTRIES = ("DE", "AT", "CH", "FR", "IE", "PT", "GB", "NL", "US")
STATES_OF = {"DE": ("BE", "BY"), "US": ("NY", "CA")}
PRODUCTS = {
    "WOO-ITEM": "Item of the shop",
    "WOO-SHIPPING": "Shipping",
    "LAB-1": "Käse-Fondue „Größe XL“",
    "LAB-2": "Plain T-shirt",
    "LAB-3": "Tea, 250 g",
}
NO_PARTNER = (  # odoo16/035
    "The operation cannot be completed:\n- Create/update: a mandatory field is not set.\n- Delete: another model "
    "requires the record being deleted. If possible, archive it instead.\n\nModel: Sales Order (sale.order)\n"
    "Field: Customer (partner_id)\n"
)
IN_USE = (
    "The operation cannot be completed: another model requires the record being deleted. If possible, archive it "
    "instead.\n\nModel: Sales Order (sale.order), Constraint: sale_order_partner_id_fkey"
)
NO_SENDER = "Unable to send message, please configure the sender's email address."
LOCKED = "It is forbidden to modify the following fields in a locked order:\nOrder Lines"
NOT_REMOVED = (
    "You can not remove an order line once the sales order is confirmed.\nYou should rather set the quantity to 0."
)


def furnish(records: Records) -> None:
    """A company in Berlin that sells in euros, with two taxes and five products."""
    for name in ("EUR", "USD"):
        records.insert("res.currency", {"name": name})
    records.insert("res.company", {"name": "My Company", "currency_id": 1})
    records.insert("product.pricelist", {"name": "Public Pricelist", "currency_id": 1})
    for number in range(1, 7):
        login = {2: "admin", 6: "orderbridge"}.get(number, f"user{number}")
        records.insert("res.users", {"name": login, "login": login})
    for code in COUNTRIES:
        country = records.insert("res.country", {"name": code, "code": code})
        for state in STATES_OF.get(code, ()):
            records.insert("res.country.state", {"name": state, "code": state, "country_id": country})
    for rate in (19.0, 7.0):
        tax = {"name": f"{rate:g} %", "amount": rate, "amount_type": "percent", "type_tax_use": "sale", "sequence": 1}
        records.insert("account.tax", {**tax, "company_id": 1})
    for code, name in PRODUCTS.items():
        records.insert("product.product", {"name": name, "default_code": code})
    records.insert(PARTNER, {"name": "My Company", "type": "contact", "is_company": True})


class Sales:
    """`sender_is_unset`: who has no e-mail address cannot change what is confirmed (odoo16/055)."""

    def __init__(self, records: Records) -> None:
        self.records = records
        self.sender_is_unset = False

    def create(self, values: Mapping[str, Any], uid: int) -> int:
        if not values.get("partner_id"):
            raise OdooError(VALIDATION_ERROR, NO_PARTNER)
        lists = self.records.tables["product.pricelist"]
        currency = lists[values["pricelist_id"]]["currency_id"] if values.get("pricelist_id") else 1
        partner = values["partner_id"]
        given = {name: value for name, value in values.items() if name != "order_line"}
        number = self.records.insert(
            SALE,
            {
                "name": f"S{self.records.last[SALE] + 1:05}",
                "state": "draft",
                **{"partner_invoice_id": partner, "partner_shipping_id": partner, "company_id": 1},
                **{"date_order": self.records.stamp()[:19], **given, "currency_id": currency},
            },
            uid,
        )
        self._lines(number, values.get("order_line", ()), uid)
        return number

    def ensure_writable(self, number: int, values: Mapping[str, Any]) -> None:
        row = self.records.tables[SALE][number]
        if "state" in values and values["state"] not in STATES:  # odoo16/031, odoo17/023
            words = f"Wrong value for sale.order.state: {values['state']!r}"
            raise OdooError("builtins.ValueError", words)
        commands = values.get("order_line", ())
        if commands and (row["locked"] or row["state"] == "done"):
            raise OdooError(USER_ERROR, LOCKED)
        if row["state"] == "sale" and any(command[0] == 2 for command in commands):
            raise OdooError(USER_ERROR, NOT_REMOVED)
        if row["state"] == "sale" and commands and self.sender_is_unset:
            raise OdooError(USER_ERROR, NO_SENDER)

    def write(self, number: int, values: Mapping[str, Any], uid: int) -> None:
        self.records.change(SALE, number, {name: one for name, one in values.items() if name != "order_line"})
        self._lines(number, values.get("order_line", ()), uid)

    def remove_partner(self, number: int) -> None:
        used = ("partner_id", "partner_invoice_id", "partner_shipping_id")
        if any(number in (row[name] for name in used) for row in self.records.tables[SALE].values()):
            raise OdooError(VALIDATION_ERROR, IN_USE)
        del self.records.tables[PARTNER][number]

    def _lines(self, number: int, commands: Sequence[Any], uid: int) -> None:
        order, known = self.records.tables[SALE][number], self.records.tables[LINE]
        for command, line, values in commands:
            if command == 0:
                defaults = {"product_uom_qty": 1.0, "price_unit": 0.0, "order_id": number}
                order["order_line"] = [*order["order_line"], self.records.insert(LINE, {**defaults, **values}, uid)]
            elif command == 1:
                self.records.change(LINE, line, values)
            elif command == 2:
                order["order_line"] = [one for one in order["order_line"] if one != line]
                del known[line]
        lines = [known[one] for one in order["order_line"] if not known[one]["display_type"]]
        untaxed, tax = sum(map(_subtotal, lines), Decimal(0)), sum(map(self._tax, lines), Decimal(0))
        order |= {"amount_untaxed": float(untaxed), "amount_tax": float(tax), "amount_total": float(untaxed + tax)}

    def _tax(self, line: Row) -> Decimal:
        """Rounded line by line, as companies do by default."""
        rates = (Decimal(str(self.records.tables["account.tax"][one]["amount"])) for one in line["tax_id"])
        return sum(((_subtotal(line) * rate / 100).quantize(CENT, ROUND_HALF_UP) for rate in rates), Decimal(0))


def _subtotal(line: Row) -> Decimal:
    price = Decimal(str(line["price_unit"])).quantize(CENT, ROUND_HALF_UP)
    return (price * Decimal(str(line["product_uom_qty"]))).quantize(CENT, ROUND_HALF_UP)
