"""What an answer says, read strictly: JSON (RFC 8259), dates and Retry-After."""

import json
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, NoReturn

from webhooks.texts import ESCAPED, fit


def parsed(body: bytes) -> tuple[Any, bool]:
    """What of it no database could hold is marked here, once for all that is made of it."""
    try:
        text = body.decode("utf-8-sig")
        data = json.loads(text, parse_constant=_no_constant)
        return fit(data) if ESCAPED.search(text) else data, True
    except (ValueError, RecursionError):
        return None, False


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def retry_after(value: str | None) -> float | None:
    """Seconds to wait: from a number or an HTTP date, 0 to one day; None if it says neither (RFC 9110, 10.2.3)."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        until = http_date(value)
        if until is None:
            return None
        seconds = (until - datetime.now(UTC)).total_seconds()
    return min(max(seconds, 0.0), 86400.0) if seconds == seconds else None


def http_date(value: str | None) -> datetime | None:
    """None if there is none, or none that can be read; one without a zone says nothing."""
    try:
        at = parsedate_to_datetime(value or "")
        return at.astimezone(UTC) if at.tzinfo else None
    except (ValueError, TypeError, OverflowError):
        return None
