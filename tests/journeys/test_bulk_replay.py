"""A big bulk replay takes the workers away from nobody."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from sync import tasks
from sync.jobs import bulk_replay
from sync.jobs.selection import Selection
from sync.models import Run
from tests.factories import WebhookEventFactory
from tests.journeys.conftest import World
from webhooks.models import State, WebhookEvent


def test_a_fresh_delivery_is_settled_before_the_backlog_of_a_bulk_replay(
    world: World,
) -> None:
    """Even by the only worker there is, and that one works on the bulk replay."""
    User.objects.create_superuser("ada")
    order = world.shop.create_order()
    world.settle()
    backlog = 40
    for _ in range(backlog):
        WebhookEventFactory(order_ref=str(order["id"]), state=State.DEAD, next_attempt_at=None)
    chosen = Selection(events=WebhookEvent.objects.filter(state=State.DEAD), query="state__exact=dead")
    run = bulk_replay.start(chosen, actor="ada", reason="x")
    steps = bulk_replay.job(run)
    while not run.counts.get("seen"):
        next(steps)
    fresh = world.shop.create_order()
    world.shop.settle()
    while not settled(fresh["id"]):
        next(steps)
    left = WebhookEvent.objects.filter(state=State.DEAD).count()
    assert left > backlog / 2
    assert world.link(fresh["id"])
    for _ in steps:
        pass
    assert run.counts["seen"] == backlog


@pytest.mark.parametrize("left_by", ["", "elsewhere:7"], ids=["handed over", "left by a dead one"])
def test_an_idle_worker_takes_up_a_bulk_replay_that_waits_behind_many_wake_ups(world: World, left_by: str) -> None:
    User.objects.create_superuser("ada")
    order = world.shop.create_order()
    world.settle()
    WebhookEventFactory(order_ref=str(order["id"]), state=State.DEAD, next_attempt_at=None)
    chosen = Selection(events=WebhookEvent.objects.filter(state=State.DEAD), query="state__exact=dead")
    run = bulk_replay.start(chosen, actor="ada", reason="x")
    tasks.drain()
    assert not run.counts  # held by whoever started it
    Run.objects.update(holder=left_by, beat_at=timezone.now() - timedelta(seconds=61))
    tasks.drain()
    run.refresh_from_db()
    assert (run.state, run.counts["seen"]) == (Run.State.DONE, 1)


def settled(woo_id: int) -> bool:
    return not WebhookEvent.objects.filter(order_ref=str(woo_id)).unfinished().exists()
