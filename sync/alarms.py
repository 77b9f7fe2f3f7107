"""What needs a person: raised once, seen again while it lasts, cleared when it is over."""

import logging

from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.utils import timezone

from sync.models import Alarm, Severity

log = logging.getLogger("orderbridge.alarms")


def raise_alarm(
    key: str, words: str, advice: str, severity: Severity = Severity.WARNING, *, bridge: int | None = None
) -> None:
    """While it is open, raising it again only says that it still is so. `bridge`: what it is about, if it is."""
    said = {"words": words, "advice": advice, "severity": severity}
    if the_open_one(key, bridge).update(**said, seen_at=timezone.now()):
        return
    try:
        with transaction.atomic():
            Alarm.objects.create(key=key, bridge_id=bridge, **said)
    except IntegrityError:  # another process saw it at the same moment: `open_alarm_once`
        return
    log.error("alarm raised", extra={"alarm": key, "words": words, "advice": advice})


def clear(key: str, *, bridge: int | None = None) -> None:
    """It is over. Nothing happens if it was not open."""
    if the_open_one(key, bridge).update(cleared_at=timezone.now()):
        log.warning("alarm cleared", extra={"alarm": key})


def the_open_one(key: str, bridge: int | None = None) -> QuerySet[Alarm]:
    """Empty if it is not open."""
    of = {"bridge__isnull": True} if bridge is None else {"bridge": bridge}
    return open_alarms().filter(key=key, **of)


def open_alarms() -> QuerySet[Alarm]:
    """The longest standing first."""
    return Alarm.objects.filter(cleared_at=None).order_by("raised_at", "pk")
