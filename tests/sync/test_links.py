"""From every page of an order to its page in the shop and in the CRM; and by its own number to all of them."""

import json
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.core.management import call_command
from django.test import Client

from sync.backoffice import links
from sync.models import DriftFinding, TodoItem
from tests.factories import OrderLinkFactory, WebhookEventFactory
from webhooks.models import Bridge, Connection

pytestmark = pytest.mark.django_db

IN_SHOP = "https://shop.example/wp-admin/admin.php?page=wc-orders&action=edit&id=14"
IN_CRM = "https://crm.example/orders/C%2F9?view=full"


@pytest.fixture(autouse=True)
def sides(settings: Any) -> None:
    settings.WOO_URL, settings.CRM_URL = "https://shop.example", "https://api.crm.example"
    settings.CRM_OPTIONS = {"order_url": "https://crm.example/orders/{id}?view=full"}


@pytest.fixture
def order(db: None) -> Any:
    return OrderLinkFactory(woo_id=14, crm_order_id="C/9", number="WC-2026-0042")


def shown(path: str) -> str:
    user = User.objects.create_user("viewer", password="x", is_staff=True)
    user.groups.add(Group.objects.get(name="viewer"))
    client = Client()
    client.force_login(user)
    return client.get(path).content.decode().replace("&amp;", "&")


def test_both_pages_of_an_order(order: Any) -> None:
    assert links.shop_page(order.bridge, 14) == IN_SHOP
    assert links.crm_page(order.bridge, "C/9") == IN_CRM


@pytest.mark.parametrize("template", ["", "javascript:alert({id})", "//crm.example/{id}", "/orders/{id}"])
def test_what_is_no_address_is_no_link(settings: Any, template: str) -> None:
    settings.CRM_OPTIONS = {"order_url": template}
    assert links.crm_page(Bridge.objects.get(), "C-1") == ""


def test_what_is_not_known_is_no_link(settings: Any) -> None:
    bridge = Bridge.objects.get()
    assert (links.shop_page(bridge, None), links.crm_page(bridge, "")) == ("", "")
    settings.WOO_URL, settings.CRM_BACKEND = "", "nobody.Knows"
    assert (links.shop_page(bridge, 14), links.crm_page(bridge, "C-1")) == ("", "")
    assert links.pages(bridge, 14, "C-1") == "–"


def test_each_bridge_leads_to_its_own_shop_and_crm(db: None) -> None:
    shop = Connection.objects.create(
        slug="b", name="B", kind="woocommerce", settings={"url": "https://b.example/shop/"}
    )
    bridge = Bridge.objects.create(slug="b", name="B", shop=shop)
    assert links.shop_page(bridge, 7).startswith("https://b.example/shop/wp-admin/")
    assert links.crm_page(bridge, "C-1") == ""
    bridge.crm = Connection.objects.create(
        slug="c", name="C", kind="rest", settings={"url": "https://c.example", "order_url": "https://c.example/o/{id}"}
    )
    assert links.crm_page(bridge, "C-1") == "https://c.example/o/C-1"


@pytest.mark.parametrize("page", ["order", "orders", "event", "drift", "finding", "todo", "item"])
def test_every_page_of_an_order_leads_to_both(order: Any, page: str) -> None:
    event = WebhookEventFactory(order_ref="14")
    finding = DriftFinding.objects.create(kind="status", woo_id=14, crm_order_id="C/9")
    item = TodoItem.objects.create(cause="parked", order="woo:14", woo_id=14, crm_order_id="C/9", words="look")
    path = {
        "order": f"orders/orderlink/{order.pk}/change/",
        "orders": "orders/orderlink/",
        "event": f"webhooks/webhookevent/{event.pk}/change/",
        "drift": "sync/driftfinding/",
        "finding": f"sync/driftfinding/{finding.pk}/change/",
        "todo": "sync/todoitem/",
        "item": f"sync/todoitem/{item.pk}/change/",
    }[page]
    html = shown(f"/admin/{path}")
    for url in (IN_SHOP, IN_CRM):
        assert f'href="{url}" target="_blank" rel="noopener noreferrer"' in html


@pytest.mark.parametrize("term", ["14", "C/9", "WC-2026-0042"])
def test_explain_takes_either_id_or_the_number_and_names_both_pages(order: Any, term: str) -> None:
    out = StringIO()
    call_command("explain", term, "--json", stdout=out)
    told = json.loads(out.getvalue())
    assert (told["woo_id"], told["number"]) == (14, "WC-2026-0042")
    assert (told["shop_url"], told["crm_url"]) == (IN_SHOP, IN_CRM)
    out = StringIO()
    call_command("explain", term, stdout=out)
    assert IN_SHOP in out.getvalue() and IN_CRM in out.getvalue()
