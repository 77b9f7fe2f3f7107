"""The worker's real code between two sides in memory, and the promises that hold whatever happens to it."""

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.db import connection, transaction
from django.db.models import Min

from orders.defaults import MOVES, RULES
from orders.models import OrderLink, StatusTransition
from sync import alarms
from sync.clients import crm as crm_backends
from sync.clients import shop
from sync.clients.http import current_event
from sync.clients.snapshots import TRASH, ShopSnapshot
from sync.jobs.missed import missed_in_crm, missed_in_shop
from sync.models import Intent, Lease, SideState
from sync.pipeline import (
    disappearance,
    failures,
    intents,
    internal_events,
    leases,
    links,
    process,
    record,
    replays,
    retries,
)
from sync.pipeline.strangers import ANOTHER_SHOP, DOUBTS
from tests import pipeline
from tests.model.sides import (
    FIRST_MOMENT,
    FIRST_STATUS,
    Clock,
    CrmClient,
    CrmInMemory,
    CrmOrder,
    Delivery,
    Habits,
    Line,
    ShopClient,
    ShopInMemory,
)
from webhooks import intake, sources
from webhooks.connections import default_bridge
from webhooks.models import State, WebhookEvent
from webhooks.signatures import Verdict

SHOP_STATUS = {crm: woo for crm, woo, _ in RULES}
UNMAPPED = "archived"
REUSED = 1000
"""So much above its own number is that of the order to which the CRM gave an id again."""
CALLED_STEPS: tuple[tuple[Any, str], ...] = (
    (process, "claim"),
    (intents, "save_intents"),
    (links, "save_all"),
    (intents, "delete"),
    (record, "_change"),
    (record, "save_attempts"),
    (record, "finish"),
    (leases.OrderLease, "take"),
    (leases, "release"),
    (StatusTransition, "save"),
)
"""Besides every call to a side: what a process can die before and after."""


class Crash(BaseException):
    """As `kill -9` would: no handler of ours runs, and an open transaction is rolled back."""


class Broken(AssertionError):
    """A promise was broken; the message says which."""


def promise(kept: bool, words: str) -> None:
    if not kept:
        raise Broken(words)


@dataclass
class Fuse:
    """Something that happens in the middle of the worker's work, so many steps from now."""

    steps: int
    deed: Callable[[], None]
    between_transactions: bool
    "A crash may come anywhere. What another process does is seen only where this one has no open transaction."


class Logged(NamedTuple):
    """Of a transition in the log, what the promises speak of."""

    from_status: str
    to_status: str
    decision: str


