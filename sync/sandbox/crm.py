"""A CRM on loopback that speaks the `rest` format of CONTRACT section 3, with the bad habits CRMs have."""

import base64
import binascii
import copy
import hashlib
import hmac
import json
import time
import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from sync.sandbox.crms.base import Habits, Shown, StandIn
from sync.sandbox.faults import BATCHES, Fault
from sync.sandbox.outbox import Outbox, post
from sync.sandbox.server import Answer, HttpError, Request
from sync.sandbox.signing import standard_webhooks

WEBHOOK_TIMEOUT = 20.0
"""Seconds that it waits for the answer to a webhook."""
BATCH_LIMIT = 100
"""Orders of one batch."""
STATUSES = [
    {"name": name, "label": name.replace("_", " ").capitalize()}
    for name in (
        *("new", "on_hold", "paid", "processing", "shipped", "completed", "delivered", "cancelled", "refunded"),
        *("failed", "returned"),
    )
]
FIELDS: list[dict[str, Any]] = [
    {"name": "x_gift_note", "label": "Gift note", "type": "text", "longest": 40},
    {"name": "x_channel", "label": "Sales channel", "type": "choice", "choices": ["web", "phone", "market"]},
    {"name": "x_delivery_day", "label": "Delivery day", "type": "date"},
    {"name": "x_weight", "label": "Weight (kg)", "type": "number"},
    {"name": "x_express", "label": "Express", "type": "yes_no"},
    {"name": "x_payment_terms", "label": "Payment terms", "type": "text", "required": True},
    {"name": "x_score", "label": "Score of the customer", "type": "number", "writable": False},
]
"""What its people have added to an order."""
SHOWN = ("id", "external_id", "status", "version", "updated_at")


class Create(NamedTuple):
    """A POST that made an order."""

    crm_id: str
    external_id: str
    key: str


class CrmDelivery(NamedTuple):
    """One attempt to send an event; status 0: no answer."""

    crm_id: str
    event_id: str
    status: int
    body_sha256: str = ""


