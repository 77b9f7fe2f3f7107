"""The timeline of one order: what came from both sides, what was tried and decided, what staff did and sweeps found."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import parse_qsl, quote, urlsplit

from django.db import models
from django.db.models import F, Q, QuerySet, Value

from orders.models import Decision, OrderLink, StaffAction, StatusTransition
from sync.backoffice.removed import attempts_removed, is_past
from sync.clients.http import CallRecord
from sync.models import Attempt, Call, DriftFinding
from webhooks.connections import DEFAULT_BRIDGE
from webhooks.masking import MASK, masked, masked_text, masked_topic
from webhooks.models import DELIVERED, EFFECTS, Outcome, Side, State, WebhookEvent
from webhooks.texts import is_number

AT_ONCE = 200


class EntryKind(models.TextChoices):
    """The kinds of entries. Things of the same moment are told in this order."""

    SHOP = "shop", "Shop events"
    CRM = "crm", "CRM events"
    OWN = "own", "Internal events"
    ATTEMPT = "attempt", "Attempts"
    TRANSITION = "transition", "Transitions"
    STAFF = "staff", "Staff actions"
    FINDING = "finding", "Drift findings"

    @property
    def singular(self) -> str:
        return self.label.removesuffix("s")


ENTRY_KINDS = tuple(EntryKind)
EVENT_KINDS = (EntryKind.SHOP, EntryKind.CRM, EntryKind.OWN)
Key = tuple[datetime, int, int]
"""When, which kind, and the id of the row."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One thing that happened. `tone` is success, warning, danger, info or empty."""

    at: datetime
    kind: EntryKind
    pk: int
    words: str
    tone: str = ""

    @property
    def group(self) -> str:
        """The word of `explain`, for which all events are of one kind."""
        return "event" if self.kind in EVENT_KINDS else self.kind.value


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """What we know of one order. Statuses are those last seen; nothing is asked of either side."""

    woo_id: int | None
    crm_order_id: str | None
    link: OrderLink | None = None
    bridge: int | None = DEFAULT_BRIDGE

    @property
    def number(self) -> str:
        """On the invoice; empty where it is the shop's id."""
        return self.link.number if self.link else ""

    @property
    def shop_status(self) -> str | None:
        return (self.link.woo_status if self.link else "") or None

    @property
    def crm_status(self) -> str | None:
        return (self.link.crm_status if self.link else "") or None

    @property
    def removed(self) -> str:
        """Empty, or the sentence about attempts that are no longer there."""
        rows = self._rows()
        events = (rows[kind].order_by("pk").first() for kind in EVENT_KINDS)
        return attempts_removed() if any(event and is_past(event) for event in events) else ""

    def oldest_first(self) -> Iterator[Entry]:
        """All of it."""
        keys = list(self._keys(ENTRY_KINDS).order_by("at", "rank", "id"))
        for start in range(0, len(keys), AT_ONCE):
            yield from self._tell(keys[start : start + AT_ONCE])

    def newest(self, start: int = 0, stop: int = AT_ONCE, kinds: Iterable[EntryKind] = ENTRY_KINDS) -> list[Entry]:
        """A part of it, newest first, in the same few queries however long the timeline is."""
        return self._tell(list(self._keys(kinds).order_by("-at", "-rank", "-id")[start:stop]))

    def _keys(self, kinds: Iterable[EntryKind]) -> QuerySet:
        """One query over all kinds, which the database sorts and cuts."""
        rows = self._rows()
        first, *others = (
            rows[kind]
            .annotate(at=F(WHEN[kind]), rank=Value(ENTRY_KINDS.index(kind)))
            .order_by()
            .values_list("at", "rank", "id")
            for kind in kinds
        )
        return first.union(*others, all=True)

    def _tell(self, keys: Sequence[Key]) -> list[Entry]:
        rows = self._rows()
        told: dict[tuple[int, int], Entry] = {}
        for rank in {rank for _, rank, _ in keys}:
            kind = ENTRY_KINDS[rank]
            wanted = rows[kind].filter(pk__in=[pk for _, of, pk in keys if of == rank])
            if kind == EntryKind.ATTEMPT:
                wanted = wanted.prefetch_related("calls")
            for row in wanted:
                words, tone = TELL[kind](row)
                at = getattr(row, WHEN[kind])
                told[rank, row.pk] = Entry(at=at, kind=kind, pk=row.pk, words=masked_text(words), tone=tone)
        return [told[rank, pk] for _, rank, pk in keys if (rank, pk) in told]

    def _rows(self) -> dict[EntryKind, QuerySet]:
        events = WebhookEvent.objects.filter(bridge=self.bridge).defer("body", "headers")
        from_shop = events.filter(side=Side.SHOP, order_ref=str(self.woo_id)) if self.woo_id else events.none()
        from_crm = events.filter(side=Side.CRM, order_ref=self.crm_order_id) if self.crm_order_id else events.none()
        about = Q(event__in=from_shop.values("pk")) | Q(event__in=from_crm.values("pk"))
        by_staff = about | Q(link=self.link) if self.link else about
        found = Q(woo_id=self.woo_id) if self.woo_id else Q(crm_order_id=self.crm_order_id)
        found &= Q(bridge=self.bridge)
        return {
            EntryKind.SHOP: from_shop.filter(source__in=DELIVERED),
            EntryKind.CRM: from_crm.filter(source__in=DELIVERED),
            EntryKind.OWN: (from_shop | from_crm).exclude(source__in=DELIVERED),
            EntryKind.ATTEMPT: Attempt.objects.filter(about),
            EntryKind.TRANSITION: self.link.transitions.all() if self.link else StatusTransition.objects.none(),
            EntryKind.STAFF: StaffAction.objects.filter(by_staff),
            EntryKind.FINDING: DriftFinding.objects.filter(found),
        }


