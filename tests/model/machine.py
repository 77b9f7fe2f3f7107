"""Histories: hypothesis chooses what happens next, again and again, and shrinks what breaks a promise."""

from collections.abc import Callable
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from orders.models import OrderLink
from sync import own_events
from tests.model import world as worlds
from tests.model.sides import TROUBLES, Clock, CrmOrder, Habits
from tests.model.world import SHOP_STATUS, UNMAPPED, Fuse, World
from webhooks.models import WebhookEvent

ORDERS = 4
MOST_TROUBLE = 4
MOST_OUTAGES = 2
"""In one history: fewer than what uses an event's attempts up. Each outage costs some until the breaker opens."""

any_order = st.sampled_from((0, 0, 1, 2))
any_place = st.integers(0, 7)
crm_status = st.sampled_from(sorted(SHOP_STATUS))
shop_status = st.sampled_from(("pending", "on-hold", "processing", "failed", "completed", "cancelled"))
steps = st.integers(1, 30)
causes = st.sampled_from(("order is placed", "order is edited", "CRM moves"))
habits = st.builds(
    Habits,
    honours_key=st.booleans(),
    has_versions=st.booleans(),
    list_lag=st.sampled_from((0.0, 8.0)),
    read_lag=st.sampled_from((0.0, 0.0, 5.0)),
    names_events=st.booleans(),
    tells_version=st.booleans(),
)


