"""Statuses of the CRM are mapped as it tells them now: to one of the shop, several to the same, or not applied."""

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from orders.models import OrderLink, StatusRule
from orders.rules import current_lifecycle
from sync.backoffice import comparison
from sync.jobs import drift, engine
from sync.models import DriftFinding
from tests import pipeline
from tests.factories import WebhookEventFactory
from tests.people import signed_in
from tests.sync.conftest import TwoSides

PAGE = reverse("admin:webhooks_bridge_statuses", args=[1])


@pytest.fixture
def manager(two_sides: TwoSides) -> Client:
    return signed_in("manager")


def save(manager: Client, **chosen: str) -> str:
    """Asks both sides, changes some of the choices, and saves all."""
    asked = manager.post(PAGE, {"ask": "1"})
    form = asked.context["form"]
    data = {name: form.fields[name].initial for name in form.fields}
    data |= {name: chosen[status] for name, status in form.names.items() if status in chosen}
    return manager.post(PAGE, data, follow=True).content.decode()


def rules() -> dict[str, str]:
    return dict(StatusRule.objects.filter(bridge=1).values_list("crm_status", "woo_status"))


def test_the_crms_own_statuses_are_offered_and_mapped(manager: Client) -> None:
    shown = manager.post(PAGE, {"ask": "1"}).content.decode()
    assert "The CRM named 11" in shown and "Returned (returned)" in shown
    assert "3 status rules were changed" in save(manager, returned="refunded", delivered="-", failed="")
    known = rules()
    assert (known["returned"], known["refunded"], known["delivered"]) == ("refunded", "refunded", "")
    assert "failed" not in known and StatusRule.objects.get(crm_status="returned").critical
    assert "0 status rules were changed" in save(manager)
    assert rules() == known


def test_a_stage_of_a_pipeline_is_a_status_of_two_parts(
    manager: Client, two_sides: TwoSides, monkeypatch: pytest.MonkeyPatch
) -> None:
    stages = [{"name": "42/won", "label": "Shop: Won"}, {"name": "42/lost", "label": "Shop: Lost"}]
    monkeypatch.setattr("sync.sandbox.crm.STATUSES", stages)
    save(manager, **{"42/won": "completed", "42/lost": "-"})
    assert rules()["42/won"] == "completed" and rules()["42/lost"] == ""


def test_a_crm_that_does_not_tell_its_statuses_has_the_usual_ones(manager: Client, two_sides: TwoSides) -> None:
    two_sides.crm.faults.add("422", path="/statuses")
    assert "does not tell its own" in manager.post(PAGE, {"ask": "1"}).content.decode()


def test_a_status_that_is_not_applied_moves_nothing_and_is_no_difference(manager: Client, two_sides: TwoSides) -> None:
    save(manager, shipped="-")
    woo_id = two_sides.shop.create_order()["id"]
    WebhookEventFactory(order_ref=str(woo_id))
    while pipeline.work_once():
        pass
    link = OrderLink.objects.get()
    two_sides.crm.set_status(link.crm_order_id, "shipped", notify=False)
    event = WebhookEventFactory(side="crm", source="crm", topic="order.status_changed", order_ref=link.crm_order_id)
    while pipeline.work_once():
        pass
    event.refresh_from_db()
    link.refresh_from_db()
    assert (event.outcome, link.crm_status) == ("no_change", "shipped")
    assert "which the status map does not apply: 'pending' stays" in event.reason
    assert two_sides.shop.orders[woo_id]["status"] == "pending"
    assert engine.carry_out(drift.start(actor="anna")) and not DriftFinding.objects.exists()
    compared = comparison.compare(link, current_lifecycle())
    assert compared.agree and not any(row.differs for row in compared.rows if row.name == "Status in the shop")
    two_sides.crm.set_status(link.crm_order_id, "paid", notify=False)
    WebhookEventFactory(side="crm", source="crm", topic="order.status_changed", order_ref=link.crm_order_id)
    while pipeline.work_once():
        pass
    assert two_sides.shop.orders[woo_id]["status"] == "processing"


def test_a_rule_that_is_not_applied_is_edited_in_the_list(manager: Client, settings: Any) -> None:
    settings.WOO_URL = ""
    rule = StatusRule.objects.get(bridge=1, crm_status="new")
    change = reverse("admin:orders_statusrule_change", args=[rule.pk])
    manager.post(change, {"crm_status": "new", "woo_status": ""})
    rule.refresh_from_db()
    assert (rule.woo_status, str(rule)) == ("", "new → not applied")
    assert current_lifecycle().left_alone == {"new"} and "new" not in current_lifecycle().status_map
