"""Who may send us deliveries, and how to read what they say: a source is data, not a class."""

import functools
import hashlib
import json
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Never, TypeGuard

from webhooks.connections import CRM, SHOP, WOOCOMMERCE, Connection, sender
from webhooks.customers import customer_of
from webhooks.hooks import HOOKS, REST_SCHEMA, SHOP_SCHEMA, Answer, Parser, Proof, form_of, scheme
from webhooks.models import Side
from webhooks.moments import utc
from webhooks.signatures import standard_headers

BIGINT = 2**63 - 1
KEY_LENGTH = 160
MAX_EVENTS = 10_000
"""In one delivery: more than there are whole events in a body of 1 MiB, and about a second's work. Of zeros half a
million fit in, and a row for each would keep the sender waiting for minutes."""
ORDERS_HAVE = {"order_key", "line_items", "currency", "total", "number"}
OTHERS_HAVE = {"sku", "slug", "permalink", "username", "discount_type"}
"""Products, customers and coupons; their webhooks are signed with the same secret by those who use one for all."""
SUBSCRIPTIONS_HAVE = {"billing_period", "next_payment_date_gmt"}
"""They look like orders and have numbers of the same row."""
REFUNDS_HAVE = {"refunded_by", "refunded_payment"}
RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)?", re.ASCII)
"""But for the zone, which some leave out (`moments.utc`)."""


@dataclass(frozen=True, kw_only=True)
class Signal:
    """One thing that a delivery tells. A `parked_reason` means that a person must look, and says at what."""

    dedupe_key: str
    by_hash: bool = False
    "It has a content-hash key, of nothing but its body: its repetition may be news (`insert.MAY_BE_NEWS`)."
    topic: str = ""
    order_ref: str = ""
    version: int | None = None
    status: str = ""
    occurred_at: datetime | None = None
    delivery_id: str = ""
    index: int | None = None
    "The place in the array; None if the body is one object."
    element: bytes = b""
    "The element of the array as JSON, for places after the first."
    customer: str = ""
    parked_reason: str = ""


FIRST = "standard-webhooks"
FROM_A_SHOP = scheme("woocommerce", "X-WC-Webhook-Signature")
ENVIRONMENT_SHOP, ENVIRONMENT_CRM = Connection(slug=SHOP, kind=WOOCOMMERCE), Connection(slug=CRM)
"""Their rows say nothing that the settings do not: no delivery of theirs asks the database before it is stored."""

Read = Callable[[Any], Mapping[str, Any] | None]
"""One event of a CRM in the words of `rest` (`crm_order_id` …). None: it is about something else than an order. What
cannot be read raises Unreadable, or whatever Python does where something is missing."""


@dataclass(frozen=True, kw_only=True)
class Source:
    name: str
    connection: str
    "The slug of the one that sends."
    side: Side
    schema: str
    "In which it writes."
    verify: Proof
    secrets: tuple[str, ...]
    "The usable ones. None of them: the source is not configured, and lets nobody in."
    parse: Parser
    answer: Answer = lambda delivery: None

    @property
    def header(self) -> str:
        """That carries the proof."""
        return self.verify.header


class Unreadable(Exception):
    """The delivery is authentic and cannot be understood; the message tells staff why and what to do."""


def woocommerce(slug: str = SHOP) -> Source | None:
    """None: no shop that we know has this name."""
    known = ENVIRONMENT_SHOP if slug == SHOP else sender(slug)
    if known is None or known.side != Side.SHOP:
        return None
    shop = known.shop_config
    return Source(
        name="woocommerce",
        connection=slug,
        side=Side.SHOP,
        schema=SHOP_SCHEMA,
        verify=FROM_A_SHOP,
        secrets=tuple(filter(FROM_A_SHOP.usable, shop.webhook_secrets)),
        parse=parse_woocommerce,
    )


