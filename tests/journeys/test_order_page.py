"""From the page of an order both sides are checked, repaired and forced; each action is recorded."""

import html
from typing import Any

import pytest
from django.test import Client

from orders.models import OrderLink, StaffAction, StatusTransition
from tests.journeys.conftest import World
from tests.journeys.test_own_events import linked, writes
from webhooks.models import WebhookEvent


def post(client: Client, link: OrderLink, page: str, **data: Any) -> str:
    """What the page says, after redirects."""
    answer = client.post(f"/admin/orders/orderlink/{link.pk}/{page}/", data, follow=True)
    assert answer.status_code == 200
    return html.unescape(answer.content.decode())


def last() -> StaffAction:
    return StaffAction.objects.latest("id")


def test_a_check_reads_both_sides_and_says_what_a_repair_would_do(world: World, admin_client: Client) -> None:
    link = linked(world, "paid", "on-hold")
    said, before = post(admin_client, link, "check"), world.link(link.woo_id).verified_at
    assert "A repair would move the shop: on-hold → processing." in said
    assert "on-hold" in said and "differs" in said
    assert f"GET /orders/{link.crm_order_id} → 200" in said
    assert (last().action, last().actor, last().link) == ("check", "admin", link)
    assert "on-hold → processing" in last().result
    assert world.link(link.woo_id).verified_at == before


@pytest.mark.parametrize(
    ("crm", "shop", "words"),
    [
        ("paid", "processing", "Both agree: 'paid' in the CRM is 'processing' in the shop."),
        ("paid", "completed", "The shop is ahead: it shows 'completed', the CRM still 'paid'."),
        ("cancelled", "completed", "completed → cancelled is not an allowed move"),
    ],
)
def test_a_check_says_how_the_two_stand(world: World, admin_client: Client, crm: str, shop: str, words: str) -> None:
    assert words in post(admin_client, linked(world, crm, shop), "check")


def test_a_check_names_a_side_that_is_away_and_one_that_lost_the_order(world: World, admin_client: Client) -> None:
    link = linked(world, "paid", "processing")
    world.crm.delete(link.crm_order_id)
    world.shop.stop()
    said = post(admin_client, link, "check")
    assert "The CRM does not know this order (404)." in said
    assert "shop" in last().result and "404" in last().result
    assert "Both agree" not in said


def test_a_repair_is_a_dry_run_until_it_has_a_reason(world: World, admin_client: Client) -> None:
    link = linked(world, "paid", "on-hold")
    done, events = len(writes(world)), WebhookEvent.objects.count()
    for data in ({}, {"confirmed": "yes", "reason": " "}):
        assert "on-hold → processing" in post(admin_client, link, "repair", **data)
        assert last().action == "dry run of a repair"
    assert (len(writes(world)), WebhookEvent.objects.count()) == (done, events)


def test_a_repair_brings_the_shop_to_the_crms_state(world: World, admin_client: Client) -> None:
    link = linked(world, "paid", "on-hold")
    assert "The worker was asked" in post(admin_client, link, "repair", confirmed="yes", reason="customer called")
    assert (last().action, last().reason, last().link) == ("repair", "customer called", link)
    world.settle()
    assert writes(world)[-1] == ("on-hold", "processing")
    assert last().event and last().event.outcome == "applied"
    assert StatusTransition.objects.latest("id").actor == "admin"


def test_a_repair_that_the_lifecycle_refuses_has_no_button(world: World, admin_client: Client) -> None:
    link = linked(world, "cancelled", "completed")
    said = post(admin_client, link, "repair")
    assert "The lifecycle does not allow this move" in said
    assert 'name="reason"' not in said


def test_a_move_is_forced_after_a_page_that_says_what_the_lifecycle_says(world: World, admin_client: Client) -> None:
    link = linked(world, "shipped", "completed")
    done = len(writes(world))
    asked = {"to_status": "processing", "reason": "parcel came back"}
    assert "The lifecycle says: not allowed; it can only be forced." in post(admin_client, link, "force", **asked)
    assert not StaffAction.objects.filter(action="force").exists()
    post(admin_client, link, "force", **asked, confirmed="yes")
    world.settle()
    assert writes(world)[done:] == [("completed", "processing")]
    transition = StatusTransition.objects.latest("id")
    assert (transition.decision, transition.actor) == ("forced", "admin")
    assert (last().action, last().reason) == ("force", "parcel came back")
    assert last().event == transition.event
