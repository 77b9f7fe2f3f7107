"""Whatever text a side or a person left in whatever table: no page shows it to those who may not reveal."""

import html
import json
import re
from collections.abc import Collection
from typing import Any

import pytest
from django.apps import apps
from django.contrib import admin
from django.db.models import CharField
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from orders.models import StaffAction
from sync.models import Alarm, Attempt, Call, DriftFinding, Run, SideState
from tests.factories import CallFactory
from tests.filled import every_row
from tests.people import signed_in
from webhooks.masking import MASK, OF_STAFF, quoted
from webhooks.models import State, WebhookEvent

pytestmark = pytest.mark.django_db
OF_PEOPLE = ("auth", "admin", "axes", "orders/statusrule", "orders/allowedmove", "sync/recipient")
"""Whoever sees these sees accounts of staff, and statuses that managers wrote down."""
OURS = (
    *(*OF_STAFF, "worker", "holder", "result", "User"),
    *("StatusRule", "AllowedMove", "HistoricalStatusRule", "HistoricalAllowedMove", "Connection", "Bridge"),
    "FieldMapVersion",
)
"""Names of accounts and processes, and what managers write down: statuses, field maps, names of shops and CRMs."""
IDS = ("order_ref", "crm_order_id", "order")
SHORT = {
    field.name
    for model in apps.get_models()
    for field in model._meta.concrete_fields
    if isinstance(field, CharField) and (field.max_length or 0) < 200
}
"""Columns of ids and words like statuses: a phone's number can not be told from others there."""
ADDRESS = "zaphod.quill@home.example"
SAID = f"It broke: {quoted('Zaphod Quill of Main Street')}"
PHONE = "He rang: 0151 2345678"
BODY = {
    "имя": "Zaphod",
    "Zaphod Quill": 1,
    "meta": [{"name": "Zaphod", "value": "Zaphod"}],
    "status": "Zaphod Q",
    "id": 5,
}


@pytest.fixture(autouse=True)
def alone(settings: Any) -> None:
    """Nobody is asked what statuses there are."""
    settings.WOO_URL = settings.CRM_URL = ""


def pages(client: Client, rows: dict[Any, Any]) -> dict[str, str]:
    """Home, all lists, all rows, and each page that they link to."""
    waiting = [reverse("admin:index")]
    for model in admin.site._registry:
        if not {model._meta.app_label, f"{model._meta.app_label}/{model._meta.model_name}"}.intersection(OF_PEOPLE):
            label = f"{model._meta.app_label}_{model._meta.model_name}"
            waiting += [reverse(f"admin:{label}_changelist"), reverse(f"admin:{label}_change", args=[rows[model].pk])]
    seen: dict[str, str] = {}
    while waiting:
        url = waiting.pop(0)
        if url in seen or "logout" in url or any(f"/admin/{app}/" in url for app in OF_PEOPLE):
            continue
        answer = client.get(url, follow=True)
        seen[url] = html.unescape(answer.content.decode()) if answer.status_code == 200 else ""
        assert answer.status_code in (200, 403), url
        links = re.findall(r'(?:href|hx-get)="(/admin/[^"#]*)"', seen[url])
        waiting += [html.unescape(link) for link in links if "?" not in link]
    return seen


def in_trouble(rows: dict[Any, Any]) -> None:
    """So that Home and the pages say what they have to say."""
    WebhookEvent.objects.update(state=State.PARKED, next_attempt_at=None)
    SideState.objects.update(opened_at=timezone.now(), wait_until=timezone.now())
    Run.objects.update(state=Run.State.FAILED)
    DriftFinding.objects.update(ignored_until=timezone.now())


@pytest.mark.cases_alike
@pytest.mark.parametrize(
    ("text", "mark", "but"),
    [(ADDRESS, "zaphod.quill@", IDS), (SAID, "Zaphod", IDS), (PHONE, "2345678", SHORT)],
    ids=["address", "said", "phone"],
)
def test_no_page_shows_what_is_in_the_tables(text: str, mark: str, but: Collection[str]) -> None:
    rows = every_row(text, (*OURS, *but))
    in_trouble(rows)
    seen = pages(signed_in("manager"), rows)
    assert len(seen) > 25
    shown = {url: page.index(mark) for url, page in seen.items() if mark in page}
    assert "\n".join(f"{url}: {seen[url][max(0, at - 100) : at + 50]}" for url, at in shown.items()) == ""
    assert any(MASK in page for page in seen.values())


def test_a_topic_that_is_none_is_on_no_page() -> None:
    rows = every_row("nothing", OURS)
    WebhookEvent.objects.update(topic="Zaphod Quill called")
    seen = pages(signed_in("manager"), rows)
    seen["filtered"] = signed_in("manager").get("/admin/webhooks/webhookevent/?state=pending").content.decode()
    assert sorted(url for url, page in seen.items() if "Zaphod" in page) == []


def test_no_page_shows_what_a_document_holds() -> None:
    rows = every_row("nothing", OURS)
    text = json.dumps(BODY, ensure_ascii=False)
    WebhookEvent.objects.update(body=text.encode(), headers=BODY, reason="")
    Call.objects.update(request_body=text, response_body=text[:-2], url="/orders?search=Zaphod&page=2", status=500)
    Attempt.objects.update(compared={"crm": {"status": "Zaphod Q"}})
    seen = pages(signed_in("operator"), rows)
    assert sorted(url for url, page in seen.items() if "Zaphod" in page) == []
    attempt = seen[reverse("admin:sync_attempt_change", args=[rows[Attempt].pk])]
    assert f"/orders?search={MASK}&page=2" in attempt


def test_a_body_that_is_no_document_is_not_shown_at_all() -> None:
    call = CallFactory()
    event, client = call.attempt.event, signed_in("operator")
    for body in (
        "<html>Zaphod Quill</html>",
        "Zaphod",
        "name=Zaphod&id=5",
        "[Zaphod",
        "{Zaphod}",
        '"Zaphod"',
        "7Zaphod",
    ):
        WebhookEvent.objects.update(body=body.encode())
        Call.objects.update(request_body=body, response_body=body)
        for url in (f"webhooks/webhookevent/{event.pk}", f"sync/attempt/{call.attempt.pk}"):
            assert "Zaphod" not in client.get(f"/admin/{url}/change/").content.decode(), body
        assert "Zaphod" not in client.get(f"/admin/webhooks/webhookevent/{event.pk}/edit/").content.decode()


def test_who_reveals_an_event_reads_what_the_side_said(admin_client: Client) -> None:
    event = every_row(SAID)[WebhookEvent]
    url = f"/admin/webhooks/webhookevent/{event.pk}"
    assert "Zaphod" not in admin_client.get(f"{url}/change/").content.decode()
    admin_client.post(f"{url}/reveal/", {"reason": "asked to", "confirmed": "yes"})
    assert "Zaphod" in admin_client.get(f"{url}/change/").content.decode()


def test_exports_leave_with_masks() -> None:
    every_row(ADDRESS, OURS)
    for url in ("statustransition", "staffaction"):
        answer = signed_in("auditor").post(
            f"/admin/orders/{url}/export/", {"reason": f"asked by {ADDRESS}", "confirmed": "yes"}
        )
        text = b"".join(answer.streaming_content).decode()  # type: ignore[attr-defined]
        rows = [line for line in text.splitlines() if "export" not in line]
        assert len(rows) > 1 and "zaphod.quill@" not in text
    assert StaffAction.objects.exists() and Alarm.objects.exists()
