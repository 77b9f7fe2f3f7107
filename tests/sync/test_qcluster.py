"""How a cluster begins; and where it can not start, it says what is missing."""

import errno
import os
from queue import Queue
from unittest.mock import patch

import pytest
from django.core.management import CommandError, call_command
from django_q.cluster import Sentinel

from sync.queue import cluster
from sync.queue.cluster import Watched
from webhooks.wake import DRAIN


@pytest.mark.parametrize(
    "error",
    [
        PermissionError(errno.EACCES, os.strerror(errno.EACCES)),
        FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)),
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
        OSError(errno.ENOSYS, os.strerror(errno.ENOSYS)),
        ImportError("This platform lacks a functioning sem_open implementation"),
    ],
    ids=["closed", "missing", "full", "not known", "not built in"],
)
@pytest.mark.parametrize("options", [{}, {"run_once": True}], ids=["for good", "once"])
def test_without_shared_memory_it_ends_and_says_so(error: Exception, options: dict[str, bool]) -> None:
    """It tried again for ever, with "[Errno 13] Permission denied" each time."""
    with (
        patch("multiprocessing.synchronize._multiprocessing.SemLock", side_effect=error),
        patch.object(cluster.Supervisor, "run") as keeps_on,
        patch("django_q.cluster.Cluster.start") as starts,
        pytest.raises(CommandError) as raised,
    ):
        call_command("qcluster", **options)
    assert raised.value.returncode == 1
    assert all(words in str(raised.value) for words in ("dev/shm", "Mount it", str(error)))
    keeps_on.assert_not_called()
    starts.assert_not_called()


def test_with_it_nothing_is_said() -> None:
    assert cluster.why_no_locks() == ""


def test_a_cluster_begins_with_a_drain_so_that_it_is_seen_to_work_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """With nothing due the first heartbeat would come with the schedules, half a minute later."""
    monkeypatch.setattr(Sentinel, "guard", lambda self: None)
    monkeypatch.setattr(Watched, "_watch", lambda self: None)
    monkeypatch.setattr(cluster, "tell_of_the_clock", lambda: None)
    sentinel = Watched.__new__(Watched)
    sentinel.task_queue = Queue()
    sentinel.guard()
    task = sentinel.task_queue.get_nowait()
    assert (task["func"], task["ack_id"]) == (DRAIN, None)
