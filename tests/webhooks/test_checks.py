"""A wrong setting is a message with an id and a hint."""

from typing import Any

import pytest

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
        ("CRM_SIGNATURE", "md5", "E001"),
        ("CRM_WEBHOOK_SECRETS", ["whsec_!!"], "E002"),
    ],
)
def test_a_wrong_setting_is_named(settings: Any, name: str, value: Any, expected: str) -> None:
    setattr(settings, name, value)
    assert ids() == [f"orderbridge.{expected}"]
