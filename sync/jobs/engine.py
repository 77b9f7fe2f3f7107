"""Long jobs, for commands, the schedule and the back office alike: each goes on from its checkpoint after a crash."""

import functools
import logging
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import closing
from datetime import timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet

from sync.clients import causes
from sync.clients.errors import NotConfigured, SideError
from sync.models import Run
from sync.pipeline.leases import is_gone, worker_name
from sync.queue import shutdown
from sync.registry import JOBS
from webhooks import clock
from webhooks.connections import DEFAULT_BRIDGE, Bridge, Side
from webhooks.masking import quoted
from webhooks.wake import enqueue

log = logging.getLogger("orderbridge.runs")

SILENT = timedelta(seconds=60)
"""A holder without a sign of life for this long is dead."""
GOES_ON = timedelta(days=7)
"""An unfinished run that has rested for longer is not taken up again: the next one begins anew."""
BEAT_SECONDS = 2.0


class NotStarted(Exception):
    """The run can not be started. The message says why, and what to do."""


class AlreadyRunning(NotStarted):
    """A run of this kind is at work. Of most kinds there is one at a time."""

    def __init__(self, run: Run) -> None:
        who = f" for {run.actor}" if run.actor else ""
        super().__init__(
            f"{run} is running since {run.started_at:%Y-%m-%d %H:%M:%S} UTC{who}, held by {run.holder or 'the queue'}. "
            "Wait for it, or cancel it under /admin/sync/run/."
        )
        self.run = run


class Failed(Exception):
    """The run can not go on. The message says why, and what to do."""


def start(
    kind: str,
    *,
    options: Mapping[str, Any],
    bridge: int | None = None,
    actor: str = "",
    reason: str = "",
    per_minute: int | None = None,
    total: int | None = None,
    restart: bool = False,
    spare: Collection[int] = (),
) -> Run:
    """A run held by this process: a new one, or the unfinished one with the same options, unless `restart`. Others are
    given up, but those to `spare`. `bridge`: what it is about; each has its own.

    Raises AlreadyRunning. Then either `carry_out` it here, or `hand_over` to the workers.
    """
    fields = {
        "options": dict(options),
        "bridge_id": bridge,
        "actor": actor,
        "reason": reason,
        "per_minute": per_minute,
        "total": total,
    }
    fields["version"] = JOBS[kind].version
    began = {"started_at": clock.now(), "beat_at": clock.now()}
    if not JOBS[kind].is_single:
        return Run.objects.create(kind=kind, holder=worker_name(), **fields, **began)
    for run in _unfinished(kind, bridge):
        if run.state == Run.State.RUNNING and not is_dead(run):
            raise AlreadyRunning(run)
        if run.pk in spare:
            continue
        rested = clock.now() - run.beat_at
        if restart or run.options != fields["options"] or rested > GOES_ON:
            _finish(run, Run.State.CANCELLED, error="Given up: a new run was started instead.")
        elif _take_over(run):
            return run
    try:
        with transaction.atomic():
            return Run.objects.create(kind=kind, holder=worker_name(), **fields, **began)
    except IntegrityError:  # another process was quicker: `one_running_of_a_kind`
        _raise_already_running(kind, bridge)
        raise


def start_with(kind: str, options: Callable[..., dict[str, Any]]) -> Callable[..., Run]:
    """`start` of a job that goes on if it is started again with the same options, and may have a speed limit."""

    def started(
        *,
        actor: str,
        reason: str = "",
        restart: bool = False,
        per_minute: int | None = None,
        bridge: int = DEFAULT_BRIDGE,
        **chosen: Any,
    ) -> Run:
        """What may be chosen: see `options`, and what it raises. Raises AlreadyRunning."""
        return start(
            kind,
            options=options(bridge=bridge, **chosen),
            bridge=bridge,
            actor=actor,
            reason=reason,
            restart=restart,
            per_minute=per_minute,
        )

    return started


def _raise_already_running(kind: str, bridge: int | None) -> None:
    """If one is; else the database refused it for another reason."""
    if running := _about(kind, bridge).filter(state=Run.State.RUNNING).first():
        raise AlreadyRunning(running) from None


