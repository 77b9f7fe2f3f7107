"""One customer's personal data is taken out of what we keep; rows, outcomes, hashes and the audit stay.

What the customer's orders are is found by reading everything that was ever said, page by page.
"""

import html
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import quote, unquote, unquote_plus

from django.apps import apps
from django.contrib.sessions.base_session import AbstractBaseSession
from django.db import DatabaseError, connection, transaction
from django.db.models import (
    Field,
    Model,
    Q,
    QuerySet,
    UniqueConstraint,
)

from orders import audit
from orders.keys import is_signed, sign
from orders.models import AuditSeal, ChainHead, OrderLink, StaffAction, StatusTransition
from sync.models import Attempt, Call, OpenChoice, RememberedChoice
from webhooks.connections import DEFAULT_BRIDGE
from webhooks.customers import hashes
from webhooks.masking import MASK, masked_words
from webhooks.models import Side, WebhookEvent

PAGE = 50
"""Bodies that are in memory at once."""
CHUNK = 200
"""Rows of one short transaction."""

DEED = "erase customer"
NOT_ERASED = (
    "What the shop and the CRM themselves keep: erase it there, first the shop, so that nothing new comes from it.",
    "Backups, copies of this database and the database's own log: they end with your retention of them.",
    "Log files: our own lines are masked since version 0.2; older ones, and a web server's log of addresses, are not.",
    "What comes in for this person from now on: a new delivery is kept like any other. Run this again after it.",
)
"""What no command of ours reaches."""


LAYERS = 12
"""JSON in a string of JSON in an address: so often a text is unescaped, if there is still something to unescape."""
ESCAPED = re.compile(r"\\(?:u([0-9a-f]{4})|x([0-9a-f]{2})|(.))", re.IGNORECASE | re.DOTALL)
CONTROLS = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}
FORM = re.compile(r"[^\s\"<>{}=]*=[^\s\"<>{}]*")
LETTER = r"0-9A-Za-z_\u00c0-\u1fff"
"""Chinese and Japanese put no blank before and after an address."""


class Customer:
    """How a person's e-mail address is met: in JSON, in an address, in words, in capitals."""

    def __init__(self, email: str) -> None:
        self.email = email.lower()
        ways = {self.email, json.dumps(self.email)[1:-1], quote(self.email), quote(self.email, safe="")}
        ways |= {unicodedata.normalize("NFKC", way) for way in ways}
        known = "|".join(re.escape(way) for way in sorted(ways, key=len, reverse=True))
        before, after = rf"(?<![{LETTER}])(?<![{LETTER}][.+-])", rf"(?![.-]?[{LETTER}])"
        self.mention = re.compile(rf"{before}(?:{known}){after}", re.IGNORECASE)
        named = r'e[_-]?mail[\w-]{0,40}"\s*:[\s\[{]*(?:"\w+"\s*:\s*)?"'  # {"emails": [{"value": …}]} as well
        self.own = re.compile(rf'{named}(?:[^<>{{}}\[\],:]{{0,100}}<)?\s*(?:{known})\s*>?"', re.IGNORECASE)

    def is_mentioned(self, *texts: str) -> bool:
        return any(self.mention.search(reading) for text in texts for reading in _readings(text))

    def owns(self, *texts: str) -> bool:
        """An order is of whoever stands in a field for an e-mail, not of whoever a note mentions."""
        return any(self.own.search(reading) for text in texts for reading in _readings(text))


def _readings(text: str) -> Iterator[str]:
    """As it was written, and then each time with a layer less of what JSON, HTML and addresses write for a character.

    Not parsed: what was cut off is read as well, and what stands in a string ends at its quotes either way.
    """
    for _ in range(LAYERS):
        yield text if text.isascii() else unicodedata.normalize("NFKC", text)
        if "+" in text and FORM.fullmatch(text):
            yield unquote_plus(text)
        plain = ESCAPED.sub(_unescaped, text) if "\\" in text else text
        if plain == text:  # before that, an entity may be cut in two: `&#1\u0030;`
            plain = html.unescape(unquote(text))
        if plain == text:
            return
        text = plain


def _unescaped(match: re.Match[str]) -> str:
    code = match[1] or match[2]
    return chr(int(code, 16)) if code else CONTROLS.get(match[3], match[3])


OrderRef = tuple[int, str, str]
"""The bridge, the side that speaks of the order, and its id there."""


