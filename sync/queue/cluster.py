"""A cluster of django-q2 that never stalls: what is killed, or takes nothing more from the queue, is started anew.

With a worker that is killed dies the lock that it held. The others wait for it for ever, and django-q2 does not notice
(docs/decisions/0020). So the cluster ends as a whole, and the next one begins with what is due.
"""

import logging
import os
import signal
import threading
import time
import uuid
from contextlib import suppress
from multiprocessing import parent_process
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from types import FrameType
from typing import Any

from django.conf import settings
from django.db import DatabaseError, connections
from django_q import cluster as django_q_cluster
from django_q.cluster import Sentinel, get_mp_context
from django_q.signals import pre_execute

from sync.queue import allowed, schedules, shutdown
from sync.queue.shutdown import Flag
from webhooks import clock

log = logging.getLogger("orderbridge.cluster")

LEAVE_SECONDS: float = getattr(settings, "CLUSTER_LEAVE_SECONDS", 10.0)
"""For the orders in hand, when the cluster ends. What is left then is killed. Tests set both of these."""
STALLED_SECONDS: float = getattr(settings, "CLUSTER_STALLED_SECONDS", 10.0)
"""A task that lies so long before a worker that has nothing to do."""
LONGEST_PAUSE = 30.0
"""Between two attempts to start, when the database or the broker is away."""
POLL = 0.1
"""Not `join` with a timeout: it waits for a pipe that the sentinel's own children hold open, too."""
IDLE = -1

# What a table names is never run: docs/security.md. Whoever starts a cluster gets these, `--run-once` as well.
django_q_cluster.scheduler = schedules.enqueue_due
django_q_cluster.monitor = allowed.acknowledge


class Watched(Sentinel):
    """django-q2's sentinel of one cluster, in a session of its own: signals to the terminal's group pass it by."""

    def __init__(self, started: Flag) -> None:
        os.setsid()
        self.spawned: list[BaseProcess] = []
        self.took = Flag()
        pre_execute.connect(self._take)
        super().__init__(stop_event=shutdown.asked, start_event=started, cluster_id=uuid.uuid4())

    def _take(self, **kwargs: Any) -> None:
        """In a worker, at each task."""
        self.took.set()

    def spawn_process(self, target: Any, *args: Any) -> BaseProcess:
        process: BaseProcess = super().spawn_process(target, *args)
        self.spawned.append(process)
        return process

    def guard(self) -> None:
        tell_of_the_clock()
        threading.Thread(target=self._watch, name="watch", daemon=True).start()
        # Its heartbeat says at once that this cluster works; with nothing due, none would come for half a minute.
        self.task_queue.put({**allowed.drain(), "ack_id": None})
        super().guard()

    def _watch(self) -> None:
        """From a thread, as the sentinel itself waits for the locks of its workers."""
        try:
            why = self._what_is_wrong()
        except Exception as error:
            log.exception("the watch over the cluster broke")
            why = str(error)
        log.error("the cluster starts anew", extra={"why": why})
        shutdown.asked.set()
        until = time.monotonic() + LEAVE_SECONDS
        while time.monotonic() < until and any(_timer(one) > 0 and one.exitcode is None for one in list(self.pool)):
            time.sleep(0.05)
        os._exit(1)

    def _what_is_wrong(self) -> str:
        """Answers when something is."""
        supervisor = parent_process()
        assert supervisor is not None  # noqa: S101  we are its child
        heard = time.monotonic()
        while time.monotonic() - heard < STALLED_SECONDS:
            ready = wait([supervisor.sentinel, *(one.sentinel for one in self.spawned)], timeout=1.0)
            if supervisor.sentinel in ready:
                os.killpg(0, signal.SIGKILL)
            for process in [one for one in self.spawned if one.sentinel in ready]:
                self.spawned.remove(process)
                if (code := _exit_code(process)) < 0:
                    return f"process {process.pid} was ended by signal {-code}"
            if self.took.is_set() or not self._waits_in_vain():
                self.took.clear()
                heard = time.monotonic()
        return f"no worker took a task for {STALLED_SECONDS:.0f} s"

    def _waits_in_vain(self) -> bool:
        """Read past the locks, as one of these may be what was lost."""
        waiting: int = self.task_queue.size.count.get_obj().value
        return waiting > 0 and any(_timer(worker) == IDLE for worker in self.pool)


def run_sentinel(started: Flag) -> None:
    """In a process of its own."""
    try:
        Watched(started)
    except Exception as error:  # the database or the broker is away
        log.error("the cluster could not start", extra={"error": str(error)})
        raise SystemExit(1) from None


def why_no_locks() -> str:
    """Empty: processes can share locks here. Without them no cluster starts, today or ever."""
    try:
        get_mp_context().Lock()
    except (OSError, ImportError) as error:
        return (
            f"The workers' processes cannot share locks here ({error}): these lie in /dev/shm, which is missing, "
            "closed or full. Mount it for this user (`mount -t tmpfs -o mode=1777 tmpfs /dev/shm`; in Docker "
            "`--shm-size=64m`; in a systemd unit no InaccessiblePaths=/dev/shm), then start qcluster again."
        )
    return ""


def tell_of_the_clock() -> None:
    """At the start. A database that is away meanwhile is met by what comes next."""
    with suppress(DatabaseError):
        if words := clock.trouble():
            log.warning("%s %s", words, clock.ADVICE)


def _timer(worker: Any) -> float:
    """Seconds left for its task; IDLE if it has none."""
    seconds: float = worker.timer.get_obj().value
    return seconds


def _exit_code(process: BaseProcess) -> int:
    while (code := process.exitcode) is None:  # its pipe closes a moment before it ends
        time.sleep(0.01)
    return code


class Supervisor:
    """The main process: runs one cluster after the other until a signal ends it."""

    def __init__(self) -> None:
        self.ending = False

    def run(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._end)
        failures = 0
        while not self.ending:
            failures = 0 if self._run_one() else failures + 1
            self._pause(min(LONGEST_PAUSE, 2.0 ** (failures - 1)))

    def _end(self, signum: int, frame: FrameType | None) -> None:
        self.ending = True
        shutdown.asked.set()

    def _run_one(self) -> bool:
        """Until it ends, whoever ended it. False: it did not even start."""
        connections.close_all()
        started = Flag()
        shutdown.asked.clear()
        sentinel = get_mp_context().Process(target=run_sentinel, args=(started,), name="sentinel")
        if not self.ending:
            sentinel.start()
            while sentinel.is_alive() and not self.ending:
                time.sleep(POLL)
            until = time.monotonic() + LEAVE_SECONDS
            while sentinel.is_alive() and time.monotonic() < until:
                time.sleep(POLL)
            with suppress(ProcessLookupError):
                os.killpg(sentinel.pid or 0, signal.SIGKILL)  # what outlived its sentinel
            sentinel.join()
        return started.is_set()

    def _pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self.ending and time.monotonic() < until:
            time.sleep(POLL)
