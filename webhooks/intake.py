"""A delivery becomes rows: new ones once, known ones counted."""

import functools
import hashlib
import itertools
import json
import logging
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, Required, TypedDict, Unpack

from django.conf import settings
from django.db import Error, IntegrityError, transaction
from django.db.models import CharField, F, Value
from django.db.models.functions import Cast, Concat
from django.utils import timezone

from webhooks.insert import insert
from webhooks.models import RefusalCount, RefusedDelivery, State, WebhookEvent
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

Stored = tuple[int, bool]
"""The event's id, and whether it was seen before."""
Row = dict[str, Any]
"""An event by the names of its columns, before it has an id."""


def store(
    source: Source,
    signals: Sequence[Signal],
    body: bytes,
    headers: Mapping[str, str],
    verdict: Verdict,
    received_at: datetime | None = None,
) -> list[Stored]:
    """Committed when this returns. One new signal, by far the most frequent case, costs one INSERT; of many each chunk
    is committed for itself, so that a large array keeps no other delivery waiting."""
    kept, digest, came = masked(headers, source.header), hashlib.sha256(body).hexdigest(), received_at or timezone.now()
    rows = [_row(source, signal, body, kept, digest, verdict.key, came) for signal in signals]
    # What was not understood can not be read either: its repetition is no news.
    weak = {signal.dedupe_key for signal in signals if signal.weak and not signal.parked_reason}
    if len(rows) == 1:
        return [_insert_one(rows[0], weak)]
    # In the order of their keys: two arrays with the same events in another order would wait for each other.
    places = sorted(range(len(rows)), key=lambda place: rows[place]["dedupe_key"])
    ordered = [rows[place] for place in places]
    chunks = [_insert(ordered[start : start + CHUNK], weak) for start in range(0, len(rows), CHUNK)]
    stored = [one for chunk in chunks for one in chunk]
    return [one for _, one in sorted(zip(places, stored, strict=True))]


class Own(TypedDict, total=False):
    """What an event of our own says. `key` makes it happen once per source, which is also its trigger unless told."""

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


