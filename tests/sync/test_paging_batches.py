"""Many orders by one call: what a batch may cost, and what it leaves to the single reads."""

from collections.abc import Callable, Sequence
from types import SimpleNamespace

import pytest

from sync.clients.errors import AuthFailed, Blocked, RateLimited, ServerTrouble, SideError, TooLarge, Unreachable
from sync.clients.paging import GOOD, SIZES, batches
from sync.clients.paging.batches import LEAST, PAUSE, Batches, NotUnderstood


class Side:
    """Fails a page for which `fails` is true, and shows all of another; `asked`: how many each time."""

    def __init__(
        self, fails: Callable[[Sequence[int]], bool] = lambda ids: False, error: SideError | None = None
    ) -> None:
        self.fails, self.error = fails, error or ServerTrouble("500", side="shop")
        self.asked: list[int] = []
        self.pings = 0

    def fetch(self, ids: Sequence[int]) -> list[int]:
        self.asked.append(len(ids))
        if self.fails(ids):
            raise self.error
        return list(ids)

    def ping(self) -> None:
        self.pings += 1


def read(side: Side, count: int, known: Batches | None = None) -> set[int]:
    return set((known or Batches()).read(range(1, count + 1), side.fetch, side.ping))


@pytest.mark.parametrize(
    ("count", "asked"), [(0, []), (1, [1]), (99, [99]), (100, [100]), (101, [100, 1]), (250, [100, 100, 50])]
)
def test_what_fits_a_page_is_asked_for_by_one(count: int, asked: list[int]) -> None:
    side = Side()
    assert read(side, count) == {*range(1, count + 1)}
    assert (side.asked, side.pings) == (asked, 0)


@pytest.mark.parametrize("error", [ServerTrouble, TooLarge, Unreachable, Blocked])
@pytest.mark.parametrize("bad", [1, 2, 50, 73, 100])
def test_one_bad_order_hides_at_most_four_others(bad: int, error: type[SideError]) -> None:
    side = Side(lambda ids: bad in ids, error("it fails", side="shop"))
    missing = {*range(1, 101)} - read(side, 100)
    assert bad in missing
    assert len(missing) <= LEAST
    assert len(side.asked) + side.pings <= 30


def test_a_page_that_is_too_heavy_is_not_asked_for_again() -> None:
    side, known = Side(lambda ids: len(ids) > 30), Batches()
    assert len(read(side, 100, known)) == 100
    assert side.asked == [100, 50, 25, 25, 25, 25]
    side.asked.clear()
    assert len(read(side, 100, known)) == 100
    assert side.asked == [25] * 4


def test_after_some_good_pages_a_bigger_one_is_tried() -> None:
    heavy = True
    side, known = Side(lambda ids: heavy and len(ids) > 30), Batches()
    read(side, 100, known)
    heavy = False
    side.asked.clear()
    read(side, 1000, known)
    assert side.asked[: GOOD - 4] == [25] * (GOOD - 4)
    assert side.asked[GOOD - 4] == 50


def test_a_side_that_bears_no_batch_costs_few_calls_and_then_none(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(batches, "time", SimpleNamespace(monotonic=lambda: now))
    side, known = Side(lambda ids: True), Batches()
    assert read(side, 100, known) == set()
    assert side.asked == [100, 50, 25, 5, 5]
    assert read(side, 100, known) == set()
    assert len(side.asked) == 5
    now = PAUSE
    assert read(side, 3, known) == set()
    assert side.asked[5:] == [3]


def test_who_does_not_understand_is_not_asked_for_an_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(batches, "time", SimpleNamespace(monotonic=lambda: now))
    known, asked = Batches(), []

    def fetch(ids: Sequence[int]) -> list[int]:
        asked.append(len(ids))
        raise NotUnderstood

    for now, calls in ((0.0, 1), (PAUSE - 1, 1), (PAUSE, 2), (PAUSE + 1, 2)):  # noqa: B007  the clock reads it
        assert known.read(range(150), fetch, Side().ping) == []
        assert len(asked) == calls


def test_the_error_of_a_side_that_is_down_is_raised() -> None:
    def down() -> None:
        raise Unreachable("refused", side="shop")

    side, known = Side(lambda ids: True), Batches()
    with pytest.raises(Unreachable, match="refused"):
        known.read(range(100), side.fetch, down)
    assert (side.asked, known.size.now) == ([100], SIZES[0])


@pytest.mark.parametrize("error", [RateLimited, AuthFailed])
def test_what_is_no_fault_of_a_page_is_raised_at_once(error: type[SideError]) -> None:
    side = Side(lambda ids: True, error("no", side="shop"))
    with pytest.raises(error):
        read(side, 100)
    assert (side.asked, side.pings) == ([100], 0)


def test_what_is_known_of_a_side_is_known_by_its_address_and_the_question() -> None:
    assert batches.of("http://a", "ids") is batches.of("http://a", "ids")
    assert len({id(batches.of(*key)) for key in (("http://a", "ids"), ("http://a", "x"), ("http://b", "ids"))}) == 3
    known = batches.of("http://a", "ids")
    batches.forget()
    assert batches.of("http://a", "ids") is not known
