"""The right to work on an order, rule by rule."""

import threading
from datetime import timedelta

import pytest
from django.utils import timezone

from sync.models import Lease
from sync.pipeline import leases
from sync.pipeline.leases import DURATION, TOO_OLD, YOUNG, Busy, LeaseLost, OrderLease, release, renew, worker_name

pytestmark = pytest.mark.django_db
MOMENT = timedelta(milliseconds=1)


def expire(*keys: str) -> None:
    Lease.objects.filter(key__in=keys).update(expires_at=timezone.now() - timedelta(seconds=1))


def rows() -> dict[str, str]:
    return {lease.key: lease.holder for lease in Lease.objects.all()}


def left(key: str) -> timedelta:
    return Lease.objects.get(key=key).expires_at - timezone.now()


def test_what_is_taken_lasts_for_its_time_and_tells_who_has_it() -> None:
    for key in ("woo:1", "woo:2"):
        before = timezone.now()
        lease = OrderLease(key) if key == "woo:1" else OrderLease.take_each([key])[key]
        assert DURATION - timedelta(seconds=5) < left(key) <= DURATION + MOMENT
        assert before <= lease.renewed_at <= timezone.now()
        assert lease.keys == [key]
    assert rows() == dict.fromkeys(("woo:1", "woo:2"), worker_name())


def test_of_several_each_that_nobody_has_is_taken() -> None:
    OrderLease("woo:2"), OrderLease("woo:4")
    expire("woo:4")
    each = OrderLease.take_each(["woo:4", "woo:1", "woo:2", "woo:3"])
    assert {key: lease.keys for key, lease in each.items()} == {key: [key] for key in ("woo:1", "woo:3", "woo:4")}
    assert OrderLease.take_each(["woo:1", "woo:3", "woo:4"]) == {} == OrderLease.take_each([])
    renew([*each.values()])
    release([each["woo:1"], each["woo:4"]])
    assert rows().keys() == {"woo:2", "woo:3"}
    expire("woo:2")
    assert OrderLease.take_each(["woo:1"]).keys() == {"woo:1"}
    assert left("woo:2") < timedelta(0)  # what was not asked for is left alone


def test_who_has_it_is_told_by_the_key() -> None:
    OrderLease("woo:1")
    with pytest.raises(Busy, match=r"^woo:1$"):
        OrderLease("crm:C-1", "woo:1")


def test_a_lease_is_renewed_for_its_whole_time() -> None:
    lease = OrderLease("woo:1", "crm:C-1")
    Lease.objects.update(expires_at=timezone.now() + timedelta(seconds=1))
    lease.renewed_at = timezone.now() - timedelta(seconds=44)
    renew([lease])
    assert DURATION - timedelta(seconds=5) < min(left("woo:1"), left("crm:C-1"))
    assert timezone.now() - lease.renewed_at < timedelta(seconds=5)


@pytest.mark.parametrize("lost", [["woo:1"], ["crm:C-1"], ["woo:2"], ["woo:1", "crm:C-1", "woo:2"]], ids=",".join)
@pytest.mark.parametrize("what", [renew, release])
def test_whoever_lost_one_of_several_has_lost_them_all(what: object, lost: list[str]) -> None:
    some = [OrderLease("woo:1", "crm:C-1"), OrderLease("woo:2")]
    expire(*lost)
    renewed_at = [lease.renewed_at for lease in some]
    others = OrderLease.take_each(lost)
    with pytest.raises(LeaseLost, match=r"^woo:1, crm:C-1, woo:2$"):
        what(some)  # type: ignore[operator]
    assert [lease.renewed_at for lease in some] == renewed_at
    renew([*others.values()])


def test_to_renew_or_release_nothing_is_well() -> None:
    OrderLease("woo:1")
    renew([])
    release([OrderLease()])
    assert rows().keys() == {"woo:1"}


@pytest.mark.parametrize(
    ("age", "old"),
    [
        (timedelta(0), False),
        (MOMENT, False),
        (YOUNG - MOMENT, False),
        (YOUNG, True),
        (YOUNG + MOMENT, True),
        (-MOMENT, True),
        (-timedelta(hours=1), True),
    ],
)
def test_before_a_call_a_lease_is_renewed_unless_it_is_young(
    monkeypatch: pytest.MonkeyPatch, age: timedelta, old: bool
) -> None:
    """Also where the clock was put back."""
    lease = OrderLease("woo:1")
    now = timezone.now()
    monkeypatch.setattr(leases.timezone, "now", lambda: now)
    lease.renewed_at = now - age
    lease.ensure_valid()
    assert (lease.renewed_at == now) is (old or not age)
    Lease.objects.all().delete()
    lease.renewed_at = now - age
    if old:
        with pytest.raises(LeaseLost, match=r"^woo:1$"):
            lease.ensure_valid()
    else:
        lease.ensure_valid()


@pytest.mark.parametrize(
    ("age", "lost"),
    [(timedelta(0), False), (TOO_OLD - MOMENT, False), (TOO_OLD, True), (-MOMENT, True)],
)
def test_a_thread_that_only_calls_neither_renews_nor_calls_with_an_old_one(
    monkeypatch: pytest.MonkeyPatch, age: timedelta, lost: bool
) -> None:
    lease = OrderLease("woo:1", "crm:C-1")
    now = timezone.now()
    monkeypatch.setattr(leases.timezone, "now", lambda: now)
    lease.renewed_at = now - age
    told: list[str] = []

    def call() -> None:
        try:
            lease.ensure_valid()
        except LeaseLost as error:
            told.append(str(error))

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    assert told == (["woo:1, crm:C-1"] if lost else [])
    assert lease.renewed_at == now - age
