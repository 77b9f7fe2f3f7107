"""What the cluster does by the clock. `migrate` makes the rows; the sweep keeps them in step with the settings."""

from dataclasses import dataclass
from datetime import datetime, time, timedelta

from django.conf import settings
from django.utils import timezone
from django_q.models import Schedule

DAY = 24 * 60
NIGHT = time(3, 17)
"""UTC. Not on the hour, when everybody's jobs begin."""
LATER = time(4, 17)
"""When the deep reconcile has had its hour: what it finds is no drift."""


@dataclass(frozen=True, kw_only=True)
class Planned:
    name: str
    task: str
    minutes: int
    night: time = NIGHT
    "When, if it runs once a day."

    def first_run(self, now: datetime) -> datetime:
        """What runs once a day runs at night."""
        if self.minutes < DAY:
            return now
        tonight = datetime.combine(now.date(), self.night, tzinfo=now.tzinfo)
        return tonight if tonight > now else tonight + timedelta(days=1)


def planned() -> tuple[Planned, ...]:
    return (
        Planned(name="sweep", task="sync.tasks.sweep", minutes=1),
        Planned(name="reconcile", task="sync.tasks.reconcile", minutes=max(1, settings.RECONCILE_MINUTES)),
        Planned(name="reconcile deep", task="sync.tasks.reconcile_deep", minutes=DAY),
        Planned(name="drift", task="sync.tasks.drift_nightly", minutes=DAY, night=LATER),
        Planned(name="prune", task="sync.tasks.prune", minutes=DAY),
        Planned(name="verify audit", task="sync.tasks.verify_audit", minutes=DAY),
        Planned(name="seal audit", task="sync.tasks.seal_audit", minutes=60),
        Planned(name="watch", task="sync.tasks.watch", minutes=5),
    )


def keep_in_step() -> None:
    """Make what is missing, and correct what a changed setting made wrong. Times that are right are left alone."""
    now = timezone.now()
    for one in planned():
        wanted = {"func": one.task, "schedule_type": Schedule.MINUTES, "minutes": one.minutes, "repeats": -1}
        row, new = Schedule.objects.get_or_create(name=one.name, defaults={**wanted, "next_run": one.first_run(now)})
        if not new and any(getattr(row, name) != value for name, value in wanted.items()):
            Schedule.objects.filter(pk=row.pk).update(**wanted, next_run=one.first_run(now))
