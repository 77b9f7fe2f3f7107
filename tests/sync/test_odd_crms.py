"""What real CRMs were seen to do, one test for the class of each: keys in bodies and queries, a status of two parts."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from orders.models import OrderLink, StatusRule, StatusTransition
from sync.clients.crm.rest import RestCrm
from sync.clients.crm.schema import SettingField
from sync.clients.errors import SideError
from sync.clients.snapshots import CrmSnapshot
from sync.models import Attempt, Call
from tests import pipeline
from tests.deliveries import from_crm
from tests.factories import WebhookEventFactory
from tests.people import signed_in
from tests.sync.conftest import TwoSides
from webhooks.credentials import hide
from webhooks.models import WebhookEvent

KEY, TOKEN = "k3y-0f-a-cl0ud-crm", "t0ken-that-was-refreshed"


class SpillingCrm(RestCrm):
    """Its key stands in the body, in the query and in the path of its calls, and it is given a new one on the way."""

    schema = (*RestCrm.schema, SettingField(name="cloud", label="Key", help="From there", secret=True))

    def __init__(self, access: Any, *more: Any, **named: Any) -> None:
        super().__init__(access, *more, **named)
        self.key = access["cloud"]

    def create(self, external_id: str, order: Mapping[str, Any]) -> tuple[CrmSnapshot, bool]:
        hide([TOKEN])  # what a backend is given on the way, it hides at once
        for path, body in ((f"/login/{self.key}", {"args": ["db", 2, self.key]}), ("/refresh", {"kept": TOKEN})):
            try:
                self.client.request("POST", path, params={"q": self.key}, json=body)
            except SideError as error:
                assert self.key not in str(error)
        return super().create(external_id, {**order, "session": [TOKEN, self.key]})


@pytest.fixture
def spilling(two_sides: TwoSides, settings: Any) -> Iterator[TwoSides]:
    settings.CRM_BACKEND, settings.CRM_OPTIONS = f"{__name__}.SpillingCrm", {"cloud": KEY}
    yield two_sides


def test_no_key_is_kept_wherever_in_a_call_it_stands(spilling: TwoSides, caplog: pytest.LogCaptureFixture) -> None:
    order = spilling.shop.create_order()
    WebhookEventFactory(order_ref=str(order["id"]))
    while pipeline.work_once():
        pass
    assert len(spilling.crm.creates) == 1
    kept = [str(row) for table in (Call, Attempt) for row in table.objects.values()]
    assert any("/login/" in one for one in kept)
    for secret in (KEY, TOKEN):
        assert secret not in "".join(kept) + caplog.text
        assert secret not in str([*WebhookEvent.objects.values("reason")])


def test_a_status_of_two_parts_is_one_word_from_the_hook_to_the_audit(two_sides: TwoSides, settings: Any) -> None:
    """`pipeline/stage`: the same stage of another pipeline is another status."""
    settings.CRM_WEBHOOK_SECRETS = ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]
    order = two_sides.shop.create_order(status="pending")
    WebhookEventFactory(order_ref=str(order["id"]))
    while pipeline.work_once():
        pass
    link = OrderLink.objects.get()
    rule = StatusRule(crm_status="sales/won", woo_status="processing")
    rule.full_clean()
    rule.save()
    moved = {"sales/won": "processing", "service/won": "processing"}
    for status, expected in moved.items():
        two_sides.crm.set_status(link.crm_order_id, status)
        assert from_crm({"crm_order_id": link.crm_order_id, "status": status}, name=status.replace("/", "")).json()
        while pipeline.work_once():
            pass
        assert two_sides.shop.orders[link.woo_id]["status"] == expected
    parked = WebhookEvent.objects.get(state="parked")
    assert "service/won" in parked.reason
    [transition] = StatusTransition.objects.all()
    assert (transition.crm_status, transition.to_status) == ("sales/won", "processing")
    client: Client = signed_in("manager")
    page = client.get(reverse("admin:orders_statustransition_change", args=[transition.pk])).content.decode()
    assert "sales/won" in page
