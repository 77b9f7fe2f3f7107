"""A shop and any CRM of the sandbox's stand-ins: whole orders, delivered here and looked at there."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest

from orders.models import OrderLink, StatusRule
from sync.clients.crm import cache
from sync.clients.crm.defaults import ensure_rules
from sync.clients.paging import batches
from sync.jobs import processing
from sync.models import SideState
from sync.pipeline import alone
from sync.sandbox.crms import STAND_INS, stand_in
from sync.sandbox.crms.base import StandIn
from sync.sandbox.shop import SandboxShop
from tests import pipeline
from tests.factories import WebhookEventFactory
from webhooks import clock
from webhooks.models import WebhookEvent

BACKENDS = sorted(STAND_INS)
BILLING = {
    **{"first_name": "Jürgen", "last_name": "Müller", "email": "juergen@example.test", "phone": "+49 30 123456"},
    **{"address_1": "Straße des 17. Juni 135", "postcode": "10623", "city": "Berlin", "country": "DE"},
}
SHIPPING = {**BILLING, "address_1": "Nebenstraße 2", "city": "Potsdam"}


class Whole:
    def __init__(self, backend: str, shop: SandboxShop, crm: Any) -> None:
        self.backend, self.shop, self.crm = backend, shop, crm

    def order(self, **fields: Any) -> int:
        return int(self.shop.create_order(**{"billing": BILLING, "shipping": SHIPPING, **fields})["id"])

    def event(self, woo_id: int) -> WebhookEvent:
        event: WebhookEvent = WebhookEventFactory(order_ref=str(woo_id))
        return event

    def deliver(self, woo_id: int) -> WebhookEvent:
        event = self.event(woo_id)
        self.work()
        event.refresh_from_db()
        return event

    def work(self, *, at_once: bool = False) -> None:
        """Until nothing is due. `at_once`: what waits for another try is due now."""
        for _ in range(60):
            if at_once:
                WebhookEvent.objects.unfinished().update(next_attempt_at=clock.now())
            if not pipeline.work_once():
                return
        raise AssertionError("There is no end to it.")

    def well_again(self) -> None:
        """What is waited for is over."""
        past = clock.now() - timedelta(seconds=1)
        SideState.objects.filter(wait_until__isnull=False).update(wait_until=past)
        SideState.objects.filter(probe_at__isnull=False).update(probe_at=past)
        self.work(at_once=True)

    def crm_id(self, woo_id: int) -> str:
        return str(OrderLink.objects.get(woo_id=woo_id).crm_order_id)

    def holds(self) -> Counter[str]:
        """How many records of each kind the CRM has."""
        return counted(self.crm)


def counted(crm: StandIn) -> Counter[str]:
    with crm.lock:
        kept = crm.kept()
    tables = kept.get("tables") or kept.get("kept") or kept["records"]
    return Counter({kind: len(rows) for kind, rows in tables.items() if rows})


def a_new_process() -> None:
    """Nothing is remembered."""
    cache.forget_all()
    batches.forget()
    alone.forget_all()


@contextmanager
def whole(backend: str, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Whole]:
    shop, crm = SandboxShop(consumer_key="ck_test", consumer_secret="cs_test"), stand_in(backend)()
    shop.start()
    crm.start()
    told = dict(crm.settings)
    settings.WOO_URL, settings.WOO_CONSUMER_KEY, settings.WOO_CONSUMER_SECRET = shop.url, "ck_test", "cs_test"
    settings.CRM_BACKEND, settings.CRM_URL, settings.CRM_TOKEN = backend, crm.url, told.pop("token")
    settings.CRM_WEBHOOK_SECRETS = [one for one in [told.pop("webhook_secrets", "")] if one]
    settings.CRM_OPTIONS = told
    settings.RETRY_BASE_SECONDS, settings.RETRY_MAX_SECONDS = 0.02, 0.1
    settings.CRM_LIST_LAG = settings.SHOP_WRITE_LAG = 0.0
    monkeypatch.setattr(processing, "POLL", 0.01)
    a_new_process()
    ensure_rules(backend)
    for crm_status, woo_status in crm.rules.items():
        StatusRule.objects.create(crm_status=crm_status, woo_status=woo_status)
    yield Whole(backend, shop, crm)
    shop.stop()
    crm.stop()


@pytest.fixture(params=BACKENDS)
def sides(
    request: pytest.FixtureRequest, transactional_db: None, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Whole]:
    with whole(request.param, settings, monkeypatch) as both:
        yield both
