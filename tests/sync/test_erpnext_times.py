"""ERPNext's clock has no zone. The hour that comes twice in autumn loses no change."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync.clients.crm.erpnext import words
from sync.clients.crm.erpnext.zone import moment, shown_from
from sync.sandbox.crms.erpnext import ErpnextStandIn
from tests.sync.erpnext import Backend

BERLIN = ZoneInfo("Europe/Berlin")
PUT_BACK = datetime(2026, 10, 25, 1, 0, tzinfo=UTC)
"""From 03:00 to 02:00 in Berlin."""
ZONES = ("Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "America/Sao_Paulo", "UTC")
MINUTE = timedelta(minutes=1)


class Clock:
    """Of both sides."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, erpnext: ErpnextStandIn) -> None:
        clock, self.at = self, PUT_BACK

        class Now(datetime):
            @classmethod
            def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
                return clock.at

        monkeypatch.setattr(words, "datetime", Now)
        erpnext.clock = lambda: self.at

    def to(self, local: str, *, again: bool = False) -> datetime:
        """So late in Berlin; `again`: the second time."""
        self.at = datetime.fromisoformat(f"2026-10-25 {local}").replace(tzinfo=BERLIN, fold=int(again)).astimezone(UTC)
        return self.at


@pytest.fixture
def erpnext() -> Iterator[ErpnextStandIn]:
    one = ErpnextStandIn()
    one.start()
    yield one
    one.stop()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch, erpnext: ErpnextStandIn) -> Clock:
    return Clock(monkeypatch, erpnext)


def test_a_change_after_the_clock_is_put_back_is_newer(erpnext: ErpnextStandIn, clock: Clock) -> None:
    clock.to("02:50")
    backend = Backend(erpnext)
    doc = backend.create()
    before = backend.crm.get(doc["name"])
    assert before.updated_at == clock.at
    clock.to("02:10", again=True)
    erpnext.set_status(doc["name"], "To Deliver and Bill")
    after = backend.crm.get(doc["name"])
    assert doc["modified"] < doc["creation"], "as their clock says it, it went backwards"
    assert after.updated_at == clock.at
    assert after.updated_at > before.updated_at


@pytest.mark.parametrize("asked_from", ["01:55", "02:05", "02:45", "02:59"])
def test_changes_of_both_hours_are_listed_oldest_first(erpnext: ErpnextStandIn, clock: Clock, asked_from: str) -> None:
    since = clock.to(asked_from)
    backend = Backend(erpnext)
    names = set()
    for number, (local, again) in enumerate([("02:59:30", False), ("02:01", True), ("02:40", True), ("03:10", False)]):
        clock.to(local, again=again)
        newest = backend.create(f"{number}", id=number, billing={"email": "a@example.test"})["name"]
        names.add(newest)
        listed = list(backend.crm.changed_since(since))
        assert {one.crm_order_id for one in listed} == names, f"asked at {local}"
        assert listed[-1].crm_order_id == newest
        times = [one.updated_at for one in listed if one.updated_at]
        assert times == sorted(times)
        assert times[-1] == clock.at


def test_whatever_is_asked_from_within_the_second_hour_is_of_it(erpnext: ErpnextStandIn, clock: Clock) -> None:
    clock.to("02:05", again=True)
    backend = Backend(erpnext)
    backend.create("1", id=1)
    since = clock.to("02:30", again=True)
    later = backend.create("2", id=2)["name"]
    assert [one.crm_order_id for one in backend.crm.changed_since(since)] == [later]


def test_a_page_that_is_full_of_one_moment_hides_nothing(
    erpnext: ErpnextStandIn, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sync.clients.crm.erpnext.PAGE", 3)
    backend = Backend(erpnext)
    made = []
    for number in range(11):
        if number in (2, 9):
            clock.at += MINUTE  # 2 orders, then 7 of one moment, then 2
        made.append(backend.create(f"{number}", id=number, billing={"email": "a@example.test"})["name"])
    listed = [one.crm_order_id for one in backend.crm.changed_since(PUT_BACK - MINUTE)]
    assert listed == made


AT = st.datetimes(datetime(2024, 1, 1), datetime(2028, 1, 1), timezones=st.just(UTC))


@given(changed=AT, zone=st.sampled_from(ZONES), later=st.timedeltas(timedelta(), timedelta(days=2)))
def test_a_time_is_read_as_it_was_and_never_as_one_to_come(changed: datetime, zone: str, later: timedelta) -> None:
    site = ZoneInfo(zone)
    text = changed.astimezone(site).strftime("%Y-%m-%d %H:%M:%S.%f")
    read, at_once = moment(text, site, changed + later), moment(text, site, changed)
    assert at_once == changed
    assert changed <= read <= changed + later
    assert read.astimezone(site).replace(tzinfo=None, fold=0) == changed.astimezone(site).replace(tzinfo=None, fold=0)


@given(changed=AT, zone=st.sampled_from(ZONES), earlier=st.timedeltas(timedelta(), timedelta(hours=4)))
def test_nothing_that_is_changed_later_is_left_out(changed: datetime, zone: str, earlier: timedelta) -> None:
    site = ZoneInfo(zone)
    asked = shown_from(changed - earlier, site)
    assert asked <= changed.astimezone(site).strftime("%Y-%m-%d %H:%M:%S.%f")


@given(first=AT, zone=st.sampled_from(ZONES), read=st.timedeltas(timedelta(), timedelta(hours=3)), more=st.data())
def test_of_two_changes_the_later_one_is_newer(
    first: datetime, zone: str, read: timedelta, more: st.DataObject
) -> None:
    site = ZoneInfo(zone)
    second = first + read + more.draw(st.timedeltas(timedelta(seconds=1), timedelta(hours=3)))
    texts = [at.astimezone(site).strftime("%Y-%m-%d %H:%M:%S.%f") for at in (first, second)]
    known = moment(texts[0], site, first + read)  # read before the second one
    assert moment(texts[1], site, second) > known


@pytest.mark.parametrize("text", ["2026-13-01 00:00:00", "yesterday", "", "2026-11-27T22:15:06Z"])
def test_what_is_no_naive_time_is_none(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        moment(text, BERLIN, datetime.now(UTC))
