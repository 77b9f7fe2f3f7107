"""Orders that are new to us are created in the CRM many at a time: the steps of `worker`, in the same order and
under the same leases, but with one commit for all of them where an order by itself needs one.

Only what is plain goes this way. An order that is linked, was tried before or has more than one event is left to
`worker.settle`, and so is everything that turns out otherwise than "not there: create it".
"""

import logging
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from django.db import IntegrityError, transaction

from orders.models import OrderLink
from sync.clients.snapshots import ShopSnapshot
from sync.models import Intent
from sync.pipeline import leases, worker
from sync.pipeline.decide import CreateInCrm, Plan
from sync.pipeline.leases import DURATION, Held, LeaseLost
from sync.pipeline.worker import Applied, Work
from sync.queue import shutdown
from webhooks import clock
from webhooks.models import Outcome, Side, State, WebhookEvent

log = logging.getLogger("orderbridge.attempts")

MANY = 25
"""Orders at a time. If the process dies, the creation of so many is in doubt."""
PATIENCE = 2.0
"""Seconds after which no more is begun: with a slow CRM they are fewer, so that no lease runs out meanwhile."""
SENDING = timedelta(seconds=2)
"""What is sent later than this is remembered anew: an intent must not be older than its POST."""


def link(shown: Mapping[int, ShopSnapshot]) -> tuple[set[int], set[int]]:
    """`shown`: orders of the shop as its list showed them a moment ago, each with an event that waits.

    Returns the ids of those that had their turn, whatever came of it, and of those that may come again in the same way.
    """
    works, left = _take(shown), list[Work]()
    created = _create(_look(works, shown, left), left)
    if created:
        _record(created)
        worker.heard([work for work, _, _ in created])
    if left:
        _put_back(left)
    again = {int(work.order_ref) for work in left}
    return {int(work.order_ref) for work in works} - again, again


def _take(shown: Mapping[int, ShopSnapshot]) -> list[Work]:
    """`worker.take` for many: those that nobody else has, and that are plain."""
    with transaction.atomic():
        keys = {woo_id: worker.lease_key(Side.SHOP, str(woo_id)) for woo_id in shown}
        free = {held.keys[0]: held for held in Held.each(list(keys.values()))}
        known = {*OrderLink.objects.filter(woo_id__in=shown).values_list("woo_id", flat=True)}
        known |= {*Intent.objects.filter(woo_id__in=shown).values_list("woo_id", flat=True)}
        waiting = defaultdict[str, list[WebhookEvent]](list)
        for event in WebhookEvent.objects.filter(side=Side.SHOP, order_ref__in=map(str, shown)).unfinished():
            waiting[event.order_ref].append(event)
        now, works = clock.now(), []
        for woo_id in shown:
            events = waiting[str(woo_id)]
            is_due = len(events) == 1 and events[0].next_attempt_at is not None and events[0].next_attempt_at <= now
            is_new = woo_id not in known and all(event.state != State.PROCESSING for event in events)
            if keys[woo_id] in free and is_due and is_new:
                works.append(Work(held=free.pop(keys[woo_id]), events=events))
        leases.release(list(free.values()))
        claimed = WebhookEvent.objects.filter(pk__in=[work.newest.pk for work in works]).unfinished()
        if claimed.update(state=State.PROCESSING, next_attempt_at=now + DURATION) != len(works):
            transaction.set_rollback(True)  # as in `worker.take`, to which they are left
            return []
    return works


class Turns:
    """The first has its turn in any case; the others until one fails, time is up, or this process is to leave."""

    def __init__(self) -> None:
        self.until = time.monotonic() + PATIENCE
        self.begun = self.failed = False

    def go_on(self) -> bool:
        over = self.failed or shutdown.asked.is_set() or time.monotonic() > self.until
        if self.begun and over:
            return False
        self.begun = self.failed = True
        return True

    def passed(self) -> None:
        self.failed = False


