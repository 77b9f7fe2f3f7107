"""Both sides over real HTTP, and nothing that tells us of their changes."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from orders.models import OrderLink
from orders.rules import give_default_lifecycle
from sync.jobs import engine, processing, reconciliation
from sync.pipeline.process import Turns, process_due
from sync.sandbox.crm import SandboxCrm
from sync.sandbox.orders import dated, new_order
from sync.sandbox.shop import SandboxShop
from webhooks.connections import Bridge, Connection
from webhooks.credentials import encrypt
from webhooks.models import WebhookEvent

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
    settings.RETRY_BASE_SECONDS, settings.RETRY_MAX_SECONDS, settings.HTTP_TIMEOUT = 0.02, 0.1, 10.0
    settings.CRM_LIST_LAG = settings.SHOP_WRITE_LAG = 0.0
    monkeypatch.setattr(processing, "POLL", 0.01)
    monkeypatch.setattr(processing, "PATIENCE", 15.0)
    yield sides
    sides.shop.stop()
    sides.crm.stop()


# --- two bridges ---------------------------------------------------------------------------------------------------

SECRET, WHSEC = "secret-of-the-second", "whsec_c2Vjb25k"


@dataclass
class Two:
    """The environment's bridge, and one of the back office."""

    sides: dict[int, TwoSides]
    bridge: Bridge
    is_shared: bool

    def settle(self) -> None:
        """Until nothing is due; what waits for another try is due at once."""
        turns = Turns()
        for _ in range(200):
            WebhookEvent.objects.unfinished().update(next_attempt_at=timezone.now())
            if not process_due(turns):
                return
        raise AssertionError("There is no end to it.")

    def reconcile(self) -> None:
        for pk in self.sides:
            assert engine.carry_out(reconciliation.start(actor="command", bridge=pk))
        self.settle()

    def crm_order(self, link: OrderLink) -> dict[str, Any]:
        return self.sides[link.bridge_id].crm.orders[link.crm_order_id]


@pytest.fixture(params=["two CRMs", "one CRM"])
def two(two_sides: TwoSides, request: pytest.FixtureRequest, settings: Any) -> Iterator[Two]:
    settings.ALLOW_PRIVATE_ADDRESSES = True
    is_shared = request.param == "one CRM"
    shop = SandboxShop(consumer_key="ck_two", consumer_secret="cs_two")
    crm = two_sides.crm if is_shared else SandboxCrm(token="crm-token-2", first_id=1001)
    shop.start()
    if not is_shared:
        crm.start()
    told = {"consumer_key": "ck_two", "consumer_secret": "cs_two", "webhook_secrets": SECRET}
    of_shop = Connection.objects.create(
        slug="shop-2", name="Second shop", kind="woocommerce", settings={"url": shop.url}, credentials=encrypt(told)
    )
    of_crm = Connection.objects.get(slug="crm")
    if not is_shared:
        of_crm = Connection.objects.create(
            slug="crm-2",
            name="Second CRM",
            kind="rest",
            settings={"url": crm.url, "list_lag": 0},
            credentials=encrypt({"token": "crm-token-2", "webhook_secrets": WHSEC}),
        )
    bridge = Bridge.objects.create(
        slug="two",
        name="Two",
        shop=of_shop,
        crm=of_crm,
        state=Bridge.State.ON,
        external_id_prefix="b-" if is_shared else "",
    )
    bridge.full_clean()
    give_default_lifecycle(bridge.pk)
    yield Two({1: two_sides, bridge.pk: TwoSides(shop, crm)}, bridge, is_shared)
    shop.stop()
    if not is_shared:
        crm.stop()