def own(**said: Unpack[Own]) -> WebhookEvent:
    """An event of our own, due now: what a sweep found, a backfill met or a person asked for. It is not stored yet."""
    text = json.dumps(said["body"], separators=(",", ":")).encode()
    return WebhookEvent(
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


def post(**said: Unpack[Own]) -> tuple[WebhookEvent, bool]:
    """Store one event of our own. True: it is new. The caller wakes a worker."""
    event = own(**said)
    try:
        with transaction.atomic():
            event.save(force_insert=True)
    except IntegrityError:
        return WebhookEvent.objects.get(source=event.source, dedupe_key=event.dedupe_key), False
    return event, True


def post_all(events: Sequence[WebhookEvent]) -> None:
    """Store many events of our own with few statements; those that are known stay as they are."""
    WebhookEvent.objects.bulk_create(events, ignore_conflicts=True)


def _row(
    source: Source,
    signal: Signal,
    body: bytes,
    headers: dict[str, str],
    digest: str,
    signed_by: str,
    received_at: datetime,
) -> Row:
    now = timezone.now()
    row: Row = {
        "side": source.side.value,
        "source": source.name,
        "topic": signal.topic,
        "order_ref": signal.order_ref,
        "version": signal.version,
        "status": signal.status,
        "occurred_at": signal.occurred_at,
        # The exact bytes are kept once. A hundred events of one array would keep them a hundred times, so those after
        # the first keep their own element; body_sha256 is that of the whole delivery and leads back to it.
        "body": signal.element if signal.index else body,
        "customer": signal.customer or None,
        "body_sha256": digest,
        "body_index": signal.index,
        "headers": headers,
        "delivery_id": signal.delivery_id,
        "signed_by": signed_by,
        "dedupe_key": signal.dedupe_key,
        "received_at": received_at,
        "stored_at": now,
        "next_attempt_at": now,
    }
    if signal.parked_reason:
        row |= {"state": State.PARKED.value, "reason": signal.parked_reason}
        row |= {"next_attempt_at": None, "finished_at": now}
    return row


def _insert(rows: list[Row], weak: set[str]) -> list[Stored]:
    """All at once; sorted out only if some of them are known."""
    events = [WebhookEvent(**row) for row in rows]
    try:
        with transaction.atomic():
            WebhookEvent.objects.bulk_create(events)
    except IntegrityError:
        return _sort_out(rows, weak)
    return [(event.pk, False) for event in events]


def _sort_out(rows: list[Row], weak: set[str]) -> list[Stored]:
    """Some are known, or come twice: the new ones at once, then the others are counted at once."""
    times = Counter(row["dedupe_key"] for row in rows)
    try:
        with transaction.atomic():
            known = _known(rows[0]["source"], times, weak)
            fresh = {row["dedupe_key"]: row for row in reversed(rows) if row["dedupe_key"] not in known}
            events = [WebhookEvent(**fresh[key]) for key in times if key in fresh]
            WebhookEvent.objects.bulk_create(events)
    except IntegrityError:  # another process was quicker
        return [_insert_one(row, weak) for row in rows]
    made = {event.dedupe_key: event.pk for event in events}
    again: dict[int, list[int]] = defaultdict(list)
    for key, count in times.items():
        again[count - (key in made)].append(made.get(key) or known[key])
    for count, found in again.items():
        if count:
            WebhookEvent.objects.filter(pk__in=found).update(duplicates=F("duplicates") + count)
    return [(made.get(key) or known[key], row is not fresh.get(key)) for row in rows for key in [row["dedupe_key"]]]


def _known(source: str, keys: Collection[str], weak: set[str]) -> dict[str, int]:
    """The events with these keys. Those of which only the hash is known give it up once they were read, as `_again`
    has it."""
    same = WebhookEvent.objects.filter(source=source, dedupe_key__in=keys).order_by("pk")
    rows = list(same.select_for_update().only("pk", "dedupe_key", "state", "next_attempt_at"))
    over = {event.pk for event in rows if event.may_have_been_read and event.dedupe_key in weak}
    if over:
        numbered = Concat("dedupe_key", Value(":"), Cast("pk", CharField()))
        WebhookEvent.objects.filter(pk__in=over).update(dedupe_key=numbered)
    return {event.dedupe_key: event.pk for event in rows if event.pk not in over}


def _insert_one(row: Row, weak: set[str]) -> Stored:
    new = insert(row)
    if new is not None:
        return new, False
    with transaction.atomic():
        return _again(row, row["dedupe_key"] in weak)


def _again(row: Row, weak: bool) -> Stored:
    """It is known. Count it, or take it as news if only its hash is known and its first event may have been read."""
    for _ in range(TRIES):
        same = WebhookEvent.objects.filter(source=row["source"], dedupe_key=row["dedupe_key"])
        first = same.select_for_update().only("id", "state", "next_attempt_at").first()
        if first is not None and not (weak and first.may_have_been_read):
            WebhookEvent.objects.filter(pk=first.pk).update(duplicates=F("duplicates") + 1)
            return first.pk, True
        if first is not None:
            WebhookEvent.objects.filter(pk=first.pk).update(dedupe_key=f"{row['dedupe_key']}:{first.pk}")
        new = insert(row)
        if new is not None:
            return new, False
        # Another process did the same between our look and our INSERT: look again.
    raise IntegrityError(f"{row['source']}: the key of a delivery changed hands {TRIES} times")


def masked(headers: Mapping[str, str], signature_header: str = "") -> dict[str, str]:
    """Fit to be kept and shown: no secrets, bounded, storable."""
    kept = {}
    for name, value in itertools.islice(headers.items(), MAX_HEADERS):
        storable, is_secret = _name(name, signature_header)
        kept[storable] = MASK if is_secret else clean(value, MAX_HEADER_LENGTH)
    return kept


@functools.lru_cache(maxsize=256)
def _name(header: str, signature_header: str) -> tuple[str, bool]:
    """As it can be kept, and whether its value is a secret."""
    is_secret = SECRET_NAMES.search(header) is not None or header.lower() == signature_header.lower()
    return clean(header, 100), is_secret


def refuse(source: Source, verdict: Verdict, body: bytes, headers: Mapping[str, str], remote_addr: str) -> None:
    """Count it and keep the latest. A database that is away must not turn a refusal into anything else."""
    try:
        with transaction.atomic():
            row = RefusedDelivery.objects.create(
                source=source.name,
                reason=verdict.reason,
                detail=verdict.detail[:200],
                headers=masked(headers, source.header),
                body_sha256=hashlib.sha256(body).hexdigest(),
                body_bytes=len(body),
                remote_addr=clean(remote_addr, 64),
            )
            _count(source.name, verdict.reason)
            _trim(row.pk)
    except Error:
        log.warning("a refusal could not be recorded", exc_info=True)


def _count(source: str, reason: str) -> None:
    if not RefusalCount.objects.filter(source=source, reason=reason).update(count=F("count") + 1):
        RefusalCount.objects.get_or_create(source=source, reason=reason)
        RefusalCount.objects.filter(source=source, reason=reason).update(count=F("count") + 1)


def _trim(newest: int) -> None:
    keep: int = settings.REFUSED_KEEP
    if newest % max(1, min(50, keep // 10)) == 0:
        RefusedDelivery.objects.filter(pk__lte=newest - keep).delete()
