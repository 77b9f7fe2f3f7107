"""ERPNext 15: an order is a Sales Order with its customer, addresses, items, and taxes and charges.

Its times have no zone, the name of a deleted draft is given to the next order, and an order that is submitted keeps its
lines. docs/crms/erpnext.md tells its people what to do; docs/decisions/0110 and 0111 say why it is done so.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal
from urllib.parse import quote

from sync.clients.crm.base import Access, Field, Status, Subscription, Traits, marked, only
from sync.clients.crm.erpnext import document, hook, setup
from sync.clients.crm.erpnext.lines import changed_rows, is_same
from sync.clients.crm.erpnext.records import ORDER, Records
from sync.clients.crm.erpnext.schema import SCHEMA
from sync.clients.crm.erpnext.words import (
    CHANGED_MEANWHILE,
    FIELD,
    NO_VALUE,
    NOT_UNIQUE,
    NOTE,
    SHOWN,
    age,
    field,
    judge,
    path_of,
    snapshot,
)
from sync.clients.crm.erpnext.zone import is_twice, shown_from
from sync.clients.errors import NotFound, Odd, Rejected, Unconfirmed
from sync.clients.http import readable
from sync.clients.paging import batches, pages
from sync.clients.snapshots import Composer, CrmSnapshot

STATUSES = (
    Status(name="Draft", label="Draft", shop_status="pending"),
    Status(name="On Hold", label="On Hold", shop_status="on-hold"),
    Status(name="To Pay", label="To Pay"),
    Status(name="To Deliver and Bill", label="To Deliver and Bill", shop_status="processing"),
    Status(name="To Deliver", label="To Deliver", shop_status="processing"),
    Status(name="To Bill", label="To Bill", shop_status="processing"),
    Status(name="Completed", label="Completed", shop_status="completed"),
    Status(name="Closed", label="Closed", shop_status="completed"),
    Status(name="Cancelled", label="Cancelled", shop_status="cancelled"),
)
DRAFT, SUBMITTED, CANCELLED = 0, 1, 2
TIMES, PAGE = 2, 100


class ErpnextCrm:
    title = "ERPNext"
    schema = SCHEMA
    traits = Traits(unique="enforced", ids_reused=True)
    hooks = hook.HOOKS
    default_statuses = STATUSES

    def __init__(self, access: Access) -> None:
        headers = {"Authorization": f"token {access['token']}", "Accept-Language": "en"}
        if access["site"]:
            headers["Host"] = access["site"]
        self.access = access
        self.client = access.client(headers=headers, judge=judge)
        self.records = Records(access, self.client)

    @classmethod
    def composer(cls, access: Access) -> Composer:
        return document.composer(access)

    def statuses(self) -> list[Status]:
        return list(STATUSES)

    def fields(self) -> list[Field]:
        known = self.records.meta().items()
        return [field(name, one) for name, one in known if one.get("fieldtype") not in NO_VALUE]

    def url_of(self, crm_order_id: str) -> str:
        return f"{self.access['url']}/app/sales-order/{quote(crm_order_id, safe='')}"

    def makes(self) -> Collection[Literal["customer", "product"]]:
        return ["customer"]

    def ping(self) -> None:
        self.records.search(ORDER, [], SHOWN, 1)

    def lacks(self) -> list[tuple[str, str]]:
        return setup.lacks(self.records)

    def prepare(self) -> list[str]:
        return setup.prepare(self.records)

    def hook_advice(self, address: str) -> tuple[str, str]:
        return hook.advice(address), hook.TEMPLATE

    def subscription(self, address: str) -> Subscription:
        return hook.subscription(self.records, address)

    def ensure(self, address: str, secret: str) -> list[str]:
        return hook.ensure(self.records, address, secret)

    # --- reading ---------------------------------------------------------------------------------------------------

    def get(self, crm_order_id: str) -> CrmSnapshot:
        found = [one for one in self._orders([["name", "=", crm_order_id]]) if one.crm_order_id == crm_order_id]
        if not found:
            raise NotFound(f"ERPNext has no Sales Order {crm_order_id!r}.", side="crm")
        return found[0]

    def find(self, external_id: str) -> CrmSnapshot | None:
        advice = f"Make the field {FIELD} unique, and empty it in all of them but one."
        return only(external_id, self._named([external_id]), advice)

    def get_many(self, crm_order_ids: Sequence[str]) -> dict[str, CrmSnapshot]:
        ids = list(dict.fromkeys(filter(None, crm_order_ids)))

        def fetch(some: Sequence[str]) -> list[CrmSnapshot]:
            return self._orders([["name", "in", list(some)]])

        found = batches.of(self.access["url"], "ids").read(ids, fetch, self.ping)
        return {one.crm_order_id: one for one in found if one.crm_order_id in ids}

    def find_many(self, external_ids: Sequence[str]) -> dict[str, CrmSnapshot | None]:
        names = list(dict.fromkeys(external_ids))
        found = batches.of(self.access["url"], "names").read(names, self._named, self.ping)
        times = Counter(one.external_id for one in found)
        once = {one.external_id: one for one in found if one.external_id in names and times[one.external_id] == 1}
        absent = dict.fromkeys(name for name in names if name not in times) if found else {}
        return {**absent, **{name: one for name, one in once.items() if name}}

    def _named(self, external_ids: Sequence[str]) -> list[CrmSnapshot]:
        return self._orders([[FIELD, "in", [marked(one) for one in external_ids]]])

    def _orders(self, filters: Sequence[Sequence[Any]]) -> list[CrmSnapshot]:
        return readable(self._rows(filters), self._snapshot, side="crm")

    def _rows(self, filters: Sequence[Sequence[Any]], limit: int = 0, **more: str) -> list[dict[str, Any]]:
        return [{"id": row.get("name"), **row} for row in self.records.search(ORDER, filters, SHOWN, limit, **more)]

    def _snapshot(self, row: Any) -> CrmSnapshot:
        return snapshot(row, self.records.zone())

    def changed_since(self, since: datetime) -> Iterator[CrmSnapshot]:
        """By the clock of the site, by key-set: an order that is changed meanwhile moves to the end, and hides none."""
        zone = self.records.zone()
        twice: list[CrmSnapshot] = []  # in the hour that comes twice, their clock does not tell which was first
        for page in self._by_time(shown_from(since, zone)):
            for one in readable(page, self._snapshot, side="crm"):
                if is_twice(datetime.fromisoformat(one.answer["modified"]), zone):
                    twice.append(one)
                    continue
                yield from sorted(twice, key=age)
                twice = []
                yield one
        yield from sorted(twice, key=age)

    def _by_time(self, first: str) -> Iterator[list[dict[str, Any]]]:
        def fetch(place: tuple[str, int]) -> tuple[list[dict[str, Any]], tuple[str, int] | None]:
            since, start = place
            order = {"order_by": "modified asc, name asc", "limit_start": str(start)}
            rows = self._rows([["modified", ">=", since]], PAGE, **order)
            if len(rows) < PAGE:
                return rows, None
            last = _version(rows[-1])[1]
            return rows, (last, 0) if last != since else (since, start + PAGE)

        before: set[tuple[str, str]] = set()
        for page in pages(fetch, (first, 0), side="crm", what="orders", name=_version):
            yield [row for row in page if _version(row) not in before]
            before = set(map(_version, page))

    # --- writing ---------------------------------------------------------------------------------------------------

    def create(self, external_id: str, order: Mapping[str, Any]) -> tuple[CrmSnapshot, bool]:
        if there := self.find(external_id):
            return there, False
        try:
            made = self.records.ids.anew(lambda: self.records.make(ORDER, self._values(external_id, order)))
        except Rejected as error:
            if error.code == NOT_UNIQUE and (there := self.find(external_id)):
                return there, False  # another made it a moment ago
            raise
        return self._snapshot(made), True

    def _values(self, external_id: str, order: Mapping[str, Any]) -> dict[str, Any]:
        if "items" not in order:
            words = "The order is in the trash of the shop, and ERPNext does not have it."
            raise Rejected(words, side="crm", about_order=True)
        prefix = external_id.rstrip("0123456789")
        customer = self.records.customer(prefix, order["party"])
        date = self.records.date(order["date"])
        note = {NOTE: order["note"]} if self.records.note() else {}
        return {
            "customer": customer,
            "company": self.records.company()["name"],
            "order_type": "Shopping Cart",
            "transaction_date": date,
            "delivery_date": date,
            "currency": order["currency"],
            "ignore_pricing_rule": 1,
            "docstatus": SUBMITTED if order["submit"] else DRAFT,
            **self.records.addresses(customer, order["addresses"]),
            "items": self.records.items(order["items"], date),
            "taxes": self.records.taxes(order["taxes"]),
            **note,
            **order.get("fields", {}),
            FIELD: marked(external_id),
        }

    def update(self, crm_order_id: str, order: Mapping[str, Any]) -> CrmSnapshot:
        """With the time of its last change, so that nobody's change meanwhile is overwritten."""
        return self.records.ids.anew(lambda: self._update(crm_order_id, order))

    def _update(self, crm_order_id: str, order: Mapping[str, Any]) -> CrmSnapshot:
        for _ in range(TIMES):
            now = self._whole(crm_order_id)
            if now.get("docstatus") == CANCELLED:  # it cannot be edited, and nobody works on it
                return self._snapshot(now)
            if not (values := self._changes(now, order)):
                return self._snapshot(now)
            try:
                told = {**values, "modified": now.get("modified")}
                answer = self.records.call("PUT", path_of(ORDER, crm_order_id), json=told)
            except Unconfirmed as error:
                if error.code != CHANGED_MEANWHILE:
                    raise
                trouble = error
            else:
                return self._snapshot(answer)
        raise trouble

    def _whole(self, crm_order_id: str) -> dict[str, Any]:
        if not crm_order_id or crm_order_id in (".", ".."):
            raise NotFound(f"ERPNext has no Sales Order {crm_order_id!r}.", side="crm")
        found = self.records.call("GET", path_of(ORDER, crm_order_id))
        if not isinstance(found, dict) or found.get("name") != crm_order_id:
            raise Odd(f"ERPNext's answer is not Sales Order {crm_order_id}.", side="crm")
        return found

    def _changes(self, now: Mapping[str, Any], order: Mapping[str, Any]) -> dict[str, Any]:
        """What differs there from what the order's document says."""
        is_draft = now.get("docstatus") == DRAFT
        wanted = {name: value for name, value in order.get("fields", {}).items() if name != FIELD}
        note = self.records.note()
        if note and (is_draft or note.get("allow_on_submit")):
            wanted[NOTE] = order["note"]
        if "items" in order:
            wanted |= self.records.addresses(str(now.get("customer")), order["addresses"])
        values = {name: value for name, value in wanted.items() if (now.get(name) or "") != (value or "")}
        if "items" not in order:
            return values
        if is_draft:
            delivery = str(now.get("delivery_date") or self.records.date(order["date"]))
            items, taxes = self.records.items(order["items"], delivery), self.records.taxes(order["taxes"])
            values |= changed_rows(now, {"items": items, "taxes": taxes})
            return values | ({"docstatus": SUBMITTED} if order["submit"] else {})
        if not is_same(now, order, self.access["placeholder_item"]):
            words = f"The shop changed lines or charges of the order, and {now['name']} is submitted in ERPNext."
            advice = "Change it there (Update Items), then replay: what agrees is not sent. Or resolve the event."
            raise Rejected(words, advice=advice, side="crm", about_order=True)
        return values


def _version(row: Mapping[str, Any]) -> tuple[str, str]:
    return str(row.get("name")), str(row.get("modified"))
