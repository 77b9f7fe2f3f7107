"""ERPNext is connected in the browser, step by step as docs/crms/erpnext.md says: a site that has nothing of ours."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from sync.clients.crm.erpnext.hook import TEMPLATE
from sync.clients.crm.erpnext.schema import SCHEMA
from sync.clients.crm.erpnext.setup import FIELDS
from sync.sandbox.crms.erpnext import ErpnextStandIn
from tests.sync.connecting import manager, page
from webhooks.models import Connection

__all__ = ["manager"]

pytestmark = pytest.mark.django_db(transaction=True)

PAGE = (Path(__file__).parents[2] / "docs" / "crms" / "erpnext.md").read_text()


@pytest.fixture
def erpnext() -> Iterator[ErpnextStandIn]:
    one = ErpnextStandIn()
    one.documents.kept["Custom Field"].clear()
    del one.documents.kept["Item"]["WOO-ITEM"]
    one.start()
    yield one
    one.stop()


def add(client: Client, erpnext: ErpnextStandIn, **more: str) -> Any:
    defaults = {one.name: one.default for one in SCHEMA if one.default}
    values = {**defaults, **erpnext.settings, "name": "ERP", "url": erpnext.url, **more}
    return client.post(page("connection_add_crm", "erpnext"), values, follow=True)


def test_its_form_asks_for_all_that_the_page_names(manager: Client) -> None:
    form = manager.get(page("connection_add_crm", "erpnext")).content.decode()
    for one in SCHEMA:
        assert f'name="{one.name}"' in form
        assert one.variable in PAGE, "the page tells of each setting"


def test_a_wrong_key_is_told_and_nothing_is_stored(manager: Client, erpnext: ErpnextStandIn) -> None:
    answer = add(manager, erpnext, token="nonsense:nonsense").content.decode()
    assert "does not know the API key" in answer
    assert "KEY:SECRET" in answer
    assert not Connection.objects.filter(kind="erpnext").exists()


def test_what_the_site_lacks_is_named_made_and_gone(manager: Client, erpnext: ErpnextStandIn) -> None:
    shown = add(manager, erpnext).content.decode()
    assert "ERP is connected" in shown
    assert "no field woo_order_id" in shown
    row = Connection.objects.get(kind="erpnext")
    checks = page("connection_examine", row.pk)
    first = manager.post(checks).content.decode()
    assert "no field woo_order_id" in first
    assert "no item WOO-ITEM" in first
    made = manager.post(checks, {"make": "yes"}).content.decode()
    assert "The item WOO-ITEM was made in ERPNext." in made
    assert "no field" not in made
    assert {one["fieldname"] for one in erpnext.documents.custom("Sales Order")} == {*FIELDS}


def test_a_user_who_may_not_make_fields_is_told_so(manager: Client, erpnext: ErpnextStandIn) -> None:
    add(manager, erpnext)
    erpnext.may_not = {"Custom Field"}
    row = Connection.objects.get(kind="erpnext")
    made = manager.post(page("connection_examine", row.pk), {"make": "yes"}).content.decode()
    assert "roles that docs/crms/erpnext.md names" in made
    assert not erpnext.documents.custom("Sales Order")


def test_the_checks_show_the_webhook_ready_to_paste(manager: Client, erpnext: ErpnextStandIn) -> None:
    add(manager, erpnext)
    row = Connection.objects.get(kind="erpnext")
    shown = manager.post(page("connection_examine", row.pk)).content.decode()
    for words in ("on_change", f"/webhooks/crm/{row.slug}/", "{{ doc.name }}", "{{ doc.woo_order_id or"):
        assert words in shown


def test_the_page_shows_the_same_template_and_fields() -> None:
    assert TEMPLATE in PAGE
    assert all(name in PAGE for name in FIELDS)
    assert all(variable in PAGE for variable in ("CRM_BACKEND=erpnext", "CRM_WEBHOOK_SECRETS"))