@dataclass
class World:
    clock: Clock
    habits: Habits
    rng: random.Random
    in_flight: list[Delivery] = field(default_factory=list)
    received: list[Delivery] = field(default_factory=list)
    accepted: set[int] = field(default_factory=set)
    "Events whose delivery got a 200."
    forced: dict[int, tuple[int, str]] = field(default_factory=dict)
    disturbed: set[int] = field(default_factory=set)
    "Orders for which a call or an attempt failed, so that a write may be repeated."
    silent: set[tuple[str, int]] = field(default_factory=set)
    "Orders of which a side's news was lost on the way."
    unmapped: set[int] = field(default_factory=set)
    need_not_follow: dict[int, str] = field(default_factory=dict)
    "The CRM's status that was known when somebody else set the shop's: it is not written back, the next one is."
    unprovable: set[int] = field(default_factory=set)
    "Orders set by hand after a write of ours was made and before it was recorded: nothing shows that write any more."
    untold: set[int] = field(default_factory=set)
    "Orders whose status was set by hand since the CRM was last told."
    reused: set[int] = field(default_factory=set)
    "Orders whose number the shop gave again, or whose id the CRM did, after they were linked."
    broken: list[str] = field(default_factory=list)
    fuse: Fuse | None = None

    def __post_init__(self) -> None:
        self.shop = ShopInMemory(self.clock, Line("shop", self.clock), self.in_flight.append)
        self.crm = CrmInMemory(self.clock, Line("crm", self.clock), self.in_flight.append, self.habits)
        self.shop.before_write = self.may_be_written
        self.shop.after_plugin = self.goes_on
        self.crm.before_update = self.may_be_told
        self.crm.on_same_second = lambda order: self.silent.add(("crm", int(order.external_id)))
        for line in (self.shop.line, self.crm.line):  # which order it hits is known only now
            line.on_failed_write = lambda: self.disturbed.update(self.shop.orders)

    # --- what the code is plugged into ----------------------------------------------------------------------------

    def connect_shop(self, on_call: Any = shop.ignore, before_call: Any = shop.nothing) -> ShopClient:
        return ShopClient(line=self.shop.line, step=self.step, on_call=on_call, before_call=before_call, shop=self.shop)

    def connect_crm(self, on_call: Any = shop.ignore, before_call: Any = shop.nothing) -> CrmClient:
        return CrmClient(line=self.crm.line, step=self.step, on_call=on_call, before_call=before_call, crm=self.crm)

    def step(self) -> None:
        fuse = self.fuse
        if fuse is None or (fuse.between_transactions and connection.savepoint_ids):
            return
        fuse.steps -= 1
        if fuse.steps <= 0:
            self.fuse = None
            fuse.deed()

    # --- what may happen ------------------------------------------------------------------------------------------

    def receive(self, delivery: Delivery) -> None:
        source = sources.woocommerce() if delivery.side == "shop" else sources.crm()
        signals = source.parse(delivery.body, delivery.headers)
        hint = "a secret in the open" if delivery.side == "crm" and self.habits.is_worst else ""
        verdict = Verdict(ok=True, key="key 1", hint=hint)
        stored = intake.store(source, signals, delivery.body, delivery.headers, verdict)
        self.accepted.update(pk for pk, _ in stored)

    def receive_all(self) -> None:
        while self.in_flight:
            self.received.append(self.in_flight.pop(0))
            self.receive(self.received[-1])

    def work(self) -> None:
        """What a worker does until it finds nothing more that can be done now."""
        for _ in range(200):
            if not pipeline.work_once():
                return
        raise Broken("The worker does not come to rest.")

    def work_with(self, fuse: Fuse) -> None:
        self.fuse = fuse
        try:
            self.work()
        except Crash:
            self.disturbed.update(self.shop.orders)
        finally:
            self.fuse = None

    def set_by_hand(self, woo_id: int, status: str) -> None:
        if Intent.objects.filter(woo_id=woo_id, kind=Intent.Kind.STATUS).exists():
            self.unprovable.add(woo_id)
        self.shop.set_by_hand(woo_id, status)
        self.untold.add(woo_id)
        self._somebody_else_set(woo_id)

    def goes_on(self, woo_id: int) -> None:
        """A plugin made more of our write: the CRM, whose word that was, hears of it and need not be followed."""
        self.untold.add(woo_id)
        for order in self.crm.of(woo_id):  # none, if the CRM gave its id to another one
            if order.crm_order_id in self.crm.last_read:  # a forced move does not ask the CRM
                self.need_not_follow[woo_id] = self.crm.last_read[order.crm_order_id].status

    def _somebody_else_set(self, woo_id: int) -> None:
        known = OrderLink.objects.filter(woo_id=woo_id).values_list("crm_status", flat=True).first()
        self.need_not_follow[woo_id] = FIRST_STATUS if known is None else known

    def reuse(self, link: OrderLink, *, by_crm: bool) -> None:
        self.reused.add(link.woo_id)
        if by_crm:
            order = self.crm.orders[link.crm_order_id]
            order.external_id = str(link.woo_id + REUSED)
            self.reused.add(link.woo_id + REUSED)
            self.crm.move(order, "paid")
        else:
            self.shop.restored(link.woo_id)

    def sweep(self) -> None:
        """What reconcile does with the lists of both sides, here in one piece: their pages have tests of their own."""
        began = self.clock.at
        in_shop = [self.shop.get(woo_id) for woo_id in self.shop.orders]
        in_crm = self.crm.changed_since(FIRST_MOMENT)
        for missed in (
            *missed_in_shop(in_shop, began, default_bridge()),
            *missed_in_crm(in_crm, began, default_bridge()),
        ):
            missed.post()

    def crash(self) -> None:
        raise Crash

    def others_work(self) -> None:
        """Where calls take long, this worker's lease may run out meanwhile: then another one makes its write again."""
        if self.crm.line.pace:
            self.disturbed.update(self.shop.orders)
        self.work()

    def sleep_while_others_work(self) -> None:
        """This worker stands still for longer than its lease; another one does all there is to do."""
        self.disturbed.update(self.shop.orders)
        self.clock.advance(61)
        self.receive_all()
        self.work()

    def ask_again(self, event: int) -> None:
        replays.ask_again([event], by="ada")

    def replay_a_copy(self, event: WebhookEvent, status: str) -> None:
        intake.post(
            bridge=1,
            side=event.side,
            source=internal_events.STAFF,
            topic=event.topic,
            order_ref=event.order_ref,
            key=f"copy:{self.rng.random()}",
            body={"status": status},
            status=status,
            requested_by="ada",
            copy_of=event,
        )

    def force(self, link: OrderLink, status: str) -> None:
        event = internal_events.force(link, to_status=status, by="ada", reason="she said so")
        self.forced[event.pk] = (link.woo_id, status)

    def all_vanish_and_come_back(self) -> None:
        """A table of the shop is gone for a while, and all that it says of its orders meanwhile is 404."""
        self.settle()
        linked = set(OrderLink.objects.values_list("woo_id", flat=True)) & self.shop.orders.keys() - self.reused
        self.disturbed.update(self.shop.orders)
        self.shop.hidden = set(linked)
        self.shop.say_again(sorted(linked))
        self.receive_all()
        self.work()
        told = [order for woo_id in linked for order in self.crm.of(woo_id) if order.content.get("status") == TRASH]
        promise(len(told) <= disappearance.FEW, f"The CRM was told of {len(told)} orders that they are gone.")
        self.shop.hidden.clear()
        alarms.clear(disappearance.ALARM, bridge=1)  # by a person, or by the next deep reconcile
        self.clock.advance(disappearance.WITHIN.total_seconds() + 1)
        self.shop.say_again(sorted(linked))
        self.settle()

    # --- the promises, at each write ------------------------------------------------------------------------------

    def may_be_written(self, woo_id: int, old: str, new: str) -> None:
        self.must(old != new, f"The shop shows {new!r} already and is written again.")
        event = current_event.get() or 0
        if event in self.forced:
            self.must(self.forced[event] == (woo_id, new), f"{old} → {new} is not what was forced.")
            self.untold.add(woo_id)
            self._somebody_else_set(woo_id)
            return
        self.must(woo_id not in self.reused, f"Order {woo_id} gets the status of another one.")
        self.must(allowed(old, new), f"{old} → {new} is written and no allowed move.")
        if woo_id in self.reused:
            return
        [order] = self.crm.of(woo_id)
        read = self.crm.last_read.get(order.crm_order_id)
        self.must(read is not None, "Written without reading the CRM.")
        assert read is not None
        self.must(SHOP_STATUS.get(read.status) == new, f"{new!r} is written, and the CRM said {read.status!r}.")
        known = OrderLink.objects.filter(woo_id=woo_id).values_list("crm_version", flat=True).first()
        self.must(known is None or read.version >= known, f"Version {read.version} is written after {known}.")

    def may_be_told(self, order: CrmOrder, content: Any) -> None:
        woo_id = int(order.external_id)
        self.must(woo_id not in self.reused, f"{order.crm_order_id} is told of another order.")
        told, news = dict(order.content), dict(content)
        same = all(told.get(name) == news[name] for name in news if name not in ("date_modified_gmt", "status"))
        repeated = same and woo_id not in self.untold | self.disturbed
        self.must(not repeated, f"The CRM is told what it knows: {news}.")
        self.untold.discard(woo_id)

    def must(self, kept: bool, words: str) -> None:
        """The worker would take an exception for a bug of its own and try again."""
        if not kept:
            self.broken.append(words)

    # --- the promises, at every moment ------------------------------------------------------------------------------

    def check(self) -> None:
        promise(not self.broken, " ".join(self.broken))
        twice = [
            name for name, times in Counter(one.external_id for one in self.crm.orders.values()).items() if times > 1
        ]
        promise(not twice, f"The CRM got these orders twice: {twice}.")
        strange = [
            one for one in self.crm.orders.values() if int(one.external_id) not in {*self.shop.orders, *self.reused}
        ]
        promise(not strange, f"The CRM got orders that the shop does not have: {strange}.")

    # --- the promises, once everything is settled -------------------------------------------------------------------

    def settle(self) -> None:
        """Both sides can be reached again, all news arrives, and the workers get the time they need."""
        for line in (self.shop.line, self.crm.line):
            if line.down or line.next_write:
                self.disturbed.update(self.shop.orders)
            line.down = line.next_write = ""
        for _ in range(300):
            self.receive_all()
            self.work()
            if self.in_flight:
                continue
            due = WebhookEvent.objects.unfinished().aggregate(first=Min("next_attempt_at"))["first"]
            if due is None:
                return self.check_settled()
            self.clock.at = due if due > self.clock.at else self._until_it_can_be_taken()
        raise Broken("It does not settle.")

    def settle_after_a_sweep(self) -> None:
        """What was lost on the way is found, too."""
        self.settle()
        self.clock.advance(self.habits.list_lag + 1)
        self.sweep()
        self.silent.clear()
        self.settle()

    def _until_it_can_be_taken(self) -> datetime:
        """What is due and is not done waits for the lease of a worker that died, or for a side."""
        waits: list[datetime | None] = [*Lease.objects.values_list("expires_at", flat=True)]
        for probe_at, wait_until in SideState.objects.values_list("probe_at", "wait_until"):
            waits += [probe_at, wait_until]
        soon = self.clock.at + timedelta(seconds=1)
        return min((moment for moment in waits if moment and moment > self.clock.at), default=soon)

    def check_settled(self) -> None:
        self.check()
        rows = WebhookEvent.objects.values_list("pk", "state", "reason", "side", "order_ref", named=True)
        events = {event.pk: event for event in rows}
        promise(self.accepted <= set(events), "A delivery that got a 200 is lost.")
        for event in events.values():
            promise(event.state in (State.DONE, State.PARKED), f"Event {event.pk} is {event.state}: {event.reason}")
            if event.state == State.PARKED:
                woo_id = self._woo_id(event.side, event.order_ref)
                of_copy = DOUBTS[ANOTHER_SHOP] in event.reason
                hindered = "a plugin may hinder it" in event.reason and bool(self.shop.plugins)
                vanished = "Many orders are gone at once" in event.reason
                is_right = of_copy or hindered or vanished or woo_id in self.unmapped | self.reused
                promise(is_right, f"Event {event.pk} is parked: {event.reason}")
        links = {link.woo_id: link for link in OrderLink.objects.all()}
        log: dict[int, list[Logged]] = {link.pk: [] for link in links.values()}
        for link, *row in StatusTransition.objects.order_by("sequence").values_list("link", *Logged._fields):
            log[link].append(Logged(*row))
        for woo_id in self.shop.orders.keys() - self.reused:
            link = links.get(woo_id)
            self._check_pair(woo_id, link, log[link.pk] if link else [])

    def _woo_id(self, side: str, order_ref: str) -> int:
        return int(order_ref if side == "shop" else self.crm.orders[order_ref].external_id)

    def _check_pair(self, woo_id: int, link: OrderLink | None, log: list[Logged]) -> None:
        orders = self.crm.of(woo_id)
        if link is None:
            promise(("shop", woo_id) in self.silent and not orders, f"Order {woo_id} has no link.")
            return
        [order] = orders
        promise(link.crm_order_id == order.crm_order_id, f"{link} is linked to the wrong order.")
        named = ShopSnapshot(woo_id=woo_id, status="", order=self.shop.orders[woo_id]).crm_order_id
        is_written = any(one == woo_id for one, _, _ in self.shop.writes)
        is_right = named == order.crm_order_id or not (named or is_written)
        promise(is_right, f"The shop's order {woo_id} names {named!r}, not {order.crm_order_id}.")
        self._check_log(link, log)
        if ("crm", woo_id) not in self.silent and woo_id not in self.unmapped:
            self._check_shop_follows(link, order, log)
        if ("shop", woo_id) not in self.silent:
            self._check_crm_knows(woo_id, order)

    def _check_log(self, link: OrderLink, log: list[Logged]) -> None:
        written = [(old, new) for woo_id, old, new in self.shop.writes if woo_id == link.woo_id]
        logged = [(row.from_status, row.to_status) for row in log if row.decision != "refused"]
        complete = logged == written or link.woo_id in self.unprovable
        promise(complete, f"Logged {logged}, written {written}.")

    def _check_shop_follows(self, link: OrderLink, order: CrmOrder, log: list[Logged]) -> None:
        shows, meant = self.shop.orders[link.woo_id]["status"], SHOP_STATUS[order.now.status]
        if not link.crm_status and (meant == SHOP_STATUS[FIRST_STATUS] or not allowed(shows, meant)):
            return  # found in the CRM and never compared: it does not go back to where every order begins (decision 8)
        promise(link.crm_status == order.now.status, f"{link} knows {link.crm_status!r}, not {order.now.status!r}.")
        refused = bool(log) and log[-1].decision == "refused" and log[-1].to_status == meant
        follows = shows == meant or refused or order.now.status == self.need_not_follow.get(link.woo_id, FIRST_STATUS)
        promise(follows, f"The shop shows {shows!r}, the CRM says {order.now.status!r}.")

    def _check_crm_knows(self, woo_id: int, order: CrmOrder) -> None:
        shop = dict(self.shop.orders[woo_id])
        names = ["customer_note", "total", "date_paid", "date_completed"]
        if self.shop.set_by_others[woo_id] and shop["status"] != SHOP_STATUS.get(order.now.status):
            names.append("status")
        for name in names:
            promise(
                order.content[name] == shop[name], f"The CRM has {name} {order.content[name]!r}, not {shop[name]!r}."
            )


