"""What HubSpot does in part, or twice: batches with errors, many lines, and two that set up one account."""

from collections.abc import Iterator
from typing import Any

import pytest

from sync.clients.crm.hubspot.api import Api
from sync.clients.errors import Rejected
from sync.sandbox.crms.hubspot import HubspotStandIn
from sync.sandbox.server import Answer
from tests.sync.hubspot_stage import connect, document, hubspot, order, started

__all__ = ["hubspot"]


def line(number: int) -> dict[str, Any]:
    return {"id": 1000 + number, "name": f"Pot {number}", "sku": f"POT-{number}", "quantity": 1, "total": "1.00"}


def test_lines_that_were_not_joined_to_the_order_are_no_success(
    hubspot: HubspotStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    crm = connect(hubspot)
    made, _ = crm.create("14", document(crm, order()))
    told = document(crm, order(line_items=[line(1), line(2)]))
    with monkeypatch.context() as patched:
        error = {"status": "error", "category": "VALIDATION_ERROR", "message": "Too many associations", "context": {}}
        body = {"status": "COMPLETE", "results": [], "numErrors": 1, "errors": [error]}
        patched.setattr(HubspotStandIn, "_associate", lambda *_: Answer(207, body))
        with pytest.raises(Rejected, match="Too many associations"):
            crm.update(made.crm_order_id, told)
    crm.update(made.crm_order_id, told)
    there = hubspot.records["line_items"].all.keys()
    assert len(there & {*hubspot.orders.all[made.crm_order_id].links["line_items"]}) == 4


def test_every_line_of_a_long_order_names_its_product(hubspot: HubspotStandIn) -> None:
    for number in range(1, 121):
        hubspot.records["products"].add({"name": f"Pot {number}", "hs_sku": f"POT-{number}"})
    crm = connect(hubspot)
    made, _ = crm.create("14", document(crm, order(line_items=[line(number) for number in range(1, 301)])))
    linked = hubspot.orders.all[made.crm_order_id].links["line_items"]
    known = [one for one in linked if hubspot.records["line_items"].all[one].properties.get("hs_product_id")]
    assert (len(linked), len(known)) == (302, 120), "with shipping and tax"


@pytest.fixture
def bare() -> Iterator[HubspotStandIn]:
    yield from started(is_prepared=False)


def test_two_that_make_the_properties_at_once_both_succeed(
    bare: HubspotStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, listed = connect(bare), connect(bare), Api.properties

    def properties(api: Api, kind: str) -> Any:
        found = listed(api, kind)
        if api is first.api:  # before it makes what it misses, another one does
            second.prepare()
        return found

    monkeypatch.setattr(Api, "properties", properties)
    assert not first.prepare()
    assert not first.lacks()
