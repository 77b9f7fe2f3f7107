"""A delivery becomes rows: new ones once, known ones counted."""

import functools
import hashlib
import itertools
import json
import logging
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Required, TypedDict, Unpack

from django.conf import settings
from django.db import Error, IntegrityError, OperationalError, connection, transaction

from webhooks import clock, schemas
from webhooks.connections import bridges_told_by
from webhooks.hooks import SHORTEST
from webhooks.insert import Row, give_up_keys, insert
from webhooks.models import RefusedDelivery, State, WebhookEvent
from webhooks.refusals import count, refusals
from webhooks.signatures import Verdict
from webhooks.sources import Signal, Source, clean

log = logging.getLogger("orderbridge.deliveries")

MASK = "•••"
SECRET_NAMES = re.compile(r"authorization|cookie|signature|api-?key|token|secret|password", re.IGNORECASE)
MAX_HEADERS = 40
MAX_HEADER_LENGTH = 500
CHUNK = 200
"""Rows in one INSERT: below SQLite's limit of variables."""
TRIES = 5
DEADLOCK = "40P01"

Stored = tuple[int, bool]
"""The event's id, and whether it was seen before."""


def store(
    source: Source,
    signals: Sequence[Signal],
    body: bytes,
    headers: Mapping[str, str],
    verdict: Verdict,
    received_at: datetime | None = None,
) -> list[Stored]:
    """Committed when this returns. One signal, by far the most frequent case, costs one INSERT, be it new or known; of
    many each chunk is committed by itself: a large array keeps no other delivery waiting. Each bridge gets events of
    its own; the first one's are named, and were seen before only if they were so in each. Empty: there is no bridge."""
    now = clock.now()
    shared: Row = {
        "side": source.side.value,
        "source": source.name,
        "schema": source.schema,
        "body_sha256": hashlib.sha256(body).hexdigest(),
        "headers": masked(headers, source.header, source.secrets),
        "delivery_id": signals[0].delivery_id,
        "signed_by": "" if verdict.hint else verdict.key,
        "received_at": received_at or now,
        "stored_at": now,
    }
    # How often each comes in this delivery: there may be the same many times in one array.
    times = Counter(signal.dedupe_key for signal in signals)
    rows = {signal.dedupe_key: _row(signal, body, now, times[signal.dedupe_key]) for signal in reversed(signals)}
    by_hash = {signal.dedupe_key for signal in signals if signal.by_hash}
    of_each = [
        _stored(signals, _insert_all({**shared, "bridge_id": bridge}, rows, by_hash), times)
        for bridge in bridges_told_by(source.connection)
    ]
    return [(one[0][0], all(seen for _, seen in one)) for one in zip(*of_each, strict=True)]


def _insert_all(shared: Row, rows: Mapping[str, Row], by_hash: set[str]) -> dict[str, tuple[int, int]]:
    known: dict[str, tuple[int, int]] = {}
    # In the order of their keys: two arrays with the same events in another order would wait for each other, and so
    # would a worker that has done with several of them (`WebhookEventQuerySet`).
    for only_by_hash, keys in ((False, sorted(rows.keys() - by_hash)), (True, sorted(by_hash))):
        for start in range(0, len(keys), CHUNK):
            known |= _insert(shared, [rows[key] for key in keys[start : start + CHUNK]], by_hash=only_by_hash)
    return known


def _stored(signals: Sequence[Signal], known: Mapping[str, tuple[int, int]], times: Counter[str]) -> list[Stored]:
    new = {key for key, (_, duplicates) in known.items() if duplicates < times[key]}
    stored = []
    for signal in signals:
        stored.append((known[signal.dedupe_key][0], signal.dedupe_key not in new))
        new.discard(signal.dedupe_key)
    return stored


class InternalEvent(TypedDict, total=False):
    """What an internal event says. `key` makes it happen once per source, which is also its trigger unless told."""

    bridge: Required[int | None]
    side: Required[str]
    source: Required[str]
    topic: Required[str]
    order_ref: Required[str]
    key: Required[str]
    body: Required[Mapping[str, Any]]
    requested_by: str
    trigger: str
    version: int | None
    status: str
    occurred_at: datetime | None
    copy_of: WebhookEvent | None
    customer: str


def internal_event(**said: Unpack[InternalEvent]) -> WebhookEvent:
    """An internal event, due now: reconcile or a backfill found something, or a person asked for it. Not stored yet."""
    text, now = json.dumps(said["body"], separators=(",", ":")).encode(), clock.now()
    event = WebhookEvent(
        received_at=now,
        next_attempt_at=now,
        bridge_id=said["bridge"],
        side=said["side"],
        source=said["source"],
        topic=said["topic"],
        order_ref=said["order_ref"],
        dedupe_key=said["key"],
        version=said.get("version"),
        status=said.get("status", ""),
        occurred_at=said.get("occurred_at"),
        body=text,
        body_sha256=hashlib.sha256(text).hexdigest(),
        requested_by=said.get("requested_by", ""),
        trigger=said.get("trigger") or said["source"],
        copy_of=said.get("copy_of"),
        customer=said.get("customer") or None,
    )
    event.schema = schemas.schema_of(event.copy_of or event)
    return event


