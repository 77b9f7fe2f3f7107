"""The paginator of the CRM's changes against a list in memory: all is given, but what its list can not show."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sync.clients.errors import Blocked, Endless, RateLimited, ServerTrouble, SideError, TooLarge
from sync.clients.paging import crm_changes
from sync.clients.paging.crm_changes import CrmPaginator
from sync.clients.snapshots import CrmSnapshot

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
BROKEN = "It broke."


def at(second: float) -> datetime:
    return BEGAN + timedelta(seconds=second)


def crm_order(number: int, second: float | None) -> CrmSnapshot:
    moment = None if second is None else at(second)
    return CrmSnapshot(
        crm_order_id=f"C-{number}", external_id=None, status="new", version=None, updated_at=moment, answer={}
    )


@dataclass
class ListedCrm:
    """Orders 1, 2, … by the second of their change; the list breaks at the `bad` ones."""

    seconds: list[float | None]
    bad: set[int] = field(default_factory=set)
    error: SideError = field(default_factory=lambda: ServerTrouble(BROKEN, side="crm"))
    times: float = float("inf")
    "How often it breaks."
    asked: list[float] = field(default_factory=list)
    pings: int = 0

    def ping(self) -> None:
        self.pings += 1

    def changed_since(self, since: datetime) -> Iterator[CrmSnapshot]:
        self.asked.append((since - BEGAN).total_seconds())
        for number, second in enumerate(self.seconds, 1):
            if second is not None and at(second) < since:
                continue
            if number in self.bad and self.times > 0:
                self.times -= 1
                raise self.error
            yield crm_order(number, second)


def paginator(crm: Any, since: float = 0, position: dict[str, Any] | None = None) -> CrmPaginator:
    return CrmPaginator(crm, at(since), position)


def read(crm: ListedCrm, since: float = 0, *, anew: bool = False) -> tuple[list[int], list[str]]:
    """The numbers of all that is given, and what is left out. `anew`: each step of a gap by a new one that goes on."""
    one = paginator(crm, since)
    given: list[int] = []
    left_out: list[str] = []
    for _ in range(500):
        given += [int(order.crm_order_id[2:]) for order in one.next()]
        left_out += one.left_out
        if one.ended:
            return given, left_out
        if anew and one.gap:
            one = paginator(crm, since, one.position())
    raise AssertionError("It does not end.")


@pytest.mark.parametrize("batch", [1, 2, 3, 100])
def test_all_is_given_once_whatever_the_size_of_a_batch(monkeypatch: pytest.MonkeyPatch, batch: int) -> None:
    monkeypatch.setattr(crm_changes, "CHANGES", batch)
    for seconds in ([], [0], [0, 0, 0], [0, 1, 1, 1, 2], [0, 1, 2, 3], [0, None, 1, None]):
        crm = ListedCrm([*seconds])
        assert read(crm) == ([*range(1, len(seconds) + 1)], [])
        assert (crm.asked, crm.pings) == ([0], 0)


def test_a_batch_is_no_larger_than_a_hundred() -> None:
    one = paginator(ListedCrm([*range(250)]))
    sizes = [(len(one.next()), one.ended) for _ in range(3)]
    assert sizes == [(100, False), (100, False), (50, True)]


@pytest.mark.parametrize(
    "seconds", [[0, 1, 2, 3, 4], [0, 1, 1, 3, 9], [0, 0, 5, 5, 8], [0, 100, 200, 300, 400]], ids=str
)
@pytest.mark.parametrize("anew", [False, True])
def test_what_can_not_be_read_is_passed_with_what_is_as_near_as_can_be(seconds: list[float | None], anew: bool) -> None:
    """Whatever breaks the list: what is not given stands at a broken one or between two of them, within a gap that is
    told."""
    for kinds in itertools.product([False, True], repeat=len(seconds)):
        bad = {number for number, broken in enumerate(kinds, 1) if broken}
        gap = [seconds[number - 1] or 0 for number in bad] or [-1]
        given, left_out = read(ListedCrm(seconds, bad), anew=anew)
        good = {n for n, second in enumerate(seconds, 1) if not min(gap) <= (second or 0) <= max(gap)}
        assert good <= {*given}, kinds
        assert not bad & {*given}
        assert bool(left_out) == bool(bad)
        assert len(left_out) <= len(bad)
        assert anew or len(given) == len({*given})


def test_the_gap_is_told_with_its_times_and_the_error() -> None:
    given, [words] = read(ListedCrm([0, 10, 20], {2}))
    assert given == [1, 3]
    start, end = "2026-01-01 00:00:00.000000 UTC", "2026-01-01 00:00:10.0"
    assert words.startswith(f"what the CRM changed between {start} and {end}")
    assert words.endswith(f" UTC cannot be read from its list: {BROKEN}")


def test_a_gap_is_found_by_longer_and_longer_steps_and_then_by_halves() -> None:
    crm = ListedCrm([0, 10, 20], {2})
    read(crm)
    assert crm.asked[:8] == [0, 0, 0, 1, 2, 4, 8, 16]
    assert crm.asked[8:12] == [12, 10, 11, 10.5]
    begins, ends = crm.asked[-2:]
    assert ends - 10 <= 0.01 < 2 * (begins - 10)
    assert crm.pings == 1


def test_from_a_position_it_goes_on() -> None:
    crm = ListedCrm([0, 10, 20], {2})
    one = paginator(crm)
    assert [len(one.next()) for _ in range(2)] == [1, 0]
    assert one.position() == {"since": at(0).isoformat(), "gap": [at(0).isoformat(), None], "pages": 2}
    for _ in range(5):
        one.next()
    kept = {"since": at(0).isoformat(), "gap": [at(8).isoformat(), at(16).isoformat()], "pages": 7}
    assert one.position() == kept
    again = paginator(crm, 5, kept)
    again.next()
    assert (crm.asked[-1], again.position()) == (
        12,
        {**kept, "gap": [at(8).isoformat(), at(12).isoformat()], "pages": 8},
    )
    assert paginator(crm, 5).position() == {"since": at(5).isoformat(), "gap": None, "pages": 0}
    assert paginator(crm, 5, {"gap": None}).position() == {"since": at(5).isoformat(), "gap": None, "pages": 0}
    assert (paginator(crm).ended, paginator(crm).left_out) == (False, [])


@pytest.mark.parametrize(
    "error", [ServerTrouble(BROKEN), TooLarge(BROKEN), Blocked(BROKEN)], ids=lambda one: type(one).__name__
)
def test_an_error_that_passes_leaves_nothing_out(error: SideError) -> None:
    crm = ListedCrm([0, 1, 2], {2}, error, times=1)
    assert read(crm) == ([1, 2, 3], [])
    assert crm.asked == [0, 0]
    crm = ListedCrm([0, 1, 2], {1}, error, times=1)
    assert (read(crm), crm.asked, crm.pings) == (([1, 2, 3], []), [0, 0], 1)


@pytest.mark.parametrize("error", [RateLimited("slow"), Endless("no end")], ids=["of the side", "of the list"])
def test_an_error_that_is_not_of_a_page_is_told_and_asked_for_again(error: SideError) -> None:
    for bad in ({1}, {2}):
        crm = ListedCrm([0, 1, 2], bad, error, times=2)
        one = paginator(crm)
        given: list[int] = []
        raised = 0
        while not one.ended:
            try:
                given += [int(order.crm_order_id[2:]) for order in one.next()]
            except type(error):
                raised += 1
        assert (given, raised, crm.pings, one.position()["gap"]) == ([1, 2, 3], 2 if bad == {1} else 1, 0, None)


def test_an_error_of_the_side_is_told_from_within_a_gap() -> None:
    crm = ListedCrm([0, 10], {1, 2})
    one = paginator(crm)
    one.next()
    for error in (RateLimited("slow"), Endless("no end")):
        crm.error = error
        before = one.position()
        with pytest.raises(type(error)):
            one.next()
        assert one.position() == {**before, "pages": before["pages"] + 1}


def test_where_the_side_itself_is_down_that_is_told() -> None:
    class Down(ListedCrm):
        def ping(self) -> None:
            raise ServerTrouble("The CRM is down.", side="crm")

    with pytest.raises(ServerTrouble, match="The CRM is down"):
        paginator(Down([0], {1})).next()


def test_a_list_that_fails_whatever_it_is_asked_for_is_told() -> None:
    class Failing(ListedCrm):
        def changed_since(self, since: datetime) -> Iterator[CrmSnapshot]:
            raise self.error
            yield

    one = paginator(Failing([]))
    with pytest.raises(Blocked, match=f"The CRM's list of changes fails whatever it is asked for: {BROKEN}") as raised:
        for _ in range(100):
            one.next()
    assert (raised.value.side, one.position()["gap"]) == ("crm", None)
    assert one.pages == 35


def test_a_list_has_no_more_batches_than_pages_may_have(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.LIST_MAX_PAGES = 3
    monkeypatch.setattr(crm_changes, "CHANGES", 1)
    one = paginator(ListedCrm([0, 1, 2, 3]))
    assert [len(one.next()) for _ in range(3)] == [1, 1, 1]
    with pytest.raises(
        Endless, match=r"The crm's list of changes does not end: it has more than 3 pages\. .* LIST_MAX_PAGES"
    ):
        one.next()


def test_after_an_error_what_was_given_of_that_moment_is_not_given_again() -> None:
    """Nor is what changed again in between hidden."""
    crm = ListedCrm([0, 5, 5, 5, 6], {4}, times=1)
    one = paginator(crm)
    assert [order.crm_order_id for order in one.next()] == ["C-1", "C-2", "C-3"]
    crm.seconds[1] = 7
    crm.seconds = [0, 5, 5, 5, 6]
    assert [order.crm_order_id for order in one.next()] == ["C-4", "C-5"]
    assert crm.asked == [0, 5]
    crm = ListedCrm([0, 5, 5, 6], {3}, times=1)
    one = paginator(crm)
    one.next()
    crm.seconds = [5, 5, 5, 6]
    assert [order.crm_order_id for order in one.next()] == ["C-1", "C-3", "C-4"]


def test_a_gap_that_another_one_found_is_told_without_the_error() -> None:
    gap = [at(10).isoformat(), at(10.005).isoformat()]
    one = paginator(ListedCrm([0, 10, 20], {2}), position={"since": at(0).isoformat(), "gap": gap, "pages": 1})
    one.next()
    [words] = one.left_out
    assert words.endswith("cannot be read from its list")


def test_the_error_of_the_first_order_is_told_though_all_later_ones_are_well() -> None:
    given, [words] = read(ListedCrm([0], {1}))
    assert (given, words.endswith(f"list: {BROKEN}")) == ([], True)


def test_of_a_crowded_moment_that_breaks_at_last_nothing_is_given_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crm_changes, "CHANGES", 2)
    crm = ListedCrm([5, 5, 5, 5, 5], {5}, times=1)
    assert (read(crm), crm.asked) == (([1, 2, 3, 4, 5], []), [0, 5])


def test_what_was_given_of_an_earlier_moment_is_given_again_once_it_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crm_changes, "CHANGES", 1)
    crm = ListedCrm([0, 5, 5], {3}, times=1)
    one = paginator(crm)
    assert [order.crm_order_id for _ in range(2) for order in one.next()] == ["C-1", "C-2"]
    crm.seconds[0] = 5
    assert [order.crm_order_id for order in one.next()] == ["C-1"]
