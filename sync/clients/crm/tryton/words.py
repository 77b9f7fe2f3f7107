"""What Tryton says, in our words, and how it wants to be asked."""

import json
import re
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from http import HTTPStatus
from typing import Any

from sync.clients.answers import Reply
from sync.clients.crm.base import unmarked
from sync.clients.crm.customers import Candidate
from sync.clients.errors import AuthFailed, Hidden, NotFound, Odd, Rejected, ServerTrouble, SideError
from sync.clients.snapshots import CrmSnapshot
from webhooks.masking import quoted
from webhooks.texts import is_number

NO_ACCESS = "You are not allowed to access"
UNKNOWN = re.compile(r"<p>(?:&#39;|')([a-z_0-9.]+)(?:&#39;|')</p>")
"""All that its page says where it does not know a model or a field: the KeyError of its own code."""


def judge(reply: Reply) -> SideError | None:
    """Tryton says no with a 400 and words; a page where the key may not do what is asked."""
    said = reply.data.get("message") if isinstance(reply.data, dict) else None
    if reply.status == HTTPStatus.BAD_REQUEST and isinstance(said, str):
        if said.startswith(NO_ACCESS):
            advice = "Give the user of the application key the groups Sales and Party Administration."
            return AuthFailed(said, advice=advice, side="crm", status=reply.status, about_order=False)
        return Rejected(f"Tryton refuses it: {quoted(said[:400])}", side="crm", status=reply.status, about_order=True)
    if reply.status == HTTPStatus.INTERNAL_SERVER_ERROR and (unknown := UNKNOWN.search(reply.text)):
        name = quoted(unknown[1])
        if reply.method == "GET":
            words, advice = f"Tryton does not know {name}.", "See whether its module sale is activated."
            return ServerTrouble(words, advice=advice, side="crm", status=reply.status)
        words, advice = f"Tryton does not know the field {name}.", "Correct the bridge's field map, then replay."
        return Rejected(words, advice=advice, side="crm", status=reply.status, about_order=True)
    if reply.status == HTTPStatus.FORBIDDEN and "permission" in reply.text:
        words = "Tryton does not let the user of the application key do this."
        return Hidden(words, advice="Give it the right to.", side="crm", status=reply.status, about_order=True)
    return None


def snapshot(row: Any) -> CrmSnapshot:
    try:
        changed = moment(row["write_date"]) or moment(row["create_date"])
        return CrmSnapshot(
            crm_order_id=str(int(row["id"])),
            external_id=unmarked(row["reference"]),
            status=str(row["state"]),
            version=None,
            updated_at=changed,
            answer={name: row[name] for name in ("id", "number", "reference", "state", "write_date")},
            total=decimal(row["total_amount"]),
        )
    except (KeyError, TypeError, ValueError, ArithmeticError) as error:
        raise Odd("Tryton's answer is not a sale.", side="crm") from error


def having(kind: str, value: str) -> list[Any]:
    """A domain: the parties with this e-mail address, phone number or VAT number."""
    if kind == "vat_number":
        return ["identifiers", "where", [["code", "ilike", literally(value)]]]
    is_same = "ilike" if kind == "email" else "="
    return ["contact_mechanisms", "where", [["type", "=", kind], ["value", is_same, literally(value)]]]


def candidate(row: Mapping[str, Any], sales: int) -> Candidate:
    """A party, as its people see it."""
    ways = [one for one in row["contact_mechanisms"] or () if one["value"]]
    addresses = [str(one["full_address"]) for one in row["addresses"] or () if one["full_address"]]
    details = {
        "E-mail": ", ".join(one["value"] for one in ways if one["type"] == "email"),
        "Phone": ", ".join(one["value"] for one in ways if one["type"] in ("phone", "mobile")),
        "VAT number": ", ".join(str(one["code"]) for one in row["identifiers"] or ()),
        "Address": "\n\n".join(addresses),
        "Code": str(row["code"] or ""),
        "Orders": str(sales),
    }
    return Candidate(id=str(row["id"]), name=str(row["name"] or ""), details=details)


def age(one: CrmSnapshot) -> datetime:
    return one.updated_at or datetime.min.replace(tzinfo=UTC)


def moment(said: Any) -> datetime | None:
    """Dates are tagged objects, in UTC."""
    if said is None:
        return None
    names = ("year", "month", "day", "hour", "minute", "second", "microsecond")
    return datetime(**{name: int(said[name]) for name in names}, tzinfo=UTC)


def tagged(at: datetime) -> dict[str, Any]:
    names = ("year", "month", "day", "hour", "minute", "second", "microsecond")
    return {"__class__": "datetime", **{name: getattr(at, name) for name in names}}


def decimal(said: Any) -> Decimal:
    return Decimal(said["decimal"])


def address_key(row: Mapping[str, Any]) -> tuple[str, ...]:
    country = row["country"]["code"] if isinstance(row["country"], dict) else ""
    return (*(str(row[name] or "") for name in ("party_name", "street", "postal_code", "city")), country)


def inner(row: Mapping[str, Any], path: str) -> Any:
    value: Any = row
    for name in path.split("."):
        value = value[name] if isinstance(value, Mapping) else None
    return value


def kind_of(ttype: str) -> Any:
    kinds = {"numeric": "number", "integer": "number", "float": "number", "date": "date", "timestamp": "date"}
    kinds |= {"boolean": "yes_no", "selection": "choice", "many2one": "reference"}
    return kinds.get(ttype, "text")


def sent(ttype: str, value: Any) -> Any:
    """A mapped value, as Tryton reads one of this type."""
    try:
        if ttype == "numeric":
            return {"__class__": "Decimal", "decimal": str(Decimal(str(value)))}
        if ttype in ("integer", "many2one"):
            return int(value)
        if ttype == "date":
            day = datetime.fromisoformat(str(value))
            return {"__class__": "date", "year": day.year, "month": day.month, "day": day.day}
        if ttype in ("datetime", "timestamp"):
            at = datetime.fromisoformat(str(value))
            return tagged(at.astimezone(UTC) if at.tzinfo else at)
    except (ValueError, ArithmeticError) as error:
        words = f"A mapped field takes {ttype} in Tryton, and gets something else."
        advice = "Correct the bridge's field map, then replay."
        raise Rejected(words, advice=advice, side="crm", about_order=True) from error
    return value


def packed(domain: Any) -> str:
    return urlsafe_b64encode(json.dumps(domain).encode()).decode()


def literally(text: str) -> str:
    """For `ilike`, in which these stand for any letters."""
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def path_of(crm_order_id: str) -> str:
    if not is_number(crm_order_id):
        raise NotFound(f"Tryton has no sale {crm_order_id!r}.", side="crm")
    return crm_order_id
