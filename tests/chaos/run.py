"""One chaos run from its first order to the reckoning. Django is set up by the caller, on the run's own database."""

import logging
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from django.db import connections
from django.db.models import Count

from sync.models import Attempt
from sync.sandbox.crm import SandboxCrm
from tests.benchmarks.running import say
from tests.chaos.happenings import Happenings
from tests.chaos.pairs import Pair, crms, shops
from tests.chaos.service import Service, wait_for
from tests.chaos.stand_ins import StandInStory
from tests.chaos.stores import Stores
from tests.chaos.story import Story
from tests.chaos.tryton import TrytonInChaos, TrytonStory
from webhooks.models import Outcome, State, WebhookEvent

SHARE_OF_CHANGES = 1.0
"""So many changes for each order, on top of its creation."""
SHOWN = 10
DELETED = ("no longer has order", "order_invalid_id (404)")
"""What is said of an order that was deleted: the CRM moved it, or the shop could not build its delivery any more."""


@dataclass
class Reckoning:
    """What is printed in the end. `zeros`: what must not have happened, with the first of what did."""

    figures: dict[str, object] = field(default_factory=dict)
    zeros: dict[str, list[str]] = field(default_factory=dict)

    def ok(self) -> bool:
        return not any(self.zeros.values())

    def show(self) -> None:
        for name, figure in self.figures.items():
            say(f"  {name:<38} {figure}")
        for name, found in self.zeros.items():
            say(f"  {name:<38} {len(found)}{'' if not found else '   ← must be 0'}")
            for one in found[:SHOWN]:
                say(f"      {one}")


def story_of(pair: Pair) -> type[Story]:
    if isinstance(pair.crm, SandboxCrm):
        return Story
    return TrytonStory if isinstance(pair.crm, TrytonInChaos) else StandInStory


