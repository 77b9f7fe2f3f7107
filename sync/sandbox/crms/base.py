"""What every CRM of the sandbox has: orders that traffic and people can move, and a page that shows them."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar
from urllib.parse import parse_qs

from sync.sandbox.crms.page import page_of
from sync.sandbox.outbox import Network
from sync.sandbox.server import Answer, LoopbackServer, Request

PAGE = "/_orders"


@dataclass(frozen=True, kw_only=True)
class Shown:
    """An order as its people see it."""

    crm_order_id: str
    external_id: str
    "As the CRM shows it, its mark included; empty: it is none of the shop's."
    status: str
    customer: str = ""
    total: str = ""
    note: str = ""
    changed: str = ""


@dataclass(frozen=True, kw_only=True)
class Habits:
    """How orders move there when nothing special happens, and what sometimes does."""

    usual: Mapping[str, str]
    "The next status of each."
    detours: tuple[tuple[float, frozenset[str], str], ...] = ()
    "Below this number between 0 and 1, from one of these statuses, to that one."
    backwards: tuple[frozenset[str], str] = (frozenset(), "")
    "From one of these, to that one, which is not allowed."


class StandIn(LoopbackServer):
    """A CRM on loopback. The sandbox starts one by `sandboxed`, tests make theirs as they need it.

    `webhook_url`: where it sends its webhooks, if it does. `duplicate_next`, `drop_next`: so many of the next are sent
    twice, or never; `network` does it by lot.
    """

    title: ClassVar[str]
    about: ClassVar[str] = "A stand-in of the sandbox, not the real thing."
    statuses: ClassVar[tuple[str, ...]]
    habits: ClassVar[Habits]
    settings: ClassVar[Mapping[str, str]] = {}
    "What a connection to it is told besides the address, by the names of the backend's schema."
    has_versions: ClassVar[bool] = False
    "Its orders have numbers that grow; else they are ordered by their times."
    rules: ClassVar[Mapping[str, str]] = {}
    "What its statuses mean in the shop, where a backend leaves that to staff. The sandbox maps them for a first look."
    path: ClassVar[str] = ""
    "What stands behind the server in the address."

    def __init__(self, port: int = 0) -> None:
        super().__init__(port)
        self.webhook_url = ""
        self.network = Network()
        self.deliveries: list[Any] = []
        "Of webhooks that were stored for sure when they were answered well."
        self.duplicate_next = 0
        self.drop_next = 0

    @classmethod
    def sandboxed(cls, port: int, hooks: str, first_id: int) -> "StandIn":
        """As the sandbox starts it. Webhooks go to `hooks`; the first order gets this number, where that can be."""
        return cls(port)

    @abstractmethod
    def shown(self) -> list[Shown]:
        """All orders, oldest first."""

    @abstractmethod
    def set_status(self, crm_order_id: str, status: str) -> object:
        """What its people do. Raises ValueError where they cannot."""

    def customers(self) -> list[str]:
        """By what each is known in the shop: whoever is there twice was made twice. Where it has none: nothing."""
        return []

    def copies(self, what: str) -> int:
        """How often the next webhook is sent: twice or never, if it was asked for. The lock is held."""
        if self.drop_next > 0:
            self.drop_next -= 1
            self.tell(f"crm:  the webhook of {what} got lost")
            return 0
        if self.duplicate_next > 0:
            self.duplicate_next -= 1
            self.tell(f"crm:  the webhook of {what} is sent twice")
            return 2
        return 1

    @abstractmethod
    def kept(self) -> dict[str, Any]:
        """What a restart must not forget, as JSON; the lock is held."""

    @abstractmethod
    def restore(self, kept: Mapping[str, Any]) -> None:
        """The lock is held."""

    def answer(self, request: Request) -> Answer | None:
        return self._page(request) if request.path == PAGE else super().answer(request)

    def _page(self, request: Request) -> Answer:
        said = ""
        if request.method == "POST":
            form = {name: values[0] for name, values in parse_qs(request.body.decode("utf-8", "replace")).items()}
            try:
                self.set_status(form.get("order", ""), form.get("status", ""))
                return Answer(303, b"", {"Location": PAGE})
            except (KeyError, ValueError) as error:
                said = f"That cannot be: {error}"
        return page_of(self.title, self.about, self.statuses, [vars(one) for one in self.shown()], said)
