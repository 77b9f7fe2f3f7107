"""The paginator of the shop's orders against a list in memory: what it asks for, shows, and leaves out."""

import itertools
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sync.clients import paging
from sync.clients.errors import Blocked, Endless, ServerTrouble, TooLarge
from sync.clients.paging import PageSize
from sync.clients.paging.shop_orders import LeftOut, Position, ShopPaginator, modified, stamp
from sync.clients.shop import OrderPage
from sync.clients.snapshots import ShopSnapshot

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
BROKEN = "It broke."


def at(second: float) -> datetime:
    return BEGAN + timedelta(seconds=second)


def gmt(second: float) -> str:
    return at(second).strftime("%Y-%m-%dT%H:%M:%S")


@dataclass
class ListedShop:
    """Orders 1, 2, … by the second of their change. `bad` ones break each page with them, `nameless` ones also the
    page that asks for little of each, and `hidden` ones are counted and not shown."""

    seconds: list[int | None]
    hidden: set[int] = field(default_factory=set)
    bad: set[int] = field(default_factory=set)
    nameless: set[int] = field(default_factory=set)
    odd: tuple[tuple[str, str], ...] = ()
    tells_total: bool = True
    pages: int | None = None
    asked: list[dict[str, str]] = field(default_factory=list)
    pings: int = 0

    def ping(self) -> None:
        self.pings += 1

    def orders(self, query: Mapping[str, str]) -> OrderPage:
        self.asked.append(dict(query))
        moments = {n: gmt(second or 0) for n, second in enumerate(self.seconds, 1)}
        after, before = query.get("modified_after", ""), query.get("modified_before", "9999")
        listed = sorted((moment, n) for n, moment in moments.items() if after < moment < before)
        size, page = int(query["per_page"]), int(query["page"])
        here = [n for _, n in listed][size * (page - 1) : size * page]
        if (self.nameless if "_fields" in query else self.bad | self.nameless) & {*here}:
            raise ServerTrouble(BROKEN, side="shop", status=500)
        shown = [
            ShopSnapshot(
                woo_id=n,
                status="processing",
                order={"date_modified_gmt": None if self.seconds[n - 1] is None else moments[n]},
            )
            for n in here
            if n not in self.hidden
        ]
        return OrderPage(orders=shown, total=len(listed) if self.tells_total else None, pages=self.pages, odd=self.odd)


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paging, "SIZES", (4, 2, 1))
    monkeypatch.setattr(paging, "GOOD", 2)


def read(shop: ListedShop, **options: Any) -> tuple[list[int], list[LeftOut]]:
    """All that is shown, in turn, and all that is left out."""
    one = ShopPaginator(shop, statuses=("processing", "pending"), **options)  # type: ignore[arg-type]
    shown: list[int] = []
    left_out: list[LeftOut] = []
    for _ in range(200):
        shown += [order.woo_id for order in one.next()]
        left_out += one.left_out
        if one.ended:
            return shown, left_out
    raise AssertionError("It does not end.")


# --- whatever the list holds ---------------------------------------------------------------------------------------

KINDS = ("good", "hidden", "bad", "nameless")
MOMENTS: list[list[int | None]] = [[0, 1, 2, 3], [0, 0, 0, 0], [0, 1, 1, 2], [0, 0, 1, 1]]


@pytest.mark.parametrize("seconds", MOMENTS, ids=str)
@pytest.mark.parametrize("size", [4, 2, 1])
def test_each_order_is_shown_once_or_named_or_counted_among_those_without_a_name(
    seconds: list[int | None], size: int
) -> None:
    for kinds in itertools.product(KINDS, repeat=len(seconds)):
        of = {kind: {n for n, one in enumerate(kinds, 1) if one == kind} for kind in KINDS}
        shop = ListedShop(seconds, of["hidden"], of["bad"], of["nameless"])
        shown, left_out = read(shop, position=Position(size=size))
        assert Counter(shown) == Counter(of["good"]), kinds
        assert {one.woo_id: one.at for one in left_out if one.woo_id} == {
            n: at(seconds[n - 1] or 0) for n in of["bad"]
        }, kinds
        assert Counter(one.woo_id for one in left_out)[None] >= bool(of["nameless"]), kinds
        assert all(BROKEN in one.words for one in left_out)


