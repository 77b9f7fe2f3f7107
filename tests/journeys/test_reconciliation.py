"""After `reconcile` every order is linked once and equal on both sides, whatever went wrong before; `drift` agrees.

`python -m tests.chaos.reconcile` tells the same story with 2 000 orders.
"""

import os
import random
import sys
import time
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from orders.models import OrderLink
from sync.jobs import drift, engine, reconciliation
from sync.jobs.processing import LEFT_OUT
from sync.models import DriftFinding, Run
from tests.chaos.story import Story, figures
from tests.journeys.conftest import World, wait_for

ORDERS = int(os.environ.get("CHAOS_ORDERS", "80"))
SEED = int(os.environ.get("CHAOS_SEED") or random.randrange(10**6))
PATIENCE = 30 + ORDERS


@pytest.fixture
def story(world: World, settings: Any) -> Story:
    settings.LOOP_MAX_CHANGES = 10**6  # the loop breaker asks for a person; its own tests show that
    settings.RETRY_MAX_ATTEMPTS = 50
    settings.CRM_LIST_LAG = 1.0
    world.crm.honours_idempotency_key = False
    return Story(world.shop, world.crm, SEED)


def reconcile(*, deep: bool = False) -> int:
    """How much was missed. Calls fail at random: where a deep one left out an order, its alarm says to run it again."""
    missed = 0
    while True:
        run = reconciliation.start(deep=deep)
        engine.carry_out(run)
        assert run.state == Run.State.DONE, run.error
        missed += int(run.counts["shop"] + run.counts["crm"])
        if not (deep and run.counts.get(LEFT_OUT)):
            return missed


def differing() -> list[tuple[int, str, str, str]]:
    """What drift finds, once it has left out none."""
    while True:
        run = drift.start(actor="test")
        engine.carry_out(run)
        assert run.state == Run.State.DONE, run.error
        if not run.counts.get(LEFT_OUT):
            break
    assert run.counts["seen"] == OrderLink.objects.count()
    return list(DriftFinding.objects.open(timezone.now()).values_list("woo_id", "kind", "shop", "crm"))


def test_whatever_goes_wrong_both_sides_are_equal_in_the_end(world: World, story: Story) -> None:
    started = time.monotonic()
    story.turn_bad()
    world.shop.clock_is_ahead, world.crm.clock_is_ahead = timedelta(hours=5), -timedelta(hours=3)
    story.order(ORDERS)
    world.settle(PATIENCE)
    reconcile()
    world.settle(PATIENCE)
    for _ in range(3):
        story.live(ORDERS // 2)
        world.settle(PATIENCE)
        reconcile()
        story.live(ORDERS // 2)
        world.settle(PATIENCE)
    story.restore_all()
    world.settle(PATIENCE)
    wait_for(lambda: world.crm.lists_are_complete())
    story.mend_the_road()
    missed = reconcile(deep=True)
    world.settle(PATIENCE)
    told = {"seed": SEED, **story.happened, **figures(time.monotonic() - started), "missed in the end": missed}
    sys.stdout.write("\n".join(f"{name}: {value}" for name, value in told.items()) + "\n")
    assert list(story.differences()) == [], f"CHAOS_SEED={SEED}"
    story.give_way_in_the_crm()
    world.settle(PATIENCE)
    assert differing() == [], f"CHAOS_SEED={SEED}"
