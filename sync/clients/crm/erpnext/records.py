"""What an order of ERPNext refers to: its customer, addresses, items and accounts. Looked for, then made."""

import html
import json
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from sync.clients.crm.base import Access, marked
from sync.clients.crm.cache import Cache
from sync.clients.crm.customers import CUSTOMER, NEW, Candidate, SeveralFit, chosen
from sync.clients.crm.erpnext.document import described
from sync.clients.crm.erpnext.words import NOTE, path_of
from sync.clients.crm.erpnext.zone import today, zone_of
from sync.clients.errors import AuthFailed, Blocked, NotConfigured, NotFound, Rejected, Unconfirmed
from sync.clients.http import JsonClient
from sync.clients.paging import in_parts

ORDER = "Sales Order"
TIME_ZONE = "/api/method/frappe.client.get_time_zone"
META = "/api/v2/doctype/Sales%20Order/meta"
ADDRESS = {
    "line1": "address_line1",
    "line2": "address_line2",
    "postcode": "pincode",
    "city": "city",
    "state": "state",
    "country": "country",
}
KINDS = {"billing": ("customer_address", "Billing"), "shipping": ("shipping_address_name", "Shipping")}
"""The field of the order, and the type of the address."""
ACCOUNTS = {
    "tax": ("tax_account", "Tax", "taxes"),
    "shipping": ("shipping_account", "Chargeable", "shipping"),
    "fee": ("fee_account", "Chargeable", "fees and discounts"),
    "discount": ("fee_account", "Chargeable", "fees and discounts"),
}
"""By kind of charge: the setting, the type of an account that would do, and what it is for."""
MOST_CANDIDATES = 20
ASKED = 20
"""SKUs that are asked for by one call: its web server refuses an address of more than 4 094 characters."""
NONE = "-"
"""What stands in a field that ERPNext wants and the shop has not."""


