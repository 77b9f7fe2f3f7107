"""HubSpot: an order is an order, or a deal, with its contact and line items. A service key; no webhooks are needed.

HubSpot keeps our names of orders and lines unique and reads by them from its store, so nothing is concluded from its
search, which lags. docs/crms/hubspot.md tells its people what to do; docs/decisions/0112 says why lines have keys.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from sync.clients.crm.base import Access, Field, Status, Traits, marked, unmarked
from sync.clients.crm.cache import Cache
from sync.clients.crm.hubspot import preparing
from sync.clients.crm.hubspot.api import PAGE, Api, Row, association, objects
from sync.clients.crm.hubspot.contacts import Contacts
from sync.clients.crm.hubspot.document import compose
from sync.clients.crm.hubspot.events import HOOKS
from sync.clients.crm.hubspot.lines import LineItems
from sync.clients.crm.hubspot.words import (
    CONFLICT,
    ID,
    MODIFIED,
    OBJECTS,
    ORDER_KEY,
    Words,
    path_of,
    snapshot,
    status_of,
)
from sync.clients.crm.schema import SettingField
from sync.clients.errors import NotConfigured, Odd, Rejected
from sync.clients.http import readable
from sync.clients.limits import Limit
from sync.clients.paging import batches, pages
from sync.clients.snapshots import Composer, CrmSnapshot
from webhooks.moments import utc
from webhooks.texts import is_number

KINDS = {"number": "number", "date": "date", "datetime": "date", "enumeration": "choice", "bool": "yes_no"}
LONGEST_TEXT = 65_536
LIMITS = {
    "properties.*": Limit(LONGEST_TEXT, what="a text of the order"),
    "contact.properties.*": Limit(LONGEST_TEXT, what="a text of the contact"),
    "lines.*.properties.*": Limit(LONGEST_TEXT, what="a text of a line"),
}
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
Place = tuple[int, str]
"""Of the list of changes: a time in milliseconds; and of the records that have just that time, the last one read."""


class HubspotCrm:
    title = "HubSpot"
    schema = (
        SettingField(
            name="url",
            label="Address",
            help="Of HubSpot's API. It is the same for all",
            default="https://api.hubapi.com",
        ),
        SettingField(
            name="token",
            label="Service key",
            help="In HubSpot: Development → Keys → Service keys. docs/crms/hubspot.md lists the scopes that it needs",
            secret=True,
        ),
        SettingField(
            name="object",
            label="An order becomes",
            help="Orders, or deals if your plan has no orders or your people work with deals",
            default="orders",
            choices=tuple(OBJECTS),
        ),
        SettingField(
            name="pipeline",
            label="Pipeline",
            help="In which new orders begin: its name or its id. Empty: the first one",
            required=False,
        ),
        SettingField(
            name="portal",
            label="Hub ID",
            help="The number of the account, at the top right in HubSpot. Our pages then lead to its records",
            required=False,
        ),
        SettingField(
            name="webhook_secrets",
            label="Client secret",
            help="Only if an app of yours in HubSpot sends us webhooks, which it signs with this",
            secret=True,
            required=False,
        ),
        SettingField(
            name="time_zone",
            label="Time zone",
            help="Of the account, as in Europe/Berlin: at midnight there the daily limit of calls begins anew",
            required=False,
        ),
    )
    # An event tells when a property changed, which is some milliseconds before the record did. And few have events.
    traits = Traits(unique="enforced", updated_at="seconds", hooks="none")
    hooks = HOOKS
    default_statuses = ()

    def __init__(self, access: Access) -> None:
        self.access, self.words = access, words_of(access)
        self.api = Api(access)
        self.ids = Cache.of(access)
        self.contacts = Contacts(self.api, access)
        self.lines = LineItems(self.api, self.words, self.ids)

    @classmethod
    def composer(cls, access: Access) -> Composer:
        words = words_of(access)
        return Composer(version="hubspot1", compose=lambda order: compose(order, words), limits=LIMITS)

    def statuses(self) -> list[Status]:
        """The stages of every pipeline, since people may move an order to another one."""
        return [
            Status(name=status_of(str(one["id"]), str(stage["id"])), label=f"{one['label']}: {stage['label']}")
            for one in self.api.pipelines(self.words.type_id)
            for stage in _in_order(one["stages"])
        ]

    def fields(self) -> list[Field]:
        rows = [one for one in self.api.properties(self.words.type_id) if not one.get("hidden")]
        return [_field(one) for one in rows if one["name"] != ORDER_KEY]

    def url_of(self, crm_order_id: str) -> str:
        portal = self.access["portal"]
        path = f"contacts/{portal}/record/{self.words.type_id}/{crm_order_id}"
        return f"https://app.hubspot.com/{path}" if portal else ""

    def makes(self) -> Collection[Literal["customer", "product"]]:
        return ["customer"]

    def ping(self) -> None:
        self.api.get(objects(self.words.path), limit="1")

    def lacks(self) -> list[tuple[str, str]]:
        return list(preparing.lacking(self.api, self.words, self._composed()))

    def prepare(self) -> list[str]:
        return list(preparing.prepare(self.api, self.words, self._composed()))

    # --- reading ---------------------------------------------------------------------------------------------------

    def get(self, crm_order_id: str) -> CrmSnapshot:
        return self._snapshot(self._read(crm_order_id))

    def find(self, external_id: str) -> CrmSnapshot | None:
        found = [self._snapshot(row) for row in self._named([external_id])]
        return next((one for one in found if one.external_id == external_id), None)

    def get_many(self, crm_order_ids: Sequence[str]) -> dict[str, CrmSnapshot]:
        def fetch(some: Sequence[str]) -> list[CrmSnapshot]:
            return readable(self.api.read(self.words.path, some, self.words.shown), self._snapshot, side="crm")

        ids = [one for one in dict.fromkeys(crm_order_ids) if is_number(one)]
        found = batches.of(self.access["url"], f"{self.words.path} ids").read(ids, fetch, self.ping)
        return {one.crm_order_id: one for one in found if one.crm_order_id in ids}

    def find_many(self, external_ids: Sequence[str]) -> dict[str, CrmSnapshot | None]:
        def fetch(some: Sequence[str]) -> list[CrmSnapshot]:
            return readable(self._named(some), self._snapshot, side="crm")

        names = list(dict.fromkeys(external_ids))
        found = batches.of(self.access["url"], f"{self.words.path} names").read(names, fetch, self.ping)
        shown = {one.external_id: one for one in found if one.external_id in names}
        return {name: shown.get(name) for name in names} if shown else {}

    def changed_since(self, since: datetime) -> Iterator[CrmSnapshot]:
        """By key-set, since a search shows 10 000 records at most, and sorts by one property. Those of one moment are
        read by their ids where a page does not hold them."""

        def fetch(place: Place) -> tuple[list[Row], Place | None]:
            at, last = place
            if last:
                rows = self._changes([(MODIFIED, "EQ", str(at)), (ID, "GT", last)], ID)
                return rows, (at, str(rows[-1]["id"])) if len(rows) == PAGE else (at + 1, "")
            rows = self._changes([(MODIFIED, "GTE", str(at))], MODIFIED)
            if len(rows) < PAGE:
                return rows, None
            latest = _milliseconds(rows[-1])
            if latest == at:
                return [], (at, "0")
            return [row for row in rows if _milliseconds(row) < latest], (latest, "")

        first = (int((since.astimezone(UTC) - EPOCH) / timedelta(milliseconds=1)), "")
        named = pages(fetch, first, side="crm", what="changes", name=lambda row: (row["id"], _milliseconds(row)))
        for page in named:
            yield from readable(page, self._snapshot, side="crm")

    # --- writing ---------------------------------------------------------------------------------------------------

    def create(self, external_id: str, order: Mapping[str, Any]) -> tuple[CrmSnapshot, bool]:
        """The order comes last, with all that belongs to it: it is never half. Its name is unique, so whoever comes
        second is told so, and takes the one that is there."""
        try:
            made = self.ids.anew(lambda: self._create(external_id, order))
        except Rejected as error:
            if error.code == CONFLICT and (there := self.find(external_id)):
                return there, False
            raise
        return self._whole(made), True

    def _create(self, external_id: str, order: Mapping[str, Any]) -> Row:
        name = marked(external_id)
        contact = self.contacts.of(order["contact"], external_id.rstrip("0123456789"))
        lines = self.lines.upsert(name, order["lines"])
        properties = {**order["properties"], **self._beginning(), **_mapped(order), ORDER_KEY: name}
        with_it = [association(contact, self.words.to_contact)] if contact else []
        with_it += [association(line, self.words.to_line) for line in lines]
        told = {one: value for one, value in properties.items() if value}
        return self.api.create(self.words.path, told, with_it)

    def update(self, crm_order_id: str, order: Mapping[str, Any]) -> CrmSnapshot:
        """The order itself comes last: its answer shows what became of it."""
        now = self._read(crm_order_id, associations=LINES_OF)
        name = unmarked(now["properties"].get(ORDER_KEY))
        if "lines" in order and name:
            linked = (now.get("associations") or {}).values()
            known = [str(one["id"]) for some in linked for one in some["results"]]
            self.lines.change(crm_order_id, marked(name), order["lines"], list(dict.fromkeys(known)))
        told = {**order["properties"], **_mapped(order)}
        return self._whole(self.api.change(self.words.path, crm_order_id, told))

    # --- parts -----------------------------------------------------------------------------------------------------

    def _read(self, crm_order_id: str, **more: str) -> Row:
        found = self.api.record(self.words.path, path_of(crm_order_id), self.words.shown, **more)
        if str(found.get("id")) != crm_order_id:
            words = f"HubSpot answered with record {found.get('id')}, not {crm_order_id}. Were the two merged there?"
            raise Rejected(words, advice="Then correct the link of this order by hand.", side="crm", about_order=True)
        return found

    def _named(self, external_ids: Sequence[str]) -> list[Row]:
        names = [marked(one) for one in external_ids]
        return self.api.read(self.words.path, names, self.words.shown, by=ORDER_KEY)

    def _changes(self, filters: list[tuple[str, str, str | list[str]]], sort: str) -> list[Row]:
        """Only of orders that are ours: the account may have many others."""
        return self.api.search(self.words.path, [[(ORDER_KEY, "HAS_PROPERTY", ""), *filters]], self.words.shown, sort)

    def _snapshot(self, row: Any) -> CrmSnapshot:
        return snapshot(row, self.words)

    def _whole(self, answer: Row) -> CrmSnapshot:
        """An answer to a write may show no more than what was written. The stage is somebody else's, so it is read."""
        shown = answer.get("properties") or {}
        return self._snapshot(answer) if all(name in shown for name in self.words.shown) else self.get(answer["id"])

    def _beginning(self) -> dict[str, str]:
        """The first stage of the pipeline in which new orders begin."""
        pipelines = self.ids.get("pipelines", lambda: _in_order(self.api.pipelines(self.words.type_id)))
        wanted = self.access["pipeline"].casefold()
        chosen = [one for one in pipelines if not wanted or wanted in (str(one["id"]), str(one["label"]).casefold())]
        stages = _in_order(chosen[0]["stages"]) if chosen else []
        if not stages:
            self.ids.forget("pipelines")
            known = ", ".join(str(one["label"]) for one in pipelines)
            words = f"HubSpot has no pipeline {self.access['pipeline']!r} with stages. It has: {known}."
            raise NotConfigured(words, advice="Correct the setting pipeline (CRM_PIPELINE).", side="crm")
        return {self.words.pipeline: str(chosen[0]["id"]), self.words.stage: str(stages[0]["id"])}

    def _composed(self) -> list[str]:
        return [*compose({}, self.words)["properties"], self.words.pipeline, self.words.stage]


