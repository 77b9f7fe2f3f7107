"""A real Tryton under chaos: its people wait while it is away, and all that it has is counted in the end."""

import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from sync.clients.crm.tryton.words import packed
from sync.sandbox.crms.base import Shown
from sync.sandbox.crms.tryton import SALE, SHOWN, TrytonOfTheSandbox, TrytonServer, as_shown, is_made
from tests.chaos.stand_ins import StandInStory
from tests.servers import NotInstalled

PAGE = 500
PATIENCE = 120.0
"""Seconds, for which its people wait: it may be down, and needs a while to start."""
ENVIRONMENT = {"CRM_POLL_SECONDS": "30", "HTTP_TIMEOUT": "10", "CRM_LIST_LAG": "20"}
"""It sends no webhooks, and shares the machine with all the others: a request may wait in it longer than we do."""


class TrytonInChaos(TrytonOfTheSandbox):
    def __init__(self, folder: Path) -> None:
        if not is_made():
            raise NotInstalled("Tryton is not installed here: make tryton")
        super().__init__(0, TrytonServer(folder))

    def shown(self) -> list[Shown]:
        return [as_shown(row) for row in self._all(SALE, SHOWN)]

    def one(self, place: int) -> Shown | None:
        rows = self._ask("GET", SALE, {"f": SHOWN, "p": str(place), "s": "1"})
        return as_shown(rows[0]) if rows else None

    def customers(self) -> list[str]:
        """Each party with an e-mail address: ours have one each."""
        ways = self._all("party.contact_mechanism", ("type", "value"))
        return [way["value"] for way in ways if way["type"] == "email"]

    def _all(self, model: str, fields: tuple[str, ...]) -> Iterator[dict[str, Any]]:
        last = 0
        while True:
            domain = packed([["id", ">", last]])
            rows = self._ask("GET", model, {"f": fields, "d": domain, "o": packed([["id", "ASC"]]), "s": str(PAGE)})
            yield from rows
            if len(rows) < PAGE:
                return
            last = int(rows[-1]["id"])

    def _ask(self, method: str, *asked: Any) -> Any:
        until = time.monotonic() + PATIENCE
        while True:
            try:
                return super()._ask(method, *asked)
            except ValueError:
                if method != "GET" or time.monotonic() > until:
                    raise
                time.sleep(0.2)


class TrytonStory(StandInStory):
    """Its people look at one order at a time: to list a thousand takes Tryton seconds."""

    crm: TrytonInChaos  # type: ignore[assignment]

    def _any_order(self) -> Shown | None:
        return self.crm.one(self.rng.randrange(max(1, len(self.shop.orders))))

    def _in_the_crm(self) -> None:
        with suppress(ValueError):  # Tryton was killed meanwhile, or says that the order may not go there
            super()._in_the_crm()
