"""System checks of the two sides' settings."""

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Warning, register


@register()
def sides_are_configured(**kwargs: Any) -> list[CheckMessage]:
    found: list[CheckMessage] = []
    for name in ("WOO_URL", "WOO_CONSUMER_KEY", "WOO_CONSUMER_SECRET", "CRM_URL", "CRM_TOKEN"):
        if name.startswith("CRM_") and settings.CRM_BACKEND != "rest":
            continue
        if not getattr(settings, name):
            found.append(
                Warning(
                    f"{name} is not set: events wait until it is.", hint=f"Set {name} in .env.", id="orderbridge.W020"
                )
            )
    return found
