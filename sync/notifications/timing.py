"""When somebody may be told: quiet hours and the daily summary go by the recipient's own clock.

Pure: what is local time at a moment is asked of the time zone each time, so a change to or from summer time is nothing
special. An hour that comes twice is quiet twice; one that is left out is not missed.
"""

from datetime import date, datetime, time
from zoneinfo import ZoneInfo


def local(now: datetime, zone: str) -> datetime:
    try:
        return now.astimezone(ZoneInfo(zone))
    except (KeyError, ValueError, OSError):  # a zone that was valid when it was chosen
        return now


def is_quiet(now: datetime, begins: time | None, ends: time | None, zone: str) -> bool:
    """Whether `now` lies in the quiet hours. They may go past midnight."""
    if begins is None or ends is None or begins == ends:
        return False
    here = local(now, zone).time()
    return begins <= here < ends if begins < ends else here >= begins or here < ends


def summary_is_due(now: datetime, at: time | None, zone: str, *, last: date | None, since: datetime) -> bool:
    """Once on each day of the recipient, and first on the day after `since` if that was later than `at`."""
    if at is None:
        return False
    here = local(now, zone)
    if here.time() < at or (last is not None and last >= here.date()):
        return False
    began = local(since, zone)
    return began.date() < here.date() or began.time() <= at
