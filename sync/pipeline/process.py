"""The way of an order, and of ten thousand: claim ▸ read ▸ decide ▸ save intents ▸ apply ▸ record, in batches.

Events, backfill, resync and replays all go this way. Network first, transaction after, and short.
"""

import math
import time
from collections import defaultdict
from collections.abc import Sequence
from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Count

from sync.clients import breaker
from sync.clients.bridged import pings_of
from sync.pipeline import alone, choices, disappearance, doubts, failures, intents, leases, record
from sync.pipeline.apply import Applied, apply
from sync.pipeline.batch import Batch, NotBegun
from sync.pipeline.claim import Claim, claim, due_orders
from sync.pipeline.fetch import decide_all
from sync.pipeline.plan import Decision, Park, Plan, ReadAgain, Reason
from sync.pipeline.record import Finished
from sync.queue import shutdown
from webhooks import clock
from webhooks.connections import Bridge
from webhooks.models import Outcome, WebhookEvent

FRESH = 3.0
"""Seconds for which a write may rest on what was read of the order. Later both sides are read again."""
READ_AGAIN = 8
"""So many at a time; the others are given back, and are due at once."""
LARGEST = 99
"""Orders in a batch: what one list can show, less the order that proves that the CRM answers such a question."""
LASTS = 1.2
"""Seconds that a batch should last: a fresh delivery waits for the one that is under way."""

Planned = tuple[Claim, Plan]


class BatchSize:
    """How many orders go together: as many as are done within LASTS, and so many for each thread, at least one."""

    def __init__(self) -> None:
        self.orders = self.least = max(1, settings.QUEUE_THREADS)

    def learn(self, orders: int, seconds: float) -> None:
        """From a batch that was full. Its reads take the same time for more orders, so it grows by one of each thread
        even where that looks like too many, and if they were, it shrinks again."""
        if orders >= self.orders:
            rounds = orders * LASTS / max(seconds, 0.001) / self.least
            rounds = math.ceil(rounds) if seconds < LASTS else round(rounds)
            self.orders = max(self.least, min(rounds * self.least, 2 * self.orders, LARGEST))


class Turns:
    """The bridges in turn, a batch each: a backlog of one, or a side of it that is away, keeps no other waiting. How
    large a batch is, each teaches by itself."""

    def __init__(self) -> None:
        self.sizes = defaultdict[int, BatchSize](BatchSize)
        self.last = 0
        "The bridge that had its turn last."

    def in_order(self) -> list[Bridge]:
        bridges = list(Bridge.objects.on())
        for bridge in bridges:
            bridge.shop.learn_secrets()
            if bridge.crm:
                bridge.crm.learn_secrets()
        return sorted(bridges, key=lambda bridge: (bridge.pk <= self.last, bridge.pk))


def process_due(turns: Turns) -> bool:
    """Process the next due orders, which are all of one bridge. False: nothing can be done now."""
    for bridge in turns.in_order():
        size = turns.sizes[bridge.pk]
        orders = due_orders(size.orders, bridge.pk)
        if not orders or not breaker.allows_calls(clock.now(), pings_of(bridge)):
            continue
        began, claims = time.monotonic(), claim(orders, size.orders, bridge)
        process(claims)
        size.learn(len(claims), time.monotonic() - began)
        if claims:
            turns.last = bridge.pk
            return True
    return False


def process(claims: Sequence[Claim]) -> None:
    """Each comes to an end here: done, parked, or due again later. One that fails touches no other."""
    batch = Batch(claims)
    for one in claims:
        with failures.recorded(batch, one):
            failures.count_abandoned(batch, one)
    left = _without_loops(batch)
    while left:
        planned = _decide(batch, left)
        left = _apply(batch, planned)
    calls = (call for one in claims for call in one.calls)
    good = {call.side for call in calls if call.status and call.status < 400}
    breaker.record_success([batch.bridge.slug_of(side) for side in good - batch.away], clock.now())


