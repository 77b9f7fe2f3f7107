"""A seal says what there was of history at a moment. It is made every hour, and after each verification."""

import hashlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass

from django.db import IntegrityError, OperationalError, connection, transaction
from django.db.models import Max, QuerySet

from orders.models import SEALS, STAFF, AuditSeal, ChainHead, StatusTransition

log = logging.getLogger("orderbridge.audit")

PAGE = 10_000
PATIENCE = "2s"
"""How long PostgreSQL waits for transactions at work before the seal is left to the next hour."""


@dataclass(frozen=True, kw_only=True)
class Covered:
    """Transitions up to an id: how many since the seal before, and the digest over all of them."""

    upto: int = 0
    rows: int = 0
    digest: str = ""


def seal() -> AuditSeal | None:
    """None: there is nothing new, or another process is at it."""
    try:
        upto = _newest_for_good()
        last = AuditSeal.objects.order_by("-sequence").first()
        head = ChainHead.objects.filter(pk=STAFF).first() or ChainHead(pk=STAFF)
        if last is not None and (upto, head.length) == (last.upto, last.staff_length):
            return None
        before = Covered(upto=last.upto, digest=last.rows_digest) if last else Covered()
        covered = [before, *pages(before, upto)][-1]
        row = AuditSeal(
            upto=upto,
            rows=covered.rows,
            rows_digest=covered.digest,
            staff_length=head.length,
            staff_hash=head.hash,
        )
        _append(row, follows=last)
    except (IntegrityError, OperationalError):
        log.warning("no seal was made this time; the next one covers what it would have covered", exc_info=True)
        return None
    # Kept where the log goes, it proves later on that nobody put an older database in place.
    log.info("audit sealed", extra={"seal": str(row), "upto": row.upto, "rows": row.rows})
    return row


def pages(covered: Covered, upto: int) -> Iterator[Covered]:
    """Page by page, to go on from each."""
    while page := list(_between(covered.upto, upto).values_list("id", "hash")[:PAGE]):
        digest = covered.digest
        for pk, row_hash in page:
            digest = hashlib.sha256(f"{digest}:{pk}:{row_hash}".encode()).hexdigest()
        covered = Covered(upto=page[-1][0], rows=covered.rows + len(page), digest=digest)
        yield covered


def _between(after: int, upto: int) -> QuerySet[StatusTransition]:
    return StatusTransition.objects.filter(id__gt=after, id__lte=upto).order_by("id")


def _newest_for_good() -> int:
    """Below it no other transition will appear: on PostgreSQL an id may be given and not committed yet."""
    with transaction.atomic():
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute(f"SET LOCAL lock_timeout = '{PATIENCE}'")
                cursor.execute(f"LOCK TABLE {StatusTransition._meta.db_table} IN SHARE MODE")
        return StatusTransition.objects.aggregate(newest=Max("id"))["newest"] or 0


def _append(row: AuditSeal, follows: AuditSeal | None) -> None:
    with transaction.atomic():
        head = ChainHead.locked(SEALS, AuditSeal)
        if AuditSeal.objects.order_by("-sequence").first() != follows:
            raise IntegrityError("another seal was made meanwhile")
        row.sequence, row.previous_hash = head.length + 1, head.hash
        row.hash = row.content_hash()
        row.save()
        head.move_to(row.hash)
