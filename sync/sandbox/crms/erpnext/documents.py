"""The documents of the stand-in: what frappe and ERPNext 15 make of what is written. Rules without the number of a
capture are those of their source."""

import itertools
from collections.abc import Callable, Mapping
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from sync.sandbox.crms.erpnext import answers

Doc = dict[str, Any]
ORDER = "Sales Order"
COMPANY, TAX, FREIGHT = "Example Shop", "Umsatzsteuer 19 % - ES", "Freight and Forwarding Charges - ES"
FIELDS: dict[str, str] = {
    ORDER: "customer customer_name order_type transaction_date delivery_date po_no company currency conversion_rate "
    "selling_price_list ignore_pricing_rule total net_total total_taxes_and_charges grand_total rounded_total "
    "apply_discount_on discount_amount customer_address shipping_address_name status per_delivered per_billed "
    "delivery_status billing_status terms contact_person amended_from",
    "Customer": "customer_name customer_type customer_group territory tax_id disabled customer_details email_id "
    "mobile_no primary_address customer_primary_contact language",
    "Contact": "first_name company_name email_id phone mobile_no",
    "Address": "address_title address_type address_line1 address_line2 city state pincode country email_id phone",
    "Item": "item_code item_name item_group stock_uom is_stock_item disabled has_variants",
    "Account": "account_name company account_type is_group",
    "Company": "company_name country default_currency abbr",
    "Country": "code",
    "Custom Field": "dt fieldname label fieldtype unique no_copy allow_on_submit read_only insert_after description",
    "Webhook": "webhook_doctype webhook_docevent enabled condition request_url timeout is_dynamic_url request_method "
    "request_structure enable_security webhook_secret webhook_json",
}
"""By doctype; what is written beyond them is dropped without a word (032)."""
ROWS = {ORDER: ("items", "taxes"), "Contact": ("email_ids", "phone_nos", "links"), "Address": ("links",)}
AFTER_SUBMISSION = frozenset({"po_no", "customer_address", "shipping_address_name", "contact_person"})
ONCE = frozenset({"webhook_doctype", "webhook_docevent"})
"""What is kept as it was made."""
DRAFT, SUBMITTED, CANCELLED = 0, 1, 2
ALL_OPEN = "To Deliver and Bill"


