"""What `manage.py check` says about the settings of the endpoints."""

from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks import CheckMessage, Warning, register
from django.core.exceptions import ValidationError
from django.db import DatabaseError

from webhooks import tracing
from webhooks.configs import REST
from webhooks.connections import DEFAULT_BRIDGE, Bridge
from webhooks.hooks import HOOKS, SHORTEST, Proof
from webhooks.signatures import SCHEMES, usable

WITHOUT_WEBHOOKS = frozenset({"hubspot", "tryton"})
"""Backends whose CRM sends none; a test holds them against the traits of all."""


OF_THE_ENVIRONMENT = ("WOO_URL", "WOO_CONSUMER_KEY", "WOO_CONSUMER_SECRET", "CRM_URL", "CRM_TOKEN")


def is_environment_unused() -> bool:
    """It says nothing of a pair, and there is one of the back office."""
    if any(getattr(settings, name) for name in OF_THE_ENVIRONMENT) or settings.CRM_BACKEND != REST:
        return False
    with suppress(DatabaseError):  # as before the first `migrate`
        return Bridge.objects.filter(archived_at=None).exclude(pk=DEFAULT_BRIDGE).exists()
    return False


@register()
def secrets(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    found: list[CheckMessage] = []
    for number, name, path in (
        (1, "WOO_WEBHOOK_SECRETS", "/webhooks/woocommerce/"),
        (2, "CRM_WEBHOOK_SECRETS", "/webhooks/crm/"),
    ):
        if name == "CRM_WEBHOOK_SECRETS" and settings.CRM_BACKEND in WITHOUT_WEBHOOKS:
            continue
        if not any(getattr(settings, name)) and not is_environment_unused():
            found.append(
                Warning(
                    f"{name} is not set: {path} answers 503 to every delivery.",
                    hint=f"Set {name} in .env to the secret with which the sender signs.",
                    id=f"orderbridge.W{number:03}",
                )
            )
    return found


@register()
def names_are_apart(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Of bridges in the back office that is seen to when they are made; CRM_URL or EXTERNAL_ID_PREFIX may change."""
    with suppress(DatabaseError):
        try:
            default = Bridge.objects.with_connections().filter(pk=DEFAULT_BRIDGE).first()
            if default and default.is_set:
                default.clean()
        except ValidationError as error:
            hint = "Set EXTERNAL_ID_PREFIX, or CRM_URL to another account, before the next order is created."
            return [Warning(" ".join(error.messages), hint=hint, id="orderbridge.W009")]
    return []


@register()
def crm_signature(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    hooks = HOOKS.get(settings.CRM_BACKEND)
    if hooks and hooks.verify:
        return _of_backend(hooks.verify)
    scheme = settings.CRM_SIGNATURE
    if scheme not in SCHEMES:
        return [
            Warning(
                f"CRM_SIGNATURE is {scheme!r}, no scheme we know: /webhooks/crm/ answers 503 to every delivery.",
                hint=f"Use one of {', '.join(SCHEMES)}.",
                id="orderbridge.W005",
            )
        ]
    return [
        Warning(
            f"Secret {place} of CRM_WEBHOOK_SECRETS is not whsec_<base64>, as {scheme} wants it: it fits no delivery. "
            "Where it is the only one, /webhooks/crm/ answers 503.",
            hint="Copy it again from the CRM, or choose the CRM's scheme with CRM_SIGNATURE.",
            id="orderbridge.W006",
        )
        for place, secret in enumerate(settings.CRM_WEBHOOK_SECRETS, start=1)
        if secret and not usable(scheme, secret)
    ]


def _of_backend(proof: Proof) -> list[CheckMessage]:
    """Of a CRM that proves itself in its own way, whatever CRM_SIGNATURE says."""
    return [
        Warning(
            f"Secret {place} of CRM_WEBHOOK_SECRETS is none for {settings.CRM_BACKEND} ({proof.name}): it fits no "
            "delivery. Where it is the only one, /webhooks/crm/ answers 503.",
            hint=f"Use at least {SHORTEST} letters and digits; for basic, USER:PASSWORD.",
            id="orderbridge.W009",
        )
        for place, secret in enumerate(settings.CRM_WEBHOOK_SECRETS, start=1)
        if secret and not proof.usable(secret)
    ]


@register()
def verify_value(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    if settings.VERIFY in ("always", "critical"):
        return []
    return [
        Warning(
            f"VERIFY is {settings.VERIFY!r}; every change is read back, as with 'always'.",
            hint="Use 'always' or 'critical'.",
            id="orderbridge.W003",
        )
    ]


@register()
def traces(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    if not settings.OTEL_EXPORTER_OTLP_ENDPOINT:
        return []
    if not _is_base_url(settings.OTEL_EXPORTER_OTLP_ENDPOINT):
        words = f"OTEL_EXPORTER_OTLP_ENDPOINT is {settings.OTEL_EXPORTER_OTLP_ENDPOINT!r}, no address of a collector."
        return [Warning(words, hint="Use scheme, host and port, as in http://127.0.0.1:4318.", id="orderbridge.W008")]
    if tracing.is_installed():
        return []
    return [Warning(tracing.NOT_INSTALLED, hint=tracing.INSTALL, id="orderbridge.W007")]


@register()
def public_url(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    if _is_base_url(settings.PUBLIC_URL):
        return []
    return [
        Warning(
            f"PUBLIC_URL is {settings.PUBLIC_URL!r}, which is no address that the shop or the CRM could call.",
            hint="Use scheme and host alone, as in https://bridge.example.",
            id="orderbridge.W004",
        )
    ]


def _is_base_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and not (parts.query or parts.fragment)
    except ValueError:
        return False
