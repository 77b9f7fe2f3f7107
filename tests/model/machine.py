"""What may happen in a history. Hypothesis chooses from it, or plain dice do (walk.py)."""

import os
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from orders.models import OrderLink
from sync.pipeline import internal_events
from tests.model import world as worlds
from tests.model.sides import TROUBLES, Clock, CrmOrder, Habits
from tests.model.world import SHOP_STATUS, UNMAPPED, Fuse, World
from webhooks.models import WebhookEvent

ORDERS = 4
MOST_TROUBLE = 4
MOST_OUTAGES = 2
"""In one history: fewer than what uses an event's attempts up. Each outage costs some until the breaker opens."""

Choices = Mapping[str, Sequence[Any]]
"""Of each argument the values that it may have."""

any_order = (0, 0, 1, 2)
any_place = range(8)
crm_status = sorted(SHOP_STATUS)
shop_status = ("pending", "on-hold", "processing", "failed", "completed", "cancelled")
FURTHER = {"on-hold": "processing", "processing": "completed", "failed": "cancelled"}
"""What a plugin may make of a status that we write."""
steps = range(1, 31)
causes = ("order is placed", "order is edited", "CRM moves")
yes_or_no = (False, True)

BEGINNINGS: Choices = {
    "honours_key": yes_or_no,
    "has_versions": yes_or_no,
    "list_lag": (0.0, 8.0, 55.0),
    "read_lag": (0.0, 0.0, 5.0),
    "names_events": yes_or_no,
    "tells_version": yes_or_no,
    "pace": (0.0, 0.0, 9.0),
    "seed": range(1000),
    "linked": yes_or_no,
}
if os.environ.get("MODEL_TRAITS") == "worst":
    BEGINNINGS = {
        **BEGINNINGS,
        **dict.fromkeys(("honours_key", "has_versions", "names_events", "tells_version"), (False,)),
        "read_lag": (0.0,),
        "is_worst": (True,),
        "commit_lag": (0.0, 2.0),
        "names_time": yes_or_no,
    }


@dataclass(frozen=True, kw_only=True)
class Step:
    """A method of `Story`, what it may be called with, and when it makes sense."""

    name: str
    choices: Choices
    when: Callable[[Any], bool]


STEPS: list[Step] = []


def step(when: Callable[[Any], bool] = lambda story: True, **choices: Sequence[Any]) -> Callable[..., Any]:
    """The method becomes a rule for hypothesis and a step for the die."""

    def noted(method: Callable[..., None]) -> Callable[..., None]:
        STEPS.append(Step(name=method.__name__, choices=choices, when=when))
        return precondition(when)(rule(**_strategies(choices))(method))

    return noted


def _strategies(choices: Choices) -> dict[str, Any]:
    return {name: st.sampled_from(values) for name, values in choices.items()}