@dataclass(kw_only=True)
class Found:
    """What is kept of a customer."""

    bridge: int | None = None
    "The only one that was looked at; None: all of them."
    orders: list[int] = field(default_factory=list)
    "By the shop's id."
    of_bridges: list[tuple[int, int]] = field(default_factory=list)
    "The same orders, each with its bridge before it: two shops give the same ids."
    events: list[int] = field(default_factory=list)
    calls: list[int] = field(default_factory=list)
    "Of other events: a list that a side answered, say."
    waiting: list[int] = field(default_factory=list)
    "Events that a worker has still to see to: not erased now."
    elsewhere: dict[str, int] = field(default_factory=dict)
    "Of every column of every table: how many rows mention the customer and can be erased."
    remains: dict[str, int] = field(default_factory=dict)
    "And how many can not, or must not by a command."

    @property
    def kept(self) -> int:
        """Rows of the audit that tell of the customer, and can not be changed."""
        of_audit = tuple(f"{_label(model)}." for model in APPEND_ONLY)
        return sum(rows for place, rows in self.remains.items() if place.startswith(of_audit))


# --- finding -------------------------------------------------------------------------------------------------------


def find(
    customer: Customer, on_progress: Callable[[int], object] = lambda rows: None, only: int | None = None
) -> Found:
    """Of only one bridge, or of all: a customer of two shops may ask one of them only."""
    refs, events = set[OrderRef](), set[int]()
    kept = _of(only, WebhookEvent).exclude(body=b"", headers={})
    for page in _pages(kept.values_list("id", "bridge", "side", "order_ref", "body", "headers")):
        for pk, bridge, side, ref, body, headers in page:
            text = _as_text(body)
            if customer.owns(_of_the_event(text)) and ref:
                refs.add((bridge, side, ref))
            if customer.is_mentioned(text, json.dumps(headers)):
                events.add(pk)
        on_progress(len(page))
    calls = set[int]()
    about = (f"attempt__event__{name}" for name in ("bridge", "side", "order_ref"))
    said = _of(only, Call).values_list("id", *about, "url", "request_body", "response_body", "error")
    for page in _pages(said):
        for pk, bridge, side, ref, *texts in page:
            if customer.owns(*texts) and ref:
                refs.add((bridge, side, ref))
            if customer.is_mentioned(*texts):
                calls.add(pk)
        on_progress(len(page))
    known = _of(only, WebhookEvent).filter(customer__in=hashes(customer.email))
    events |= set(known.values_list("pk", flat=True))
    refs |= set(known.exclude(order_ref="").values_list("bridge", "side", "order_ref"))
    refs |= {(of, Side.SHOP, str(order)) for of, order in _erased_before(customer) if of == (only or of)}
    return _completed(refs, events, calls, only)


def _of(bridge: int | None, model: type[Model]) -> QuerySet[Any]:
    """Its rows; of one bridge those that hang on it, however far: none, where nothing of it hangs on any."""
    rows = model._base_manager.all()
    if bridge is None:
        return rows
    path = _path_to_bridge(model)
    return rows.filter(**{path: bridge}) if path else rows.none()


def _path_to_bridge(model: type[Model], steps: int = 3) -> str:
    keys = {one.name: one.related_model for one in model._meta.concrete_fields if one.related_model}
    if "bridge" in keys:
        return "bridge"
    onward = ((name, _path_to_bridge(other, steps - 1)) for name, other in keys.items() if steps > 1 and other)
    return next((f"{name}__{path}" for name, path in onward if path), "")


def _erased_before(customer: Customer) -> Iterator[tuple[int, int]]:
    """The orders of which nothing tells any more that they are this customer's, but the record of the first time."""
    for details in StaffAction.objects.filter(action=DEED).values_list("details", flat=True):
        if is_signed(details["customer"], "customer", customer.email):
            yield from details.get("of_bridges") or ((DEFAULT_BRIDGE, order) for order in details["orders"])


def _pages(rows: QuerySet[Any, tuple[Any, ...]]) -> Iterator[list[tuple[Any, ...]]]:
    """In the order of the key, which is the first column: flat memory, and no transaction that is held."""
    last = 0
    while page := list(rows.order_by("pk").filter(pk__gt=last)[:PAGE]):
        yield page
        last = page[-1][0]


def _of_the_event(text: str) -> str:
    """Of a delivery with several events, which is kept whole with the first of them: what is said of that one."""
    if not text.lstrip().startswith("["):
        return text
    try:
        elements = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return json.dumps(elements[0], ensure_ascii=False) if isinstance(elements, list) and elements else text


