"""The HubSpot backend does what every backend must do, with orders and with deals."""

from collections.abc import Iterator

import pytest

from sync.clients.crm.hubspot import HubspotCrm
from sync.sandbox.crms.hubspot import HubspotStandIn
from tests.sync.crm_contract import BatchContract, Stage
from tests.sync.hubspot_stage import access_to, started

STAGES = {
    "orders": "14a2e10e/aa99e8d0-c1d5-4071-b915-d240bbb1aed9",
    "deals": "default/99001",
}


class _Contract(BatchContract):
    kind: str

    @pytest.fixture
    def hubspot(self) -> Iterator[HubspotStandIn]:
        yield from started(self.kind)

    @pytest.fixture
    def stage(self, hubspot: HubspotStandIn) -> Stage:
        return Stage(
            kind=HubspotCrm,
            access=access_to(hubspot),
            move=hubspot.set_status,
            take_away=hubspot.stop,
            missing_id="999999",
            status=STAGES[self.kind],
        )


class TestOrders(_Contract):
    kind = "orders"


class TestDeals(_Contract):
    kind = "deals"