def find_timeline(order: str, bridge: int = DEFAULT_BRIDGE) -> Timeline | None:
    """By the id of either side, the shop's first; None if neither a link nor an event of the bridge names it."""
    link = find_link(order, bridge)
    if link:
        return timeline_of(link)
    named = WebhookEvent.objects.filter(bridge=bridge, order_ref=order)
    sides = set(named.values_list("side", flat=True)) if order else set()
    if Side.SHOP in sides and is_number(order):
        return Timeline(woo_id=int(order), crm_order_id=None, bridge=bridge)
    return Timeline(woo_id=None, crm_order_id=order, bridge=bridge) if Side.CRM in sides else None


def timeline_of(link: OrderLink) -> Timeline:
    return Timeline(woo_id=link.woo_id, crm_order_id=link.crm_order_id, link=link, bridge=link.bridge_id)


def find_link(order: str, bridge: int = DEFAULT_BRIDGE) -> OrderLink | None:
    """Of the bridge. By the shop's id, else by the CRM's, else by the number on the invoice."""
    links = OrderLink.objects.filter(bridge=bridge)
    by_woo = links.filter(woo_id=int(order)).first() if is_number(order) else None
    return by_woo or links.filter(crm_order_id=order).first() or numbered(order, bridge).first()


def numbered(number: str, bridge: int = DEFAULT_BRIDGE) -> QuerySet[OrderLink]:
    """The newest first: a plugin may give a number twice."""
    return OrderLink.objects.filter(bridge=bridge, number=number, number__gt="").order_by("-pk")


def link_of(event: WebhookEvent) -> OrderLink | None:
    """The order that the event names, each side by its own id."""
    links = OrderLink.objects.filter(bridge=event.bridge_id)
    if event.side == Side.CRM:
        return links.filter(crm_order_id=event.order_ref).first()
    return links.filter(woo_id=int(event.order_ref)).first() if is_number(event.order_ref) else None


def summary(call: Call | CallRecord) -> str:
    """`GET /orders/C-1 → 200 (12 ms)`: the address without what only serves the way (host, nonces, signature)."""
    address = urlsplit(call.url)
    query = [(name, value) for name, value in parse_qsl(address.query) if name != "_" and "oauth_" not in name]
    shown = "&".join(f"{name}={_listed(name, value)}" for name, value in query)
    url = f"{address.path}?{shown}" if shown else address.path
    return f"{call.method} {url} → {call.status or call.error or 'no answer'} ({call.milliseconds} ms)"


