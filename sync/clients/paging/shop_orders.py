"""The paginator of the shop's orders: by modification, page by page, while people go on changing them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from django.conf import settings

from sync.clients.errors import Blocked, Unreadable
from sync.clients.paging import OF_A_PAGE, PageSize, alone, endless
from sync.clients.shop import OrderPage, Shop
from sync.clients.snapshots import ShopSnapshot
from webhooks.moments import utc

LIGHT = "id,status,date_modified_gmt"
"""The fields that name an order which cannot be read: what fails is mostly the rest of it."""
SECOND = timedelta(seconds=1)
"""The resolution of WooCommerce's dates."""


@dataclass(frozen=True, kw_only=True)
class Position:
    """How far the paginator is: what was modified before `at` is done, and of that very second the orders in `ids`.

    `page`: inside a stretch that only page numbers lead through, from `at` to `last` (None: that very second), the page
    to be read next; they are read backwards.
    """

    at: datetime | None = None
    ids: tuple[int, ...] = ()
    page: int = 0
    last: datetime | None = None
    size: int = field(default_factory=lambda: PageSize().now)
    pages: int = 0
    "That were read so far."

    def as_json(self) -> dict[str, Any]:
        at, last = self.at and self.at.isoformat(), self.last and self.last.isoformat()
        return {"at": at, "ids": self.ids, "page": self.page, "last": last, "size": self.size, "pages": self.pages}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        at, last = (datetime.fromisoformat(data[name]) if data.get(name) else None for name in ("at", "last"))
        pages = data.get("pages", 0)
        return cls(at=at, ids=tuple(data["ids"]), page=data["page"], last=last, size=data["size"], pages=pages)


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """An order whose answer fails while the shop answers well; None: nor can its number be read."""

    woo_id: int | None
    at: datetime | None = None
    words: str


class _Smaller(Exception):
    """The page failed; smaller ones are asked for from now on."""


class _Nameless(Exception):
    """The single order of this page cannot be read, and not even its number."""