@pytest.mark.parametrize("without", [{1}, {2}, {4}, {1, 2}, {1, 2, 3, 4}])
@pytest.mark.parametrize("size", [4, 2, 1])
def test_orders_without_a_date_are_shown_too(without: set[int], size: int) -> None:
    seconds = [None if n in without else n for n in (1, 2, 3, 4, 5)]
    shown, left_out = read(ListedShop(seconds), position=Position(size=size))
    assert (set(shown), left_out) == ({1, 2, 3, 4, 5}, [])


# --- what it asks for ----------------------------------------------------------------------------------------------


def asked(shop: ListedShop) -> list[str]:
    """Each question in short: from the second after which, to that before which, the page and its size."""

    def second(moment: str | None) -> str:
        return str(round((datetime.fromisoformat(f"{moment}+00:00") - BEGAN).total_seconds())) if moment else ""

    return [
        f"{second(one.get('modified_after'))}..{second(one.get('modified_before'))} {one['page']}x{one['per_page']}"
        + (" light" if "_fields" in one else "")
        for one in shop.asked
    ]


def test_the_question() -> None:
    shop = ListedShop([0, 1, 2])
    assert read(shop, until=datetime(2026, 1, 1, 2, tzinfo=UTC)) == ([1, 2, 3], [])
    assert shop.asked == [
        {
            "status": "pending,processing",
            "orderby": "modified",
            "order": "asc",
            "modified_before": "2026-01-01T02:00:00",
            "per_page": "4",
            "page": "1",
        }
    ]
    assert "modified_before" not in (read(other := ListedShop([0])) and other.asked[0])


@pytest.mark.parametrize(
    ("seconds", "faults", "questions"),
    [
        ([], {}, [".. 1x4"]),
        ([0, 1, 2, 3, 4], {}, [".. 1x4", "2.. 1x4"]),  # the last second again
        ([0, 1, 2, 3, 4, 5, 6, 7], {}, [".. 1x4", "2.. 1x4", "5.. 1x4"]),
        # a crowded second is read backwards by page numbers, and passed
        ([5] * 6, {}, [".. 1x4", "4..6 1x4", "4..6 2x4", "4..6 1x4", "5.. 1x4"]),
        # an order that breaks its pages: down to one, and up again
        (
            [0, 1, 2, 3, 4, 5],
            {"bad": {2}},
            [
                *[".. 1x4", ".. 1x2", ".. 1x1", "-1..1 1x1", "-1..1 1x1", "0.. 1x2"],
                *["0.. 1x1", "0.. 1x1", "0.. 1x1 light", "0..2 1x1", "0..2 1x1", "0..2 1x1 light"],
                *["0..2 1x1", "0..2 1x1", "0..2 1x1 light", "1.. 1x2", "2.. 1x2", "3.. 1x4"],
            ],
        ),
        # hidden ones: page numbers lead on until one shows its moment
        (
            [0, 1, 2, 3, 4, 5],
            {"hidden": {1, 2, 3, 4}},
            [".. 1x4", ".. 2x4", "..6 1x4", "..6 2x4", "..6 1x4", "5.. 1x4"],
        ),
        ([0, 1, 2, 3], {"hidden": {1, 2, 3, 4}}, [".. 1x4"]),
        ([0], {"hidden": {1}}, [".. 1x4"]),
        # a page of a crowded second that breaks: the same stretch by smaller ones
        (
            [5] * 6,
            {"bad": {6}},
            [
                *[".. 1x4", "4..6 1x4", "4..6 2x4", "4..6 4x2", "4..6 3x2", "4..6 6x1", "4..6 6x1", "4..6 6x1 light"],
                *["4..6 5x1", "4..6 4x1", "4..6 3x1", "4..6 2x1", "4..6 1x1", "5.. 1x2"],
            ],
        ),
        # those without a name stand first: the stretch is as long as the place that showed a moment
        (
            [0, 1, 2, 3, 4, 5],
            {"nameless": {1, 2}},
            [
                *[".. 1x4", ".. 1x2", ".. 1x1", ".. 1x1", ".. 1x1 light", ".. 2x1", ".. 2x1", ".. 2x1 light", ".. 3x1"],
                *["..3 1x1", "..3 1x1", "..3 1x1 light", "..3 3x1", "..3 3x1", "..3 2x1", "..3 2x1", "..3 2x1 light"],
                *["..3 1x1", "..3 1x1", "..3 1x1 light", "2.. 1x2", "3.. 1x2", "4.. 1x4"],
            ],
        ),
    ],
)
def test_each_question_of_a_whole_list(
    seconds: list[int | None], faults: dict[str, set[int]], questions: list[str]
) -> None:
    shop = ListedShop(seconds, **faults)
    read(shop)
    assert asked(shop) == questions


