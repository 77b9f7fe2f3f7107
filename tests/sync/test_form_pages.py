"""What a form says beside a field is said with the field: its help, and what is wrong with what was sent."""

import re
from collections.abc import Iterator

import pytest
from django.test import Client

from sync.alarms import raise_alarm
from sync.models import Alarm

pytestmark = pytest.mark.django_db

PAGES = (
    "/admin/webhooks/connection/add-shop/",
    "/admin/webhooks/connection/add-shop/keys/",
    "/admin/webhooks/connection/add-crm/rest/",
    "/admin/webhooks/bridge/new/",
    "/admin/webhooks/bridge/1/edit/",
    "/admin/sync/run/start/reconcile/",
    "/admin/sync/run/start/month_end/",
    "/admin/sync/recipient/add/",
    "/admin/orders/statusrule/add/",
    "/admin/orders/allowedmove/add/",
    "/admin/auth/user/add/",
    "/admin/password_change/",
)


def fields(page: str) -> Iterator[tuple[str, list[str], bool]]:
    """Of each one its name, what it refers to, and whether it is marked as wrong."""
    for tag in re.findall(r"<(?:input|select|textarea)\b[^>]*>", page):
        said = dict(re.findall(r'([\w-]+)="([^"]*)"', tag))
        if said.get("type") != "hidden":
            yield said.get("name", ""), said.get("aria-describedby", "").split(), "aria-invalid" in said


def ids(page: str) -> list[str]:
    return re.findall(r'\bid="([^"]+)"', page)


@pytest.mark.parametrize("path", PAGES)
def test_help_and_errors_belong_to_their_field(admin_client: Client, path: str) -> None:
    asked = admin_client.get(path)
    assert asked.status_code == 200
    sent = admin_client.post(path, {"confirmed": "yes"})
    assert sent.status_code == 200
    wrong = []
    for page in (asked.content.decode(), sent.content.decode()):
        there = ids(page)
        for name, refers_to, is_wrong in fields(page):
            assert [one for one in refers_to if there.count(one) != 1] == [], name
            wrong += [refers_to] if is_wrong else []
    assert wrong and all(any(one.endswith("_error") for one in refers_to) for refers_to in wrong)


def test_a_page_that_asks_why_says_so_with_the_field(admin_client: Client) -> None:
    raise_alarm("audit", "The audit is broken.", "Look.")
    path = f"/admin/sync/alarm/{Alarm.objects.get().pk}/mute/"
    page = admin_client.post(path, {"confirmed": "yes"}).content.decode()
    told = {name: refers_to for name, refers_to, is_wrong in fields(page) if is_wrong}
    assert told.keys() == {"reason", "until"}
    assert "id_reason_error" in told["reason"] and set(told["reason"] + told["until"]) <= set(ids(page))
