"""What ERPNext says, in our words."""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, unquote
from zoneinfo import ZoneInfo

from sync.clients.answers import Reply
from sync.clients.crm.base import Field, unmarked
from sync.clients.crm.erpnext.zone import moment
from sync.clients.errors import AuthFailed, NotFound, Odd, Rejected, ServerTrouble, SideError, Unconfirmed, Unprepared
from sync.clients.snapshots import CrmSnapshot, is_word
from webhooks.masking import quoted

FIELD = "woo_order_id"
"""The custom field of Sales Order that holds the order's name."""
NOTE = "woo_note"
"""Another one, which is used if it is there."""
SHOWN = ("name", FIELD, "status", "docstatus", "modified", "creation", "grand_total")
NO_FIELD = f"ERPNext's Sales Order has no field {FIELD}, by which an order is found again."
MAKE_FIELD = (
    "Make it: the checks of its connection can, and so can `python manage.py doctor --fix`. By hand: a Custom Field, "
    f"Sales Order, Data, named {FIELD}, with Unique and No Copy ticked (docs/crms/erpnext.md)."
)
NOT_UNIQUE, CHANGED_MEANWHILE = "UniqueValidationError", "TimestampMismatchError"
MISTAKES = frozenset({"TypeError", "ValueError", "KeyError", "AttributeError", "IndexError", "JSONDecodeError"})
"""Of ERPNext's own code, with what one order holds: 500."""
NO_ROLE = "role permission"
LATER = frozenset({"QueryDeadlockError", "QueryTimeoutError", "LockTimeoutError", "DocumentLockedError"})
"""Something else was at it."""
KINDS: dict[str, Any] = {
    **dict.fromkeys(("Int", "Float", "Currency", "Percent", "Duration", "Rating"), "number"),
    **dict.fromkeys(("Date", "Datetime", "Time"), "date"),
    **{"Check": "yes_no", "Select": "choice", "Link": "reference", "Dynamic Link": "reference"},
}
NO_VALUE = frozenset({"Section Break", "Column Break", "Tab Break", "HTML", "Button", "Table", "Table MultiSelect"})


def judge(reply: Reply) -> SideError | None:
    """ERPNext's class of an error stands in `exc_type`: the status alone says little (docs/crms/erpnext.md)."""
    kind = reply.data.get("exc_type") if isinstance(reply.data, dict) else None
    if not isinstance(kind, str) or reply.status < HTTPStatus.BAD_REQUEST:
        return None
    words = said(reply.data)
    about: dict[str, Any] = {"side": "crm", "status": reply.status, "code": kind[:60]}
    if reply.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return _no_right(reply.status, words, about)
    if kind == "DataError" and FIELD in words:
        return Unprepared(NO_FIELD, advice=MAKE_FIELD, about_order=False, **about)
    if kind in LATER:  # and taken back: it may last as long as a bulk job there
        return ServerTrouble(f"ERPNext was busy with the same records: {words}", about_order=True, **about)
    if kind == CHANGED_MEANWHILE:
        return Unconfirmed(f"Somebody else changed it in ERPNext: {words}", about_order=True, **about)
    if reply.status == HTTPStatus.NOT_FOUND and (reply.method == "GET" or _names_itself(reply, words)):
        return NotFound(f"ERPNext: {words}", **about)
    if reply.status == HTTPStatus.NOT_FOUND:  # of a creation: something that it names
        advice = "Make it in ERPNext, or correct the setting that names it; then replay."
        return Rejected(f"ERPNext misses something: {words}", advice=advice, about_order=True, **about)
    if reply.status in (HTTPStatus.CONFLICT, HTTPStatus.EXPECTATION_FAILED) or kind in MISTAKES:
        return Rejected(f"ERPNext refuses it: {words}", advice=_advice(kind), about_order=True, **about)
    return None


def _names_itself(reply: Reply, words: str) -> bool:
    """A write to what is not there, and not one that names what is not."""
    name = unquote(reply.path.rpartition("/")[2])
    return reply.method != "POST" and name in words


def _no_right(status: int, words: str, about: Mapping[str, Any]) -> AuthFailed:
    if status == HTTPStatus.UNAUTHORIZED:
        advice = "The token is KEY:SECRET, as ERPNext shows them under User, API Access. Generate new keys if in doubt."
        return AuthFailed("ERPNext does not know the API key.", advice=advice, about_order=False, **about)
    advice = "Give the user of the API key the roles that docs/crms/erpnext.md names."
    # Else it may be one document that is out of reach, by a user permission: a cheap read tells.
    about_order = False if NO_ROLE in words else None
    return AuthFailed(f"ERPNext refuses it: {words}", advice=advice, about_order=about_order, **about)


def _advice(kind: str) -> str:
    if kind == "UpdateAfterSubmitError":
        return "ERPNext keeps that field of a submitted order. Tick Allow on Submit for it, or change it by hand."
    return "Correct it in the shop or in ERPNext, then replay."


def said(data: Mapping[str, Any]) -> str:
    """Its words to a person. They may tell of a customer, and are marked as the side's."""
    found = []
    try:
        for one in json.loads(data.get("_server_messages") or "[]"):
            message = json.loads(one)
            found.append(str(message.get("message") if isinstance(message, dict) else message))
    except (ValueError, TypeError):
        found = []
    words = found or [str(data.get("_error_message") or data.get("exception") or data.get("exc_type"))]
    return quoted(" ".join(re.sub(r"<[^>]*>", "", " ".join(words)).split())[:400])


def snapshot(row: Any, zone: ZoneInfo) -> CrmSnapshot:
    try:
        name, status = row["name"], row["status"]
        if not isinstance(name, str) or not isinstance(status, str) or not (is_word(name) and is_word(status)):
            raise ValueError("no id or no status")
        return CrmSnapshot(
            crm_order_id=name,
            external_id=unmarked(row.get(FIELD)),
            status=status,
            version=None,
            updated_at=moment(row["modified"], zone, datetime.now(UTC)),
            answer={one: row.get(one) for one in SHOWN},
            total=decimal(row["grand_total"]),
        )
    except (AttributeError, KeyError, TypeError, ValueError, ArithmeticError) as error:
        raise Odd("ERPNext's answer is not a Sales Order.", side="crm") from error


def age(one: CrmSnapshot) -> datetime:
    return one.updated_at or datetime.min.replace(tzinfo=UTC)


def field(name: str, meta: Mapping[str, Any]) -> Field:
    """As the site describes it."""
    kind = str(meta.get("fieldtype"))
    options = str(meta.get("options") or "").split("\n") if kind == "Select" else []
    return Field(
        name=name,
        label=str(meta.get("label") or name),
        kind=KINDS.get(kind, "text"),
        required=bool(meta.get("reqd")),
        writable=name != FIELD and not meta.get("read_only"),
        choices=tuple(filter(None, options)),
        longest=int(meta.get("length") or 140) if kind == "Data" else None,
    )


def decimal(number: Any) -> Decimal:
    """Amounts are numbers in its JSON; read as they are written."""
    if isinstance(number, bool) or not isinstance(number, int | float | str):
        raise TypeError("no amount")
    return Decimal(str(number))


def path_of(doctype: str, name: str = "") -> str:
    return "/api/resource/" + quote(doctype) + (f"/{quote(name, safe='', errors='replace')}" if name else "")
