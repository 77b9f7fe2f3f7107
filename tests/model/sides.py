"""A shop and a CRM in memory, with the verbs that the worker uses, and the unpleasant habits of the real ones."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from sync.clients.errors import Ambiguous, Blocked, NotFound, RateLimited, ServerTrouble, SideError, Unreachable
from sync.clients.http import CallRecord
from sync.clients.snapshots import AS_IT_IS, CRM_ORDER_META, Composer, CrmSnapshot, ShopSnapshot

FIRST_MOMENT = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
TIMEOUT = 10.0
SOON = timedelta(seconds=10)
FIRST_STATUS = "new"
"The CRM's status of an order that was just created."


class Clock:
    """The time of the world: it passes only when it is told to."""

    def __init__(self) -> None:
        self.at = FIRST_MOMENT

    def __call__(self) -> datetime:
        return self.at

    def advance(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)

    def whole_seconds(self) -> datetime:
        return self.at.replace(microsecond=0)


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """What a side has sent and nobody has received yet."""

    side: str
    woo_id: int
    body: bytes
    headers: Mapping[str, str]


@dataclass
class Line:
    """The way to one side: how long a call takes on it, and what goes wrong on it."""

    side: str
    clock: Clock
    pace: float = 0.0
    down: str = ""
    next_write: str = ""
    "What becomes of the next write: its answer is lost, or it fails."
    on_failed_write: Callable[[], None] = lambda: None

    def call(self, method: str, effect: Callable[[], Any]) -> Any:
        trouble = self.down
        if method != "GET" and self.next_write:
            trouble, self.next_write = self.next_write, ""
            self.on_failed_write()
        got_through = not trouble or (trouble.startswith("lost") and method != "GET")
        self.clock.advance(self.pace + (TIMEOUT if "timeout" in trouble else 0))
        answer = effect() if got_through else None
        if trouble:
            raise self._error(trouble)
        return answer

    def _error(self, trouble: str) -> SideError:
        return {
            "unreachable": Unreachable("no route", side=self.side),
            "500": ServerTrouble("500", side=self.side, status=500),
            "html": Blocked("a captcha", side=self.side),
            "429": RateLimited("slower", side=self.side, after=7.0, status=429),
            "lost in a timeout": Ambiguous("no answer", side=self.side),
            "lost to a 500": ServerTrouble("500", side=self.side, status=500),
        }[trouble]


HOME = "https://shop.example"
COPY = "https://staging.shop.example"
TROUBLES = ("unreachable", "500", "html", "429", "lost in a timeout", "lost to a 500")


@dataclass
class ShopInMemory:
    """WooCommerce: every save sends `order.updated`, ours too, and the delivery id has one second's resolution."""

    clock: Clock
    line: Line
    send: Callable[[Delivery], None]
    orders: dict[int, dict[str, Any]] = field(default_factory=dict)
    set_by_others: dict[int, bool] = field(default_factory=dict)
    "Whether the last one to set the status was not us."
    writes: list[tuple[int, str, str]] = field(default_factory=list)
    before_write: Callable[[int, str, str], None] = lambda woo_id, old, new: None
    hidden: set[int] = field(default_factory=set)
    "Answered with 404, although they are there."
    plugins: dict[str, str] = field(default_factory=dict)
    "What becomes, within the same call, of a status that we write."
    after_plugin: Callable[[int], None] = lambda woo_id: None

    def create(self, status: str) -> int:
        woo_id = 14 + len(self.orders)
        self._made(woo_id, status, key="A")
        return woo_id

    def restored(self, woo_id: int) -> None:
        """From a backup of before this order: another one gets its number."""
        self._made(woo_id, "pending", key="B")

    def _made(self, woo_id: int, status: str, key: str) -> None:
        self.orders[woo_id] = {
            "id": woo_id,
            "status": status,
            "order_key": f"wc_order_{key}{woo_id}",
            "customer_note": "" if key == "A" else "of another customer",
            "total": "10.00",
            "meta_data": [],
        }
        self._dated(woo_id)
        self.set_by_others[woo_id] = True
        self._saved(woo_id, "order.created")

    def told_by_a_copy(self, woo_id: int, status: str) -> None:
        """It has our webhooks and their secret."""
        order = {"id": woo_id, "status": status, "order_key": f"wc_order_C{woo_id}", "total": "99.00"}
        links = {"self": [{"href": f"{COPY}/wp-json/wc/v3/orders/{woo_id}"}]}
        headers = {"X-WC-Webhook-Topic": "order.updated", "X-WC-Webhook-Source": f"{COPY}/"}
        body = json.dumps({**order, "_links": links}).encode()
        self.send(Delivery(side="shop", woo_id=woo_id, body=body, headers=headers))

    def edit(self, woo_id: int, note: str) -> None:
        self.orders[woo_id]["customer_note"] = note
        self._saved(woo_id)

    def set_by_hand(self, woo_id: int, status: str) -> None:
        self.orders[woo_id]["status"] = status
        self._dated(woo_id)
        ours = [new for one, _, new in self.writes if one == woo_id]
        self.set_by_others[woo_id] = not ours or status != ours[-1]
        self._saved(woo_id)

    def get(self, woo_id: int) -> ShopSnapshot:
        if woo_id not in self.orders or woo_id in self.hidden:
            raise NotFound("woocommerce_rest_shop_order_invalid_id", side="shop")
        order = self.orders[woo_id]
        return ShopSnapshot(woo_id=woo_id, status=order["status"], order=dict(order))

    def say_again(self, woo_ids: Iterable[int]) -> None:
        for woo_id in woo_ids:
            self._saved(woo_id)

    def put_status(self, woo_id: int, status: str, crm_order_id: str) -> ShopSnapshot:
        old = self.get(woo_id).status
        self.before_write(woo_id, old, status)
        if self.plugins.get(status) != old:  # else nothing became of it
            self.writes.append((woo_id, old, status))
        self.orders[woo_id]["status"] = status
        if crm_order_id:
            self.orders[woo_id]["meta_data"] = [{"key": CRM_ORDER_META, "value": crm_order_id}]
        self.set_by_others[woo_id] = False
        self._dated(woo_id)
        if status in self.plugins:
            self.orders[woo_id]["status"] = self.plugins[status]
            self.set_by_others[woo_id] = True
            self._dated(woo_id)
            self.after_plugin(woo_id)
        self._saved(woo_id)
        return self.get(woo_id)

    def _dated(self, woo_id: int) -> None:
        """What a status brings with it."""
        order, now = self.orders[woo_id], self.clock.whole_seconds().replace(tzinfo=None).isoformat()
        for name, statuses in (("date_paid", ("processing", "completed")), ("date_completed", ("completed",))):
            order[name] = order.get(name) or (now if order["status"] in statuses else None)

    def _saved(self, woo_id: int, topic: str = "order.updated") -> None:
        moment = self.clock.whole_seconds()
        self.orders[woo_id]["date_modified_gmt"] = moment.replace(tzinfo=None).isoformat()
        headers = {
            "X-WC-Webhook-Topic": topic,
            "X-WC-Webhook-ID": "4",
            "X-WC-Webhook-Delivery-ID": f"{woo_id}-{moment:%H%M%S}",
        }
        body = json.dumps(self.orders[woo_id]).encode()
        self.send(Delivery(side="shop", woo_id=woo_id, body=body, headers=headers))