def crm(slug: str = CRM) -> Source | None:
    """The same of a CRM, which may be in several bridges."""
    known = ENVIRONMENT_CRM if slug == CRM else sender(slug)
    if known is None or known.side != Side.CRM:
        return None
    told = known.crm_config
    hooks = HOOKS.get(told.backend)
    proof = (hooks and hooks.verify) or scheme(told.signature, told.signature_header)
    about: dict[str, Any] = {
        "name": "crm",
        "connection": slug,
        "side": Side.CRM,
        "verify": proof,
        "secrets": tuple(filter(proof.usable, told.webhook_secrets)),
    }
    if hooks:
        return Source(**about, schema=hooks.schema, parse=hooks.parse, answer=hooks.answer)
    # Only this scheme signs the id of the delivery; an unsigned one proves nothing.
    parse = functools.partial(parse_crm, id_is_signed=told.signature == FIRST)
    return Source(**about, schema=REST_SCHEMA, parse=parse)


# --- both ----------------------------------------------------------------------------------------------------------


def clean(text: str, length: int) -> str:
    """What PostgreSQL can store in a column of this length: no NUL, no lone surrogates."""
    if text.isascii() and "\0" not in text:
        return text[:length]
    return text.replace("\0", "").encode("utf-8", "ignore").decode()[:length]


