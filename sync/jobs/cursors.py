"""How far a side was read, by its own clock. A cursor moves only once the events up to it are stored."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.utils import timezone

from sync.clients.http import CallRecord
from sync.models import SideState
from sync.registry import Checkpoint

OVERLAP = timedelta(minutes=5)
"""What was changed so long before the cursor may have been hidden by a transaction that was still open."""
TOLERANCE = timedelta(minutes=1)
"""A cursor that is further ahead of its side's clock: that clock was put back."""


class Clock:
    """How far a side's clock is ahead of ours, as its last answer told."""

    ahead = timedelta()

    def __call__(self, call: CallRecord) -> None:
        ahead = call.clock_is_ahead
        self.ahead = self.ahead if ahead is None else ahead

    def now(self) -> datetime:
        return timezone.now() + self.ahead


def begin_at(cursor: datetime | None, now: datetime, *, overlap: timedelta, deep: bool) -> datetime:
    """From when on a side is asked what changed; cursor, `now` and answer are by its own clock."""
    first = now - timedelta(days=settings.RECONCILE_DAYS)
    if cursor is None or deep or cursor > now + TOLERANCE:
        return first
    return cursor - overlap


def with_feed(checkpoint: Checkpoint) -> Checkpoint:
    """Of version 1, which the first runs wrote: where the list of the CRM goes on stood among the run's own words."""
    return checkpoint if "feed" in checkpoint or "since" not in checkpoint else {**checkpoint, "feed": checkpoint}


@dataclass(frozen=True)
class Cursor:
    """Up to where a side was read, and what its clock said then; `url`: another server has another cursor."""

    at: datetime
    now: datetime
    url: str

    def store(self, side: SideState) -> None:
        """Forward only, as a deep run begins far back; and never into the future of a clock that may be put right."""
        side.refresh_from_db(fields=["cursor"])
        known = known_cursor(side, self.url)
        at = min(self.at, self.now)
        if known is None or known > self.now + TOLERANCE or at > known:
            side.cursor = {"at": at.isoformat(), "url": self.url}
            side.save(update_fields=["cursor"])


def known_cursor(side: SideState, url: str) -> datetime | None:
    at = side.cursor.get("at")
    return datetime.fromisoformat(at) if at and side.cursor.get("url") == url else None
