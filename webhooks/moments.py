"""Times as others write them, read by one rule."""

from datetime import UTC, datetime, timedelta


def utc(text: str) -> datetime:
    """A time without a zone is UTC: so WooCommerce means its `_gmt` fields, and a CRM that leaves the Z out. One with
    a zone is converted. Raises ValueError where it is no time, or one that UTC cannot say."""
    try:
        at = datetime.fromisoformat(text)
        return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
    except (TypeError, OverflowError) as error:
        raise ValueError(f"{text!r} is no time") from error


def stored(text: str | None) -> datetime | None:
    """One that we wrote ourselves, with `isoformat`; None: there was none."""
    return datetime.fromisoformat(text) if text else None


def until(at: datetime, now: datetime) -> str:
    """For people: with the day, where that is not plain."""
    return f"{at:%H:%M:%S} UTC" if at - now < timedelta(hours=12) else f"{at:%Y-%m-%d %H:%M} UTC"
