"""A WooCommerce shop on loopback: REST v3 for orders and webhooks, and deliveries sent as WooCommerce sends them."""

import copy
import hashlib
import re
import time
from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple

from sync.sandbox.approval import PATH as APPROVAL
from sync.sandbox.approval import Approvals, one_process_only
from sync.sandbox.faults import Fault
from sync.sandbox.orders import STATUSES, after_status, dated, merge, new_order
from sync.sandbox.outbox import Network, Outbox, post
from sync.sandbox.server import Answer, HttpError, LoopbackServer, Request
from sync.sandbox.shop_auth import KeyCheck
from sync.sandbox.shop_lists import api_error, chosen, invalid, matching, page, unknown_order
from sync.sandbox.signing import hmac_base64, php_json

API = "/wp-json/wc/v3"
ORDER_TOPICS = ("order.created", "order.updated", "order.deleted", "order.restored")
DELIVERY_TIMEOUT = 60
FAILURES_BEFORE_DISABLING = 5
HIDDEN = ("secret", "failure_count")


class StatusWrite(NamedTuple):
    """A status that came by REST, equal ones included: a needless write is to be seen."""

    woo_id: int
    old: str
    new: str
    at: datetime


class Delivery(NamedTuple):
    """A webhook that was sent once; status 0: no answer."""

    topic: str
    woo_id: int
    status: int
    body_sha256: str = ""


