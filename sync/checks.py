"""System checks of the two sides' settings."""

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register

from sync.errors import NotConfigured
from sync.http import trusted
from sync.shop import basic_auth


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


@register()
def the_way_out_is_usable(**kwargs: Any) -> list[CheckMessage]:
    """Without it no call would get out."""
    found: list[CheckMessage] = []
    for number, check in (("E022", trusted), ("E023", basic_auth if settings.WOO_BASIC_AUTH else None)):
        try:
            if check is not None:
                check()
        except NotConfigured as error:
            found.append(Error(error.message, hint=error.advice, id=f"orderbridge.{number}"))
    return found


BOUNDS: dict[str, tuple[float, float, str]] = {
    "QUEUE_WORKERS": (1, 64, "worker processes of one cluster"),
    "QUEUE_THREADS": (1, 64, "orders that a worker has in hand at once"),
    # Twice as long at worst: a lease that is ten seconds old has 35 left (sync/leases.py).
    "HTTP_TIMEOUT": (0.1, 10, "seconds; a longer call could outlast the lease of its order"),
    "RETRY_MAX_ATTEMPTS": (1, 1000, "tries"),
    "RETRY_BASE_SECONDS": (0, 3600, "seconds"),
    "RETRY_MAX_SECONDS": (0, 604_800, "seconds"),
    "CRM_LIST_LAG": (0, 3600, "seconds"),
    "SHOP_WRITE_LAG": (0, 3600, "seconds"),
    "BREAKER_THRESHOLD": (1, 1000, "failures in a row"),
    "LOOP_MAX_CHANGES": (1, 10**9, "changes"),
    "MAX_BODY_BYTES": (10_000, 100_000_000, "bytes; a large order has some 50 000"),
    "REFUSED_KEEP": (1, 1_000_000, "rows"),
    "RETENTION_DAYS": (1, 36_500, "days"),
    "RECONCILE_MINUTES": (1, 1440, "minutes"),
    "RECONCILE_DAYS": (1, 3650, "days"),
}
"""The least and the most that makes sense of each number, and of what."""


@register()
def numbers_make_sense(**kwargs: Any) -> list[CheckMessage]:
    return [
        Warning(
            f"{name} is {getattr(settings, name)}, which is out of bounds.",
            hint=f"Use {least:g} to {most:g} {of_what}.",
            id="orderbridge.W021",
        )
        for name, (least, most, of_what) in BOUNDS.items()
        if not least <= getattr(settings, name) <= most
    ]
