"""The customers of orders: found, or made once, and their addresses."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sync.clients.crm.base import Access, marked
from sync.clients.crm.customers import CUSTOMER, NEW, Candidate, SeveralFit, chosen
from sync.clients.crm.odoo.calls import Calls
from sync.clients.crm.odoo.words import MISSING, SALE, is_id, literally, moment, one_of, reference, text
from sync.clients.errors import AuthFailed, NotFound, Rejected, Unconfirmed

PARTNER = "res.partner"
PLACE = ("street", "street2", "zip", "city")
MADE = ("create_uid", "create_date")
FIELDS = (
    *MADE,
    "name",
    "email",
    "phone",
    "vat",
    "ref",
    "type",
    "is_company",
    "parent_id",
    "state_id",
    "country_id",
    *PLACE,
)
MOST_CANDIDATES, MOST_SALES = 20, 500
AT_ONCE = timedelta(minutes=5)
"""Between the beginnings of two creations that do not see each other, at most."""
INVOICE, DELIVERY = ("invoice_address", "invoice"), ("delivery_address", "delivery")
Row = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Used:
    """By an order."""

    partner: int
    invoice: int
    delivery: int

    @property
    def values(self) -> dict[str, int]:
        """Without the customer, who stays the same."""
        return {"partner_invoice_id": self.invoice, "partner_shipping_id": self.delivery}


class Partners:
    """One that is there is never changed: an address that it does not have yet is added to it."""

    def __init__(self, access: Access, calls: Calls) -> None:
        self.access, self.calls = access, calls

    def of(self, external_id: str, order: Mapping[str, Any]) -> Used:
        """The customer whom a person chose, or by e-mail, phone, VAT number, or the reference that we would give; else
        a new one. One call finds her and her addresses."""
        wanted = order["partner"]
        code = marked(f"{external_id.rstrip('0123456789')}{wanted['code']}")
        picked = self._picked(wanted)
        keys = [("email", wanted["email"]), ("phone", wanted["phone"]), ("vat", wanted["vat"])]
        keys = [*([] if picked == NEW else keys), ("ref", code)]
        conditions = [_is(f"{of}{name}", value) for name, value in keys if value for of in ("", "parent_id.")]
        if picked and is_id(picked):
            conditions += [["id", "=", int(picked)], ["parent_id", "=", int(picked)]]
        rows: Sequence[Row] = self.calls.search(PARTNER, one_of(conditions), FIELDS, order="id")
        by_hand = next((row for row in rows if str(row["id"]) == picked), None)
        partner = by_hand or self._found(rows, keys, code) or self._new(code, order)
        return self._used(partner, rows, order)

    def again(self, partner: int, order: Mapping[str, Any]) -> Used:
        """The addresses of an order whose customer is known."""
        rows = self.calls.search(PARTNER, one_of([["id", "=", partner], ["parent_id", "=", partner]]), FIELDS)
        row = next((one for one in rows if one["id"] == partner), None)
        if row is None:  # archived, perhaps
            return Used(partner=partner, invoice=partner, delivery=partner)
        return self._used(row, rows, order)

    # --- the customer ----------------------------------------------------------------------------------------------

    def _picked(self, wanted: Mapping[str, str]) -> str | None:
        choices = (chosen(self.access, CUSTOMER, wanted[name]) for name in ("email", "phone", "vat") if wanted[name])
        return next((one for one in choices if one is not None), None)

    def _found(self, rows: Sequence[Row], keys: Sequence[tuple[str, str]], code: str) -> Row | None:
        people = [row for row in rows if row["type"] in ("contact", False)]
        for name, value in keys:
            found = [row for row in people if value and text(row, name).lower() == value.lower()]
            ids = {row["id"] for row in found}
            found = [row for row in found if reference(row["parent_id"]) not in ids]  # its people stand for a company
            if len(found) > 1 and all(row["ref"] == code for row in found):
                return self._only(found)
            if len(found) > 1 and name != "ref":
                raise SeveralFit(CUSTOMER, value, self._candidates(found[:MOST_CANDIDATES]), may_create=True)
            if len(found) > 1:
                names = ", ".join(f"{row['name']} ({row['id']})" for row in found)
                words = f"Several contacts of Odoo have the order's {name}: {names}."
                raise Rejected(words, advice="Merge them in Odoo, then replay.", side="crm", about_order=True)
            if found:
                return found[0]
        return None

    def _candidates(self, found: Sequence[Row]) -> list[Candidate]:
        ids = [row["id"] for row in found]
        sales = self.calls.search(SALE, [["partner_id", "in", ids]], ("partner_id",), limit=MOST_SALES)
        orders = Counter(reference(row["partner_id"]) for row in sales)
        return [_candidate(row, orders[row["id"]]) for row in found]

    def _new(self, code: str, order: Mapping[str, Any]) -> Row:
        wanted, address = order["partner"], order["invoice_address"]
        values = {
            "name": wanted["company"] or wanted["name"],
            "is_company": bool(wanted["company"]),
            "ref": code,
            **{name: wanted[name] for name in ("email", "phone", "vat") if wanted[name]},
            **self._place(address),
        }
        [made] = self.calls.create(PARTNER, [values])
        twins = self.calls.search(PARTNER, [["ref", "=", code]], FIELDS, order="id")
        if not twins:
            raise Unconfirmed(f"Odoo does not show contact {made}, which was just made.", side="crm", about_order=True)
        return self._only(twins)

    def _only(self, twins: Sequence[Row]) -> Row:
        """Of several that we made of one customer at the same moment, one: those that no order refers to go again.
        Whoever duplicates a contact in Odoo copies its reference: such a copy stays."""
        ours = [twins[0], *(one for one in twins[1:] if _made_at_once(one, twins[0]))]
        left = list(ours)
        for one in [*reversed(ours[1:]), ours[0]]:
            if len(left) > 1 and self._is_removed(one["id"]):
                left.remove(one)
        return left[0]

    def _is_removed(self, partner: int) -> bool:
        try:
            self.calls(PARTNER, "unlink", [partner])
        except Rejected as error:
            return error.code == MISSING
        except (AuthFailed, NotFound):
            return False
        return True

    # --- addresses -------------------------------------------------------------------------------------------------

    def _used(self, partner: Row, rows: Sequence[Row], order: Mapping[str, Any]) -> Used:
        family = [partner, *(row for row in rows if reference(row["parent_id"]) == partner["id"])]
        there = {_key(row): int(row["id"]) for row in reversed(family)}
        missing: dict[tuple[Any, ...], dict[str, Any]] = {}
        wanted = {}
        for name, kind in (INVOICE, DELIVERY):
            values = {"name": _label(order[name], text(partner, "name")), **self._place(order[name])}
            wanted[name] = _key(values)
            if wanted[name] not in there and any(values.get(one) for one in PLACE):
                phone = {"phone": order[name]["phone"]} if order[name]["phone"] else {}
                missing.setdefault(wanted[name], {"parent_id": partner["id"], "type": kind, **phone, **values})
        if missing:
            there |= zip(missing, self.calls.create(PARTNER, list(missing.values())), strict=True)
        invoice, delivery = (there.get(wanted[name], int(partner["id"])) for name, _ in (INVOICE, DELIVERY))
        return Used(partner=int(partner["id"]), invoice=invoice, delivery=delivery)

    def _place(self, address: Mapping[str, str]) -> dict[str, Any]:
        """As it is written; a state or a country that Odoo does not have is left out."""
        values: dict[str, Any] = {name: address[name] for name in PLACE if address[name]}
        if address["country"] and (country := self.calls.known("res.country", "code").get(address["country"])):
            values["country_id"] = country
            code = address["state"].rpartition("-")[2]
            known = self.calls.known("res.country.state", "code", [["country_id", "=", country]]) if code else {}
            if code in known:
                values["state_id"] = known[code]
        return values


def _made_at_once(one: Row, first: Row) -> bool:
    if not one["create_date"] or not first["create_date"] or one["create_uid"] != first["create_uid"]:
        return False
    return abs(moment(one["create_date"]) - moment(first["create_date"])) <= AT_ONCE


def _is(path: str, value: str) -> list[Any]:
    return [path, "=ilike", literally(value)] if path.endswith("email") else [path, "=", value]


def _candidate(row: Row, orders: int) -> Candidate:
    place = [text(row, "street"), text(row, "street2"), f"{text(row, 'zip')} {text(row, 'city')}".strip()]
    company = row["name"] if row["is_company"] else row["parent_id"][1] if row["parent_id"] else ""
    details = {
        "E-mail": text(row, "email"),
        "Phone": text(row, "phone"),
        "Address": "\n".join(filter(None, place)),
        "Company": str(company),
        "VAT number": text(row, "vat"),
        "Reference": text(row, "ref"),
        "Orders": str(orders),
    }
    return Candidate(id=str(row["id"]), name=text(row, "name"), details=details)


def _label(address: Mapping[str, str], partner: str) -> str:
    """Who is named above the street. Odoo puts the customer's name above that."""
    company = "" if address["company"] == partner else address["company"]
    return ", ".join(filter(None, (company, address["name"]))) or partner


def _key(row: Mapping[str, Any]) -> tuple[Any, ...]:
    ids = (row.get(name) for name in ("state_id", "country_id"))
    return (text(row, "name"), *(text(row, name) for name in PLACE), *(_id(one) for one in ids))


def _id(value: Any) -> int | None:
    return value if type(value) is int else reference(value)
