"""A wrong setting is a message with an id and a hint."""

from typing import Any

import pytest
from django.core.checks import WARNING
from django.test import Client

from webhooks import checks


def ids() -> list[str | None]:
    asked = (checks.secrets, checks.crm_signature, checks.verify_value, checks.public_url)
    return [message.id for check in asked for message in check(None)]


def test_good_settings_are_silent() -> None:
    assert ids() == []


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("WOO_WEBHOOK_SECRETS", [], "W001"),
        ("CRM_WEBHOOK_SECRETS", [], "W002"),
        ("VERIFY", "never", "W003"),
        ("PUBLIC_URL", "bridge.example", "W004"),
        ("PUBLIC_URL", "http://[", "W004"),
        ("CRM_SIGNATURE", "md5", "W005"),
        ("CRM_WEBHOOK_SECRETS", ["whsec_!!"], "W006"),
    ],
)
def test_a_wrong_setting_is_named(settings: Any, name: str, value: Any, expected: str) -> None:
    setattr(settings, name, value)
    assert ids() == [f"orderbridge.{expected}"]


@pytest.mark.parametrize(("name", "value"), [("CRM_SIGNATURE", "md5"), ("CRM_WEBHOOK_SECRETS", ["whsec_!!"])])
def test_a_crm_that_can_not_be_verified_stops_nothing_but_its_endpoint(
    settings: Any, client: Client, name: str, value: Any
) -> None:
    """An error would stop `migrate` and the workers, and with them the shop's half."""
    setattr(settings, name, value)
    assert [message.level for message in checks.crm_signature(None)] == [WARNING]
    assert client.post("/webhooks/crm/", b"{}", content_type="application/json").status_code == 503
