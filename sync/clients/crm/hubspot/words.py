"""What HubSpot calls things, and what its answers mean."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from http import HTTPStatus
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sync.clients.answers import Reply
from sync.clients.crm.base import unmarked
from sync.clients.errors import AuthFailed, Blocked, NotConfigured, NotFound, Odd, RateLimited, Rejected, SideError
from sync.clients.snapshots import WORD_LENGTH, CrmSnapshot
from webhooks.masking import quoted
from webhooks.moments import utc
from webhooks.texts import is_number

ORDER_KEY, LINE_KEY, CUSTOMER_KEY = "woo_order_id", "woo_line_id", "woo_customer_id"
"""Properties of ours that HubSpot keeps unique. By them everything is found again, and made only once."""
CONTACTS, LINES, PRODUCTS = "contacts", "line_items", "products"
MODIFIED, ID = "hs_lastmodifieddate", "hs_object_id"
CONFLICT = "CONFLICT"
SET_UP = "Run `manage.py doctor --fix`, which makes it, or make it by hand (docs/crms/hubspot.md)."
BRIEF, TEN_SECONDS, LOCKED, HOUR = 1.0, 10.0, 2.0, 3600.0
MIGRATING = 477
"""A status of HubSpot's own: the account is being moved to another data centre."""
SCOPE = re.compile(r"[a-z][a-z_-]*(?:\.[a-z_]+)+")


@dataclass(frozen=True, kw_only=True)
class Words:
    """Of the kind of record that an order of the shop becomes."""

    path: str
    "In the addresses of its records."
    type_id: str
    name: str
    amount: str
    currency: str
    note: str
    pipeline: str
    stage: str
    created: str = ""
    "When the shop's order was made; empty: it has no property for that."
    to_contact: int
    "The number of HubSpot's own association of it with a contact."
    to_line: int

    @property
    def shown(self) -> tuple[str, ...]:
        """What a snapshot is made of."""
        named = (ORDER_KEY, self.pipeline, self.stage, self.amount, self.currency, MODIFIED, self.created)
        return tuple(filter(None, named))


OBJECTS = {
    "orders": Words(
        path="orders",
        type_id="0-123",
        name="hs_order_name",
        amount="hs_total_price",
        currency="hs_currency_code",
        note="hs_order_note",
        pipeline="hs_pipeline",
        stage="hs_pipeline_stage",
        created="hs_external_created_date",
        to_contact=507,
        to_line=513,
    ),
    "deals": Words(
        path="0-3",
        type_id="0-3",
        name="dealname",
        amount="amount",
        currency="deal_currency_code",
        note="description",
        pipeline="pipeline",
        stage="dealstage",
        to_contact=3,
        to_line=19,
    ),
}


def snapshot(row: Any, words: Words) -> CrmSnapshot:
    try:
        shown = row["properties"]
        amount, created = shown[words.amount], words.created and shown.get(words.created)
        return CrmSnapshot(
            crm_order_id=str(int(row["id"])),
            external_id=unmarked(shown[ORDER_KEY]),
            status=status_of(shown[words.pipeline], shown[words.stage]),
            version=None,
            updated_at=utc(shown.get(MODIFIED) or row["updatedAt"]),
            answer={"id": row["id"], **{name: shown.get(name) for name in words.shown}},
            content={"date_created_gmt": created} if created else {},
            total=Decimal(amount) if amount else None,
        )
    except (KeyError, TypeError, ValueError, ArithmeticError, AttributeError) as error:
        raise Odd("HubSpot's answer is not an order.", side="crm") from error


def status_of(pipeline: str, stage: str) -> str:
    """`pipeline/stage`. Two ids of 36 characters would be too long for a status, and the stage's alone is unique."""
    if not pipeline or not stage:
        raise ValueError("no stage")
    whole = f"{pipeline}/{stage}"
    return whole if len(whole) <= WORD_LENGTH else f"{pipeline[:8]}/{stage}"


def path_of(crm_order_id: str) -> str:
    if not is_number(crm_order_id):
        raise NotFound(f"HubSpot has no record {crm_order_id!r}.", side="crm")
    return crm_order_id


# --- errors --------------------------------------------------------------------------------------------------------


RECORD = re.compile(r"/crm/objects/[^/]+/[^/]+/\d+")


def judge(reply: Reply, zone: ZoneInfo | None = None) -> SideError | None:
    """`zone`: of the account, in which its day ends."""
    said = reply.data if isinstance(reply.data, dict) else {}
    if reply.status == HTTPStatus.NOT_FOUND and not said:  # HubSpot itself says so in JSON
        advice = "See whether CRM_URL leads to HubSpot's API, and what stands in between."
        return Blocked("A page that is not HubSpot's says 404.", advice=advice, side="crm", status=reply.status)
    if not said or reply.status < HTTPStatus.BAD_REQUEST:
        return None
    words = quoted(str(said.get("message", ""))[:400])
    about: dict[str, Any] = {"side": "crm", "status": reply.status}
    match reply.status:
        case HTTPStatus.BAD_REQUEST | HTTPStatus.CONFLICT:
            return refused([said], reply.status)
        case HTTPStatus.UNAUTHORIZED:
            advice = "Copy the service key again (Development → Keys → Service keys) into CRM_TOKEN or the connection."
            return AuthFailed(f"HubSpot does not accept the key. {words}", advice=advice, about_order=False, **about)
        case HTTPStatus.FORBIDDEN:
            return _lacks_scopes(said, words)
        case HTTPStatus.NOT_FOUND:
            return _not_found(reply, words)
        case HTTPStatus.LOCKED:
            return RateLimited(f"HubSpot has locked a record for a moment. {words}", after=LOCKED, **about)
        case HTTPStatus.TOO_MANY_REQUESTS:
            return _limited(said, reply.headers.get("Retry-After", ""), zone, datetime.now(UTC))
        case _ if reply.status == MIGRATING:
            after = _seconds(reply.headers.get("Retry-After", ""), HOUR)
            return RateLimited(f"HubSpot is moving the account. {words}", after=after, **about)
    return None


