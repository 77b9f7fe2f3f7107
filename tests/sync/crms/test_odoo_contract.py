"""The Odoo backend does what every backend must do, with the protocols of 16, 17 and 19."""

from collections.abc import Iterator
from functools import partial

import pytest

from sync.clients import crm as crm_backends
from sync.clients.crm.base import access
from sync.clients.crm.odoo import OdooCrm
from sync.clients.crm.odoo.document import COMPOSER
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
        def move(crm_order_id: str, status: str) -> None:
            odoo.wait_a_second()
            odoo.set_status(crm_order_id, status)

        to = access(OdooCrm.schema, {"url": odoo.url, **odoo.settings})
        return Stage(
            connect=partial(crm_backends.connect_to, OdooCrm, to),
            compose=COMPOSER.document,
            move=move,
            take_away=odoo.stop,
            missing_id="999999",
            status="sale",
        )