def _completed(refs: set[OrderRef], mentions: set[int], calls: set[int], only: int | None) -> Found:
    """With both ids of each order, and with everything else that is kept of these orders."""
    events, orders = set(mentions), list[tuple[int, int]]()
    for bridge in sorted({of for of, _, _ in refs}):
        woo = {ref for of, side, ref in refs if (of, side) == (bridge, Side.SHOP)}
        crm = {ref for of, side, ref in refs if (of, side) == (bridge, Side.CRM)}
        links = OrderLink.objects.filter(bridge=bridge)
        links = links.filter(Q(woo_id__in=[ref for ref in woo if ref.isdigit()]) | Q(crm_order_id__in=crm))
        pairs = list(links.values_list("woo_id", "crm_order_id"))
        woo |= {str(woo_id) for woo_id, _ in pairs}
        crm |= {crm_id for _, crm_id in pairs}
        same = Q(side=Side.SHOP, order_ref__in=woo) | Q(side=Side.CRM, order_ref__in=crm)
        events |= set(WebhookEvent.objects.filter(same, bridge=bridge).values_list("pk", flat=True))
        orders += [(bridge, woo_id) for woo_id in sorted(map(int, woo))]
    events |= set(_of(only, WebhookEvent).filter(pk__in=_whole_deliveries(events)).values_list("pk", flat=True))
    waiting = WebhookEvent.objects.filter(pk__in=events).unfinished().values_list("pk", flat=True)
    return Found(
        bridge=only,
        orders=[woo_id for _, woo_id in orders],
        of_bridges=orders,
        events=sorted(events.difference(waiting)),
        calls=sorted(calls),
        waiting=sorted(waiting),
    )


def _whole_deliveries(events: set[int]) -> QuerySet[Any, int]:
    """An event from the middle of a delivery stands in the first one's body as well."""
    digests = WebhookEvent.objects.filter(pk__in=events, body_index__gt=0).values("body_sha256")
    return WebhookEvent.objects.filter(body_index=0, body_sha256__in=digests).values_list("pk", flat=True)


# --- erasing -------------------------------------------------------------------------------------------------------


def erase(customer: Customer, found: Found, *, actor: str, reason: str) -> None:
    """In short transactions; done again, it goes on. The record names the customer by a keyed hash only.

    It is begun before anything is erased: afterwards nothing else tells which orders were this customer's.
    """
    mark = sign("customer", customer.email)
    said = {"customer": mark, "orders": found.orders, **_of_others(found)}
    record = partial(audit.record, DEED, actor=actor, reason=reason, **said)
    record(result="begun")
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA secure_delete = ON")  # what is emptied is overwritten in the file, too
    for events in _chunks(found.events):
        with transaction.atomic():
            WebhookEvent.objects.filter(pk__in=events).update(body=b"", headers={}, customer=None)
            calls = Call.objects.filter(attempt__event__in=events)
            calls.update(request_body="", response_body="")
            _mask(WebhookEvent.objects.filter(pk__in=events), "reason")
            _mask(Attempt.objects.filter(event__in=events), "error", "reasons", "compared")
            _mask(calls, "url", "error")
    for chunk in _chunks(found.calls):
        others = Call.objects.filter(pk__in=chunk)
        others.update(request_body="", response_body="")
        _mask(others, "url", "error")
    for bridge in {of for of, _ in found.of_bridges}:
        for orders in _chunks([woo_id for of, woo_id in found.of_bridges if of == bridge]):
            links = OrderLink.objects.filter(bridge=bridge, woo_id__in=orders)
            links.filter(identity__has_key="customer").update(identity={})  # have neither key nor creation time
    sweep(customer, found, erasing=True)
    waiting = f"{len(found.waiting)} still wait"
    record(result=f"{len(found.events)} events of {len(found.orders)} orders emptied, {waiting}")


def _of_others(found: Found) -> dict[str, Any]:
    """What the record says besides, where an order is not of the default bridge, or only one was looked at."""
    others = any(bridge != DEFAULT_BRIDGE for bridge, _ in found.of_bridges)
    only = {"bridge": found.bridge} if found.bridge else {}
    return {**only, "of_bridges": found.of_bridges} if others else only


def _chunks(rows: list[int]) -> Iterator[list[int]]:
    return (rows[start : start + CHUNK] for start in range(0, len(rows), CHUNK))


def _mask(rows: QuerySet[Any], *names: str) -> None:
    """Words stay readable: only what tells of a person goes."""
    for pk, *values in list(rows.values_list("pk", *names)):
        plain = [masked_words(value) for value in values]
        if plain != values:
            rows.model.objects.filter(pk=pk).update(**dict(zip(names, plain, strict=True)))


# --- every table ---------------------------------------------------------------------------------------------------

TEXTS = frozenset(f"{kind}Field" for kind in "Char Text JSON Binary Slug Email URL File FilePath".split())  # noqa: SIM905
APPEND_ONLY: tuple[type[Model], ...] = (StatusTransition, StaffAction, AuditSeal, ChainHead)
"""The database refuses to change these, and their seals would tell of it."""
NOT_BY_A_COMMAND = ("auth", "contenttypes")
"""Accounts of staff, and what Django itself needs."""
IDENTITIES = ("order_ref", "crm_order_id", "order")
"""By which an order is found at its side: emptied, the order would be lost."""
LOOKED_AT = {"WebhookEvent": ("body", "headers"), "Call": ("request_body", "response_body")}
"""Read before, and emptied as a whole."""


