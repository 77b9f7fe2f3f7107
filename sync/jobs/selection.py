"""Which events a bulk replay is about: chosen on a page, and kept by their ids from when the run starts."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import parse_qsl, urlencode

from django.contrib.admin.views.main import SEARCH_VAR
from django.db.models import QuerySet
from django.http import QueryDict

from sync.clients.paging import in_parts
from sync.models import Run, RunPart
from webhooks.masking import masked_query, masked_topic
from webhooks.models import Outcome, State, WebhookEvent
from webhooks.texts import is_number

EXACT = 10_000
"""Counted exactly up to here; beyond it a COUNT(*) would read for seconds what nobody needs to the last event."""
TICKED = 500
"""Of so many ticked events the ids are kept; more than a page of the list shows."""
SEARCHED = 1_000
"""A search finds no more; see sync.backoffice.search."""
LONGEST = 200
"""Characters of a filter in words."""
PART = 1_000
"""Ids in a row."""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """Events that are alike, and how many of them."""

    source: str
    topic: str
    state: str
    outcome: str
    number: int


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Events as somebody chose them: `events` finds them now, and was made through that person's eyes."""

    events: QuerySet[WebhookEvent]
    query: str = ""
    "The parameters of the list that shows them."
    ticked: tuple[int, ...] | None = None
    "None: all that the list shows."
    notes: tuple[str, ...] = ()
    "What the list says of its search."

    @classmethod
    def of_ticked(cls, ids: str) -> Self:
        """`ids`: numbers with commas between them. What is no id of an event is left out."""
        numbers = {int(one) for one in ids.split(",") if is_number(one)}
        ticked = tuple(sorted(numbers)[:TICKED])
        return cls(events=WebhookEvent.objects.filter(pk__in=ticked), ticked=ticked)

    def ids(self) -> list[int]:
        return list(self.events.order_by("pk").values_list("pk", flat=True))

    def as_options(self, ids: Sequence[int]) -> dict[str, Any]:
        """What a run tells of it. The words that were searched for may be a customer's, and are not kept."""
        is_filter = self.ticked is None and SEARCH_VAR not in QueryDict(self.query)
        if is_filter:
            return {"query": self.query, "ticked": None}
        return {"query": masked_query(self.query), "ticked": list(ids[:SEARCHED])}

    def as_address(self) -> str:
        """The parameters of an address that asks for the same."""
        return self.query if self.ticked is None else urlencode({"ticked": ",".join(map(str, self.ticked))})

    def words(self) -> str:
        return in_words(self.query, self.ticked)


def in_words(query: str, ticked: Sequence[int] | None) -> str:
    if ticked is not None and not query:
        return f"{len(ticked)} that were ticked"
    said = [f"{name.removesuffix('__exact').replace('_', ' ')}: {value}" for name, value in parse_qsl(query)]
    return ", ".join(said)[:LONGEST] or "all events"


# --- kept for a run ------------------------------------------------------------------------------------------------


def freeze(run: Run, ids: Sequence[int]) -> None:
    """Beside the run: its own row is written after each page."""
    parts = [RunPart(run=run, last=part[-1], ids=list(part)) for part in in_parts(ids, PART)]
    RunPart.objects.bulk_create(parts, batch_size=PART)


def frozen(run: Run, after: int, many: int) -> list[int]:
    """The next of the ids. Each is met once, and however many there are, a page costs the same."""
    part = RunPart.objects.filter(run=run, last__gt=after).order_by("last").first()
    return [pk for pk in part.ids if pk > after][:many] if part else []


# --- how many there are --------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Size:
    """How many, of which kind; beyond EXACT the number is an estimate and the kinds are those of the newest."""

    number: int
    is_exact: bool
    kinds: tuple[Kind, ...]
    spread: tuple[int, ...]
    "A few ids, from the newest to the oldest that were looked at."


def measure(selection: Selection, spread: int) -> Size:
    """One look at the newest EXACT events and their kinds."""
    rows = list(selection.events.order_by("-pk").values_list("pk", "source", "topic", "state", "outcome")[: EXACT + 1])
    is_exact = len(rows) <= EXACT
    return Size(
        number=len(rows) if is_exact else _extrapolated(selection, rows[0][0], rows[-1][0]),
        is_exact=is_exact,
        kinds=_kinds([row[1:] for row in rows]),
        spread=tuple(row[0] for row in rows[:: max(1, -(-len(rows) // spread))]),
    )


def _extrapolated(selection: Selection, newest: int, oldest_seen: int) -> int:
    """As if the older ones lay as close together as those that were counted."""
    first = selection.events.values_list("pk", flat=True).first() or oldest_seen
    return max(EXACT + 1, EXACT * (newest - first + 1) // max(1, newest - oldest_seen))


def _kinds(rows: list[tuple[str, ...]]) -> tuple[Kind, ...]:
    states, outcomes = dict(State.choices), dict(Outcome.choices)
    return tuple(
        Kind(
            source=source,
            topic=masked_topic(topic),
            state=states[state],
            outcome=outcomes.get(outcome, ""),
            number=number,
        )
        for (source, topic, state, outcome), number in Counter(rows).most_common()
    )
