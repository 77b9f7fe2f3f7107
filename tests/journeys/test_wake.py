"""What comes in while other tasks wait for the workers."""

from tests.journeys.conftest import World, run_queue
from webhooks.wake import enqueue


def test_an_order_that_came_behind_other_tasks_is_settled_after_the_last_of_them(world: World) -> None:
    """The cluster itself looks at the inbox: nobody told of the order."""
    for _ in range(3):
        enqueue("sync.tasks.seal_audit")
    order = world.shop.create_order()
    world.shop.settle()
    run_queue()
    assert world.crm.by_external(order["id"])
