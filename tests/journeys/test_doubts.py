"""A creation in doubt is not repeated before the CRM has had its time to show it, however slow everything is.

And an order that another worker is linking at this moment is left to it.
"""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from orders.models import OrderLink
from sync.clients.crm.rest import RestCrm
from sync.pipeline.leases import OrderLease, release
from tests import pipeline
from tests.journeys.conftest import World, linked_order

LAG = 60.0


@pytest.fixture
def the_lag_passes(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Called, it puts our clock forward by more than the CRM's lists may lag."""
    real, late = timezone.now, [timedelta()]

    def pass_() -> None:
        late[0] += timedelta(seconds=LAG + 1)

    monkeypatch.setattr(timezone, "now", lambda: real() + late[0])
    return pass_


@pytest.fixture
def doubtful(world: World, settings: Any) -> World:
    """The CRM ignores the key, lists late, and creates the first order without an answer."""
    settings.CRM_LIST_LAG = world.crm.list_lag = LAG
    world.crm.honours_idempotency_key = False
    world.crm.faults.add("timeout-after-effect", times=1, method="POST")
    return world


def made(world: World) -> int:
    return sum(request.method == "POST" for request in world.crm.requests)


def test_the_time_that_the_crm_takes_to_answer_a_look_up_does_not_count(
    doubtful: World, monkeypatch: pytest.MonkeyPatch, the_lag_passes: Callable[[], None]
) -> None:
    doubtful.shop.create_order()
    doubtful.work()
    real = RestCrm.find

    def slow(crm: RestCrm, external_id: str) -> Any:
        found = real(crm, external_id)
        the_lag_passes()
        return found

    monkeypatch.setattr(RestCrm, "find", slow)
    doubtful.bury_the_dead()
    doubtful.work()
    assert made(doubtful) == 1


def test_the_time_begins_when_we_gave_up_waiting_for_the_answer(
    doubtful: World, monkeypatch: pytest.MonkeyPatch, the_lag_passes: Callable[[], None]
) -> None:
    real = RestCrm.create

    def slow(crm: RestCrm, *order: Any) -> Any:
        try:
            return real(crm, *order)
        finally:
            the_lag_passes()

    monkeypatch.setattr(RestCrm, "create", slow)
    doubtful.shop.create_order()
    doubtful.work()
    doubtful.bury_the_dead()
    doubtful.work()
    assert made(doubtful) == 1


def test_an_order_that_was_linked_meanwhile_is_left_to_the_worker_that_has_it(world: World) -> None:
    """A worker that took it while there was no link holds the CRM's id only, and others take the shop's."""
    woo_id, crm_id = linked_order(world, status="pending")
    world.crm.set_status(crm_id, "paid")
    world.crm.settle()
    link = world.link(woo_id)
    OrderLink.objects.filter(pk=link.pk).delete()
    work = pipeline.take("crm", crm_id)
    assert work is not None
    link.save(force_insert=True)
    other = OrderLease(f"woo:{woo_id}")
    pipeline.settle(work)
    assert world.shop.orders[woo_id]["status"] == "pending"
    release([other])
    world.settle()
    assert (world.shop.orders[woo_id]["status"], world.outcomes("crm")) == ("processing", ["applied"])