@dataclass(kw_only=True)
class Habits:
    """What a CRM may do, each of it allowed by the contract."""

    honours_key: bool = True
    has_versions: bool = True
    list_lag: float = 0.0
    read_lag: float = 0.0
    "Every second read comes from a copy that is this many seconds behind."
    names_events: bool = True
    tells_version: bool = True
    is_worst: bool = False
    "Nothing of it may be trusted (`WORST`): unsigned hooks before the change is stored, ids that are given again."
    commit_lag: float = 0.0
    "Its hook is sent so many seconds before anybody can read the change."
    names_time: bool = True
    "Else its hook tells of the order alone, and shows the status of before."

    @property
    def traits(self) -> dict[str, Any]:
        return WORST if self.is_worst else {}


WORST = {
    "unique": "search_only",
    "updated_at": "seconds",
    "hooks": "hints",
    "hook_before_commit": True,
    "ids_reused": True,
}
"""The worst of all that a real CRM was seen to do, at once."""


@dataclass(frozen=True, kw_only=True)
class Revision:
    at: datetime
    status: str
    version: int


@dataclass
class CrmOrder:
    crm_order_id: str
    external_id: str
    content: dict[str, Any]
    created_at: datetime
    revisions: list[Revision]

    @property
    def now(self) -> Revision:
        return self.revisions[-1]