def post(**said: Unpack[InternalEvent]) -> tuple[WebhookEvent, bool]:
    """Store one internal event. True: it is new. The caller wakes a worker."""
    event = internal_event(**said)
    try:
        with transaction.atomic():
            event.save(force_insert=True)
    except IntegrityError:
        known = {"source": event.source, "dedupe_key": event.dedupe_key, "bridge": event.bridge_id}
        return WebhookEvent.objects.get(**known), False
    return event, True


def post_all(events: Sequence[WebhookEvent]) -> None:
    """Store many internal events with few statements; those that are known stay as they are."""
    WebhookEvent.objects.bulk_create(events, ignore_conflicts=True)


def _row(signal: Signal, body: bytes, now: datetime, times: int) -> Row:
    """What is not the same for all events of a delivery."""
    parked = bool(signal.parked_reason)
    return {
        "topic": signal.topic,
        "order_ref": signal.order_ref,
        "version": signal.version,
        "status": signal.status,
        "occurred_at": signal.occurred_at,
        # The exact bytes are kept once. A hundred events of one array would keep them a hundred times, so those after
        # the first keep their own element; body_sha256 is that of the whole delivery and leads back to it.
        "body": signal.element if signal.index else body,
        "customer": signal.customer or None,
        "body_index": signal.index,
        "dedupe_key": signal.dedupe_key,
        "duplicates": times - 1,
        "state": (State.PARKED if parked else State.PENDING).value,
        "reason": signal.parked_reason,
        "next_attempt_at": None if parked else now,
        "finished_at": now if parked else None,
    }


def _insert(shared: Row, rows: Sequence[Row], *, by_hash: bool) -> dict[str, tuple[int, int]]:
    known: dict[str, tuple[int, int]] = {}
    for _ in range(TRIES):
        try:
            known |= insert(shared, rows, by_hash=by_hash)
            rows = [row for row in rows if row["dedupe_key"] not in known]
            if not rows:
                return known
            give_up_keys(shared["bridge_id"], shared["source"], [row["dedupe_key"] for row in rows])
            # Another process may do the same between these two: then there is one more round.
        except OperationalError as error:
            # Somebody changes many events at once, and PostgreSQL chose us to let go: the sender may send only once.
            if getattr(error.__cause__, "sqlstate", None) != DEADLOCK or connection.in_atomic_block:
                raise
    raise IntegrityError(f"{shared['source']}: the key of a delivery changed hands {TRIES} times")


def masked(headers: Mapping[str, str], signature_header: str = "", secrets: Sequence[str] = ()) -> dict[str, str]:
    """Fit to be kept and shown: no secrets, bounded, storable. `secrets`: one may stand in the address, which a proxy
    repeats, as in X-Original-URL."""
    kept = {}
    for name, value in itertools.islice(headers.items(), MAX_HEADERS):
        storable, is_secret = _name(name, signature_header)
        kept[storable] = MASK if is_secret else clean(_without(secrets, value), MAX_HEADER_LENGTH)
    return kept


def _without(secrets: Sequence[str], value: str) -> str:
    for secret in secrets:
        value = value.replace(secret, MASK) if len(secret) >= SHORTEST else value
    return value


@functools.lru_cache(maxsize=256)
def _name(header: str, signature_header: str) -> tuple[str, bool]:
    """As it can be kept, and whether its value is a secret."""
    is_secret = SECRET_NAMES.search(header) is not None or header.lower() == signature_header.lower()
    return clean(header, 100), is_secret


def refuse(
    source: Source,
    reason: str,
    *,
    headers: Mapping[str, str],
    remote_addr: str,
    detail: str = "",
    body: bytes | None = None,
    size: int = 0,
) -> None:
    """A database that is away must not turn a refusal into anything else. `size`: of a body that was not read."""
    counts = refusals.add((source.name, reason, source.connection))
    if not counts:
        return
    try:
        with transaction.atomic():
            row = RefusedDelivery.objects.create(
                source=source.name,
                connection=source.connection,
                reason=reason,
                detail=detail[:200],
                headers=masked(headers, source.header, source.secrets),
                body_sha256="" if body is None else hashlib.sha256(body).hexdigest(),
                body_bytes=size if body is None else len(body),
                remote_addr=clean(remote_addr, 64),
            )
            count(counts)
            _trim(row.pk)
    except Error:
        log.warning("a refusal could not be recorded", exc_info=True)
        refusals.put_back(counts)


def _trim(newest: int) -> None:
    keep: int = settings.REFUSED_KEEP
    if newest % max(1, min(50, keep // 10)) == 0:
        RefusedDelivery.objects.filter(pk__lte=newest - keep).delete()
