"""Dates as people type them at a command."""

from datetime import UTC, datetime, timedelta

from django.core.management.base import CommandError
from django.utils.dateparse import parse_date, parse_datetime

WRONG_USE = 2


def moment(text: str, option: str, *, whole_day: bool = False) -> datetime:
    """UTC unless it says otherwise. `whole_day`: a date means its end. Raises CommandError."""
    try:
        day = parse_date(text)
        at = datetime(day.year, day.month, day.day) if day else parse_datetime(text)
        if at is None:
            raise ValueError
        if day and whole_day:
            at += timedelta(days=1)
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise CommandError(
            f"{option} {text!r} is no date. Write 2026-03-01 or 2026-03-01T12:00:00.", returncode=WRONG_USE
        ) from error


def period(since: str | None, until: str | None) -> tuple[datetime | None, datetime | None]:
    """Both ends, if they are told. Raises CommandError where nothing can lie between them."""
    begin = moment(since, "--since") if since else None
    end = moment(until, "--until", whole_day=True) if until else None
    if begin and end and begin >= end:
        words = f"--since {since} is not before --until {until}, so no order can lie between them. Exchange the two."
        raise CommandError(words, returncode=WRONG_USE)
    return begin, end
