"""One page of truths about this installation, each with what to do about it. Nothing is written to either side."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from pathlib import Path

from django.core import checks
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.db.models import Max, Q
from django_q.models import Schedule

from sync.alarms import open_alarms
from sync.clients import causes, installation
from sync.clients.errors import AuthFailed, GivenUp, NotConfigured, SideError
from sync.models import Heartbeat
from sync.monitoring import subscriptions
from sync.monitoring.bridge_checks import OF_A_BRIDGE
from sync.monitoring.findings import ASK_THE_COMMAND, Finding, Level, good, until, warning, wrong
from sync.monitoring.overview import ALIVE
from sync.queue import schedules
from webhooks import clock
from webhooks.connections import DEFAULT_BRIDGE, Bridge
from webhooks.credentials import WrongKey
from webhooks.models import Side

LATE = timedelta(minutes=10)
NETWORK = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "fuse.sshfs", "fuse.glusterfs", "ceph", "afs"})
MOUNTS = Path("/proc/self/mounts")
MOST_AT_ONCE = 32

IN_ORDER = "Check DATABASE_URL and that the database runs, then run `python manage.py migrate`."


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing that is looked at, of this installation or of a bridge."""

    name: str
    look: Callable[[], Iterator[Finding]]
    bridge: Bridge | None = None

    def slug_of(self, side: str) -> str:
        """Of the connection of that side."""
        return self.bridge.slug_of(side) if self.bridge and side in Side.values else ""


def is_configured() -> bool:
    """Something is set, so that there is something to examine."""
    return bool(_bridges())


def _bridges() -> list[Bridge]:
    """Those that are used, or being set up. A database that cannot be asked is among the findings."""
    try:
        return [one for one in Bridge.objects.with_connections().filter(archived_at=None) if one.is_set]
    except DatabaseError:
        return []


def planned(only: Bridge | None = None) -> list[Check]:
    """Each check of this installation once, and those of a bridge for each of them, or for that one."""
    bridges = [one for one in _bridges() if only is None or one.pk == only.pk]
    return [
        *(Check(name=name, look=look) for name, look in HERE.items()),
        *(
            Check(name=name, look=partial(look, bridge), bridge=bridge)
            for bridge in bridges
            for name, look in OF_A_BRIDGE.items()
            if bridge.crm or name != "crm"
        ),
        Check(name="alarms", look=partial(_alarms, only)),
    ]


def examine(*names: str, only: Bridge | None = None) -> list[Finding]:
    """Every check, or those of these names, also if another one fails; a side that does not answer is a finding of its
    own."""
    return _named([(one, _examine(one)) for one in planned(only) if not names or one.name in names])


def examine_within(seconds: float) -> list[Finding]:
    """The same for somebody who waits at a page: all checks at once, and those that take longer are named."""
    all_of_them = planned()
    pool = ThreadPoolExecutor(min(len(all_of_them), MOST_AT_ONCE), thread_name_prefix="doctor")
    late = f"Not finished within {seconds:.0f} s."
    end = time.monotonic() + seconds
    asked = [(one, pool.submit(_examine_apart, one, end, late)) for one in all_of_them]
    wait([answer for _, answer in asked], timeout=seconds)
    pool.shutdown(wait=False, cancel_futures=True)
    return _named(
        [
            (
                one,
                answer.result()
                if answer.done() and not answer.cancelled()
                else [wrong(one.name, late, ASK_THE_COMMAND)],
            )
            for one, answer in asked
        ]
    )


def _named(examined: list[tuple[Check, list[Finding]]]) -> list[Finding]:
    """Where there are several bridges, each finding of one says of which."""
    several = len({one.bridge.pk for one, _ in examined if one.bridge}) > 1
    return [
        replace(finding, bridge=one.bridge.slug) if several and one.bridge else finding
        for one, found in examined
        for finding in found
    ]


def _examine_apart(check: Check, end: float, late: str) -> list[Finding]:
    until.set((end, late))  # a thread has a context of its own
    try:
        return _examine(check)
    finally:
        connection.close()


def _examine(check: Check) -> list[Finding]:
    found: list[Finding] = []
    try:
        for finding in check.look():
            found.append(finding)
    except SideError as error:
        found.append(_of_error(check, error))
    except WrongKey as error:
        found.append(wrong(check.name, str(error), error.advice))
    except DatabaseError as error:
        words = f"The database cannot be read ({type(error).__name__}: {error})."
        found.append(wrong(check.name, words, IN_ORDER))
    return found


def _of_error(check: Check, error: SideError) -> Finding:
    slug = check.slug_of(error.side)
    words, advice = causes.told(error.message, slug), causes.told(error.advice, slug)
    return wrong(check.name, words, advice or _advice(error, slug))


def _advice(error: SideError, slug: str) -> str:
    if isinstance(error, GivenUp):
        return ASK_THE_COMMAND
    if isinstance(error, NotConfigured):
        of_env = "Correct .env, then restart the web server and the worker."
        return causes.ON_ITS_PAGE.format(slug=slug) if causes.is_of_a_row(slug) else of_env
    if isinstance(error, AuthFailed):
        return "Make a key with the permission Read/Write for a user who may manage the shop."
    where = "on its page" if causes.is_of_a_row(slug) else "in .env"
    return f"Check its address {where}, and that nothing blocks the connection."


