"""The records of one kind: kept unique, validated, and searched in an index that lags behind them."""

import time
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sync.sandbox.crms.hubspot import catalog
from sync.sandbox.server import Answer, HttpError

SEARCHED = 10_000
"""Results of one search, at most."""


@dataclass
class Record:
    id: str
    properties: dict[str, str]
    created: str
    updated: str
    links: dict[str, list[str]] = field(default_factory=dict)
    "Ids by kind."
    indexed: list[tuple[float, dict[str, str], str]] = field(default_factory=list)
    "What the search shows of it, and from when on."

    def shown(self, wanted: list[str] | None = None, *, whole: bool = True) -> dict[str, Any]:
        names = [*(self.properties if wanted is None else wanted), *catalog.OF_ALL[:2]]
        return _row(self, {name: self.properties.get(name) for name in names} if whole else {}, self.updated)


def _row(record: Record, properties: Mapping[str, Any], updated: str) -> dict[str, Any]:
    of_it = {"id": record.id, "createdAt": record.created, "updatedAt": updated, "archived": False}
    return {**of_it, "properties": dict(properties)}


class Records:
    def __init__(self, kind: str, stamp: Callable[[], str], next_id: Callable[[], str]) -> None:
        self.kind, self.stamp, self.next_id = kind, stamp, next_id
        self.definitions = catalog.properties(kind)
        self.pipelines: list[dict[str, Any]] = []
        self.all: dict[str, Record] = {}
        self.index_lag = 0.0

    # --- writing -----------------------------------------------------------------------------------------------

    def add(self, properties: Mapping[str, str]) -> Record:
        told = self._checked(properties, None)
        at, number = self.stamp(), self.next_id()
        record = Record(number, {**told, "hs_object_id": number, "createdate": at, "hs_lastmodifieddate": at}, at, at)
        self.all[number] = record
        self._index(record)
        return record

    def change(self, record: Record, properties: Mapping[str, str]) -> Record:
        told = self._checked(properties, record)
        record.updated = self.stamp()
        record.properties |= {**told, "hs_lastmodifieddate": record.updated}
        self._index(record)
        return record

    def define(self, definition: Mapping[str, Any]) -> dict[str, Any]:
        name = str(definition["name"])
        if name in self.definitions:
            raise refusal(409, "CONFLICT", f"A property named '{name}' already exists.")
        made = catalog.definition(self.kind, name, str(definition["type"]))
        self.definitions[name] = {**made, **definition}
        return self.definitions[name]

    def _index(self, record: Record) -> None:
        record.indexed.append((time.monotonic() + self.index_lag, deepcopy(record.properties), record.updated))

    def _checked(self, properties: Mapping[str, str], record: Record | None) -> dict[str, str]:
        """HubSpot names the property in the context of the error, and again in JSON within its message."""
        for name, value in properties.items():
            rules = self.definitions.get(name)
            if rules is None:
                raise invalid(name, "PROPERTY_DOESNT_EXIST", f'Property "{name}" does not exist')
            if rules["modificationMetadata"]["readOnlyValue"]:
                raise invalid(name, "READ_ONLY_VALUE", f'"{name}" is a read only property')
            if value and rules["type"] == "number" and not _is_number(value):
                raise invalid(name, "INVALID_NUMBER", f'"{value}" was not a valid number.')
            if len(value) > 65_536:
                raise invalid(name, "PROPERTY_TOO_LONG", "The value is longer than 65536 characters.")
            if name == "email" and value and "@" not in value:
                raise invalid(name, "INVALID_EMAIL", f"Email address {value} is invalid")
            if value and rules["hasUniqueValue"] and (there := self.by(name, value)) and there is not record:
                raise conflict(self.kind, name, value, there)
        stage = catalog.STAGE.get(self.kind, "")
        if stage in properties and properties[stage] not in self._stages(properties, record):
            words = f"{properties[stage]} was not one of the allowed options"
            raise invalid(stage, "INVALID_OPTION", words)
        return {name: str(value) for name, value in properties.items()}

    def _stages(self, properties: Mapping[str, str], record: Record | None) -> set[str]:
        name = catalog.PIPELINE[self.kind]
        now = properties.get(name) or (record.properties.get(name) if record else "")
        return {stage["id"] for one in self.pipelines if one["id"] == now for stage in one["stages"]}

    # --- reading -----------------------------------------------------------------------------------------------

    def by(self, name: str, value: str) -> Record | None:
        """By a unique property; that of contacts without regard to case, and also by their other addresses."""
        if name and not self.definitions.get(name, {}).get("hasUniqueValue"):
            words = f"Property '{name}' does not exist or is not unique, and cannot be the idProperty"
            raise refusal(400, "VALIDATION_ERROR", words, propertyName=[name])
        if not name:
            return self.all.get(value)
        if name == "email":
            return next((one for one in self.all.values() if value.lower() in _emails(one)), None)
        return next((one for one in self.all.values() if one.properties.get(name) == value), None)

    def search(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        limit, after = int(asked["limit"]), int(asked["after"] or 0)
        if limit > 200 or after + limit > SEARCHED:
            raise refusal(400, "VALIDATION_ERROR", f"A search shows {SEARCHED} results, 200 on a page.")
        groups = [group["filters"] for group in asked["filterGroups"]]
        found = [(record, *shown) for record in self.all.values() if (shown := _indexed(record))]
        found = [one for one in found if any(all(_fits(one[1], rule) for rule in rules) for rules in groups)]
        for name in reversed(asked["sorts"]):
            found.sort(key=lambda one: _number(one[1].get(name)))
        wanted = [*asked["properties"], *catalog.OF_ALL[:2]]
        page = found[after : after + limit]
        results = [_row(record, {name: shown.get(name) for name in wanted}, at) for record, shown, at in page]
        more = {"paging": {"next": {"after": str(after + limit)}}} if len(found) > after + limit else {}
        return {"total": len(found), "results": results, **more}


def _indexed(record: Record) -> tuple[dict[str, str], str] | None:
    now = time.monotonic()
    known = [(shown, at) for moment, shown, at in record.indexed if moment <= now]
    return known[-1] if known else None


def _fits(shown: Mapping[str, str], rule: Mapping[str, Any]) -> bool:
    value = shown.get(rule["propertyName"]) or ""
    match rule["operator"]:
        case "HAS_PROPERTY":
            return bool(value)
        case "EQ":
            return value == rule["value"] or _number(value) == _number(rule["value"]) != -1
        case "IN":
            return value in rule["values"]
        case "GTE":
            return _number(value) >= _number(rule["value"])
        case "GT":
            return _number(value) > _number(rule["value"])
        case operator:
            raise refusal(400, "VALIDATION_ERROR", f"{operator} is not known here")


def _number(text: str | None) -> float:
    """Of a time its milliseconds: that is how a search compares it."""
    try:
        return float(text or "")
    except ValueError:
        pass
    try:
        return round(datetime.fromisoformat(str(text)).astimezone(UTC).timestamp() * 1000)
    except ValueError:
        return -1


def _is_number(text: str) -> bool:
    try:
        return float(text) == float(text)
    except ValueError:
        return False


def _emails(record: Record) -> list[str]:
    others = record.properties.get("hs_additional_emails", "").split(";")
    return [one.lower() for one in (record.properties.get("email", ""), *others) if one]


# --- errors --------------------------------------------------------------------------------------------------------


def refusal(status: int, category: str, words: str, **context: list[str]) -> HttpError:
    body = {"status": "error", "message": words, "correlationId": "00000000-0000-0000-0000-000000000000"}
    errors = [{"message": words, "context": context}] if context else []
    return HttpError(Answer(status, {**body, "category": category, **({"errors": errors} if errors else {})}))


def invalid(name: str, code: str, words: str) -> HttpError:
    told = f'Property values were not valid: [{{"isValid":false,"message":"{words}","error":"{code}","name":"{name}"}}]'
    error = refusal(400, "VALIDATION_ERROR", told, propertyName=[name])
    error.answer.content["errors"][0]["code"] = code
    return error


def conflict(kind: str, name: str, value: str, there: Record) -> HttpError:
    """Of contacts it is a 409 of its own; of a property that somebody made unique, a 400."""
    if kind == "contacts" and name == "email":
        return refusal(409, "CONFLICT", f"Contact already exists. Existing ID: {there.id}")
    return invalid(name, "CONFLICTING_UNIQUE_VALUE", f"{there.id} already has that value. {value}")
