"""Odoo on loopback, as the captures of 16 and 17 show it, and JSON-2 as the sources of 19 do.

It answers errors with 200, shows whole seconds, keeps no reference unique, and sends its webhooks before it stores what
they tell of. Where a number stands behind a line, as in `odoo16/034`, that capture shows it.
"""

import html
import json
import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from sync.sandbox.crms.base import Habits, Shown, StandIn
from sync.sandbox.crms.odoo.records import PARTNER, SALE, OdooError, Records, missing
from sync.sandbox.crms.odoo.sales import Sales, furnish
from sync.sandbox.faults import Fault
from sync.sandbox.outbox import post
from sync.sandbox.server import Answer, Request

US, PEOPLE = 6, 2
"""Users: the one of the API key, and whoever works there."""
READS = frozenset({"read", "search_read", "search_count", "fields_get", "version", "authenticate"})
HOOK_SECONDS = 1.0
TAG = re.compile(r"<[^>]*>")
HOOKS_OF_A_CONFIRMATION = 3
STATUS_OF = {"AccessDenied": 403, "Unauthorized": 401, "AccessError": 403, "MissingError": 404, "NotFound": 404}
"""In JSON-2; what the data is to blame for is a 422, anything else a 500."""
DIALOG = {"name": "Cancel Sales Order", "res_model": "sale.order.cancel", "type": "ir.actions.act_window"}
MOVES = {
    "draft": ("sent", "sale", "cancel"),
    "sent": ("sale", "cancel"),
    "sale": ("done", "cancel"),
    "done": ("sale",),
    "cancel": ("draft",),
}
NO_RIGHT = (  # odoo16/008
    "You are not allowed to access '{model}' ({model}) records.\n\nContact your administrator to request access if "
    "necessary."
)


