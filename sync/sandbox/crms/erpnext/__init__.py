"""ERPNext 15 on loopback, as `crm-captures/erpnext` shows it: naive times in the site's zone, names that are given
again, a unique field, documents that are submitted, and webhooks that it signs."""

import copy
import hmac
import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar
from urllib.parse import unquote
from zoneinfo import ZoneInfo

from django.conf import settings

from sync.sandbox.crms.base import Habits, Shown, StandIn
from sync.sandbox.crms.erpnext import answers
from sync.sandbox.crms.erpnext.documents import (
    ALL_OPEN,
    CANCELLED,
    COMPANY,
    DRAFT,
    FIELDS,
    FREIGHT,
    ORDER,
    SUBMITTED,
    TAX,
    Doc,
    Documents,
)
from sync.sandbox.crms.erpnext.lists import listed
from sync.sandbox.faults import Fault
from sync.sandbox.outbox import Outbox, post
from sync.sandbox.server import Answer, Request
from sync.sandbox.signing import hmac_base64

TOKEN = "sandbox-api-key:sandbox-api-secret"  # noqa: S105  of a sandbox
AGAIN = (1.0, 4.0)
"""Seconds after which a webhook that failed is sent again; then never (frappe's source)."""
TIMEOUT = 5.0
TEMPLATE = (
    '{"crm_order_id": "{{ doc.name }}", "external_id": "{{ doc.woo_order_id or \'\' }}", "status": "{{ doc.status }}", '
    '"modified": "{{ doc.modified }}"}'
)
"""Of the body of a webhook, as docs/crms/erpnext.md has it."""
LONGEST_ADDRESS = 4_094
"""Of gunicorn, which serves frappe."""
UPDATE_STATUS = "erpnext.selling.doctype.sales_order.sales_order.update_status"


