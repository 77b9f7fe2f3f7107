"""The shop's orders in order of modification, page by page, while people go on changing them."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from sync.errors import Blocked, ServerTrouble, TooLarge, Unreachable
from sync.shop import OrderPage, Shop
from sync.snapshots import ShopSnapshot

SIZES = (100, 50, 25, 5)
"""Orders on a page: fewer when a page is too heavy for the shop's host (502, 504: FACTS B7)."""
GOOD = 10
"""Pages in a row after which a bigger one is tried again: most hosts are slow for a while, not for ever."""
SECOND = timedelta(seconds=1)
"""The resolution of WooCommerce's dates."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """How far the walk is: what was modified before `at` is done, and of that very second the orders in `ids`.

    `page`: inside a stretch that only page numbers lead through, from `at` to `last` (None: that very second), the page
    to be read next; they are read backwards.
    """

    at: datetime | None = None
    ids: tuple[int, ...] = ()
    page: int = 0
    last: datetime | None = None
    size: int = field(default_factory=lambda: SIZES[0])

    def as_json(self) -> dict[str, Any]:
        at, last = self.at and self.at.isoformat(), self.last and self.last.isoformat()
        return {"at": at, "ids": self.ids, "page": self.page, "last": last, "size": self.size}

    @classmethod
    def of_json(cls, data: dict[str, Any]) -> Self:
        at, last = (datetime.fromisoformat(data[name]) if data.get(name) else None for name in ("at", "last"))
        return cls(at=at, ids=tuple(data["ids"]), page=data["page"], last=last, size=data["size"])


class Walk:
    """A key-set walk: each page begins where the last one ended, so that a set that shifts hides nothing.

    An order that is modified meanwhile moves to the end and is met there. The filter is strictly 'after' and whole
    seconds, so each page reads the last second again and leaves out what it knows of it (FACTS B6, I).

    A page may be short and not the last: the shop leaves out, but counts, what the key's user may not read.
    """

    def __init__(
        self, shop: Shop, *, statuses: Iterable[str], until: datetime | None = None, place: Place | None = None
    ) -> None:
        self.shop = shop
        self.query = {"status": ",".join(sorted(statuses))}
        if until is not None:
            self.query["modified_before"] = _gmt(until)
        self.place = place or Place()
        self.left: int | None = None
        "How many orders the shop said there are, from the place of the last page on."
        self.ended = False
        self.good = 0
        "Pages in a row that were not too heavy."
        self.timeless = 0
        "Pages in a row, from the place on, that show no moment to go on from: their orders are hidden or have no date."

    def next(self) -> list[ShopSnapshot]:
        """The next page; `place` and `ended` are set. After an error it can be asked again."""
        return self._backwards() if self.place.page else self._following()

    def _following(self) -> list[ShopSnapshot]:
        if not self.timeless:
            self._try_bigger()
        place = self.place
        page = self._read(_span(place.at), number=self.timeless + 1)
        self.left = page.total
        moments = [at for order in page.orders if (at := modified(order))]
        if not moments:  # the next page may show one; then all of them are read backwards, as pages shift
            self.timeless += 1
            full = page.total is None and len(page.orders) >= self.place.size
            self.ended = not full and self.timeless * self.place.size >= (page.total or 0)
            return self._unknown(page.orders)
        more = len(page.orders) >= self.place.size or (page.total or 0) > len(page.orders)
        if self.timeless or (more and moments[0] == moments[-1]):
            undated = [order for order in page.orders if modified(order) is None]  # the stretch leaves them out
            return undated + self._enter(place.at if self.timeless else moments[0], moments[-1])
        self.ended = not more
        unknown = self._unknown(page.orders)
        known = place.ids if moments[-1] == place.at else ()
        last = (order.woo_id for order in page.orders if modified(order) == moments[-1])
        self.place = Place(at=moments[-1], ids=tuple({*known, *last}), size=self.place.size)
        return unknown

    def _unknown(self, orders: list[ShopSnapshot]) -> list[ShopSnapshot]:
        place = self.place
        return [order for order in orders if order.woo_id not in place.ids or modified(order) != place.at]

    def _enter(self, first: datetime | None, last: datetime) -> list[ShopSnapshot]:
        """A crowded second, or a stretch that begins with a page of hidden orders. It is passed as a whole, so that the
        walk goes on even where nothing new is shown."""
        page = self._read(_span(first, last))
        if page.total is None:
            raise Blocked("The shop's list lacks X-WP-Total. See what takes it away on the way.", side="shop")
        pages = max(1, -(-page.total // self.place.size))
        ids = self.place.ids if first == self.place.at else ()
        self.place = Place(at=first, ids=ids, page=pages, last=last, size=self.place.size)
        self.timeless = 0
        return self._backwards()

    def _backwards(self) -> list[ShopSnapshot]:
        """From the last page to the first: an order that leaves moves others only to pages that are still to come."""
        last = self.place.last or self.place.at
        assert last is not None  # noqa: S101  a stretch has an end
        page = self._read(_span(self.place.at, last))
        unknown = self._unknown(page.orders)
        self.place = replace(self.place, page=self.place.page - 1)
        if not self.place.page:
            self.place = Place(at=last + SECOND, size=self.place.size)
        return unknown

    def _read(self, span: dict[str, str], number: int = 1) -> OrderPage:
        """One page; smaller ones from then on if it is too heavy."""
        while True:
            paging = {"per_page": str(self.place.size), "page": str(self.place.page or number)}
            try:
                page = self.shop.orders({**self.query, "orderby": "modified", "order": "asc", **span, **paging})
                self.good += 1
                return page
            except (ServerTrouble, TooLarge, Unreachable):
                self.good = 0
                smaller = [size for size in SIZES if size < self.place.size]
                if not smaller:
                    raise
                factor = self.place.size // smaller[0]
                self.place = replace(self.place, size=smaller[0], page=self.place.page * factor)

    def _try_bigger(self) -> None:
        bigger = [size for size in SIZES if size > self.place.size]
        if bigger and self.good >= GOOD:
            self.place, self.good = replace(self.place, size=bigger[-1]), 0


def modified(order: ShopSnapshot) -> datetime | None:
    """When the shop says that it was modified last: UTC, whole seconds. None: it has no date, or none that is one."""
    try:
        return datetime.fromisoformat(order.order["date_modified_gmt"]).replace(tzinfo=UTC)
    except (KeyError, TypeError, ValueError):
        return None


def stamp(order: ShopSnapshot) -> str:
    """The same as a part of a key."""
    at = modified(order)
    return f"{at:%Y%m%dT%H%M%S}" if at else "undated"


def _span(first: datetime | None, last: datetime | None = None) -> dict[str, str]:
    """Both included; None: without end on that side."""
    span = {"modified_after": _gmt(first - SECOND)} if first else {}
    return {**span, "modified_before": _gmt(last + SECOND)} if last else span


def _gmt(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S")