def _sha256(*parts: bytes) -> str:
    """Of the parts with their lengths: no two lists of parts look alike."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(b"%d:" % len(part))
        digest.update(part)
    return digest.hexdigest()


def _key(kind: str, text: str) -> str:
    key = f"{kind}:{text}"
    if len(key) <= KEY_LENGTH and clean(key, KEY_LENGTH) == key:
        return key
    return f"{kind}:sha256:{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()}"


def _not_json(word: str) -> Never:
    raise ValueError(f"{word} is not JSON")


DECODER = json.JSONDecoder(parse_constant=_not_json)
SORTED = json.JSONEncoder(sort_keys=True)


def _json(body: bytes) -> Any:
    try:
        return DECODER.decode(body.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise Unreadable("The body is not UTF-8 text. Look at its bytes, and at what stands between.") from None
    except ValueError:
        raise Unreadable(_why_no_json(body)) from None
    except RecursionError:
        raise Unreadable("The body is nested too deeply to be read. Ask its sender what it is.") from None


def _why_no_json(body: bytes) -> str:
    beginning = body.removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
    if not beginning:
        return "The body is empty: the sender broke down, or something on the way took it. See the log of the sender."
    if beginning == b"<":
        return "The body is XML or a page, and not JSON. Look at the body: it shows who wrote it."
    if beginning in b"{[":
        return "The body is not JSON, though it begins as such: it breaks off or holds what JSON does not know."
    return "The body is not JSON. Look at the body: it shows who wrote it."


def _integer(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


# --- WooCommerce ---------------------------------------------------------------------------------------------------


def parse_woocommerce(body: bytes, headers: Mapping[str, str], *, is_edited: bool = False) -> list[Signal]:
    """One delivery, one signal, known by what is signed: the body. Whoever caught it may send it again under any topic,
    webhook id and delivery id; and two states of one order may share a delivery id (FACTS A3). These are labels.

    `is_edited`: staff wrote it, who need not write a whole order to name one."""
    signal = Signal(
        dedupe_key=f"hash:{_sha256(body)}",
        by_hash=True,
        topic=clean(headers.get("X-WC-Webhook-Topic", ""), 100),
        delivery_id=clean(headers.get("X-WC-Webhook-Delivery-ID", ""), 128),
    )
    try:
        return [_shop_signal(signal, _json(body), is_edited)]
    except Unreadable as error:
        return [replace(signal, parked_reason=clean(str(error), 500))]


def _shop_signal(signal: Signal, order: Any, is_edited: bool) -> Signal:
    if not isinstance(order, dict):
        raise Unreadable("The body is JSON and not an object, so it is no order. Look at what the webhook sends.")
    number = order.get("id")
    if not (_integer(number) and 1 <= number <= BIGINT):
        raise Unreadable(_why_no_order(order))
    if not ORDERS_HAVE & order.keys() or SUBSCRIPTIONS_HAVE & order.keys():
        if others := (OTHERS_HAVE | SUBSCRIPTIONS_HAVE) & order.keys():
            has = ", ".join(sorted(others))
            raise Unreadable(f"The body is no order: it has {has}. Remove the webhook that sends it in the shop.")
        # It may be about anything, as the {"id": 19} of what went to the trash: all that is left is the label. Then it
        # gets a key of its own: nobody can keep the order's delivery out by sending it first under another topic.
        if signal.topic and signal.topic.partition(".")[0] != "order":
            about = f"The topic {signal.topic!r} is not about orders. Remove that webhook in the shop."
            return replace(signal, dedupe_key=f"other:{signal.dedupe_key}", parked_reason=about)
    # Of one that is in the trash or back from it, WooCommerce tells the number alone.
    has_status = isinstance(order.get("status"), str) and order["status"]
    if REFUNDS_HAVE & order.keys():
        raise Unreadable("The body is a refund and no order. Remove the webhook that sends it in the shop.")
    if not (has_status or is_edited or order.keys() == {"id"}):
        raise Unreadable("The body is no order: it has an id and no status. Look at what the webhook sends.")
    changed = _gmt(order.get("date_modified_gmt"))
    return replace(signal, order_ref=str(number), occurred_at=changed, customer=customer_of(order))


def _why_no_order(body: dict[str, Any]) -> str:
    code, data = body.get("code"), body.get("data")
    if isinstance(code, str) and isinstance(data, dict):
        return (
            f"The shop could not build the order: {clean(code, 100)} ({str(data.get('status'))[:20]}). With 401 or 403 "
            "give the owner of the webhook the right to read orders again; with 404 the order was deleted first."
        )
    if isinstance(body.get("order"), dict):
        return (
            "The body has the form of WooCommerce's legacy API. Set the API version of that webhook to WP REST API "
            "Integration v3 in the shop, or remove it: `shop_webhooks ensure` makes ours."
        )
    if "action" in body and "arg" in body:
        return (
            "The body names an action of WordPress and no order. Remove the webhook that sends it in the shop: "
            "`shop_webhooks ensure` makes ours."
        )
    return "The body names no order: its id is not an integer from 1 to 2^63-1. Look at what the webhook sends."


def _gmt(value: Any) -> datetime | None:
    try:
        return utc(value)
    except ValueError:
        return None


# --- the CRM -------------------------------------------------------------------------------------------------------


def reader(read: Read) -> Parser:
    """Of the deliveries of a CRM with words of its own: one event or an array of them, as JSON or as a form."""
    return functools.partial(parse_crm, id_is_signed=False, read=read)


def parse_crm(body: bytes, headers: Mapping[str, str], *, id_is_signed: bool, read: Read | None = None) -> list[Signal]:
    """One object or an array of any length; a bad element parks only itself. What is about no order is left out."""
    delivery, _, _ = standard_headers(headers)
    whole = Signal(dedupe_key=f"hash:{_sha256(body)}", by_hash=True, delivery_id=clean(delivery, 128))
    signed_id = delivery if id_is_signed else ""
    try:
        content = _json(body) if read is None else _json_or_form(body, headers)
    except Unreadable as error:
        return [replace(whole, parked_reason=clean(str(error), 500))]
    if not isinstance(content, list):
        return list(filter(None, [_crm_signal(content, whole, signed_id, read)]))
    if not content:
        return [replace(whole, index=0, parked_reason="The array is empty. Nothing is to be done for it.")]
    if len(content) > MAX_EVENTS:
        words = f"The array holds {len(content)} elements; more than {MAX_EVENTS} are not taken apart."
        advice = "Start a reconcile now: it finds what these would have told. Ask the CRM's side to send fewer at once."
        return [replace(whole, index=0, parked_reason=f"{words} {advice}")]
    signals = (_crm_signal(one, whole, signed_id, read, place) for place, one in enumerate(content))
    return list(filter(None, signals))


def _json_or_form(body: bytes, headers: Mapping[str, str]) -> Any:
    try:
        return _json(body)
    except Unreadable:
        if form := form_of(body, headers):
            return form
        raise


def _crm_signal(
    event: Any, whole: Signal, signed_id: str, read: Read | None, index: int | None = None
) -> Signal | None:
    place, unreadable = index or 0, ""
    try:
        text = SORTED.encode(event).encode()
    except RecursionError:
        text, event = b"", None
    try:
        event = read(event) if read else event
        if event is None and text not in (b"", b"null"):
            return None
    except Unreadable as error:
        unreadable = str(error)
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, OSError):
        unreadable = "The event is not written as this CRM writes them. Look at its body: it shows who wrote it."
    understood = event if isinstance(event, dict) and not unreadable else {}
    name, topic = _text_id(understood.get("event_id")), understood.get("type")
    if name:
        key = _key("id", name)
    elif signed_id:
        key = _key("delivery", f"{signed_id}:{place}")
    else:
        key = f"hash:{_sha256(text) if text else _sha256(whole.dedupe_key.encode(), b'%d' % place)}"
    said: dict[str, Any] = {
        "dedupe_key": key,
        "by_hash": not (name or signed_id),
        "topic": clean(topic, 100) if isinstance(topic, str) else "",
        "delivery_id": whole.delivery_id,
        "index": index,
        "element": text if place else b"",
    }
    try:
        said |= {"parked_reason": unreadable} if unreadable else _understood(event, has_id=bool(name))
    except Unreadable as error:
        said["parked_reason"] = str(error)
    return Signal(**said)


def _understood(event: Any, *, has_id: bool) -> dict[str, Any]:
    if not isinstance(event, dict):
        raise Unreadable("The event is not a JSON object. Ask the CRM's side what it sends.")
    order = _order(event.get("crm_order_id"))
    version, occurred_at, status = _version(event.get("version")), _time(event.get("updated_at")), event.get("status")
    if not isinstance(status, str | None):
        raise Unreadable("The event's status is not a string. Ask the CRM's side to correct it.")
    said: dict[str, Any] = {
        "order_ref": order,
        "version": version,
        "occurred_at": occurred_at,
        "status": clean(status or "", 64),
    }
    if not has_id and version is not None:
        said |= {"dedupe_key": _key("version", f"{order}:{version}"), "by_hash": False}
    elif not has_id and occurred_at is not None:
        # Many CRMs tell whole seconds: another status at the same time is news.
        said |= {"dedupe_key": _key("time", f"{order}:{occurred_at.isoformat()}:{said['status']}"), "by_hash": False}
    return said


def _text_id(value: Any) -> str:
    """Ids are strings; a CRM that writes them as numbers is understood as well."""
    if _integer(value):
        return str(value) if abs(value) <= BIGINT else ""
    return value if isinstance(value, str) else ""


def _order(value: Any) -> str:
    order = _text_id(value)
    if not order.strip():
        raise Unreadable("The event names no order: crm_order_id is missing. Ask the CRM's side to send it.")
    # An id is never cut or cleaned: that would make it the id of another order.
    if clean(order, 64) != order:
        raise Unreadable("The event's crm_order_id is longer than 64 characters or holds some that no id may hold.")
    return order


def _version(value: Any) -> int | None:
    if value is None:
        return None
    if not _integer(value) or abs(value) > BIGINT:
        raise Unreadable("The event's version is not an integer of 64 bits. Ask the CRM's side to correct it.")
    return int(value)


def _time(value: Any) -> datetime | None:
    if value is None:
        return None
    with suppress(ValueError):
        if isinstance(value, str) and RFC3339.fullmatch(value.upper()):
            return utc(value.upper())
    raise Unreadable("The event's updated_at is not a time of RFC 3339, as 2026-11-24T03:20:00Z is.")
