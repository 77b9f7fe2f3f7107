"""A real Tryton in the sandbox, and in the tests: `trytond` of `.venv-tryton` (`make tryton`) on loopback.

The sandbox stands before it: its faults and its page of orders are here as they are with every stand-in.
"""

import shutil
import socket
import subprocess
import time
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import requests
from django.core.management.base import CommandError

from sync.sandbox.crms.base import Habits, Shown, StandIn
from sync.sandbox.crms.page import NEWEST
from sync.sandbox.faults import Fault
from sync.sandbox.server import Answer, Request

ROOT = Path(__file__).parents[3]
VENV = ROOT / ".venv-tryton"
EMPTY = VENV / "orderbridge" / "crm.sqlite"
"""The database with a company and its users, and no order: scripts/tryton.py makes it."""
KEY = "tryton-sandbox-key-of-{}"
"""Of the users sales (what docs/crms/tryton.md asks for), clerk (who works there) and nobody (without rights)."""
SALE = "sale.sale"
START_SECONDS = ANSWER_SECONDS = 120.0
FORWARDED = ("accept", "authorization", "content-type")
NEWEST_FIRST = urlsafe_b64encode(b'[["id", "DESC"]]').decode()
SHOWN = ("reference", "state", "party.name", "currency.code", "total_amount", "comment", "write_date", "create_date")
BUTTONS = {
    "draft": "draft",
    "quotation": "quote",
    "confirmed": "confirm",
    "processing": "confirm",
    "cancelled": "cancel",
}


def is_made() -> bool:
    return (VENV / "made.stamp").exists()


class TrytonServer:
    """A server on a free port of 127.0.0.1. Its database is a file in `folder`, and stays there."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.file = folder, folder / "crm.sqlite"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/crm"

    def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        if not self.file.exists():
            shutil.copy(EMPTY, self.file)
        conf, log = self.folder / "trytond.conf", self.folder / "log"
        conf.write_text(f"[database]\nuri=sqlite://\npath={self.folder}\n[web]\nlisten=127.0.0.1:{self.port}\n")
        command = [str(VENV / "bin" / "python"), str(VENV / "bin" / "trytond"), "-c", str(conf)]
        with log.open("ab") as output:
            self.process = subprocess.Popen(command, stdout=output, stderr=output)  # noqa: S603  our own command
        until = time.monotonic() + START_SECONDS
        while self.process.poll() is None and time.monotonic() < until:
            try:
                # The first answer takes long: it loads its modules, and fails while others wait for them, too.
                ask(self.url, "GET", SALE, {"s": "1"})
                return
            except requests.RequestException:
                time.sleep(0.05)
        self.stop()
        raise RuntimeError(f"Tryton does not start: see {log}")

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


def ask(url: str, method: str, path: str, params: Any = None) -> Any:
    """As somebody who works there."""
    headers = {"Authorization": f"Bearer {KEY.format('clerk')}", "Content-Type": "application/json"}
    body = b"{}" if method == "POST" else b""
    answer = requests.request(
        method, f"{url}/rest/model/{path}", params=params, data=body, headers=headers, timeout=ANSWER_SECONDS
    )
    answer.raise_for_status()
    return answer.json() if answer.content else None


class TrytonOfTheSandbox(StandIn):
    """Passes on what it is asked, and is those who work there. It sends no webhooks."""

    title = "Tryton"
    about = "A real Tryton that runs on this machine."
    statuses = ("draft", "quotation", "confirmed", "processing", "done", "cancelled")
    habits = Habits(
        usual={"draft": "quotation", "quotation": "processing"},
        detours=((0.06, frozenset({"draft", "quotation"}), "cancelled"),),
        backwards=(frozenset({"cancelled"}), "draft"),
    )
    settings = {"token": KEY.format("sales")}
    path = "/crm"

    def __init__(self, port: int, tryton: TrytonServer) -> None:
        super().__init__(port)
        self.tryton = tryton

    @classmethod
    def sandboxed(cls, port: int, hooks: str, first_id: int) -> "TrytonOfTheSandbox":
        if not is_made():
            raise CommandError("Tryton is not installed here: make tryton", returncode=2)
        return cls(port, TrytonServer(ROOT / "var" / "tryton"))

    def start(self) -> None:
        self.tryton.start()
        super().start()
        self.tell(f"crm:  Tryton itself: {self.tryton.url}  (database and log: {self.tryton.folder})")

    def stop(self) -> None:
        super().stop()
        self.tryton.stop()

    def handle(self, request: Request, fault: Fault | None) -> Answer:
        headers = {name: request.headers[name] for name in FORWARDED if name in request.headers}
        url = f"http://127.0.0.1:{self.tryton.port}{request.target}"
        try:
            found = requests.request(
                request.method, url, data=request.body, headers=headers, timeout=ANSWER_SECONDS, allow_redirects=False
            )
        except requests.RequestException:
            return Answer(502, {"message": "Tryton does not answer."})
        return Answer(found.status_code, found.content, {"Content-Type": found.headers.get("Content-Type", "")})

    # --- what its people do, and see -------------------------------------------------------------------------------

    def _page(self, request: Request) -> Answer:
        try:
            return super()._page(request)
        except ValueError as error:
            return Answer(502, f"{error}".encode(), {"Content-Type": "text/plain; charset=utf-8"})

    def shown(self) -> list[Shown]:
        rows = self._ask("GET", SALE, {"f": SHOWN, "o": NEWEST_FIRST, "s": str(NEWEST)})
        return [as_shown(row) for row in reversed(rows)]

    def set_status(self, crm_order_id: str, status: str) -> object:
        """By the buttons of a sale. One that is pressed when it may not be does nothing."""
        path = f"{SALE}/{int(crm_order_id)}"
        now = self._ask("GET", path, {"f": ("reference", "state")})
        if status in BUTTONS:
            self._ask("POST", f"{path}/{BUTTONS[status]}")
        then = self._ask("GET", path, {"f": ("state",)})["state"]
        if then != status:
            raise ValueError(f"Tryton has no button that leads from {now['state']} to {status}: it is {then}.")
        self.tell(f"crm:  sale {crm_order_id} ({now['reference']}) {now['state']} → {then}")
        return status

    def _ask(self, *asked: Any) -> Any:
        try:
            return ask(self.tryton.url, *asked)
        except requests.RequestException as error:
            said = error.response.text[:300] if error.response is not None else str(error)
            self.tell(f"crm:  Tryton does not do it: {said}")
            raise ValueError(f"Tryton does not do it: {said}") from error

    def kept(self) -> dict[str, Any]:
        return {}  # Tryton keeps all of it

    def restore(self, kept: Mapping[str, Any]) -> None: ...


def as_shown(row: Mapping[str, Any]) -> Shown:
    changed = row["write_date"] or row["create_date"]
    return Shown(
        crm_order_id=str(row["id"]),
        external_id=row["reference"] or "",
        status=row["state"],
        customer=row["party"]["name"] or "",
        total=f"{row['total_amount']['decimal']} {row['currency']['code']}",
        note=row["comment"] or "",
        changed="{year}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}".format(**changed),
    )
