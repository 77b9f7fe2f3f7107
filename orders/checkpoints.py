"""A checkpoint says what the history held at one moment. It is made every hour, and after each verification."""

import hashlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.db import IntegrityError, OperationalError, connection, transaction
from django.db.models import Max, QuerySet

from orders.models import (
    SEALS,
    STAFF,
    AllowedMove,
    AuditSeal,
    ChainHead,
    OrderLink,
    StatusRule,
    StatusTransition,
    digest,
)
from webhooks.connections import DEFAULT_BRIDGE

log = logging.getLogger("orderbridge.audit")

CHECKPOINT_PAGE = 10_000
PATIENCE = "2s"
"""How long PostgreSQL waits for transactions at work before the checkpoint is left to the next hour."""
CHECKPOINT_VERSION = 2
LIFECYCLE: dict[str, Any] = {model.__name__: model.history.model for model in (StatusRule, AllowedMove)}
"""The tables that remember what the lifecycle was. They are small, so a checkpoint lists each of their rows."""

Version = list[Any]
"""Of a row of these: its id, the digest of what it says, and who made it."""


@dataclass(frozen=True, kw_only=True)
class Covered:
    """Rows of a table up to an id: how many since the checkpoint before, and the digest over all of them."""

    upto: int = 0
    rows: int = 0
    digest: str = ""


@dataclass(frozen=True, kw_only=True)
class Newest:
    """Where the tables ended at one moment. A checkpoint covers what only grows up to there."""

    transition: int
    link: int
    chains: int
    lifecycle: dict[str, int]


def make_checkpoint() -> AuditSeal | None:
    """None: there is nothing new, or another process is at it."""
    try:
        newest = _newest_for_good()
        last = AuditSeal.objects.order_by("-sequence").first()
        head = ChainHead.objects.filter(pk=STAFF).first() or ChainHead(pk=STAFF)
        if last is not None and (newest, head.length) == (_covered_by(last), last.staff_length):
            return None
        if last is not None and last.version < CHECKPOINT_VERSION:
            _adopt()
        before = last or AuditSeal(upto=0)
        moved, linked = transitions_of(before), links_of(before)
        moved = [moved, *covered_pages(StatusTransition.objects.all(), "hash", moved, newest.transition)][-1]
        linked = [linked, *covered_pages(OrderLink.objects.all(), "woo_id", linked, newest.link)][-1]
        row = AuditSeal(
            version=CHECKPOINT_VERSION,
            upto=newest.transition,
            rows=moved.rows,
            rows_digest=moved.digest,
            staff_length=head.length,
            staff_hash=head.hash,
            links_upto=newest.link,
            links=linked.rows,
            links_digest=linked.digest,
            chains=newest.chains,
            lifecycle={
                name: {"upto": upto, "rows": old_versions(name, lifecycle_upto(before, name), upto)}
                for name, upto in newest.lifecycle.items()
            },
        )
        _append(row, follows=last)
    except (IntegrityError, OperationalError):
        log.warning("no checkpoint was made this time; the next one covers what it would have covered", exc_info=True)
        return None
    # Kept where the log goes, it proves later on that nobody put an older database in place.
    log.info("audit checkpoint", extra={"checkpoint": str(row), "upto": row.upto, "rows": row.rows})
    return row


def transitions_of(one: AuditSeal) -> Covered:
    """Where those of the next checkpoint begin."""
    return Covered(upto=one.upto, digest=one.rows_digest)


def links_of(one: AuditSeal) -> Covered:
    return Covered(upto=one.links_upto, digest=one.links_digest)


def lifecycle_upto(one: AuditSeal, name: str) -> int:
    upto: int = one.lifecycle.get(name, {}).get("upto", 0)
    return upto


def covered_pages(rows: QuerySet[Any], said: str, covered: Covered, upto: int) -> Iterator[Covered]:
    """Page by page, to go on from each. `said`: the column that stands for a row, beside its id."""
    while page := list(_between(rows, covered.upto, upto).values_list("id", said)[:CHECKPOINT_PAGE]):
        digest = covered.digest
        for pk, word in page:
            digest = hashlib.sha256(f"{digest}:{pk}:{word}".encode()).hexdigest()
        covered = Covered(upto=page[-1][0], rows=covered.rows + len(page), digest=digest)
        yield covered


def _between(rows: QuerySet[Any], after: int, upto: int) -> QuerySet[Any]:
    return rows.filter(id__gt=after, id__lte=upto).order_by("id")


def old_versions(name: str, after: int, upto: int) -> list[Version]:
    """Who made one stands apart: it is emptied when that person's account is deleted."""
    rows = LIFECYCLE[name].objects.filter(history_id__gt=after, history_id__lte=upto).order_by("history_id")
    return [[row.history_id, digest(_said(row)), row.history_user_id] for row in rows]


def _said(row: Any) -> dict[str, str]:
    """The bridge only where it is not the default: checkpoints of before there were others hold as they are."""
    fields = (field for field in row._meta.concrete_fields if field.attname != "history_user_id")
    said = {field.attname: field.value_to_string(row) for field in fields}
    if row.bridge_id == DEFAULT_BRIDGE:
        del said["bridge_id"]
    return said


def _covered_by(one: AuditSeal) -> Newest | None:
    if one.version < CHECKPOINT_VERSION:
        return None
    upto = {name: lifecycle_upto(one, name) for name in LIFECYCLE}
    return Newest(transition=one.upto, link=one.links_upto, chains=one.chains, lifecycle=upto)


def _newest_for_good() -> Newest:
    """Below these no other row will appear: on PostgreSQL an id may be given and not committed yet."""
    with transaction.atomic():
        if connection.vendor == "postgresql":
            tables = ", ".join(
                model._meta.db_table for model in (OrderLink, StatusTransition, ChainHead, *LIFECYCLE.values())
            )
            with connection.cursor() as cursor:
                cursor.execute(f"SET LOCAL lock_timeout = '{PATIENCE}'")
                cursor.execute(f"LOCK TABLE {tables} IN SHARE MODE")
        return Newest(
            transition=_newest(StatusTransition),
            link=_newest(OrderLink),
            chains=ChainHead.objects.filter(pk__gt=STAFF).count(),
            lifecycle={name: _newest(model) for name, model in LIFECYCLE.items()},
        )


def _newest(model: Any) -> int:
    return model.objects.aggregate(newest=Max("pk"))["newest"] or 0


def _adopt() -> None:
    """Once, after the release that brought signed pairs: those of workers of the release before, which went on for a
    moment. What was there at the migration was signed by it."""
    for link in OrderLink.objects.filter(mac="").iterator():
        link.sign()
        OrderLink.objects.filter(pk=link.pk, mac="").update(mac=link.mac)


def _append(row: AuditSeal, follows: AuditSeal | None) -> None:
    with transaction.atomic():
        head = ChainHead.locked(SEALS, AuditSeal.objects.all())
        if AuditSeal.objects.order_by("-sequence").first() != follows:
            raise IntegrityError("another checkpoint was made meanwhile")
        row.sequence, row.previous_hash = head.length + 1, head.hash
        row.hash = row.content_hash()
        row.save()
        head.move_to(row.hash)
