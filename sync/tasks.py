"""What the queue calls, by name. A task is a wake-up: the due rows say what is to be done."""

import functools
import time
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import ParamSpec

from django.db.models.functions import Now

from orders.checkpoints import make_checkpoint
from sync import registry
from sync.jobs import engine, reconciliation
from sync.models import Heartbeat, Lease, Run
from sync.monitoring import shop_webhooks, silence, todo
from sync.pipeline import doubts
from sync.pipeline.hands import Hands
from sync.pipeline.leases import worker_name
from sync.queue import allowed, shutdown
from webhooks import clock
from webhooks.models import WebhookEvent
from webhooks.wake import wake

P = ParamSpec("P")

BUDGET = 20.0
"""Seconds after which a drain hands over to a new task, so that scheduled ones get their turn."""
TURN = 10.0
"""Seconds that a drain works before a long run that waits for a worker gets as many."""
LINGER = 1.0
"""Seconds a drain looks on after its last find: longer than the web processes' pause between two wake-ups."""
POLL = 0.05
LOOK_AGAIN = 1.0
WATCH_POLL = 0.2
WATCH_AHEAD = timedelta(seconds=60)
"""One worker of all keeps watch while something is due within this time; the sweep takes over beyond it."""
WATCH_LEASE = timedelta(seconds=10)


def then_look(task: Callable[P, None]) -> Callable[P, None]:
    """For every task that settles nothing itself. While it waited, a wake-up may have been left out, as enough tasks
    were waiting; the last of them to end finds the queue short, and makes up for it."""

    @functools.wraps(task)
    def carried_out(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            task(*args, **kwargs)
        finally:
            wake(force=True)

    return carried_out


def drain() -> None:
    """Settle what is due, look on for a moment, and stay on watch while retries are near.

    A long run that waits for a worker is gone on with once nothing is due, or else after a turn of ours: its own task
    stands behind all the wake-ups that came before it, each of which lasts as long as there is a backlog.
    """
    beat()
    watch, looked_at = Watch(), float("-inf")
    began = time.monotonic()
    linger_until = began + LINGER
    try:
        with Hands() as hands:
            while time.monotonic() < began + BUDGET and not shutdown.asked.is_set():
                worked = hands.work_once()
                if worked:
                    linger_until = time.monotonic() + LINGER
                    wake()  # where there was one, there may be more than this worker can do: another host's may be idle
                if time.monotonic() - looked_at >= LOOK_AGAIN and not (worked and time.monotonic() < began + TURN):
                    looked_at = time.monotonic()
                    if go_on_with_a_run(busy=worked):
                        break
                elif worked:
                    pass
                elif time.monotonic() < linger_until:
                    time.sleep(POLL)
                elif watch.is_mine():
                    time.sleep(WATCH_POLL)
                else:
                    return
    finally:
        watch.release()
    wake(force=True)


def go_on_with_a_run(*, busy: bool) -> bool:
    """The one that has waited longest. No task is left for what remains of it: the next drain finds it as this one did.

    While others wait for us a replay of many does, too: it comes after whatever comes in.
    """
    run = engine.longest_waiting(busy=busy)
    if run is None:
        return False
    engine.carry_out(run, budget=TURN if busy else engine.stretch_of(run))
    return True


def sweep() -> None:
    """Every minute: find what no wake-up told of, and forget workers that are long gone."""
    now = clock.now()
    Heartbeat.objects.filter(at__lt=now - timedelta(days=1)).delete()
    Lease.objects.filter(expires_at__lt=now - timedelta(minutes=10)).delete()
    allowed.calm_down()
    engine.pick_up()
    todo.refresh()
    drain()


def __getattr__(name: str) -> Callable[[], None]:
    """The tasks of long runs that are scheduled, as `sync.tasks.prune`: each job declares its own."""
    for one in registry.planned():
        if one.task == f"{__name__}.{name}" and one.start is not None:
            return then_look(functools.partial(engine.on_schedule, one.start))
    raise AttributeError(f"There is no task {name!r}.")


@then_look
def seal_audit() -> None:
    """Every hour: what vanishes from now on is missed, even if every trace in its own chain is removed with it."""
    make_checkpoint()


@then_look
def watch() -> None:
    """Are the webhooks well, does each side talk as much as usual, is it known whose order each is, and does each sweep
    come to its end?"""
    shop_webhooks.on_schedule()
    silence.on_schedule()
    doubts.on_schedule()
    reconciliation.see_that_sweeps_end()


@then_look
def carry_out(run_id: int) -> None:
    """One stretch of a long run; what is left goes to a new task, so that other tasks get their turn."""
    run = Run.objects.filter(pk=run_id, state=Run.State.RUNNING).first()
    if run and not engine.carry_out(run, budget=engine.stretch_of(run)):
        engine.hand_over(run)


def beat() -> None:
    """The proof that this worker works, not only lives."""
    Heartbeat.objects.update_or_create(worker=worker_name(), defaults={"at": clock.now()})


class Watch:
    """The right of one worker to wait for retries that are due soon, so that the others are free."""

    def __init__(self) -> None:
        self.token = uuid.uuid4()
        self.asked_at = float("-inf")
        self.mine = False

    def is_mine(self) -> bool:
        """Asked once a second at most."""
        if time.monotonic() - self.asked_at >= 1.0:
            self.asked_at = time.monotonic()
            self.mine = self._soon() and self._hold()
        return self.mine

    def release(self) -> None:
        Lease.objects.filter(key="watch", token=self.token).delete()

    def _soon(self) -> bool:
        return WebhookEvent.objects.due(clock.now() + WATCH_AHEAD).exists()

    def _hold(self) -> bool:
        mine = {"token": self.token, "holder": worker_name(), "expires_at": Now() + WATCH_LEASE}
        if Lease.objects.filter(key="watch", token=self.token).update(**mine):
            return True
        if Lease.objects.filter(key="watch", expires_at__lte=Now()).update(**mine):
            return True
        _, made = Lease.objects.get_or_create(key="watch", defaults=mine)
        return made
