"""A real Tryton for the tests: one server of `.venv-tryton` (`make tryton`), its database new for each test."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from sync.clients import crm as crm_backends
from sync.clients.crm.base import Access, access
from sync.clients.crm.tryton import TrytonCrm
from tests.servers import NotInstalled, free_port, wait_for_port

ROOT = Path(__file__).parents[2]
VENV = ROOT / ".venv-tryton"
MADE = VENV / "orderbridge"
"""What tests/tryton/prepare.py made."""


class Tryton:
    """A server on a free port of 127.0.0.1. Its database is a file."""

    def __init__(self, folder: Path) -> None:
        if not (MADE / "keys.json").exists():
            raise NotInstalled("Tryton is not installed for the tests: make tryton")
        self.folder, self.port = folder, free_port()
        shutil.copy(MADE / "crm.sqlite", folder)
        self.keys: dict[str, str] = json.loads((MADE / "keys.json").read_text())
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        conf = self.folder / "trytond.conf"
        conf.write_text(f"[database]\nuri=sqlite://\npath={self.folder}\n[web]\nlisten=127.0.0.1:{self.port}\n")
        command = [VENV / "bin" / "python", VENV / "bin" / "trytond", "-c", conf]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        wait_for_port(self.port, 120.0)
        key = {"Authorization": f"Bearer {self.keys['sales']}"}
        first = urllib.request.Request(f"http://127.0.0.1:{self.port}/crm/rest/model/sale.sale?s=1", headers=key)
        # It loads its modules, which no test shall wait for.
        urllib.request.urlopen(first, timeout=120).close()  # noqa: S310

    def stop(self) -> None:
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None

    def emptied(self) -> "Database":
        """The same database as at first: another one would cost the server half a second to get to know it."""
        with closing(sqlite3.connect(MADE / "crm.sqlite")) as made, closing(sqlite3.connect(self.file)) as used:
            made.backup(used)
        return Database(self)

    @property
    def file(self) -> Path:
        return self.folder / "crm.sqlite"


class Database:
    """One company's Tryton, empty at first."""

    def __init__(self, server: Tryton) -> None:
        self.server = server

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.port}/crm"

    def access(self, key: str = "sales", **more: str) -> Access:
        return access(TrytonCrm.schema, {"url": self.url, "token": self.server.keys.get(key, key), **more})

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
        server.start()
        try:
            yield server
        finally:
            server.stop()
