"""Is this the installation that the database belongs to? A copy of a database knows all orders, and perhaps all keys:
on another host it must neither read nor write, until somebody says that this is the one now (docs/decisions/0081)."""

import ipaddress
import logging
import time
from urllib.parse import urlsplit

from django.conf import settings
from django.db import transaction

from orders import audit
from sync import alarms
from sync.clients.errors import NotConfigured
from sync.models import Installation, Severity

log = logging.getLogger("orderbridge.installation")

ALARM = "installation"
ADVICE = (
    "If this is a copy, leave it paused, or give it a shop and a CRM of its own. If the installation has moved here, "
    "press Confirm on the home page, or run `python manage.py installation --confirm --reason WHY`. If PUBLIC_URL is "
    "wrong, correct it in .env and restart."
)
LOOK_AGAIN = 10.0
"""Seconds for which a worker believes that it is still the one."""
LOOK_SOON = 2.0
"""Seconds after which one that is not looks again."""

_seen: dict[str, tuple[float, str]] = {}
"""By PUBLIC_URL: when this process looked last, and what was the matter; empty: nothing."""
_stored: set[str] = set()
"""Each PUBLIC_URL of which this process has seen to it that the database has it."""


class NotThisInstallation(NotConfigured):
    """The database belongs to an installation at another address. Nothing is called."""


def displaced() -> str:
    """Empty, or in words why this installation is paused. A database without an address belongs to nobody yet."""
    stored = Installation.objects.filter(pk=Installation.ONLY).values_list("public_url", flat=True).first()
    if stored is None or _is_local(stored) or address(stored) == address(settings.PUBLIC_URL):
        return ""
    return (
        f"This database belongs to the installation at {stored}, but PUBLIC_URL is {settings.PUBLIC_URL}. It may be a "
        "copy, so nothing is read from the shop or the CRM, and nothing is written there. Deliveries are stored."
    )


def displaced_lately() -> str:
    """The same for those who ask often: good news is believed for some seconds."""
    at, before = _seen.get(settings.PUBLIC_URL, (0.0, "never looked"))
    return _look(settings.PUBLIC_URL) if before or time.monotonic() - at > LOOK_AGAIN else ""


def ensure_ours(side: str) -> None:
    """Before a client of a side is made. Raises NotThisInstallation. Nobody is asked twice for good news."""
    url = settings.PUBLIC_URL
    if _seen.get(url, (0.0, "never looked"))[1] and (words := _look(url)):
        raise NotThisInstallation(words, advice=ADVICE, side=side)


def may_call() -> bool:
    """Of a worker, before each batch. The first that may stores the address; one that may not raises the alarm."""
    url = settings.PUBLIC_URL
    at, before = _seen.get(url, (float("-inf"), ""))
    if (before or url in _stored) and time.monotonic() - at < (LOOK_SOON if before else LOOK_AGAIN):
        return not before
    if words := _look(url):
        alarms.raise_alarm(ALARM, words, ADVICE, Severity.CRITICAL)
        return False
    if before or url not in _stored:
        _store(url)
        alarms.clear(ALARM)
    return True


def confirm(*, actor: str, reason: str) -> None:
    """This is the one now."""
    row, _ = Installation.objects.get_or_create(pk=Installation.ONLY, defaults={"public_url": settings.PUBLIC_URL})
    result = f"The database belonged to {row.public_url}, and belongs to {settings.PUBLIC_URL} now"
    row.public_url = settings.PUBLIC_URL
    with transaction.atomic():
        row.save()
        audit.record("confirm installation", actor=actor, reason=reason, result=result)
    forget()
    alarms.clear(ALARM)


def forget() -> None:
    """What this process has seen."""
    _seen.clear()
    _stored.clear()


def believe() -> None:
    """As if it had looked, and all were well for good: for tests."""
    _seen[settings.PUBLIC_URL] = float("inf"), ""
    _stored.add(settings.PUBLIC_URL)


def _look(url: str) -> str:
    words = displaced()
    _seen[url] = time.monotonic(), words
    return words


def _store(url: str) -> None:
    """Of an address that nobody else could reach, nothing is to be protected: it was a first look, and moves on."""
    row, is_new = Installation.objects.get_or_create(pk=Installation.ONLY, defaults={"public_url": url})
    if not is_new and row.public_url != url:
        log.warning("the address of this installation changed", extra={"before": row.public_url, "now": url})
        row.public_url = url
        row.save()
    _stored.add(url)


def address(url: str) -> str:
    """What tells two installations apart. Neither http or https do, nor capitals, nor a slash at the end; and on this
    machine alone, no port does: `make run` takes whichever is free."""
    if _is_local(url):
        return "this machine"
    parts = urlsplit(url)
    port = "" if parts.port in (80, 443, None) else f":{parts.port}"
    return f"{(parts.hostname or '').rstrip('.')}{port}{parts.path.rstrip('/')}"


def _is_local(url: str) -> bool:
    host = (urlsplit(url).hostname or "").rstrip(".")
    try:
        return ipaddress.ip_address(host).is_loopback or ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
