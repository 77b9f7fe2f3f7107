"""Our webhook in a CRM where we may make it ourselves: made by the doctor, watched, mended, and renewed."""

import json
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from sync import alarms
from sync.clients.crm import cache
from sync.clients.crm.base import Renews, Subscribes, Subscription
from sync.clients.crm.rest import RestCrm
from sync.clients.errors import Rejected
from sync.models import SideState
from sync.monitoring import subscriptions
from sync.sandbox.crms.erpnext import ErpnextStandIn
from sync.sandbox.crms.erpnext.documents import Doc
from tests.sync.conftest import TwoSides
from tests.sync.connecting import manager, page
from tests.sync.erpnext import Backend
from webhooks.connections import Bridge, Connection
from webhooks.models import WebhookEvent

__all__ = ["manager"]

pytestmark = pytest.mark.django_db(transaction=True)

SECRET = "a-secret-of-the-webhook"
PUBLIC = "https://bridge.example"
KEY = "subscription:crm"


@pytest.fixture
def erpnext(two_sides: TwoSides, settings: Any) -> Iterator[ErpnextStandIn]:
    one = ErpnextStandIn()
    one.start()
    settings.CRM_BACKEND, settings.CRM_URL, settings.CRM_TOKEN = "erpnext", one.url, one.token
    settings.CRM_OPTIONS, settings.CRM_WEBHOOK_SECRETS = {**one.settings}, [SECRET]
    settings.PUBLIC_URL = PUBLIC
    cache.forget_all()
    yield one
    one.stop()


def doctor(*options: str) -> str:
    said = StringIO()
    with suppress(CommandError):
        call_command("doctor", *options, stdout=said)
    return said.getvalue()


def hook(erpnext: ErpnextStandIn) -> Doc:
    [one] = erpnext.documents.kept["Webhook"].values()
    return one


def alarm() -> str:
    """Its words, after a look."""
    subscriptions.on_schedule()
    return " ".join(alarms.open_alarms().filter(key=KEY).values_list("words", flat=True))


def asked(erpnext: ErpnextStandIn) -> list[str]:
    return [call.path for call in erpnext.requests if "Webhook" in call.path]


# --- made and used -------------------------------------------------------------------------------------------------


def test_the_doctor_makes_it_and_what_it_sends_is_let_in(
    erpnext: ErpnextStandIn, settings: Any, live_server: Any
) -> None:
    settings.PUBLIC_URL = live_server.url
    assert f"ERPNext has no webhook for {live_server.url}/webhooks/crm/." in alarm()
    said = doctor("--fix")
    assert "fixed    The webhook Orderbridge crm was made in ERPNext." in said
    assert "Our webhook in the CRM is as it should be." in said
    assert SECRET not in said
    assert not alarm()
    assert json.loads(doctor("--fix", "--json"))["made"] == []
    order = Backend(erpnext).create("14")
    erpnext.set_status(order["name"], "On Hold")
    erpnext.settle(60)
    event = WebhookEvent.objects.get(source="crm")
    assert (event.order_ref, event.schema, bool(event.signed_by)) == (order["name"], "erpnext/1", True)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"enabled": 0}, "is switched off"),
        ({"enable_security": 0}, "is not signed"),
        ({"request_method": "PUT"}, "does not POST"),
        ({"is_dynamic_url": 1}, "takes its Request URL for a template"),
        ({"request_url": "https://old.example/webhooks/crm/"}, "delivers to https://old.example/webhooks/crm/ and not"),
        ({"request_url": "https://elsewhere.example/x"}, "delivers to https://elsewhere.example/x and not"),
        ({"webhook_json": '{"id": "{{ doc.name }}"}'}, "sends no crm_order_id"),
    ],
)
def test_a_change_is_noticed_and_mended(erpnext: ErpnextStandIn, change: Doc, words: str) -> None:
    doctor("--fix")
    good = {**hook(erpnext)}
    hook(erpnext).update(change)
    assert f"ERPNext's webhook Orderbridge crm {words}" in alarm()
    assert words in doctor()
    assert "fixed    ERPNext's webhook Orderbridge crm was mended." in doctor("--fix")
    assert {**hook(erpnext), "modified": ""} == {**good, "modified": ""}
    assert not alarm()


