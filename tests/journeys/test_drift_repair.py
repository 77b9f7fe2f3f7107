"""Findings of drift are repaired from their list: first a dry run, then the action."""

import html
from typing import Any

import pytest
from django.test import Client

from orders.models import OrderLink, StaffAction
from sync.admin import findings
from sync.models import DriftFinding
from tests.journeys.conftest import World
from tests.journeys.test_dry_run import everything
from tests.journeys.test_own_events import linked, writes
from tests.people import signed_in
from webhooks.models import WebhookEvent


def repair(client: Client, links: list[OrderLink], **said: str) -> str:
    found = [DriftFinding.objects.get_or_create(kind="status", woo_id=link.woo_id)[0].pk for link in links]
    chosen: dict[str, Any] = {"action": "repair_selected", "_selected_action": found, **said}
    answer = client.post("/admin/sync/driftfinding/", chosen, follow=True)
    assert answer.status_code == 200
    return html.unescape(answer.content.decode())


def everything_but_the_audit() -> dict[str, Any]:
    """That both sides were looked at is recorded."""
    return {name: rows for name, rows in everything().items() if name not in ("StaffAction", "ChainHead")}


def test_a_repair_is_a_dry_run_until_it_has_a_reason(world: World) -> None:
    links = [linked(world, "paid", "on-hold"), linked(world, "cancelled", "completed")]
    client = signed_in("support")
    repair(client, links)
    before, written = everything_but_the_audit(), len(writes(world))
    for said in ({}, {"confirmed": "yes", "reason": " "}):
        page = repair(client, links, **said)
        assert f"Order {links[0].woo_id}: something would be written. shop status: on-hold → processing." in page
        assert f"Order {links[1].woo_id}: the lifecycle would not allow it. " in page
        assert "completed → cancelled is not an allowed move" in page
    assert (everything_but_the_audit(), len(writes(world))) == (before, written)
    looks = StaffAction.objects.filter(action="dry run of a repair", actor="support")
    assert [look.details["orders"] for look in looks] == [[link.woo_id for link in links]] * 3
    calls = len(world.crm.requests)
    assert "A worker was asked to repair 2 orders" in repair(client, links, confirmed="yes", reason="asked")
    assert len(world.crm.requests) == calls
    assert WebhookEvent.objects.filter(source="resync").count() == 2


def test_of_many_the_first_are_looked_at_and_the_rest_counted(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(findings, "FORESEEN", 1)
    links = [linked(world, "paid", "on-hold"), linked(world, "paid", "on-hold")]
    page = repair(signed_in("support"), links)
    assert f"Order {links[0].woo_id}:" in page and f"Order {links[1].woo_id}:" not in page
    assert "1 more orders were not checked" in page


def test_a_side_that_is_away_is_a_line(world: World) -> None:
    link = linked(world, "paid", "on-hold")
    world.crm.stop()
    page = repair(signed_in("support"), [link])
    assert f"Order {link.woo_id}: the result is not known yet. " in page and "cannot be reached" in page
