"""What an earlier release stored is replayed by the parser of its schema, and the chain of its transitions goes on."""

import copy
import json
from typing import Any

import pytest

from orders.models import StatusTransition
from orders.verification import CHAINS
from sync.pipeline import replays
from sync.pipeline.dry_run import run_dry
from tests import stored
from tests.journeys.conftest import World
from webhooks import schemas
from webhooks.models import State, WebhookEvent
from webhooks.sources import Signal

WOO_ID, CRM_ID = 1001, "C-1001"


@pytest.fixture
def before(world: World) -> World:
    """Both sides as they were when release 0.1.0 was replaced."""
    stored.load("0.1.0")
    newest = WebhookEvent.objects.filter(order_ref=str(WOO_ID), outcome="echo").exclude(body=b'{"id": 1001}').get()
    order = world.shop.load(json.loads(bytes(newest.body)))
    made = world.crm.add_order(str(WOO_ID), **{**order, "status": "paid"})
    world.crm.orders[CRM_ID] = {**copy.deepcopy(world.crm.orders.pop(made["id"])), "id": CRM_ID, "version": 3}
    return world


def test_events_of_0_1_0_are_replayed_and_nothing_is_done_twice(before: World) -> None:
    events = list(WebhookEvent.objects.order_by("pk"))
    assert {event.schema for event in events} == {None}
    assert {schemas.schema_of(event) for event in events} == {schemas.WOOCOMMERCE, schemas.REST}
    asked = replays.ask_again([event.pk for event in events if event.order_ref != "C-404"], by="ann")
    assert len(asked.again) == 7 and len(asked.unreadable) == 2
    before.settle()
    outcomes = WebhookEvent.objects.filter(pk__in=asked.again).values_list("outcome", flat=True)
    assert set(outcomes) <= {"no_change", "echo", "stale", "superseded", "updated", "refused"}
    assert len(before.crm.orders) == 1
    assert before.shop.orders[WOO_ID]["status"] == "completed"


def test_the_chain_goes_on(before: World) -> None:
    before.crm.set_status(CRM_ID, "refunded")
    before.settle()
    *_, newest = StatusTransition.objects.filter(link__woo_id=WOO_ID).order_by("sequence")
    assert (newest.sequence, newest.to_status, newest.schema) == (3, "refunded", schemas.REST)
    assert CHAINS["transitions"].of(newest.link_id) == []


def test_an_event_that_nobody_understood_is_read_by_the_parser_that_its_schema_has_by_now(
    before: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    event = WebhookEvent.objects.get(order_ref="", side="shop")
    assert run_dry(event).kind == "person"
    with pytest.raises(replays.NotNow, match="names no order"):
        replays.replay(event.pk, by="ann")

    def later(body: bytes, headers: Any) -> list[Signal]:
        return [Signal(dedupe_key="of no account", order_ref=str(WOO_ID), status="")]

    monkeypatch.setitem(schemas.PARSERS, schemas.WOOCOMMERCE, later)
    key = event.dedupe_key
    assert run_dry(WebhookEvent.objects.get(pk=event.pk)).kind != "person"
    replays.replay(event.pk, by="ann")
    before.settle()
    event.refresh_from_db()
    assert (event.state, event.order_ref, event.dedupe_key) == (State.DONE, str(WOO_ID), key)


@pytest.mark.parametrize("schema", ["rest/99", schemas.OURS])
def test_a_schema_without_a_parser_is_misread_by_no_other(before: World, schema: str) -> None:
    WebhookEvent.objects.filter(order_ref="", side="crm").update(schema=schema, body=b'{"crm_order_id": "C-1001"}')
    event = WebhookEvent.objects.get(order_ref="", side="crm")
    assert not schemas.read_anew(event)
    assert replays.why_unreadable(event)


def test_new_events_say_how_they_were_read(world: World) -> None:
    order = world.shop.create_order(status="pending")
    world.settle()
    link = world.link(order["id"])
    world.crm.set_status(link.crm_order_id, "paid")
    world.settle()
    read = set(WebhookEvent.objects.values_list("side", "schema"))
    assert read == {("shop", schemas.WOOCOMMERCE), ("crm", schemas.REST)}
