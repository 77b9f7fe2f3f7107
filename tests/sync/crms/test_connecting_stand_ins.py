"""What docs/crms/ tells to click works with each stand-in: the form, the bridge, its statuses, a dry run, an order."""

from collections.abc import Iterator

import pytest
from django.test import Client

from orders.models import OrderLink, StatusRule
from sync.clients.crm import backend
from sync.sandbox.crms import STAND_INS, stand_in
from sync.sandbox.crms.base import StandIn
from sync.sandbox.shop import SandboxShop
from tests import pipeline
from tests.factories import WebhookEventFactory
from tests.sync.connecting import manager, page, shop
from webhooks.credentials import decrypt
from webhooks.models import Bridge, Connection

__all__ = ["manager", "shop"]

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(params=STAND_INS)
def server(request: pytest.FixtureRequest) -> Iterator[StandIn]:
    one = stand_in(request.param)()
    one.start()
    yield one
    one.stop()


@pytest.fixture
def name(request: pytest.FixtureRequest, server: StandIn) -> str:
    return next(name for name in STAND_INS if stand_in(name) is type(server))


def test_a_crm_is_connected_bridged_and_gets_an_order(
    manager: Client, shop: SandboxShop, server: StandIn, name: str
) -> None:
    keys = {"name": "Shop B", "url": shop.url, "consumer_key": "ck_test", "consumer_secret": "cs_test"}
    manager.post(page("connection_type_keys"), keys)
    schema = backend(name).schema
    values = {one.name: one.default for one in schema}
    values |= {"name": "CRM B", "url": f"{server.url}{type(server).path}", **server.settings}
    secrets = [one.name for one in schema if one.secret and values[one.name]]
    wrong = manager.post(page("connection_add_crm", name), {**values, "token": "wrong-token-of-somebody"}, follow=True)
    assert b"wrong-token-of-somebody" not in wrong.content
    assert not Connection.objects.filter(slug="crm-b").exists()
    done = manager.post(page("connection_add_crm", name), values, follow=True)
    assert b"CRM B is connected" in done.content, done.context["form"].errors
    crm = Connection.objects.get(slug="crm-b")
    assert {*secrets} <= decrypt(crm.credentials).keys()
    assert not [one for one in secrets if values[one] in done.content.decode()]

    ends = {"shop": str(Connection.objects.get(slug="shop-b").pk), "crm": str(crm.pk)}
    manager.post(page("bridge_new"), {"name": "B", "external_id_prefix": "b-", **ends}, follow=True)
    bridge = Bridge.objects.get(slug="b")
    statuses = manager.get(page("bridge_statuses", bridge.pk))
    assert {one.name for one in backend(name).default_statuses} <= set(statuses.context["form"].names.values())
    rules = dict(StatusRule.objects.filter(bridge=bridge).values_list("crm_status", "woo_status"))
    assert rules == {one.name: one.shop_status for one in backend(name).default_statuses if one.shop_status}
    names = statuses.context["form"].names
    manager.post(page("bridge_statuses", bridge.pk), {at: rules.get(one) or "on-hold" for at, one in names.items()})

    woo_id = int(shop.create_order()["id"])
    shown = manager.post(page("bridge_dry_run", bridge.pk), {"orders": "1"})
    assert b"What would be done with 1 order" in shown.content
    assert server.shown() == []
    manager.post(page("bridge_switch_on", bridge.pk), {"reason": "A person says so", "confirmed": "yes"})
    event = WebhookEventFactory(order_ref=str(woo_id), bridge=bridge)
    while pipeline.work_once():
        pass
    event.refresh_from_db()
    assert (event.state, event.outcome) == ("done", "created"), event.reason
    [made] = server.shown()
    assert OrderLink.objects.get(bridge=bridge).crm_order_id == made.crm_order_id
    assert made.external_id.endswith(f"b-{woo_id}")