def test_one_that_is_deleted_is_noticed(erpnext: ErpnextStandIn) -> None:
    doctor("--fix")
    erpnext.documents.kept["Webhook"].clear()
    assert "ERPNext has no webhook for https://bridge.example/webhooks/crm/." in alarm()


def test_what_people_made_by_hand_stays_theirs(erpnext: ErpnextStandIn) -> None:
    """Of another name, with a condition and a longer body; beside others that are none of ours."""
    doctor("--fix")
    mine = erpnext.documents.kept["Webhook"].pop("Orderbridge crm")
    mine |= {
        "name": "Z",
        "condition": "doc.woo_order_id",
        "webhook_json": mine["webhook_json"].replace("}", ', "x": 1}'),
    }
    for name, other in (("A", {"request_url": "https://other.example/"}), ("B", {"webhook_docevent": "on_submit"})):
        erpnext.documents.kept["Webhook"][name] = {**mine, "name": name, "enabled": 0, **other}
    erpnext.documents.kept["Webhook"]["Y"] = {**mine, "name": "Y", "enabled": 0}
    erpnext.documents.kept["Webhook"]["Z"] = mine
    assert not alarm()
    assert "fixed" not in doctor("--fix")


def test_the_button_of_the_checks_makes_it(manager: Client, erpnext: ErpnextStandIn, settings: Any) -> None:
    settings.ALLOW_PRIVATE_ADDRESSES = True
    values = {**erpnext.settings, "name": "ERP", "url": erpnext.url, "submit": "draft", "make_products": "no"}
    values |= {"placeholder_item": "WOO-ITEM", "webhook_secrets": SECRET}
    manager.post(page("connection_add_crm", "erpnext"), values, follow=True)
    row = Connection.objects.get(kind="erpnext", slug="erp")
    checks = page("connection_examine", row.pk)
    assert (
        "ERPNext has no webhook for https://bridge.example/webhooks/crm/erp/." in manager.post(checks).content.decode()
    )
    made = manager.post(checks, {"make": "yes"}).content.decode()
    assert "The webhook Orderbridge erp was made in ERPNext." in made
    assert "Make what it lacks" not in made


# --- left to people ------------------------------------------------------------------------------------------------


def test_where_our_key_may_not_see_it_people_make_it(erpnext: ErpnextStandIn) -> None:
    assert alarm()
    erpnext.may_not = {"Webhook"}
    assert not alarm(), "nobody can tell any more"
    for said in (doctor(), doctor("--fix")):
        assert "Its webhooks are made there by hand." in said
        assert "{{ doc.name }}" in said
        assert "fixed    The webhook" not in said


def test_what_was_made_before_it_failed_is_told(erpnext: ErpnextStandIn) -> None:
    """Somebody has our name for another purpose."""
    doctor("--fix")
    hook(erpnext)["webhook_docevent"] = "on_submit"
    erpnext.documents.kept["Custom Field"].pop("Sales Order-woo_note")
    said = doctor("--fix")
    assert "fixed    The field woo_note of ERPNext's Sales Order was made." in said
    assert "nothing more could be made there. ERPNext refuses it" in said


def test_without_a_secret_none_is_wanted(erpnext: ErpnextStandIn, settings: Any) -> None:
    settings.CRM_WEBHOOK_SECRETS = []
    assert not alarm()
    assert "{{ doc.name }}" in doctor("--fix")
    assert not asked(erpnext)


def test_a_crm_that_is_away_says_nothing_of_it(erpnext: ErpnextStandIn) -> None:
    assert alarm()
    for fault in ("500", "502", "down"):
        erpnext.faults.add(fault)
        assert alarm()
        erpnext.faults.clear()
    for held in ({"paused": True}, {"opened_at": timezone.now()}):
        SideState.objects.filter(name="crm").update(**held)
        erpnext.requests.clear()
        assert alarm()
        assert not erpnext.requests
        SideState.objects.filter(name="crm").update(paused=False, opened_at=None)


