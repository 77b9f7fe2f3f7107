"""What staff do with one event, against both sides."""

import threading
from typing import Any

from django.apps import apps
from django.db import connection

from orders.models import ChainHead, StaffAction
from sync.backoffice.search import search
from sync.pipeline import replays
from tests.journeys.conftest import World, linked_order
from tests.people import signed_in
from webhooks import intake
from webhooks.models import WebhookEvent

LIST = "/admin/webhooks/webhookevent/"


def do(role: str, event: WebhookEvent, action: str, **said: str) -> str:
    url = f"{LIST}{event.pk}/{action}/"
    answer = signed_in(role).post(url, {"reason": "to see", "confirmed": "yes", **said}, follow=True)
    assert answer.status_code == 200
    return answer.content.decode()


def rows() -> dict[str, list[dict[str, Any]]]:
    """Every row of ours but those of the audit of staff."""
    models = [m for label in ("webhooks", "orders", "sync") for m in apps.get_app_config(label).get_models()]
    kept = [model for model in models if model not in (StaffAction, ChainHead)]
    return {model.__name__: list(model.objects.order_by("pk").values()) for model in kept}


def test_a_dry_run_shows_what_would_change_and_leaves_nothing_but_its_record(world: World) -> None:
    woo_id, crm_id = linked_order(world, status="pending")
    world.crm.set_status(crm_id, "paid", notify=False)
    event = WebhookEvent.objects.filter(side="shop").latest("id")
    world.shop.edit(woo_id, customer_note="ring at Müller's")
    world.shop.settle()
    before, calls = rows(), (len(world.shop.requests), len(world.crm.requests))
    page = do("support", event, "dry-run")
    made = [*world.shop.requests[calls[0] :], *world.crm.requests[calls[1] :]]
    assert 'data-kind="forward"' in page and "customer_note" in page
    assert "Müller" not in page
    assert {call.method for call in made} == {"GET"}
    assert rows() == before
    done = StaffAction.objects.get()
    assert (done.action, done.actor, done.reason, done.result) == ("dry run", "support", "to see", "forward (updated)")


def test_a_replay_does_what_the_dry_run_said(world: World) -> None:
    woo_id, crm_id = linked_order(world, status="pending")
    world.crm.set_status(crm_id, "paid")
    world.settle()
    event = WebhookEvent.objects.filter(source="crm").latest("id")
    world.crm.set_status(crm_id, "shipped", notify=False)
    assert "processing" in do("support", event, "dry-run") and "completed" in do("support", event, "dry-run")
    do("support", event, "replay")
    world.settle()
    assert world.shop.orders[woo_id]["status"] == "completed"
    event.refresh_from_db()
    assert (event.outcome, event.tries.count()) == ("applied", 2)


def test_an_event_whose_body_is_gone_is_replayed_from_both_sides(world: World) -> None:
    woo_id, crm_id = linked_order(world, status="pending")
    world.crm.set_status(crm_id, "paid")
    world.settle()
    WebhookEvent.objects.update(body=b"", headers={})
    world.crm.set_status(crm_id, "shipped", notify=False)
    do("support", WebhookEvent.objects.filter(source="crm").latest("id"), "replay")
    world.settle()
    assert world.shop.orders[woo_id]["status"] == "completed"


def test_what_nobody_signed_is_not_taken_for_the_word_of_the_crm(world: World, settings: Any) -> None:
    """VERIFY=critical takes a harmless status from a signed event; a copy that staff edited is none."""
    settings.VERIFY = "critical"
    woo_id, crm_id = linked_order(world, status="pending")
    world.crm.set_status(crm_id, "on_hold")
    world.settle()
    event = WebhookEvent.objects.filter(source="crm").latest("id")
    body = f'{{"crm_order_id": "{crm_id}", "status": "processing", "version": {event.version}}}'
    do("operator", event, "edit", body=body)
    world.settle()
    copy = WebhookEvent.objects.get(copy_of=event)
    assert copy.outcome == "no_change"
    assert world.shop.orders[woo_id]["status"] == "on-hold"
    assert {call.side for call in copy.tries.get().calls.all()} == {"crm"}


def test_an_edited_body_says_nothing_of_an_order_that_is_gone_from_the_shop(world: World) -> None:
    woo_id, crm_id = linked_order(world, status="pending")
    event = WebhookEvent.objects.filter(side="shop").latest("id")
    world.shop.delete(woo_id)
    do("operator", event, "edit", body=f'{{"id": {woo_id}, "status": "cancelled"}}')
    world.settle()
    copy = WebhookEvent.objects.get(copy_of=event)
    assert copy.outcome == "updated"
    assert world.crm.orders[crm_id]["order"]["status"] == "trash"


def test_a_replay_does_not_bring_back_what_the_crm_was_told_is_gone(world: World) -> None:
    woo_id, crm_id = linked_order(world, status="pending")
    event = WebhookEvent.objects.filter(side="shop").latest("id")
    world.shop.trash(woo_id)
    world.settle()
    world.shop.delete(woo_id)
    assert world.crm.orders[crm_id]["order"]["status"] == "trash"
    do("support", event, "replay")
    world.settle()
    event.refresh_from_db()
    assert event.outcome == "no_change"
    assert world.crm.orders[crm_id]["order"]["status"] == "trash"


def test_what_no_delivery_told_is_found_by_its_customer_too(world: World) -> None:
    """A sweep's event has no order in its body; the worker notes the customer when it has read the order."""
    woo_id, _ = linked_order(world, status="pending")
    email = world.shop.orders[woo_id]["billing"]["email"]
    event, _ = intake.post(
        bridge=1, side="shop", source="sweep", topic="order.updated", order_ref=str(woo_id), key="x", body={}
    )
    world.settle()
    assert event in search(WebhookEvent.objects.filter(source="sweep"), email, may_reveal=False).events


def test_two_who_replay_at_the_same_moment_cause_one_attempt(world: World) -> None:
    linked_order(world, status="pending")
    event = WebhookEvent.objects.latest("id")
    start = threading.Barrier(2)
    answers: list[str] = []

    def press(by: str) -> None:
        start.wait()
        try:
            replays.replay(event.pk, by=by)
            answers.append("asked")
        except replays.NotNow as obstacle:
            answers.append(str(obstacle))
        finally:
            connection.close()

    people = [threading.Thread(target=press, args=[name]) for name in ("anna", "bert")]
    for person in people:
        person.start()
    for person in people:
        person.join()
    world.settle()
    assert sorted(answer.split(" ")[0] for answer in answers) == ["It", "asked"]
    assert event.tries.filter(trigger="replay").count() == 1
