"""Both sides are asked what changed, and what no delivery told us of becomes an event."""

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from django.conf import settings
from django.db.models import Q, QuerySet

from sync import alarms
from sync.clients import breaker
from sync.clients.bridged import crm_of, pings_of, shop_of
from sync.clients.errors import SideError
from sync.jobs import engine, forms, halves, shop_identity
from sync.jobs.cursors import Clock, swept_at
from sync.jobs.processing import LEFT_OUT, Steps
from sync.models import Run, Severity, SideState
from sync.registry import DAY, Job, Planned, Starter, register
from webhooks import clock
from webhooks.connections import DEFAULT_BRIDGE, Bridge
from webhooks.masking import masked_text

DEEP_WITHIN = timedelta(hours=25)
"""A deep run that did not get to its end in the night is made up for."""
DEEP_AGAIN = timedelta(hours=1)
"""Not sooner after one that failed: in between, normal runs get their turn."""
KEPT = timedelta(days=7)
"""Scheduled runs are many; what they found stays, as events."""
SHOP, CRM, DELETED = "shop", "crm", "deleted"
"""The parts of a run. Only a deep one looks at every linked order: WooCommerce tells nobody of one that was deleted for
good, and what a plugin or a hand changes in its database leaves the time of the last change as it was."""
HALVES = {SHOP: "The shop's changes", CRM: "The CRM's changes", DELETED: "All linked orders"}
OVER, FAILED = "over", "failed"
ROUNDS = 3
"""After so many without an end of a side's sweep it needs a person."""


def options(
    *, deep: bool = False, dry_run: bool = False, confirm_deleted: bool = False, bridge: int = DEFAULT_BRIDGE
) -> dict[str, Any]:
    """`confirm_deleted`: a person says that orders which are gone from the shop are, however many; for a deep run."""
    confirmed = {"confirm_deleted": True} if confirm_deleted else {}
    return {
        "deep": deep or confirm_deleted,
        "dry_run": dry_run,
        "shop": engine.bridge_with(bridge).shop_config.url,
        **confirmed,
    }


def start(
    *,
    deep: bool = False,
    dry_run: bool = False,
    confirm_deleted: bool = False,
    actor: str = "",
    reason: str = "",
    bridge: int = DEFAULT_BRIDGE,
) -> Run:
    """A deep run that failed or was paused may go on later, whatever is started in between."""
    chosen = options(deep=deep, dry_run=dry_run, confirm_deleted=confirm_deleted, bridge=bridge)
    deep = chosen["deep"]
    resting = _runs(bridge, deep=True).filter(state__in=(Run.State.FAILED, Run.State.PAUSED))
    spare = [] if deep else list(resting.values_list("pk", flat=True))
    return engine.start(JOB.kind, options=chosen, actor=actor, reason=reason, spare=spare, bridge=bridge)


def scheduled(*, deep: bool = False, bridge: int = DEFAULT_BRIDGE) -> Run | None:
    """A side that is away is asked the next time."""
    now, of = clock.now(), engine.bridge_with(bridge)
    Run.objects.filter(kind=JOB.kind, bridge=bridge, actor="", finished_at__lt=now - KEPT).delete()
    shop_of(of), crm_of(of)
    is_deep = deep or deep_is_due(now, bridge)
    return start(deep=is_deep, bridge=bridge) if _may_be_asked(of, now) else None


def _may_be_asked(bridge: Bridge, now: datetime) -> bool:
    """One side at least. Where staff paused one, they want no work to be done."""
    pings = pings_of(bridge)
    if SideState.objects.filter(name__in=pings, paused=True).exists():
        return False
    well = [breaker.allows_calls(now, pings, only=side) for side in pings]  # each is probed
    return any(well)


def see_that_sweeps_end() -> None:
    """A side whose sweep has not come to its end for some rounds: what no delivery tells of it is found by nobody."""
    for bridge in Bridge.objects.on():
        sides = SideState.objects.filter(name__in=pings_of(bridge))
        if not sides.filter(paused=True).exists():
            for side in sides:
                _see_that_one_ends(bridge, side)


def _see_that_one_ends(bridge: Bridge, side: SideState) -> None:
    since = swept_at(side, bridge.pk) or _runs(bridge.pk).order_by("pk").values_list("started_at", flat=True).first()
    late = clock.now() - ROUNDS * timedelta(minutes=max(1, settings.RECONCILE_MINUTES))
    key = f"sweep:{side.name}"
    if since is None or since > late:
        alarms.clear(key, bridge=bridge.pk)
        return
    failed = Run.objects.filter(kind=JOB.kind, bridge=bridge).exclude(error="")
    why = failed.values_list("error", flat=True).first()
    words = f"{side.label}: reconcile has not got to the end of it since {since:%Y-%m-%d %H:%M} UTC."
    words = f"{words} {masked_text(why)}" if why else words
    advice = "The latest runs under /admin/sync/run/ say what hinders it; `doctor` examines the side."
    alarms.raise_alarm(key, words, advice, Severity.CRITICAL, bridge=bridge.pk)