class SandboxCrm(StandIn):
    """In memory, thread-safe. `set_status` is what the CRM's people do; REST is for the service.

    `hold` and `release` reorder webhooks; `network` loses, doubles and delays them by lot. What is written while
    `list_lag` is set appears in lists only so many seconds later.
    """

    title = "Sandbox CRM"
    settings = {"token": "crm-token"}
    has_versions = True
    statuses = ("new", "on_hold", "paid", "processing", "shipped", "completed", "cancelled", "refunded")
    habits = Habits(
        usual={"new": "paid", "on_hold": "paid", "paid": "processing", "processing": "shipped", "shipped": "completed"},
        detours=(
            (0.06, frozenset({"new", "paid", "processing"}), "cancelled"),
            (0.10, frozenset({"shipped"}), "refunded"),
            (0.14, frozenset({"new"}), "on_hold"),
        ),
        backwards=(frozenset({"completed", "cancelled"}), "paid"),
    )

    def __init__(
        self,
        port: int = 0,
        token: str = "crm-token",  # noqa: S107  of a sandbox
        webhook_url: str | None = None,
        webhook_secret: str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",  # noqa: S107  the published test vector
        honours_idempotency_key: bool = True,
        list_lag: float = 0.0,
        first_id: int = 1001,
        retry_after: tuple[float, ...] = (0.2, 1.0, 5.0, 15.0),
        senders: int = 1,
    ) -> None:
        super().__init__(port)
        self.token = token
        self.webhook_url = webhook_url or ""
        self.webhook_secret = webhook_secret
        self.honours_idempotency_key = honours_idempotency_key
        self.list_lag = list_lag
        self.retry_after = retry_after
        self.orders: dict[str, dict[str, Any]] = {}
        self.creates: list[Create] = []
        self.deliveries: list[CrmDelivery] = []
        self.next_id = first_id
        self._older: dict[str, dict[str, Any]] = {}
        self._listed_from: dict[str, float] = {}
        self._held: list[tuple[str, Any]] | None = None
        self.outbox: Outbox = Outbox("CRM webhooks", senders)

    # --- what people do in the CRM -----------------------------------------------------------------------------

    def set_status(self, crm_id: str, status: str, *, notify: bool = True) -> dict[str, Any]:
        """Move an order; `notify=False` is the webhook that never comes."""
        with self.lock:
            order = self.orders[crm_id]
            self.tell(f"crm:  order {crm_id} (shop {order['external_id']}) {order['status']} → {status}")
            self._change(crm_id, status=status)
            if notify:
                self.send(crm_id, self.event(crm_id))
            return copy.deepcopy(order)

    def add_order(self, external_id: str | None, status: str = "new", **order: Any) -> dict[str, Any]:
        """An order that somebody made in the CRM itself; nothing is sent."""
        with self.lock:
            return copy.deepcopy(self._new(external_id, order, status))

    def delete(self, crm_id: str) -> None:
        with self.lock:
            del self.orders[crm_id]
            self.tell(f"crm:  order {crm_id} deleted")

    def shown(self) -> list[Shown]:
        with self.lock:
            return [_as_shown(order) for order in self.orders.values()]

    def kept(self) -> dict[str, Any]:
        return {"next_id": self.next_id, "orders": list(self.orders.values())}

    def restore(self, kept: Mapping[str, Any]) -> None:
        self.orders.update({order["id"]: order for order in kept["orders"]})
        self.next_id = max(self.next_id, kept["next_id"])

    def lists_are_complete(self) -> bool:
        with self.lock:
            return all(moment <= time.monotonic() for moment in self._listed_from.values())

    def catch_up(self) -> None:
        """Its lists show everything from now on."""
        with self.lock:
            self._listed_from.clear()

    def by_external(self, external_id: str | int) -> list[dict[str, Any]]:
        with self.lock:
            found = [order for order in self.orders.values() if order["external_id"] == str(external_id)]
            return copy.deepcopy(found)

    # --- webhooks ----------------------------------------------------------------------------------------------

    def event(self, crm_id: str, **changes: Any) -> dict[str, Any]:
        """The event of the order's present state; a change to None leaves the field out."""
        order = self.orders[crm_id]
        event = {
            "event_id": f"evt_{uuid.uuid4().hex}",
            "type": "order.status_changed",
            "crm_order_id": crm_id,
            "status": order["status"],
            "version": order["version"],
            "updated_at": order["updated_at"],
            **changes,
        }
        return {name: value for name, value in event.items() if value is not None}

    def send(self, crm_id: str, body: Any) -> None:
        """Queue one webhook; the body is an event, a list of them, or anything else."""
        with self.lock:
            if self._held is not None:
                self._held.append((crm_id, body))
                return
            copies = self.copies(crm_id)
        message_id = f"msg_{uuid.uuid4().hex}"
        for _ in range(copies):
            self._queue(crm_id, message_id, json.dumps(body).encode(), _event_id(body))

    def hold(self) -> None:
        """Keep webhooks back until `release`."""
        with self.lock:
            self._held = []

    def release(self, *, backwards: bool = False) -> None:
        """Send what was held, in order or newest first."""
        with self.lock:
            held, self._held = self._held or [], None
            for crm_id, body in reversed(held) if backwards else held:
                self.send(crm_id, body)

    def _queue(self, crm_id: str, message_id: str, body: bytes, event_id: str) -> None:
        if not self.webhook_url:
            return
        url, schedule = self.webhook_url, list(self.retry_after)
        digest = hashlib.sha256(body).hexdigest()

        def attempt() -> float | None:
            headers = standard_webhooks(body, self.webhook_secret, message_id)
            status = post(url, body, {"Content-Type": "application/json", **headers}, WEBHOOK_TIMEOUT)
            with self.lock:
                self.deliveries.append(CrmDelivery(crm_id, event_id, status, digest))
            if 200 <= status < 300:
                return None
            again = schedule.pop(0) if schedule else None
            plan = "gives up" if again is None else f"tries again in {again:g} s"
            self.tell(f"crm:  webhook of {crm_id} answered {status or 'not at all'}; {plan}")
            return again

        for delay in self.network.delays():
            self.outbox.put(attempt, delay)

    # --- REST --------------------------------------------------------------------------------------------------

    def handle(self, request: Request, fault: Fault | None) -> Answer:
        if not hmac.compare_digest(request.headers.get("authorization", "").encode(), f"Bearer {self.token}".encode()):
            return Answer(401, {"error": "unauthorized"})
        parts = request.path.strip("/").split("/")
        if request.method == "GET" and parts in (["statuses"], ["fields"]):
            return Answer(200, {parts[0]: STATUSES if parts == ["statuses"] else FIELDS})
        if parts[0] != "orders" or len(parts) > 2:
            return Answer(404, {"error": "not_found"})
        try:
            with self.lock:
                return self._call(request, parts[1] if len(parts) == 2 else None, fault)
        except ValueError as error:
            return Answer(400, {"error": "invalid", "message": str(error)})

    def _call(self, request: Request, crm_id: str | None, fault: Fault | None) -> Answer:
        match request.method, crm_id:
            case "POST", None:
                return self._create(request)
            case "GET", None:
                return self._batch(request.query, fault) or self._list(request.query)
            case "GET", str(known):
                order = self._known(known)
                return Answer(200, _shown(self._read(order, fault)))
            case "PATCH", str(known):
                return self._patch(self._known(known), request.json())
        return Answer(405, {"error": "method_not_allowed"})

    def _known(self, crm_id: str) -> dict[str, Any]:
        if crm_id not in self.orders:
            raise HttpError(Answer(404, {"error": "not_found"}))
        return self.orders[crm_id]

    def _read(self, order: dict[str, Any], fault: Fault | None) -> dict[str, Any]:
        stale = fault is not None and fault.name == "stale-reads"
        return self._older.get(order["id"], order) if stale else order

    def _create(self, request: Request) -> Answer:
        fields = request.json()
        external_id = fields.get("external_id") if isinstance(fields, dict) else None
        if not isinstance(external_id, str) or not external_id:
            return Answer(422, {"error": "external_id must be a string"})
        there = self.by_external(external_id)
        if there and self.honours_idempotency_key:
            return Answer(200, _shown(there[0]))
        order = self._new(external_id, fields.get("order") or {}, "new")
        self.creates.append(Create(order["id"], external_id, request.headers.get("idempotency-key", "")))
        self.tell(f"crm:  order {order['id']} created for shop order {external_id}")
        return Answer(201, _shown(order))

    def _new(self, external_id: str | None, content: Mapping[str, Any], status: str) -> dict[str, Any]:
        crm_id = f"C-{self.next_id}"
        self.next_id += 1
        self.orders[crm_id] = {
            "id": crm_id,
            "external_id": external_id,
            "status": status,
            "version": 1,
            "updated_at": self._stamp(),
            "order": dict(content),
        }
        self._listed_from[crm_id] = time.monotonic() + self.list_lag
        return self.orders[crm_id]

    def _change(self, crm_id: str, **fields: Any) -> None:
        known = self.orders[crm_id]
        self._older[crm_id] = copy.deepcopy(known)
        known.update(fields, version=known["version"] + 1, updated_at=self._stamp())
        self._listed_from[crm_id] = time.monotonic() + self.list_lag

    def _stamp(self) -> str:
        return self.now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")

    def _patch(self, order: dict[str, Any], fields: Any) -> Answer:
        if not isinstance(fields, dict) or not isinstance(fields.get("order"), dict):
            return Answer(422, {"error": "order must be an object"})
        self._change(order["id"], order={**order["order"], **fields["order"]})
        self.tell(f"crm:  order {order['id']} heard of a change in the shop (now {fields['order'].get('status', '?')})")
        return Answer(200, _shown(order))

    def _listed(self, crm_id: str) -> dict[str, Any] | None:
        """The order as the index of the lists knows it: behind for a while, a new one not at all."""
        if self._listed_from.get(crm_id, 0.0) <= time.monotonic():
            return self.orders[crm_id]
        return self._older.get(crm_id)

    def _batch(self, query: Mapping[str, str], fault: Fault | None) -> Answer | None:
        """By id as new as a single read is; by external id from the index of the lists. None: no batch is asked for."""
        name = next(iter(BATCHES & query.keys()), None)
        if name is None or (fault is not None and fault.name == "ignores-batches"):
            return None
        wanted = query[name].split(",")
        if fault is not None and fault.name == "refuses-batches":
            raise ValueError(f"{name} is no parameter")
        if len(wanted) > BATCH_LIMIT:
            raise ValueError(f"{name} takes {BATCH_LIMIT} at most")
        if name == "ids":
            found = [self._read(self.orders[one], fault) for one in wanted if one in self.orders]
        else:
            known = [crm_id for crm_id, order in self.orders.items() if order["external_id"] in wanted]
            found = [order for order in map(self._listed, known) if order is not None]
        return Answer(200, {"results": [_shown(order) for order in found], "next_cursor": None})

    def _list(self, query: Mapping[str, str]) -> Answer:
        limit = min(int(query.get("limit", "100")), 100)
        wanted = query.get("external_id")  # it never changes, so that most orders need no look at the index
        known = [crm_id for crm_id, order in self.orders.items() if wanted in (None, order["external_id"])]
        found = [order for order in map(self._listed, known) if order is not None]
        if "updated_since" in query:
            since = datetime.fromisoformat(query["updated_since"])
            if since.tzinfo is None:
                raise ValueError("updated_since needs a time zone")
            found = [order for order in found if datetime.fromisoformat(order["updated_at"]) >= since]
        found.sort(key=_place)
        if query.get("cursor"):
            after = _decoded(query["cursor"])
            found = [order for order in found if _place(order) > after]
        page = found[:limit]
        cursor = _encoded(_place(page[-1])) if len(found) > limit else None
        return Answer(200, {"results": [_shown(order) for order in page], "next_cursor": cursor})


def _as_shown(order: Mapping[str, Any]) -> Shown:
    content = order["order"]
    billing = content.get("billing") or {}
    return Shown(
        crm_order_id=order["id"],
        external_id=order["external_id"] or "",
        status=order["status"],
        customer=" ".join(filter(None, (billing.get("first_name"), billing.get("last_name")))),
        total=f"{content.get('total', '')} {content.get('currency', '')}".strip(),
        changed=order["updated_at"][:19].replace("T", " "),
    )


def _shown(order: Mapping[str, Any]) -> dict[str, Any]:
    return {name: order[name] for name in SHOWN}


def _place(order: Mapping[str, Any]) -> tuple[str, str]:
    return order["updated_at"], order["id"]


def _encoded(place: tuple[str, str]) -> str:
    return base64.urlsafe_b64encode(json.dumps(place).encode()).decode()


def _decoded(cursor: str) -> tuple[str, str]:
    try:
        updated_at, crm_id = json.loads(base64.urlsafe_b64decode(cursor))
    except (binascii.Error, TypeError) as error:
        raise ValueError("cursor is not one of ours") from error
    return str(updated_at), str(crm_id)


def _event_id(body: Any) -> str:
    return str(body.get("event_id", "")) if isinstance(body, dict) else ""