# --- here ----------------------------------------------------------------------------------------------------------


def _settings() -> Iterator[Finding]:
    messages = [one for one in checks.run_checks() if str(one.id).startswith("orderbridge.")]
    for one in messages:
        level: Level = "error" if one.level >= checks.ERROR else "warning"
        yield Finding(check="settings", level=level, words=one.msg, advice=one.hint or "")
    if not messages:
        yield good("settings", "Addresses, keys and webhook secrets are set.")


def _installation() -> Iterator[Finding]:
    if words := installation.displaced():
        yield wrong("installation", words, installation.ADVICE)
    else:
        yield good("installation", "The database belongs to this installation.")


def _database() -> Iterator[Finding]:
    if connection.vendor != "sqlite":
        yield good("database", f"{connection.display_name} answers.")
        return
    name = str(connection.settings_dict["NAME"])
    with connection.cursor() as cursor:
        mode = cursor.execute("PRAGMA journal_mode").fetchone()[0]
    kind = fs_type(name, MOUNTS.read_text() if MOUNTS.exists() else "")
    if kind in NETWORK:
        words = f"SQLite is on a network file system ({kind}). Its locks are not reliable there."
        advice = "Move it to a local disk, or set DATABASE_URL to PostgreSQL."
        yield wrong("database", words, advice)
    elif mode not in ("wal", "memory"):
        words = f"SQLite runs in mode {mode}. Readers and writers wait for each other."
        yield warning("database", words, "Move it to a local disk; WAL works there.")
    else:
        yield good("database", f"SQLite answers and runs in mode {mode}.")


def fs_type(path: str, mounts: str) -> str:
    """Of the file system that holds the path, by the lines of /proc/mounts; the longest mount point counts."""
    lines = [line.split(" ") for line in mounts.splitlines() if line.count(" ") >= 2]
    at = [(point, kind) for _, point, kind, *_ in lines if f"{path}/".startswith(f"{point.rstrip('/')}/")]
    return max(at, key=lambda one: len(one[0]))[1] if at else ""


def _host_clock() -> Iterator[Finding]:
    words = clock.trouble()
    if words:
        yield warning("host_clock", words, clock.ADVICE)
    else:
        yield good("host_clock", "The clock of this host agrees with the database's clock.")


def _migrations() -> Iterator[Finding]:
    executor = MigrationExecutor(connection)
    missing = len(executor.migration_plan(executor.loader.graph.leaf_nodes()))
    if missing:
        words = f"{missing} migrations are not applied."
        yield wrong("migrations", words, "Run `python manage.py migrate`.")
    else:
        yield good("migrations", "All migrations are applied.")


def _queue() -> Iterator[Finding]:
    last = Heartbeat.objects.aggregate(at=Max("at"))["at"]
    if last is None or clock.now() - last > ALIVE:
        words = f"No worker is running{f'. The last one was seen at {last:%Y-%m-%d %H:%M:%S} UTC' if last else ''}."
        yield wrong("queue", words, "Start `python manage.py qcluster`.")
    else:
        yield good("queue", "A worker is running.")


def _schedules() -> Iterator[Finding]:
    next_runs = dict(Schedule.objects.values_list("name", "next_run"))
    names = [one.name for one in schedules.planned()]
    missing = [name for name in names if name not in next_runs]
    late = [name for name in names if name in next_runs and next_runs[name] < clock.now() - LATE]
    if missing:
        words = f"Not scheduled: {', '.join(missing)}."
        advice = "Run `python manage.py migrate`. A running `qcluster` also repairs this."
        yield wrong("schedules", words, advice)
    if late:
        words = f"Overdue: {', '.join(late)}."
        yield wrong("schedules", words, "Restart `python manage.py qcluster`.")
    if not missing and not late:
        yield good("schedules", f"Scheduled: {', '.join(names)}.")


def _alarms(only: Bridge | None) -> Iterator[Finding]:
    """Those of the webhooks are examined anew, and so is the installation."""
    anew = open_alarms().exclude(key__startswith="webhook:").exclude(key__startswith=subscriptions.ALARM)
    anew = anew.exclude(key=installation.ALARM)
    if only is not None:
        anew = anew.filter(Q(bridge=None) | Q(bridge=only))
    for alarm in anew.select_related("bridge"):
        of = alarm.bridge.slug if alarm.bridge and alarm.bridge.pk != DEFAULT_BRIDGE else ""
        yield Finding(check="alarms", level="error", words=alarm.words, advice=alarm.advice, bridge=of)


HERE: dict[str, Callable[[], Iterator[Finding]]] = {
    "settings": _settings,
    "database": _database,
    "host_clock": _host_clock,
    "migrations": _migrations,
    "queue": _queue,
    "schedules": _schedules,
    "installation": _installation,
}
CHECKS = (*HERE, *OF_A_BRIDGE, "alarms")