def hand_over(run: Run) -> None:
    """To the workers. A lost wake-up is made good by the sweep."""
    Run.objects.filter(pk=run.pk, state=Run.State.RUNNING).update(holder="", beat_at=clock.now())
    enqueue("sync.tasks.carry_out", run.pk)


def pick_up() -> None:
    """What dead holders left goes to the workers."""
    silent_since = clock.now() - SILENT
    for pk in Run.objects.filter(state=Run.State.RUNNING, beat_at__lt=silent_since).values_list("pk", flat=True):
        enqueue("sync.tasks.carry_out", pk)


def longest_waiting(*, busy: bool = False) -> Run | None:
    """Of those that were handed over and that no worker has taken up, or that a dead one has left. `busy`: others wait,
    too, so that those which go last do not count."""
    left = Q(holder="") | Q(beat_at__lt=clock.now() - SILENT)
    but = [job.kind for job in JOBS.values() if job.goes_last and busy]
    return Run.objects.filter(left, state=Run.State.RUNNING).exclude(kind__in=but).order_by("beat_at").first()


def on_schedule(start: Callable[..., Run | None], *, by_bridge: bool = False) -> None:
    """A stretch of it; the workers do the rest. Nothing is done while one is at work or a side is not configured."""
    if not by_bridge:
        _on_schedule(start, alone=True)
        return
    bridges = list(Bridge.objects.on().values_list("pk", flat=True))
    for bridge in bridges:
        _on_schedule(functools.partial(start, bridge=bridge), alone=len(bridges) == 1)


def _on_schedule(start: Callable[[], Run | None], *, alone: bool) -> None:
    try:
        run = start()
    except (NotConfigured, AlreadyRunning):
        return
    if run and not (alone and carry_out(run, budget=stretch_of(run))):
        hand_over(run)


def bridge_of(run: Run) -> Bridge:
    """With its connections. What was started before there were several is about the default one."""
    return bridge_with(run.bridge_id or DEFAULT_BRIDGE)


def bridge_with(pk: int) -> Bridge:
    return Bridge.objects.with_connections().get(pk=pk)


def _told(run: Run, error: SideError | Failed) -> str:
    """What to do about a connection of the back office is done on its page."""
    if isinstance(error, SideError) and error.side in Side.values:
        return causes.told(str(error), bridge_of(run).slug_of(error.side))
    return str(error)


def stretch_of(run: Run) -> float:
    """Seconds that a worker works on it at a time."""
    return JOBS[run.kind].stretch if run.kind in JOBS else 0.0


def carry_out(run: Run, *, budget: float | None = None, on_progress: Callable[[Run], None] = lambda run: None) -> bool:
    """Work on it until it ends or somebody stops it. False: the budget, in seconds, was used up and work is left."""
    if not (run.holder == worker_name() or _take_over(run)):
        return True
    until = time.monotonic() + budget if budget is not None else float("inf")
    try:
        if _work(run, until, on_progress):
            _finish(run, Run.State.DONE)
    except (SideError, Failed) as error:
        _finish(run, Run.State.FAILED, error=_told(run, error))
    except Exception as error:
        log.exception("unexpected error", extra={"run": run.pk, "kind": run.kind})
        _finish(
            run, Run.State.FAILED, error=f"Unexpected: {type(error).__name__}: {quoted(str(error))}. The log has more."
        )
    finally:
        run.refresh_from_db()
    on_progress(run)
    if run.state == Run.State.RUNNING and run.holder == worker_name():
        Run.objects.filter(pk=run.pk, holder=worker_name()).update(holder="", beat_at=clock.now())
        run.refresh_from_db()  # so that whoever has this object may go on with it
        return False
    return True


def _work(run: Run, until: float, on_progress: Callable[[Run], None]) -> bool:
    """True: it got to its end."""
    if run.kind not in JOBS:
        raise Failed(f"No job of this version is a {run.kind!r}. Cancel it, or install the version that has one.")
    _bring_up_to_date(run)
    saved, saved_at = run.checkpoint, float("-inf")
    began = time.monotonic() - run.worked
    with closing(JOBS[run.kind].work(run)) as steps:
        for _ in steps:
            now = time.monotonic()
            run.worked = now - began
            if run.checkpoint is not saved or now - saved_at > BEAT_SECONDS:
                if not _save(run):
                    return False
                saved, saved_at = run.checkpoint, now
                on_progress(run)
            if now > until or shutdown.asked.is_set():
                return False
    run.worked = time.monotonic() - began
    return _save(run)


