"""Will there be room tomorrow? The disks of this host, the size of the database, and a host's clock."""

import shutil
import socket
import tempfile
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

from django.conf import settings
from django.db import connection

from sync.models import Condition, Severity
from sync.monitoring.lasting import raise_or_clear
from webhooks import clock

GB = 1024**3
DAYS = 7
FORESEEN = 14
"""Days ahead."""
FULL_PERCENT = 3
SIZES = "database sizes"


def on_schedule() -> None:
    now, host = clock.now(), socket.gethostname()[:40]
    size = database_size()
    per_day = _growth(size, now)
    for number, (path, total, free) in enumerate(disks()):
        _disk(f"disk:{host}{f':{number}' if number else ''}", path, total, free)
    _database(size, per_day)
    words = clock.trouble()
    raise_or_clear(f"clock:{host}", bool(words), words, clock.ADVICE)


def disks() -> Iterator[tuple[Path, int, int]]:
    """Those that we write to: where, bytes in all, bytes free."""
    seen: set[int] = set()
    database = settings.DATABASES["default"]
    is_file = "sqlite" in database["ENGINE"] and Path(str(database["NAME"])).is_absolute()
    for path in (*([Path(database["NAME"]).parent] if is_file else []), settings.BASE_DIR, Path(tempfile.gettempdir())):
        try:
            device, usage = path.stat().st_dev, shutil.disk_usage(path)
        except OSError:
            continue
        if device not in seen and usage.total:
            seen.add(device)
            yield path, usage.total, usage.free


def database_size() -> int:
    """In bytes."""
    question = (
        "SELECT pg_database_size(current_database())"
        if connection.vendor == "postgresql"
        else "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()"
    )
    with connection.cursor() as cursor:
        cursor.execute(question)
        return int(cursor.fetchone()[0])


def _disk(key: str, path: Path, total: int, free: int) -> None:
    percent = free * 100 // total
    raise_or_clear(
        key,
        percent < settings.ALARM_DISK_FREE_PERCENT,
        f"The disk of {socket.gethostname()} with {path} has {percent} % free ({free / GB:.1f} GB).",
        "Make room: deliveries cannot be stored on a full disk. Old backups and logs first; then docs/operations.md.",
        Severity.CRITICAL if percent < FULL_PERCENT else Severity.WARNING,
    )


def _growth(size: int, now: datetime) -> int:
    """Bytes a day, over the last week; 0: that is not known yet."""
    known, _ = Condition.objects.get_or_create(key=SIZES, defaults={"since": now})
    week = {day: was for day, was in known.value.items() if day >= f"{now - timedelta(days=DAYS):%Y-%m-%d}"}
    if f"{now:%Y-%m-%d}" not in week or week != known.value:
        week.setdefault(f"{now:%Y-%m-%d}", size)
        Condition.objects.filter(pk=SIZES).update(value=week)
    first = min(week)
    days = (now.date() - datetime.fromisoformat(first).date()).days
    return (size - int(week[first])) // days if days else 0


def _database(size: int, per_day: int) -> None:
    limit = settings.ALARM_DATABASE_GB * GB
    soon = size + per_day * FORESEEN >= limit
    grows = f", and grew by {per_day / GB:.2f} GB a day in the last week" if per_day > 0 else ""
    raise_or_clear(
        "database",
        soon and limit > 0,
        f"The database has {size / GB:.1f} GB{grows}. The limit set for it is {settings.ALARM_DATABASE_GB} GB.",
        "Lower RETENTION_DAYS, look whether `prune` runs, or raise ALARM_DATABASE_GB if there is room: "
        "docs/operations.md.",
    )
