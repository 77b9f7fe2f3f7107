"""What all tests share."""

import fcntl
import gc
import os
import sqlite3
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from django.conf import settings
from django.db import connection
from xdist.scheduler import LoadFileScheduling

from orders.append_only import GUARDS
from sync.clients import installation
from sync.clients.paging import batches
from tests import fresh
from tests.journeys.processes import migrate
from webhooks import connections, credentials, wake
from webhooks.durations import durations
from webhooks.refusals import refusals

pytest.register_assert_rewrite("tests.sync.crm_contract")
hypothesis.settings.register_profile("ours", deadline=None)  # no test asserts how long it takes
hypothesis.settings.load_profile("ours")


THREADS_END = 30.0
"""Seconds until a thread that a test began has ended, on a machine that is busy."""
FIRST = (
    "chaos/test_chaos.py",
    "browser/",
    "security/test_secrets.py",
    "journeys/test_cluster.py",
    "install/test_upgrade_of_0_2_0.py",
    "fuzz/test_server.py",
    "install/test_upgrade.py",
    "model/",
    "tryton/",
    "journeys/test_processes.py",
    "security/test_permissions.py",
    "sync/test_process.py",
    "sync/test_bad_orders.py",
    "sync/test_whose.py",
    "security/test_masks.py",
)
"""What takes longest, or waits for processes most, in this order: begun last, it would go on alone while the other
worker idles."""
TOGETHER = ("tests/browser/", "tests/tryton/")
"""One Chromium, closed behind its last test, and one Tryton."""


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Generator[None, object, object]:
    """Marks what depends on which database the tests have (docs/decisions/0069), before `-m` asks for it; and puts the
    slow files first, when all others have had their say: pytest-django sorts by kinds of tests."""
    seen: set[str] = set()
    for item in items:
        function = item.nodeid.partition("[")[0]
        if _uses_the_database(item) and not (item.get_closest_marker("cases_alike") and function in seen):
            item.add_marker("database")
        seen.add(function)
    outcome = yield
    items.sort(key=_turn)
    return outcome


def pytest_collection_finish() -> None:
    """What is there by now stays: looking through it for garbage again and again took a sixth of the time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 50, 100)


class Together(LoadFileScheduling):
    """Each file goes to one worker whole, and so do folders with a server that is long in starting."""

    def _split_scope(self, nodeid: str) -> str:
        return next((folder for folder in TOGETHER if nodeid.startswith(folder)), super()._split_scope(nodeid))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Together | None:
    return Together(config, log) if config.getoption("dist") == "loadfile" else None


def _turn(item: pytest.Item) -> int:
    return next((turn for turn, begin in enumerate(FIRST) if _file(item).startswith(begin)), len(FIRST))


def _file(item: pytest.Item) -> str:
    return item.nodeid.partition("::")[0].removeprefix("tests/")


def _uses_the_database(item: pytest.Item) -> bool:
    fixtures = set(getattr(item, "fixturenames", ()))
    return bool(item.get_closest_marker("django_db") or fixtures & {"db", "transactional_db", "live_server"})


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call() -> Generator[None, object, object]:
    """A wake-up that a thread sends is part of the test: later it would meet the settings of the next one."""
    outcome = yield
    if wake._sender:
        wake._sender.join(THREADS_END)
    return outcome


@pytest.fixture(autouse=True)
def new_process() -> Iterator[None]:
    """Each test begins as a process that has refused nobody yet, and knows nothing of how the sides bear batches or
    whether the broker is there. It has looked whose the database is: who makes a client needs none for that. No thread
    of it lives on in the next one, but those of the pool for calls, and with which playwright writes screenshots."""
    installation.forget()
    installation.believe()
    before = threading.enumerate()
    yield
    refusals.forget()
    durations.forget()
    batches.forget()
    connections.forget_senders()
    connections._decrypted.cache_clear()
    credentials.forget_secrets()
    wake._last = wake._away_until = float("-inf")
    begun = (thread for thread in threading.enumerate() if thread not in before and not thread.daemon)
    left = [thread for thread in begun if not thread.name.startswith(("calls", "asyncio"))]
    for thread in left:
        thread.join(THREADS_END)
    assert not [thread.name for thread in left if thread.is_alive()]


@pytest.fixture(scope="session")
def django_db_modify_db_settings(
    tmp_path_factory: pytest.TempPathFactory, django_db_modify_db_settings_parallel_suffix: Any
) -> None:
    """SQLite in a file, as in production: an in-memory one is shared by all threads and knows no WAL."""
    database = settings.DATABASES["default"]
    if "sqlite" in database["ENGINE"]:
        path: Path = tmp_path_factory.mktemp("database") / "test.sqlite3"
        database.setdefault("TEST", {})["NAME"] = str(path)


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: Any) -> None:
    """The database as the migrations left it is kept for `fresh.restore`."""
    with django_db_blocker.unblock():
        fresh.keep(connection)


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A fresh SQLite database for the processes of a test, which copies it: migrated once for all workers of a run."""
    folder = tmp_path_factory.getbasetemp()
    path = (folder if worker_id == "master" else folder.parent) / "migrated.sqlite3"
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            unfinished = path.with_suffix(".unfinished")
            settings_of_tests = {"DJANGO_SETTINGS_MODULE": "tests.settings", "DATABASE_URL": f"sqlite:///{unfinished}"}
            migrate(os.environ | settings_of_tests)
            with closing(sqlite3.connect(unfinished)) as database:  # out of the log beside the file, into it
                database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            unfinished.rename(path)
    return path


@pytest.fixture
def tamper(transactional_db: None) -> Callable[[str], None]:
    """SQL without the triggers; they are back on afterwards."""

    def run(sql: str) -> None:
        with connection.cursor() as cursor:
            for guard in GUARDS:
                for statement in guard.disarm(connection.vendor):
                    cursor.execute(statement)
            cursor.execute(sql)
            for guard in GUARDS:
                for statement in guard.arm(connection.vendor):
                    cursor.execute(statement)

    return run
