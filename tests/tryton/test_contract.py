"""The Tryton backend does what every backend must do, against a real server."""

from functools import partial

import pytest

from sync.clients import crm as crm_backends
from sync.clients.crm.tryton import TrytonCrm
from sync.clients.crm.tryton.document import COMPOSER
from tests.sync.crm_contract import BatchContract, Stage
from tests.tryton.server import Database


class TestTrytonCrm(BatchContract):
    @pytest.fixture
    def stage(self, database: Database) -> Stage:
        return Stage(
            connect=partial(crm_backends.connect_to, TrytonCrm, database.access()),
            compose=COMPOSER.document,
            move=database.move,
            take_away=database.server.stop,
            missing_id="999999",
            status="cancelled",
        )
