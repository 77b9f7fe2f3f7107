"""The default CRM: a plain JSON API (CONTRACT section 3)."""

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Self
from urllib.parse import quote

from django.conf import settings

from sync.errors import Blocked, NotConfigured, Rejected
from sync.http import CallRecord, JsonClient
from sync.snapshots import CrmSnapshot

PAGE = 100


class RestCrm:
    """Speaks the `rest` format. Ids are strings, times RFC 3339 in UTC, versions integers that grow."""

    def __init__(self, client: JsonClient) -> None:
        self.client = client

    @classmethod
    def from_settings(cls, on_call: Callable[[CallRecord], None], before_call: Callable[[], None]) -> Self:
        if not settings.CRM_URL:
            raise NotConfigured("CRM_URL is not set. Put it into .env.", side="crm")
        headers = {"Authorization": f"Bearer {settings.CRM_TOKEN}"}
        return cls(JsonClient("crm", settings.CRM_URL, headers=headers, on_call=on_call, before_call=before_call))

    def create(self, external_id: str, order: Mapping[str, Any]) -> tuple[CrmSnapshot, bool]:
        answer = self.client.request(
            "POST",
            "/orders",
            json={"external_id": external_id, "order": dict(order)},
            headers={"Idempotency-Key": f"woo-{external_id}"},
        )
        return snapshot(answer.data), answer.status == 201

    def get(self, crm_order_id: str) -> CrmSnapshot:
        found = snapshot(self.client.request("GET", _path(crm_order_id)).data)
        if found.crm_order_id != crm_order_id:
            raise Blocked(f"The CRM answered with order {found.crm_order_id}, not {crm_order_id}.", side="crm")
        return found

    def find(self, external_id: str) -> CrmSnapshot | None:
        data = self.client.request("GET", "/orders", params={"external_id": external_id}).data
        # A CRM that ignores the filter must not lend us the wrong order.
        found = [one for one in _results(data) if one.external_id == external_id]
        if len(found) > 1:
            ids = ", ".join(one.crm_order_id for one in found)
            raise Rejected(f"The CRM has order {external_id} {len(found)} times: {ids}. Merge them there.", side="crm")
        return found[0] if found else None

    def update(self, crm_order_id: str, order: Mapping[str, Any]) -> CrmSnapshot:
        return snapshot(self.client.request("PATCH", _path(crm_order_id), json={"order": dict(order)}).data)

    def changed_since(self, since: datetime) -> Iterator[CrmSnapshot]:
        params = {"updated_since": since.astimezone(UTC).isoformat().replace("+00:00", "Z"), "limit": str(PAGE)}
        seen: set[str] = set()
        while True:
            data = self.client.request("GET", "/orders", params=params).data
            yield from _results(data)
            cursor = data.get("next_cursor")
            if not cursor or cursor in seen:
                return
            seen.add(cursor)
            params = {**params, "cursor": str(cursor)}

    def ping(self) -> None:
        self.client.request("GET", "/orders", params={"limit": "1"})


def _path(crm_order_id: str) -> str:
    return f"/orders/{quote(crm_order_id, safe='')}"


def _results(data: Any) -> list[CrmSnapshot]:
    if not isinstance(data, dict) or not isinstance(data.get("results"), list):
        raise Blocked("The CRM's answer is not a list of orders.", side="crm")
    return [snapshot(one) for one in data["results"]]


def snapshot(data: Any) -> CrmSnapshot:
    """One order of the CRM's answer; anything that is not one is Blocked, never guessed."""
    if not isinstance(data, dict) or not _id(data.get("id")) or not isinstance(data.get("status"), str):
        raise Blocked("The CRM's answer is not an order: id or status is missing.", side="crm")
    version = data.get("version")
    if isinstance(version, bool) or not isinstance(version, int | None):
        raise Blocked(f"The CRM's version is not an integer: {version!r}.", side="crm")
    return CrmSnapshot(
        crm_order_id=_id(data["id"]),
        external_id=_id(data.get("external_id")) or None,
        status=data["status"],
        version=version,
        updated_at=_time(data.get("updated_at")),
        answer={name: data[name] for name in ("id", "external_id", "status", "version", "updated_at") if name in data},
    )


def _id(value: Any) -> str:
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""


def _time(value: Any) -> datetime | None:
    if value is None:
        return None
    try:
        at = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise Blocked(f"The CRM's updated_at is not a time: {value!r}.", side="crm") from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)
