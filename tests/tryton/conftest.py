"""One Tryton for the tests of this folder, and an empty database for each."""

import os
from collections.abc import Iterator
from typing import Any

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


@pytest.fixture(autouse=True)
def patience(settings: Any) -> None:
    """On a machine that is busy, a real server takes its time."""
    settings.HTTP_TIMEOUT = 60.0


@pytest.fixture
def database(tryton_server: Tryton) -> Database:
    if tryton_server.process is None:  # a test has taken it away
        tryton_server.start()
    return tryton_server.emptied()
