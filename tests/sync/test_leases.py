"""The right to work on one order."""

from datetime import timedelta

import pytest
from django.utils import timezone

from sync.models import Lease
from sync.pipeline.leases import YOUNG, Busy, LeaseLost, OrderLease, release, renew

pytestmark = pytest.mark.django_db


def expire() -> None:
    Lease.objects.update(expires_at=timezone.now() - timedelta(seconds=1))


def test_one_worker_at_a_time() -> None:
    first = OrderLease("woo:1")
    with pytest.raises(Busy):
        OrderLease("woo:1")
    release([first])
    release([OrderLease("woo:1")])


def test_a_dead_workers_lease_is_free_again() -> None:
    OrderLease("woo:1")
    expire()
    assert OrderLease("woo:1").keys == ["woo:1"]


def test_a_worker_that_slept_through_its_lease_can_neither_renew_nor_record() -> None:
    sleeper = OrderLease("woo:1")
    expire()
    other = OrderLease("woo:1")
    with pytest.raises(LeaseLost):
        renew([sleeper])
    with pytest.raises(LeaseLost):
        release([sleeper])
    renew([other])


def test_two_keys_are_held_and_released_together() -> None:
    held = OrderLease("crm:C-1")
    held.take("woo:1")
    with pytest.raises(Busy):
        OrderLease("woo:1")
    release([held])
    assert not Lease.objects.exists()


def test_before_a_call_a_lease_is_renewed_once_it_is_no_longer_young() -> None:
    held = OrderLease("woo:1")
    expire()
    held.ensure_valid()  # young: nobody else can have it, so nothing is asked
    held.renewed_at -= YOUNG
    held.ensure_valid()
    assert Lease.objects.get().expires_at > timezone.now()
    Lease.objects.all().delete()
    for wrong in (YOUNG, -timedelta(hours=1)):  # the clock was put back: better ask
        held.renewed_at = timezone.now() - wrong
        with pytest.raises(LeaseLost):
            held.ensure_valid()