def test_a_bridge_that_is_not_used_any_more_has_no_alarm(erpnext: ErpnextStandIn) -> None:
    assert alarm()
    Bridge.objects.update(state=Bridge.State.PAUSED)
    assert not alarm()


def test_a_key_that_is_refused_is_told_elsewhere(erpnext: ErpnextStandIn, settings: Any) -> None:
    settings.CRM_TOKEN = "nobody:knows-it"
    assert not alarm()
    assert "does not know the API key" in doctor()


# --- that end ------------------------------------------------------------------------------------------------------


class EndingCrm(RestCrm):
    """Whose subscription ends."""

    ends: datetime | None = None
    trouble = ""

    def subscription(self, address: str) -> Subscription:
        return Subscription(trouble=self.trouble, expires_at=self.ends)

    def ensure(self, address: str, secret: str) -> list[str]:
        return []


class RenewingCrm(EndingCrm):
    renewed: list[str] = []
    lasts = timedelta(days=7)
    refuses = False

    def renew(self, address: str) -> None:
        self.renewed.append(address)
        if self.refuses:
            raise Rejected("No such channel.", side="crm")
        type(self).ends = timezone.now() + self.lasts


@pytest.fixture
def ending(two_sides: TwoSides, settings: Any, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    settings.CRM_BACKEND, settings.CRM_WEBHOOK_SECRETS = f"{__name__}.RenewingCrm", [SECRET]
    settings.PUBLIC_URL = PUBLIC
    monkeypatch.setattr(RenewingCrm, "renewed", [])
    return monkeypatch


def ends_in(ending: pytest.MonkeyPatch, hours: float | None, kind: type[EndingCrm] = RenewingCrm) -> None:
    ending.setattr(kind, "ends", None if hours is None else timezone.now() + timedelta(hours=hours))


def test_what_a_backend_offers_is_told_by_its_methods(ending: pytest.MonkeyPatch) -> None:
    assert isinstance(RenewingCrm, Renews)
    assert isinstance(EndingCrm, Subscribes)
    assert not isinstance(EndingCrm, Renews)
    assert not isinstance(RestCrm, Subscribes)


@pytest.mark.parametrize(("hours", "times"), [(None, 0), (25, 0), (23, 1), (1, 1), (-1, 1)])
def test_it_is_renewed_in_its_last_day(ending: pytest.MonkeyPatch, hours: float | None, times: int) -> None:
    ends_in(ending, hours)
    assert not alarm()
    assert RenewingCrm.renewed == [f"{PUBLIC}/webhooks/crm/"] * times
    assert not alarm()
    assert len(RenewingCrm.renewed) == times, "it lasts for a week now"


@pytest.mark.parametrize("hours", [20, 11, -1])
def test_a_renewal_that_fails_is_told_while_there_is_time(ending: pytest.MonkeyPatch, hours: float) -> None:
    ends_in(ending, hours)
    ending.setattr(RenewingCrm, "refuses", True)
    assert ("it could not be renewed: No such channel." in alarm()) is (hours < 12)
    ending.setattr(RenewingCrm, "refuses", False)
    assert not alarm()


def test_a_renewal_that_changes_nothing_is_told(ending: pytest.MonkeyPatch) -> None:
    ends_in(ending, 2)
    ending.setattr(RenewingCrm, "lasts", timedelta(hours=2))
    assert "renewing it changed nothing" in alarm()


def test_one_that_nobody_renews_is_told(ending: pytest.MonkeyPatch, settings: Any) -> None:
    settings.CRM_BACKEND = f"{__name__}.EndingCrm"
    ends_in(ending, 2, EndingCrm)
    assert "nobody renews it" in alarm()


def test_one_with_another_trouble_is_not_renewed(ending: pytest.MonkeyPatch) -> None:
    ends_in(ending, 2)
    ending.setattr(RenewingCrm, "trouble", "It is switched off.")
    assert "It is switched off." in alarm()
    assert not RenewingCrm.renewed
