"""Many events are replayed, a few at a time, by a run in the workers that lets whatever comes in go first."""

import time
from collections import Counter, deque
from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from statistics import mean
from typing import Literal, Self

from django.contrib.auth import get_user_model
from django.db import connection, transaction

from sync.clients import breaker
from sync.clients.bridged import pings_of
from sync.jobs import engine
from sync.jobs.processing import NAMED, POLL, THREADS, Steps
from sync.jobs.selection import Selection, freeze, frozen, in_words
from sync.models import Attempt, Run
from sync.pipeline import replays
from sync.pipeline.claim import claim
from sync.pipeline.dry_run import DryRunResult, run_dry
from sync.pipeline.process import BatchSize, Turns, process, process_due
from sync.registry import Job, register
from webhooks import clock
from webhooks.connections import Bridge
from webhooks.masking import masked_text
from webhooks.models import State, WebhookEvent
from webhooks.moments import stored

PAGE = 100
"""Events that the checkpoint names before they are asked again."""
MOST_OPEN = 200
"""So many that are tried again and again are waited for: something is wrong with all of them."""
REST = timedelta(seconds=60)
"""At the end, those that are tried again are waited for while some get on; then they are left to the workers."""
LATEST = 100
"""Attempts that tell how long one takes."""

Asked = Literal["again", "settled", "skipped", "forced", "barred", "unreadable"]


class Running(engine.NotStarted):
    """The same events are being replayed already."""

    def __init__(self, run: Run) -> None:
        super().__init__(
            f"{run} replays the same events since {run.started_at:%Y-%m-%d %H:%M:%S} UTC for {run.actor}: "
            "wait for it, or cancel it first."
        )


# --- before it begins ----------------------------------------------------------------------------------------------


def start(selection: Selection, *, actor: str, reason: str, per_minute: int | None = None) -> Run:
    """A run held by this process, to be handed over. Raises Running."""
    ids = selection.ids()
    options = selection.as_options(ids)
    for run in Run.objects.filter(kind=JOB.kind, state__in=(Run.State.RUNNING, Run.State.PAUSED)):
        if run.options.items() >= options.items():
            raise Running(run)
    with transaction.atomic():
        run = engine.start(JOB.kind, options=options, actor=actor, reason=reason, per_minute=per_minute, total=len(ids))
        freeze(run, ids)
    return run


def sample(events: Iterable[int], *, within: float) -> list[tuple[WebhookEvent, DryRunResult | None]]:
    """What a replay of each would do now, the latest first."""
    rows = sorted(WebhookEvent.objects.in_bulk(list(events)).values(), key=lambda event: -event.pk)
    return run_all_dry(rows, within=within)


def run_all_dry(events: Iterable[WebhookEvent], *, within: float) -> list[tuple[WebhookEvent, DryRunResult | None]]:
    """For somebody who waits at a page. None: that could not be told within so many seconds."""
    pool = ThreadPoolExecutor(THREADS, thread_name_prefix="sample")
    until = time.monotonic() + within
    asked = [(event, pool.submit(_run_dry_apart, event, until)) for event in events]
    wait([answer for _, answer in asked], timeout=within)
    pool.shutdown(wait=False, cancel_futures=True)
    return [(event, answer.result() if answer.done() and not answer.cancelled() else None) for event, answer in asked]


def _run_dry_apart(event: WebhookEvent, until: float) -> DryRunResult:
    try:
        return run_dry(event, until)
    finally:
        connection.close()


def estimate(number: int, per_minute: int | None = None) -> timedelta | None:
    """How long so many take, judged by the latest attempts. None: there were none yet."""
    times = list(Attempt.objects.order_by("-pk").values_list("milliseconds", flat=True)[:LATEST])
    if not times:
        return None
    seconds = number * mean(times) / 1000 / THREADS
    return timedelta(seconds=max(seconds, number * 60 / per_minute if per_minute else 0.0))


# --- the run -------------------------------------------------------------------------------------------------------


@dataclass
class Checkpoint:
    """Which events were claimed, which are being tried, and what became of the others. Saved as the checkpoint."""

    after: int
    "Up to where events were claimed."
    open: dict[int, datetime]
    "Claimed, and when; not finished since, as far as was seen."
    failed: list[int]
    counts: Counter[str]
    not_before: float
    "When the speed limit allows the next one, by the database's clock: it outlives the process."
    rests_since: datetime | None

    @classmethod
    def of(cls, run: Run) -> Self:
        saved = run.checkpoint
        return cls(
            after=saved.get("after", 0),
            open={int(pk): datetime.fromisoformat(at) for pk, at in saved.get("open", {}).items()},
            failed=saved.get("failed", []),
            counts=Counter(run.counts),
            not_before=saved.get("not_before", 0.0),
            rests_since=stored(saved.get("rests_since")),
        )

    def save(self, run: Run) -> None:
        run.counts = dict(self.counts)
        run.checkpoint = {
            "after": self.after,
            "open": {str(pk): at.isoformat() for pk, at in self.open.items()},
            "failed": list(self.failed),
            "not_before": self.not_before,
            "rests_since": self.rests_since.isoformat() if self.rests_since else None,
        }

    def claim(self, page: list[int]) -> None:
        self.after = page[-1]
        self.open |= dict.fromkeys(page, clock.now())

    def not_asked(self) -> list[int]:
        """What a process that died had claimed and not come to: it lies as it lay before."""
        lying = WebhookEvent.objects.filter(pk__in=self.open, next_attempt_at=None).order_by("pk")
        ended = lying.values_list("pk", "finished_at")
        return [pk for pk, at in ended if at is None or at < self.open[pk]]

    def skip(self, pk: int, why: Asked) -> None:
        del self.open[pk]
        self.counts[why] += 1
        self.counts["seen"] += 1

    def count(self, but: set[int]) -> bool:
        """Count what has come to its end, each once; `but`: these were not asked yet. Whether there was any."""
        rows = WebhookEvent.objects.filter(pk__in=[pk for pk in self.open if pk not in but], next_attempt_at=None)
        ended = list(rows.values_list("pk", "state", "outcome"))
        for pk, state, outcome in ended:
            del self.open[pk]
            self.counts[outcome if state == State.DONE else state] += 1
            self.counts["seen"] += 1
            if state != State.DONE:
                self.failed = [*self.failed, pk][:NAMED]
        return bool(ended)

    def may_get_on(self, run: Run) -> bool:
        """Whether those that are open at the end are waited for. Since when nothing got on outlives the stretch, which
        is shorter than REST."""
        if not self.open:
            return False
        if self.rests_since is None:
            self.rests_since = clock.now()
            self.save(run)
        return clock.now() - self.rests_since < REST