LINES_OF = "line_items"


def words_of(access: Access) -> Words:
    """Raises NotConfigured."""
    chosen = access["object"] or "orders"
    if chosen not in OBJECTS:
        words = f"An order becomes one of {', '.join(OBJECTS)} in HubSpot, and not {chosen!r}."
        raise NotConfigured(words, advice="Correct the setting object (CRM_OBJECT).", side="crm")
    return OBJECTS[chosen]


def _mapped(order: Mapping[str, Any]) -> dict[str, str]:
    """What staff map to properties. HubSpot takes text, and an empty one empties. No map renames an order."""
    said = {True: "true", False: "false", None: ""}
    return {
        name: said[value] if isinstance(value, bool | None) else str(value)
        for name, value in order.get("fields", {}).items()
        if name != ORDER_KEY
    }


def _field(row: Row) -> Field:
    kind: Any = KINDS.get(str(row.get("type")), "text")
    rules = row.get("modificationMetadata") or {}
    return Field(
        name=str(row["name"]),
        label=str(row.get("label") or row["name"]),
        kind=kind,
        writable=not (row.get("calculated") or rules.get("readOnlyValue")),
        choices=tuple(str(one["value"]) for one in row.get("options") or () if not one.get("hidden")),
        longest=LONGEST_TEXT if kind == "text" else None,
    )


def _in_order(parts: list[Row]) -> list[Row]:
    return sorted((one for one in parts if not one.get("archived")), key=lambda one: one.get("displayOrder", 0))


def _milliseconds(row: Row) -> int:
    shown = (row.get("properties") or {}).get(MODIFIED) or row.get("updatedAt")
    try:
        return int((utc(str(shown)) - EPOCH) / timedelta(milliseconds=1))
    except ValueError as error:
        raise Odd("HubSpot lists a change without its time.", side="crm") from error