@dataclass
class CrmInMemory:
    clock: Clock
    line: Line
    send: Callable[[Delivery], None]
    habits: Habits = field(default_factory=Habits)
    orders: dict[str, CrmOrder] = field(default_factory=dict)
    reads: int = 0
    last_read: dict[str, Revision] = field(default_factory=dict)
    before_update: Callable[[CrmOrder, Mapping[str, Any]], None] = lambda order, content: None
    on_same_second: Callable[[CrmOrder], None] = lambda order: None
    "Two changes that nothing tells apart: of the second one its list alone may tell."

    def of(self, woo_id: int) -> list[CrmOrder]:
        return [order for order in self.orders.values() if order.external_id == str(woo_id)]

    def create(self, external_id: str, content: Mapping[str, Any]) -> tuple[CrmSnapshot, bool]:
        known = self.of(int(external_id))
        if known and self.habits.honours_key:
            return self._snapshot(known[0], known[0].now), False
        order = CrmOrder(f"C-{1001 + len(self.orders)}", external_id, dict(content), self.clock(), [])
        self.orders[order.crm_order_id] = order
        self._revise(order, FIRST_STATUS)
        return self._snapshot(order, order.now), True

    def get(self, crm_order_id: str) -> CrmSnapshot:
        order = self.orders.get(crm_order_id)
        self.reads += 1
        lag = max(self.habits.read_lag * (self.reads % 2), self.habits.commit_lag)
        until = self.clock() - timedelta(seconds=lag)
        if order is None:
            raise NotFound("no such order", side="crm")
        visible = [revision for revision in order.revisions if revision.at <= until] or order.revisions[:1]
        self.last_read[crm_order_id] = visible[-1]
        return self._snapshot(order, visible[-1])

    def find(self, external_id: str) -> CrmSnapshot | None:
        visible = self.clock() - timedelta(seconds=self.habits.list_lag)
        found = [order for order in self.of(int(external_id)) if order.created_at <= visible]
        return self._snapshot(found[0], found[0].now) if found else None

    def update(self, crm_order_id: str, content: Mapping[str, Any]) -> CrmSnapshot:
        order = self.orders[crm_order_id]
        self.before_update(order, content)
        order.content = dict(content)
        self._revise(order, order.now.status)
        return self._snapshot(order, order.now)

    def changed_since(self, since: datetime) -> list[CrmSnapshot]:
        visible = self.clock() - timedelta(seconds=self.habits.list_lag)
        changed = [order for order in self.orders.values() if order.now.at >= since and order.created_at <= visible]
        return [self._snapshot(order, order.now) for order in sorted(changed, key=lambda order: order.now.at)]

    def move(self, order: CrmOrder, status: str) -> None:
        self._revise(order, status)

    def _revise(self, order: CrmOrder, status: str) -> None:
        before = order.revisions[-1] if order.revisions else None
        if self.habits.is_worst:
            if before and self._cannot_be_told_from(before):
                self.on_same_second(order)
        elif not (self.habits.has_versions and self.habits.tells_version):
            self.clock.advance(1)  # of two changes in one second only the sweep tells: all that names them is the time
        order.revisions.append(Revision(at=self.clock(), status=status, version=len(order.revisions) + 1))
        event: dict[str, Any] = {"type": "order.status_changed", "crm_order_id": order.crm_order_id, "status": status}
        if self.habits.names_events:
            event["event_id"] = f"evt_{order.crm_order_id}_{order.now.version}"
        if self.habits.has_versions and self.habits.tells_version:
            event["version"] = order.now.version
        if self.habits.names_time:
            event["updated_at"] = _z(self.clock.whole_seconds())
        elif before:
            event["status"] = before.status
        headers = {"webhook-id": f"msg_{order.crm_order_id}_{order.now.version}"}
        self.send(Delivery(side="crm", woo_id=int(order.external_id), body=json.dumps(event).encode(), headers=headers))

    def _cannot_be_told_from(self, before: Revision) -> bool:
        """By its hook: the time is the same, or there is none, and the first one is still looked into."""
        if self.habits.names_time:
            return before.at.replace(microsecond=0) == self.clock.whole_seconds()
        return self.clock() - before.at < SOON

    def _snapshot(self, order: CrmOrder, revision: Revision) -> CrmSnapshot:
        return CrmSnapshot(
            crm_order_id=order.crm_order_id,
            external_id=order.external_id,
            status=revision.status,
            version=revision.version if self.habits.has_versions else None,
            updated_at=revision.at.replace(microsecond=0),
            answer={"id": order.crm_order_id, "status": revision.status, "version": revision.version},
        )


