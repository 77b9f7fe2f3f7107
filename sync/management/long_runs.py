"""A long run in the foreground: its progress on a terminal, its report at the end, its exit code."""

import json
import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from django.core.management.base import CommandError, OutputWrapper
from tqdm import tqdm

from sync.clients.bridged import crm_of, shop_of
from sync.clients.errors import SideError
from sync.clients.shop import Shop
from sync.jobs import engine, run_report
from sync.jobs.processing import COUNTS, failures, with_retries
from sync.jobs.shop_identity import AnotherShop, check
from sync.models import Run
from sync.registry import JOBS
from webhooks.connections import Bridge

T = TypeVar("T")

FAILED, WRONG_USE = 1, 2
LINE_EVERY = 5.0
"""Seconds between two lines of progress where there is no terminal."""


def configured_shop(bridge: Bridge) -> Shop:
    """The bridge's shop, where both sides are configured. Nobody is called. Raises CommandError."""
    try:
        crm_of(bridge)
        return shop_of(bridge)
    except SideError as error:
        raise CommandError(str(error), returncode=WRONG_USE) from error


def check_sides(bridge: Bridge, *, wait: bool = True) -> None:
    """Both are configured, and the shop is the one we know. `wait`: also if it must be waited for; else one that is
    away is left to the run."""
    shop = configured_shop(bridge)
    try:
        if wait:
            read(bridge, lambda: check(shop, bridge))
            return
        with quiet(), suppress(SideError):
            check(shop, bridge)
    except AnotherShop as error:
        raise CommandError(str(error), returncode=WRONG_USE) from error


def read(bridge: Bridge, ask: Callable[[], T]) -> T:
    """The answer of a side, also if it must be waited for. Raises CommandError, and AnotherShop."""
    answers: list[T] = []
    try:
        with quiet():
            to_the_end(with_retries(bridge, lambda: answers.append(ask())))
    except AnotherShop:
        raise
    except (SideError, engine.Failed) as error:
        raise CommandError(str(error), returncode=FAILED) from error
    return answers[0]


def at_least_one(option: str, number: int | None) -> int | None:
    if number is not None and number < 1:
        raise CommandError(f"{option} {number}: give a number of 1 or more.", returncode=WRONG_USE)
    return number


def carry_out(start: Callable[[], Run]) -> Run:
    """Held by this process until it ends. Ctrl-C pauses it, and the same command goes on."""
    try:
        run = start()
    except engine.NotStarted as error:
        raise CommandError(str(error), returncode=WRONG_USE) from error
    with Progress(run) as progress, quiet():
        try:
            engine.carry_out(run, on_progress=progress.show)
        except KeyboardInterrupt:
            engine.pause(run)
            words = "Stopped. Give the same command again to go on; --restart begins anew."
            raise CommandError(words, returncode=FAILED) from None
    if run.note:
        sys.stderr.write(f"{run.note}\n")
    if run.state == Run.State.FAILED:
        raise CommandError(run.error, returncode=FAILED)
    if run.state != Run.State.DONE:
        raise CommandError(f"{run} was {run.get_state_display().lower()} by staff.", returncode=FAILED)
    return run


def rehearse(run: Run) -> Run:
    """A dry run: the same work without a row of its own, and so without a checkpoint."""
    try:
        with Progress(run) as progress, quiet():
            to_the_end(JOBS[run.kind].work(run), lambda: progress.show(run))
    except (SideError, engine.Failed) as error:
        raise CommandError(str(error), returncode=FAILED) from error
    return run


def to_the_end(steps: Any, at_each: Callable[[], None] = lambda: None) -> None:
    for _ in steps:
        at_each()


def counted(kind: str, items: Iterable[T], total: int) -> Iterator[T]:
    """The items, with the progress of a run that has no row."""
    run = Run(kind=kind, total=total)
    with Progress(run) as progress:
        for number, item in enumerate(items, start=1):
            yield item
            run.counts["seen"] = number
            progress.show(run)


class Progress:
    """A bar with rate and time left on a terminal; elsewhere a line from time to time. All of it on stderr."""

    def __init__(self, run: Run) -> None:
        self.started_with = run.counts.get("seen", 0)
        self.name, self.unit = run.get_kind_display(), JOBS[run.kind].unit
        self.on_terminal = sys.stderr.isatty()
        self.line_at = time.monotonic() + LINE_EVERY
        self.bar: tqdm | None = None

    def __enter__(self) -> "Progress":
        if self.on_terminal:
            self.bar = tqdm(desc=self.name, unit=f" {self.unit}", initial=self.started_with, dynamic_ncols=True)
        return self

    def __exit__(self, *error: object) -> None:
        if self.bar is not None:
            self.bar.close()

    def show(self, run: Run) -> None:
        seen = run.counts.get("seen", 0)
        if self.bar is not None:
            self.bar.total = run.total
            self.bar.update(seen - self.bar.n)
        elif time.monotonic() >= self.line_at:
            self.line_at = time.monotonic() + LINE_EVERY
            of = f" of {run.total}" if run.total is not None else ""
            sys.stderr.write(f"{self.name}: {seen}{of} {self.unit}\n")


@contextmanager
def quiet(least: int = logging.ERROR) -> Iterator[None]:
    """Each call and attempt is kept in the database; their log lines would drown the progress and spoil --json."""
    logger = logging.getLogger("orderbridge")
    level = logger.level
    logger.setLevel(least)
    try:
        yield
    finally:
        logger.setLevel(level)


def report(out: OutputWrapper, run: Run, *, as_json: bool) -> None:
    """What came of its orders. Raises CommandError where some of them failed."""
    counts = {name: int(run.counts.get(name, 0)) for name in COUNTS}
    left_out = run_report.left_out(run)
    counts["failed"] += int(run.counts.get("left_out", 0))
    named = [*failures(run), *left_out]
    dry_run = bool(run.options["dry_run"])
    if as_json:
        out.write(json.dumps({"dry_run": dry_run, **counts, "failures": named}, ensure_ascii=False))
    else:
        for words in named:
            out.write(words)
        told = ", ".join(f"{number} {name}" for name, number in counts.items() if number or name == "seen")
        out.write(f"Nothing was written. {told}" if dry_run else told)
    if counts["failed"]:
        words = f"{counts['failed']} orders failed: mend what is named, then give the same command again."
        raise CommandError(words, returncode=FAILED)