def deep_is_due(now: datetime, bridge: int = DEFAULT_BRIDGE) -> bool:
    """Whether one is to go on whose holder died, or the last night's came to nothing. What staff cancelled does not
    come back before the next night, and a new installation waits for its first."""
    deep = _runs(bridge, deep=True)
    if deep.filter(state=Run.State.RUNNING).exists():
        return True
    if deep.filter(Q(state=Run.State.PAUSED) | Q(finished_at__gt=now - DEEP_AGAIN)).exists():
        return False
    ended = Q(state=Run.State.DONE) | Q(state=Run.State.CANCELLED, error="")
    lately = deep.filter(ended, finished_at__gt=now - DEEP_WITHIN)
    return _runs(bridge).filter(started_at__lt=now - DEEP_WITHIN).exists() and not lately.exists()


def _runs(bridge: int, **options: bool) -> QuerySet[Run]:
    named = {f"options__{name}": value for name, value in options.items()}
    return Run.objects.filter(kind=JOB.kind, bridge=bridge, options__dry_run=False, **named)


def job(run: Run) -> Steps[None]:
    """`checkpoint`: the halves that are over and those that failed, where each is, and the first finds by name.
    `counts`: orders seen, found by side, and left out.

    The halves are independent: what one side can not answer hides nothing of the other (docs/decisions/0053).
    """
    bridge, shop_clock, crm_clock = engine.bridge_of(run), Clock(), Clock()
    shop, crm = shop_of(bridge, on_call=shop_clock), crm_of(bridge, on_call=crm_clock)
    parts: dict[str, Callable[[], Steps[None]]] = {
        SHOP: lambda: halves.shop_changes(run, bridge, shop, shop_clock),
        CRM: lambda: halves.crm_changes(run, bridge, crm, crm_clock),
        DELETED: lambda: halves.all_links(run, bridge, shop),
    }
    for name, half in parts.items():
        failed = run.checkpoint.get(FAILED, {})
        if name in (*run.checkpoint.get(OVER, []), *failed) or (name == DELETED and not _looks_at_all(run)):
            continue
        try:
            yield from half()
        except shop_identity.AnotherShop:
            raise
        except (SideError, engine.Failed) as error:
            run.checkpoint = {**run.checkpoint, FAILED: {**failed, name: str(error)}}
        else:
            run.checkpoint = {**run.checkpoint, OVER: [*run.checkpoint.get(OVER, []), name]}
            if not run.options["dry_run"]:
                see_that_sweeps_end()
        yield
    if not run.options["dry_run"]:
        _tell_of_left_out(run)
    if failed := run.checkpoint.get(FAILED):
        # Whoever takes it up again asks both sides anew; a half that broke off goes on where it was.
        run.checkpoint = {name: value for name, value in run.checkpoint.items() if name not in (OVER, FAILED)}
        yield
        raise engine.Failed(" ".join(f"{HALVES[name]}: {words}" for name, words in failed.items()))


def _tell_of_left_out(run: Run) -> None:
    """The next sweep begins behind them, so only a deep one that met none is an all-clear."""
    left_out = run.checkpoint.get(LEFT_OUT, [])
    if left_out:
        words = f"Reconcile left out {run.counts[LEFT_OUT]}, which a side could not show. The first: {left_out[0]}"
        advice = f"See /admin/sync/run/{run.pk}/change/ for all. Mend them there; then run `reconcile --deep`."
        alarms.raise_alarm(LEFT_OUT, words, advice, bridge=run.bridge_id)
    elif run.options["deep"] and not run.checkpoint.get(FAILED):
        alarms.clear(LEFT_OUT, bridge=run.bridge_id)


def _looks_at_all(run: Run) -> bool:
    return bool(run.options["deep"]) and SHOP not in run.checkpoint.get(FAILED, {})


class ReconcileForm(forms.BridgeRunForm):
    deep = forms.flag("Deep", "Read the last days again, and look for orders that were deleted for good.")
    confirm_deleted = forms.flag(
        "They are really gone",
        "Use this if many orders disappeared from the shop at once and you know that this is right. The run is deep, "
        "and the CRM is told about all of them.",
    )
    dry_run = forms.dry_run()
    field_order = ("deep", "confirm_deleted", "dry_run", "reason")


JOB = register(
    Job(
        kind="reconcile",
        label="Reconcile",
        work=job,
        count_names={"shop": "Missed from the shop", "crm": "Missed from the CRM"},
        starter=Starter(
            words="We ask both sides for their changes since the last time. Changes that no delivery reported become "
            "events. This also runs on a schedule.",
            form=ReconcileForm,
            start=start,
            icon="sync",
        ),
        schedules=lambda: (
            Planned(
                name="reconcile",
                task="sync.tasks.reconcile",
                minutes=max(1, settings.RECONCILE_MINUTES),
                start=scheduled,
                by_bridge=True,
            ),
            Planned(
                name="reconcile deep",
                task="sync.tasks.reconcile_deep",
                minutes=DAY,
                start=partial(scheduled, deep=True),
                by_bridge=True,
            ),
        ),
    )
)
