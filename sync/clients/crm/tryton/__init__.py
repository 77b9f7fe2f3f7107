"""Tryton 8: an order is a sale (`sale.sale`) with its party, addresses and lines. REST with an application key.

Tryton sends no webhooks, keeps no name unique, and writes lines of a draft only. docs/crms/tryton.md tells its people
what to do; docs/decisions/0087 says why parties have the codes that they have.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from heapq import merge
from typing import Any, Literal

from sync.clients.crm.base import Access, Field, Status, Traits, marked, only
from sync.clients.crm.cache import Cache
from sync.clients.crm.customers import CUSTOMER, NEW, SeveralFit, chosen
from sync.clients.crm.schema import TOKEN, SettingField
from sync.clients.crm.tryton.document import COMPOSER, DESCRIBED
from sync.clients.crm.tryton.words import (
    address_key,
    age,
    candidate,
    decimal,
    having,
    inner,
    judge,
    kind_of,
    moment,
    packed,
    path_of,
    sent,
    snapshot,
    tagged,
)
from sync.clients.errors import Blocked, NotConfigured, NotFound, Odd, Rejected, Unconfirmed
from sync.clients.http import readable
from sync.clients.paging import batches, in_parts, pages
from sync.clients.snapshots import Composer, CrmSnapshot
from webhooks.texts import is_number

SALE = "sale.sale"
FIELDS = ("number", "reference", "state", "currency.code", "total_amount", "write_date", "create_date")
LINES = ("note", "description", "quantity", "unit_price", "product.code", "taxes")
WHOLE = (*FIELDS, "party", "comment", "description", *(f"lines.{name}" for name in LINES))
STATUSES = (
    Status(name="draft", label="Draft", shop_status="pending"),
    Status(name="quotation", label="Quotation", shop_status="on-hold"),
    Status(name="confirmed", label="Confirmed", shop_status="processing"),
    Status(name="processing", label="Processing", shop_status="processing"),
    Status(name="done", label="Done", shop_status="completed"),
    Status(name="cancelled", label="Cancelled", shop_status="cancelled"),
)
PARTY = (
    *("name", "code", "contact_mechanisms.type", "contact_mechanisms.value", "addresses.full_address"),
    "identifiers.code",
)
OURS = frozenset(
    ("id", "number", "reference", "state", "rec_name", "create_date", "create_uid", "write_date", "write_uid")
)
LISTS = ("one2many", "many2many")
"""Nobody maps what tells whose order it is, what Tryton writes itself, and what holds records."""
NOT_UNIQUE, FIRST = "must be unique", "draft"
MOST_CANDIDATES, MOST_SALES, PAGE, ASKED = 20, 500, 100, 20
"""The last: codes of products in one question, as web servers refuse long addresses."""


class TrytonCrm:
    title = "Tryton"
    schema = (
        SettingField(
            name="url",
            label="Address",
            help="The server and its database, as in https://tryton.example/DATABASE",
        ),
        TOKEN,
        SettingField(
            name="company",
            label="Company",
            help="The name of the company that sells. Needed where Tryton holds several",
            required=False,
        ),
    )
    traits = Traits(hooks="none")
    default_statuses = STATUSES

    def __init__(self, access: Access) -> None:
        # In English, whatever the key's user speaks: some of Tryton's errors differ by their words alone.
        headers = {"Authorization": f"Bearer {access['token']}", "Accept-Language": "en"}
        self.access = access
        self.client = access.client(headers=headers, judge=judge)
        self.ids = Cache.of(access)

    @classmethod
    def composer(cls, access: Access) -> Composer:
        return COMPOSER

    def statuses(self) -> list[Status]:
        return list(STATUSES)

    def fields(self) -> list[Field]:
        rows = self._search("ir.model.field", [["model", "=", SALE]], ("name", "string", "ttype"))
        return [
            Field(
                name=row["name"],
                label=row["string"],
                kind=kind_of(row["ttype"]),
                writable=row["name"] not in OURS and row["ttype"] not in LISTS,
            )
            for row in rows
        ]

    def _mapped(self, order: Mapping[str, Any]) -> dict[str, Any]:
        """What staff map to fields of a sale."""
        said = order.get("fields") or {}
        types = self.ids.get("types", self._types) if said else {}
        return {name: sent(types.get(name, ""), value) for name, value in said.items()}

    def _types(self) -> dict[str, str]:
        rows = self._search("ir.model.field", [["model", "=", SALE]], ("name", "ttype"))
        return {row["name"]: row["ttype"] for row in rows}

    def url_of(self, crm_order_id: str) -> str:
        """Of Tryton's own web client, which stands at the root of the server."""
        server, _, database = self.access["url"].rpartition("/")
        return f"{server}/#{database}/model/{SALE}/{crm_order_id}"

    def makes(self) -> Collection[Literal["customer", "product"]]:
        return ["customer"]

    def ping(self) -> None:
        self._search(SALE, [], ("id",), limit=1)

    def get(self, crm_order_id: str) -> CrmSnapshot:
        return snapshot(self._read(crm_order_id, FIELDS))

    def find(self, external_id: str) -> CrmSnapshot | None:
        found = [one for one in self._named([external_id]) if one.external_id == external_id]
        return only(external_id, self._left(found) if len(found) > 1 else found)

    def get_many(self, crm_order_ids: Sequence[str]) -> dict[str, CrmSnapshot]:
        ids = [one for one in dict.fromkeys(crm_order_ids) if is_number(one)]

        def fetch(some: Sequence[str]) -> list[CrmSnapshot]:
            return self._sales([["id", "in", [int(one) for one in some]]])

        found = batches.of(self.access["url"], "ids").read(ids, fetch, self.ping)
        return {one.crm_order_id: one for one in found}

    def find_many(self, external_ids: Sequence[str]) -> dict[str, CrmSnapshot | None]:
        names = list(dict.fromkeys(external_ids))
        found = batches.of(self.access["url"], "names").read(names, self._named, self.ping)
        return batches.by_name(names, found)

    def changed_since(self, since: datetime) -> Iterator[CrmSnapshot]:
        """Two lists in one: until somebody changes it, a sale has a time of creation and none of change."""
        never = self._by_time("create_date", since, [["write_date", "=", None]])
        yield from merge(self._by_time("write_date", since, []), never, key=age)

    def create(self, external_id: str, order: Mapping[str, Any]) -> tuple[CrmSnapshot, bool]:
        if there := self.find(external_id):
            self._take_doubles_away(there.crm_order_id)
            return there, False
        made = self.ids.anew(lambda: self._call("POST", SALE, fields=FIELDS, json=self._values(external_id, order)))
        if not isinstance(made, dict):  # SQLite takes a party that is not there, and answers 204
            raise Unconfirmed(f"Tryton answered the creation of {external_id} with nothing.", side="crm")
        return self._without_twin(snapshot(made), external_id), True

    def update(self, crm_order_id: str, order: Mapping[str, Any]) -> CrmSnapshot:
        return self.ids.anew(lambda: self._update(crm_order_id, order))

    def _update(self, crm_order_id: str, order: Mapping[str, Any]) -> CrmSnapshot:
        now = self._read(crm_order_id, WHOLE)
        self._take_doubles_away(crm_order_id)
        if "lines" not in order:
            return self._write(crm_order_id, {"comment": f"{order['comment']}"})
        values: dict[str, Any] = {
            name: order[name] for name in ("description", "comment") if (now[name] or "") != (order[name] or "")
        }
        if changed := self._changed_lines(now["lines"], order["lines"]):
            if now["state"] != "draft":
                words = f"The shop changed lines of the order, and sale {crm_order_id} is {now['state']} in Tryton."
                advice = "Put it back to draft there, if that can be, then replay; or change it by hand and resolve."
                raise Rejected(words, advice=advice, side="crm", about_order=True)
            values["lines"] = changed
        if now["state"] == "draft":
            party = now["party"]["id"] if isinstance(now["party"], dict) else now["party"]
            values |= self._addresses(party, order)
        values |= self._mapped(order)
        return self._write(crm_order_id, values) if values else snapshot(now)

    # --- sales -----------------------------------------------------------------------------------------------------

    def _write(self, crm_order_id: str, values: Mapping[str, Any]) -> CrmSnapshot:
        answer = self._call("PUT", f"{SALE}/{path_of(crm_order_id)}", fields=FIELDS, json=values)
        return snapshot(answer) if isinstance(answer, dict) else self.get(crm_order_id)

    def _read(self, crm_order_id: str, fields: Sequence[str]) -> dict[str, Any]:
        """By a list: what has no database says 404 as well, and an order that is not there is an empty one."""
        found = self._search(SALE, [["id", "=", int(path_of(crm_order_id))]], fields)
        if not found:
            raise NotFound(f"Tryton has no sale {crm_order_id}.", side="crm")
        if len(found) > 1 or str(found[0].get("id")) != crm_order_id:
            raise Odd(f"Tryton's answer is not sale {crm_order_id}.", side="crm")
        return found[0]

    def _named(self, external_ids: Sequence[str]) -> list[CrmSnapshot]:
        return self._sales([["reference", "in", [marked(one) for one in external_ids]]])

    def _sales(self, domain: list[Any]) -> list[CrmSnapshot]:
        return readable(self._search(SALE, domain, FIELDS, order=[["id", "ASC"]]), snapshot, side="crm")

    def _by_time(self, field: str, since: datetime, domain: list[Any]) -> Iterator[CrmSnapshot]:
        """By key-set: a sale that is changed meanwhile moves to the end, and hides none."""
        order = [[field, "ASC"], ["id", "ASC"]]

        def fetch(place: tuple[datetime, int]) -> tuple[list[dict[str, Any]], tuple[datetime, int] | None]:
            at, last = tagged(place[0]), place[1]
            from_there = ["OR", [field, ">", at], [[field, "=", at], ["id", ">", last]]]
            rows = self._search(SALE, [from_there, *domain], FIELDS, order=order, limit=PAGE)
            following = (moment(rows[-1][field]), int(rows[-1]["id"])) if len(rows) == PAGE else None
            return rows, following if following and following[0] else None  # type: ignore[return-value]

        first = (since.astimezone(UTC), 0)
        for page in pages(fetch, first, side="crm", what="sales", name=lambda row: (row["id"], str(row[field]))):
            yield from readable(page, snapshot, side="crm")

    def _without_twin(self, made: CrmSnapshot, external_id: str) -> CrmSnapshot:
        """Two that create at once both succeed. Each looks afterwards, and the younger one takes its own away."""
        twins = [one for one in self._named([external_id]) if one.crm_order_id != made.crm_order_id]
        if not twins:
            return made
        oldest = min(twins, key=lambda one: int(one.crm_order_id))
        if int(oldest.crm_order_id) > int(made.crm_order_id):
            words = f"Tryton has order {external_id} twice for a moment. It is looked at again."
            raise Unconfirmed(words, side="crm", about_order=True)
        self._call("DELETE", f"{SALE}/{path_of(made.crm_order_id)}")
        return oldest

    def _left(self, found: Sequence[CrmSnapshot]) -> list[CrmSnapshot]:
        """Where we made several, as Tryton came to a request late, or whoever had to take one away died first: those
        that nobody has touched count for nothing, but for the oldest."""
        ids = [int(one.crm_order_id) for one in found]
        untouched = self._untouched(ids)
        left = [one for one in found if int(one.crm_order_id) not in untouched]
        left = left or [min(found, key=lambda one: int(one.crm_order_id))]
        if len(left) == 1:
            self._doubles()[left[0].crm_order_id] = [one for one in ids if one != int(left[0].crm_order_id)]
        return left

    def _untouched(self, ids: Sequence[int]) -> list[int]:
        rows = self._search(SALE, [["id", "in", [*ids]]], ("state", "write_date", "description")) if ids else []
        new = [row for row in rows if (row["state"], row["write_date"]) == (FIRST, None)]
        return [int(row["id"]) for row in new if f"{row['description']}".startswith(DESCRIBED)]

    def _doubles(self) -> dict[str, list[int]]:
        return self.ids.get("doubles", dict)

    def _take_doubles_away(self, crm_order_id: str) -> None:
        """Whoever writes to the order does, and nobody who only looks."""
        for double in self._untouched(self._doubles().pop(crm_order_id, [])):
            with suppress(NotFound):
                self._call("DELETE", f"{SALE}/{double}")

    # --- what a sale is made of ------------------------------------------------------------------------------------

    def _values(self, external_id: str, order: Mapping[str, Any]) -> dict[str, Any]:
        lines = self._lines(order["lines"])
        party = self._party(external_id, order)  # last: nobody is made for an order that cannot be
        date = order["sale_date"] and datetime.fromisoformat(order["sale_date"])
        return {
            "party": party,
            "company": self._company(),
            "currency": self._one("currency.currency", "code", order["currency"], "currency"),
            "description": order["description"],
            "comment": order["comment"],
            "sale_date": date and {"__class__": "date", "year": date.year, "month": date.month, "day": date.day},
            **self._addresses(party, order),
            **self._mapped(order),
            "reference": marked(external_id),
            "lines": [["create", lines]] if lines else [],
        }

    def _party(self, external_id: str, order: Mapping[str, Any]) -> int:
        """The customer: by e-mail, phone or VAT number, by the code that we would give her, or made anew with it."""
        wanted = order["party"]
        for kind in ("email", "phone", "vat_number"):
            if not wanted[kind]:
                continue
            picked = chosen(self.access, CUSTOMER, wanted[kind])
            if picked == NEW:
                break
            if picked and is_number(picked) and self._search("party.party", [["id", "=", int(picked)]], ("id",)):
                return int(picked)
            rows = self._search("party.party", [having(kind, wanted[kind])], PARTY, limit=MOST_CANDIDATES)
            if len(rows) > 1:
                sales = self._sales_of([row["id"] for row in rows])
                several = [candidate(row, sales[row["id"]]) for row in rows]
                raise SeveralFit(CUSTOMER, wanted[kind], several, may_create=True)
            if rows:
                return int(rows[0]["id"])
        prefix = external_id.rstrip("0123456789")
        code = marked(f"{prefix}{wanted['code']}")
        return self._party_of_code(code) or self._new_party(code, wanted)

    def _sales_of(self, parties: Sequence[int]) -> Counter[int]:
        rows = self._search(SALE, [["party", "in", list(parties)]], ("party",), limit=MOST_SALES)
        return Counter(row["party"] for row in rows)

    def _party_of_code(self, code: str) -> int | None:
        rows = self._search("party.party", [["code", "=", code]], ("id",), limit=1)
        return int(rows[0]["id"]) if rows else None

    def _new_party(self, code: str, wanted: Mapping[str, str]) -> int:
        ways = [{"type": kind, "value": wanted[kind]} for kind in ("email", "phone") if wanted[kind]]
        values: dict[str, Any] = {"name": wanted["name"], "code": code, "contact_mechanisms": [["create", ways]]}
        if not ways:
            del values["contact_mechanisms"]
        if wanted["vat_number"]:  # of no type: Tryton would refuse one of its types that is not right
            values["identifiers"] = [["create", [{"type": None, "code": wanted["vat_number"]}]]]
        try:
            return int(self._call("POST", "party.party", fields=("id",), json=values)["id"])
        except Rejected as error:
            if NOT_UNIQUE not in error.message:
                raise
            if there := self._party_of_code(code):
                return there  # somebody made it a moment ago
            words = f"The order's customer is the party {code} in Tryton, which somebody made inactive there."
            advice = "Make it active again, or take its code away, then replay."
            raise Rejected(words, advice=advice, side="crm", about_order=True) from error

    def _addresses(self, party: int, order: Mapping[str, Any]) -> dict[str, int]:
        """Those of the party that are the order's; one that it does not have yet is added, and none is overwritten."""
        fields = ("party_name", "street", "postal_code", "city", "country.code")
        rows = self._search("party.address", [["party", "=", party]], fields)
        known = {address_key(row): int(row["id"]) for row in rows}
        used: dict[str, int] = {}
        countries = self._all("country.country", "code")
        for kind in ("invoice_address", "shipment_address"):
            wanted = order[kind]
            if wanted["country"] not in countries:  # it may be the shop's own, and nobody shall lose it
                city = ", ".join(filter(None, (wanted["city"], wanted["country"])))
                wanted = {**wanted, "city": city, "country": ""}
            key = tuple(wanted.values())
            if key not in known:
                values = {**wanted, "country": countries.get(wanted["country"]), "party": party}
                known[key] = int(self._call("POST", "party.address", fields=("id",), json=values)["id"])
            used[kind] = known[key]
        return used

    def _lines(self, lines: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        codes = sorted({one["code"] for one in lines if one["code"]})
        asked = ([["code", "in", list(some)]] for some in in_parts(codes, ASKED))
        rows = (row for domain in asked for row in self._search("product.product", domain, ("code", "sale_uom")))
        units = {row["code"]: (row["id"], row["sale_uom"]) for row in rows if row["sale_uom"]}
        made = []
        for one in lines:
            product, unit = units.get(one["code"], (None, None))
            line = {
                "type": "line",
                "note": one["note"],
                "description": one["description"],
                "quantity": float(one["quantity"]),
                "unit_price": {"__class__": "Decimal", "decimal": one["unit_price"]},
                "taxes": [["add", [self._tax(rate) for rate in one["rates"]]]],
            }
            made.append({**line, "product": product, "unit": unit} if product else line)
        return made

    def _changed_lines(self, there: Sequence[Mapping[str, Any]], wanted: Sequence[Mapping[str, Any]]) -> list[Any]:
        """What makes our lines those of the shop; lines that people of the CRM added stay."""
        ours = {one["note"]: one for one in there if str(one["note"] or "").startswith("WooCommerce ")}
        same = {one["note"] for one in wanted if one["note"] in ours and self._is_same(ours[one["note"]], one)}
        gone = [one["id"] for note, one in ours.items() if note not in same]
        new = self._lines([one for one in wanted if one["note"] not in same])
        return [["delete", gone]] * bool(gone) + [["create", new]] * bool(new)

    def _is_same(self, there: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
        return (
            there["description"] == wanted["description"]
            and Decimal(str(there["quantity"])) == Decimal(wanted["quantity"])
            and decimal(there["unit_price"]) == Decimal(wanted["unit_price"])
            and sorted(there["taxes"]) == sorted(self._tax(rate) for rate in wanted["rates"])
        )

    # --- ids of Tryton's own ---------------------------------------------------------------------------------------

    def _tax(self, rate: str) -> int:
        rows = self.ids.get("taxes", self._taxes)
        if Decimal(rate) / 100 not in rows:
            self.ids.forget("taxes")
            words = f"Tryton has no tax of {rate} % that is a percentage and active."
            raise Rejected(words, advice="Make it there, then replay.", side="crm", about_order=True)
        return int(rows[Decimal(rate) / 100])

    def _taxes(self) -> dict[Decimal, int]:
        """The first of each rate, of those that stand by themselves."""
        fields = ("rate", "type", "parent", "company")
        rows = self._search("account.tax", [["active", "=", True], ["company", "=", self._company()]], fields)
        alone = [row for row in rows if row["type"] == "percentage" and not row["parent"]]
        return {decimal(row["rate"]): row["id"] for row in sorted(alone, key=lambda row: -row["id"])}

    def _company(self) -> int:
        name = self.access["company"]
        companies = self._all("company.company", "party.name")
        if name not in companies and (name or len(companies) != 1):
            known = ", ".join(sorted(companies))
            words = f"Tryton holds the companies {known}, and the setting company is {name!r}."
            advice = "Set it to one of them (CRM_COMPANY)."
            raise NotConfigured(words, advice=advice, side="crm", about_order=False)
        return companies[name] if name else next(iter(companies.values()))

    def _one(self, model: str, field: str, value: str, what: str) -> int:
        known = self._all(model, field)
        if value not in known:
            self.ids.forget(model)
            raise Rejected(f"Tryton has no {what} {value!r}. Add it there, then replay.", side="crm", about_order=True)
        return known[value]

    def _all(self, model: str, field: str) -> dict[str, int]:
        """The ids of a small model by the value of a field, kept for a while."""

        def read() -> dict[str, int]:
            return {str(inner(row, field)): int(row["id"]) for row in self._search(model, [], (field,))}

        known: dict[str, int] = self.ids.get(model, read)
        return known

    # --- calls -----------------------------------------------------------------------------------------------------

    def _search(
        self, model: str, domain: list[Any], fields: Sequence[str], *, order: Any = None, limit: int | None = None
    ) -> list[dict[str, Any]]:
        params = {
            "d": packed(domain),
            **({"o": packed(order)} if order else {}),
            **({"s": str(limit)} if limit else {}),
        }
        try:
            found = self._call("GET", model, fields=fields, params=params)
        except NotFound as error:
            words = f"{error}. Does CRM_URL end with the name of Tryton's database?"
            raise Blocked(words, side="crm", status=error.status) from error
        if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
            raise Blocked(f"Tryton's answer is not a list of {model}.", side="crm")
        return found

    def _call(self, method: str, path: str, *, fields: Sequence[str] = (), **request: Any) -> Any:
        asked = "".join(f"{'&' if place else '?'}f={name}" for place, name in enumerate(fields))
        return self.client.request(method, f"/rest/model/{path}{asked}", **request).data