def refused(errors: list[Any], status: int) -> SideError:
    """What is wrong with a record, with its properties by name. A property of ours that is missing concerns all."""
    whole = json.dumps(errors)
    if missing := next((key for key in (ORDER_KEY, LINE_KEY, CUSTOMER_KEY) if _is_missing(key, whole)), None):
        return NotConfigured(f"HubSpot has no unique property {missing}.", advice=SET_UP, side="crm", about_order=False)
    is_conflict = status == HTTPStatus.CONFLICT or any(
        word in whole for word in (CONFLICT, "already has that value", "already exists")
    )
    named = ", ".join(dict.fromkeys(_properties(errors)))
    words = quoted(" ".join(str(one.get("message", "")) for one in errors if isinstance(one, dict))[:400])
    what = f"HubSpot refuses it{f' because of {named}' if named else ''}: {words}"
    code = CONFLICT if is_conflict else ""
    return Rejected(what, side="crm", status=status, code=code, about_order=True)


def _is_missing(key: str, whole: str) -> bool:
    return key in whole and ("PROPERTY_DOESNT_EXIST" in whole or "does not exist" in whole or "not unique" in whole)


def _properties(errors: list[Any]) -> Iterator[str]:
    """HubSpot names them in the context of an error, or in JSON within its message."""
    for error in errors:
        if not isinstance(error, dict):
            continue
        context = error.get("context")
        for name in (context or {}).get("propertyName", []) if isinstance(context, dict) else []:
            yield str(name)
        yield from re.findall(r'"name":\s*"(\w+)"', str(error.get("message", "")))
        yield from _properties(error.get("errors") or [])


def _lacks_scopes(said: Mapping[str, Any], words: str) -> AuthFailed:
    scopes = ", ".join(dict.fromkeys(SCOPE.findall(json.dumps(said.get("errors") or said.get("context") or ""))))
    what = f"The service key lacks a scope: {scopes}." if scopes else f"The service key may not do this. {words}"
    advice = "Add it to the key in HubSpot (Development → Keys → Service keys)."
    return AuthFailed(what, advice=advice, side="crm", status=HTTPStatus.FORBIDDEN, about_order=False)


def _not_found(reply: Reply, words: str) -> SideError | None:
    """None: it is the record itself that is not there."""
    if RECORD.fullmatch(reply.path):
        return None
    if reply.method == "POST":
        what = f"HubSpot does not know what the order refers to. {words}"
        return Rejected(what, side="crm", status=reply.status, about_order=True)
    advice = "See whether CRM_URL leads to HubSpot's API. If your plan has no orders, let an order become a deal."
    return Blocked(f"HubSpot does not know {reply.path}. {words}", advice=advice, side="crm", status=reply.status)


def _limited(said: Mapping[str, Any], header: str, zone: ZoneInfo | None, now: datetime) -> RateLimited:
    """The limit of ten seconds is over in ten; that of a day at midnight, by the clock of the account."""
    policy = str(said.get("policyName") or said.get("message", "")).upper()
    about: dict[str, Any] = {"side": "crm", "status": HTTPStatus.TOO_MANY_REQUESTS}
    if "DAILY" in policy:
        until = day_ends(zone, now)
        words = f"HubSpot's daily limit of calls is used up. We wait until {until:%Y-%m-%d %H:%M %Z}"
        advice = "" if zone else "Tell us the account's time zone (CRM_TIME_ZONE): its day ends at midnight there."
        words += "." if zone else ", and then ask again."
        return RateLimited(words, advice=advice, after=(until - now).total_seconds(), **about)
    after = BRIEF if "SECONDLY" in policy and "TEN" not in policy else TEN_SECONDS
    after = _seconds(header, after)
    return RateLimited(f"HubSpot asks us to slow down ({policy.lower()[:60]}) for {after:g} s.", after=after, **about)


def day_ends(zone: ZoneInfo | None, now: datetime) -> datetime:
    """The next midnight of that time zone. Where it is not known: in an hour, by which it may be over."""
    if zone is None:
        return now + timedelta(hours=1)
    tomorrow = (now.astimezone(zone) + timedelta(days=1)).date()
    return datetime.combine(tomorrow, datetime.min.time(), zone)


def zone_of(name: str) -> ZoneInfo | None:
    """None: nobody said. Raises NotConfigured."""
    try:
        return ZoneInfo(name) if name else None
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        words = f"There is no time zone {name[:60]}."
        raise NotConfigured(words, advice="Write it as in Europe/Berlin (CRM_TIME_ZONE).", side="crm") from error


def _seconds(header: str, otherwise: float) -> float:
    return min(float(header), HOUR) if is_number(header) and int(header) else otherwise