class Run:
    def __init__(
        self,
        *,
        seed: int,
        orders: int,
        rate: float,
        stores: Stores,
        service: Service,
        pairs: Sequence[Pair],
        clock_file: Path | None,
        only: str,
    ) -> None:
        self.seed, self.orders, self.rate = seed, orders, rate
        self.stores, self.service, self.pairs = stores, service, pairs
        self.shops, self.crms = shops(pairs), crms(pairs)
        self.stories = [story_of(pair)(pair.shop, pair.crm, seed + pair.number - 1, pair) for pair in pairs]
        shop, crm = pairs[0].shop, pairs[0].crm
        self.happenings = Happenings(seed, service, stores, shop, crm, clock_file, only, pairs)
        self.over = threading.Event()

    def play(self) -> Reckoning:
        started = time.monotonic()
        if len(self.service.hosts) > 1:
            say(f"  hosts at {', '.join(host.url for host in self.service.hosts)}, each with a folder of its own")
        for what in self.happenings.left_out():
            say(f"  left out, {what}")
        self.happenings.tell_the_hosts()
        self.happenings.bad_road()
        trouble = threading.Thread(target=self.happenings.go_on, args=(self.over,), daemon=True)
        trouble.start()
        try:
            self._live()
        finally:
            self.over.set()
            trouble.join(120)
            self.happenings.mend()
            connections.close_all()  # it may be another database by now
        mended = time.monotonic()
        settled = self._settle()
        reckoning = Reckoning()
        reckoning.figures["seconds of chaos"] = round(mended - started)
        reckoning.figures["seconds to settle"] = round(time.monotonic() - mended)
        self._reckon(reckoning)
        if self.happenings.broke_off:
            reckoning.zeros["chaos broke off"] = self.happenings.broke_off.splitlines()[-1:]
        if not settled:
            reckoning.zeros["did not settle"] = [f"{self._open()} events are still open"]
        return reckoning

    def _live(self) -> None:
        """Orders and changes at a steady rate, whatever happens meanwhile."""
        rng = random.Random(self.seed)
        begun, are_there = time.monotonic(), False
        for number in range(self.orders):
            story = self.stories[number % len(self.stories)]
            story.order(1)
            are_there = are_there or all(one.crm.shown() for one in self.stories)
            if are_there and rng.random() < SHARE_OF_CHANGES:
                story.live(1)
            ahead = begun + number / self.rate - time.monotonic()
            if ahead > 0:
                time.sleep(ahead)
            if number % 500 == 499:
                made = sum(len(crm.shown()) for crm in self.crms)
                say(f"  {number + 1} orders after {time.monotonic() - begun:.0f} s, {made} in the CRM")

    def _settle(self) -> bool:
        """Everything that came is worked off; then reconcile finds what was lost, and that is worked off, too."""
        patience = 240 + self.orders / 5
        settled = wait_for(self._is_quiet, patience, "the inbox is not empty")
        for story in self.stories:
            story.restore_all()
        settled = wait_for(self._is_quiet, patience, "the inbox is not empty") and settled
        for pair in self.pairs:
            reconcile = partial(self._reconcile, pair)
            settled = wait_for(reconcile, patience, "reconcile did not get to its end") and settled
        return wait_for(self._is_quiet, patience, "the inbox is not empty") and settled

    def _reconcile(self, pair: Pair) -> bool:
        """False while a scheduled one is at work."""
        done = self.service.manage("reconcile", "--deep", "--bridge", pair.bridge)
        say(f"  reconcile: {(done.stdout or done.stderr).strip().splitlines()[-1]}")
        return done.returncode == 0

    def _open(self) -> int:
        return WebhookEvent.objects.unfinished().count()

    def _is_quiet(self) -> bool:
        try:
            for side in (*self.shops, *self.crms):
                side.settle(0.1)
        except TimeoutError:
            return False
        try:
            return not self._open()
        except Exception:  # the connection of before PostgreSQL was stopped
            logging.getLogger(__name__).debug("asked in vain", exc_info=True)
            connections.close_all()
            return False

    # --- what is true in the end -------------------------------------------------------------------------------------

    def _reckon(self, reckoning: Reckoning) -> None:
        sent = [one for side in (*self.shops, *self.crms) for one in side.deliveries]
        answered = [one for one in sent if one.status == 200]
        events = WebhookEvent.objects.all()
        restored = bool(self.happenings.forgotten)
        differences = [
            f"{story.pair.bridge} {one}" for story in self.stories for one in story.differences(restored=restored)
        ]
        backwards = [one for one in differences if "backwards" in one]
        created = [
            f"{number}: {one.external_id}"
            for number, crm in enumerate(self.crms)
            for one in crm.shown()
            if one.external_id
        ]
        customers = Counter(who for crm in self.crms for who in crm.customers())
        changes = sum(sum(one.happened.values()) - one.happened["ordered"] for one in self.stories)
        reckoning.figures |= {
            "orders": ", ".join(str(len(shop.orders)) for shop in self.shops),
            "changes": changes,
            "deliveries sent": len(sent),
            "answered 200": len(answered),
            "events": events.count(),
            "of them found by reconcile": events.filter(source="sweep").count(),
            "duplicates counted": sum(events.values_list("duplicates", flat=True)),
            "parked: deleted in the shop": events.filter(state=State.PARKED).count(),
            "attempts": Attempt.objects.count(),
            "answered, and gone with a database": len(self.happenings.forgotten),
            "status writes": sum(len(shop.status_writes) for shop in self.shops),
            "customers": len(customers),
            "of another bridge's orders": events.filter(outcome=Outcome.NOT_OURS).count(),
            "happened": ", ".join(f"{name} {n}" for name, n in sorted(self.happenings.happened.items())),
        }
        reckoning.zeros |= {
            "lost": self._lost({one.body_sha256 for one in answered}),
            "processed twice with effect": list(self._twice()),
            "orders created twice in the CRM": sorted({one for one in created if created.count(one) > 1}),
            "customers made twice": [f"{who}: {times} times" for who, times in customers.items() if times > 1],
            "backward moves written": backwards,
            "orders that differ": [one for one in differences if one not in backwards],
            "audit chain broken": self._audit(),
            "parked or dead without need": list(self._needless_parking()),
        }
        if len(self.pairs) > 1:
            reckoning.zeros["crossed over to another bridge"] = [
                one for story in self.stories for one in story.crossed()
            ]

    def _needless_parking(self) -> Iterator[str]:
        """A person is needed only about an order that was deleted in the shop."""
        for event in WebhookEvent.objects.filter(state__in=(State.PARKED, State.DEAD)):
            if event.state == State.DEAD or not any(words in event.reason for words in DELETED):
                yield f"{event}: {event.reason}"

    def _lost(self, answered: set[str]) -> list[str]:
        """Answered 200, and nothing with this content is in the inbox, nor went with a database that was replaced: what
        such a delivery told shows in what differs."""
        return sorted(
            answered - self.happenings.forgotten - set(WebhookEvent.objects.values_list("body_sha256", flat=True))
        )

    def _twice(self) -> Iterator[str]:
        """An event that took effect in two attempts, or a status written to an order that shows it already."""
        effects = Attempt.objects.filter(result__in=(Outcome.CREATED, Outcome.UPDATED, Outcome.APPLIED))
        for row in effects.order_by().values("event").annotate(n=Count("id")).filter(n__gt=1):
            yield f"event {row['event']} in {row['n']} attempts"
        for pair in self.pairs:
            for write in pair.shop.status_writes:
                if write.old == write.new:
                    yield f"{pair.bridge}: order {write.woo_id} was set to {write.new} again"

    def _audit(self) -> list[str]:
        done = self.service.manage("verify_audit")
        return [] if done.returncode == 0 else (done.stdout + done.stderr).strip().splitlines()[-SHOWN:]
