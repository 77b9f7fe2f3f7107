"""Histories in rounds, each with a seed of its own; a process prepares itself once and plays as many as it is given."""

import gc
import os
import sqlite3
import traceback
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta

os.environ["DATABASE_URL"] = "sqlite://:memory:"
os.environ["LOG_LEVEL"] = "CRITICAL"
os.environ["LOOP_MAX_CHANGES"] = "1000000"  # the loop breaker asks for a person; its own tests show that
os.environ["RETRY_MAX_SECONDS"] = "30"
os.environ["CRM_LIST_LAG"] = (
    "60"  # longer than a lease: what a dead worker had in doubt is still in doubt for the next one
)
os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"

import django
from django.core.management import call_command
from django.db import connection
from django.utils import timezone
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import get_state_machine_test

from tests.model.bugs import BY_NAME
from tests.model.sides import Clock


@dataclass(frozen=True, kw_only=True)
class Round:
    """Which histories are played, and how."""

    seed: int
    histories: int
    length: int
    by: str
    "hypothesis or dice: who chooses what happens next."
    shrink: bool


@dataclass(frozen=True, kw_only=True)
class Played:
    """What came of it. `broken` is empty, or the history and the promise that it breaks."""

    round: Round
    histories: int
    steps: int
    broken: str = ""


def prepare() -> None:
    clock = Clock()
    timezone.now = clock  # before the models are loaded, which take it for their defaults
    django.setup()
    _make_tables()
    connection.connection.create_function("strftime", -1, _of_database(clock))
    from tests.model import world
    from tests.model.machine import Story

    Story.clock = clock
    world.plug(lambda: Story.current)
    if bug := os.environ.get("MODEL_BUG"):
        BY_NAME[bug].plant()
    gc.collect()
    gc.freeze()  # what is there by now stays, and need not be looked at again and again


def _of_database(clock: Callable[[], datetime]) -> Callable[..., str]:
    """What SQLite tells of `now`: the database's clock is the model's."""

    def strftime(_: str, now: str, later: str = "+0.0 seconds") -> str:
        assert now.lower() == "now", now
        moment = clock() + timedelta(seconds=float(later.removesuffix(" seconds")))
        return moment.replace(tzinfo=None).isoformat(" ", "milliseconds")

    return strftime


def _make_tables() -> None:
    """MODEL_DATABASE names a file that has them already: copied in a moment, where migrations take seconds."""
    if ready := os.environ.get("MODEL_DATABASE"):
        connection.ensure_connection()
        with closing(sqlite3.connect(ready)) as source:
            source.backup(connection.connection)
    else:
        call_command("migrate", verbosity=0)


def play(wanted: Round) -> Played:
    from tests.model.machine import Story

    Story.count.update(histories=0, steps=0)
    broken = (_by_hypothesis if wanted.by == "hypothesis" else _by_dice)(wanted)
    return Played(round=wanted, histories=Story.count["histories"], steps=Story.count["steps"], broken=broken)


def _by_hypothesis(wanted: Round) -> str:
    from tests.model.machine import Histories

    histories = get_state_machine_test(
        Histories,
        settings=settings(
            max_examples=wanted.histories,
            stateful_step_count=wanted.length,
            phases=(Phase.generate, Phase.shrink) if wanted.shrink else (Phase.generate,),
            deadline=None,
            database=None,
            derandomize=False,
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        ),
    )
    try:
        seed(wanted.seed)(histories)()
    except Exception:
        return traceback.format_exc()
    return ""


def play_again(text: str) -> str:
    """One history that was written down. Empty, or what it breaks."""
    from tests.model.walk import again, read

    _, broken = again(read(text))
    return "".join(traceback.format_exception(broken)) if broken else ""


def _by_dice(wanted: Round) -> str:
    from tests.model.walk import shortest, walk

    for number in range(wanted.histories):
        history, broken = walk(f"{wanted.seed}.{number}", wanted.length)
        if broken:
            if wanted.shrink:
                history, broken = shortest(history, broken)
            return "".join([*traceback.format_exception(broken), f"History {number}:\n{history}\n"])
    return ""