def _look(
    works: Sequence[Work], shown: Mapping[int, ShopSnapshot], left: list[Work]
) -> list[tuple[Work, CreateInCrm, Plan]]:
    """Those that the CRM does not have; what else it says is dealt with at once."""
    missing, turns = [], Turns()
    for work in works:
        if not turns.go_on():
            left.append(work)
            continue
        with worker.watched(work):
            decision = worker.look_and_decide(work, shown[int(work.order_ref)], link=None, tried=None)
            if isinstance(decision, Plan) and isinstance(decision.write, CreateInCrm):
                worker.take_down(work, decision)
                missing.append((work, decision.write, decision))
            else:
                worker.carry_out(work, decision)
            turns.passed()
    return missing


def _create(missing: Sequence[tuple[Work, CreateInCrm, Plan]], left: list[Work]) -> list[tuple[Work, Plan, Applied]]:
    created, turns, until = [], Turns(), clock.now() + SENDING
    if missing and not _remember([work for work, _, _ in missing], until):
        for work, _, plan in missing:
            with worker.watched(work):
                worker.record(work, plan, worker.apply(work, plan))
        return []
    for work, creation, plan in missing:
        if not turns.go_on():
            left.append(work)
            continue
        with worker.watched(work):
            if clock.now() > until:
                worker.remember(work, int(work.order_ref), Intent.Kind.CREATE)
            created.append((work, plan, worker.create(work, creation)))
            turns.passed()
    return created


def _remember(works: Sequence[Work], until: datetime) -> bool:
    """False: one of them has lost its lease, so that each has to be looked at by itself."""
    try:
        with transaction.atomic():
            leases.renew([work.held for work in works])
            worker.keep([Intent(woo_id=int(work.order_ref), kind=Intent.Kind.CREATE, at=until) for work in works])
    except LeaseLost:
        return False
    return True


def _record(created: Sequence[tuple[Work, Plan, Applied]]) -> None:
    works = [work for work, _, _ in created]
    try:
        with transaction.atomic():
            leases.release([work.held for work in works])
            OrderLink.objects.bulk_create([_row(*one) for one in created])
            worker.forget([int(work.order_ref) for work in works], Intent.Kind.CREATE)
            _finish(works)
            worker.save_attempts(works, Outcome.CREATED)
    except (IntegrityError, LeaseLost, *worker.REFUSED_BY_DATABASE):
        # One of them is the matter: it is found, and the others are recorded.
        for work, plan, applied in created:
            with worker.watched(work):
                worker.record(work, plan, applied)


def _row(work: Work, plan: Plan, applied: Applied) -> OrderLink:
    row = worker.new_link(work, int(work.order_ref), applied)
    worker.fill_in(row, work, plan, applied)
    return row


def _finish(works: Sequence[Work]) -> None:
    """As `worker.finish`, which has to name the customer besides; here the events do that from the start."""
    alike = defaultdict[str, list[int]](list)
    for work in works:
        alike[work.words].append(work.newest.pk)
    for words, events in alike.items():
        WebhookEvent.objects.filter(pk__in=events).update(
            state=State.DONE, outcome=Outcome.CREATED, reason=words, next_attempt_at=None, finished_at=clock.now()
        )


def _put_back(works: Sequence[Work]) -> None:
    """As if they had not been taken: nothing was sent for them."""
    try:
        with transaction.atomic():
            leases.release([work.held for work in works])
            worker.forget([int(work.order_ref) for work in works], Intent.Kind.CREATE)
            for work in works:
                before = {"state": work.newest.state, "next_attempt_at": work.newest.next_attempt_at}
                WebhookEvent.objects.filter(pk=work.newest.pk).update(**before)
    except LeaseLost:  # whoever has it deals with it; of the others the claim runs out, and then they are due again
        log.warning("lease lost", extra={"orders": [work.order_ref for work in works]})
