"""The Tryton backend does what every backend must do, against a real server."""

import pytest

from sync.clients.crm.tryton import TrytonCrm
from tests.sync.crm_contract import BatchContract, Stage
from tests.tryton.server import Database


class TestTrytonCrm(BatchContract):
    @pytest.fixture
    def stage(self, database: Database) -> Stage:
        return Stage(
            kind=TrytonCrm,
            access=database.access(),
            move=database.move,
            take_away=database.server.stop,
            missing_id="999999",
            status="cancelled",
        )