class Story:
    """One history, from its beginning on."""

    clock: ClassVar[Clock]
    current: ClassVar[World]
    count: ClassVar[dict[str, int]] = {"histories": 0, "steps": 0}

    def __init__(self) -> None:
        super().__init__()
        self.forget: Callable[[], None] = lambda: None
        self.trouble = self.outages = 0
        self.notes = 0
        self.settled_at = -1

    def begin(self, *, pace: float = 0.0, seed: int = 0, linked: bool = False, **habits: Any) -> None:
        random.seed(seed)
        its = Habits(**habits)
        if not (its.has_versions and its.tells_version):
            its.read_lag = 0.0  # nobody can know that such a read is old
        self.world, self.forget = worlds.fresh(self.clock, its, seed)
        self.world.shop.line.pace = self.world.crm.line.pace = pace
        Story.current = self.world
        self.count["histories"] += 1
        self.world.shop.create("pending")
        if linked:
            self.world.settle()

    def end(self) -> None:
        if hasattr(self, "world") and self.moved_since_settled():
            self.world.settle()

    def check(self) -> None:
        """After every step."""
        self.count["steps"] += 1
        self.world.check()

    def moved_since_settled(self) -> bool:
        return self.count["steps"] != self.settled_at

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

    @step(when=has_room, status=("pending", "processing"))
    def order_is_placed(self, status: str) -> None:
        self.world.shop.create(status)

    @step(order=any_order)
    def order_is_edited(self, order: int) -> None:
        self.notes += 1
        self.world.shop.edit(self.woo_id(order), f"note {self.notes}")

    @step(order=any_order, status=shop_status)
    def status_is_set_by_hand(self, order: int, status: str) -> None:
        self.world.set_by_hand(self.woo_id(order), status)

    @step(asked=tuple(FURTHER))
    def a_plugin_is_installed(self, asked: str) -> None:
        self.world.shop.plugins = {asked: FURTHER[asked]}

    @step(when=has_crm_orders)
    def all_vanish_and_come_back(self) -> None:
        self.world.all_vanish_and_come_back()

    # --- the CRM --------------------------------------------------------------------------------------------------

    @step(when=has_crm_orders, order=any_order, status=crm_status)
    def crm_moves(self, order: int, status: str) -> None:
        self.world.crm.move(self.crm_order(order), status)

    @step(when=has_crm_orders, order=any_order)
    def crm_moves_to_a_status_without_a_rule(self, order: int) -> None:
        found = self.crm_order(order)
        self.world.unmapped.add(int(found.external_id))
        self.world.crm.move(found, UNMAPPED)

    # --- what is not what it seems -------------------------------------------------------------------------------

    def linked(self, order: int) -> OrderLink | None:
        """One of which it is known what tells it from others."""
        known = OrderLink.objects.exclude(identity={}).exclude(external_id="").exclude(woo_id__in=self.world.reused)
        return known.order_by("id")[order : order + 1].first()

    @step(order=any_order)
    def shop_gives_a_number_again(self, order: int) -> None:
        if link := self.linked(order):
            self.world.reuse(link, by_crm=False)

    @step(order=any_order)
    def crm_gives_an_id_again(self, order: int) -> None:
        if link := self.linked(order):
            self.world.reuse(link, by_crm=True)

    @step(order=any_order, status=shop_status, is_known_here=yes_or_no)
    def copy_of_the_shop_delivers(self, order: int, status: str, is_known_here: bool) -> None:
        self.world.shop.told_by_a_copy(self.woo_id(order) if is_known_here else 500 + order, status)

    # --- the way here ---------------------------------------------------------------------------------------------

    @step(when=in_flight, place=any_place)
    def delivery_arrives(self, place: int) -> None:
        delivery = self.world.in_flight.pop(place % len(self.world.in_flight))
        self.world.received.append(delivery)
        self.world.receive(delivery)

    @step(when=in_flight)
    def all_deliveries_arrive(self) -> None:
        self.world.receive_all()

    @step(when=in_flight, place=any_place)
    def delivery_is_lost(self, place: int) -> None:
        lost = self.world.in_flight.pop(place % len(self.world.in_flight))
        self.world.silent.add((lost.side, lost.woo_id))

    @step(when=received, place=any_place)
    def delivery_arrives_again(self, place: int) -> None:
        self.world.receive(self.world.received[-1 - place % len(self.world.received)])

    # --- the workers ----------------------------------------------------------------------------------------------

    @step()
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

    @step(cause=causes, order=any_order, status=crm_status, steps=steps)
    def worker_dies(self, cause: str, order: int, status: str, steps: int) -> None:
        self.cause(cause, order, status)
        self.world.work_with(Fuse(steps, self.world.crash, between_transactions=False))

    @step(cause=causes, order=any_order, status=crm_status, steps=steps)
    def another_worker_works_at_the_same_time(self, cause: str, order: int, status: str, steps: int) -> None:
        self.cause(cause, order, status)
        self.world.work_with(Fuse(steps, self.world.others_work, between_transactions=True))

    @step(cause=causes, order=any_order, status=crm_status, steps=steps)
    def worker_sleeps_while_others_work(self, cause: str, order: int, status: str, steps: int) -> None:
        self.cause(cause, order, status)
        self.world.work_with(Fuse(steps, self.world.sleep_while_others_work, between_transactions=True))

    @step(cause=causes, meanwhile=causes, order=any_order, status=crm_status, then=crm_status, steps=steps)
    def more_happens_meanwhile(
        self, cause: str, meanwhile: str, order: int, status: str, then: str, steps: int
    ) -> None:
        self.cause(cause, order, status)
        self.world.work_with(Fuse(steps, lambda: self.cause(meanwhile, order, then), between_transactions=True))

    @step(seconds=(1, 5, 11, 46, 61, 301, 86_400))
    def time_passes(self, seconds: int) -> None:
        self.clock.advance(seconds)

    # --- what goes wrong ------------------------------------------------------------------------------------------

    def lines(self) -> Any:
        return {"shop": self.world.shop.line, "crm": self.world.crm.line}

    def may_go_down(self) -> bool:
        return self.outages < MOST_OUTAGES

    def may_fail(self) -> bool:
        return self.trouble < MOST_TROUBLE

    @step(when=may_go_down, side=("shop", "crm"), trouble=TROUBLES)
    def outage_begins(self, side: str, trouble: str) -> None:
        self.outages += 1
        self.world.disturbed.update(self.world.shop.orders)
        self.lines()[side].down = trouble

    @step(side=("shop", "crm"))
    def outage_ends(self, side: str) -> None:
        self.world.disturbed.update(self.world.shop.orders)
        self.lines()[side].down = ""

    @step(when=may_go_down, side=("shop", "crm"), trouble=TROUBLES)
    def long_outage(self, side: str, trouble: str) -> None:
        self.outage_begins(side, trouble)
        for _ in range(20):
            self.world.work()
            self.clock.advance(31)
            if not WebhookEvent.objects.unfinished().exists():
                break
        self.outage_ends(side)

    @step(
        when=may_fail,
        side=("shop", "crm"),
        trouble=TROUBLES,
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

    @step(place=any_place)
    def staff_replay(self, place: int) -> None:
        if event := self.event(place):
            self.world.ask_again(event.pk)

    @step(place=any_place, status=crm_status)
    def staff_replay_an_edited_copy(self, place: int, status: str) -> None:
        if (event := self.event(place)) and event.signed_by:
            self.world.replay_a_copy(event, status)

    @step(order=any_order, status=shop_status)
    def staff_force(self, order: int, status: str) -> None:
        if link := self.link(order):
            self.world.force(link, status)

    @step(order=any_order)
    def staff_resync(self, order: int) -> None:
        if link := self.link(order):
            internal_events.resync(link, by="ada", reason="asked")

    @step(when=moved_since_settled)
    def everything_settles(self) -> None:
        self.world.settle()
        self.settled_at = self.count["steps"] + 1

    @step(when=has_crm_orders)
    def sweep(self) -> None:
        self.world.sweep()

    @step(when=moved_since_settled)
    def everything_settles_after_a_sweep(self) -> None:
        self.world.settle_after_a_sweep()
        self.settled_at = self.count["steps"] + 1


class Histories(Story, RuleBasedStateMachine):
    """The same for hypothesis."""

    @initialize(**_strategies(BEGINNINGS))
    def beginning(self, **chosen: Any) -> None:
        self.begin(**chosen)

    @invariant()
    def promises(self) -> None:
        self.check()

    def teardown(self) -> None:
        try:
            self.end()
        finally:
            self.forget()