class Histories(RuleBasedStateMachine):
    clock: ClassVar[Clock]
    current: ClassVar[World]
    count: ClassVar[dict[str, int]] = {"histories": 0, "steps": 0, "calls": 0}

    def __init__(self) -> None:
        super().__init__()
        self.forget: Callable[[], None] = lambda: None
        self.trouble = self.outages = 0
        self.notes = 0

    @initialize(habits=habits, pace=st.sampled_from((0.0, 0.0, 9.0)), seed=st.integers(0, 999), linked=st.booleans())
    def begin(self, habits: Habits, pace: float, seed: int, linked: bool) -> None:
        if not (habits.has_versions and habits.tells_version):
            habits.read_lag = 0.0  # nobody can know that such a read is old
        self.world, self.forget = worlds.fresh(self.clock, habits, seed)
        self.world.shop.line.pace = self.world.crm.line.pace = pace
        Histories.current = self.world
        self.count["histories"] += 1
        self.order_is_placed("pending")
        if linked:
            self.world.settle()

    def teardown(self) -> None:
        try:
            if hasattr(self, "world"):
                self.world.settle()
        finally:
            self.forget()

    @invariant()
    def promises(self) -> None:
        self.count["steps"] += 1
        self.world.check()

    # --- the shop -------------------------------------------------------------------------------------------------

    def has_crm_orders(self) -> bool:
        return bool(self.world.crm.orders)

    def has_room(self) -> bool:
        return len(self.world.shop.orders) < ORDERS

    def in_flight(self) -> bool:
        return bool(self.world.in_flight)

    def received(self) -> bool:
        return bool(self.world.received)

    def woo_id(self, order: int) -> int:
        ids = list(self.world.shop.orders)
        return ids[order % len(ids)]

    def crm_order(self, order: int) -> CrmOrder:
        orders = list(self.world.crm.orders.values())
        return orders[order % len(orders)]

    @precondition(has_room)
    @rule(status=st.sampled_from(("pending", "processing")))
    def order_is_placed(self, status: str) -> None:
        self.world.shop.create(status)

    @rule(order=any_order)
    def order_is_edited(self, order: int) -> None:
        self.notes += 1
        self.world.shop.edit(self.woo_id(order), f"note {self.notes}")

    @rule(order=any_order, status=shop_status)
    def status_is_set_by_hand(self, order: int, status: str) -> None:
        self.world.set_by_hand(self.woo_id(order), status)

    # --- the CRM --------------------------------------------------------------------------------------------------

    @precondition(has_crm_orders)
    @rule(order=any_order, status=crm_status)
    def crm_moves(self, order: int, status: str) -> None:
        self.world.crm.move(self.crm_order(order), status)

    @precondition(has_crm_orders)
    @rule(order=any_order)
    def crm_moves_to_a_status_without_a_rule(self, order: int) -> None:
        found = self.crm_order(order)
        self.world.unmapped.add(int(found.external_id))
        self.world.crm.move(found, UNMAPPED)

    # --- the way here ---------------------------------------------------------------------------------------------

    @precondition(in_flight)
    @rule(place=any_place)
    def delivery_arrives(self, place: int) -> None:
        delivery = self.world.in_flight.pop(place % len(self.world.in_flight))
        self.world.received.append(delivery)
        self.world.receive(delivery)

    @precondition(in_flight)
    @rule()
    def all_deliveries_arrive(self) -> None:
        self.world.receive_all()

    @precondition(in_flight)
    @rule(place=any_place)
    def delivery_is_lost(self, place: int) -> None:
        lost = self.world.in_flight.pop(place % len(self.world.in_flight))
        self.world.silent.add((lost.side, lost.woo_id))

    @precondition(received)
    @rule(place=any_place)
    def delivery_arrives_again(self, place: int) -> None:
        self.world.receive(self.world.received[-1 - place % len(self.world.received)])

    # --- the workers ----------------------------------------------------------------------------------------------

    @rule()
    def workers_work(self) -> None:
        self.world.work()

    def cause(self, cause: str, order: int, status: str) -> None:
        """Something to work at, so that there is something to disturb."""
        if cause == "CRM moves" and self.has_crm_orders():
            self.crm_moves(order, status)
        elif cause == "order is placed" and self.has_room():
            self.order_is_placed("pending")
        else:
            self.order_is_edited(order)
        self.world.receive_all()

    @rule(cause=causes, order=any_order, status=crm_status, steps=steps)
    def worker_dies(self, cause: str, order: int, status: str, steps: int) -> None:
        self.cause(cause, order, status)
        self.world.work_with(Fuse(steps, self.world.crash, between_transactions=False))

    @rule(cause=causes, order=any_order, status=crm_status, steps=steps)
    def another_worker_works_at_the_same_time(self, cause: str, order: int, status: str, steps: int) -> None:
        self.cause(cause, order, status)
        self.world.work_with(Fuse(steps, self.world.work, between_transactions=True))

    @rule(cause=causes, order=any_order, status=crm_status, steps=steps)
    def worker_sleeps_while_others_work(self, cause: str, order: int, status: str, steps: int) -> None:
        self.cause(cause, order, status)
        self.world.work_with(Fuse(steps, self.world.sleep_while_others_work, between_transactions=True))

    @rule(cause=causes, meanwhile=causes, order=any_order, status=crm_status, then=crm_status, steps=steps)
    def more_happens_meanwhile(
        self, cause: str, meanwhile: str, order: int, status: str, then: str, steps: int
    ) -> None:
        self.cause(cause, order, status)
        self.world.work_with(Fuse(steps, lambda: self.cause(meanwhile, order, then), between_transactions=True))

    @rule(seconds=st.sampled_from((1, 5, 11, 46, 61, 301, 86_400)))
    def time_passes(self, seconds: int) -> None:
        self.clock.advance(seconds)

    # --- what goes wrong ------------------------------------------------------------------------------------------

    def lines(self) -> Any:
        return {"shop": self.world.shop.line, "crm": self.world.crm.line}

    def may_go_down(self) -> bool:
        return self.outages < MOST_OUTAGES

    def may_fail(self) -> bool:
        return self.trouble < MOST_TROUBLE

    @precondition(may_go_down)
    @rule(side=st.sampled_from(("shop", "crm")), trouble=st.sampled_from(TROUBLES))
    def outage_begins(self, side: str, trouble: str) -> None:
        self.outages += 1
        self.world.disturbed.update(self.world.shop.orders)
        self.lines()[side].down = trouble

    @rule(side=st.sampled_from(("shop", "crm")))
    def outage_ends(self, side: str) -> None:
        self.world.disturbed.update(self.world.shop.orders)
        self.lines()[side].down = ""

    @precondition(may_go_down)
    @rule(side=st.sampled_from(("shop", "crm")), trouble=st.sampled_from(TROUBLES))
    def long_outage(self, side: str, trouble: str) -> None:
        self.outage_begins(side, trouble)
        for _ in range(20):
            self.world.work()
            self.clock.advance(31)
        self.outage_ends(side)

    @precondition(may_fail)
    @rule(
        side=st.sampled_from(("shop", "crm")),
        trouble=st.sampled_from(TROUBLES),
        cause=causes,
        order=any_order,
        status=crm_status,
    )
    def write_fails(self, side: str, trouble: str, cause: str, order: int, status: str) -> None:
        self.trouble += 1
        self.cause(cause, order, status)
        self.world.disturbed.update(self.world.shop.orders)
        self.lines()[side].next_write = trouble
        self.world.work()

    # --- staff ----------------------------------------------------------------------------------------------------

    def event(self, place: int) -> WebhookEvent | None:
        return WebhookEvent.objects.order_by("-id")[place : place + 1].first()

    def link(self, order: int) -> OrderLink | None:
        return OrderLink.objects.order_by("id")[order : order + 1].first()

    @rule(place=any_place)
    def staff_replay(self, place: int) -> None:
        if event := self.event(place):
            self.world.ask_again(event.pk)

    @rule(place=any_place, status=crm_status)
    def staff_replay_an_edited_copy(self, place: int, status: str) -> None:
        if (event := self.event(place)) and event.signed_by:
            self.world.replay_a_copy(event, status)

    @rule(order=any_order, status=shop_status)
    def staff_force(self, order: int, status: str) -> None:
        if link := self.link(order):
            self.world.force(link, status)

    @rule(order=any_order)
    def staff_resync(self, order: int) -> None:
        if link := self.link(order):
            own_events.resync(link, by="ada", reason="asked")

    @rule()
    def everything_settles(self) -> None:
        self.world.settle()
