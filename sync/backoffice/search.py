"""Which events a search finds: by event, by the order's id at either side, by the customer, by the text of bodies."""

import functools
import json
import operator
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from django.db.models import BinaryField, Func, IntegerField, Q, QuerySet, Value
from django.db.models.lookups import GreaterThan

from orders.models import OrderLink
from webhooks.customers import customer_in, hashed, hashes
from webhooks.models import Side, WebhookEvent
from webhooks.texts import is_number

LONGEST_TERM = 200
SHORTEST_TEXT = 3
FOUND = 1_000
"""Events found by an id or a customer, at most; the newest."""
ORDERS_OF_CUSTOMER = 200
"""Orders of one customer, at most; the newest."""
WINDOW = 5_000
"""Bodies that one search reads, so that a page never takes long; the next page reads on from there."""
BODIES_SHOWN = 100
BODIES_AT_ONCE = 200
WHO_SEARCHES = "Only people who may reveal personal data can search in bodies. Others can search for a whole address."
TERM = re.compile(r"(?P<text>text:\s*)?(?P<words>.*?)(?:\s+before:(?P<before>\d{1,18}))?", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class SearchResult:
    """The events, what is to be said about the search, and the search that goes on where this one ended."""

    events: QuerySet
    note: str = ""
    onward: str = ""


class BytePosition(Func):
    """Where the bytes stand in the body; 0 if they do not."""

    function = "POSITION"
    arg_joiner = " IN "
    output_field = IntegerField()

    def __init__(self, needle: bytes) -> None:
        super().__init__(Value(needle, output_field=BinaryField()), "body")

    def as_sqlite(self, compiler, connection, **context):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN003, ANN201
        turned = self.copy()
        turned.set_source_expressions(self.get_source_expressions()[::-1])
        return turned.as_sql(compiler, connection, function="INSTR", arg_joiner=", ", **context)


def search(events: QuerySet, term: str, *, may_reveal: bool) -> SearchResult:
    """Of the events that the filters leave. Ids and addresses are found everywhere, text a stretch at a time."""
    term = term.strip()
    if len(term) > LONGEST_TERM:
        return SearchResult(
            events=events.none(), note=f"A search has at most {LONGEST_TERM} characters. Search for a part of it."
        )
    said = TERM.fullmatch(term)
    words = said["words"].strip() if said else ""
    if not said or not words:
        return SearchResult(events=events)
    if not said["text"] and not said["before"]:
        exact = list(islice(dict.fromkeys(_exact(words)), FOUND))
        if exact:
            note = f"More than these {FOUND} may match." if len(exact) == FOUND else ""
            return SearchResult(events=events.filter(pk__in=exact), note=note)
    if len(words) < SHORTEST_TEXT:
        note = f"No event or order has the id {words!r}. To search in bodies, enter {SHORTEST_TEXT} or more characters."
        return SearchResult(events=events.none(), note=note)
    return _in_bodies(events, words, before=int(said["before"] or 0), may_reveal=may_reveal)


# --- by id and by customer -----------------------------------------------------------------------------------------


def _exact(words: str) -> Iterator[int]:
    """Ids of events. Each part is a look-up in an index of its own, whatever filters are set."""
    if is_number(words):
        yield from WebhookEvent.objects.filter(pk=int(words)).values_list("pk", flat=True)
    shop, crm = {words}, {words}
    for woo_id, crm_id in OrderLink.objects.named(words).values_list("woo_id", "crm_order_id")[:ORDERS_OF_CUSTOMER]:
        shop.add(str(woo_id))
        crm.add(crm_id)
    customer = hashes(words)
    if customer:
        by_address = WebhookEvent.objects.filter(customer__in=customer).order_by("-pk")
        shop = set(by_address.values_list("order_ref", flat=True)[:FOUND])
        known = OrderLink.objects.filter(
            woo_id__in=sorted(int(one) for one in shop if is_number(one))[-ORDERS_OF_CUSTOMER:]
        )
        crm = set(known.values_list("crm_order_id", flat=True))
    for side, orders in ((Side.SHOP, shop), (Side.CRM, crm)):
        about = WebhookEvent.objects.filter(side=side, order_ref__in=sorted(orders)[-ORDERS_OF_CUSTOMER:])
        yield from about.order_by("-pk").values_list("pk", flat=True)[:FOUND]


# --- by text -------------------------------------------------------------------------------------------------------


def _in_bodies(events: QuerySet, words: str, *, before: int, may_reveal: bool) -> SearchResult:
    """In the newest bodies, as they were delivered.

    Who may not reveal personal data is told of whole addresses only. Whether a body holds some letters, how many do,
    how far the search came: each of them would tell what the mask hides.
    """
    events = events.filter(pk__lt=before) if before else events
    stretch = list(events.order_by("-pk").values_list("pk", flat=True)[:WINDOW])
    if not stretch:
        return SearchResult(events=events.none(), note=f"There are no older events to search for {words!r}.")
    within = events.filter(pk__gte=stretch[-1], pk__lte=stretch[0])
    customer = hashed(words)
    if may_reveal:
        rows = within.filter(_holds(words) | Q(delivery_id=words)).order_by("-pk")
        seen = list(rows.values_list("pk", flat=True)[:BODIES_SHOWN])
    else:
        wanted = Q(delivery_id=words) | (_holds(words) if customer else Q(pk=None))
        bodies = (
            within.filter(wanted)
            .order_by("-pk")
            .values_list("pk", "body", "delivery_id")
            .iterator(chunk_size=BODIES_AT_ONCE)
        )
        seen = [pk for pk, body, label in bodies if label == words or customer_in(bytes(body)) == customer][
            :BODIES_SHOWN
        ]
    full = len(seen) == BODIES_SHOWN
    onward = f"text:{words} before:{seen[-1] if full else stretch[-1]}" if full or len(stretch) == WINDOW else ""
    what = f"the newest {len(stretch)}" if not before else f"{len(stretch)} more"
    those = "these contain" if seen else "none contains"
    looked = f"Of {what} events, {those} it exactly as written." if may_reveal or customer else WHO_SEARCHES
    note = f"No event, order or customer is known as {words!r}. {looked}"
    return SearchResult(events=within.filter(pk__in=seen), note=note, onward=onward)


def _holds(words: str) -> Q:
    """As plain text and as JSON: PHP writes ü as \\u00fc and / as \\/."""
    escaped = json.dumps(words)[1:-1]
    spellings = dict.fromkeys([words, escaped, escaped.replace("/", "\\/")])
    places = (GreaterThan(BytePosition(one.encode("utf-8", "surrogatepass")), 0) for one in spellings)
    return functools.reduce(operator.or_, map(Q, places))
