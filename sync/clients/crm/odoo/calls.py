"""How Odoo is called: JSON-RPC up to 18, JSON-2 from 19 on. One method for both, with named arguments."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from sync.clients.crm.base import Access
from sync.clients.crm.cache import Cache
from sync.clients.crm.odoo.words import OF_THE_KEY, refused
from sync.clients.errors import AuthFailed, Blocked, NotFound
from sync.clients.http import JsonClient

READS = frozenset({"read", "search_read", "fields_get", "check_access_rights", "has_access"})
BY_VERSION, RPC, JSON2 = "by version", "JSON-RPC", "JSON-2"
FIRST_WITH_JSON2, FIRST_WITH_HAS_ACCESS = 19, 18


class Calls:
    """`uid` and the version are asked once in a while, by connection."""

    def __init__(self, access: Access, client: JsonClient, ids: Cache) -> None:
        self.access, self.client, self.ids = access, client, ids

    @property
    def version(self) -> int:
        """Its first number."""
        found: int = self.ids.get("version", self._ask_version)
        return found

    def __call__(self, model: str, method: str, ids: Sequence[int] | None = None, **named: Any) -> Any:
        protocol = self.access["protocol"]
        if protocol == JSON2 or (protocol != RPC and self.version >= FIRST_WITH_JSON2):
            return self._json2(model, method, ids, named)
        return self._rpc(model, method, ids, named)

    def search(self, model: str, domain: list[Any], fields: Sequence[str], **more: Any) -> list[dict[str, Any]]:
        found = self(model, "search_read", domain=domain, fields=list(fields), **more)
        if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
            raise Blocked(f"Odoo's answer is not a list of {model}.", side="crm")
        return found

    def create(self, model: str, values: Sequence[Mapping[str, Any]]) -> list[int]:
        """Their ids, in this order."""
        made = self(model, "create", vals_list=list(values))
        if not isinstance(made, list) or len(made) != len(values) or not all(type(one) is int for one in made):
            raise Blocked(f"Odoo's answer to a creation is not the ids of {model}.", side="crm")
        return made

    def may(self, model: str, right: str) -> bool:
        """Whether the user's roles give this right at all, whatever is refused for one record."""
        if self.version >= FIRST_WITH_HAS_ACCESS:
            return self(model, "has_access", [], operation=right) is not False
        return self(model, "check_access_rights", operation=right, raise_exception=False) is not False

    def known(self, model: str, field: str, domain: list[Any] | None = None) -> dict[str, int]:
        """The ids of a small model by the value of a field, kept for a while; the lowest, where several have it."""

        def read() -> dict[str, int]:
            rows = self.search(model, domain or [], (field,), order="id desc")
            return {str(row[field]): int(row["id"]) for row in rows}

        found: dict[str, int] = self.ids.get(f"{model} {domain or ''}", read)
        return found

    # --- the two protocols -----------------------------------------------------------------------------------------

    def _json2(self, model: str, method: str, ids: Sequence[int] | None, named: dict[str, Any]) -> Any:
        headers = {"Authorization": f"bearer {self.access['token']}", "X-Odoo-Database": self.access["database"]}
        body = {**({"ids": list(ids)} if ids is not None else {}), **named}
        path, write = f"/json/2/{model}/{method}", method not in READS
        return self._post(path, json=body, headers=headers, write=write)

    def _post(self, path: str, **request: Any) -> Any:
        """A page that is not found is never an order that is not there: of that Odoo speaks in JSON."""
        try:
            return self.client.request("POST", path, **request).data
        except NotFound as error:
            if error.code:
                raise
            advice = "See whether the address is that of Odoo itself."
            raise Blocked(error.message, advice=advice, side="crm", status=error.status) from error

    def _rpc(self, model: str, method: str, ids: Sequence[int] | None, named: dict[str, Any]) -> Any:
        uid = self.ids.get("uid", self._authenticate)
        # `create` is the one that looks at the place of what it is given.
        placed = [named.pop("vals_list")] if "vals_list" in named else [list(ids)] if ids is not None else []
        args = [self.access["database"], uid, self.access["token"], model, method, placed, named]
        try:
            return self._service("object", "execute_kw", args, write=method not in READS)
        except AuthFailed as error:
            if error.code in OF_THE_KEY:
                self.ids.forget("uid")
            raise

    def _service(self, service: str, method: str, args: list[Any], *, write: bool) -> Any:
        params = {"service": service, "method": method, "args": args}
        body = {"jsonrpc": "2.0", "method": "call", "id": 1, "params": params}
        data = self._post("/jsonrpc", json=body, write=write)
        if not isinstance(data, dict) or "jsonrpc" not in data:
            raise Blocked("Odoo's answer is not one of JSON-RPC.", side="crm")
        return data.get("result")  # a method that returns nothing has none

    def _authenticate(self) -> int:
        args = [self.access["database"], self.access["login"], self.access["token"], {}]
        uid = self._service("common", "authenticate", args, write=False)
        if type(uid) is not int:  # False
            raise refused()
        return uid

    def _ask_version(self) -> int:
        try:
            said = self._service("common", "version", [], write=False)
            return int(said["server_version_info"][0])
        except Blocked as error:
            if error.status != HTTPStatus.NOT_FOUND:
                raise
            return FIRST_WITH_JSON2  # JSON-RPC is to go some day
        except (KeyError, IndexError, TypeError, ValueError) as error:
            advice = "See whether the address is that of Odoo itself, or choose the protocol by hand."
            raise Blocked("Odoo does not tell its version.", advice=advice, side="crm") from error
