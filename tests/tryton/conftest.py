"""One Tryton for the tests of this folder, and an empty database for each."""

import os
from collections.abc import Iterator

import pytest

from tests.servers import NotInstalled
from tests.tryton.server import Database, Tryton, tryton


@pytest.fixture(scope="session")
def tryton_server() -> Iterator[Tryton]:
    try:
        with tryton() as server:
            yield server
    except NotInstalled as missing:
        if os.environ.get("CI") or os.environ.get("TRYTON_REQUIRED"):  # nothing skips there
            raise
        pytest.skip(str(missing))


@pytest.fixture
def database(tryton_server: Tryton) -> Database:
    if tryton_server.process is None:  # a test has taken it away
        tryton_server.start()
    return tryton_server.emptied()
