"""Which events a bulk replay is about: those somebody ticked, or all that the list shows at an address."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Self
from urllib.parse import parse_qsl, urlencode

from django.contrib import admin
from django.contrib.admin.exceptions import DisallowedModelAdminLookup
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import SEARCH_VAR
from django.contrib.auth import get_user_model
from django.db.models import Max, QuerySet
from django.http import HttpRequest, QueryDict

from webhooks.masking import masked_query, masked_topic
from webhooks.models import Outcome, State, WebhookEvent

EXACT = 10_000
"""Counted exactly up to here; beyond it a COUNT(*) would read for seconds what nobody needs to the last event."""
TICKED = 500
"""Of so many ticked events the ids are kept; more than a page of the list shows."""
SEARCHED = 1_000
"""A search finds no more; see sync.backoffice.search."""
LONGEST = 200
"""Characters of a filter in words."""
PAGING = ("p", "o", "all", "e")
"""What an address of the list says of its look, and not of which events it shows."""


class NoSuchFilter(Exception):
    """The list does not know this filter."""

    def __init__(self) -> None:
        super().__init__(
            "This filter is not one of the list. Filter the list of events anew, then choose Replay again."
        )


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
    """Frozen: an event that came after `up_to` is not in it, nor is what no longer matches when its turn comes."""

    person: str
    "Through whose eyes the list is read: not everybody may search for everything."
    query: str = ""
    ticked: tuple[int, ...] | None = None
    "None: all that the list shows."
    up_to: int = 0
    notes: list[str] = field(default_factory=list, compare=False)
    "What the list says of its search once it was asked."

    @classmethod
    def of_list(cls, person: str, query: QueryDict) -> Self:
        """All events that exist now and that the list shows with these parameters."""
        kept = [(name, value) for name, values in query.lists() for value in values if value and name not in PAGING]
        return cls(person=person, query=urlencode(kept), up_to=_newest())

    @classmethod
    def of_ticked(cls, person: str, ids: str) -> Self:
        """`ids`: numbers with commas between them. What is no id of an event is left out."""
        numbers = {int(one) for one in ids.split(",") if one.isascii() and one.isdigit() and len(one) <= 18}
        return cls(person=person, ticked=tuple(sorted(numbers)[:TICKED]), up_to=_newest())

    @classmethod
    def of_options(cls, person: str, options: Mapping[str, Any]) -> Self:
        ticked = options["ticked"]
        return cls(
            person=person,
            query=options["query"],
            ticked=ticked if ticked is None else tuple(ticked),
            up_to=options["up_to"],
        )

    def as_options(self) -> dict[str, Any]:
        ticked = self.ticked
        return {"query": self.query, "ticked": ticked if ticked is None else list(ticked), "up_to": self.up_to}

    def as_address(self) -> str:
        """The parameters of an address that asks for the same."""
        return self.query if self.ticked is None else urlencode({"ticked": ",".join(map(str, self.ticked))})

    @cached_property
    def events(self) -> QuerySet[WebhookEvent]:
        """Raises NoSuchFilter."""
        if self.ticked is not None:
            found: QuerySet[WebhookEvent] = WebhookEvent.objects.filter(pk__in=self.ticked)
        else:
            found, said = _shown(self.query, self.person)
            self.notes.extend(said)
        return found.filter(pk__lte=self.up_to).order_by("pk")

    def after(self, pk: int, many: int) -> list[int]:
        """The next ids: key-set, so that a walk over all of them stays quick and meets each once."""
        return list(self.events.filter(pk__gt=pk).values_list("pk", flat=True)[:many])

    def frozen(self) -> Self:
        """As it is kept in a run. A search looks at the newest events, so what it found is kept by name; the words that
        were searched for may be a customer's, and are not kept."""
        if self.ticked is not None or SEARCH_VAR not in QueryDict(self.query):
            return self
        found = tuple(self.events.values_list("pk", flat=True)[:SEARCHED])
        return replace(self, query=masked_query(self.query), ticked=found)

    def words(self) -> str:
        if self.ticked is not None and not self.query:
            return f"{len(self.ticked)} that were ticked"
        said = [f"{name.removesuffix('__exact').replace('_', ' ')}: {value}" for name, value in parse_qsl(self.query)]
        return ", ".join(said)[:LONGEST] or "all events"


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


def _newest() -> int:
    return WebhookEvent.objects.aggregate(pk=Max("pk"))["pk"] or 0


class Notes:
    """Takes what the list would tell the person who looks at it."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def add(self, level: int, message: str, extra_tags: str = "") -> None:
        self.said.append(message)


def _shown(query: str, person: str) -> tuple[QuerySet[WebhookEvent], list[str]]:
    """By the list itself, so that what is replayed is what was shown, whatever filters the list has."""
    request, notes = HttpRequest(), Notes()
    request.method, request.GET = "GET", QueryDict(query)
    request.user = get_user_model().objects.get(username=person)
    request._messages = notes  # type: ignore[attr-defined]
    try:
        shown = admin.site.get_model_admin(WebhookEvent).get_changelist_instance(request)
    except (IncorrectLookupParameters, DisallowedModelAdminLookup) as error:
        raise NoSuchFilter from error
    return shown.queryset, list(dict.fromkeys(notes.said))