class Documents:
    """By doctype and name. `stamp`: the clock of the site."""

    def __init__(self, stamp: Callable[[], str]) -> None:
        self.stamp = stamp
        self.kept: dict[str, dict[str, Doc]] = {doctype: {} for doctype in FIELDS}
        self.next_order = 1
        self._rows = itertools.count(1)
        for doctype, docs in MASTERS.items():
            for name, doc in docs.items():
                self.kept[doctype][name] = {"name": name, "docstatus": 0, **doc}
        self.custom_field({"dt": ORDER, "fieldname": "woo_order_id", "label": "Woo order id", "unique": 1})

    def fields_of(self, doctype: str) -> frozenset[str]:
        return frozenset((*FIELDS[doctype].split(), *(one["fieldname"] for one in self.custom(doctype))))

    def custom(self, doctype: str) -> list[Doc]:
        return [one for one in self.kept["Custom Field"].values() if one["dt"] == doctype]

    def custom_field(self, said: Mapping[str, Any]) -> Doc:
        return self._keep("Custom Field", f"{said['dt']}-{said['fieldname']}", said)

    def one(self, doctype: str, name: str) -> Doc:
        if name not in self.kept[doctype]:
            raise answers.missing(doctype, name)
        return self.kept[doctype][name]

    # --- making ------------------------------------------------------------------------------------------------------

    def create(self, doctype: str, said: Mapping[str, Any]) -> Doc:
        match doctype:
            case "Sales Order":
                return self._order(said)
            case "Customer":
                return self._customer(said)
            case "Address":
                return self._address(said)
            case "Custom Field":
                return self.custom_field(said)
            case "Item":
                return self._item(said)
            case "Webhook":
                return self._webhook(said)
        raise answers.no_right("orderbridge@example.test", doctype)

    def _keep(self, doctype: str, name: str, said: Mapping[str, Any], **more: Any) -> Doc:
        if set("<>") & set(name):
            raise answers.odd_name()
        known = {*self.fields_of(doctype), *ROWS.get(doctype, ())}
        now = self.stamp()
        doc = {"doctype": doctype, "name": name, "creation": now, "modified": now, "docstatus": DRAFT}
        doc |= {field: value for field, value in said.items() if field in known} | more
        self._ensure_unique(doctype, doc)
        self.kept[doctype][name] = doc
        return doc

    def _ensure_unique(self, doctype: str, doc: Doc) -> None:
        """A cancelled order still holds its value (050)."""
        for field in self.custom(doctype):
            value = doc.get(field["fieldname"])
            others = (one for one in self.kept[doctype].values() if one["name"] != doc["name"])
            if field.get("unique") and value and any(one.get(field["fieldname"]) == value for one in others):
                raise answers.not_unique(doctype, doc["name"], field["fieldname"], str(field["label"]), value)

    def _item(self, said: Mapping[str, Any]) -> Doc:
        code = str(said.get("item_code"))
        if code in self.kept["Item"]:
            raise answers.there_already("Item", code)
        return self._keep("Item", code, {"disabled": 0, "has_variants": 0, **said})

    def _webhook(self, said: Mapping[str, Any]) -> Doc:
        """Its name is given by whoever makes it (its source, as all of this)."""
        if not said.get("name"):
            raise answers.refusal(417, "ValidationError", "Please set the document name")
        if said["name"] in self.kept["Webhook"]:
            raise answers.there_already("Webhook", said["name"])
        usual = {"enabled": 1, "enable_security": 0, "is_dynamic_url": 0, "request_method": "POST", "timeout": 5}
        doc = {**usual, **said}
        if "://" not in str(doc.get("request_url")):
            raise answers.refusal(417, "ValidationError", "Check Request URL")
        if doc["enable_security"] and not doc.get("webhook_secret"):
            raise answers.refusal(417, "ValidationError", "Invalid Webhook Secret")
        return self._keep("Webhook", str(said["name"]), doc)

    def _customer(self, said: Mapping[str, Any]) -> Doc:
        """A second one of the same name gets a number (009). It makes its own contact."""
        if not said.get("customer_name"):
            raise answers.no_value("Customer", "Customer Name")
        base = name = str(said["customer_name"])
        for number in itertools.count(1):
            if name not in self.kept["Customer"]:
                break
            name = f"{base} - {number}"
        made = self._keep("Customer", name, {"customer_group": "Individual", "disabled": 0, **said})
        if said.get("email_id") or said.get("mobile_no"):
            self.contact(name, str(said.get("email_id") or ""), str(said.get("mobile_no") or ""))
        return made

    def contact(self, customer: str, email: str = "", phone: str = "") -> Doc:
        name = f"{customer}-{len(self.kept['Contact'])}"
        links = [{"link_doctype": "Customer", "link_name": customer}]
        rows = {"email_ids": [{"email_id": email}] * bool(email), "phone_nos": [{"phone": phone}] * bool(phone)}
        return self._keep("Contact", name, {"first_name": customer, **rows, "links": links})

    def _address(self, said: Mapping[str, Any]) -> Doc:
        for field in ("address_line1", "city", "country"):
            if not said.get(field):
                raise answers.no_value("Address", field)
        if said["country"] not in self.kept["Country"]:
            raise answers.no_link("Country", said["country"])
        base = name = f"{said.get('address_title')}-{said.get('address_type')}"
        for number in itertools.count(1):
            if name not in self.kept["Address"]:
                break
            name = f"{base}-{number}"
        return self._keep("Address", name, said)

    def _order(self, said: Mapping[str, Any]) -> Doc:
        self._ensure_links(said)
        name = f"SAL-ORD-{self.stamp()[:4]}-{self.next_order:05}"
        more = {"status": "Draft", "customer_name": self.kept["Customer"][said["customer"]]["customer_name"]}
        doc = self._keep(ORDER, name, {**said, "per_delivered": 0.0, "per_billed": 0.0}, **more)
        self.next_order += 1
        self._calculate(doc)
        if said.get("docstatus") == SUBMITTED:
            doc |= {"docstatus": SUBMITTED, "status": ALL_OPEN}
        return doc

    def _ensure_links(self, said: Mapping[str, Any]) -> None:
        for doctype, field in (("Customer", "customer"), ("Company", "company")):
            self.one(doctype, str(said.get(field)))  # 029
        if not said.get("items"):
            raise answers.no_lines()
        for row in said["items"]:
            self.one("Item", str(row.get("item_code")))  # 031
        for row in said.get("taxes") or ():
            if row.get("account_head") not in self.kept["Account"]:
                raise answers.no_link("Row #1: Account Head", str(row.get("account_head")))
        for field in ("customer_address", "shipping_address_name"):
            if said.get(field) and said[field] not in self.kept["Address"]:
                raise answers.no_link("Address", said[field])
        number = said.get("po_no")
        for one in self.kept[ORDER].values():
            if number and one.get("po_no") == number and one.get("customer") == said.get("customer"):
                raise answers.same_purchase_order(one["name"], number)

    def _calculate(self, doc: Doc) -> None:
        for row in (*doc["items"], *(doc.get("taxes") or ())):
            row.setdefault("name", f"row{next(self._rows):06}")
        for row in doc["items"]:
            row["qty"], row["rate"] = float(row["qty"]), float(_cents(row["rate"]))
            row["amount"] = float(_cents(Decimal(str(row["rate"])) * Decimal(str(row["qty"]))))
        net = sum((Decimal(str(row["amount"])) for row in doc["items"]), Decimal(0))
        for row in doc.get("taxes") or ():
            row["tax_amount"] = float(_cents(row["tax_amount"]))
        charges = sum((Decimal(str(row["tax_amount"])) for row in doc.get("taxes") or ()), Decimal(0))
        total = net + charges - _cents(doc.get("discount_amount") or 0)
        doc |= {"net_total": float(net), "total_taxes_and_charges": float(charges), "grand_total": float(total)}

    # --- changing ----------------------------------------------------------------------------------------------------

    def update(self, doctype: str, name: str, said: Mapping[str, Any]) -> Doc:
        doc = self.one(doctype, name)
        if "modified" in said and said["modified"] != doc["modified"]:
            raise answers.changed_meanwhile(doc["modified"], str(said["modified"]))
        if doc["docstatus"] == CANCELLED:
            raise answers.cancelled()
        known = {*self.fields_of(doctype), *ROWS.get(doctype, ())} - {"status"}  # which is ignored (026)
        values = {field: value for field, value in said.items() if field in known and doc.get(field) != value}
        if values.keys() & ONCE:
            raise answers.refusal(417, "CannotChangeConstantError", f"Value cannot be changed for {min(values)}")
        if doctype == ORDER:
            self._ensure_may_change(doc, values)
            if values.keys() & {*ROWS[ORDER], "customer"}:
                self._ensure_links({**doc, **values, "po_no": None})
        before = dict(doc)
        doc |= {**values, "modified": self.stamp()}
        try:
            self._ensure_unique(doctype, doc)
        except Exception:
            doc.clear()
            doc.update(before)
            raise
        if doctype == ORDER:
            self._calculate(doc)
            self._move(doc, int(said.get("docstatus", doc["docstatus"])))
        return doc

    def _ensure_may_change(self, doc: Doc, values: Mapping[str, Any]) -> None:
        if doc["docstatus"] != SUBMITTED:
            return
        if values.keys() & {*ROWS[ORDER]}:
            raise answers.lines_of_a_submitted_one()
        allowed = {one["fieldname"] for one in self.custom(ORDER) if one.get("allow_on_submit")}
        for field in values.keys() - AFTER_SUBMISSION - allowed:
            raise answers.kept_after_submission(field)

    def _move(self, doc: Doc, docstatus: int) -> None:
        if (doc["docstatus"], docstatus) == (DRAFT, SUBMITTED):
            doc |= {"docstatus": SUBMITTED, "status": ALL_OPEN}  # 035
        elif (doc["docstatus"], docstatus) == (SUBMITTED, CANCELLED):
            doc |= {"docstatus": CANCELLED, "status": "Cancelled"}  # 047

    def delete(self, doctype: str, name: str) -> None:
        doc = self.one(doctype, name)
        if doc["docstatus"] == SUBMITTED:
            raise answers.submitted(name)
        if doctype == "Customer":
            if any(one.get("customer") == name for one in self.kept[ORDER].values()):
                words = f"Cannot delete or cancel because Customer {name} is linked with Sales Order"
                raise answers.refusal(417, "LinkExistsError", words)
            for of in ("Contact", "Address"):
                mine = [key for key, one in self.kept[of].items() if one["links"][0]["link_name"] == name]
                for key in mine:
                    del self.kept[of][key]
        del self.kept[doctype][name]
        if doctype == ORDER and int(name.rpartition("-")[2]) == self.next_order - 1:
            self.next_order -= 1  # the next one gets this name (052)


def _cents(value: Any) -> Decimal:
    return Decimal(str(value)).quantize(Decimal("0.01"), ROUND_HALF_UP)


COUNTRIES = {"Germany": "de", "Ireland": "ie", "France": "fr", "Portugal": "pt", "Austria": "at", "United States": "us"}
MASTERS: dict[str, dict[str, Doc]] = {
    "Company": {COMPANY: {"company_name": COMPANY, "country": "Germany", "default_currency": "EUR", "abbr": "ES"}},
    "Country": {name: {"code": code} for name, code in COUNTRIES.items()},
    "Account": {
        TAX: {"account_name": "Umsatzsteuer 19 %", "company": COMPANY, "account_type": "Tax", "is_group": 0},
        "Umsatzsteuer 7 % - ES": {"company": COMPANY, "account_type": "Tax", "is_group": 0},
        FREIGHT: {"company": COMPANY, "account_type": "Chargeable", "is_group": 0},
    },
    "Item": {
        code: {"item_code": code, "item_name": name, "disabled": 0, "has_variants": 0}
        for code, name in (("LAB-2", "Plain T-shirt"), ("LAB-3", "Tea, 250 g"), ("WOO-ITEM", "Any product of the shop"))
    },
}