class Records:
    def __init__(self, access: Access, client: JsonClient) -> None:
        self.access, self.client = access, client
        self.ids = Cache.of(access)

    # --- calls -----------------------------------------------------------------------------------------------------

    def call(self, method: str, path: str, **request: Any) -> Any:
        """What the answer holds: `data` of a document or a list, `message` of a method."""
        try:
            data = self.client.request(method, path, **request).data
        except NotFound as error:
            if error.code:  # ERPNext's own; all else is about the address
                raise
            words = f"{error}. Is CRM_URL the address of the site? Where one server has several, CRM_SITE names it"
            raise Blocked(f"{words}.", side="crm", status=error.status) from error
        found = data.get("data", data.get("message")) if isinstance(data, dict) else None
        if found is None:
            raise Blocked("The answer is not one of ERPNext's API.", side="crm")
        return found

    def search(
        self, doctype: str, filters: Sequence[Sequence[Any]], fields: Sequence[str], limit: int = 0, **more: str
    ) -> list[dict[str, Any]]:
        """Rows of a list; `limit` 0: all of them."""
        params = {"filters": _json(filters), "fields": _json(fields), "limit_page_length": str(limit), **more}
        found = self.call("GET", path_of(doctype), params=params)
        if not isinstance(found, list) or not all(_is_row(row, doctype) for row in found):
            raise Blocked(f"ERPNext's answer is not a list of {doctype}.", side="crm")
        return found

    def make(self, doctype: str, values: Mapping[str, Any]) -> dict[str, Any]:
        made = self.call("POST", path_of(doctype), json=dict(values))
        if not isinstance(made, dict) or not isinstance(made.get("name"), str):
            raise Unconfirmed(f"ERPNext answered the creation of a {doctype} with something else.", side="crm")
        return made

    # --- the site ------------------------------------------------------------------------------------------------

    def zone(self) -> ZoneInfo:
        """Of the site: the setting, or what ERPNext says of itself."""
        return zone_of(self.access["time_zone"] or self.ids.get("time zone", self._time_zone))

    def _time_zone(self) -> str:
        said = self.call("GET", TIME_ZONE)
        return str(said.get("time_zone") if isinstance(said, dict) else said)

    def meta(self) -> dict[str, dict[str, Any]]:
        """The fields of a Sales Order, custom ones too, by name."""

        def read() -> dict[str, dict[str, Any]]:
            said = self.call("GET", META)
            listed = said.get("fields") if isinstance(said, dict) else None
            return {str(one["fieldname"]): one for one in listed or () if isinstance(one, dict) and "fieldname" in one}

        return self.ids.get("meta", read)

    def note(self) -> dict[str, Any]:
        """Its field, if there is one. No order waits for it."""
        try:
            return self.meta().get(NOTE, {})
        except (AuthFailed, Blocked, NotFound, Rejected):
            return {}

    def company(self) -> dict[str, Any]:
        fields = ("name", "country", "default_currency")
        companies = self._all("Company", fields, lambda row: str(row["name"]))
        name = self.access["company"]
        if name not in companies and (name or len(companies) != 1):
            self.ids.forget("Company")
            words = f"ERPNext has the companies {', '.join(sorted(companies))}, and the setting company is {name!r}."
            raise NotConfigured(words, advice="Set it to one of them (CRM_COMPANY).", side="crm", about_order=False)
        return companies[name] if name else next(iter(companies.values()))

    def _all(
        self, doctype: str, fields: Sequence[str], key: Callable[[dict[str, Any]], str], *filters: Sequence[Any]
    ) -> dict[str, dict[str, Any]]:
        """Of a small doctype, kept for a while."""
        return self.ids.get(doctype, lambda: {key(row): row for row in self.search(doctype, filters, fields)})

    # --- customers -------------------------------------------------------------------------------------------------

    def customer(self, prefix: str, wanted: Mapping[str, str]) -> str:
        """By e-mail, phone or VAT number, by our own key of her, or made anew. One that is there is never changed."""
        for kind in ("email", "phone", "tax_id"):
            if not wanted[kind]:
                continue
            asked = wanted["phone_said"] if kind == "phone" else wanted[kind]  # as the shop has it, so it was kept
            picked = chosen(self.access, CUSTOMER, asked)
            if picked == NEW:
                break
            if picked and self.search("Customer", [["name", "=", picked]], ("name",), 1):
                return picked
            found = self._having(kind, wanted[kind])
            if len(found) > 1:
                raise SeveralFit(CUSTOMER, asked, self._candidates(found), may_create=True)
            if found:
                return found[0]
        key = f"[{marked(prefix + wanted['key'])}]"
        known = self._with_key(key)
        return known[0] if known else self._new_customer(key, wanted)

    def _having(self, kind: str, value: str) -> list[str]:
        """The names of the customers who have it themselves, or a contact with it."""
        if kind == "tax_id":
            mine: list[list[Any]] = [["tax_id", "=", value], ["disabled", "=", 0]]
            return [row["name"] for row in self.search("Customer", mine, ("name",), MOST_CANDIDATES)]
        child, field = ("Contact Email", "email_id") if kind == "email" else ("Contact Phone", "phone")
        has = [[child, field, "=", value], ["Dynamic Link", "link_doctype", "=", "Customer"]]
        rows = self.search("Contact", has, ("name", "links.link_name"), MOST_CANDIDATES)
        names = list(dict.fromkeys(row["link_name"] for row in rows if row.get("link_name")))
        if len(names) < 2:
            return names
        there = self.search("Customer", [["name", "in", names], ["disabled", "=", 0]], ("name",))
        return [row["name"] for row in there]

    def _with_key(self, key: str) -> list[str]:
        """Just this one: for their `like`, an underscore is any letter, and a capital a small one."""
        like = [["customer_details", "like", f"%{key}%"]]
        rows = self.search("Customer", like, ("name", "customer_details"), order_by="creation asc, name asc")
        return [row["name"] for row in rows if key in str(row.get("customer_details"))]

    def _new_customer(self, key: str, wanted: Mapping[str, str]) -> str:
        """ERPNext makes the contact itself, in the same breath. It keeps neither name nor e-mail unique, so whoever
        makes her looks again, and takes its own away where another one was at it earlier."""
        values = {
            "customer_name": wanted["name"],
            "customer_type": wanted["type"],
            "customer_details": f"WooCommerce {key}",
            "tax_id": wanted["tax_id"],
            "email_id": wanted["email"],
            "mobile_no": wanted["phone"],
            "customer_group": self.access["customer_group"],
            "territory": self.access["territory"],
        }
        made = str(self.make("Customer", {name: one for name, one in values.items() if one})["name"])
        oldest = next(iter(self._with_key(key)), made)
        if oldest == made:
            return made
        self.call("DELETE", path_of("Customer", made))
        return oldest

    def _candidates(self, names: Sequence[str]) -> list[Candidate]:
        fields = ("name", "customer_name", "customer_type", "email_id", "mobile_no", "tax_id", "customer_group")
        rows = self.search("Customer", [["name", "in", list(names)]], (*fields, "primary_address"))
        return [
            Candidate(
                id=row["name"],
                name=str(row["customer_name"] or row["name"]),
                details={
                    "E-mail": str(row.get("email_id") or ""),
                    "Phone": str(row.get("mobile_no") or ""),
                    "VAT number": str(row.get("tax_id") or ""),
                    "Type": " · ".join(filter(None, (row.get("customer_type"), row.get("customer_group")))),
                    "Address": str(row.get("primary_address") or "").replace("<br>", "\n").strip(),
                },
            )
            for row in rows
        ]

    # --- addresses -------------------------------------------------------------------------------------------------

    def addresses(self, customer: str, wanted: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
        """Those of the customer that are the order's, by the field of the order. One that is not there yet is added,
        and none is overwritten."""
        told = {kind: self._told(one) for kind, one in wanted.items() if one}
        if not told:
            return {}
        links = [["Dynamic Link", "link_doctype", "=", "Customer"], ["Dynamic Link", "link_name", "=", customer]]
        rows = self.search("Address", links, ("name", "address_title", "phone", *ADDRESS.values()))
        known = {_address_key(row): str(row["name"]) for row in rows}
        used = {}
        for kind, values in told.items():
            field, address_type = KINDS[kind]
            key = _address_key(values)
            if key not in known:
                link = {"link_doctype": "Customer", "link_name": customer}
                made = self.make("Address", {**values, "address_type": address_type, "links": [link]})
                known[key] = str(made["name"])
            used[field] = known[key]
        return used

    def _told(self, wanted: Mapping[str, str]) -> dict[str, str]:
        values = {field: wanted[name] for name, field in ADDRESS.items()}
        values |= {"address_title": wanted["title"] or NONE, "phone": wanted["phone"]}
        for name in ("address_line1", "city"):
            values[name] = values[name] or NONE
        return {**values, "country": self._country(wanted["country"])}

    def _country(self, code: str) -> str:
        if not code:
            return str(self.company().get("country") or "")
        countries = self._all("Country", ("name", "code"), lambda row: str(row.get("code") or "").upper())
        if code not in countries:
            self.ids.forget("Country")
            words = f"ERPNext has no country with the code {code[:40]!r}."
            raise Rejected(words, advice="Add it there (Country), then replay.", side="crm", about_order=True)
        return str(countries[code]["name"])

    # --- lines -----------------------------------------------------------------------------------------------------

    def items(self, rows: Sequence[Mapping[str, str]], delivery: str) -> list[dict[str, Any]]:
        """By SKU, or else the placeholder, whose text tells what it is."""
        codes = self.codes(rows)
        return [
            {
                "item_code": codes[row["code"]],
                "item_name": row["name"] or codes[row["code"]],
                "description": html.escape(described(row), quote=False),
                "qty": _number(row["quantity"]),
                "rate": _number(row["price"]),
                "price_list_rate": _number(row["price"]),  # else the list's price comes in where ours is nought
                "delivery_date": delivery,
            }
            for row in rows
        ]

    def codes(self, rows: Sequence[Mapping[str, str]]) -> dict[str, str]:
        """The item of each SKU; of that of nothing, too."""
        wanted = {row["code"]: row for row in rows if row["code"]}
        sold: list[list[Any]] = [["disabled", "=", 0], ["has_variants", "=", 0]]
        asked = ([["name", "in", list(some)], *sold] for some in in_parts(sorted(wanted), ASKED))
        found = (row for filters in asked for row in self.search("Item", filters, ("name",)))
        there = {str(row["name"]).casefold(): str(row["name"]) for row in found}
        if self.access["make_products"] == "yes":
            new = [row for sku, row in wanted.items() if sku.casefold() not in there]
            there |= {row["code"].casefold(): self.make_item(row["code"], row["name"]) for row in new}
        return {row["code"]: there.get(row["code"].casefold(), self.access["placeholder_item"]) for row in rows}

    def make_item(self, code: str, name: str) -> str:
        """One that is not in stock. Who makes it twice gets the one that is there."""
        values = {"item_code": code, "item_name": name or code, "item_group": self.access["item_group"]}
        try:
            return str(self.make("Item", {**values, "stock_uom": "Nos", "is_stock_item": 0})["name"])
        except Rejected as error:
            if error.code == "DuplicateEntryError":
                return code
            raise

    def taxes(self, rows: Sequence[Mapping[str, str]]) -> list[dict[str, Any]]:
        return [
            {
                "charge_type": "Actual",
                "account_head": self.account(row["kind"]),
                "description": described(row),
                "tax_amount": _number(row["amount"]),
            }
            for row in rows
        ]

    def account(self, kind: str) -> str:
        setting, account_type, purpose = ACCOUNTS[kind]
        named = self.access[setting] or (self.access["shipping_account"] if kind != "tax" else "")
        if named:
            return named
        company = self.company()["name"]

        def read() -> list[str]:
            fits = [["company", "=", company], ["account_type", "=", account_type], ["is_group", "=", 0]]
            return [row["name"] for row in self.search("Account", fits, ("name",))]

        found = self.ids.get(f"account {account_type}", read)
        if len(found) == 1:
            return found[0]
        self.ids.forget(f"account {account_type}")
        some = f": {', '.join(sorted(found)[:8])}" if found else ""
        words = f"ERPNext has {len(found) or 'no'} accounts of the type {account_type} in {company}{some}."
        advice = f"Say which one is for {purpose}: the setting {setting} (CRM_{setting.upper()})."
        raise NotConfigured(words, advice=advice, side="crm", about_order=False)

    def date(self, said: str | None) -> str:
        return said or today(self.zone()).isoformat()


def _is_row(row: Any, doctype: str) -> bool:
    """Of orders, an odd one is left out later."""
    return isinstance(row, dict) and (doctype == ORDER or isinstance(row.get("name"), str))


def _address_key(row: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(str(row.get(name) or "").strip() for name in ("address_title", "phone", *ADDRESS.values()))


def _number(text: str) -> float | int:
    """JSON has no decimals; ERPNext rounds what it reads to the digits of its field."""
    exact = Decimal(text)
    return int(exact) if exact == exact.to_integral_value() else float(exact)


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