def _without_loops(batch: Batch) -> list[Claim]:
    """The loop breaker: two systems that answer each other for ever need a person (FACTS A9)."""
    claims = [one for one in batch.open if not any(event.requested_by for event in one.events)]
    since = clock.now() - timedelta(seconds=settings.LOOP_WINDOW_SECONDS)
    changed = WebhookEvent.objects.filter(
        bridge=batch.bridge,
        order_ref__in={one.order_ref for one in claims},
        finished_at__gte=since,
        outcome__in=(Outcome.APPLIED, Outcome.UPDATED),
    )
    counts = {(side, ref): n for side, ref, n in changed.values_list("side", "order_ref").annotate(Count("pk"))}
    for one in claims:
        changes = counts.get((one.side, one.order_ref), 0)
        if changes >= settings.LOOP_MAX_CHANGES:
            words = (
                f"{changes} changes within {settings.LOOP_WINDOW_SECONDS} s: a loop? Look at the order, then replay."
            )
            with failures.recorded(batch, one):
                _log_decision(one, Park(reasons=(Reason("loop", words),)))
                record.park(batch, one, Park(reasons=()))
    return list(batch.open)


def _decide(batch: Batch, claims: Sequence[Claim]) -> list[Planned]:
    """The plans that write to a side, each with its intent saved; all else is recorded."""
    done, writes = list[Finished](), list[Planned]()
    for one, decision in decide_all(batch, claims).items():
        if isinstance(decision, NotBegun):
            record.release(batch, one)
            continue
        with failures.recorded(batch, one):
            if isinstance(decision, Exception):
                raise decision
            _log_decision(one, decision)
            if isinstance(decision, Plan | Park) and decision.confirmed:
                record.confirm(one, decision)
            match decision:
                case Park():
                    record.park(batch, one, decision)
                    disappearance.see(decision, batch.bridge.pk)
                case ReadAgain(after=after):
                    record.postpone(batch, one, after)
                case Plan(write=None):
                    done.append((one, decision, Applied()))
                case Plan():
                    writes.append((one, decision))
    _record(batch, done)
    return _with_intents(batch, writes)


def _log_decision(one: Claim, decision: Decision) -> None:
    """When it was decided, and why."""
    one.decided_at = clock.now()
    one.reasons.extend(decision.reasons)


def _with_intents(batch: Batch, planned: Sequence[Planned]) -> list[Planned]:
    planned = alone.without_rivals(batch, planned)
    at = clock.now() + timedelta(seconds=FRESH if len(planned) > 1 else 0)
    try:
        intents.save_intents(planned, at)
    except Exception:  # a lease that was lost, or what the database refuses: each by itself
        saved = list[Planned]()
        for one in planned:
            with failures.recorded(batch, one[0]):
                intents.save_intents([one], at)
                saved.append(one)
        return saved
    return list(planned)


def _apply(batch: Batch, planned: Sequence[Planned]) -> list[Claim]:
    """Make the writes, and record them as they come in. Returns those that have to be read again before theirs."""
    plans, begun, old = dict(planned), set[Claim](), list[Claim]()

    def may_begin(one: Claim, place: int) -> bool:
        """The first have their turn in any case, so that there is an end to it."""
        if shutdown.asked.is_set() and place > 0:
            return False
        if place >= settings.QUEUE_THREADS and time.monotonic() - (one.read_at or 0.0) > FRESH:
            old.append(one)
            return False
        begun.add(one)
        return True

    freshest_first = sorted(plans, key=lambda one: -(one.read_at or 0.0))
    choices.recall(batch, plans)
    for some in batch.each(lambda one: apply(one, plans[one]), freshest_first, may_begin):
        done = list[Finished]()
        for one, outcome in some:
            with failures.recorded(batch, one):
                _tell_of_trouble(batch, one)
                if isinstance(outcome, Exception):
                    intents.after_failure(one, plans[one], outcome)
                    raise outcome
                alone.learn(one)
                done.append((one, plans[one], outcome))
        _record(batch, done)
    old = [] if batch.trouble or shutdown.asked.is_set() else old[:READ_AGAIN]
    for one in old:
        with failures.recorded(batch, one), transaction.atomic():
            leases.renew([one.lease])
            intents.take_back(one, plans[one])
        one.forget_reads()
    for one, plan in planned:
        if one not in begun and one not in old:
            record.release(batch, one, plan)
    return [one for one in old if one in batch.open]


def _tell_of_trouble(batch: Batch, one: Claim) -> None:
    """What was met with while the CRM was told of a write to the shop, which itself went well."""
    for reason in one.doubts:
        doubts.tell(reason, batch.bridge.pk)
    for error in one.side_errors:
        if not batch.is_about_the_order(error):
            batch.record_failure(error)


def _record(batch: Batch, finished: Sequence[Finished]) -> None:
    for one, plan, applied in record.finish_all(batch, finished):
        with failures.recorded(batch, one):
            record.finish(batch, one, plan, applied)