class SandboxShop(LoopbackServer):
    """In memory, thread-safe. Methods are what people do in the shop's admin and checkout; REST is for the service.

    `network` is what its deliveries meet with. `owner_may_read` False: the webhooks' owner was deleted or demoted.
    `hidden`: orders that the key's user may not read, which lists leave out but count; one asked for is 403.
    `plugins`: the status that a plugin makes, within the same call, of one that comes by REST.
    """

    def __init__(
        self,
        port: int = 0,
        webhook_url: str | None = None,
        webhook_secret: str = "",
        consumer_key: str = "ck_test",
        consumer_secret: str = "cs_test",  # noqa: S107  of a sandbox
        first_id: int = 1001,
        senders: int = 1,
    ) -> None:
        super().__init__(port)
        self.orders: dict[int, dict[str, Any]] = {}
        self.webhooks: dict[int, dict[str, Any]] = {}
        self.notes: dict[int, list[dict[str, Any]]] = {}
        self.statuses = list(STATUSES)
        self.status_writes: list[StatusWrite] = []
        self.deliveries: list[Delivery] = []
        self.next_id = first_id
        self.network = Network()
        self.owner_may_read = True
        self.hidden: set[int] = set()
        self.plugins: dict[str, str] = {}
        self.keys = KeyCheck(consumer_key, consumer_secret)
        self.approvals = Approvals(self.keys, "Sandbox shop")
        self.outbox: Outbox = Outbox("shop deliveries", senders)
        self._pending: set[tuple[int, int]] = set()
        self._before_trash: dict[int, str] = {}
        if webhook_url:
            self.register_webhooks(webhook_url, webhook_secret)

    def register_webhooks(self, url: str, secret: str) -> None:
        """The four webhooks, as if staff had made them by hand (no ping)."""
        for topic in ORDER_TOPICS:
            self.add_webhook(topic, url, secret)

    def add_webhook(self, topic: str, url: str, secret: str) -> None:
        self._add_webhook({"topic": topic, "delivery_url": url, "secret": secret})

    def enable_webhooks(self) -> None:
        """What staff do after WooCommerce has disabled them, with a clean count."""
        with self.lock:
            for hook in self.webhooks.values():
                hook.update(status="active", failure_count=0)

    # --- what people do in the shop ----------------------------------------------------------------------------

    def create_order(self, **fields: Any) -> dict[str, Any]:
        """A new order; with `created_via="checkout"` the shop tells `updated` before `created`."""
        with self.lock:
            order = new_order(self.next_id, self.now(), self.url, fields)
            self.next_id += 1
            self.orders[order["id"]] = order
            topics = ["order.created", "order.updated"]
            if order["created_via"] in ("checkout", "store-api"):
                topics.reverse()
            for topic in topics:
                self._emit(topic, order["id"])
            self.tell(f"shop: order {order['id']} via {order['created_via']}: {order['status']} {order['total']}")
            return copy.deepcopy(order)

    def load(self, order: Mapping[str, Any]) -> dict[str, Any]:
        """Put a recorded order in as it is; nothing is sent."""
        with self.lock:
            self.orders[int(order["id"])] = copy.deepcopy(dict(order))
            self.next_id = max(self.next_id, int(order["id"]) + 1)
            return copy.deepcopy(self.orders[int(order["id"])])

    def set_status(self, woo_id: int, status: str) -> dict[str, Any]:
        return self.edit(woo_id, status=status)

    def edit(self, woo_id: int, **fields: Any) -> dict[str, Any]:
        with self.lock:
            self.tell(f"shop: order {woo_id} edited: {', '.join(fields)}")
            return copy.deepcopy(self._save(self.orders[woo_id], fields))

    def note(self, woo_id: int, text: str) -> None:
        """An order note: it emits nothing and leaves the dates alone."""
        with self.lock:
            self.notes.setdefault(woo_id, []).append({"id": len(self.notes.get(woo_id, [])) + 1, "note": text})
            self.tell(f"shop: note on order {woo_id}")

    def trash(self, woo_id: int) -> None:
        with self.lock:
            order = self.orders[woo_id]
            self._before_trash[woo_id] = order["status"]
            order["status"] = "trash"
            self._touch(order)
            self._emit("order.deleted", woo_id)
            self.tell(f"shop: order {woo_id} moved to the trash")

    def restore(self, woo_id: int) -> None:
        with self.lock:
            order = self.orders[woo_id]
            order["status"] = self._before_trash.pop(woo_id, "pending")
            self._touch(order)
            self._emit("order.restored", woo_id)
            self.tell(f"shop: order {woo_id} restored")

    def delete(self, woo_id: int) -> None:
        """For good; WooCommerce tells nobody."""
        with self.lock:
            del self.orders[woo_id]
            self.tell(f"shop: order {woo_id} deleted for good")

    def resend(self, topic: str, woo_id: int) -> None:
        """One more delivery of the present state, as a replay or a plugin makes it."""
        with self.lock:
            self._emit(topic, woo_id)

    # --- state -------------------------------------------------------------------------------------------------

    def _touch(self, order: dict[str, Any]) -> None:
        order.update(dated("date_modified", self.now()))

    def _save(self, order: dict[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
        """Every save bumps the date and tells it, also one that changes nothing (FACTS A9)."""
        was_trash = order["status"] == "trash"
        merge(order, fields)
        if "status" in fields:
            after_status(order, self.now())
        self._touch(order)
        # A status write on a trashed order restores it and sends nothing (FACTS I).
        if not was_trash:
            self._emit("order.updated", order["id"])
        return order

    # --- deliveries --------------------------------------------------------------------------------------------

    def _emit(self, topic: str, woo_id: int) -> None:
        for hook_id, hook in self.webhooks.items():
            waiting = (hook_id, woo_id)
            # Coalesced while one of the same order waits; the payload is built when it goes out (FACTS A5, A8).
            if hook["status"] == "active" and hook["topic"] == topic and waiting not in self._pending:
                for delay in self.network.delays():
                    self._pending.add(waiting)
                    self.outbox.put(partial(self._deliver, hook_id, woo_id), delay)

    def _payload(self, topic: str, woo_id: int) -> dict[str, Any]:
        if topic == "order.deleted":
            return {"id": woo_id}
        if not self.owner_may_read:
            return api_error("woocommerce_rest_cannot_view", "Sorry, you cannot view this resource.", 401)
        return copy.deepcopy(self.orders[woo_id]) if woo_id in self.orders else unknown_order(404).content

    def _deliver(self, hook_id: int, woo_id: int) -> None:
        with self.lock:
            self._pending.discard((hook_id, woo_id))
            hook = self.webhooks.get(hook_id)
            if hook is None or hook["status"] != "active":
                return
            topic, url = hook["topic"], hook["delivery_url"]
            body = php_json(self._payload(topic, woo_id))
            headers = self.delivery_headers(hook_id, topic, body, hook["secret"])
        status = post(url, body, headers, DELIVERY_TIMEOUT)
        with self.lock:
            self._count(hook, status)
            self.deliveries.append(Delivery(topic, woo_id, status, hashlib.sha256(body).hexdigest()))
        if status != 200:
            self.tell(f"shop: {topic} of order {woo_id} answered {status or 'not at all'}; never repeated")

    def delivery_headers(self, hook_id: int, topic: str, body: bytes, secret: str) -> dict[str, str]:
        resource, _, event = topic.partition(".")
        # Webhook and second: not unique, as in WooCommerce (FACTS A3).
        delivery_id = hashlib.md5(f"{hook_id}{int(time.time())}".encode(), usedforsecurity=False).hexdigest()
        return {
            "User-Agent": "WooCommerce/10.5.0 Hookshot (WordPress/6.9.1)",
            "Content-Type": "application/json",
            "X-WC-Webhook-Source": f"{self.url}/",
            "X-WC-Webhook-Topic": topic,
            "X-WC-Webhook-Resource": resource,
            "X-WC-Webhook-Event": event,
            "X-WC-Webhook-Signature": hmac_base64(body, secret),
            "X-WC-Webhook-ID": str(hook_id),
            "X-WC-Webhook-Delivery-ID": delivery_id,
            "Connection": "close",
        }

    def _count(self, hook: dict[str, Any], status: int) -> None:
        hook.update(dated("date_modified", self.now()))
        if 200 <= status < 303:
            hook["failure_count"] = 0
        elif hook["failure_count"] > FAILURES_BEFORE_DISABLING:
            hook["status"] = "disabled"
            self.tell(f"shop: webhook {hook['id']} ({hook['topic']}) disabled after 7 failures in a row")
        else:
            hook["failure_count"] += 1

    def _add_webhook(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        with self.lock:
            hook_id = max(self.webhooks, default=1) + 1
            hook = {
                "id": hook_id,
                "name": fields.get("name", "Webhook"),
                "status": "active",
                "topic": fields["topic"],
                "resource": fields["topic"].partition(".")[0],
                "event": fields["topic"].partition(".")[2],
                "hooks": [],
                "delivery_url": fields["delivery_url"],
                **dated("date_created", self.now()),
                # Of a new one WooCommerce knows no time of a change: NULL until it delivers or somebody edits it.
                "date_modified": None,
                "date_modified_gmt": None,
                "secret": fields.get("secret", ""),
                "failure_count": 0,
            }
            self.webhooks[hook_id] = hook
            return hook

    # --- REST --------------------------------------------------------------------------------------------------

    def handle(self, request: Request, fault: Fault | None) -> Answer:
        path = request.path.rstrip("/")
        if path.startswith(APPROVAL):
            return self.approvals.handle(request)
        one_process_only(self.approvals)
        if path == "/wp-json":
            return Answer(200, {"name": "Sandbox shop", "url": self.url, "gmt_offset": "1", "namespaces": ["wc/v3"]})
        if not path.startswith(API):
            return Answer(404, api_error("rest_no_route", "No route was found matching the URL.", 404))
        self.keys.check(request, self.url)
        found = re.fullmatch(r"/(orders|webhooks|reports/orders/totals)(?:/(\d+))?(/notes)?", path[len(API) :])
        if not found:
            return Answer(404, api_error("rest_no_route", "No route was found matching the URL.", 404))
        kind, number, notes = found[1], int(found[2] or 0), bool(found[3])
        try:
            if kind == "webhooks":
                return self._webhook_call(request, number)
            with self.lock:
                if kind != "orders":
                    return Answer(200, self._totals())
                if notes:
                    return self._note_call(request, number)
                return self._order_call(request, number, fault)
        except ValueError as error:
            return Answer(400, api_error("rest_invalid_json", f"Invalid JSON body passed: {error}", 400))

    def _order_call(self, request: Request, woo_id: int, fault: Fault | None) -> Answer:
        match request.method, bool(woo_id):
            case "OPTIONS", _:
                return Answer(200, self._schema())
            case "GET", False:
                return self._list(request, fault)
            case "POST", False:
                return self._create_by_rest(request)
            case "GET", True:
                return Answer(200, chosen(self._known(woo_id, 404), request.query))
            case "PUT" | "PATCH" | "POST", True:
                return self._write(request, woo_id, fault)
            case "DELETE", True:
                return self._remove(request, woo_id)
        return Answer(404, api_error("rest_no_route", "No route was found matching the URL and method.", 404))

    def _known(self, woo_id: int, otherwise: int) -> dict[str, Any]:
        if woo_id not in self.orders:
            raise HttpError(unknown_order(otherwise))
        if woo_id in self.hidden:
            words = "Sorry, you cannot view this resource."
            raise HttpError(Answer(403, api_error("woocommerce_rest_cannot_view", words, 403)))
        return self.orders[woo_id]

    def _check_status(self, fields: Mapping[str, Any]) -> None:
        if "status" in fields and fields["status"] not in self.statuses:
            raise HttpError(invalid("status", f"status is not one of {', '.join(self.statuses)}."))

    def _create_by_rest(self, request: Request) -> Answer:
        fields = request.json()
        self._check_status(fields)
        if fields.get("set_paid"):
            fields.setdefault("status", "processing")
        return Answer(201, self.create_order(**{**fields, "created_via": "rest-api"}))

    def _write(self, request: Request, woo_id: int, fault: Fault | None) -> Answer:
        fields = request.json()
        order = self._known(woo_id, 400)
        self._check_status(fields)
        if "status" in fields:
            self.status_writes.append(StatusWrite(woo_id, order["status"], fields["status"], self.now()))
            self.tell(f"shop: order {woo_id} set by REST: {order['status']} → {fields['status']}")
        if fault and fault.name == "wrong-status-answer":
            # An exception while saving is swallowed: 200, and the old status stays (FACTS B2).
            fields.pop("status", None)
        self._save(order, fields)
        reaction = self.plugins.get(fields.get("status", ""))
        return Answer(200, self._save(order, {"status": reaction}) if reaction else order)

    def _remove(self, request: Request, woo_id: int) -> Answer:
        order = copy.deepcopy(self._known(woo_id, 404))
        if request.query.get("force") == "true":
            self.delete(woo_id)
        elif order["status"] == "trash":
            return Answer(410, api_error("woocommerce_rest_already_trashed", "Already deleted.", 410))
        else:
            self.trash(woo_id)
        return Answer(200, order)

    def _list(self, request: Request, fault: Fault | None) -> Answer:
        shown, headers = page(request.query, matching(request, self.orders, self.statuses))
        if not shown:  # a page beyond the end is 200 with totals of 0 (FACTS I)
            headers = dict.fromkeys(headers, "0")
        content = [chosen(order, request.query) for order in shown if order["id"] not in self.hidden]
        if fault and fault.name == "shifting-pages" and shown:
            # Somebody saves an order of this page, so that it leaves its place and all behind it move up.
            self._save(shown[0], {})
        return Answer(200, content, headers)

    def _schema(self) -> dict[str, Any]:
        status = {"description": "Order status.", "type": "string", "default": "pending", "enum": self.statuses}
        arguments = {"methods": ["POST"], "args": {"status": {"type": "string", "enum": self.statuses}}}
        properties = {"id": {"type": "integer", "readonly": True}, "status": status}
        return {
            "namespace": "wc/v3",
            "methods": ["GET", "POST"],
            "endpoints": [{"methods": ["GET"], "args": {}}, arguments],
            "schema": {"title": "shop_order", "type": "object", "properties": properties},
        }

    def _totals(self) -> list[dict[str, Any]]:
        shown = [order["status"] for order in self.orders.values()]
        return [{"slug": slug, "name": slug.title(), "total": shown.count(slug)} for slug in self.statuses]

    def _note_call(self, request: Request, woo_id: int) -> Answer:
        self._known(woo_id, 404)
        if request.method == "POST":
            self.note(woo_id, str(request.json().get("note", "")))
            return Answer(201, self.notes[woo_id][-1])
        return Answer(200, self.notes.get(woo_id, []))

    def _webhook_call(self, request: Request, hook_id: int) -> Answer:
        if request.method == "POST" and not hook_id:
            return self._create_webhook(request.json())
        with self.lock:
            if not hook_id:
                return self._list_webhooks(request)
            hook = self.webhooks.get(hook_id)
            if hook is None:
                return Answer(404, api_error("woocommerce_rest_shop_webhook_invalid_id", "Invalid ID.", 404))
            if request.method == "DELETE":
                if request.query.get("force") != "true":
                    message = "Webhooks do not support trashing."
                    return Answer(501, api_error("woocommerce_rest_trash_not_supported", message, 501))
                del self.webhooks[hook_id]
            elif request.method in ("PUT", "POST", "PATCH"):
                wanted = ("status", "topic", "delivery_url", "secret", "name")
                hook.update({name: value for name, value in request.json().items() if name in wanted})
                hook.update(dated("date_modified", self.now()))
            return Answer(200, _public(hook))

    def _list_webhooks(self, request: Request) -> Answer:
        status = request.query.get("status", "all")
        shown = [_public(hook) for hook in self.webhooks.values() if status in ("all", hook["status"])]
        hooks, headers = page(request.query, shown)
        return Answer(200, hooks, headers)

    def _create_webhook(self, fields: dict[str, Any]) -> Answer:
        for name in ("topic", "delivery_url"):
            if not fields.get(name):
                return invalid(name, f"Webhook {name} is required.")
        hook = self._add_webhook(fields)
        answer = Answer(201, _public(hook))
        # The ping comes before the answer, unsigned, with five seconds' patience; 201 even if it fails (FACTS A10).
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        if post(hook["delivery_url"], f"webhook_id={hook['id']}".encode(), form, 5) == 200:
            with self.lock:
                hook.update(dated("date_modified", self.now()))
        return answer


def _public(hook: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in hook.items() if name not in HIDDEN}
