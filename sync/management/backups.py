"""A consistent copy of the database; and what a copy is worth, told from a scratch database of it."""

import os
import secrets
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from django.db import DatabaseError, connection, connections
from django.db.backends.postgresql.client import DatabaseClient
from django.db.migrations.executor import MigrationExecutor
from django.db.models import Max, Min
from django.db.utils import load_backend

from orders.models import AuditSeal, OrderLink, StaffAction, StatusTransition
from orders.verification import Checkup
from sync.models import Attempt, Intent, Run, SideState
from webhooks import clock
from webhooks.models import WebhookEvent

PART = ".part"
"""Ends the name of a copy that is being written."""
SAMPLE = 5
SUFFIXES = {"sqlite": "sqlite3", "postgresql": "dump"}
DUMP_BEGINS = b"PGDMP"
SQLITE_BEGINS = b"SQLite format 3\0"
CLIENTS = (
    "install PostgreSQL's client programs in the version of the server or a newer one (Debian: apt-get install "
    "postgresql-client), or work on a machine that has them"
)


class Unusable(Exception):
    """There is no copy, or it is not worth anything. The message says why, and what to do."""


# --- writing -------------------------------------------------------------------------------------------------------


def target_of(place: Path, *, is_folder: bool = False) -> Path:
    """A folder gets a file named after the time. `is_folder`: it is meant to be one. Raises Unusable."""
    if is_folder and not place.is_dir():
        raise Unusable(f"There is no folder {place}. Make it, or name another one.")
    if place.is_dir():
        place = place / f"orderbridge-{clock.now():%Y%m%dT%H%M%SZ}.{SUFFIXES[connection.vendor]}"
    if place.exists():
        raise Unusable(f"{place} exists already. Name another file, or a folder: a copy never replaces another.")
    if not place.parent.is_dir():
        raise Unusable(f"There is no folder {place.parent}. Make it, or name another one.")
    return place


def write(target: Path) -> None:
    """Everything that was committed when it began, while others go on writing. It has its name once it is whole."""
    part = target.with_name(target.name + PART)
    try:
        {"sqlite": _write_sqlite, "postgresql": _write_postgres}[connection.vendor](part)
        with part.open("rb") as written:
            os.fsync(written.fileno())
        part.rename(target)
    except (OSError, sqlite3.Error) as error:
        raise Unusable(f"{target} could not be written: {error}. Is there enough room on the disk?") from error
    finally:
        part.unlink(missing_ok=True)


def _write_sqlite(part: Path) -> None:
    connection.ensure_connection()
    part.unlink(missing_ok=True)
    copy = sqlite3.connect(part)
    try:
        connection.connection.backup(copy)
        # One file, which can be read from a read-only disk, too.
        copy.execute("PRAGMA journal_mode=DELETE")
    finally:
        copy.close()


def _write_postgres(part: Path) -> None:
    _client("pg_dump", ["--format=custom", "--no-owner", "--no-privileges", f"--file={part}"])


def _client(program: str, arguments: list[str], database: str | None = None) -> None:
    """The password goes by the environment: command lines are for everybody to see. Raises Unusable."""
    if not shutil.which(program):
        raise Unusable(f"There is no {program} on this machine: {CLIENTS}.")
    settings_dict = {**connection.settings_dict, **({"NAME": database} if database else {})}
    (_, *where), env = DatabaseClient.settings_to_cmd_args_env(settings_dict, [])
    if program == "pg_restore":  # which takes the name of a file where the others take that of a database
        where = [*where[:-1], f"--dbname={where[-1]}"]
    done = subprocess.run(  # noqa: S603  our own arguments
        [program, *arguments[:-1], *where, *arguments[-1:]],
        env={**os.environ, **(env or {})},
        capture_output=True,
        check=False,
        text=True,
        errors="replace",
    )
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        advice = f" It is older than the server: {CLIENTS}." if "version mismatch" in done.stderr else ""
        raise Unusable(f"{program} says: {said[0]}.{advice}")


# --- opening -------------------------------------------------------------------------------------------------------


@contextmanager
def opened(copy: Path) -> Iterator[None]:
    """Everything in this thread that asks the database asks the copy, which cannot be written to. Raises Unusable."""
    kind = _kind_of(copy)
    if kind != connection.vendor:
        words = f"{copy} is a copy of a {kind} database, and DATABASE_URL names one of {connection.vendor}."
        raise Unusable(f"{words} Check it with a DATABASE_URL of its kind.")
    with (_opened_sqlite if kind == "sqlite" else _opened_postgres)(copy):
        yield


def _kind_of(copy: Path) -> str:
    if copy.suffix == PART:
        raise Unusable(f"{copy} was cut off while it was written, and is no copy. Delete it, and write a new one.")
    try:
        with copy.open("rb") as file:
            begins = file.read(len(SQLITE_BEGINS))
    except OSError as error:
        raise Unusable(f"{copy} cannot be read: {error.strerror}.") from error
    if begins.startswith(DUMP_BEGINS):
        return "postgresql"
    if begins == SQLITE_BEGINS:
        return "sqlite"
    raise Unusable(f"{copy} is no copy: neither a SQLite database nor a dump of `pg_dump --format=custom`.")