class ErpnextStandIn(StandIn):
    """`set_status` is what its people do. `now` is the clock of the machine, `stamp` that of the site."""

    title = "ERPNext"
    statuses = ("Draft", "On Hold", ALL_OPEN, "To Bill", "To Deliver", "Completed", "Closed", "Cancelled")
    habits = Habits(
        usual={"Draft": ALL_OPEN, "On Hold": ALL_OPEN, ALL_OPEN: "To Bill", "To Deliver": "Completed"}
        | {"To Bill": "Completed"},
        detours=(
            (0.06, frozenset({"Draft", ALL_OPEN}), "Cancelled"),
            (0.10, frozenset({ALL_OPEN}), "On Hold"),
            (0.20, frozenset({ALL_OPEN}), "To Deliver"),
        ),
        backwards=(frozenset({"Completed", "Closed"}), ALL_OPEN),
    )
    settings: ClassVar[Mapping[str, str]] = {
        "token": TOKEN,
        "company": COMPANY,
        "tax_account": TAX,
        "shipping_account": FREIGHT,
    }

    def __init__(
        self,
        port: int = 0,
        token: str = TOKEN,
        webhook_url: str = "",
        webhook_secret: str = "",
        zone: str = "Europe/Berlin",
        site: str = "",
    ) -> None:
        super().__init__(port)
        self.token, self.zone, self.site = token, ZoneInfo(zone), site
        self.may_not: set[str] = set()
        "Doctypes that the user of the key has no right to."
        self.clock: Callable[[], datetime] | None = None
        self.documents = Documents(self.stamp)
        if webhook_url:
            self.documents.create("Webhook", _webhook(webhook_url, webhook_secret))
        self.outbox: Outbox = Outbox("ERPNext webhooks")

    @classmethod
    def sandboxed(cls, port: int, hooks: str, first_id: int) -> "ErpnextStandIn":
        made = cls(port, webhook_url=hooks, webhook_secret=next(iter(settings.CRM_WEBHOOK_SECRETS), ""))
        made.documents.next_order = first_id
        return made

    @property
    def orders(self) -> dict[str, Doc]:
        return self.documents.kept[ORDER]

    def stamp(self) -> str:
        at = self.clock() if self.clock else self.now()
        return at.astimezone(self.zone).strftime("%Y-%m-%d %H:%M:%S.%f")

    # --- what its people do --------------------------------------------------------------------------------------

    def set_status(self, crm_order_id: str, status: str) -> Doc:
        with self.lock:
            doc = self.orders[crm_order_id]
            before = doc["status"]
            if doc["docstatus"] == CANCELLED or (status == "Draft" and doc["docstatus"] == SUBMITTED):
                raise ValueError(f"{before} → {status}")
            doc |= {"status": status, "docstatus": _docstatus(status, doc), "modified": self.stamp()}
            self.tell(f"crm:  order {crm_order_id} (shop {doc.get('woo_order_id')}) {before} → {status}")
            self.changed(doc)
            return copy.deepcopy(doc)

    def delete(self, crm_order_id: str) -> None:
        with self.lock:
            self.documents.delete(ORDER, crm_order_id)

    def shown(self) -> list[Shown]:
        with self.lock:
            return [_as_shown(doc, self.zone) for doc in self.orders.values()]

    def customers(self) -> list[str]:
        with self.lock:
            known = [one.get("email_id") for one in self.documents.kept["Customer"].values()]
            return [one for one in known if one]

    def kept(self) -> dict[str, Any]:
        kept = {name: docs for name, docs in self.documents.kept.items() if name != "Webhook"}
        return {"kept": kept, "next_order": self.documents.next_order}

    def restore(self, kept: Mapping[str, Any]) -> None:
        for doctype, docs in kept["kept"].items():
            self.documents.kept[doctype].update(docs)
        self.documents.next_order = max(self.documents.next_order, kept["next_order"])

    # --- webhooks ------------------------------------------------------------------------------------------------

    def changed(self, doc: Doc) -> None:
        """The Doc Event on_change: at every change, hold, close and deletion too, and not at the creation."""
        hooks = [one for one in self.documents.kept["Webhook"].values() if one["enabled"]]
        if not hooks:
            return
        for hook in hooks * self.copies(doc["name"]):
            if (hook["webhook_doctype"], hook["webhook_docevent"]) == (ORDER, "on_change"):
                self.outbox.put(_sending(hook, doc))

    def webhook_body(self, doc: Doc) -> dict[str, Any]:
        return _rendered(TEMPLATE, doc)

    # --- REST ----------------------------------------------------------------------------------------------------

    def handle(self, request: Request, fault: Fault | None) -> Answer:
        host = request.headers.get("host", "").partition(":")[0]
        if len(request.target) > LONGEST_ADDRESS:
            return Answer(400, b"<h1>Bad Request</h1>Request Line is too large", {"Content-Type": "text/html"})
        if self.site and host != self.site:
            raise answers.other_site(host)
        given = request.headers.get("authorization", "")
        if not given:
            raise answers.no_right("Guest", ORDER)
        if not hmac.compare_digest(given.encode(), f"token {self.token}".encode()):
            raise answers.unknown_key()
        with self.lock:
            return self._call(request, [unquote(part) for part in request.path.strip("/").split("/")])

    def _call(self, request: Request, parts: list[str]) -> Answer:
        match parts:
            case ["api", "method", method]:
                return self._method(method, request)
            case ["api", "v2", "doctype", doctype, "meta"]:
                self._ensure_right(doctype)
                return Answer(200, {"data": {"name": doctype, "fields": self._meta(doctype)}})
            case ["api", "resource", doctype] if doctype in self.documents.kept:
                self._ensure_right(doctype)
                return self._list(doctype, request) if request.method == "GET" else self._create(doctype, request)
            case ["api", "resource", doctype, name] if doctype in self.documents.kept:
                self._ensure_right(doctype)
                return self._document(doctype, name, request)
        raise answers.missing("Page", request.path)

    def _ensure_right(self, doctype: str) -> None:
        if doctype in self.may_not:
            raise answers.no_right("orderbridge@example.test", doctype)

    def _method(self, method: str, request: Request) -> Answer:
        match method:
            case "frappe.client.get_time_zone":  # 066
                return Answer(200, {"message": {"time_zone": self.zone.key}})
            case "ping":
                return Answer(200, {"message": "pong"})
            case "frappe.auth.get_logged_user":
                return Answer(200, {"message": "orderbridge@example.test"})
            case _ if method == UPDATE_STATUS:  # 040, 042, 043, 045
                said = _json(request)
                self.set_status(said["name"], ALL_OPEN if said["status"] in ("Draft", "Submitted") else said["status"])
                return Answer(200, {})
        raise answers.refusal(417, "ValidationError", f"Failed to get method {method}")

    def _meta(self, doctype: str) -> list[Doc]:
        names = FIELDS[doctype].split()
        own = [{"fieldname": one, "label": one.replace("_", " "), "fieldtype": "Data"} for one in names]
        return [*own, *self.documents.custom(doctype)]

    def _list(self, doctype: str, request: Request) -> Answer:
        docs = self.documents.kept[doctype].values()
        return Answer(200, {"data": listed(doctype, docs, self.documents.fields_of(doctype), request.query)})

    def _create(self, doctype: str, request: Request) -> Answer:
        doc = self.documents.create(doctype, _json(request))
        if doctype == ORDER:
            self.tell(f"crm:  order {doc['name']} created for shop order {doc.get('woo_order_id')}")
            if doc["docstatus"] != DRAFT:
                self.changed(doc)
        return Answer(200, {"data": _masked(doc)})

    def _document(self, doctype: str, name: str, request: Request) -> Answer:
        match request.method:
            case "GET":
                return Answer(200, {"data": _masked(self.documents.one(doctype, name))})
            case "PUT":
                doc = self.documents.update(doctype, name, _json(request))
                if doctype == ORDER:
                    self.changed(doc)
                return Answer(200, {"data": _masked(doc)})
            case "DELETE":
                doc = self.documents.one(doctype, name)
                self.documents.delete(doctype, name)
                if doctype == ORDER:
                    self.changed(doc)
                return Answer(202, {"data": "ok"})
        return Answer(405, {"exc_type": "MethodNotAllowed"})


