"""What a CRM's account lacks is named by the checks, and made when a person says so: by a command or by a button."""

import json
from collections.abc import Iterator
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from orders.models import StaffAction
from sync.sandbox.crms.hubspot import HubspotStandIn
from sync.sandbox.shop import SandboxShop
from tests.people import signed_in
from tests.sync.connecting import manager, page, shop
from tests.sync.hubspot_stage import started
from webhooks.models import Bridge, Connection

__all__ = ["manager", "shop"]

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def hubspot(settings: Any) -> Iterator[HubspotStandIn]:
    for one in started(is_prepared=False):
        settings.CRM_BACKEND, settings.CRM_URL, settings.CRM_TOKEN = "hubspot", one.url, one.token
        yield one


def doctor(*options: str) -> tuple[str, bool]:
    said = StringIO()
    try:
        call_command("doctor", *options, stdout=said)
    except CommandError:
        return said.getvalue(), False
    return said.getvalue(), True


def test_the_doctor_names_what_is_missing_and_makes_it_only_when_told(hubspot: HubspotStandIn) -> None:
    said, _ = doctor()
    assert "have no property woo_order_id" in said
    assert "woo_order_id" not in hubspot.orders.definitions
    said, _ = doctor("--fix")
    assert "fixed    The property woo_order_id of HubSpot's orders was made." in said
    assert "have no property" not in said
    assert hubspot.orders.definitions["woo_order_id"]["hasUniqueValue"]
    said, _ = doctor("--fix", "--json")
    assert json.loads(said)["made"] == []


def test_what_the_doctor_cannot_make_is_told(hubspot: HubspotStandIn) -> None:
    hubspot.missing_scopes = {"crm.schemas.line_items.write"}
    said, _ = doctor("--fix")
    assert "nothing could be made there. The service key lacks a scope: crm.schemas.line_items.write." in said


def connected(client: Client, hubspot: HubspotStandIn) -> Connection:
    values = {"name": "Hub", "url": hubspot.url, "token": hubspot.token, "object": "orders"}
    done = client.post(page("connection_add_crm", "hubspot"), values, follow=True)
    assert b"Hub is connected" in done.content
    return Connection.objects.get(slug="hub")


def test_the_check_of_a_connection_names_it_and_a_button_makes_it(manager: Client, hubspot: HubspotStandIn) -> None:
    row = connected(manager, hubspot)
    shown = manager.post(page("connection_examine", row.pk)).content.decode()
    assert "have no property woo_order_id" in shown
    assert "Make what it lacks" in shown
    made = manager.post(page("connection_examine", row.pk), {"make": "yes"}).content.decode()
    assert "The property woo_order_id of HubSpot&#x27;s orders was made." in made
    assert "Make what it lacks" not in made
    assert StaffAction.objects.filter(action="connection: prepare", result="3").count() == 1


def test_who_may_not_enter_keys_makes_nothing_there(manager: Client, hubspot: HubspotStandIn) -> None:
    row = connected(manager, hubspot)
    signed_in("operator").post(page("connection_examine", row.pk), {"make": "yes"})
    assert "woo_order_id" not in hubspot.orders.definitions


def test_a_scope_that_is_missing_is_told_on_the_page(manager: Client, hubspot: HubspotStandIn) -> None:
    row = connected(manager, hubspot)
    hubspot.missing_scopes = {"crm.schemas.orders.write"}
    shown = manager.post(page("connection_examine", row.pk), {"make": "yes"}).content.decode()
    assert "crm.schemas.orders.write" in shown


def test_its_stages_are_mapped_by_their_names_when_it_is_bridged(
    manager: Client, hubspot: HubspotStandIn, shop: SandboxShop
) -> None:
    """The last step of docs/crms/hubspot.md."""
    row = connected(manager, hubspot)
    manager.post(page("connection_examine", row.pk), {"make": "yes"})
    keys = {"name": "Shop B", "url": shop.url, "consumer_key": "ck_test", "consumer_secret": "cs_test"}
    manager.post(page("connection_type_keys"), keys)
    both = {"shop": str(Connection.objects.get(slug="shop-b").pk), "crm": str(row.pk)}
    shown = manager.post(page("bridge_new"), {"name": "B", "external_id_prefix": "b-", **both}, follow=True)
    assert "Order Pipeline: Shipped" in shown.content.decode()
    bridge = Bridge.objects.get(slug="b")
    ran = manager.post(page("bridge_dry_run", bridge.pk), {"orders": "2"}, follow=True)
    assert ran.status_code == 200
    assert hubspot.orders.all == {}, "a dry run writes nothing"
