"""System checks of the two sides' settings, and with `--deploy` of what may not go over the internet or be guessed."""

import ipaddress
import os
import stat
from base64 import b64decode
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.db import DatabaseError

from sync.clients.addresses import PRIVATE_NAMES, is_private
from sync.clients.errors import NotConfigured
from sync.clients.http import trusted
from sync.clients.shop import basic_auth
from webhooks.checks import OF_THE_ENVIRONMENT, is_environment_unused
from webhooks.configs import POLL_LEAST, POLL_MOST, ShopConfig
from webhooks.connections import SHOP, Connection
from webhooks.credentials import WrongKey, decrypt


@register()
def sides_are_configured(**kwargs: Any) -> list[CheckMessage]:
    found: list[CheckMessage] = []
    for name in () if is_environment_unused() else OF_THE_ENVIRONMENT:
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
    for number, check in (("E022", trusted), ("E023", _basic_auth if settings.WOO_BASIC_AUTH else None)):
        try:
            if check is not None:
                check()
        except NotConfigured as error:
            found.append(Error(error.message, hint=error.advice, id=f"orderbridge.{number}"))
    return found


@register()
def stored_credentials_can_be_read(**kwargs: Any) -> list[CheckMessage]:
    """An error at start: with a wrong key no connection works, and nobody should enter its keys again for that."""
    unreadable = []
    with suppress(DatabaseError):  # as before the first `migrate`
        for slug, stored in (
            Connection.objects.exclude(credentials="").order_by("pk").values_list("slug", "credentials")
        ):
            try:
                decrypt(stored)
            except WrongKey as error:
                unreadable.append((slug, error))
    if not unreadable:
        return []
    names, wrong = ", ".join(slug for slug, _ in unreadable), unreadable[0][1]
    return [Error(f"{wrong} It is about: {names}. Nothing was changed.", hint=wrong.advice, id="orderbridge.E024")]


def _basic_auth() -> None:
    basic_auth(ShopConfig.of_environment(SHOP))


BOUNDS: dict[str, tuple[float, float, str]] = {
    "QUEUE_WORKERS": (1, 64, "worker processes of one cluster"),
    "QUEUE_THREADS": (1, 64, "orders that a worker has in hand at once"),
    # Twice as long at worst: a lease that is ten seconds old has 35 left (sync/pipeline/leases.py).
    "HTTP_TIMEOUT": (0.1, 10, "seconds; a longer call could outlast the lease of its order"),
    "RETRY_MAX_ATTEMPTS": (1, 1000, "tries"),
    "RETRY_BASE_SECONDS": (0, 3600, "seconds"),
    "RETRY_MAX_SECONDS": (0, 604_800, "seconds"),
    "CRM_LIST_LAG": (0, 3600, "seconds"),
    "CRM_POLL_SECONDS": (POLL_LEAST, POLL_MOST, "seconds, or 0: then only reconcile asks"),
    "SHOP_WRITE_LAG": (0, 3600, "seconds"),
    "BREAKER_THRESHOLD": (1, 1000, "failures in a row"),
    "LOOP_MAX_CHANGES": (1, 10**9, "changes"),
    "MAX_BODY_BYTES": (10_000, 100_000_000, "bytes; a large order has some 50 000"),
    "REFUSED_KEEP": (1, 1_000_000, "rows"),
    "RETENTION_DAYS": (1, 36_500, "days"),
    "RECONCILE_MINUTES": (1, 1440, "minutes"),
    "RECONCILE_DAYS": (1, 3650, "days"),
    # With more than there are, whoever asks writes the address that counts.
    "TRUSTED_PROXIES": (0, 3, "reverse proxies, as many as there are between us and the internet"),
}
"""The least and the most that makes sense of each number, and of what."""
MAY_BE_OFF = ("CRM_POLL_SECONDS",)


@register()
def numbers_make_sense(**kwargs: Any) -> list[CheckMessage]:
    return [
        Warning(
            f"{name} is {getattr(settings, name)}, which is out of bounds.",
            hint=f"Use {least:g} to {most:g} {of_what}.",
            id="orderbridge.W021",
        )
        for name, (least, most, of_what) in BOUNDS.items()
        if not least <= getattr(settings, name) <= most and not (name in MAY_BE_OFF and getattr(settings, name) == 0)
    ]


# --- with --deploy -------------------------------------------------------------------------------------------------

OPEN = ("http", "redis")
"""Schemes that hide nothing."""
LEAST_SECRET, LEAST_VARIETY = 16, 8
"""Bytes of a secret, and different ones among them."""
LEAST_KEY = 8
"""Of what a side made. The shop's have 43; of a CRM's nobody knows."""
KNOWN = ("secret", "password", "changeme", "change-me", "123456", "qwerty", "letmein", "example")


@register(Tags.security, deploy=True)
def nothing_goes_open_over_the_internet(**kwargs: Any) -> list[CheckMessage]:
    found: list[CheckMessage] = []
    for name in ("WOO_URL", "CRM_URL", "QUEUE_BROKER"):
        with suppress(ValueError):  # what is no address at all is no way out either
            scheme, host = (parts := urlsplit(getattr(settings, name))).scheme, parts.hostname or ""
            if scheme in OPEN and not is_private(host):
                words = (
                    f"{name} is {scheme}://{host}, no private address: whoever is on the way can read and change all."
                )
                hint = f"Use {scheme}s://, or an address of your own network."
                found.append(Warning(words, hint=hint, id="orderbridge.W030"))
    return found


