"""The paginator of what the CRM changed: batch by batch, past those orders that its list cannot show."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings

from sync.clients.crm.base import Crm
from sync.clients.errors import Blocked, Endless, SideError
from sync.clients.paging import OF_A_PAGE, endless
from sync.clients.snapshots import CrmSnapshot
from webhooks.moments import stored

CHANGES = 100
STEP = timedelta(seconds=1)
"""The first step beyond an order that cannot be read; each further one is twice as long."""
FARTHEST = timedelta(days=200 * 365)
"""Nothing was changed that long after anything else: it is the list itself that fails."""
FINE = timedelta(milliseconds=10)
"""So near the order that cannot be read, others are passed over with it."""


class CrmPaginator:
    """What the CRM changed since a time. After an error it begins again at the last order it gave.

    A list is led through by a cursor of the CRM's own, which stands on the page that fails, so that nothing leads past
    one. Then the list is asked for what was changed later and later, and the gap is made small by halves.
    """

    def __init__(self, crm: Crm, since: datetime, position: dict[str, Any] | None = None) -> None:
        """`position`: of an earlier one, to go on from there."""
        position = position or {}
        self.crm = crm
        self.since = stored(position.get("since")) or since
        self.gap: tuple[datetime, datetime | None] | None = _gap(position.get("gap"))
        "From where on the list fails, and from where on it is known not to."
        self.pages = int(position.get("pages", 0))
        self.ids: set[str] = set()
        "Given already, of the very moment at which it would begin again."
        self.rest: Iterator[CrmSnapshot] | None = None
        self.ended = False
        self.left_out: list[str] = []
        "In the last step."
        self.why = ""

    def position(self) -> dict[str, Any]:
        gap = [at and at.isoformat() for at in self.gap] if self.gap else None
        return {"since": self.since.isoformat(), "gap": gap, "pages": self.pages}

    def next(self) -> list[CrmSnapshot]:
        """The next batch; an empty one is not the last before it has `ended`."""
        self.left_out = []
        self.pages += 1
        if self.pages > settings.LIST_MAX_PAGES:
            why = f"it has more than {settings.LIST_MAX_PAGES} pages. If that is true, raise LIST_MAX_PAGES"
            raise endless("crm", "changes", why)
        return self._pass_over() if self.gap else self._read_on()

    def _read_on(self) -> list[CrmSnapshot]:
        try:
            return self._read()
        except Endless:
            raise
        except OF_A_PAGE:
            self.crm.ping()  # raises where it is the side and not this page
        try:
            return self._read()
        except OF_A_PAGE as error:
            self.gap, self.why = (self.since, None), str(error)
            return []

    def _read(self) -> list[CrmSnapshot]:
        """What comes before an error is given; the error comes again with the next batch, if it lasts."""
        if self.rest is None:
            self.rest = self.crm.changed_since(self.since)
        batch: list[CrmSnapshot] = []
        try:
            for one in self.rest:
                if one.updated_at != self.since or one.crm_order_id not in self.ids:
                    batch.append(one)
                if len(batch) == CHANGES:
                    break
            else:
                self.ended = True
        except SideError:
            self.rest = None
            if not batch:
                raise
        latest = max([self.since, *(one.updated_at for one in batch if one.updated_at)])
        self.ids = {*(self.ids if latest == self.since else ()), *_of(batch, latest)}
        self.since = latest
        return batch

    def _pass_over(self) -> list[CrmSnapshot]:
        assert self.gap  # noqa: S101  else there is nothing to pass
        fails, works = self.gap
        at = fails + (works - fails) / 2 if works else self.since + max(STEP, 2 * (fails - self.since))
        if at - self.since > FARTHEST:
            self.gap = None
            raise Blocked(f"The CRM's list of changes fails whatever it is asked for: {self.why}", side="crm")
        try:
            next(self.crm.changed_since(at), None)
        except Endless:
            raise
        except OF_A_PAGE as error:
            self.gap, self.why = (at, works), str(error)
        else:
            self.gap = (fails, at)
            if at - fails <= FINE:
                self._passed(at)
        return []

    def _passed(self, at: datetime) -> None:
        words = f"what the CRM changed between {_said(self.since)} and {_said(at)} cannot be read from its list"
        self.left_out.append(f"{words}: {self.why}" if self.why else words)
        self.since, self.ids, self.gap = at, set(), None


def _of(batch: list[CrmSnapshot], moment: datetime) -> list[str]:
    return [one.crm_order_id for one in batch if one.updated_at == moment]


def _said(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S.%f} UTC"


def _gap(known: list[str | None] | None) -> tuple[datetime, datetime | None] | None:
    fails = stored(known[0]) if known else None
    return (fails, stored(known[1])) if known and fails else None
