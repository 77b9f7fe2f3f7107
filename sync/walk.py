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

    `page`: inside a second with more orders than a page holds, the page to be read next; they are read backwards.
    """

    at: datetime | None = None
    ids: tuple[int, ...] = ()
    page: int = 0
    size: int = field(default_factory=lambda: SIZES[0])

    def as_json(self) -> dict[str, Any]:
        return {"at": self.at and self.at.isoformat(), "ids": self.ids, "page": self.page, "size": self.size}

    @classmethod
    def of_json(cls, data: dict[str, Any]) -> Self:
        at = datetime.fromisoformat(data["at"]) if data["at"] else None
        return cls(at=at, ids=tuple(data["ids"]), page=data["page"], size=data["size"])


class Walk:
    """A key-set walk: each page begins where the last one ended, so that a set that shifts hides nothing.

    An order that is modified meanwhile moves to the end and is met there. The filter is strictly 'after' and whole
    seconds, so each page reads the last second again and leaves out what it knows of it (FACTS B6, I).
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

    def next(self) -> list[ShopSnapshot]:
        """The next page; `place` and `ended` are set. After an error it can be asked again."""
        return self._crowded_second() if self.place.page else self._following()

    def _following(self) -> list[ShopSnapshot]:
        self._try_bigger()
        place = self.place
        page = self._read({"modified_after": _gmt(place.at - SECOND)} if place.at else {})
        self.left = page.total
        moments = [modified(order) for order in page.orders]
        full = len(moments) >= self.place.size
        if full and moments[0] == moments[-1]:
            return self._enter_crowded_second(moments[0])
        self.ended = not full
        if moments:
            known = place.ids if moments[-1] == place.at else ()
            last = (order.woo_id for order, at in zip(page.orders, moments, strict=True) if at == moments[-1])
            self.place = Place(at=moments[-1], ids=tuple({*known, *last}), size=self.place.size)
        return [
            order
            for order, at in zip(page.orders, moments, strict=True)
            if at != place.at or order.woo_id not in place.ids
        ]

    def _enter_crowded_second(self, at: datetime) -> list[ShopSnapshot]:
        page = self._read(_of_second(at))
        if page.total is None:
            raise Blocked("The shop's list lacks X-WP-Total. See what takes it away on the way.", side="shop")
        self.place = Place(at=at, page=max(1, -(-page.total // self.place.size)), size=self.place.size)
        return self._crowded_second()

    def _crowded_second(self) -> list[ShopSnapshot]:
        """From its last page to its first: an order that leaves moves others only to pages that are still to come."""
        at = self.place.at
        assert at is not None  # noqa: S101  a place inside a second has that second
        page = self._read(_of_second(at))
        self.place = replace(self.place, page=self.place.page - 1)
        if not self.place.page:
            self.place = Place(at=at + SECOND, size=self.place.size)
        return page.orders

    def _read(self, span: dict[str, str]) -> OrderPage:
        """One page; smaller ones from then on if it is too heavy."""
        while True:
            paging = {"per_page": str(self.place.size), "page": str(self.place.page or 1)}
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


def modified(order: ShopSnapshot) -> datetime:
    """When the shop says that it was modified last: UTC, whole seconds."""
    try:
        return datetime.fromisoformat(order.order["date_modified_gmt"]).replace(tzinfo=UTC)
    except (KeyError, TypeError, ValueError) as error:
        raise Blocked(f"The shop's order {order.woo_id} has no date_modified_gmt.", side="shop") from error


def _of_second(at: datetime) -> dict[str, str]:
    return {"modified_after": _gmt(at - SECOND), "modified_before": _gmt(at + SECOND)}


def _gmt(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S")