def job(run: Run) -> Steps[None]:
    """`checkpoint`: see `Checkpoint`. `counts`: events seen, by outcome, and by state where a person is needed."""
    _check(run)
    checkpoint = Checkpoint.of(run)
    waiting, turns, own_size = deque(checkpoint.not_asked()), Turns(), BatchSize()
    more = True
    while more or waiting or checkpoint.may_get_on(run):
        skipped = False
        if process_due(turns):
            pass  # what comes in goes first: it is processed here, too, should there be no other worker
        elif waiting and (bridge := _may_go(run, checkpoint, waiting)):
            some = _next_of(bridge, waiting, 1 if run.per_minute else own_size.orders)
            skipped = _replay(checkpoint, bridge, some, run.actor, own_size)
        elif more and not waiting and len(checkpoint.open) < MOST_OPEN:
            page = frozen(run, checkpoint.after, PAGE)
            more = bool(page)
            if more:
                settled = _settled(page, run)
                checkpoint.claim(page)
                for pk in settled:
                    checkpoint.skip(pk, "settled")
                checkpoint.save(run)
                yield  # the claim is saved before any of them is asked: no event is replayed twice
                waiting.extend(pk for pk in page if pk not in settled)
        else:
            time.sleep(POLL)
        if checkpoint.count(but=set(waiting)) or skipped:
            checkpoint.rests_since = None
            checkpoint.save(run)
        yield
    if checkpoint.open:
        checkpoint.counts["again"] = len(checkpoint.open)
    checkpoint.save(run)


def _check(run: Run) -> None:
    if not get_user_model().objects.filter(username=run.actor).exists():
        words = f"{run.actor} has no account any more, so nobody says what they may replay. Start a new run."
        raise engine.Failed(words)
    if "up_to" in run.options:
        raise engine.Failed("It was started by an earlier version, which kept no list of its events. Start a new run.")


def _settled(page: Sequence[int], run: Run) -> set[int]:
    """Those that came to an end since the run was started: whoever saw to them has the last word."""
    return set(WebhookEvent.objects.filter(pk__in=page, finished_at__gte=run.started_at).values_list("pk", flat=True))


def _may_go(run: Run, checkpoint: Checkpoint, waiting: Collection[int]) -> Bridge | None:
    """The bridge whose events may go now: neither faster than the speed limit, nor while a side can not be called."""
    if clock.now().timestamp() < checkpoint.not_before:
        return None
    of = WebhookEvent.objects.filter(pk__in=waiting).values("bridge")
    for bridge in Bridge.objects.on().filter(pk__in=of):
        if breaker.allows_calls(clock.now(), pings_of(bridge)):
            checkpoint.not_before = clock.now().timestamp() + 60 / run.per_minute if run.per_minute else 0.0
            return bridge
    return None


def _next_of(bridge: Bridge, waiting: deque[int], most: int) -> list[int]:
    """Taken out, in their order."""
    of = set(WebhookEvent.objects.filter(pk__in=waiting, bridge=bridge).values_list("pk", flat=True))
    some = [pk for pk in waiting if pk in of][:most]
    for pk in some:
        waiting.remove(pk)
    return some


def _replay(checkpoint: Checkpoint, bridge: Bridge, events: list[int], actor: str, size: BatchSize) -> bool:
    """Asked again and processed at once, so that they never stand in the queue before what comes in. Whether any was
    left alone."""
    began = time.monotonic()
    asked = replays.ask_again(events, by=actor, may=partial(_may, actor), wake_up=False)
    left: dict[Asked, list[int]] = {
        "forced": asked.forced,
        "barred": asked.barred,
        "unreadable": asked.unreadable,
        "skipped": asked.busy,
    }
    for why, pks in left.items():
        for pk in pks:
            checkpoint.skip(pk, why)
    again = WebhookEvent.objects.filter(pk__in=asked.again).order_by("pk").values_list("side", "order_ref")
    process(claim(list(dict.fromkeys(again)), bridge=bridge))
    size.learn(len(events), time.monotonic() - began)
    return any(left.values())


def _may(actor: str, permission: str) -> bool:
    """Whoever started the run, now. Whose account is gone may do nothing."""
    person = get_user_model().objects.filter(username=actor).first()
    return person is not None and person.has_perm(permission)


def _options_in_words(run: Run) -> list[tuple[str, str]]:
    return [("events", masked_text(in_words(run.options["query"], run.options["ticked"])))]


JOB = register(
    Job(
        kind="replay",
        label="Replay of many",
        work=job,
        unit="events",
        options_in_words=_options_in_words,
        stretch=45.0,  # it settles itself whatever comes in meanwhile
        goes_last=True,
        is_single=False,
    )
)