class OdooStandIn(StandIn):
    """`forbidden`: pairs of a model and a method that the user of the key may not call. `failing`: by such a pair, what
    the next call of it raises. An automation posts each change (17 and later) where `webhook_url` says."""

    title = "Odoo stand-in"
    statuses = tuple(MOVES)
    habits = Habits(
        usual={"draft": "sent", "sent": "sale", "sale": "done"},
        detours=((0.06, frozenset({"draft", "sent", "sale"}), "cancel"),),
        backwards=(frozenset({"cancel"}), "draft"),
    )
    settings = {
        "database": "demo",
        "login": "orderbridge",
        "token": "odoo-sandbox-api-key",
        "webhook_secrets": "odoo-sandbox-webhook-secret",
    }

    def __init__(self, port: int = 0, version: int = 17) -> None:
        super().__init__(port)
        self.version = version
        self.records = Records(self.now, version)
        furnish(self.records)
        self.sales = Sales(self.records)
        self.forbidden: set[tuple[str, str]] = {(SALE, "unlink")}  # odoo16/056
        self.lost: set[tuple[str, str]] = set()
        "Rights that the user's roles do not give any more, by model."
        self.failing: dict[tuple[str, str], OdooError] = {}

    @classmethod
    def sandboxed(cls, port: int, hooks: str, first_id: int) -> "OdooStandIn":
        server = cls(port)
        server.webhook_url = hooks
        return server

    # --- what people do, and see -----------------------------------------------------------------------------------

    def shown(self) -> list[Shown]:
        with self.lock:
            tables = self.records.tables
            return [
                Shown(
                    crm_order_id=str(row["id"]),
                    external_id=row["client_order_ref"] or "",
                    status="done" if row["locked"] else row["state"],
                    customer=tables[PARTNER][row["partner_id"]]["name"],
                    total=f"{row['amount_total']:.2f} {tables['res.currency'][row['currency_id']]['name']}",
                    note=html.unescape(TAG.sub("\n", row["note"] or "")).strip(),
                    changed=row["write_date"][:19],
                )
                for row in tables[SALE].values()
            ]

    def set_status(self, crm_order_id: str, status: str) -> object:
        """By the buttons of an order. Since 17 `done` is a lock (odoo17/012)."""
        number = int(crm_order_id)
        with self.lock:
            row = self.records.tables[SALE][number]
            now = "done" if row["locked"] else row["state"]
        if status not in MOVES[now]:
            raise ValueError(f"Odoo has no button that leads from {now} to {status}.")
        by_lock = self.version >= 17
        values: dict[str, Any] = {"state": "sale" if by_lock and status == "done" else status}
        values |= {"locked": status == "done"} if by_lock else {}
        self.tell(f"crm:  order {number} ({row['client_order_ref']}) {now} → {status}")
        self._store(number, values, PEOPLE, HOOKS_OF_A_CONFIRMATION if (now, status) == ("sent", "sale") else 1)
        return status

    def customers(self) -> list[str]:
        with self.lock:
            people = [row for row in self.records.tables[PARTNER].values() if row["type"] == "contact"]
            return [row["email"] for row in people if row["email"]]

    def write(self, crm_order_id: str, **values: Any) -> None:
        """Anything, by its people."""
        self._store(int(crm_order_id), values, PEOPLE)

    def wait_a_second(self) -> None:
        """By its clock, so that what comes then is seen to be later."""
        self.clock_is_ahead += timedelta(seconds=1)

    def kept(self) -> dict[str, Any]:
        return {
            "last": self.records.last,
            "tables": {name: [*rows.values()] for name, rows in self.records.tables.items()},
        }

    def restore(self, kept: Mapping[str, Any]) -> None:
        self.records.last = dict(kept["last"])
        self.records.tables = {name: {row["id"]: row for row in rows} for name, rows in kept["tables"].items()}

    # --- protocols -------------------------------------------------------------------------------------------------

    def handle(self, request: Request, fault: Fault | None) -> Answer:
        if request.path == "/jsonrpc" and request.method == "POST":
            return self._jsonrpc(request)
        parts = request.path.strip("/").split("/")
        if parts[:2] == ["json", "2"] and len(parts) == 4 and self.version >= 19:
            return self._json2(request, parts[2], parts[3])
        return Answer(
            404, b"<!DOCTYPE html><html><title>Odoo</title></html>", {"Content-Type": "text/html"}
        )  # odoo16/076

    def _jsonrpc(self, request: Request) -> Answer:
        try:
            asked = request.json()
        except ValueError:
            return Answer(400, b"Invalid JSON data", {"Content-Type": "text/html; charset=utf-8"})  # odoo16/038
        envelope = {"jsonrpc": "2.0", "id": asked.get("id")}
        try:
            result = self._service(**asked["params"])
        except OdooError as error:
            raised = {
                "name": error.name,
                "debug": "",
                "message": error.message,
                "arguments": [error.message],
                "context": {},
            }
            return Answer(200, {**envelope, "error": {"code": 200, "message": "Odoo Server Error", "data": raised}})
        return Answer(200, envelope if result is None else {**envelope, "result": result})  # odoo16/040

    def _service(self, service: str, method: str, args: list[Any]) -> Any:
        if (service, method) == ("common", "version"):
            info = [self.version, 0, 0, "final", 0, ""]
            return {"server_version": f"{self.version}.0", "server_version_info": info, "protocol_version": 1}
        database, user, key = args[:3]
        if database != self.settings["database"]:  # odoo16/003
            words = (
                f'connection to server at "127.0.0.1", port 5432 failed: FATAL:  database "{database}" does not exist\n'
            )
            raise OdooError("psycopg2.OperationalError", words)
        if (service, method) == ("common", "authenticate"):
            return US if (user, key) == (self.settings["login"], self.settings["token"]) else False  # odoo16/002
        if (user, key) != (US, self.settings["token"]):  # odoo16/006
            raise OdooError("odoo.exceptions.AccessDenied", "Access Denied")
        model, name, placed, named = args[3:]
        return self._execute(model, name, list(placed), dict(named))

    def _json2(self, request: Request, model: str, method: str) -> Answer:
        try:
            if request.headers.get("authorization") != f"bearer {self.settings['token']}":
                raise OdooError("werkzeug.exceptions.Unauthorized", "Invalid apikey")
            named = request.json()
            ids = [named.pop("ids")] if "ids" in named else []
            result = self._execute(model, method, ids, named)
            return Answer(200, [result] if method == "create" and type(result) is int else result)
        except OdooError as error:
            of_data = error.name.endswith(("UserError", "ValidationError"))
            status = STATUS_OF.get(error.name.rpartition(".")[2], 422 if of_data else 500)
            return Answer(
                status, {"name": error.name, "message": error.message, "arguments": [], "context": {}, "debug": ""}
            )

    def place_of(self, request: Request) -> tuple[str, str]:
        """Faults go by what is called: `/sale.order/create` is a POST, whatever reads is a GET."""
        parts = request.path.strip("/").split("/")
        if parts[0] == "json":
            model, method = parts[-2:]
        else:
            params = json.loads(request.body or b"{}").get("params", {})
            called = params.get("args", []) if params.get("method") == "execute_kw" else []
            model, method = called[3:5] if called else (params.get("service", ""), params.get("method", ""))
        return "GET" if method in READS else "POST", f"/{model}/{method}"

    # --- methods ---------------------------------------------------------------------------------------------------

    def _execute(self, model: str, method: str, placed: list[Any], named: dict[str, Any]) -> Any:
        with self.lock:
            self.records.fields(model)
            if method in ("check_access_rights", "has_access"):
                return (model, named["operation"]) not in self.lost
            if failing := self.failing.pop((model, method), None):
                raise failing
            if (model, method) in self.forbidden | self.lost:
                raise OdooError("odoo.exceptions.AccessError", NO_RIGHT.format(model=model))
        if model == SALE and method in ("write", *ACTIONS):
            return self._of_orders(method, placed[0], placed[1] if len(placed) > 1 else named.get("vals", {}), named)
        with self.lock:
            match method:
                case "search_read":
                    domain = placed[0] if placed else named.get("domain", [])
                    found = self.records.search(model, domain, named.get("order", ""), named.get("limit"))
                    return self.records.read(model, found, named.get("fields", ()))
                case "read":
                    return self.records.read(model, placed[0], named.get("fields", ()))
                case "fields_get":
                    return {name: _described(name, kind) for name, kind in self.records.fields(model).items()}
                case "create":
                    return self._create(model, placed[0] if placed else named["vals_list"])
                case "write" | "unlink":
                    return self._change(
                        model, method, placed[0], placed[1] if len(placed) > 1 else named.get("vals", {})
                    )
        raise OdooError("builtins.AttributeError", f"The method '{model}.{method}' does not exist")

    def _create(self, model: str, values: Any) -> Any:
        rows = values if isinstance(values, list) else [values]
        for one in rows:
            self.records.check(model, one)
        if model == SALE:
            made = [self.sales.create(one, US) for one in rows]
            self.tell(f"crm:  order {made[0]} created ({rows[0].get('client_order_ref')})")
        else:
            made = [
                self.records.insert(model, {"type": "contact", **one} if model == PARTNER else one, US) for one in rows
            ]
        return made if isinstance(values, list) else made[0]

    def _change(self, model: str, method: str, numbers: list[int], values: Mapping[str, Any]) -> bool:
        for one in numbers:
            if one not in self.records.tables[model]:
                raise missing(model, one)
        self.records.check(model, values)
        for one in numbers:
            if method == "write":
                self.records.change(model, one, values)
            elif model == PARTNER:
                self.sales.remove_partner(one)
            else:
                del self.records.tables[model][one]
        return True

    def _of_orders(self, method: str, numbers: list[int], values: Mapping[str, Any], named: Mapping[str, Any]) -> Any:
        with self.lock:
            for one in numbers:
                if one not in self.records.tables[SALE]:  # odoo16/023
                    raise missing(SALE, one)
        if method == "action_cancel" and not named.get("context", {}).get("disable_cancel_warning"):
            return DIALOG  # and nothing else: odoo16/048
        if method == "action_draft":  # odoo16/050
            numbers = [one for one in numbers if self.records.tables[SALE][one]["state"] in ("sent", "cancel")]
        for one in numbers:
            self._store(one, values if method == "write" else ACTIONS[method], US)
        return True

    def _store(self, number: int, values: Mapping[str, Any], uid: int, hooks: int = 1) -> None:
        """The webhooks leave first (READBACK.txt), also when nothing comes of it (odoo17/023)."""
        with self.lock:
            self.records.check(SALE, values)
            row = self.records.tables[SALE][number]
            shown = {"_id": number, "_model": SALE, "_action": "Orderbridge webhook", "id": number}
            shown |= {"state": values.get("state", row["state"]), "client_order_ref": row["client_order_ref"]}
            shown |= {"write_date": self.records.stamp()}
        if self.webhook_url and self.version >= 17:
            url = f"{self.webhook_url}crm/{self.settings['webhook_secrets']}/"
            for _ in range(hooks if self.network.delays() else 0):  # unsigned (odoo17/005)
                post(url, json.dumps(shown).encode(), {"Content-Type": "application/json"}, HOOK_SECONDS)
        with self.lock:
            self.sales.ensure_writable(number, values)
            self.sales.write(number, values, uid)


ACTIONS: dict[str, dict[str, Any]] = {
    "action_quotation_sent": {"state": "sent"},
    "action_confirm": {"state": "sale"},
    "action_cancel": {"state": "cancel"},
    "action_draft": {"state": "draft"},
}


def _described(name: str, kind: str) -> dict[str, Any]:
    choices = {"selection": [[one, one.title()] for one in MOVES]} if name == "state" else {}
    ttype = "selection" if choices else kind.partition(":")[0]
    return {
        "string": name.replace("_", " ").title(),
        "type": ttype,
        "required": name == "partner_id",
        "readonly": False,
    } | choices
