"""Odoo 16 and later: an order is a sales order (`sale.order`) with its contact, addresses and lines.

Odoo keeps no reference unique, tells times in whole seconds, and answers most errors with 200. docs/crms/odoo.md tells
its people what to do; docs/decisions/0108 says how customers are made once, and 0109 whose lines are ours.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any, Literal, TypeVar

from sync.clients.crm.base import Access, Field, Status, Traits, marked, only
from sync.clients.crm.cache import Cache
from sync.clients.crm.odoo.calls import BY_VERSION, JSON2, RPC, Calls
from sync.clients.crm.odoo.document import COMPOSER
from sync.clients.crm.odoo.lines import LINE, Lines
from sync.clients.crm.odoo.partners import PARTNER, Partners
from sync.clients.crm.odoo.words import (
    ACCESS,
    MISSING,
    SALE,
    hint,
    id_of,
    is_id,
    judge,
    kind_of,
    markup,
    snapshot,
    stamp,
)
from sync.clients.crm.schema import MAKE_PRODUCTS, WEBHOOK_SECRETS, SettingField
from sync.clients.errors import AuthFailed, Hidden, NotConfigured, NotFound, Rejected, Unconfirmed
from sync.clients.http import readable
from sync.clients.paging import batches, pages
from sync.clients.snapshots import Composer, CrmSnapshot
from webhooks.hooks import SECRET_IN_PATH, Hooks
from webhooks.sources import reader

T = TypeVar("T")

OURS = ("client_order_ref", "state")
"""What tells whose order it is, and how it stands: nobody maps these."""
FIELDS = ("name", "client_order_ref", "state", "write_date", "amount_total")
WHOLE = ("partner_id", "create_uid")
FIRST_WITH_LOCKED = 17
STATUSES = (
    Status(name="draft", label="Quotation", shop_status="pending"),
    Status(name="sent", label="Quotation sent", shop_status="on-hold"),
    Status(name="sale", label="Sales order", shop_status="processing"),
    Status(name="done", label="Locked", shop_status="completed"),
    Status(name="cancel", label="Cancelled", shop_status="cancelled"),
)
FIRST = "draft"
UNCHANGEABLE = ("done", "cancel")
PAGE = 100


class OdooCrm:
    title = "Odoo"
    schema = (
        SettingField(name="url", label="Address", help="The server, as in https://odoo.example"),
        SettingField(name="database", label="Database", help="Its name, as the page of sign-in or /web/database shows"),
        SettingField(name="login", label="Login", help="What the user of the API key signs in with"),
        SettingField(
            name="token", label="API key", help="Of that user: Preferences, Account Security, New API Key", secret=True
        ),
        SettingField(
            name="company",
            label="Company",
            help="The name of the company that sells. Needed where the user may act for several",
            required=False,
        ),
        MAKE_PRODUCTS,
        SettingField(
            name="item_product",
            label="Product for other lines",
            help="The internal reference of the service on which fees, discounts and items without a product stand",
            default="WOO-ITEM",
        ),
        SettingField(
            name="shipping_product",
            label="Product for shipping",
            help="The internal reference of the service on which shipping stands; else it is the one above",
            required=False,
            default="WOO-SHIPPING",
        ),
        SettingField(
            name="protocol",
            label="Protocol",
            help="How Odoo is called. By its version: JSON-2 from Odoo 19 on, JSON-RPC before",
            default=BY_VERSION,
            choices=(BY_VERSION, RPC, JSON2),
        ),
        replace(
            WEBHOOK_SECRETS,
            label="Webhook secret",
            help="16 characters or more, which Odoo 17 and later has in the address of its webhook. Empty: it is asked "
            "every few minutes what changed",
        ),
    )
    hooks = Hooks(schema="odoo/1", parse=reader(hint), verify=SECRET_IN_PATH)
    traits = Traits(updated_at="seconds", hooks="hints", hook_before_commit=True)
    default_statuses = STATUSES

    def __init__(self, access: Access) -> None:
        self.access = access
        self.ids = Cache.of(access)
        self.calls = Calls(access, access.client(judge=judge), self.ids)
        self.partners, self.lines = Partners(access, self.calls), Lines(access, self.calls)

    @classmethod
    def composer(cls, access: Access) -> Composer:
        return COMPOSER

    def statuses(self) -> list[Status]:
        return list(STATUSES)

    def fields(self) -> list[Field]:
        attributes = ["string", "type", "required", "readonly", "selection", "size"]
        found: dict[str, dict[str, Any]] = self.calls(SALE, "fields_get", attributes=attributes)
        return [
            Field(
                name=name,
                label=str(one["string"]),
                kind=kind_of(one["type"]),
                required=bool(one.get("required")),
                writable=not one.get("readonly") and name not in OURS and not str(one["type"]).endswith("2many"),
                choices=tuple(str(choice[0]) for choice in one.get("selection") or ()),
                longest=one.get("size") or None,
            )
            for name, one in sorted(found.items())
        ]

    def url_of(self, crm_order_id: str) -> str:
        return f"{self.access['url']}/web#id={crm_order_id}&model={SALE}&view_type=form"

    def makes(self) -> Collection[Literal["customer", "product"]]:
        return ["customer", "product"] if self.access["make_products"] == "yes" else ["customer"]

    def ping(self) -> None:
        self.calls.search(SALE, [], ("id",), limit=1)

    def get(self, crm_order_id: str) -> CrmSnapshot:
        return snapshot(self._read(crm_order_id))

    def find(self, external_id: str) -> CrmSnapshot | None:
        advice = "Cancel all but one, and empty their customer reference."
        return only(external_id, self._named([external_id]), advice)

    def get_many(self, crm_order_ids: Sequence[str]) -> dict[str, CrmSnapshot]:
        ids = [one for one in dict.fromkeys(crm_order_ids) if is_id(one)]

        def fetch(some: Sequence[str]) -> list[CrmSnapshot]:
            return self._orders([["id", "in", [int(one) for one in some]]])

        found = batches.of(self.access["url"], "ids").read(ids, fetch, self.ping)
        return {one.crm_order_id: one for one in found}

    def find_many(self, external_ids: Sequence[str]) -> dict[str, CrmSnapshot | None]:
        names = list(dict.fromkeys(external_ids))
        found = batches.of(self.access["url"], "names").read(names, self._named, self.ping)
        return batches.by_name(names, found)

    def changed_since(self, since: datetime) -> Iterator[CrmSnapshot]:
        """By time. It is shown in whole seconds and stored finer, so that each page begins at the second in which the
        one before ended, without those of it that were listed."""
        order = "write_date, id"

        def fetch(place: tuple[str, frozenset[int]]) -> tuple[list[dict[str, Any]], Any]:
            second, listed = place
            domain: list[Any] = [["write_date", ">=", second]]
            domain += [["id", "not in", sorted(listed)]] if listed else []
            rows = self.calls.search(SALE, domain, self._fields(), order=order, limit=PAGE)
            if len(rows) < PAGE:
                return rows, None
            last = str(rows[-1]["write_date"])
            of_it = frozenset(int(row["id"]) for row in rows if row["write_date"] == last)
            return rows, (last, of_it | listed if last == second else of_it)

        first = (stamp(since), frozenset[int]())
        for page in pages(
            fetch, first, side="crm", what="orders", name=lambda row: (row["id"], str(row["write_date"]))
        ):
            yield from readable(page, snapshot, side="crm")

    def create(self, external_id: str, order: Mapping[str, Any]) -> tuple[CrmSnapshot, bool]:
        if there := self.find(external_id):
            return there, False
        with self._about("create"):
            [made] = self._anew(lambda: self.calls.create(SALE, [self._values(external_id, order)]))
        shown = self._without_twin(str(made), external_id)
        # Odoo answers with the id alone. Whoever has moved it before we look has made a move, which is no beginning.
        return shown, shown.status == FIRST

    def update(self, crm_order_id: str, order: Mapping[str, Any]) -> CrmSnapshot:
        with self._about("write"):
            self._anew(lambda: self._update(crm_order_id, order))
        return self.get(crm_order_id)

    def _update(self, crm_order_id: str, order: Mapping[str, Any]) -> None:
        now = self._read(crm_order_id, *WHOLE)
        values: dict[str, Any] = {"note": markup(order["note"])}
        mapped = {name: value for name, value in order.get("fields", {}).items() if name not in OURS}
        if "lines" in order:
            values |= self._changed(crm_order_id, now, order)
        self.calls(SALE, "write", [id_of(crm_order_id)], vals=values | mapped)

    # --- orders ----------------------------------------------------------------------------------------------------

    def _fields(self) -> tuple[str, ...]:
        return (*FIELDS, "locked") if self.calls.version >= FIRST_WITH_LOCKED else FIELDS

    def _read(self, crm_order_id: str, *more: str) -> dict[str, Any]:
        with self._about():
            found = self.calls(SALE, "read", [id_of(crm_order_id)], fields=[*self._fields(), *more])
        row = found[0] if isinstance(found, list) and len(found) == 1 and isinstance(found[0], dict) else {}
        if str(row.get("id")) != crm_order_id:
            raise NotFound(f"Odoo has no order {crm_order_id}.", side="crm")
        return row

    def _named(self, external_ids: Sequence[str]) -> list[CrmSnapshot]:
        return self._orders([["client_order_ref", "in", [marked(one) for one in external_ids]]])

    def _orders(self, domain: list[Any]) -> list[CrmSnapshot]:
        return readable(self.calls.search(SALE, domain, self._fields(), order="id"), snapshot, side="crm")

    def _without_twin(self, made: str, external_id: str) -> CrmSnapshot:
        """Two that create at once both succeed. Each looks afterwards, and the younger one withdraws its own."""
        named = {one.crm_order_id: one for one in self._named([external_id]) if one.external_id == external_id}
        if made not in named:
            words = f"Odoo does not show order {made}, which was just made."
            raise Unconfirmed(words, side="crm", about_order=True)
        if len(named) == 1:
            return named[made]
        oldest = min(named, key=int)
        if oldest == made:
            words = f"Odoo has order {external_id} twice for a moment. It is looked at again."
            raise Unconfirmed(words, side="crm", about_order=True)
        # A salesperson may not delete it. In one call: whoever died between two would leave an order behind.
        note = markup([f"Made twice at the same moment: the order is the one with the id {oldest}."])
        withdrawn = {"client_order_ref": False, "note": note, "state": "cancel"}
        self.calls(SALE, "write", [int(made)], vals=withdrawn)
        return named[oldest]

    # --- what an order is made of ----------------------------------------------------------------------------------

    def _values(self, external_id: str, order: Mapping[str, Any]) -> dict[str, Any]:
        sold = self._company_and_currency(order["currency"])
        lines = self.lines.values(order["lines"])
        used = self.partners.of(external_id, order)  # last: nobody is made for an order that cannot be
        return {
            "partner_id": used.partner,
            **used.values,
            "origin": order["origin"],
            "note": markup(order["note"]),
            "order_line": [[0, 0, one] for one in lines],
            **({"date_order": order["date_order"]} if order["date_order"] else {}),
            **sold,
            **order.get("fields", {}),
            "client_order_ref": marked(external_id),
        }

    def _changed(self, crm_order_id: str, now: Mapping[str, Any], order: Mapping[str, Any]) -> dict[str, Any]:
        status = snapshot(now).status
        changes = self.lines.changes(int(crm_order_id), now, order["lines"])
        if changes and status in UNCHANGEABLE:
            words = f"The shop changed lines of the order, and order {now['name']} is {status} in Odoo."
            advice = "Unlock it there, or set it to quotation, then replay; or change it by hand and resolve."
            raise Rejected(words, advice=advice, side="crm", about_order=True)
        partner = int(now["partner_id"][0])
        addresses = {} if status == "cancel" else self.partners.again(partner, order).values
        return addresses | ({"order_line": changes} if changes else {})

    def _company_and_currency(self, currency: str) -> dict[str, int]:
        """An order has the currency of its price list; without one, that of its company."""
        name = self.access["company"]
        rows = self.ids.get("companies", lambda: self.calls.search("res.company", [], ("name", "currency_id")))
        mine = [row for row in rows if row["name"] == name] if name else rows
        if len(mine) != 1:
            self.ids.forget("companies")
            known = ", ".join(sorted(row["name"] for row in rows))
            words = f"The user of the API key may act for the companies {known}, and the setting company is {name!r}."
            raise NotConfigured(words, advice="Set it to one of them.", side="crm", about_order=False)
        values = {"company_id": int(mine[0]["id"])}
        price_list = self.ids.get("price lists", self._price_lists).get(currency)
        if price_list is None and mine[0]["currency_id"][1] != currency:
            self.ids.forget("price lists")
            words = f"Odoo has no price list in {currency}, and an order gets its currency from there."
            raise Rejected(words, advice="Make one, then replay.", side="crm", about_order=True)
        return values | ({"pricelist_id": price_list} if price_list else {})

    def _price_lists(self) -> dict[str, int]:
        """The first of each currency. Its prices are not used."""
        rows = self.calls.search("product.pricelist", [], ("currency_id",), order="id desc")
        return {row["currency_id"][1]: int(row["id"]) for row in rows if row["currency_id"]}

    # --- errors ----------------------------------------------------------------------------------------------------

    @contextmanager
    def _about(self, right: str = "read") -> Iterator[None]:
        """An order that the user may not touch, while she may others, is not the fault of Odoo. One who may do that
        with none is: then all orders wait."""
        try:
            yield
        except AuthFailed as error:
            if error.code != ACCESS or error.about_order is False:
                raise
            self.ping()
            if lost := [model for model in (SALE, LINE, PARTNER) if not self.calls.may(model, right)]:
                words = f"The user of the API key has lost the right to {right} {', '.join(lost)}. {error.message}"
                about: dict[str, Any] = {"side": "crm", "status": error.status, "code": error.code}
                raise AuthFailed(words, advice=error.advice, about_order=False, **about) from error
            words = f"Odoo does not let the user of the API key do this: {error.message}"
            advice = "See the rights and record rules of the user."
            raise Hidden(words, advice=advice, side="crm", status=error.status, about_order=True) from error

    def _anew(self, call: Callable[[], T]) -> T:
        """What we believed to be there is not: a product, a tax, a customer that was merged or made twice. It is looked
        for once more at once, and then later."""
        try:
            return self.ids.anew(call)
        except Rejected as error:
            if error.code != MISSING:
                raise
            raise Unconfirmed(error.message, side="crm", status=error.status, about_order=True) from error
