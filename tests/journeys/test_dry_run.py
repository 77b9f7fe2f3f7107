"""A dry run says what would happen, and nothing happens."""

from io import StringIO
from typing import Any

from django.apps import apps
from django.core.management import call_command

from orders.models import OrderLink
from sync.models import SideState
from sync.pipeline import internal_events
from sync.pipeline.dry_run import DryRunResult, run_dry
from tests.journeys.conftest import World
from webhooks.models import WebhookEvent


def linked(world: World, **fields: Any) -> int:
    order = world.shop.create_order(**fields)
    world.settle()
    return int(order["id"])


def run_resync_dry(link: OrderLink) -> DryRunResult:
    return run_dry(internal_events.resync_event(link, key="", by="", reason=""))


def everything() -> dict[str, list[dict[str, Any]]]:
    """Every row of ours."""
    models = [m for label in ("webhooks", "orders", "sync") for m in apps.get_app_config(label).get_models()]
    return {model.__name__: list(model.objects.order_by("pk").values()) for model in models}


def test_a_dry_run_only_reads_and_writes_no_row(world: World) -> None:
    woo_id = linked(world, status="pending")
    world.crm.set_status(world.link(woo_id).crm_order_id, "paid", notify=False)
    world.shop.edit(woo_id, customer_note="ring twice")
    world.shop.settle()
    calls = len(world.shop.requests), len(world.crm.requests)
    before = everything()
    seen = [run_dry(event) for event in WebhookEvent.objects.all()] + [run_resync_dry(world.link(woo_id))]
    assert everything() == before
    made = [*world.shop.requests[calls[0] :], *world.crm.requests[calls[1] :]]
    assert made and {request.method for request in made} == {"GET"}
    assert len(made) == sum(len(one.calls) for one in seen)


def test_a_move_is_shown_field_by_field(world: World) -> None:
    woo_id = linked(world, status="pending")
    world.crm.set_status(world.link(woo_id).crm_order_id, "paid", notify=False)
    seen = run_resync_dry(world.link(woo_id))
    assert (seen.kind, seen.outcome) == ("forward", "applied")
    assert [(c.side, c.name, c.before, c.after) for c in seen.changes] == [
        ("shop", "status", "pending", "processing"),
        ("shop", "_orderbridge_crm_order_id", None, world.link(woo_id).crm_order_id),
    ]


def test_what_the_crm_would_be_told_is_compared_with_what_it_was_told(world: World) -> None:
    woo_id = linked(world, status="pending")
    world.shop.edit(woo_id, customer_note="ring twice")
    world.shop.settle()
    seen = run_dry(WebhookEvent.objects.latest("id"))
    assert [(c.side, c.name, c.before, c.after) for c in seen.changes] == [("crm", "customer_note", "", "ring twice")]


def test_a_refused_move_is_backward_and_changes_nothing(world: World) -> None:
    woo_id = linked(world, status="pending")
    crm_id = world.link(woo_id).crm_order_id
    world.crm.set_status(crm_id, "shipped")
    world.settle()
    world.crm.set_status(crm_id, "paid", notify=False)
    seen = run_resync_dry(world.link(woo_id))
    assert (seen.kind, seen.changes) == ("backward", ())
    assert "completed → processing is not an allowed move" in seen.words


def test_a_forced_move_is_shown_too(world: World) -> None:
    woo_id = linked(world, status="pending")
    event = internal_events.force(world.link(woo_id), to_status="cancelled", by="mia", reason="asked to")
    changes = [(c.name, c.before, c.after) for c in run_dry(event).changes]
    assert changes[0] == ("status", "pending", "cancelled")
    assert [name for name, _, _ in changes[1:]] == ["_orderbridge_crm_order_id"]


def test_an_order_that_needs_a_person_says_so(world: World) -> None:
    woo_id = linked(world, status="pending")
    world.crm.delete(world.link(woo_id).crm_order_id)
    assert run_resync_dry(world.link(woo_id)).kind == "person"


def test_a_side_that_is_away_is_told_and_its_breaker_left_alone(world: World) -> None:
    woo_id = linked(world, status="pending")
    world.crm.stop()
    for _ in range(5):
        seen = run_resync_dry(world.link(woo_id))
    assert (seen.kind, seen.outcome) == ("waits", "Unreachable")
    assert not SideState.objects.get(name="crm").failures


def test_the_command_says_field_by_field_what_a_replay_would_do(world: World) -> None:
    woo_id = linked(world, status="pending")
    world.crm.set_status(world.link(woo_id).crm_order_id, "paid")
    world.crm.settle()
    event, out = WebhookEvent.objects.latest("id"), StringIO()
    call_command("replay", str(event.pk), "--dry-run", stdout=out)
    assert f"event {event.pk}: forward (applied)." in out.getvalue()
    assert "  shop status: pending → processing\n" in out.getvalue()
