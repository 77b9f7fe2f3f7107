"""What the queue calls, by name. A task is a wake-up: the due rows say what is to be done."""

import functools
import time
from collections.abc import Callable
from datetime import timedelta

from orders.checkpoints import make_checkpoint
from sync import registry
from sync.clients import installation
from sync.jobs import engine, polling, reconciliation
from sync.models import Heartbeat, Lease, Run
from sync.monitoring import growth, hourly, lasting, schema_watch, shop_webhooks, silence, subscriptions, todo
from sync.notifications import rounds
from sync.pipeline import doubts
from sync.pipeline.leases import worker_name
from sync.pipeline.process import Turns, process_due
from sync.queue import allowed, shutdown
from webhooks import clock

BUDGET = 20.0
"""Seconds after which a drain ends, so that tasks which wait get their turn."""
TURN = 10.0
"""Seconds that a drain works before a long run that waits for a worker gets as many."""
LINGER = 1.0
"""Seconds a drain looks on after its last find: as long as its cluster starts no other."""
POLL = 0.05
LOOK_AGAIN = 1.0


def drain() -> None:
    """Settle what is due, and look on for a moment. The broker starts the next one when something is due again.

    A long run that waits for a worker is gone on with once nothing is due, or else after a turn of ours: its own task
    stands behind the drains that came before it, each of which lasts as long as there is a backlog.
    """
    beat()
    looked_at, turns = float("-inf"), Turns()
    began = time.monotonic()
    linger_until = began + LINGER
    while time.monotonic() < began + BUDGET and not shutdown.asked.is_set():
        worked = process_due(turns)
        if worked:
            linger_until = time.monotonic() + LINGER
        if time.monotonic() - looked_at >= LOOK_AGAIN and not (worked and time.monotonic() < began + TURN):
            looked_at = time.monotonic()
            if go_on_with_a_run(busy=worked):
                return
        elif worked:
            pass
        elif time.monotonic() < linger_until:
            time.sleep(POLL)
        else:
            return


def go_on_with_a_run(*, busy: bool) -> bool:
    """The one that has waited longest. While events are due the next drain comes anyway, and finds what remains of it:
    a task for each turn would fill the queue. A replay of many waits then, too: it comes after whatever comes in.
    """
    run = engine.longest_waiting(busy=busy)
    if run is None:
        return False
    if not engine.carry_out(run, budget=TURN if busy else engine.stretch_of(run)) and not busy:
        engine.hand_over(run)
    return True


def sweep() -> None:
    """Every minute: find runs that dead workers left, forget workers that are long gone, and add up what was done."""
    now = clock.now()
    Heartbeat.objects.filter(at__lt=now - timedelta(days=1)).delete()
    Lease.objects.filter(expires_at__lt=now - timedelta(minutes=10)).delete()
    allowed.calm_down()
    engine.pick_up()
    todo.refresh()
    hourly.roll_up()
    drain()
    if installation.may_call():
        schema_watch.after_refusals()


def __getattr__(name: str) -> Callable[[], None]:
    """The tasks of long runs that are scheduled, as `sync.tasks.prune`: each job declares its own."""
    for one in registry.planned():
        if one.task == f"{__name__}.{name}" and one.start is not None:
            return functools.partial(engine.on_schedule, one.start, by_bridge=one.by_bridge)
    raise AttributeError(f"There is no task {name!r}.")


def seal_audit() -> None:
    """Every hour: what vanishes from now on is missed, even if every trace in its own chain is removed with it."""
    make_checkpoint()


def watch() -> None:
    """Are the webhooks well, does each side talk as much as usual, is it known whose order each is, and does each sweep
    come to its end? Of a copy all of that is news to nobody."""
    if not installation.may_call():
        return
    shop_webhooks.on_schedule()
    subscriptions.on_schedule()
    silence.on_schedule()
    doubts.on_schedule()
    reconciliation.see_that_sweeps_end()
    lasting.on_schedule()
    growth.on_schedule()
    schema_watch.on_schedule()


def notify() -> None:
    """Every minute: whoever is to hear of an alarm does. The sending itself is another process's."""
    rounds.start_if_needed()


def poll() -> None:
    """Ask the CRMs that want to be asked more often than reconcile asks them."""
    polling.poll()


def carry_out(run_id: int) -> None:
    """One stretch of a long run; what is left goes to a new task, so that other tasks get their turn."""
    run = Run.objects.filter(pk=run_id, state=Run.State.RUNNING).first()
    if run and not engine.carry_out(run, budget=engine.stretch_of(run)):
        engine.hand_over(run)


def beat() -> None:
    """The proof that this worker works, not only lives."""
    own = Heartbeat(worker=worker_name(), at=clock.now())
    Heartbeat.objects.bulk_create([own], update_conflicts=True, unique_fields=["worker"], update_fields=["at"])
