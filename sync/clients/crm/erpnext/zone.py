"""ERPNext writes times without a zone, as the clock of the site shows them. Once a year an hour comes there twice."""

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sync.clients.errors import NotConfigured

FORMAT = "%Y-%m-%d %H:%M:%S.%f"


def zone_of(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        words = f"ERPNext's time zone {name[:60]!r} is not known here."
        advice = "Set the time zone of the connection (CRM_TIME_ZONE) to a name such as Europe/Berlin."
        raise NotConfigured(words, advice=advice, side="crm") from error


def is_twice(naive: datetime, zone: ZoneInfo) -> bool:
    """Whether the clock of the site shows this time twice."""
    first, second = (naive.replace(tzinfo=zone, fold=fold).utcoffset() for fold in (0, 1))
    return first is not None and second is not None and first > second


def moment(text: str, zone: ZoneInfo, now: datetime) -> datetime:
    """When the clock of the site showed this. Of the two moments of a time that comes twice it is the later one that
    is not still to come: so a change in the second hour is never taken for older than one in the first."""
    naive = datetime.fromisoformat(text)
    if naive.tzinfo is not None:
        raise ValueError(f"{text!r} has a zone")
    both = [naive.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1)]
    return max((at for at in both if at <= now), default=min(both))


def shown_from(at: datetime, zone: ZoneInfo) -> str:
    """What the clock of the site shows at that moment, or less: nothing that is changed from then on has a smaller
    time, also if the clock is put back meanwhile."""
    local = at.astimezone(zone)
    naive = local.replace(tzinfo=None, fold=0)
    if is_twice(naive, zone) and not local.fold:
        offsets = [naive.replace(tzinfo=zone, fold=fold).utcoffset() for fold in (0, 1)]
        naive -= offsets[0] - offsets[1]  # type: ignore[operator]
    return naive.strftime(FORMAT)


def today(zone: ZoneInfo) -> date:
    return datetime.now(zone).date()
