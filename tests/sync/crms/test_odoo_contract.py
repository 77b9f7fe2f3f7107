"""The Odoo backend does what every backend must do, with the protocols of 16, 17 and 19."""

from collections.abc import Iterator

import pytest

from sync.clients.crm.base import access
from sync.clients.crm.odoo import OdooCrm
from sync.sandbox.crms.odoo import OdooStandIn
from tests.sync.crm_contract import BatchContract, Stage


class TestOdooCrm(BatchContract):
    @pytest.fixture(params=(16, 17, 19))
    def odoo(self, request: pytest.FixtureRequest) -> Iterator[OdooStandIn]:
        server = OdooStandIn(version=request.param)
        server.start()
        yield server
        server.stop()

    @pytest.fixture
    def stage(self, odoo: OdooStandIn) -> Stage:
        return Stage(
            kind=OdooCrm,
            access=access(OdooCrm.schema, {"url": odoo.url, **odoo.settings}),
            move=odoo.set_status,
            take_away=odoo.stop,
            missing_id="999999",
            status="sale",
        )
