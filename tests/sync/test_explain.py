"""The story of an order, told by a command."""

import json
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.utils import timezone

from tests.factories import (
    AttemptFactory,
    CallFactory,
    OrderLinkFactory,
    StatusTransitionFactory,
    WebhookEventFactory,
)
from webhooks.models import Side

pytestmark = pytest.mark.django_db


def explain(*args: str) -> str:
    out = StringIO()
    call_command("explain", *args, stdout=out)
    return out.getvalue()


def as_json(order: str) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(explain(order, "--json"))
    return told


@pytest.mark.parametrize("order", ["5", "C-5"])
def test_either_id_tells_the_same_story_in_order_of_time(order: str) -> None:
    start = timezone.now() - timedelta(hours=1)
    link = OrderLinkFactory(woo_id=5, crm_order_id="C-5")
    StatusTransitionFactory(link=link, created_at=start + timedelta(minutes=3))
    from_crm = WebhookEventFactory(
        side=Side.CRM, source="crm", order_ref="C-5", received_at=start + timedelta(minutes=1)
    )
    WebhookEventFactory(order_ref="5", received_at=start)
    WebhookEventFactory(side=Side.CRM, source="crm", order_ref="5")
    CallFactory(attempt=AttemptFactory(event=from_crm, started_at=start + timedelta(minutes=2)))
    told = as_json(order)
    assert {key: told[key] for key in told if key != "timeline"} == {
        "woo_id": 5,
        "number": "",
        "crm_order_id": "C-5",
        "shop_status": "processing",
        "crm_status": "paid",
        "shop_url": f"{settings.WOO_URL}/wp-admin/admin.php?page=wc-orders&action=edit&id=5",
        "crm_url": "",
        "removed": "",
    }
    assert [entry["kind"] for entry in told["timeline"]] == ["event", "event", "attempt", "transition"]
    assert "GET /orders/C-5" not in told["timeline"][0]["words"]
    assert "GET /orders/C-1 → 200 (12 ms)" in told["timeline"][2]["words"]


def test_plain_lines_name_both_sides() -> None:
    StatusTransitionFactory(link__woo_id=5, link__crm_order_id="C-5")
    lines = explain("5").splitlines()
    assert lines[:2] == ["shop order 5: processing", "CRM order C-5: paid"]
    assert "processing → completed applied: the CRM says shipped" in lines[2]


def test_an_order_without_a_link_is_explained_from_its_events() -> None:
    WebhookEventFactory(order_ref="5")
    told = as_json("5")
    assert (told["woo_id"], told["crm_order_id"], len(told["timeline"])) == (5, None, 1)


@pytest.mark.parametrize("order", ["404", "C-404", "", "9" * 50, "²"])
def test_an_unknown_order_is_said_to_be_unknown(order: str) -> None:
    WebhookEventFactory(order_ref="")
    with pytest.raises(CommandError, match="is known here") as error:
        explain(order)
    assert error.value.returncode == 2
