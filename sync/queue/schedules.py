"""What the cluster does by the clock.

The rows of django-q2's table say *when*, and nothing else: what is run stands here and where each job is declared.
`migrate` makes them, and each cluster keeps them in step with the settings, and clean of what somebody else wrote.
"""

import logging
from datetime import timedelta

from django.db import close_old_connections, transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django_q.brokers import Broker, get_broker
from django_q.models import Schedule
from django_q.tasks import async_task

from sync import registry
from sync.queue import allowed, polls
from sync.registry import Planned
from webhooks import clock

log = logging.getLogger("orderbridge.schedules")

FAR = timedelta(days=1)
EMPTY = ("args", "kwargs", "hook", "cluster", "cron", "intended_date_kwarg")
"""Columns of which our rows have no need."""


def planned() -> tuple[Planned, ...]:
    """What keeps the queue going and the watches, and what the long runs declare."""
    return (
        Planned(name="sweep", task="sync.tasks.sweep", minutes=1),
        *registry.planned(),
        Planned(name="seal audit", task="sync.tasks.seal_audit", minutes=60),
        Planned(name="watch", task="sync.tasks.watch", minutes=5),
        Planned(name="notify", task="sync.tasks.notify", minutes=1),
    )


def enqueue_due(broker: Broker | None = None) -> None:
    """In the place of django-q2's scheduler, which runs whatever a row names and stops at one that it can not read. The
    guard of each cluster calls this twice a minute; a conditional update decides between several."""
    broker = broker or get_broker()
    if transaction.get_autocommit():
        close_old_connections()  # one that the database has ended would else stay for ever
    try:
        keep_in_step()
        for one in planned():
            with transaction.atomic():
                if _due(one).update(next_run=one.next_run(clock.now())):
                    async_task(one.task, broker=broker)
        if polls.is_due():
            async_task(polls.POLL, broker=broker)
    except Exception:  # the database or the broker is away: the guard lives on, and asks again
        log.exception("the schedules could not be seen to")


def _due(one: Planned) -> QuerySet[Schedule]:
    """A time far beyond the next one is none of ours, and would silence the task."""
    now = clock.now()
    return Schedule.objects.filter(name=one.name).exclude(next_run__gt=now, next_run__lte=now + one.every + FAR)


def keep_in_step() -> None:
    """Remove what is not ours, make what is missing, and correct what a changed setting made wrong. No time is read, as
    one that was slipped in may be unreadable; those that are right are left alone."""
    _remove_foreign()
    now, minutes = clock.now(), dict(Schedule.objects.values_list("name", "minutes"))
    for one in planned():
        wanted = {"func": one.task, "schedule_type": Schedule.MINUTES, "minutes": one.minutes, "repeats": -1}
        if one.name not in minutes:
            Schedule.objects.create(name=one.name, **wanted, next_run=one.first_run(now))
        elif minutes[one.name] != one.minutes:
            Schedule.objects.filter(name=one.name).update(**wanted, next_run=one.first_run(now))


def _remove_foreign() -> None:
    ours = Q(pk=None)
    for one in planned():
        ours |= Q(name=one.name, func=one.task)
    for name in EMPTY:
        ours &= Q(**{name: None}) | Q(**{name: ""})
    twice = Schedule.objects.filter(name=OuterRef("name"), pk__lt=OuterRef("pk"))
    foreign = Schedule.objects.filter(~ours | Exists(twice))
    if number := foreign.count():
        try:
            named = ", ".join(f"{name!r} ({func!r})" for name, func in foreign.values_list("name", "func")[:5])
        except Exception:
            named = "unreadable"
        foreign.delete()
        allowed.found_foreign(f"{number} schedule{'' if number == 1 else 's'}: {named[:500]}")