def _z(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


@dataclass(kw_only=True)
class Client:
    """What the worker gets from `connect`: every call renews the lease before, and is noted after."""

    line: Line
    step: Callable[[], None]
    on_call: Callable[[CallRecord], None]
    before_call: Callable[[], None]

    def call(self, method: str, effect: Callable[[], Any]) -> Any:
        self.step()
        self.before_call()
        status, at = None, self.line.clock()
        try:
            answer = self.line.call(method, effect)
            status = 200
        except SideError as error:
            status = error.status
            raise
        finally:
            self.on_call(
                CallRecord(
                    side=self.line.side,
                    method=method,
                    url="memory:",
                    status=status,
                    milliseconds=0,
                    request_body="",
                    response_body="",
                    error="",
                    at=at,
                )
            )
        self.step()
        return answer

    def ping(self) -> None:
        self.call("GET", lambda: None)


@dataclass(kw_only=True)
class ShopClient(Client):
    shop: ShopInMemory
    composer: Composer = AS_IT_IS

    def get(self, woo_id: int) -> ShopSnapshot:
        return self.call("GET", lambda: self.shop.get(woo_id))

    def addresses(self) -> list[str]:
        return self.call("GET", lambda: [HOME])

    def set_status(self, woo_id: int, status: str, crm_order_id: str = "") -> ShopSnapshot:
        return self.call("PUT", lambda: self.shop.put_status(woo_id, status, crm_order_id))


@dataclass(kw_only=True)
class CrmClient(Client):
    crm: CrmInMemory

    @property
    def traits(self) -> Any:
        from sync.clients.crm.base import Traits  # only once Django is set up

        return Traits(**self.crm.habits.traits)

    def create(self, external_id: str, order: Mapping[str, Any]) -> tuple[CrmSnapshot, bool]:
        return self.call("POST", lambda: self.crm.create(external_id, order))

    def get(self, crm_order_id: str) -> CrmSnapshot:
        return self.call("GET", lambda: self.crm.get(crm_order_id))

    def find(self, external_id: str) -> CrmSnapshot | None:
        return self.call("GET", lambda: self.crm.find(external_id))

    def update(self, crm_order_id: str, order: Mapping[str, Any]) -> CrmSnapshot:
        return self.call("PATCH", lambda: self.crm.update(crm_order_id, order))

    def changed_since(self, since: datetime) -> Iterator[CrmSnapshot]:
        yield from self.call("GET", lambda: self.crm.changed_since(since))
