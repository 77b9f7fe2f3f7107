"""Was any of history changed or removed? Each chain is followed from row to row to its signed head. Then come the
checkpoints, each order's pair of ids, the triggers that refuse changes, and the lifecycle against its old versions.

It works page by page while rows are added, remembers as JSON where it stands, and needs the memory of one page.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from itertools import islice
from operator import itemgetter
from typing import Any, Self

from django.contrib.auth import get_user_model
from django.db import connection
from django.db.models import Exists, OuterRef, Q, QuerySet, Subquery

from orders import append_only, checkpoints
from orders.models import (
    HASHED,
    SEALS,
    STAFF,
    AllowedMove,
    AuditSeal,
    ChainHead,
    OrderLink,
    StaffAction,
    StatusRule,
    StatusTransition,
)

VERIFY_PAGE = 2000
FINDINGS_NAMED = 100
"""Findings that are kept by name; the rest are counted."""
LOWEST_ID = -(2**63)
SEALED, ORDERS, TABLES, DONE = "sealed", "orders", "tables", "done"
"""The steps after those of the chains."""

HistoryRow = StatusTransition | StaffAction | AuditSeal
Wrong = tuple[int, int | None, str]
"""The chain, the row if one is left to name, and what is wrong in words."""


@dataclass(frozen=True, kw_only=True)
class AuditFinding:
    """Something that is not as it was written. `row` is the id in its table; empty where no row is left to name."""

    what: str
    "transition, staff action, checkpoint, order, table, status rule or allowed move"
    row: int | None = None
    order: int | None = None
    "The order's id in the shop."
    words: str

    def __str__(self) -> str:
        name = self.what if self.row is None else f"{self.what} {self.row}"
        return f"{name}{f' of order {self.order}' if self.order else ''}: {self.words}"


@dataclass(kw_only=True)
class ChainPlace:
    """The row that was looked at last."""

    chain: int = LOWEST_ID
    sequence: int = 0
    row: int = 0
    hash: str = ""


@dataclass(kw_only=True)
class Segment:
    """What is there of what one checkpoint covers: after `since`, counted up to `upto`."""

    seal: int = 0
    "The one before it."
    since: int = 0
    upto: int = 0
    rows: int = 0
    digest: str = ""
    links: dict[str, Any] = field(default_factory=dict)
    "The same of the orders, once the transitions are counted."


@dataclass(kw_only=True)
class Checkup:
    """Where the verification stands, and what it has found."""

    step: str = "transitions"
    place: ChainPlace = field(default_factory=ChainPlace)
    "Within a chain."
    segment: Segment = field(default_factory=Segment)
    seen: dict[str, int] = field(default_factory=dict)
    findings: list[AuditFinding] = field(default_factory=list)
    number: int = 0
    "How many, those that are not kept by name included."

    @classmethod
    def from_json(cls, kept: dict[str, Any]) -> Self:
        if not kept:
            return cls()
        place, segment = ChainPlace(**kept["place"]), Segment(**kept["segment"])
        findings = [AuditFinding(**one) for one in kept["findings"]]
        return cls(**{**kept, "place": place, "segment": segment, "findings": findings})

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def go_on(self) -> Iterator[None]:
        """Yields after each page."""
        rest = {SEALED: self._segments, ORDERS: self._orders, TABLES: self._tables}
        while self.step != DONE:
            yield from rest[self.step]() if self.step in rest else self._chains(CHAINS[self.step])

    def _next_step(self) -> None:
        steps = (*CHAINS, SEALED, ORDERS, TABLES, DONE)
        self.step, self.place = steps[steps.index(self.step) + 1], ChainPlace()

    def _count(self, rows: int) -> None:
        self.seen[self.step] = self.seen.get(self.step, 0) + rows

    def _report(self, wrong: Iterable[Wrong], name: Callable[[Wrong], AuditFinding]) -> None:
        for one in wrong:
            self.number += 1
            if self.number <= FINDINGS_NAMED:
                self.findings.append(name(one))

    # --- chains ----------------------------------------------------------------------------------------------------

    def _chains(self, kind: "Chains") -> Iterator[None]:
        is_last = False
        while not is_last:
            page = list(kind.after(self.place)[:VERIFY_PAGE])
            is_last = len(page) < VERIFY_PAGE
            ends: dict[int, ChainPlace] = {}
            done, wrong = self.place.chain, list[Wrong]()
            for row in page:
                chain = kind.chain_of(row)
                if chain != self.place.chain:
                    if self.place.sequence:
                        ends[self.place.chain] = self.place
                    self.place = ChainPlace(chain=chain)
                wrong += [(chain, *one) for one in follow(self.place, row)]
                self.place = ChainPlace(chain=chain, sequence=row.sequence, row=row.pk, hash=row.hash)
            if is_last and self.place.sequence:
                ends[self.place.chain] = self.place
            wrong += kind.heads_differ(ends, since=done, before=None if is_last else self.place.chain)
            self._report(sorted(wrong, key=itemgetter(0)), kind.name)
            self._count(len(page))
            if is_last:
                self._next_step()
            yield

    # --- checkpoints -----------------------------------------------------------------------------------------------

    def _segments(self) -> Iterator[None]:
        """What each checkpoint covered, counted and digested anew."""
        while one := AuditSeal.objects.filter(sequence__gt=self.segment.seal).order_by("sequence").first():
            before = AuditSeal.objects.filter(sequence__lt=one.sequence).order_by("-sequence").first() or AuditSeal()
            was = self.segment
            for now in checkpoints.covered_pages(StatusTransition.objects.all(), "hash", _covered(was), one.upto):
                self.segment = was = replace(was, **vars(now))
                yield
            links = checkpoints.Covered(**was.links) if was.links else checkpoints.links_of(before)
            for now in checkpoints.covered_pages(OrderLink.objects.all(), "woo_id", links, one.links_upto):
                self.segment, links = replace(was, links=vars(now)), now
                yield
            self._report(islice(_of_checkpoint(one, before, was, links), 1), CHAINS["seals"].name)
            self.segment = Segment(seal=one.sequence, since=one.upto, upto=one.upto, digest=one.rows_digest)
            self._count(1)
            yield
        if not self.number:  # else it is known that something is missing
            self._report(_of_all(), CHAINS["seals"].name)
        self._next_step()

    # --- orders, and the tables themselves -------------------------------------------------------------------------

    def _orders(self) -> Iterator[None]:
        """Is each order, by its id there, still the one that it was, by its id here?"""
        while page := list(OrderLink.objects.filter(pk__gt=self.place.row).order_by("pk")[:VERIFY_PAGE]):
            self._report(((one.pk, one.pk, PAIR) for one in page if not one.is_ours), _order)
            self.place = ChainPlace(row=page[-1].pk)
            self._count(len(page))
            yield
        gone = ~Exists(OrderLink.objects.filter(pk=OuterRef("pk")))
        heads = ChainHead.objects.filter(gone, pk__gt=STAFF).order_by("pk").values_list("pk", flat=True)
        self._report(((pk, None, f"it was number {pk} here and has history, but it is gone") for pk in heads), _order)
        self._next_step()

    def _tables(self) -> Iterator[None]:
        """The triggers on them, and the chain heads that `migrate` made: without these, all could be gone unnoticed."""
        words = append_only.trigger_faults(connection)
        self._report(((0, None, one) for one in words), lambda wrong: AuditFinding(what="table", words=wrong[2]))
        for chain, kind in ((STAFF, CHAINS["staff actions"]), (SEALS, CHAINS["seals"])):
            if not (kind.rows.exists() or ChainHead.objects.filter(pk=chain).exists()):
                self._report([(chain, None, "all rows are gone, and so is the head of their chain")], kind.name)
        for model in (StatusRule, AllowedMove):
            self._report(_of_live(model), partial(_live, str(model._meta.verbose_name)))
        self._next_step()
        yield


def follow(before: ChainPlace, row: HistoryRow) -> Iterator[tuple[int, str]]:
    """What is wrong with a row, given the one before it in its chain; and which row that is."""
    newest = checkpoints.CHECKPOINT_VERSION if isinstance(row, AuditSeal) else HASHED
    if (row.version or 0) > newest:
        yield row.pk, f"it was hashed as of version {row.version}, which only a newer release knows"
    elif row.content_hash() != row.hash:
        yield row.pk, "its content was changed after it was written"
    elif row.sequence != before.sequence + 1:
        gone = (
            f"{before.sequence + 1} to {row.sequence - 1}" if row.sequence > before.sequence + 2 else row.sequence - 1
        )
        yield row.pk, f"it is number {row.sequence} of its chain, but number {gone} is missing"
    elif row.previous_hash != before.hash:
        yield before.row or row.pk, f"it is not the row that stood before {row.pk} when that was written"


@dataclass(frozen=True, kw_only=True)
class Chains:
    """One table of history, and how its rows are chained."""

    what: str
    rows: QuerySet[Any]
    chain: int | None = None
    "The only one; None: each order has its own."

    def after(self, place: ChainPlace) -> QuerySet[Any]:
        if self.chain is not None:
            return self.rows.filter(sequence__gt=place.sequence).order_by("sequence")
        # The first condition is implied by the second. It is what lets the index begin there.
        beyond = Q(link_id__gt=place.chain) | Q(link_id=place.chain, sequence__gt=place.sequence)
        return self.rows.filter(beyond, link_id__gte=place.chain).order_by("link_id", "sequence")

    def chain_of(self, row: Any) -> int:
        chain: int = row.link_id if self.chain is None else self.chain
        return chain

    def of(self, chain: int) -> list[AuditFinding]:
        """What is wrong with one chain, which is a short one."""
        wrong, place = list[Wrong](), ChainPlace(chain=chain)
        for row in self.rows.filter(link_id=chain).order_by("sequence"):
            wrong += [(chain, *one) for one in follow(place, row)]
            place = ChainPlace(chain=chain, sequence=row.sequence, row=row.pk, hash=row.hash)
        if (end := self._again(chain)) is not None:
            wrong.append((chain, *end))
        return [self.name(one) for one in wrong]

    def name(self, wrong: Wrong) -> AuditFinding:
        chain, row, words = wrong
        return AuditFinding(what=self.what, row=row, order=self._order(chain), words=words)

    def _order(self, chain: int) -> int | None:
        if self.chain is not None:
            return None
        return OrderLink.objects.filter(pk=chain).values_list("woo_id", flat=True).first() or chain

    def heads_differ(self, ends: dict[int, ChainPlace], *, since: int, before: int | None) -> Iterator[Wrong]:
        """Does each chain end where its head says? Heads of chains that are gone altogether are met, too."""
        heads = {head.pk: head for head in self._heads(since, before).iterator()}
        for chain in sorted({*ends, *heads}):
            wrong = compare_end(ends.get(chain), heads.get(chain))
            if wrong is not None and (wrong := self._again(chain)) is not None:
                yield chain, *wrong

    def _heads(self, since: int, before: int | None) -> QuerySet[ChainHead]:
        if self.chain is not None:
            return ChainHead.objects.filter(pk=self.chain) if before is None else ChainHead.objects.none()
        heads = ChainHead.objects.filter(pk__gt=max(STAFF, since - 1))
        return heads if before is None else heads.filter(pk__lt=before)

    def _again(self, chain: int) -> tuple[int | None, str] | None:
        """Both ends in one statement: the chain may have grown between our two looks."""
        newest = self.rows.filter(**({} if self.chain is not None else {"link_id": chain})).order_by("-sequence")
        columns = {f"end_{name}": Subquery(newest.values(name)[:1]) for name in ("id", "sequence", "hash")}
        head = ChainHead.objects.annotate(**columns).filter(pk=chain).first()
        if head is None:
            last = newest.first()
            return compare_end(last and ChainPlace(row=last.pk, sequence=last.sequence, hash=last.hash), None)
        row, sequence, digest = (getattr(head, name) for name in columns)
        return compare_end(ChainPlace(row=row, sequence=sequence, hash=digest) if row else None, head)


PAIR = "its ids in the shop and in the CRM are not the pair that was linked"


def _order(wrong: Wrong) -> AuditFinding:
    link = OrderLink.objects.filter(pk=wrong[0]).values_list("woo_id", flat=True).first()
    return AuditFinding(what="order", row=wrong[1], order=link, words=wrong[2])


def compare_end(end: ChainPlace | None, head: ChainHead | None) -> tuple[int | None, str] | None:
    """What is wrong with the end of a chain, given its signed head; and which row that is, if one is left."""
    if head is None:
        return (end.row, "the signed head of its chain was removed") if end else None
    row, length = (end.row, end.sequence) if end else (None, 0)
    if not head.is_ours:
        return row, "the head of its chain was signed by somebody else, or with a key that is not in AUDIT_KEYS"
    if head.length and not length:
        return None, f"all {head.length} rows are gone"
    if length < head.length:
        gone = head.length - length
        what = "the newest row is gone" if gone == 1 else f"the newest {gone} rows are gone"
        return row, f"{what} after this one: {length} of {head.length} are left"
    if length > head.length:
        return row, f"it was inserted: the chain has {head.length} rows, but this is number {length}"
    if end is not None and end.hash != head.hash:
        return row, "it is not the row that was written last"
    return None


def _covered(segment: Segment) -> checkpoints.Covered:
    return checkpoints.Covered(upto=segment.upto, rows=segment.rows, digest=segment.digest)


def _of_checkpoint(one: AuditSeal, before: AuditSeal, there: Segment, links: checkpoints.Covered) -> Iterator[Wrong]:
    on = f"on {one.created_at:%F %R} UTC"
    if (there.rows, there.digest) != (one.rows, one.rows_digest):
        now = f"{there.rows} are left" if there.rows != one.rows else "their content has changed"
        covered = f"it covered {one.rows} transitions ({there.since + 1} to {one.upto}) {on}"
        yield SEALS, one.pk, f"{covered}, but {now}"
    staff = StaffAction.objects.filter(sequence=one.staff_length).values_list("hash", flat=True).first() or ""
    if staff != one.staff_hash:
        yield SEALS, one.pk, f"staff action number {one.staff_length} is not the one that it covered"
    if one.version >= checkpoints.CHECKPOINT_VERSION and (links.rows, links.digest) != (one.links, one.links_digest):
        now = f"{links.rows} are left" if links.rows != one.links else "they are different now"
        yield SEALS, one.pk, f"it covered {one.links} new orders {on}, but {now}"
    for name, model in checkpoints.LIFECYCLE.items():
        for words in _of_lifecycle(one, name, since=checkpoints.lifecycle_upto(before, name)):
            yield SEALS, one.pk, f"{model._meta.verbose_name} {words}"


def _of_lifecycle(one: AuditSeal, name: str, since: int) -> Iterator[str]:
    """Old versions of the lifecycle's rows. Who made one is forgotten with that person's account, and not else."""
    there = checkpoints.old_versions(name, since, checkpoints.lifecycle_upto(one, name))
    found = {pk: (digest, user) for pk, digest, user in there}
    for pk, digest, user in one.lifecycle.get(name, {}).get("rows", ()):
        now, by = found.pop(pk, ("", None))
        if not now:
            yield f"{pk}, which it covered, is gone"
        elif now != digest or (by != user and (by is not None or get_user_model().objects.filter(pk=user).exists())):
            yield f"{pk} was changed after it was covered"
    for pk in found:
        yield f"{pk} was inserted"


def _live(what: str, wrong: Wrong) -> AuditFinding:
    return AuditFinding(what=what, row=wrong[1], words=wrong[2])


def _of_live(model: Any) -> Iterator[Wrong]:
    """Is each row as its newest version says? Each question is one statement: somebody may be editing meanwhile."""
    history = model.history.model
    newest = history.objects.filter(id=OuterRef("pk")).order_by("-history_id")
    names = [field.attname for field in model._meta.concrete_fields]
    said = {f"said_{name}": Subquery(newest.values(name)[:1]) for name in (*names, "history_type")}
    for row in model.objects.annotate(**said).order_by("pk"):
        if row.said_history_type in (None, "-"):
            yield 0, row.pk, f"{row}: it was not created here: its history does not have it"
        elif any(getattr(row, name) != getattr(row, f"said_{name}") for name in names):
            yield 0, row.pk, f"{row}: it differs from its newest version"
    later = history.objects.filter(id=OuterRef("id"), history_id__gt=OuterRef("history_id"))
    there = model.objects.filter(pk=OuterRef("id"))
    for old in history.objects.filter(~Exists(later), ~Exists(there)).exclude(history_type="-").order_by("id"):
        yield 0, old.id, f"{old.instance}: it is gone, but nobody deleted it here"


def _of_all() -> Iterator[Wrong]:
    """Chain heads only grow in number."""
    last = AuditSeal.objects.order_by("-sequence").first()
    there = ChainHead.objects.filter(pk__gt=STAFF).count()
    if last is not None and there < last.chains:
        yield SEALS, last.pk, f"it counted {last.chains} orders with transitions, but {there} have a chain head"


CHAINS = {
    "transitions": Chains(what="transition", rows=StatusTransition.objects.all()),
    "staff actions": Chains(what="staff action", rows=StaffAction.objects.all(), chain=STAFF),
    "seals": Chains(what="checkpoint", rows=AuditSeal.objects.all(), chain=SEALS),
}