@contextmanager
def _opened_sqlite(copy: Path) -> Iterator[None]:
    # Where its newest commits lie beside it, they count; else nothing beside it may be looked for, or written.
    mode = "mode=ro" if copy.with_name(f"{copy.name}-wal").exists() else "mode=ro&immutable=1"
    with _instead(NAME=f"{copy.resolve().as_uri()}?{mode}", OPTIONS={}):
        try:
            with connection.cursor() as cursor:
                cursor.execute("PRAGMA integrity_check(1)")
                said = cursor.fetchone()[0]
        except DatabaseError as error:
            said = str(error)
        if said != "ok":
            raise _cut_off(copy, said)
        yield


@contextmanager
def _opened_postgres(copy: Path) -> Iterator[None]:
    scratch = f"orderbridge_check_{secrets.token_hex(6)}"
    try:
        with connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {scratch} TEMPLATE template0")
    except DatabaseError as error:
        words = f"A copy is checked in a scratch database, and none could be made ({str(error).splitlines()[0]})."
        raise Unusable(f"{words} Grant CREATEDB to the user of DATABASE_URL, or use one that has it.") from error
    try:
        options = ["--no-owner", "--no-privileges", "--exit-on-error", "--single-transaction"]
        try:
            _client("pg_restore", [*options, str(copy)], scratch)
        except Unusable as error:
            if not shutil.which("pg_restore"):
                raise
            raise _cut_off(copy, str(error)) from error
        with _instead(NAME=scratch):
            yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute(f"DROP DATABASE {scratch} WITH (FORCE)")


@contextmanager
def _instead(**settings: Any) -> Iterator[None]:
    ours = connections["default"]
    settings_dict = {**ours.settings_dict, **settings}
    connections["default"] = load_backend(settings_dict["ENGINE"]).DatabaseWrapper(settings_dict, "default")
    try:
        yield
    finally:
        connections["default"].close()
        connections["default"] = ours


def _cut_off(copy: Path, said: str) -> Unusable:
    return Unusable(f"{copy} is cut off or damaged ({said}). Use an older copy, and write a new one.")


# --- looking -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a database holds, and what would be asked again if it were put in place of the one of today."""

    counts: dict[str, int]
    newest: str | None
    "When the last event came."
    audit: dict[str, Any]
    links: list[dict[str, Any]]
    "A sample."
    asked_again: dict[str, Any]
    wrong: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        return {"good": not self.wrong, **asdict(self)}


def look(on_progress: Callable[[], None] = lambda: None) -> Found:
    """At the database that is connected. Raises Unusable where it is of another version."""
    _check_version()
    checkup = Checkup()
    for _ in checkup.go_on():
        on_progress()
    sample = list(_sample())
    wrong = [f"audit: {one}" for one in checkup.findings]
    wrong += [f"order {link}: its pair of ids is not signed with AUDIT_KEYS" for link in sample if not link.is_ours]
    newest = WebhookEvent.objects.aggregate(at=Max("received_at"))["at"]
    columns = ("woo_id", "crm_order_id", "woo_status", "crm_status")
    return Found(
        counts={
            "events": WebhookEvent.objects.count(),
            "orders": OrderLink.objects.count(),
            "transitions": StatusTransition.objects.count(),
            "staff_actions": StaffAction.objects.count(),
            "attempts": Attempt.objects.count(),
        },
        newest=newest and newest.isoformat(),
        audit={"found": checkup.number, "checkpoint": str(AuditSeal.objects.order_by("-sequence").first() or "")},
        links=[{name: getattr(link, name) for name in columns} for link in sample],
        asked_again=_asked_again(),
        wrong=wrong,
    )


def _check_version() -> None:
    executor = MigrationExecutor(connection)
    loader = executor.loader
    if ("webhooks", "0001_initial") not in loader.applied_migrations:
        raise Unusable("It is a database, but not one of Orderbridge: none of its migrations are applied in it.")
    unknown = sorted(
        key for key in loader.applied_migrations if key[0] in loader.migrated_apps and key not in loader.disk_migrations
    )
    if unknown:
        words = f"It is of a newer version: {'.'.join(unknown[0])} is applied in it, which this version does not know."
        raise Unusable(f"{words} Install the version that wrote it, or a newer one, and check it with that.")
    missing = executor.migration_plan(loader.graph.leaf_nodes())
    if missing:
        first = missing[0][0]
        words = (
            f"It is of an older version: {len(missing)} migrations are missing, first {first.app_label}.{first.name}."
        )
        raise Unusable(
            f"{words} Check it with the version that wrote it; or restore it, run `python manage.py migrate`, and "
            "check the restored database with `python manage.py backup check` without a file."
        )


def _sample() -> Iterator[OrderLink]:
    """From the oldest to the newest, at equal distances."""
    ends = OrderLink.objects.aggregate(oldest=Min("pk"), newest=Max("pk"))
    oldest, newest = ends["oldest"] or 0, ends["newest"] or 0
    places = [oldest + (newest - oldest) * number // (SAMPLE - 1) for number in range(SAMPLE)]
    seen = set[int]()
    for place in places:
        link = OrderLink.objects.filter(pk__gte=place).order_by("pk").first()
        if link and link.pk not in seen:
            seen.add(link.pk)
            yield link


def _asked_again() -> dict[str, Any]:
    return {
        "sides": {side.pk: _cursor_of(side) for side in SideState.objects.order_by("pk")},
        "open_events": WebhookEvent.objects.unfinished().count(),
        "open_writes": Intent.objects.count(),
        "open_runs": Run.objects.filter(state=Run.State.RUNNING).count(),
    }


def _cursor_of(side: SideState) -> str | None:
    with suppress(KeyError, ValueError):
        return datetime.fromisoformat(side.cursor["at"]).isoformat()
    return None
