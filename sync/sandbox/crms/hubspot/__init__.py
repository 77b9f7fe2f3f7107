"""HubSpot on loopback: its CRM API of version 2026-03, as the vendor's published OpenAPI and pages describe it.

Its search lags, two limits of calls can be used up, scopes can be missing, and so are the properties that we need,
until somebody makes them. `make hubspot-shapes` holds its answers against the OpenAPI.
"""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from datetime import timedelta
from typing import Any, ClassVar

from sync.sandbox.crms.base import Habits, Shown, StandIn
from sync.sandbox.crms.hubspot import catalog
from sync.sandbox.crms.hubspot.records import Record, Records, refusal
from sync.sandbox.faults import Fault
from sync.sandbox.server import Answer, Request

KEYS = {"orders": "woo_order_id", "deals": "woo_order_id", "line_items": "woo_line_id", "contacts": "woo_customer_id"}
LIMITS = {"TEN_SECONDLY_ROLLING": "ten_secondly_rolling", "DAILY": "daily", "SECONDLY": "secondly"}
SCOPES = {
    "orders": "crm.objects.orders",
    "deals": "crm.objects.deals",
    "contacts": "crm.objects.contacts",
    "line_items": "crm.objects.line_items",
    "products": "crm.objects.products",
}


class HubspotStandIn(StandIn):
    """`kind`: what orders are kept as. `is_prepared`: somebody made the properties. `left`: calls until a limit."""

    title = "HubSpot"
    statuses = ("Open", "Processed", "Shipped", "Delivered", "Cancelled")
    habits = Habits(
        usual={"Open": "Processed", "Processed": "Shipped", "Shipped": "Delivered"},
        detours=((0.06, frozenset({"Open", "Processed"}), "Cancelled"),),
        backwards=(frozenset({"Delivered", "Cancelled"}), "Processed"),
    )
    settings: ClassVar[Mapping[str, str]] = {"token": "pat-sandbox-service-key", "object": "orders"}

    rules: ClassVar[Mapping[str, str]] = catalog.rules()

    def __init__(
        self, port: int = 0, kind: str = "orders", *, is_prepared: bool = True, first_id: int = 54_000_000
    ) -> None:
        super().__init__(port)
        self.kind = kind
        self.token = self.settings["token"]
        self.missing_scopes: set[str] = set()
        self.left: dict[str, int] = {}
        self._ids = itertools.count(first_id)
        self._last = self.now()
        self.records = {one: Records(one, self._stamp, lambda: str(next(self._ids))) for one in SCOPES}
        for one, some in catalog.pipelines().items():
            self.records[one].pipelines = some
        for one, key in KEYS.items() if is_prepared else ():
            self.records[one].define({"name": key, "type": "string", "hasUniqueValue": True})

    @classmethod
    def sandboxed(cls, port: int, hooks: str, first_id: int) -> "HubspotStandIn":
        return cls(port, first_id=54_000_000 + first_id)

    # --- what people do there ----------------------------------------------------------------------------------

    @property
    def orders(self) -> Records:
        return self.records[self.kind]

    def shown(self) -> list[Shown]:
        with self.lock:
            return [self._shown(one) for one in self.orders.all.values()]

    def customers(self) -> list[str]:
        with self.lock:
            known = [one.properties.get("email", "") for one in self.records["contacts"].all.values()]
            return [one for one in known if one]

    def set_status(self, crm_order_id: str, status: str) -> Record:
        """The stage, by its label or as `pipeline/stage`."""
        with self.lock:
            record = self.orders.all[crm_order_id]
            for pipeline in self.orders.pipelines:
                for stage in pipeline["stages"]:
                    if status in (stage["label"], f"{pipeline['id']}/{stage['id']}") or status.endswith(stage["id"]):
                        self.tell(f"crm:  order {crm_order_id} → {stage['label']}")
                        names = catalog.PIPELINE[self.kind], catalog.STAGE[self.kind]
                        return self.orders.change(record, dict(zip(names, (pipeline["id"], stage["id"]), strict=True)))
            raise ValueError(f"there is no stage {status!r}")

    def index_lags(self, seconds: float) -> None:
        """What changes from now on is shown by a search that much later."""
        for records in self.records.values():
            records.index_lag = seconds

    def catch_up(self) -> None:
        """Searches show everything from now on."""
        with self.lock:
            for records in self.records.values():
                records.index_lag = 0.0
                for record in records.all.values():
                    record.indexed = [(0.0, shown, at) for _, shown, at in record.indexed]

    def _shown(self, record: Record) -> Shown:
        told = record.properties
        stages = {stage["id"]: stage["label"] for one in self.orders.pipelines for stage in one["stages"]}
        contacts = [self.records["contacts"].all[one] for one in record.links.get("contacts", [])]
        who = " ".join(contacts[0].properties.get(name, "") for name in ("firstname", "lastname")) if contacts else ""
        return Shown(
            crm_order_id=record.id,
            external_id=told.get(KEYS[self.kind], ""),
            status=stages.get(told.get(catalog.STAGE[self.kind], ""), "?"),
            customer=who,
            total=told.get("hs_total_price") or told.get("amount", ""),
            note=told.get("hs_order_note") or told.get("description", ""),
            changed=record.updated[:19].replace("T", " "),
        )

    def kept(self) -> dict[str, Any]:
        kinds = {one: [asdict(record) for record in some.all.values()] for one, some in self.records.items()}
        return {"next_id": next(self._ids), "records": kinds}

    def restore(self, kept: Mapping[str, Any]) -> None:
        self._ids = itertools.count(kept["next_id"])
        for kind, some in kept["records"].items():
            self.records[kind].all = {one["id"]: Record(**{**one, "indexed": []}) for one in some}
            for record in self.records[kind].all.values():
                record.indexed = [(0.0, dict(record.properties), record.updated)]

    def _stamp(self) -> str:
        """Milliseconds. No two are the same here, as hardly any are there."""
        now = self.now()
        self._last = max(now, self._last + timedelta(milliseconds=1))
        return f"{self._last:%Y-%m-%dT%H:%M:%S}.{self._last.microsecond // 1000:03d}Z"

    # --- REST --------------------------------------------------------------------------------------------------

    def handle(self, request: Request, fault: Fault | None) -> Answer:
        if request.headers.get("authorization") != f"Bearer {self.token}":
            raise refusal(401, "INVALID_AUTHENTICATION", "Authentication credentials not found.")
        with self.lock:
            self._count()
            match request.path.strip("/").split("/"):
                case ["crm", "objects", _, kind, *rest]:
                    return self._objects(request, self._of(kind, request), rest)
                case ["crm", "properties", _, kind]:
                    return self._properties(request, self._of(kind, request))
                case ["crm", "pipelines", _, kind]:
                    return Answer(200, {"results": self._of(kind, request).pipelines})
                case ["crm", "associations", _, kind, others, "batch", "associate", "default"]:
                    return self._associate(request, self._of(kind, request), self._of(others, request))
        raise refusal(404, "OBJECT_NOT_FOUND", "resource not found")

    def _count(self) -> None:
        """Until somebody says that a limit is over, each further call is refused."""
        for policy, left in self.left.items():
            if left <= 0:
                error = refusal(429, "RATE_LIMITS", f"You have reached your {LIMITS[policy]} limit.")
                error.answer.content |= {"errorType": "RATE_LIMIT", "policyName": policy}
                raise error
            self.left[policy] = left - 1

    def _of(self, kind: str, request: Request) -> Records:
        name = catalog.KINDS.get(kind, kind)
        if name not in self.records:
            raise refusal(404, "OBJECT_NOT_FOUND", f"Unable to infer object type from: {kind}")
        reads = request.method == "GET" or request.path.endswith(("/search", "/batch/read"))
        scope = SCOPES[name] if "/crm/properties" not in request.path else SCOPES[name].replace("objects", "schemas")
        scope = f"{scope}.{'read' if reads else 'write'}"
        if scope in self.missing_scopes:
            words = "This app hasn't been granted all required scopes to make this call."
            raise refusal(403, "MISSING_SCOPES", words, requiredGranularScopes=[scope])
        return self.records[name]

    def _objects(self, request: Request, kind: Records, rest: list[str]) -> Answer:
        match request.method, rest:
            case "GET", []:
                return Answer(200, {"results": [one.shown() for one in itertools.islice(kind.all.values(), 10)]})
            case "POST", []:
                return Answer(201, self._create(kind, request.json()))
            case "POST", ["search"]:
                return Answer(200, kind.search(request.json()))
            case "POST", ["batch", "read"]:
                return self._batch(self._read(kind, request.json()))
            case "POST", ["batch", "upsert"]:
                return self._batch(self._upsert(kind, request.json()["inputs"]))
            case "POST", ["batch", "archive"]:
                for one in request.json()["inputs"]:
                    kind.all.pop(one["id"], None)
                return Answer(204, b"")
            case "GET", [number]:
                return Answer(200, self._shown_with(kind, self._known(kind, number), request.query))
            case "PATCH", [number]:
                changed = request.json()["properties"]
                return Answer(200, kind.change(self._known(kind, number), changed).shown([*changed]))
        raise refusal(405, "INVALID_METHOD", "Method Not Allowed")

    @staticmethod
    def _known(kind: Records, number: str) -> Record:
        if number not in kind.all:
            raise refusal(404, "OBJECT_NOT_FOUND", "resource not found")
        return kind.all[number]

    @staticmethod
    def _shown_with(kind: Records, record: Record, query: Mapping[str, str]) -> dict[str, Any]:
        shown = record.shown(query.get("properties", "").split(","))
        wanted = query.get("associations", "")
        if linked := record.links.get(wanted):
            name, types = wanted.replace("_", " "), f"{kind.kind[:-1]}_to_{wanted[:-1]}"
            shown["associations"] = {name: {"results": [{"id": one, "type": types} for one in linked]}}
        return shown

    def _create(self, kind: Records, asked: Mapping[str, Any]) -> dict[str, Any]:
        """With its associations, or not at all."""
        numbers = {507: "contacts", 513: "line_items", 3: "contacts", 19: "line_items"}
        links: dict[str, list[str]] = {}
        for one in asked["associations"]:
            others = numbers[one["types"][0]["associationTypeId"]]
            if one["to"]["id"] not in self.records[others].all:
                raise refusal(400, "VALIDATION_ERROR", f"{one['to']['id']} is not a valid object to associate")
            links.setdefault(others, []).append(one["to"]["id"])
        record = kind.add(asked["properties"])
        record.links = links
        if kind is self.orders:
            self.tell(f"crm:  order {record.id} created ({asked['properties'].get(KEYS[self.kind], '?')})")
        return record.shown([*asked["properties"]])

    @staticmethod
    def _read(kind: Records, asked: Mapping[str, Any]) -> Iterator[dict[str, Any] | str]:
        for one in asked["inputs"]:
            record = kind.by(asked.get("idProperty", ""), one["id"])
            yield record.shown(asked["properties"]) if record else str(one["id"])

    @staticmethod
    def _upsert(kind: Records, inputs: list[dict[str, Any]]) -> Iterator[dict[str, Any] | str]:
        for one in inputs:
            there = kind.by(one["idProperty"], one["id"])
            told = {**one["properties"], one["idProperty"]: one["id"]}
            record = kind.change(there, told) if there else kind.add(told)
            yield {**record.shown([*told]), "new": there is None}

    def _batch(self, made: Iterator[dict[str, Any] | str]) -> Answer:
        """With what is missing it is a 207, which names it."""
        found = [*made]
        results = [one for one in found if isinstance(one, dict)]
        missing = [one for one in found if isinstance(one, str)]
        at = self._stamp()
        body: dict[str, Any] = {"status": "COMPLETE", "results": results, "startedAt": at, "completedAt": at}
        if missing:
            words = "Could not get some objects, they may be deleted or not exist. Check that ids are valid."
            error = {"status": "error", "category": "OBJECT_NOT_FOUND", "message": words, "context": {"ids": missing}}
            body |= {"numErrors": 1, "errors": [{**error, "errors": [], "links": {}}]}
        return Answer(207 if missing else 200, body)

    @staticmethod
    def _properties(request: Request, kind: Records) -> Answer:
        if request.method == "POST":
            return Answer(201, kind.define(request.json()))
        return Answer(200, {"results": [*kind.definitions.values()]})

    def _associate(self, request: Request, kind: Records, others: Records) -> Answer:
        made = []
        for one in request.json()["inputs"]:
            linked = self._known(kind, one["from"]["id"]).links.setdefault(others.kind, [])
            number = self._known(others, one["to"]["id"]).id
            linked += [] if number in linked else [number]
            spec = {"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": 513}
            made.append({"from": one["from"], "to": one["to"], "associationSpec": spec})
        at = self._stamp()
        return Answer(200, {"status": "COMPLETE", "results": made, "startedAt": at, "completedAt": at})
