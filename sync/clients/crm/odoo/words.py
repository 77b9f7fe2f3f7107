"""What Odoo says, in our words."""

import html
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from http import HTTPStatus
from typing import Any

from sync.clients.answers import Reply
from sync.clients.crm.base import unmarked
from sync.clients.errors import AuthFailed, Blocked, NotFound, Odd, Rejected, ServerTrouble, SideError
from sync.clients.snapshots import CrmSnapshot
from webhooks.masking import quoted

SALE = "sale.order"
MISSING = "MissingError"
ACCESS = "AccessError"
RECORD = re.compile(r"\b([a-z_]+(?:\.[a-z_0-9]+)+)\((\d+),?\)")
"""The one that a MissingError names, in whatever language its words are."""
OF_THE_KEY = frozenset({"AccessDenied", "Unauthorized"})
OF_THE_DATA = frozenset({"UserError", "ValidationError", "RedirectWarning", "UnprocessableEntity", "ValueError"})
OF_THE_MOMENT = frozenset({"SerializationFailure", "LockNotAvailable", "DeadlockDetected", "ConcurrencyError"})
"""Somebody changed the same records at that moment: Odoo has tried it five times, and taken it back."""
OF_THE_DATABASE = frozenset({"OperationalError", "InterfaceError", "PoolError"})


def judge(reply: Reply) -> SideError | None:
    """Odoo answers errors with 200 in JSON-RPC, and with a status in JSON-2; both name the exception."""
    data = reply.data if isinstance(reply.data, dict) else {}
    error = data.get("error")
    raised = error.get("data") if isinstance(error, dict) else data if reply.status >= HTTPStatus.BAD_REQUEST else None
    if isinstance(error, dict) and not isinstance(raised, dict):
        return Blocked(f"Odoo answers with an error: {quoted(str(error.get('message'))[:400])}", side="crm")
    if not isinstance(raised, dict) or not isinstance(raised.get("name"), str):
        return None
    name = raised["name"].rpartition(".")[2]
    return _error(name, str(raised.get("message") or "").strip(), reply.status)


def _error(name: str, message: str, status: int) -> SideError:
    said = f"Odoo refuses it ({name}): {quoted(message[:400])}"
    about: dict[str, Any] = {"side": "crm", "status": status, "code": name}
    if name in OF_THE_KEY:
        return refused(**about)
    if name == ACCESS:
        advice = "Give the user of the API key the rights that docs/crms/odoo.md names."
        return AuthFailed(said, advice=advice, **about)
    if name == MISSING:
        record = RECORD.search(message)
        if record and record[1] == SALE:
            return NotFound(f"Odoo has no order {record[2]}.", **about)
        return Rejected(said, about_order=True, **about)
    if name in OF_THE_DATA or name.endswith("Violation"):
        return Rejected(said, about_order=True, **about)
    if name in OF_THE_MOMENT:
        return ServerTrouble(f"Odoo was changing the same records ({name}).", about_order=True, **about)
    if name in OF_THE_DATABASE:
        advice = "See whether the setting database is the name of Odoo's database."
        return ServerTrouble(f"Odoo has trouble with its database: {quoted(message[:400])}", advice=advice, **about)
    if name == "NotFound":
        advice = "See whether the app Sales is installed, and the setting database is right."
        return Blocked(f"Odoo does not know what is asked: {quoted(message[:400])}", advice=advice, **about)
    return ServerTrouble(f"Odoo fails ({name}): {quoted(message[:400])}", **about)


def refused(**about: Any) -> AuthFailed:
    about = {"side": "crm", **about}
    advice = "Check login, API key and database, and whether the key has expired."
    return AuthFailed("Odoo does not accept the API key.", advice=advice, about_order=False, **about)


def snapshot(row: Any) -> CrmSnapshot:
    try:
        if not isinstance(row["state"], str):
            raise TypeError("state")
        return CrmSnapshot(
            crm_order_id=str(int(row["id"])),
            external_id=unmarked(row["client_order_ref"]),
            # Since 17 a locked order is no status of its own.
            status="done" if row["state"] == "sale" and row.get("locked") else row["state"],
            version=None,
            updated_at=moment(row["write_date"]),
            answer={name: row[name] for name in ("id", "name", "client_order_ref", "state", "locked") if name in row}
            | {"write_date": row["write_date"], "amount_total": str(row["amount_total"])},
            total=decimal(row["amount_total"]),
        )
    except (KeyError, TypeError, ValueError, ArithmeticError) as error:
        raise Odd("Odoo's answer is not an order.", side="crm") from error


def moment(said: str) -> datetime:
    """Naive, in UTC, without the part of a second that is stored."""
    return datetime.strptime(said, "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)


def hint(event: Mapping[str, Any]) -> dict[str, Any] | None:
    """A webhook, which shows the time of the change with microseconds. It comes several times for one change."""
    if event["_model"] != SALE:
        return None
    said: dict[str, Any] = {"crm_order_id": str(event["_id"])}
    if isinstance(event.get("write_date"), str):
        said["updated_at"] = f"{event['write_date'].replace(' ', 'T')}Z"
    return said


def stamp(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def decimal(number: Any) -> Decimal:
    """Odoo's amounts are JSON numbers of a few digits, which Python writes as they were."""
    return Decimal(str(number))


def reference(value: Any) -> int | None:
    """The id of a record that a field leads to: `[id, name]`, or False."""
    return int(value[0]) if isinstance(value, list) and value else None


def markup(lines: Iterable[str]) -> str:
    """For a field that holds HTML."""
    return f"<p>{'<br>'.join(html.escape(line) for line in lines)}</p>"


def literally(text: str) -> str:
    """For `=ilike`, in which these stand for any letters."""
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def one_of(conditions: list[list[Any]]) -> list[Any]:
    """A domain that any of these fulfils."""
    return ["|"] * (len(conditions) - 1) + conditions


def kind_of(ttype: str) -> Any:
    kinds = {"integer": "number", "float": "number", "monetary": "number", "date": "date", "datetime": "date"}
    kinds |= {"boolean": "yes_no", "selection": "choice", "many2one": "reference"}
    return kinds.get(ttype, "text")


def is_id(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 10


def id_of(crm_order_id: str) -> int:
    if not is_id(crm_order_id):
        raise NotFound(f"Odoo has no order {crm_order_id!r}.", side="crm")
    return int(crm_order_id)


def text(row: Mapping[str, Any], name: str) -> str:
    """An empty field is False in Odoo."""
    return str(row.get(name) or "")
