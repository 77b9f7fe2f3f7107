"""Tell the workers of something to do. A hint only: the rows say what, and every cluster looks at them itself.

With the database as the broker there is nothing to tell of an event: clusters look at the inbox as often as they
would at the broker. Redis pushes, and so is told; a hint that it loses costs a second.
"""

import functools
import logging
import threading
import time
from collections import deque
from typing import Any

import redis
from django.conf import settings
from django_q.brokers import Broker, get_broker
from django_q.brokers.redis_broker import Redis
from django_q.tasks import async_task
from redis.backoff import NoBackoff
from redis.retry import Retry

log = logging.getLogger("orderbridge.wake")

WAKE_INTERVAL = 0.5
"""Seconds between two wake-ups of one process. A drain looks on for longer than this after its last find."""
DRAIN = "sync.tasks.drain"
TIMEOUT = 1.0
"""Seconds for a broker to be reached, and to answer."""
BACK_OFF = 10.0
"""Seconds in which a broker that could not be reached is not tried again by this process."""

_lock = threading.Lock()
_last = _away_until = float("-inf")
_waiting: deque[tuple[str, tuple[Any, ...]]] = deque(maxlen=100)
_sender: threading.Thread | None = None


class Impatient(Redis):
    """django-q2 waits five seconds and more for an answer."""

    @staticmethod
    def get_connection(list_key: str | None = None) -> Any:
        # Once more at once, as a kept connection may have been cut; but not after a silence.
        again = Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,))
        return redis.Redis.from_url(
            settings.QUEUE_BROKER, socket_timeout=TIMEOUT, socket_connect_timeout=TIMEOUT, retry=again
        )


@functools.cache
def _broker() -> Broker:
    """One for the process: without it django-q2 opens a new connection at every call."""
    return get_broker() if settings.QUEUE_BROKER == "orm" else Impatient()


def wake() -> None:
    """Events are due. Call after their rows are committed."""
    global _last
    if settings.QUEUE_BROKER == "orm":
        return
    with _lock:
        now = time.monotonic()
        if now - _last < WAKE_INTERVAL:
            return
        _last = now
    enqueue(DRAIN)


def enqueue(task: str, *arguments: Any) -> None:
    """Have a worker do it. A hint, too: what is to be done stands in a row that a sweep finds. Nobody waits for it:
    what goes over a network is sent by a thread, which ends when nothing more is to be sent."""
    global _sender
    with _lock:
        if time.monotonic() < _away_until or (task, arguments) in _waiting:
            return
        if settings.QUEUE_BROKER != "orm":
            _waiting.append((task, arguments))
            if _sender is None or not _sender.is_alive():
                _sender = threading.Thread(target=_send_all, name="wake")
                _sender.start()
            return
    _send(task, *arguments)


def _send_all() -> None:
    global _sender
    while True:
        with _lock:
            if not _waiting:
                _sender = None
                return
            task, arguments = _waiting.popleft()
        if not _send(task, *arguments):
            _forget_for_a_while()


def _forget_for_a_while() -> None:
    global _away_until
    with _lock:
        _away_until = time.monotonic() + BACK_OFF
        _waiting.clear()


def _send(task: str, *arguments: Any) -> bool:
    try:
        # Where a task waits unread, a worker that gets free looks at the inbox anyway.
        if task != DRAIN or not _broker().queue_size():
            async_task(task, *arguments, broker=_broker())
    except Exception:
        log.warning(
            "the queue's broker cannot be reached; the workers look at the inbox themselves",
            extra={"task": task},
            exc_info=True,
        )
        return False
    return True
