"""How far a side was read, by its own clock. A cursor moves only once the events up to it are stored."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from sync.clients.http import CallRecord
from sync.models import SideState
from sync.registry import Checkpoint
from webhooks.connections import DEFAULT_BRIDGE
from webhooks.moments import stored

OVERLAP = timedelta(minutes=5)
"""What was changed so long before the cursor may have been hidden by a transaction that was still open."""
BRIDGES = "bridges"
"""In the cursor of a side: those of the bridges beside the default one, by their numbers."""
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

    def store(self, side: SideState, bridge: int = DEFAULT_BRIDGE) -> None:
        """Forward only, as a deep run begins far back; and never into the future of a clock that may be put right. In a
        transaction: bridges that share a CRM have cursors of their own in one row."""
        side.cursor = SideState.objects.select_for_update().values_list("cursor", flat=True).get(pk=side.pk)
        known = known_cursor(side, self.url, bridge)
        at = min(self.at, self.now)
        if known is None or known > self.now + TOLERANCE or at > known:
            _keep(side, bridge, at=at.isoformat(), url=self.url)


def known_cursor(side: SideState, url: str, bridge: int = DEFAULT_BRIDGE) -> datetime | None:
    said = _of(side, bridge)
    return stored(said.get("at")) if said.get("url") == url else None


def mark_swept(side: SideState, bridge: int, now: datetime) -> None:
    """The bridge's reconcile got to the end of this side."""
    SideState.objects.filter(pk=side.pk).update(swept_at=now)
    if bridge != DEFAULT_BRIDGE:
        with transaction.atomic():
            side.cursor = SideState.objects.select_for_update().values_list("cursor", flat=True).get(pk=side.pk)
            _keep(side, bridge, swept_at=now.isoformat())


def swept_at(side: SideState, bridge: int) -> datetime | None:
    if bridge == DEFAULT_BRIDGE:
        return side.swept_at
    return stored(_of(side, bridge).get("swept_at"))


def _of(side: SideState, bridge: int) -> dict[str, str]:
    """The default bridge's stands where it stood before there were others."""
    said: dict[str, Any] = side.cursor
    return said if bridge == DEFAULT_BRIDGE else said.get(BRIDGES, {}).get(str(bridge), {})


def _keep(side: SideState, bridge: int, **said: str) -> None:
    if bridge == DEFAULT_BRIDGE:
        side.cursor = {**side.cursor, **said}
    else:
        others = side.cursor.get(BRIDGES, {})
        side.cursor = {**side.cursor, BRIDGES: {**others, str(bridge): {**others.get(str(bridge), {}), **said}}}
    side.save(update_fields=["cursor"])
