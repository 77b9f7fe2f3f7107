"""What the workers may run. The queue is a table or a Redis list: whoever can write there is not obeyed.

A payload is opened only if it was signed with SECRET_KEY, and run only if it is one of our wake-ups, which take ids and
nothing else. All else is removed and raises an alarm. Of the schedules see `sync.queue.schedules`.
"""

import logging
import time
import uuid
from collections.abc import Iterable
from datetime import timedelta
from multiprocessing.queues import Queue
from typing import Any

from django.db import close_old_connections, transaction
from django.db.models.functions import Now
from django_q.brokers import Broker
from django_q.brokers.orm import ORM
from django_q.brokers.redis_broker import Redis
from django_q.conf import Conf
from django_q.models import OrmQ
from django_q.signing import SignedPackage
from redis import RedisError

from sync import alarms, registry
from sync.models import Severity
from webhooks import clock
from webhooks.models import WebhookEvent
from webhooks.wake import DRAIN

log = logging.getLogger("orderbridge.queue")

TASKS: dict[str, tuple[type, ...]] = {
    "sync.tasks.drain": (),
    "sync.tasks.sweep": (),
    "sync.tasks.seal_audit": (),
    "sync.tasks.watch": (),
    "sync.tasks.notify": (),
    "sync.tasks.poll": (),
    "sync.tasks.carry_out": (int,),
}
"""Every task but those of scheduled long runs, and what it takes."""
PARTS = frozenset({"id", "name", "func", "args", "kwargs", "started", "ack_failure", "group", "cluster"})
"""Of a payload. Others would have django-q2 run hooks, chains, or the task in another process."""

ALARM = "queue"
ADVICE = (
    "Somebody else can write to the database or to the queue's broker. Change their passwords, find out who had "
    "access, and run `verify_audit`: docs/security.md."
)
BETWEEN_DRAINS = 1.0
"""Seconds in which a cluster starts one drain: each looks on for as long after its last find."""
BETWEEN_LOOKS = 0.25
"""Seconds between two looks at a table of tasks that was empty."""
QUIET = timedelta(days=1)
"""The alarm ends when nothing more was found for so long."""


def tasks() -> dict[str, tuple[type, ...]]:
    """Every task there is. Those of the long runs' schedules take nothing."""
    return {**TASKS, **{one.task: () for one in registry.planned()}}


def is_ours(task: Any) -> bool:
    """One of our wake-ups, as our own code enqueues it."""
    return (
        isinstance(task, dict)
        and task.keys() <= PARTS
        and isinstance(task.get("func"), str)
        and tasks().get(task["func"]) == tuple(type(one) for one in task.get("args", ()))
        and not task.get("kwargs")
    )


def found_foreign(what: str) -> None:
    """It was removed; this tells people."""
    log.error("foreign task removed", extra={"found": what})
    try:
        with transaction.atomic():
            alarms.raise_alarm(ALARM, f"Removed from the queue, and not run: {what}.", ADVICE, Severity.CRITICAL)
    except Exception:  # the log has it; what is foreign must not stop the queue
        log.exception("no alarm could be raised")


def calm_down() -> None:
    """It was read by now, and nothing more came."""
    if alarms.open_alarms().filter(key=ALARM, seen_at__lt=clock.now() - QUIET).exists():
        alarms.clear(ALARM)


def drain() -> dict[str, Any]:
    return {"id": uuid.uuid4().hex, "name": "drain", "func": DRAIN, "args": (), "kwargs": {}}


class _OnlyOurs(Broker):
    """A broker that hands out nothing else; and while none of it waits, a drain for what is due in the inbox.

    This is what finds events: no row and no list has to tell of them, and a retry needs nobody to keep watch.
    """

    drained_at = float("-inf")

    def dequeue(self) -> list[tuple[Any, Any]]:
        waiting = [(key, payload) for key, payload in self._waiting() if self._is_ours(key, payload)]
        return waiting or self._drain()

    def _drain(self) -> list[tuple[Any, Any]]:
        """In no broker, so that it is acknowledged to none."""
        if time.monotonic() - self.drained_at < BETWEEN_DRAINS or not _is_due():
            return []
        self.drained_at = time.monotonic()
        return [(None, SignedPackage.dumps(drain()))]

    def _waiting(self) -> Iterable[tuple[Any, Any]]:
        return super().dequeue() or ()

    def _is_ours(self, key: Any, payload: Any) -> bool:
        try:
            task = SignedPackage.loads(payload)
            if is_ours(task):
                return True
            what = f"the task {_name(task)!r}, which is none of ours"
        except Exception:  # bytes that are no text, too: django-q2 would die of them
            what = "a task that is not signed with our SECRET_KEY (or SECRET_KEY was changed while it waited)"
        self.fail(key)
        found_foreign(what)
        return False


def _is_due() -> bool:
    if transaction.get_autocommit():
        close_old_connections()  # one that the database has ended would else stay for ever
    return WebhookEvent.objects.due(clock.now()).exists()


def _name(task: Any) -> str:
    return str(task.get("func") if isinstance(task, dict) else type(task).__name__)[:100]


class OrmBroker(_OnlyOurs, ORM):
    """By the database's clock, as several hosts share it. Its table holds schedules' tasks and runs, which may wait a
    quarter of a second; the inbox is looked at each time."""

    was_empty_at = float("-inf")

    def enqueue(self, task: str) -> int:
        row: OrmQ = self.get_connection().create(key=self.list_key or Conf.CLUSTER_NAME, payload=task, lock=Now())
        return row.pk

    def queue_size(self) -> int:
        return self.get_connection().filter(key=self.list_key, lock__lte=Now()).count()

    def _waiting(self) -> Iterable[tuple[Any, Any]]:
        """The time itself is not read: one that nobody can read, slipped in, would stop all the others."""
        if time.monotonic() - self.was_empty_at < BETWEEN_LOOKS:
            time.sleep(Conf.POLL)
            return
        waiting = self.get_connection().filter(key=self.list_key, lock__lte=Now())
        some = list(waiting.values_list("pk", "payload")[: Conf.BULK])
        if not some:
            self.was_empty_at = time.monotonic()
        for pk, payload in some:
            if waiting.filter(pk=pk).update(lock=Now() + timedelta(seconds=Conf.RETRY)):
                yield pk, payload


class RedisBroker(_OnlyOurs, Redis):
    """Redis, with the same care. It wakes at once; while it is away, the inbox alone is looked at."""

    def _waiting(self) -> Iterable[tuple[Any, Any]]:
        try:
            return super()._waiting()
        except RedisError:
            log.warning("Redis cannot be reached", exc_info=True)
            time.sleep(BETWEEN_DRAINS)
            return ()


def acknowledge(results: "Queue[Any]", broker: Broker) -> None:
    """The process that hears what became of the tasks. It takes the place of django-q2's, which keeps failures in a
    table, looks for older ones there, and so opens pickles that nobody signed and calls hooks that anybody wrote."""
    for task in iter(results.get, "STOP"):
        if task.get("ack_id"):
            broker.acknowledge(task["ack_id"])
        if not task["success"]:
            log.error("task failed", extra={"task": task["func"], "error": str(task["result"])})
