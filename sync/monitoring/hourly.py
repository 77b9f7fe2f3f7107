"""Hourly figures of attempts and calls, which outlive them. Each attempt is added once, with its calls, some minutes
after it was recorded (docs/decisions/0120)."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from django.db import transaction
from django.db.models import Max

from sync.models import Attempt, Call, Counted, HourlyFigure
from sync.monitoring.counting import SETTLED
from webhooks import clock

PAGE = 200
"""Attempts of one short transaction."""
PAGES = 20
"""At a time, so that nobody waits for it: what an upgrade finds is added up within hours."""
MARK = "hourly figures"
"""The row of `Counted` that says up to which attempt they go."""
What = HourlyFigure.What
Key = tuple[datetime, int | None, str, str, str]
"""The hour, the bridge, what, the side, and the result."""


Times = Mapping[Key, Sequence[int]]
"""Milliseconds of each."""


def roll_up() -> None:
    """Every minute: add what was recorded since."""
    known, _ = Counted.objects.get_or_create(table=MARK, defaults={"next_up_to": _newest()})
    for _ in range(PAGES):
        rows = Attempt.objects.filter(pk__gt=known.up_to, pk__lte=known.next_up_to).order_by("pk")
        page = list(rows.values_list("pk", flat=True)[:PAGE])
        if not page:
            break
        times = read(page)
        with transaction.atomic():
            if not Counted.objects.filter(pk=MARK, up_to=known.up_to).update(up_to=page[-1]):
                return  # another worker was faster, or these attempts are gone
            add(times)
        known.up_to = page[-1]
    else:
        return
    if clock.now() - known.next_at > SETTLED:
        same = Counted.objects.filter(pk=MARK, next_at=known.next_at)
        same.update(next_up_to=_newest(), next_at=clock.now())


def _newest() -> int:
    return Attempt.objects.aggregate(newest=Max("pk"))["newest"] or 0


def not_added(attempts: Sequence[int]) -> list[int]:
    """Those that are older than the figures, before they are removed. In the transaction that does it."""
    known, _ = Counted.objects.get_or_create(table=MARK, defaults={"next_up_to": _newest()})
    known = Counted.objects.select_for_update().get(pk=MARK)
    return [pk for pk in attempts if pk > known.up_to]


def read(attempts: Sequence[int]) -> Times:
    """What the figures of them and of their calls are made of."""
    times: defaultdict[Key, list[int]] = defaultdict(list)
    for at, bridge, what, side, result, milliseconds in _rows(attempts):
        times[at.replace(minute=0, second=0, microsecond=0), bridge, what, side, result].append(milliseconds)
    return times


def add(times: Times) -> None:
    """To the figures. In the transaction that moves the mark, or removes the rows: nobody else adds them, too."""
    hours = {hour for hour, *_ in times}
    known: dict[Key, HourlyFigure] = {
        (one.hour, one.bridge_id, one.what, one.side, one.result): one
        for one in HourlyFigure.objects.filter(hour__in=hours)
    }
    for key, took in times.items():
        hour, bridge, what, side, result = key
        new = HourlyFigure(hour=hour, bridge_id=bridge, what=what, side=side, result=result)
        figure = known.setdefault(key, new)
        figure.count += len(took)
        figure.milliseconds += sum(took)
        figure.slowest = max(figure.slowest, *took)
    changed = [known[key] for key in times]
    HourlyFigure.objects.bulk_create([one for one in changed if one._state.adding])
    old = [one for one in changed if not one._state.adding]
    HourlyFigure.objects.bulk_update(old, ["count", "milliseconds", "slowest"])


def _rows(attempts: Sequence[int]) -> Iterator[tuple[datetime, int | None, str, str, str, int]]:
    tried = Attempt.objects.filter(pk__in=attempts).order_by()
    columns = ("started_at", "event__bridge", "event__side", "result", "milliseconds")
    for at, bridge, side, result, took in tried.values_list(*columns):
        yield at, bridge, What.ATTEMPT.value, side, result, took
    called = Call.objects.filter(attempt__in=attempts, is_shared=False).order_by()
    columns = ("at", "attempt__event__bridge", "side", "status", "milliseconds")
    for at, bridge, side, status, took in called.values_list(*columns):
        yield at, bridge, What.CALL.value, side, str(status or 0), took