@pytest.mark.parametrize(
    ("seconds", "nameless", "shown", "named"),
    [
        ([0, 1, 2, 3, 4, 5], {1, 2}, [3, 4, 5, 6], {2: "until 2", 1: "until 2"}),
        ([0, 0, 1], {1}, [2, 3], {1: "until 0"}),
        ([0, 0, 0], {2}, [3, 1], {2: "since 0 until 0"}),
        ([0, 1, 2], {3}, [1, 2], {1: "since 2"}),
        ([0, 1, 2], {1, 2, 3}, [], {1: "", 2: "", 3: ""}),
    ],
)
def test_an_order_without_a_name_is_told_by_its_place(
    seconds: list[int | None], nameless: set[int], shown: list[int], named: dict[int, str]
) -> None:
    """By its number among those that were changed in a span of time."""

    def said(place: int, span: str) -> LeftOut:
        span = re.sub(r"\d", lambda second: f"{at(int(second[0])):%Y-%m-%d %H:%M:%S} UTC", span)
        of = f"order {place} of those that the shop changed{' ' if span else ''}{span}"
        return LeftOut(woo_id=None, words=f"{of}, whose own number cannot be read either: {BROKEN}")

    assert read(ListedShop(seconds, nameless=nameless)) == (shown, [said(place, span) for place, span in named.items()])


@pytest.mark.parametrize(("second", "moment"), [(1, "2026-01-01 00:00:01 UTC"), (None, "at no known time")])
def test_an_order_that_can_not_be_read_is_told_by_its_number_and_time(second: int | None, moment: str) -> None:
    """Once, however often it is met; the shop is asked in between whether it answers at all."""
    shop = ListedShop([0, second, 2], bad={2})
    _, left_out = read(shop)
    [one] = {one.words: one for one in left_out}.values()
    changed = None if second is None else at(second)
    assert one == LeftOut(woo_id=2, at=changed, words=f"order 2 of the shop, changed {moment}: {BROKEN}")
    assert left_out == [one]
    assert shop.pings == sum("light" in question for question in asked(shop))


def test_an_order_that_is_odd_is_told_by_what_stands_for_its_number() -> None:
    _, left_out = read(ListedShop([0], odd=(("7", "no status"), ("x", "no number"))))
    assert left_out == [
        LeftOut(woo_id=7, words="order 7 of the shop: no status"),
        LeftOut(woo_id=None, words="order x of the shop: no number"),
    ]


def test_of_a_step_only_what_that_step_left_out_is_told() -> None:
    one = paginator(ListedShop([0], odd=(("7", "no status"),)))
    assert (one.left_out, one.ended, one.left, one.timeless) == ([], False, None, 0)
    one.next()
    one.next()
    assert (len(one.left_out), one.ended, one.left) == (1, True, 1)


# --- a shop that cannot be trusted --------------------------------------------------------------------------------


def paginator(shop: Any, **options: Any) -> ShopPaginator:
    return ShopPaginator(shop, statuses=("processing",), **options)


class Deaf(ListedShop):
    """Ignores some of what it is asked."""

    ignored = ("modified_after", "modified_before")

    def orders(self, query: Mapping[str, str]) -> OrderPage:
        return super().orders(
            {**query, **{name: "1" for name in self.ignored if name == "page"}}
            if "page" in self.ignored
            else {name: value for name, value in query.items() if name not in self.ignored}
        )


class OnePage(Deaf):
    ignored = ("page",)