def _listed(name: str, value: str) -> str:
    """A value of a query, or several with commas between them: each is shown if it is harmless."""
    listed = (masked(one, name) for one in value.split(","))
    return ",".join(one if MASK in one else quote(one, safe=":") for one in listed)


# --- one row in words, and its tone --------------------------------------------------------------------------------

Told = tuple[str, str]

STATE_TONES: dict[str, str] = {State.DEAD: "danger", State.PARKED: "warning", State.RETRYING: "warning"}
OUTCOME_TONES: dict[str, str] = {Outcome.REFUSED: "danger", Outcome.STALE: "warning", Outcome.NOT_OURS: "warning"}
DECISION_TONES: dict[str, str] = {Decision.APPLIED: "success", Decision.REFUSED: "danger", Decision.FORCED: "warning"}


def _event(event: WebhookEvent) -> Told:
    said = ", ".join(
        filter(
            None,
            [
                f"status {event.status}" if event.status else "",
                f"version {event.version}" if event.version is not None else "",
                f"{event.duplicates} duplicates" if event.duplicates else "",
            ],
        )
    )
    now = ": ".join(filter(None, [event.outcome or event.state, event.reason]))
    words = f"event {event.pk}: {event.source} {masked_topic(event.topic)}{f' ({said})' if said else ''}; now {now}"
    return words, _tone(event.outcome) if event.outcome else STATE_TONES.get(event.state, "info")


def _attempt(attempt: Attempt) -> Told:
    calls = "; ".join(summary(call) for call in attempt.calls.all())
    trigger = f"{attempt.trigger} by {attempt.actor}" if attempt.actor else attempt.trigger
    words = f"event {attempt.event_id}, {trigger}: {attempt.result} in {attempt.milliseconds} ms"
    tone = "danger" if attempt.error else _tone(attempt.result)
    return " · ".join(filter(None, [words, attempt.error, calls])), tone


def _transition(transition: StatusTransition) -> Told:
    who = f" (by {transition.actor})" if transition.actor else ""
    words = f"{transition.from_status} → {transition.to_status} {transition.decision}: {transition.reason}{who}"
    return words, DECISION_TONES[transition.decision]


def _staff(done: StaffAction) -> Told:
    of = f" event {done.event_id}" if done.event_id else ""
    because = f": {done.reason}" if done.reason else ""
    came_of_it = f" → {done.result}" if done.result else ""
    return f"{done.action}{of} by {done.actor}{because}{came_of_it}", "info"


def _finding(finding: DriftFinding) -> Told:
    kind = finding.get_kind_display()
    words = f"{kind}: shop {finding.shop or 'unknown'}, CRM {finding.crm or 'unknown'}"
    if finding.gone_at:
        return f"{words}; gone at {finding.gone_at:%Y-%m-%d %H:%M}", "success"
    if finding.ignored_until:
        return f"{words}; ignored until {finding.ignored_until:%Y-%m-%d} by {finding.ignored_by}", ""
    return words, "warning"


def _tone(outcome: str) -> str:
    return "success" if outcome in EFFECTS else OUTCOME_TONES.get(outcome, "")


WHEN = {
    EntryKind.SHOP: "received_at",
    EntryKind.CRM: "received_at",
    EntryKind.OWN: "received_at",
    EntryKind.ATTEMPT: "started_at",
    EntryKind.TRANSITION: "created_at",
    EntryKind.STAFF: "created_at",
    EntryKind.FINDING: "found_at",
}
TELL: dict[EntryKind, Callable[..., Told]] = {
    EntryKind.SHOP: _event,
    EntryKind.CRM: _event,
    EntryKind.OWN: _event,
    EntryKind.ATTEMPT: _attempt,
    EntryKind.TRANSITION: _transition,
    EntryKind.STAFF: _staff,
    EntryKind.FINDING: _finding,
}
