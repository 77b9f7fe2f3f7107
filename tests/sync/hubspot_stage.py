"""What the tests of HubSpot share: its stand-in, and a backend that is connected to it."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from sync.clients import crm as crm_backends
from sync.clients.crm.base import Access, access
from sync.clients.crm.cache import forget_all
from sync.clients.crm.hubspot import HubspotCrm
from sync.clients.http import CallRecord, ignore
from sync.sandbox.crms.hubspot import HubspotStandIn


def access_to(hubspot: HubspotStandIn, **more: str) -> Access:
    values = {"url": hubspot.url, "token": hubspot.token, "object": hubspot.kind, **more}
    return access(HubspotCrm.schema, values)


def connect(hubspot: HubspotStandIn, on_call: Callable[[CallRecord], None] = ignore, **more: str) -> HubspotCrm:
    crm = crm_backends.connect_to(HubspotCrm, access_to(hubspot, **more), on_call)
    assert isinstance(crm, HubspotCrm)
    return crm


def started(kind: str = "orders", *, is_prepared: bool = True) -> Iterator[HubspotStandIn]:
    forget_all()
    one = HubspotStandIn(kind=kind, is_prepared=is_prepared)
    one.start()
    yield one
    one.stop()


@pytest.fixture
def hubspot() -> Iterator[HubspotStandIn]:
    yield from started()


def document(crm: HubspotCrm, order: Mapping[str, Any]) -> Mapping[str, Any]:
    return crm.composer(crm.access).document(order)


def order(**changes: Any) -> dict[str, Any]:
    """As the shop shows it: 2 × 10.00 and shipping of 4.90 with 19 % each."""
    return {
        "id": 14,
        "number": "14",
        "status": "processing",
        "currency": "EUR",
        "total": "29.63",
        "total_tax": "4.73",
        "customer_id": 7,
        "customer_note": "Bitte klingeln 🚪",
        "date_created_gmt": "2026-11-24T03:12:09",
        "billing": {
            "first_name": "Jürgen <b>",
            "last_name": "Müller 王",
            "email": "Juergen@example.test",
            "phone": "+49 30 1",
            "address_1": "Hauptstraße 1",
            "postcode": "10115",
            "city": "Berlin",
            "country": "DE",
        },
        "line_items": [{"id": 3, "name": "Pot", "sku": "LAB-1", "quantity": 2, "total": "20.00", "total_tax": "3.80"}],
        "shipping_lines": [{"id": 4, "method_title": "DHL", "total": "4.90", "total_tax": "0.93"}],
        **changes,
    }


def contact(email: str = "", **more: str) -> dict[str, Any]:
    """A billing address by which a contact is looked for."""
    return {"billing": {"first_name": "Ann", "email": email, **more}, "customer_id": 0}
