"""What a decision works on, and what it comes to: facts in, a plan with its reasons out. All of it is data."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

from sync.clients.snapshots import CrmSnapshot, ShopSnapshot
from sync.pipeline.whose import Identity

AGREES = timedelta(minutes=1)
"""Between the clock of a CRM and the times of its orders, at most."""


@dataclass(frozen=True, kw_only=True)
class EventFacts:
    """What the newest of the waiting events claims, and how long the first of those has waited whose answer is due."""

    version: int | None = None
    occurred_at: datetime | None = None
    waited: timedelta = timedelta(0)
    told_ago: timedelta | None = None
    """Since the CRM's last word, if it tells of a change before it has stored it, so that a read at once shows the
    state of before."""
    resync: bool = False
    "Somebody asked to compare the two sides, whether or not the CRM has news."
    crm_now: datetime | None = None
    "What the CRM's own clock showed when it was read."


@dataclass(frozen=True, kw_only=True)
class LinkFacts:
    """What we know of the pair from before."""

    woo_id: int
    crm_order_id: str
    crm_status: str = ""
    crm_version: int | None = None
    crm_updated_at: datetime | None = None
    woo_status: str = ""
    woo_fingerprint: str = ""
    written_by_us: bool = False
    identity: Identity = field(default_factory=dict)
    external_id: str = ""
    totals_accepted: str = ""
    prefix: str = ""
    "EXTERNAL_ID_PREFIX as it is now."

    def was_put_back(self, crm: CrmSnapshot, crm_now: datetime | None) -> bool:
        """Whether what we know is of a time that is still to come by the CRM's clock, and what it shows now is not:
        then its clock was wrong, and no time of before tells what is news."""
        known, read = self.crm_updated_at, crm.updated_at
        if not (self.crm_status and known and read and crm_now) or None not in (crm.version, self.crm_version):
            return False
        return read <= crm_now + AGREES < known


@dataclass(frozen=True, kw_only=True)
class PendingWrite:
    """A status that an earlier attempt was about to write to the shop, and of which it recorded no answer."""

    from_status: str
    to_status: str
    may_come: timedelta = timedelta(0)
    "For so long the shop may still be at it: nobody answered."


@dataclass(frozen=True)
class Reason:
    """One step of the trace: a word for machines, a sentence for people."""

    code: str
    words: str


@dataclass(frozen=True, kw_only=True)
class CreateInCrm:
    external_id: str
    order: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class UpdateInCrm:
    crm_order_id: str
    order: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class SetShopStatus:
    woo_id: int
    from_status: str
    to_status: str
    crm_order_id: str = ""
    "Written beside it, where the shop's order does not say yet which order of the CRM it is."


Write = CreateInCrm | UpdateInCrm | SetShopStatus


@dataclass(frozen=True, kw_only=True)
class TransitionDraft:
    """A transition to log: the same fields as the row."""

    from_status: str
    to_status: str
    decision: Literal["applied", "refused", "forced"]
    reason: str


@dataclass(frozen=True, kw_only=True)
class Plan:
    """An outcome, at most one write, and what to remember."""

    outcome: str
    reasons: tuple[Reason, ...]
    write: Write | None = None
    transitions: tuple[TransitionDraft, ...] = ()
    confirmed: tuple[TransitionDraft, ...] = ()
    "Made by an earlier attempt that did not live to record it: logged before anything else is written."
    crm_seen: CrmSnapshot | None = None
    "The CRM's state that the link shall remember as seen; None: nothing new was learnt."
    crm_has: ShopSnapshot | None = field(default=None, repr=False)
    "The shop's order before any write, if its content is what the CRM was told last."
    woo_id: int | None = None
    names_at_once: bool = False
    "The shop's order is told its id in the CRM as soon as that is known."


@dataclass(frozen=True, kw_only=True)
class Park:
    """A person is needed."""

    reasons: tuple[Reason, ...]
    confirmed: tuple[TransitionDraft, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ReadAgain:
    """A side has not caught up with itself: look again after a moment. No attempt is used up."""

    after: timedelta
    reasons: tuple[Reason, ...]


Decision = Plan | Park | ReadAgain