@register(Tags.security, deploy=True)
def no_secret_can_be_guessed(**kwargs: Any) -> list[CheckMessage]:
    """Of those that we or staff make up. Django itself looks at SECRET_KEY."""
    return [
        Warning(
            f"{name} is short or easy to guess: whoever does can {can}.",
            hint="Make another: python3 -c 'import secrets; print(secrets.token_hex(24))'. How to change it: "
            "docs/security.md.",
            id="orderbridge.W031",
        )
        for name, can, secret in _secrets()
        if _is_weak(secret)
    ]


def _secrets() -> Iterator[tuple[str, str, bytes]]:
    for name, can in (
        ("WOO_WEBHOOK_SECRETS", "feign deliveries of the shop"),
        ("CRM_WEBHOOK_SECRETS", "feign deliveries of the CRM"),
        ("AUDIT_KEYS", "write the history anew"),
        ("CREDENTIAL_KEYS", "read every stored key, given a copy of the database"),
    ):
        for place, secret in enumerate(getattr(settings, name), start=1):
            yield f"Secret {place} of {name}", can, _bytes(name, secret)
    if settings.METRICS_TOKEN:
        yield "METRICS_TOKEN", "read /metrics", settings.METRICS_TOKEN.encode()


def _bytes(name: str, secret: str) -> bytes:
    """With `whsec_` the text is not the secret."""
    if name == "CRM_WEBHOOK_SECRETS" and settings.CRM_SIGNATURE == "standard-webhooks":
        text = secret.removeprefix("whsec_")
        with suppress(ValueError):
            return b64decode(text + "=" * (-len(text) % 4), validate=True)
    return secret.encode()


@register(Tags.security, deploy=True)
def keys_of_the_sides_are_whole(**kwargs: Any) -> list[CheckMessage]:
    """They are as long as the sides made them; but one that can be tried out is none."""
    password = settings.WOO_BASIC_AUTH.partition(":")[2]
    keys = {"WOO_CONSUMER_SECRET": settings.WOO_CONSUMER_SECRET, "WOO_BASIC_AUTH": password}
    if settings.CRM_BACKEND == "rest":
        keys["CRM_TOKEN"] = settings.CRM_TOKEN
    return [
        Warning(
            f"{name} is too short for a key: whoever tries some reads and changes all orders there.",
            hint=f"Enter all of it, at least {LEAST_KEY} characters, or make a new one on that side.",
            id="orderbridge.W033",
        )
        for name, key in keys.items()
        if key and (len(key) < LEAST_KEY or len(set(key)) == 1)
    ]


@register(Tags.security, deploy=True)
def not_everybody_is_trusted(**kwargs: Any) -> list[CheckMessage]:
    names = {"ALLOWED_HOSTS": settings.ALLOWED_HOSTS, "CSRF_TRUSTED_ORIGINS": settings.CSRF_TRUSTED_ORIGINS}
    return [
        Warning(
            f"{name} has {one}, which stands for names of anybody's.",
            hint=f"Name the host of PUBLIC_URL: {urlsplit(settings.PUBLIC_URL).hostname}.",
            id="orderbridge.W034",
        )
        for name, those in names.items()
        for one in those
        if _is_anybodys(one.rpartition("://")[2])
    ]


def _is_anybodys(host: str) -> bool:
    """`*`, `.com`, `*.com:443`; not `.shop.example`, nor `.local`."""
    end = host.partition(":")[0].lstrip("*").strip(".")
    return host.startswith(("*", ".")) and "." not in end and f".{end}" not in PRIVATE_NAMES


@register(Tags.security, deploy=True)
def the_broker_asks_for_a_password(**kwargs: Any) -> list[CheckMessage]:
    with suppress(ValueError):
        parts = urlsplit(settings.QUEUE_BROKER)
        if parts.scheme in ("redis", "rediss") and not parts.password and not _is_this_machine(parts.hostname or ""):
            words = (
                f"QUEUE_BROKER has no password for {parts.hostname}: whoever gets there can stop and fill the queue."
            )
            hint = f"Give it one, requirepass in redis.conf, and write {parts.scheme}://:PASSWORD@{parts.hostname}."
            return [Warning(words, hint=hint, id="orderbridge.W035")]
    return []


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.rstrip(".").lower() in ("", "localhost")


def _is_weak(secret: bytes) -> bool:
    repeats = secret in (secret + secret)[1:-1]
    known = any(word.encode() in secret.lower() for word in KNOWN)
    return len(secret) < LEAST_SECRET or len(set(secret)) < LEAST_VARIETY or repeats or known


@register(Tags.security, deploy=True)
def no_file_is_for_others(**kwargs: Any) -> list[CheckMessage]:
    return [
        Warning(
            f"{path} may be read by every user of this machine: it holds {what}.",
            hint=f"chmod 600 {path}",
            id="orderbridge.W032",
        )
        for path, what in _files()
        if path.is_file() and stat.S_IMODE(path.stat().st_mode) & 0o007
    ]


def _files() -> Iterator[tuple[Path, str]]:
    if name := os.environ.get("ORDERBRIDGE_ENV_FILE", ".env"):
        yield settings.BASE_DIR / name, "the secrets"
    database = settings.DATABASES["default"]
    if "sqlite" in database["ENGINE"]:
        for suffix in ("", "-wal", "-shm"):
            yield Path(f"{database['NAME']}{suffix}"), "customers' data"
