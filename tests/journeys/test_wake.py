"""What comes in while other tasks wait for the workers."""

from django_q.brokers import get_broker

from tests.journeys.conftest import World, run_queue
from webhooks.wake import ENOUGH, enqueue


def test_an_order_that_came_behind_other_tasks_is_settled_after_the_last_of_them(world: World) -> None:
    for _ in range(ENOUGH):
        enqueue("sync.tasks.seal_audit")
    order = world.shop.create_order()
    world.shop.settle(5)
    assert get_broker().queue_size() == ENOUGH
    run_queue()
    assert world.crm.by_external(order["id"])