def _bring_up_to_date(run: Run) -> None:
    """Another release may have written its checkpoint, which must not be misread."""
    job = JOBS[run.kind]
    if run.version == job.version:
        return
    known = job.read(run.checkpoint, run.version)
    if known is None:
        run.note = (
            f"It began anew: another release of Orderbridge had begun it, and its checkpoint (version {run.version}) "
            f"says nothing to this one (version {job.version}). What was done stays done."
        )
        log.warning("a run begins anew", extra={"run": run.pk, "kind": run.kind, "checkpoint": run.version})
        run.counts, run.total = {}, None
    run.checkpoint, run.version = known or {}, job.version


def _save(run: Run) -> bool:
    """False: it was paused, cancelled or taken over meanwhile, so that it is no longer ours."""
    mine = Run.objects.filter(pk=run.pk, state=Run.State.RUNNING, holder=worker_name())
    done = {"checkpoint": run.checkpoint, "counts": run.counts, "total": run.total, "worked": run.worked}
    done |= {"version": run.version, "note": run.note}
    return bool(mine.update(**done, beat_at=clock.now()))


# --- what people do with a run -------------------------------------------------------------------------------------


def pause(run: Run) -> bool:
    """It stops after the step it is at."""
    return bool(Run.objects.filter(pk=run.pk, state=Run.State.RUNNING).update(state=Run.State.PAUSED, holder=""))


def resume(run: Run) -> bool:
    """Let a paused or failed run go on in the workers. Raises AlreadyRunning if another of its kind is at work."""
    resting = Run.objects.filter(pk=run.pk, state__in=(Run.State.PAUSED, Run.State.FAILED))
    try:
        with transaction.atomic():
            resumed = resting.update(state=Run.State.RUNNING, holder="", error="", finished_at=None)
    except IntegrityError:
        _raise_already_running(run.kind, run.bridge_id)
        raise
    if resumed:
        hand_over(run)
    return bool(resumed)


def cancel(run: Run) -> bool:
    """It stops after the step it is at, for good. What was done stays done."""
    open_ = Run.objects.filter(pk=run.pk).exclude(state__in=(Run.State.DONE, Run.State.CANCELLED))
    return bool(open_.update(state=Run.State.CANCELLED, finished_at=clock.now()))


# --- who holds it --------------------------------------------------------------------------------------------------


def is_dead(run: Run) -> bool:
    """Nobody works on it: no sign of life, or its process on this very machine is gone."""
    return is_gone(run.holder) or clock.now() - run.beat_at > SILENT


def _about(kind: str, bridge: int | None) -> QuerySet[Run]:
    of: dict[str, Any] = {"bridge__isnull": True} if bridge is None else {"bridge": bridge}
    return Run.objects.filter(kind=kind, **of)


def _unfinished(kind: str, bridge: int | None) -> QuerySet[Run]:
    return _about(kind, bridge).exclude(state__in=(Run.State.DONE, Run.State.CANCELLED))


def _take_over(run: Run) -> bool:
    """Make this process its holder, if nobody lives who is. The conditional update decides between two that try."""
    if run.holder not in ("", worker_name()) and not is_dead(run):
        return False
    as_seen = Run.objects.filter(pk=run.pk, state=run.state, holder=run.holder, beat_at=run.beat_at)
    mine = {"state": Run.State.RUNNING, "holder": worker_name(), "beat_at": clock.now()}
    try:
        with transaction.atomic():
            taken = as_seen.update(**mine, error="", finished_at=None)
    except IntegrityError:  # another of its kind is at work
        return False
    run.refresh_from_db()
    return bool(taken)


def _finish(run: Run, state: str, error: str = "") -> None:
    """End it, if it is still as we know it: who cancelled it meanwhile is right."""
    Run.objects.filter(pk=run.pk, state=run.state, holder=run.holder).update(
        state=state, error=error, holder="", finished_at=clock.now()
    )
    log.info("run ended", extra={"run": run.pk, "kind": run.kind, "state": state, "counts": run.counts, "error": error})
