"""A real Tryton for the tests: one server of `.venv-tryton` (`make tryton`), its database new for each test."""

import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from sync.clients import crm as crm_backends
from sync.clients.crm.base import Access, access
from sync.clients.crm.tryton import TrytonCrm
from sync.sandbox.crms.tryton import EMPTY, KEY, TrytonServer, is_made
from tests.servers import NotInstalled


class Tryton(TrytonServer):
    """Told to begin anew by each test."""

    def __init__(self, folder: Path) -> None:
        if not is_made():
            raise NotInstalled("Tryton is not installed for the tests: make tryton")
        super().__init__(folder)

    def emptied(self) -> "Database":
        """The same database as at first: another one would cost the server half a second to get to know it."""
        with closing(sqlite3.connect(EMPTY)) as made, closing(sqlite3.connect(self.file)) as used:
            made.backup(used)
        return Database(self)


class Database:
    """One company's Tryton, empty at first."""

    def __init__(self, server: Tryton) -> None:
        self.server = server

    @property
    def url(self) -> str:
        return self.server.url

    def access(self, key: str = "sales", **more: str) -> Access:
        return access(TrytonCrm.schema, {"url": self.url, "token": KEY.format(key), **more})

    def crm(self, key: str = "sales") -> TrytonCrm:
        """As a user of Tryton with these rights: sales (what we ask for), clerk (more), nobody."""
        crm = crm_backends.connect_to(TrytonCrm, self.access(key))
        assert isinstance(crm, TrytonCrm)
        return crm

    def press(self, crm_order_id: str, *buttons: str) -> None:
        for button in buttons:
            self.crm("clerk")._call("POST", f"sale.sale/{crm_order_id}/{button}", json={})

    def move(self, crm_order_id: str, status: str) -> None:
        """As its people do, from a draft."""
        if status == "done":  # at once, where nothing is left to invoice or to ship
            lines = [line["id"] for line in self.crm()._read(crm_order_id, ("lines.note",))["lines"]]
            self.write(crm_order_id, lines=[["write", lines, {"quantity": 0}]])
        self.press(crm_order_id, *WAYS[status])

    def write(self, crm_order_id: str, **values: Any) -> None:
        self.crm("clerk")._call("PUT", f"sale.sale/{crm_order_id}", json=values)

    def count(self, table: str) -> int:
        with closing(sqlite3.connect(self.server.file)) as database:
            [found] = database.execute(f"SELECT count(*) FROM {table}").fetchone()  # noqa: S608
        return int(found)


WAYS = {
    "quotation": ("quote",),
    "confirmed": ("quote", "confirm"),
    "processing": ("quote", "confirm"),
    "done": ("quote", "confirm", "process"),
    "cancelled": ("cancel",),
}
"""The buttons that lead from a draft to a state."""


@contextmanager
def tryton() -> Iterator[Tryton]:
    with tempfile.TemporaryDirectory(prefix="tryton-") as folder:
        server = Tryton(Path(folder))
        try:
            server.start()
            yield server
        finally:
            server.stop()
