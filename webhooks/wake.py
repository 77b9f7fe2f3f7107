"""Wake a worker up. A hint only: the row is the truth, and a sweep finds the rows whose wake-up was lost."""

import functools
import logging
import threading
import time
from typing import Any

from django_q.brokers import Broker, get_broker
from django_q.tasks import async_task

log = logging.getLogger("orderbridge.wake")

WAKE_INTERVAL = 0.5
"""Seconds between two wake-ups of one process. The drain looks on for longer than this after its last find."""
ENOUGH = 3
"""Tasks that wait unread: one more tells the workers nothing, as each of these starts after this row was stored, and
settles what is due or ends with a wake-up. While a backlog lasts, other tasks wait behind so many drains."""

_lock = threading.Lock()
_last = float("-inf")


@functools.cache
def _broker() -> Broker:
    """One for the process: without it django-q2 opens a new connection at every call."""
    return get_broker()


def wake(*, force: bool = False) -> None:
    """Call after the rows are committed. A broker that is away costs a log line, never the delivery."""
    global _last
    with _lock:
        now = time.monotonic()
        if not force and now - _last < WAKE_INTERVAL:
            return
        _last = now
    try:
        if _broker().queue_size() < ENOUGH:
            async_task("sync.tasks.drain", broker=_broker())
    except Exception:
        log.warning("the queue's broker can not be reached; the sweep will find the event", exc_info=True)


def enqueue(task: str, *arguments: Any) -> None:
    """Have a worker do it. A hint, too: what is to be done stands in a row that a sweep finds."""
    try:
        async_task(task, *arguments, broker=_broker())
    except Exception:
        log.warning(
            "the queue's broker can not be reached; the sweep will see to it", extra={"task": task}, exc_info=True
        )
