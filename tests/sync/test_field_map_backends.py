"""A field map goes all the way with each backend; with Tryton in tests/tryton."""

from collections.abc import Iterator
from typing import Any

import pytest

from sync.clients.crm.cache import forget_all
from sync.clients.crm.defaults import ensure_rules
from sync.sandbox.crms.erpnext import ErpnextStandIn
from sync.sandbox.crms.hubspot import HubspotStandIn
from sync.sandbox.crms.odoo import OdooStandIn
from sync.sandbox.crms.odoo import records as odoo_records
from tests.sync.conftest import TwoSides
from tests.sync.mapped import Mapped, goes_all_the_way

OURS = ("x_channel", "x_day", "x_skus")


@pytest.fixture
def stand_in(request: Any, two_sides: TwoSides, settings: Any) -> Iterator[Any]:
    backend, made = request.param
    one = made()
    one.start()
    settings.CRM_BACKEND, settings.CRM_URL = backend, one.url
    settings.CRM_TOKEN = getattr(one, "token", "") or one.settings["token"]
    options = getattr(one, "settings", {})
    settings.CRM_OPTIONS = {name: value for name, value in options.items() if name not in ("token", "webhook_secrets")}
    forget_all()
    ensure_rules(backend)
    yield one
    one.stop()
    forget_all()


def test_with_rest(two_sides: TwoSides) -> None:
    def shown(crm_order_id: str) -> Any:
        return two_sides.crm.orders[crm_order_id]["order"].get("fields", {})

    targets = ("x_payment_terms", "x_delivery_day", "x_gift_note")
    goes_all_the_way(Mapped(shop=two_sides.shop, shown=shown, targets=targets, all_meta_are_told=True))


@pytest.fixture
def columns(monkeypatch: pytest.MonkeyPatch) -> None:
    added = {"x_channel": "char", "x_day": "date", "x_skus": "char"}
    monkeypatch.setitem(odoo_records.MODELS, odoo_records.SALE, {**odoo_records.MODELS[odoo_records.SALE], **added})


@pytest.mark.parametrize("stand_in", [("odoo", OdooStandIn)], indirect=True, ids=["odoo"])
def test_with_odoo(columns: None, stand_in: OdooStandIn, two_sides: TwoSides) -> None:
    def shown(crm_order_id: str) -> Any:
        return stand_in.records.tables[odoo_records.SALE][int(crm_order_id)]

    goes_all_the_way(Mapped(shop=two_sides.shop, shown=shown, targets=OURS))


@pytest.mark.parametrize("stand_in", [("erpnext", ErpnextStandIn)], indirect=True, ids=["erpnext"])
def test_with_erpnext(stand_in: ErpnextStandIn, two_sides: TwoSides) -> None:
    for name in OURS:
        stand_in.documents.custom_field({"dt": "Sales Order", "fieldname": name, "label": name, "fieldtype": "Data"})
    goes_all_the_way(Mapped(shop=two_sides.shop, shown=stand_in.orders.__getitem__, targets=OURS))


@pytest.mark.parametrize("stand_in", [("hubspot", HubspotStandIn)], indirect=True, ids=["hubspot"])
def test_with_hubspot(stand_in: HubspotStandIn, two_sides: TwoSides) -> None:
    orders = stand_in.records["orders"]
    for name in OURS:
        orders.define({"name": name, "label": name, "type": "date" if name == "x_day" else "string"})

    def shown(crm_order_id: str) -> Any:
        return orders.all[crm_order_id].properties

    goes_all_the_way(Mapped(shop=two_sides.shop, shown=shown, targets=OURS))
