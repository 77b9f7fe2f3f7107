"""Hourly figures of attempts and calls, which outlive them."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from sync.models import Attempt, Call, HourlyFigure

What = HourlyFigure.What
Key = tuple[datetime, int | None, str, str, str]
"""The hour, the bridge, what, the side, and the result."""


Times = Mapping[Key, Sequence[int]]
"""Milliseconds of each."""


def read(attempts: Sequence[int]) -> Times:
    """What the figures of them and of their calls are made of."""
    times: defaultdict[Key, list[int]] = defaultdict(list)
    for at, bridge, what, side, result, milliseconds in _rows(attempts):
        times[at.replace(minute=0, second=0, microsecond=0), bridge, what, side, result].append(milliseconds)
    return times


def add(times: Times) -> None:
    """To the figures. In the transaction that removes the rows: nobody else adds any at this time."""
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
