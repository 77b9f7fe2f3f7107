"""HubSpot's CRM API: records of any kind, by batches where there are some, and their search."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from sync.clients.crm.base import Access
from sync.clients.crm.hubspot.words import judge, refused, zone_of
from sync.clients.errors import Blocked
from sync.clients.http import Answer
from sync.clients.paging import in_parts

VERSION = "2026-03"
BATCH = 100
PAGE = 200
Row = dict[str, Any]
Filter = tuple[str, str, str | list[str]]
"""Property, operator, value."""


class Api:
    def __init__(self, access: Access) -> None:
        headers = {"Authorization": f"Bearer {access['token']}"}
        said = partial(judge, zone=zone_of(access["time_zone"]))
        self.client = access.client(headers=headers, judge=said)

    def get(self, path: str, **params: str) -> Any:
        return self.client.request("GET", path, params=params).data

    def record(self, kind: str, record_id: str, properties: Sequence[str], **params: str) -> Row:
        found = self.get(objects(f"{kind}/{record_id}"), properties=",".join(properties), **params)
        if not isinstance(found, dict):
            raise Blocked(f"HubSpot's answer is no record of {kind}.", side="crm")
        return found

    def create(self, kind: str, properties: Mapping[str, str], associations: Sequence[Row] = ()) -> Row:
        body = {"properties": dict(properties), "associations": list(associations)}
        return self._one(self.client.request("POST", objects(kind), json=body).data, kind)

    def change(self, kind: str, record_id: str, properties: Mapping[str, str]) -> Row:
        body = {"properties": dict(properties)}
        return self._one(self.client.request("PATCH", objects(f"{kind}/{record_id}"), json=body).data, kind)

    def read(self, kind: str, ids: Sequence[str], properties: Sequence[str], by: str = "") -> list[Row]:
        """Those of these that are there, from the store itself: a search lags behind it. `by`: a unique property."""
        found: list[Row] = []
        for some in in_parts(ids, BATCH):
            body = {"inputs": [{"id": one} for one in some], "properties": list(properties)}
            body |= {"propertiesWithHistory": [], **({"idProperty": by} if by else {})}
            answer = self.client.request("POST", objects(f"{kind}/batch/read"), json=body, write=False)
            found += rows(answer.data)
        return found

    def upsert(self, kind: str, wanted: Mapping[str, Mapping[str, str]], by: str) -> list[Row]:
        """Each is made or changed, by its value of that unique property."""
        made: list[Row] = []
        for some in in_parts([*wanted], BATCH):
            inputs = [{"id": key, "idProperty": by, "properties": {**wanted[key], by: key}} for key in some]
            answer = self.client.request("POST", objects(f"{kind}/batch/upsert"), json={"inputs": inputs})
            made += rows(answer.data)
            _ensure_whole(answer)
        if len(made) != len(wanted):
            raise Blocked(f"HubSpot answered {len(made)} of {len(wanted)} {kind} that it was sent.", side="crm")
        return made

    def archive(self, kind: str, ids: Sequence[str]) -> None:
        for some in in_parts(ids, BATCH):
            body = {"inputs": [{"id": one} for one in some]}
            _ensure_whole(self.client.request("POST", objects(f"{kind}/batch/archive"), json=body))

    def associate(self, kind: str, record_id: str, others: str, ids: Sequence[str]) -> None:
        path = f"/crm/associations/{VERSION}/{kind}/{others}/batch/associate/default"
        for some in in_parts(ids, BATCH):
            body = {"inputs": [{"from": {"id": record_id}, "to": {"id": one}} for one in some]}
            _ensure_whole(self.client.request("POST", path, json=body))

    def search(self, kind: str, any_of: Sequence[Sequence[Filter]], properties: Sequence[str], sort: str) -> list[Row]:
        """One page, from an index that lags: that something is not in it says nothing."""
        body = {
            "filterGroups": [{"filters": [_filter(*one) for one in group]} for group in any_of],
            "properties": list(properties),
            "sorts": [sort],
            "limit": PAGE,
            "after": "0",
        }
        return rows(self.client.request("POST", objects(f"{kind}/search"), json=body, write=False).data)

    def properties(self, kind: str) -> list[Row]:
        return rows(self.get(f"/crm/properties/{VERSION}/{kind}"))

    def new_property(self, kind: str, definition: Mapping[str, Any]) -> None:
        self.client.request("POST", f"/crm/properties/{VERSION}/{kind}", json=definition)

    def pipelines(self, kind: str) -> list[Row]:
        return rows(self.get(f"/crm/pipelines/{VERSION}/{kind}"))

    @staticmethod
    def _one(answer: Any, kind: str) -> Row:
        if not isinstance(answer, dict) or not isinstance(answer.get("id"), str):
            raise Blocked(f"HubSpot's answer is no record of {kind}.", side="crm")
        return answer


def objects(path: str) -> str:
    return f"/crm/objects/{VERSION}/{path}"


def association(record_id: str, number: int) -> Row:
    """Of a new record with this one, by the number of one of HubSpot's own associations."""
    types = [{"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": number}]
    return {"to": {"id": record_id}, "types": types}


def rows(answer: Any) -> list[Row]:
    found = answer.get("results") if isinstance(answer, dict) else None
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise Blocked("HubSpot's answer is not a list.", side="crm")
    return found


def _ensure_whole(answer: Answer) -> None:
    """A batch that was made in part is a success (207), and names the rest."""
    errors = answer.data.get("errors") if isinstance(answer.data, dict) else None
    if errors:
        raise refused(errors, answer.status)


def _filter(name: str, operator: str, value: str | list[str]) -> Row:
    said = {"values": value} if isinstance(value, list) else {"value": value} if value else {}
    return {"propertyName": name, "operator": operator, **said}