@pytest.mark.parametrize(
    ("shop", "options", "why"),
    [
        (Deaf([0, 1, 2, 3]), {}, "the same page comes again and again, so that `modified_after` seems to be ignored"),
        (Deaf([0, 1, 2, 3]), {"position": Position(at=at(9), size=4)}, "what was changed before the time asked for"),
        (OnePage([5] * 12), {}, "page 2 shows the orders of those before it, so that `page` seems to be ignored"),
        (
            ListedShop([0, 1, 2]),
            {"position": Position(pages=30, size=4)},
            "it has more than 30 pages. If that is true, raise",
        ),
    ],
    ids=["the same page", "before", "page", "too many"],
)
def test_a_list_that_does_not_end_is_named(shop: Any, options: dict[str, Any], why: str, settings: Any) -> None:
    settings.LIST_MAX_PAGES = 30
    with pytest.raises(Endless) as raised:
        read(shop, **options)
    assert (raised.value.side, "The shop's list of orders does not end: " in str(raised.value)) == ("shop", True)
    assert why in str(raised.value)


@pytest.mark.parametrize(("size", "calls"), [(4, 3), (2, 3), (1, 22)])
def test_how_often_a_page_may_come_again_while_others_leave(size: int, calls: int) -> None:
    """One of a single order may move up from page to page some twenty times."""
    shop = OnePage([5] * 40)
    with pytest.raises(Endless, match="`page` seems to be ignored"):
        read(shop, position=Position(at=at(5), last=at(5), page=40 // size, size=size))
    assert len(shop.asked) == calls


def test_a_crowded_second_is_not_passed_without_a_total() -> None:
    with pytest.raises(Blocked, match="lacks X-WP-Total") as raised:
        read(ListedShop([5] * 6, tells_total=False))
    assert raised.value.side == "shop"


def test_without_a_total_a_full_page_is_not_the_last() -> None:
    assert read(ListedShop([0, 1, 2, 3, 4, 5, 6], tells_total=False))[0] == [1, 2, 3, 4, 5, 6, 7]
    hidden = ListedShop([None] * 9, tells_total=False)
    assert set(read(hidden)[0]) == set(range(1, 10))


def test_a_shop_that_counts_more_pages_is_believed() -> None:
    shop = ListedShop([5] * 6, pages=3)
    assert set(read(shop)[0]) == {1, 2, 3, 4, 5, 6}
    assert asked(shop) == [".. 1x4", "4..6 1x4", "4..6 3x4", "4..6 2x4", "4..6 1x4", "5.. 1x4"]


def test_what_was_shown_a_moment_ago_and_can_not_be_read_stops_the_list() -> None:
    class Worse(ListedShop):
        def orders(self, query: Mapping[str, str]) -> OrderPage:
            try:
                return super().orders(query)
            finally:
                if "modified_before" in query:
                    self.nameless = {1, 2}

    with pytest.raises(Blocked) as raised:
        read(Worse([0, 0], nameless={1}), position=Position(size=1))
    assert (str(raised.value), raised.value.side) == (BROKEN, "shop")


# --- going on ------------------------------------------------------------------------------------------------------


def test_a_position_is_kept_as_json() -> None:
    whole = Position(at=at(1), ids=(1, 2), page=3, last=at(2), size=2, pages=5)
    kept = {"at": "2026-01-01T00:00:01+00:00", "ids": (1, 2), "page": 3, "size": 2, "pages": 5}
    assert whole.as_json() == {**kept, "last": "2026-01-01T00:00:02+00:00"}
    for position in (whole, Position()):
        assert Position.from_json(position.as_json()) == position
    assert Position.from_json({"at": None, "ids": [], "page": 0, "size": 4}) == Position(size=4, pages=0)


def test_it_goes_on_with_pages_of_the_size_that_worked() -> None:
    shop = ListedShop([0, 1, 2])
    read(shop, position=Position(size=2))
    assert asked(shop) == [".. 1x2", "0.. 1x2", "1.. 1x4"]


def test_as_many_pages_as_there_may_be(settings: Any) -> None:
    settings.LIST_MAX_PAGES = 30
    assert read(ListedShop([0, 1]), position=Position(pages=29)) == ([1, 2], [])


@pytest.mark.parametrize("seconds", [[0, 1, 2, 3, 4, 5, 6], [0, 1, 1, 1, 1, 1, 2], [0, 0, 0, 0, 5, 5, 5]], ids=str)
@pytest.mark.parametrize("size", [4, 2, 1])
def test_an_order_that_is_modified_meanwhile_is_met_again(seconds: list[int | None], size: int) -> None:
    """Whichever it is, and after whichever page: also where it now stands in the very second of the position."""
    for number, steps in itertools.product(range(1, len(seconds) + 1), range(1, 8)):
        shop = ListedShop([*seconds])
        one = paginator(shop, position=Position(size=size))
        for _ in range(steps):
            one.next()
        now = one.position.last or one.position.at
        second = round((now - BEGAN).total_seconds()) if now else 0
        if one.ended or one.position.page or second == shop.seconds[number - 1]:
            continue
        shop.seconds[number - 1] = second
        again: list[int] = []
        while not one.ended:
            again += [order.woo_id for order in one.next()]
        assert number in again, (number, steps)


def test_where_it_ends() -> None:
    for seconds, end in (([0, 1, 1], Position(at=at(1), ids=(2, 3), size=4, pages=1)), ([], Position(size=4, pages=1))):
        one = paginator(ListedShop([*seconds]))
        one.next()
        assert (one.ended, one.position) == (True, end)
    one = paginator(ListedShop([5] * 6))
    for _ in range(3):
        one.next()
    assert (one.position.ids, one.position.page, one.position.last) == ((), 0, None)


@pytest.mark.parametrize("seconds", [*MOMENTS, [0, 0, 0, 0, 0, 1, 1]], ids=str)
def test_from_each_position_it_goes_on_where_it_was(seconds: list[int | None]) -> None:
    shop, shown, position = ListedShop(seconds), list[int](), Position(size=2)
    while True:
        one = paginator(shop, position=Position.from_json(position.as_json()))
        shown += [order.woo_id for order in one.next()]
        assert one.position.pages == position.pages + 1
        position = one.position
        if one.ended:
            break
    assert sorted(shown) == list(range(1, len(seconds) + 1))


@pytest.mark.parametrize(("error", "smaller"), [(ServerTrouble, True), (TooLarge, True), (Blocked, True)])
def test_what_may_be_the_fault_of_a_page_makes_it_smaller(error: type[Exception], smaller: bool) -> None:
    class Failing(ListedShop):
        def orders(self, query: Mapping[str, str]) -> OrderPage:
            if query["per_page"] == "4":
                self.asked.append(dict(query))
                raise error("no")
            return super().orders(query)

    shop = Failing([0, 1, 2])
    assert read(shop)[0] == [1, 2, 3]
    assert asked(shop)[:2] == [".. 1x4", ".. 1x2"]


@pytest.mark.parametrize(
    ("order", "moment", "key"),
    [
        ({"date_modified_gmt": "2026-01-01T00:00:05"}, at(5), "20260101T000005"),
        ({"date_modified_gmt": "soon"}, None, "undated"),
        ({"date_modified_gmt": None}, None, "undated"),
        ({}, None, "undated"),
    ],
)
def test_when_an_order_was_modified(order: dict[str, Any], moment: datetime | None, key: str) -> None:
    one = ShopSnapshot(woo_id=1, status="processing", order=order)
    assert (modified(one), stamp(one)) == (moment, key)


# --- the size of a page --------------------------------------------------------------------------------------------


def test_a_page_grows_by_a_step_after_enough_good_ones() -> None:
    size = PageSize(1)
    assert (PageSize().now, size.is_smallest, PageSize(2, least=2).is_smallest) == (4, True, True)
    seen = []
    for _ in range(6):
        size.grow()
        seen.append(size.now)
        size.went_well()
    assert seen == [1, 1, 2, 2, 4, 4]
    assert not size.is_smallest


def test_a_page_shrinks_below_what_failed_and_forgets_the_good_ones() -> None:
    size = PageSize()
    size.went_well()
    assert size.shrink(4) and size.now == 2
    size.went_well()
    size.grow()
    assert size.now == 2
    assert size.shrink(2) and size.now == 1
    assert not size.shrink(1) and size.now == 1
    size = PageSize(least=2)
    assert size.shrink(3) and size.now == 2
    assert not size.shrink(2) and size.now == 2