def allowed(old: str, new: str) -> bool:
    """Written down once more, independently of the code: new is reached from old by steps of the contract."""
    reached, ahead = set(), [old]
    while ahead:
        for step in MOVES.get(ahead.pop(), ()):
            if step not in reached:
                reached.add(step)
                ahead.append(step)
    return new in reached


def plug(current: Callable[[], World]) -> None:
    """Once for the process: the two sides, the steps to die at, chance, and what few orders are."""
    disappearance.FEW = 1  # of the few that a history has
    shop.connect_to = lambda config, on_call, before_call, composer: current().connect_shop(on_call, before_call)  # type: ignore[assignment,return-value]
    crm_backends.connect = lambda on_call, before_call, config: current().connect_crm(on_call, before_call)  # type: ignore[assignment,return-value,misc]
    failures.delay_before = lambda **known: retries.delay_before(**known, rng=current().rng)
    for owner, name in CALLED_STEPS:
        setattr(owner, name, _stepping(getattr(owner, name), current))


def _stepping(real: Callable[..., Any], current: Callable[[], World]) -> Callable[..., Any]:
    def stepping(*args: Any, **kwargs: Any) -> Any:
        current().step()
        answer = real(*args, **kwargs)
        current().step()
        return answer

    return stepping


def fresh(clock: Clock, habits: Habits, seed: int) -> tuple[World, Callable[[], None]]:
    """A new world on an empty database, and what forgets it: all of a history is one transaction, rolled back."""
    clock.__init__()  # type: ignore[misc]
    history = transaction.atomic()
    history.__enter__()

    def forget() -> None:
        transaction.set_rollback(True)
        history.__exit__(None, None, None)

    return World(clock, habits, random.Random(seed)), forget