def sweep(customer: Customer, found: Found, *, erasing: bool) -> None:
    """Every column of text of every table that there is, so that a new one can not be forgotten."""
    elsewhere, remains = Counter[str](), Counter[str]()
    for choices in _choices(customer, found):
        elsewhere.update({_label(choices.model): choices.count()})
        if erasing:
            choices.delete()
    for model in apps.get_models(include_auto_created=True):
        fields = [one for one in model._meta.concrete_fields if one.get_internal_type() in TEXTS]
        fields = [one for one in fields if one.name not in LOOKED_AT.get(model.__name__, ())]
        if model._meta.proxy or not model._meta.managed or not fields:
            continue
        for row in _rows(_of(found.bridge, model), fields):
            meant = [one for one in fields if customer.is_mentioned(_as_text(getattr(row, one.attname)))]
            if isinstance(row, WebhookEvent) and meant and WebhookEvent.objects.filter(pk=row.pk).unfinished():
                found.waiting = sorted({*found.waiting, row.pk})
                continue
            if isinstance(row, AbstractBaseSession) and customer.is_mentioned(json.dumps(_decoded(row), default=str)):
                elsewhere[_label(model)] += 1  # whoever's it is signs in anew
                if erasing:
                    row.delete()
                continue
            keeps = [one for one in meant if not _may_go(model, one)]
            goes = [one for one in meant if one not in keeps]
            if erasing and goes and not _erased(row, goes, customer):
                keeps, goes = meant, []
            remains.update(f"{_label(model)}.{one.name}" for one in keeps)
            elsewhere.update(f"{_label(model)}.{one.name}" for one in goes)
    found.elsewhere, found.remains = dict(elsewhere), dict(remains)


def _choices(customer: Customer, found: Found) -> Iterator[QuerySet[Any]]:
    """Which customer of the CRM this one is: found by the hash of the address, or by the orders that asked."""
    for model in (RememberedChoice, OpenChoice):
        mine = [model._default_manager.filter(key__in=hashes(customer.email))]
        mine += [model._default_manager.filter(event__in=some) for some in _chunks(found.events)]
        yield from (rows for rows in mine if rows.exists())


def _rows(rows: QuerySet[Any], fields: list[Field]) -> Iterator[Any]:
    """In the order of the key: flat memory, and no transaction that is held."""
    rows = rows.order_by("pk").only(*(one.attname for one in fields))
    page = list(rows[:CHUNK])
    while page:
        last = page[-1].pk  # before it may be deleted
        yield from page
        page = list(rows.filter(pk__gt=last)[:CHUNK])


def _label(model: type[Model]) -> str:
    return model._meta.label


def _as_text(value: Any) -> str:
    if isinstance(value, bytes | memoryview):
        plain, encoding = bytes(value), json.detect_encoding(bytes(value))
        text = plain.decode("utf-8", "replace")  # JSON may be UTF-16 or UTF-32, too
        return text if encoding.startswith("utf-8") else f"{text}\n{plain.decode(encoding, 'replace')}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _decoded(session: AbstractBaseSession) -> dict[str, Any]:
    return session.get_decoded()


def _may_go(model: type[Model], field: Field) -> bool:
    is_kept = issubclass(model, APPEND_ONLY) or hasattr(model, "history_id")
    return not (is_kept or model._meta.app_label in NOT_BY_A_COMMAND or field.primary_key or field.name in IDENTITIES)


def _erased(row: Any, fields: list[Field], customer: Customer) -> bool:
    """Whether it is gone. What must stay one of its kind stays so: the same text gets the same mark."""
    values = {one.attname: _without(getattr(row, one.attname), one, customer) for one in fields}
    if any(customer.is_mentioned(_as_text(value)) for value in values.values()):
        return False
    try:
        with transaction.atomic():
            type(row)._base_manager.filter(pk=row.pk).update(**values)
    except DatabaseError:
        return False
    return True


def _without(value: Any, field: Field, customer: Customer) -> Any:
    if isinstance(value, dict):
        return {_without(name, field, customer): _without(inner, field, customer) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_without(inner, field, customer) for inner in value)
    if isinstance(value, bytes | memoryview):
        return b""
    if not isinstance(value, str) or not customer.is_mentioned(value):
        return value
    mark = f"{MASK}{sign('erased', value.lower())[:12]}" if _is_one_of_its_kind(field) else MASK
    plain = customer.mention.sub(mark, value)  # what is escaped in some way goes with all that is around it
    return (mark if customer.is_mentioned(plain) else plain)[: field.max_length]


def _is_one_of_its_kind(field: Field) -> bool:
    """Alone, or together with others."""
    constraints = (one.fields for one in field.model._meta.constraints if isinstance(one, UniqueConstraint))
    return field.unique or any(field.name in names for names in (*constraints, *field.model._meta.unique_together))