class ShopPaginator:
    """By key-set: each page begins where the last one ended, so that a set that shifts hides nothing.

    An order that is modified meanwhile moves to the end and is met there. The filter is strictly 'after' and whole
    seconds, so each page reads the last second again and leaves out what it knows of it (FACTS B6, I).

    A page may be short and not the last: the shop leaves out, but counts, what the key's user may not read.

    A shop, or a cache in its place, that ignores what it is asked for is noticed: each step gets on, or Endless is
    raised.
    """

    def __init__(
        self, shop: Shop, *, statuses: Iterable[str], until: datetime | None = None, position: Position | None = None
    ) -> None:
        self.shop = shop
        self.query = {"status": ",".join(sorted(statuses)), "orderby": "modified", "order": "asc"}
        if until is not None:
            self.query["modified_before"] = _gmt(until)
        self.position = position or Position()
        self.left: int | None = None
        "How many orders the shop said there are, from the position of the last page on."
        self.ended = False
        self.size = PageSize(self.position.size)
        self.timeless = 0
        "Pages in a row, from there on, that show no moment to go on from: their orders are hidden or have no date."
        self.left_out: list[LeftOut] = []
        "In the last step."
        self.bad: set[tuple[int, datetime | None]] = set()
        self.nameless: list[tuple[int, str]] = []
        "Of the timeless pages those that failed: their numbers, and why."
        self.before: tuple[int, Sequence[int], int] = (0, (), 0)
        "The number of the page before, its orders, and how often in a row they were on it."

    def next(self) -> list[ShopSnapshot]:
        """The next page, empty where it has to be asked for anew; `position`, `ended` and `left_out` are set. After an
        error it can be asked again."""
        self.left_out = []
        was = self.position, self.timeless
        try:
            orders = self._backwards() if self.position.page else self._following()
        except _Smaller:
            return []
        except _Nameless as error:  # it was shown a moment ago
            raise Blocked(str(error), side="shop") from error
        if not self.ended and (self.position, self.timeless) == was:
            raise _endless("the same page comes again and again, so that `modified_after` seems to be ignored")
        self.position = replace(self.position, pages=self.position.pages + 1)
        if self.position.pages > settings.LIST_MAX_PAGES:
            raise _endless(f"it has more than {settings.LIST_MAX_PAGES} pages. If that is true, raise LIST_MAX_PAGES")
        return orders

    def _following(self) -> list[ShopSnapshot]:
        if not self.timeless:
            self.size.grow()
            self.position = replace(self.position, size=self.size.now)
        position = self.position
        try:
            page = self._read(_span(position.at), number=self.timeless + 1)
        except _Nameless as error:  # as if it were hidden; the next page may show where it stands
            self.timeless += 1
            self.nameless.append((self.timeless, str(error)))
            return []
        self.left = page.total
        moments = [at for order in page.orders if (at := modified(order))]
        if not moments:  # the next page may show one; then all of them are read backwards, as pages shift
            self.timeless += 1
            full = page.total is None and len(page.orders) >= self.position.size
            self.ended = not full and self.timeless * self.position.size >= (page.total or 0)
            if self.ended:
                self._name_the_nameless(position.at, None)
            return self._unknown(page.orders)
        more = len(page.orders) >= self.position.size or (page.total or 0) > len(page.orders)
        if more and position.at and max(moments) < position.at:
            raise _endless("it shows what was changed before the time asked for, so that `modified_after` is ignored")
        is_sorted = moments == sorted(moments)
        if self.timeless or (more and (moments[0] == moments[-1] or not is_sorted)):
            undated = [order for order in page.orders if modified(order) is None]  # the stretch leaves them out
            first = moments[0] if is_sorted and not self.timeless else position.at
            return self._unknown(undated) + self._enter(first, max(moments))
        self.ended = not more
        unknown = self._unknown(page.orders)
        at = max(moments)
        known = position.ids if at == position.at else ()
        last = (order.woo_id for order in page.orders if modified(order) == at)
        self.position = replace(self.position, at=at, ids=tuple(dict.fromkeys((*known, *last))))
        return unknown

    def _unknown(self, orders: list[ShopSnapshot]) -> list[ShopSnapshot]:
        """Without those that were shown before, and without those that could not be read."""
        position = self.position
        return [
            order
            for order in orders
            if (order.woo_id not in position.ids or modified(order) != position.at)
            and (order.woo_id, modified(order)) not in self.bad
        ]

    def _enter(self, first: datetime | None, last: datetime) -> list[ShopSnapshot]:
        """A crowded second, or a stretch that begins with a page of hidden orders or is not in order. It is passed as a
        whole, so that it goes on even where nothing new is shown."""
        number = 1
        try:
            page = self._read(_span(first, last))
        except _Nameless:  # it stands first; the one that showed the moment tells how many there are
            number += self.timeless
            page = self._read(_span(first, last), number)
        if page.total is None:
            raise Blocked("The shop's list lacks X-WP-Total. See what takes it away on the way.", side="shop")
        pages = max(number, -(-page.total // self.position.size), page.pages or 0)
        ids = self.position.ids if first == self.position.at else ()
        self.position = replace(self.position, at=first, ids=ids, page=pages, last=last)
        self.timeless, self.nameless = 0, []
        return self._backwards()

    def _backwards(self) -> list[ShopSnapshot]:
        """From the last page to the first: an order that leaves moves others only to pages that are still to come."""
        last = self.position.last or self.position.at
        assert last is not None  # noqa: S101  a stretch has an end
        unknown: list[ShopSnapshot] = []
        try:
            unknown = self._unknown(self._read(_span(self.position.at, last), number=self.position.page).orders)
        except _Nameless as error:
            self.nameless.append((self.position.page, str(error)))
            self._name_the_nameless(self.position.at, last)
        if self.position.page > 1:
            self.position = replace(self.position, page=self.position.page - 1)
        else:
            self.position = replace(self.position, at=last + SECOND, ids=(), page=0, last=None)
        return unknown

    def _read(self, span: dict[str, str], number: int = 1) -> OrderPage:
        """One page. Raises _Smaller if it fails and may not be the fault of a single order."""
        paging = {"per_page": str(self.position.size), "page": str(number)}
        query = {**self.query, **span, **paging}
        was = self.size.now
        try:
            page = self._single(query) if self.size.is_smallest else self.shop.orders(query)
        except OF_A_PAGE as error:
            if not self.size.shrink(was):
                raise
            factor = was // self.size.now
            self.position = replace(self.position, size=self.size.now, page=self.position.page * factor)
            self.timeless *= factor
            raise _Smaller from error
        self.size.went_well()
        for order, why in page.odd:
            words = f"order {order} of the shop: {why}"
            self.left_out.append(LeftOut(woo_id=int(order) if order.isdecimal() else None, words=words))
        self._see_that_it_is_another(number, [order.woo_id for order in page.orders])
        return page

    def _single(self, query: dict[str, str]) -> OrderPage:
        """A page of one order. If that cannot be read it is left out, and named by those of its fields that can."""
        try:
            return alone(lambda: self.shop.orders(query), self.shop.ping)
        except Unreadable as error:
            why = str(error)
        try:
            page = self.shop.orders({**query, "_fields": LIGHT})
        except OF_A_PAGE as error:
            raise _Nameless(why) from error
        for order in page.orders:
            at = modified(order)
            if (order.woo_id, at) not in self.bad:
                self.bad.add((order.woo_id, at))
                words = f"order {order.woo_id} of the shop, changed {_said(at)}: {why}"
                self.left_out.append(LeftOut(woo_id=order.woo_id, at=at, words=words))
        return page

    def _name_the_nameless(self, first: datetime | None, last: datetime | None) -> None:
        since = f" since {_said(first)}" if first else ""
        until = f" until {_said(last)}" if last else ""
        for number, why in self.nameless:
            of = f"order {number} of those that the shop changed{since}{until}"
            words = f"{of}, whose own number cannot be read either: {why}"
            self.left_out.append(LeftOut(woo_id=None, words=words))
        self.nameless = []

    def _see_that_it_is_another(self, number: int, ids: Sequence[int]) -> None:
        """Orders that move up while others leave may fill a page once more, and one of a single order some times."""
        before, known, times = self.before
        again = times + 1 if ids and ids == known and number != before else 0
        self.before = number, ids, again
        if again > (1 if self.position.size > 1 else 20):
            raise _endless(f"page {number} shows the orders of those before it, so that `page` seems to be ignored")


def modified(order: ShopSnapshot) -> datetime | None:
    """When the shop says that it was modified last: UTC, whole seconds. None: it has no date, or none that is one."""
    try:
        return utc(order.order["date_modified_gmt"])
    except (KeyError, ValueError):
        return None


def stamp(order: ShopSnapshot) -> str:
    """The same as a part of a key."""
    at = modified(order)
    return f"{at:%Y%m%dT%H%M%S}" if at else "undated"


def _span(first: datetime | None, last: datetime | None = None) -> dict[str, str]:
    """Both included; None: without end on that side."""
    span = {"modified_after": _gmt(first - SECOND)} if first else {}
    return {**span, "modified_before": _gmt(last + SECOND)} if last else span


def _endless(why: str) -> Blocked:
    return endless("shop", "orders", why)


def _said(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC" if at else "at no known time"


def _gmt(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S")
