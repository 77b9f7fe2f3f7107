"""The process dies after each step of apply and record; the next attempt ends the same."""

from typing import Any

import pytest

from orders.models import OrderLink, StatusTransition
from sync.clients.crm.rest import RestCrm
from sync.clients.shop import Shop
from sync.pipeline import intents, leases, links, process, record
from tests.journeys.conftest import World
from webhooks.models import WebhookEvent


class Crash(BaseException):
    """As `kill -9` would: no handler of ours runs, and an open transaction is rolled back."""


STEPS: dict[str, tuple[Any, str]] = {
    "claim": (process, "claim"),
    "intent": (intents, "save_intents"),
    "create": (RestCrm, "create"),
    "update": (RestCrm, "update"),
    "status": (Shop, "set_status"),
    "release": (leases, "release"),
    "link": (links, "save_all"),
    "transition": (StatusTransition, "save"),
    "forget": (intents, "delete"),
    "finish": (record, "_change"),
    "attempt": (record, "save_attempts"),
    "record": (record, "finish"),
}
IN_CREATE = ["claim", "intent", "create", "release", "link", "forget", "finish", "attempt", "record"]
IN_UPDATE = ["claim", "update", "release", "link", "finish", "attempt", "record"]
IN_RECORD = ["release", "link", "transition", "forget", "finish", "attempt", "record"]
IN_STATUS = ["claim", "intent", "status", "update", *IN_RECORD]


def crash_once(monkeypatch: pytest.MonkeyPatch, step: str, when: str) -> None:
    owner, name = STEPS[step]
    real = getattr(owner, name)

    def dying(*args: Any, **kwargs: Any) -> Any:
        monkeypatch.setattr(owner, name, real)
        if when == "after":
            real(*args, **kwargs)
        raise Crash

    monkeypatch.setattr(owner, name, dying)


def crash_and_go_on(world: World, monkeypatch: pytest.MonkeyPatch, step: str, when: str) -> None:
    world.shop.settle()
    world.crm.settle()
    crash_once(monkeypatch, step, when)
    with pytest.raises(Crash):
        world.work()
    world.bury_the_dead()
    world.settle()


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", IN_CREATE)
@pytest.mark.parametrize("honours_key", [True, False])
def test_creation(world: World, monkeypatch: pytest.MonkeyPatch, step: str, when: str, honours_key: bool) -> None:
    world.crm.honours_idempotency_key = honours_key
    order = world.shop.create_order()
    crash_and_go_on(world, monkeypatch, step, when)
    [crm_order] = world.crm.by_external(str(order["id"]))
    assert OrderLink.objects.get().crm_order_id == crm_order["id"]
    assert set(world.outcomes("shop")) <= {"created", "superseded", "no_change"}


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", IN_UPDATE)
def test_update(world: World, monkeypatch: pytest.MonkeyPatch, step: str, when: str) -> None:
    order = world.shop.create_order()
    world.settle()
    world.shop.edit(order["id"], customer_note="leave it at the door")
    crash_and_go_on(world, monkeypatch, step, when)
    [crm_order] = world.crm.by_external(str(order["id"]))
    assert crm_order["order"]["customer_note"] == "leave it at the door"
    assert world.outcomes("shop")[-1] in {"updated", "no_change"}


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", IN_STATUS)
def test_status(world: World, monkeypatch: pytest.MonkeyPatch, step: str, when: str) -> None:
    order = world.shop.create_order(status="pending")
    world.settle()
    world.crm.set_status(world.link(order["id"]).crm_order_id, "paid")
    crash_and_go_on(world, monkeypatch, step, when)
    assert world.shop.orders[order["id"]]["status"] == "processing"
    assert [(old, new) for _, old, new, *_ in world.shop.status_writes] == [("pending", "processing")]
    [transition] = StatusTransition.objects.all()
    assert (transition.from_status, transition.to_status, transition.decision) == ("pending", "processing", "applied")
    assert WebhookEvent.objects.filter(side="crm").order_by("id")[0].outcome == "applied"
    assert world.crm.by_external(order["id"])[0]["order"]["date_paid"] == world.shop.orders[order["id"]]["date_paid"]


def moves(world: World) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """What was written to the shop, and what the log says."""
    written = [(old, new) for _, old, new, *_ in world.shop.status_writes]
    return written, list(StatusTransition.objects.order_by("id").values_list("from_status", "to_status"))


def crash(world: World, monkeypatch: pytest.MonkeyPatch, crm_id: str, status: str, step: str) -> None:
    """The CRM moves the order, and the process dies after that step."""
    world.crm.set_status(crm_id, status)
    world.crm.settle()
    crash_once(monkeypatch, step, "after")
    with pytest.raises(Crash):
        world.work()
    world.bury_the_dead()


def test_the_crm_goes_back_after_a_write_that_was_not_recorded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Found by the model: the status was the one we knew, so the shop was left as the lost write had made it."""
    order = world.shop.create_order(status="pending")
    world.settle()
    crm_id = world.link(order["id"]).crm_order_id
    crash(world, monkeypatch, crm_id, "failed", "status")
    world.crm.set_status(crm_id, "new")
    world.settle()
    assert world.shop.orders[order["id"]]["status"] == "pending"
    assert moves(world) == ([("pending", "failed"), ("failed", "pending")],) * 2


def test_a_write_that_was_not_recorded_is_logged_although_the_next_attempt_dies_too(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found by the model: the second intent took the place of the first."""
    order = world.shop.create_order(status="pending")
    world.settle()
    crm_id = world.link(order["id"]).crm_order_id
    crash(world, monkeypatch, crm_id, "on_hold", "status")
    crash(world, monkeypatch, crm_id, "paid", "intent")
    world.settle()
    assert moves(world) == ([("pending", "on-hold"), ("on-hold", "processing")],) * 2
