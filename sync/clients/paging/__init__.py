"""The paginators: every list that comes in pages is read here, and has an end, whatever the side answers.

`pages` follows page numbers or cursors; what all share stands beside it. `shop_orders` reads the shop's orders by
modification, `crm_changes` what the CRM changed, past what its list cannot show, and `batches` many orders by id.

A page that fails is asked for in smaller ones, down to the single order. If that one fails while the side answers well,
it is left out and named, so that it stops nothing behind it (docs/decisions/0053).
"""

import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import TypeVar

from django.conf import settings

from sync.clients.errors import Blocked, Endless, ServerTrouble, SideError, TooLarge, Unreachable, Unreadable

P = TypeVar("P", bound=Hashable)
T = TypeVar("T")

LIST_SECONDS = 600.0
"""Seconds that the pages of one list may take together; what is done with them in between does not count."""
OF_A_PAGE = (ServerTrouble, TooLarge, Unreachable, Blocked)
"""What may be the fault of one order on a page. A list that does not end is none of that: Endless."""
SIZES = (100, 50, 25, 5, 1)
"""Orders on a page: fewer when one fails, as it is too heavy for the side (502, 504: FACTS B7) or holds a bad order."""
GOOD = 10
"""Pages in a row after which a bigger one is tried again: most hosts are slow for a while, not for ever."""


class PageSize:
    """How many orders the next page holds. `least`: of a page that is not made smaller."""

    def __init__(self, now: int | None = None, *, least: int = 1) -> None:
        self.now = now or SIZES[0]
        self.least = least
        self.good = 0
        "Pages in a row that did not fail."

    @property
    def is_smallest(self) -> bool:
        return not any(self.least <= size < self.now for size in SIZES)

    def went_well(self) -> None:
        self.good += 1

    def grow(self) -> None:
        """Before a page: a bigger one, if enough went well."""
        bigger = [size for size in SIZES if size > self.now]
        if bigger and self.good >= GOOD:
            self.now, self.good = bigger[-1], 0

    def shrink(self, failed: int) -> bool:
        """After a page of so many failed. False: no smaller one is to be asked for."""
        self.good = 0
        smaller = [size for size in SIZES if self.least <= size < failed]
        self.now = smaller[0] if smaller else self.now
        return bool(smaller)


def pages(
    fetch: Callable[[P], tuple[list[T], P | None]],
    first: P,
    *,
    side: str,
    what: str,
    name: Callable[[T], Hashable],
    most: int | None = None,
    longest: float = LIST_SECONDS,
) -> Iterator[list[T]]:
    """Page by page, none of them kept. `fetch`: what stands at a place of the list, and the place that follows; `name`:
    by what an element is known again; `most`: pages, by default LIST_MAX_PAGES.

    Raises Endless at a page or a place that comes again, after too many pages and after too long a time.
    """
    most = most or settings.LIST_MAX_PAGES
    place: P = first
    places, shown, spent = {place}, set[int](), 0.0
    for number in range(1, most + 1):
        began = time.monotonic()
        page, following = fetch(place)
        spent += time.monotonic() - began
        content = hash(tuple(map(name, page)))
        if page and content in shown and following is not None:
            raise endless(side, what, f"page {number} is one that came before")
        shown.add(content)
        yield page
        if following is None or (following in places and not page):
            return
        if following in places:
            raise endless(side, what, f"page {number} leads back to one that came before")
        if spent > longest:
            raise endless(side, what, f"{number} pages took {spent:.0f} s")
        places.add(following)
        place = following
    raise endless(side, what, f"it has more than {most} pages. If it really is that long, raise LIST_MAX_PAGES")


def endless(side: str, what: str, why: str) -> Endless:
    words = f"The {side}'s list of {what} does not end: {why}."
    return Endless(words, advice="See whether a cache or a plugin answers in its place.", side=side)


def alone(read: Callable[[], T], ping: Callable[[], None]) -> T:
    """The answer of a read that is about one order. Raises Unreadable where that order alone fails, which is so if it
    fails twice and the side answers in between; else the error of the side."""
    try:
        return read()
    except Endless:
        raise
    except TooLarge as error:
        raise _unreadable(error) from error
    except OF_A_PAGE:
        ping()
    try:
        return read()
    except OF_A_PAGE as error:
        raise _unreadable(error) from error


def _unreadable(error: SideError) -> Unreadable:
    return Unreadable(error.message, advice=error.advice, side=error.side, status=error.status, code=error.code)


def in_parts(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    return (items[start : start + size] for start in range(0, len(items), size))
