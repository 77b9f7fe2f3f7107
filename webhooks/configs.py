"""What a connection says of the remote system: its address, its keys, how it signs. Handed to whatever needs it.

The two of the environment take it from Django's settings, all others from their rows. Nobody else reads these settings.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from django.conf import settings

SHOP, CRM = "shop", "crm"
"""The slugs of the environment's connections."""
REST = "rest"
SCHEME = "standard-webhooks"
SIGNATURE_HEADER = "X-CRM-Signature"
POLL_LEAST, POLL_MOST = 30, 86_400
"""Seconds."""
PREFIX = r"([A-Za-z0-9._:/#-]{0,19}[A-Za-z._:/#-])?"
"""Of an external id: no digit at the end, where the order's number follows."""


@dataclass(frozen=True, kw_only=True)
class ShopConfig:
    slug: str
    url: str
    "Without a slash at its end."
    consumer_key: str = field(repr=False)
    consumer_secret: str = field(repr=False)
    webhook_secrets: tuple[str, ...] = field(repr=False)
    "All of them are accepted; the first is for new webhooks."
    basic_auth: str = field(default="", repr=False)
    other_urls: tuple[str, ...] = ()
    "Other addresses at which it is the same shop."
    write_lag: float = 30.0
    "Seconds in which a write that nobody answered may still take effect."
    public_only: bool = False
    "A person typed the address, who may not lead us into our own network."

    @classmethod
    def of_environment(cls, slug: str) -> Self:
        return cls(
            slug=slug,
            url=settings.WOO_URL,
            consumer_key=settings.WOO_CONSUMER_KEY,
            consumer_secret=settings.WOO_CONSUMER_SECRET,
            webhook_secrets=tuple(settings.WOO_WEBHOOK_SECRETS),
            basic_auth=settings.WOO_BASIC_AUTH,
            other_urls=tuple(settings.WOO_OTHER_URLS),
            write_lag=settings.SHOP_WRITE_LAG,
        )

    @classmethod
    def of_row(cls, slug: str, said: Mapping[str, Any], credentials: Mapping[str, str]) -> Self:
        return cls(
            slug=slug,
            url=str(said.get("url", "")).rstrip("/"),
            consumer_key=credentials.get("consumer_key", ""),
            consumer_secret=credentials.get("consumer_secret", ""),
            webhook_secrets=_list(credentials.get("webhook_secrets", "")),
            basic_auth=credentials.get("basic_auth", ""),
            other_urls=tuple(said.get("other_urls", ())),
            write_lag=float(said.get("write_lag", settings.SHOP_WRITE_LAG)),
            public_only=not settings.ALLOW_PRIVATE_ADDRESSES,
        )


@dataclass(frozen=True, kw_only=True)
class CrmConfig:
    slug: str
    backend: str
    "A built-in word, or the dotted path of a class."
    url: str
    token: str = field(repr=False)
    webhook_secrets: tuple[str, ...] = field(repr=False)
    signature: str = SCHEME
    signature_header: str = SIGNATURE_HEADER
    list_lag: float = 10.0
    "Seconds after which it lists a new order at the latest."
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    "What the backend's own schema names besides, its secrets included."
    public_only: bool = False
    "As with a shop."

    @classmethod
    def of_environment(cls, slug: str) -> Self:
        return cls(
            slug=slug,
            backend=settings.CRM_BACKEND,
            url=settings.CRM_URL,
            token=settings.CRM_TOKEN,
            webhook_secrets=tuple(settings.CRM_WEBHOOK_SECRETS),
            signature=settings.CRM_SIGNATURE,
            signature_header=settings.CRM_SIGNATURE_HEADER or SIGNATURE_HEADER,
            list_lag=settings.CRM_LIST_LAG,
            options=getattr(settings, "CRM_OPTIONS", {}),
        )

    @classmethod
    def of_row(cls, slug: str, backend: str, said: Mapping[str, Any], credentials: Mapping[str, str]) -> Self:
        return cls(
            slug=slug,
            backend=backend,
            url=str(said.get("url", "")).rstrip("/"),
            token=credentials.get("token", ""),
            webhook_secrets=_list(credentials.get("webhook_secrets", "")),
            signature=said.get("signature") or SCHEME,
            signature_header=said.get("signature_header") or SIGNATURE_HEADER,
            list_lag=float(said.get("list_lag", settings.CRM_LIST_LAG)),
            options={**said, **credentials},
            public_only=not settings.ALLOW_PRIVATE_ADDRESSES,
        )


def poll_seconds(said: Any) -> int:
    """What is wrong is told by the checks and the form, and never more often than POLL_LEAST. A time that is
    more than a day away would be taken for one of a wrong clock, and be due at once (`polls.turn`)."""
    seconds = int(said) if str(said).isdecimal() else 0
    return min(max(seconds, POLL_LEAST), POLL_MOST) if seconds else 0


def _list(commas: str) -> tuple[str, ...]:
    return tuple(one.strip() for one in commas.split(",") if one.strip())
