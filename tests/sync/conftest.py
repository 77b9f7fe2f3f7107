"""Both sides over real HTTP, and nothing that tells us of their changes."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sync.jobs import processing
from sync.sandbox.crm import SandboxCrm
from sync.sandbox.orders import dated, new_order
from sync.sandbox.shop import SandboxShop

NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class TwoSides:
    shop: SandboxShop
    crm: SandboxCrm

    def order(self, woo_id: int, at: datetime = NEW_YEAR, **fields: Any) -> dict[str, Any]:
        """An order of the shop, made and last modified at that time."""
        order = new_order(woo_id, at, self.shop.url, fields)
        return self.shop.load({**order, **dated("date_modified", at)})

    def orders(self, count: int, *, every: timedelta = timedelta(seconds=20), first: int = 1) -> list[int]:
        ids = list(range(first, first + count))
        for n, woo_id in enumerate(ids):
            self.order(woo_id, NEW_YEAR + n * every)
        return ids

    def writes(self) -> Counter[str]:
        """The calls that change something, by side and method."""
        sides = {"shop": self.shop.requests, "crm": self.crm.requests}
        return Counter(
            f"{name} {call.method}"
            for name, calls in sides.items()
            for call in calls
            if call.method not in ("GET", "OPTIONS")
        )

    def forget_calls(self) -> None:
        self.shop.requests.clear()
        self.crm.requests.clear()


@pytest.fixture
def two_sides(transactional_db: None, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[TwoSides]:
    sides = TwoSides(
        SandboxShop(consumer_key="ck_test", consumer_secret="cs_test"),
        SandboxCrm(token="crm-token"),
    )
    sides.shop.start()
    sides.crm.start()
    settings.WOO_URL, settings.WOO_CONSUMER_KEY, settings.WOO_CONSUMER_SECRET = sides.shop.url, "ck_test", "cs_test"
    settings.CRM_URL, settings.CRM_TOKEN = sides.crm.url, "crm-token"
    settings.RETRY_BASE_SECONDS, settings.RETRY_MAX_SECONDS, settings.HTTP_TIMEOUT = 0.02, 0.1, 2.0
    settings.CRM_LIST_LAG = settings.SHOP_WRITE_LAG = 0.0
    monkeypatch.setattr(processing, "POLL", 0.01)
    monkeypatch.setattr(processing, "PATIENCE", 15.0)
    yield sides
    sides.shop.stop()
    sides.crm.stop()
