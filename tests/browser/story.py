"""A day at a shop, told through the sandbox: every kind of thing that the back office has to show."""

import math
import random
from datetime import timedelta
from typing import Any

from django.utils import timezone

from sync.alarms import raise_alarm
from sync.models import DriftFinding, Heartbeat, SideState
from sync.sandbox.traffic import PEOPLE, PRODUCTS
from tests import deliveries
from tests.journeys.conftest import World, linked_order
from webhooks.models import WebhookEvent

FROM_SHOP, FROM_CRM = ("updated", "echo", "no_change"), ("applied", "applied", "no_change")


def order(world: World, number: int, **fields: Any) -> tuple[int, str]:
    """A linked order of one of the sandbox's people: its id on both sides."""
    first, last, city, *_ = PEOPLE[number % len(PEOPLE)]
    billing = {"first_name": first, "last_name": last, "city": city, "email": f"customer{number}@example.test"}
    lines = [{**product, "quantity": 1 + number % 3} for product in PRODUCTS[: 1 + number % 3]]
    return linked_order(world, billing=billing, line_items=lines, **fields)


def moved(world: World, crm_id: str, *statuses: str) -> None:
    for status in statuses:
        world.crm.set_status(crm_id, status)
        world.settle()


def shipped_then_set_back(world: World) -> int:
    """Paid, shipped, edited by the shop; then the CRM says paid once more, which the lifecycle refuses."""
    woo_id, crm_id = order(world, 0)
    moved(world, crm_id, "paid", "processing")
    world.shop.edit(woo_id, customer_note="Please ring twice.")
    world.settle()
    moved(world, crm_id, "shipped", "paid")
    return woo_id


def parked(world: World) -> int:
    """The CRM uses a status that nobody has mapped."""
    woo_id, crm_id = order(world, 1)
    moved(world, crm_id, "paid", "awaiting_pickup")
    return woo_id


def dead(world: World, settings: Any) -> int:
    """The shop fails at each write, until the attempts are used up."""
    woo_id, crm_id = order(world, 2)
    settings.RETRY_MAX_ATTEMPTS = 3
    world.shop.faults.add("500", method="PUT")
    moved(world, crm_id, "paid")
    world.shop.faults.clear()
    return woo_id


def fell_behind(world: World) -> int:
    """The CRM moved the order and its webhook was lost."""
    woo_id, crm_id = order(world, 3)
    moved(world, crm_id, "paid")
    world.crm.set_status(crm_id, "shipped", notify=False)
    return woo_id


def a_day(world: World, settings: Any) -> None:
    """All of the above, with what the schedules found and people did not let in."""
    shipped_then_set_back(world)
    parked(world)
    dead(world, settings)
    late = fell_behind(world)
    moved(world, order(world, 4)[1], "on_hold")
    moved(world, order(world, 5)[1], "paid", "cancelled")
    deliveries.post(deliveries.WOO, b'{"id": 1}', {"X-WC-Webhook-Signature": "bm90IHJpZ2h0"})
    deliveries.post(deliveries.CRM, b"{}", {})
    link = world.link(late)
    now = timezone.now()
    DriftFinding.objects.create(
        kind=DriftFinding.Kind.STATUS,
        woo_id=late,
        crm_order_id=link.crm_order_id,
        shop="processing",
        crm="shipped",
        found_at=now - timedelta(hours=2),
    )
    Heartbeat.objects.create(worker="bridge-1/4711", at=now)
    SideState.objects.update(swept_at=now - timedelta(minutes=3))
    raise_alarm(
        "webhook:order.updated",
        "Webhook order.updated: the shop has disabled it after too many failed deliveries.",
        "Repair it, here or with `python manage.py shop_webhooks repair`. Reconcile finds what was missed.",
    )


def the_day_before(seed: int = 7) -> None:
    """Twenty-three hours of traffic that went well, for the charts: rows only, nothing is called."""
    dice, now = random.Random(seed), timezone.now()
    rows = []
    for hours in range(1, 24):
        busy = 30 + 25 * math.sin((now.hour - hours - 9) / 24 * 2 * math.pi)
        for number in range(int(busy + dice.random() * 12)):
            at = now - timedelta(hours=hours, seconds=dice.randrange(3000))
            shop = number % 2 == 0
            rows.append(
                WebhookEvent(
                    side="shop" if shop else "crm",
                    source="woocommerce" if shop else "crm",
                    topic="order.updated" if shop else "order.status_changed",
                    order_ref=f"{700 + number}" if shop else f"C-{700 + number}",
                    dedupe_key=f"before-{hours}-{number}",
                    delivery_id=f"{hours:02d}{number:04d}",
                    signed_by="woocommerce key 1" if shop else "crm key 1",
                    state="done",
                    outcome=dice.choice(
                        ["updated", "echo", "no_change"] if shop else ["applied", "applied", "no_change"]
                    ),
                    reason="Both sides agree." if shop else "The CRM moved the order, and the lifecycle allows it.",
                    received_at=at,
                    finished_at=at + timedelta(seconds=0.2 + dice.random() * (3 if hours % 7 == 0 else 0.8)),
                    next_attempt_at=None,
                )
            )
    rows.sort(key=lambda row: row.received_at)
    WebhookEvent.objects.bulk_create(rows)