def _json(request: Request) -> Any:
    try:
        return request.json()
    except ValueError:
        raise answers.no_json() from None


def _masked(doc: Doc) -> Doc:
    """No password is ever shown."""
    return {name: "*" * 10 if name == "webhook_secret" else value for name, value in copy.deepcopy(doc).items()}


def _webhook(url: str, secret: str) -> Doc:
    """As its people make it."""
    of = {"name": "Orderbridge crm", "webhook_doctype": ORDER, "webhook_docevent": "on_change", "request_url": url}
    signed = {"enable_security": 1, "webhook_secret": secret} if secret else {}
    return {**of, **signed, "request_structure": "JSON", "webhook_json": TEMPLATE}


def _rendered(template: str, doc: Doc) -> dict[str, Any]:
    body = re.sub(r"{{ doc\.(\w+)(?: or '')? }}", lambda found: str(doc.get(found[1]) or ""), template)
    rendered: dict[str, Any] = json.loads(body)
    return rendered


def _sending(hook: Doc, doc: Doc) -> Callable[[], float | None]:
    url, schedule, body = hook["request_url"], list(AGAIN), json.dumps(_rendered(hook["webhook_json"], doc)).encode()
    signed = {}
    if hook["enable_security"]:
        signed = {"X-Frappe-Webhook-Signature": hmac_base64(body, hook["webhook_secret"])}

    def attempt() -> float | None:
        status = post(url, body, {"Content-Type": "application/json", **signed}, TIMEOUT)
        return None if 200 <= status < 300 or not schedule else schedule.pop(0)

    return attempt


def _docstatus(status: str, doc: Doc) -> int:
    return {"Draft": DRAFT, "Cancelled": CANCELLED}.get(status, SUBMITTED)


def _as_shown(doc: Doc, zone: ZoneInfo) -> Shown:
    changed = datetime.fromisoformat(doc["modified"]).replace(tzinfo=zone).astimezone(UTC)
    return Shown(
        crm_order_id=doc["name"],
        external_id=doc.get("woo_order_id") or "",
        status=doc["status"],
        customer=str(doc.get("customer_name") or ""),
        total=f"{doc['grand_total']:.2f} {doc.get('currency', '')}".strip(),
        changed=f"{changed:%Y-%m-%d %H:%M:%S}",
    )
