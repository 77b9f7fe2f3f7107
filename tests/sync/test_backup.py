"""A copy is whole, is told from one that is not, and says what would be asked again; on both databases."""

import json
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder
from django.utils import timezone

from orders.models import OrderLink
from sync.management import backups
from sync.models import Intent, SideState
from tests.factories import OrderLinkFactory, StatusTransitionFactory, WebhookEventFactory
from webhooks.models import State, WebhookEvent

pytestmark = pytest.mark.django_db(transaction=True)
is_sqlite = connection.vendor == "sqlite"
on_sqlite = pytest.mark.skipif(not is_sqlite, reason="of SQLite")
on_postgres = pytest.mark.skipif(is_sqlite, reason="of PostgreSQL")
MOMENT = "2026-03-01T12:00:00+00:00"


def backup(*args: object) -> dict[str, Any]:
    out = StringIO()
    call_command("backup", *map(str, args), "--json", stdout=out)
    told: dict[str, Any] = json.loads(out.getvalue())
    return told


def refused(*args: object, code: int = 1) -> str:
    with pytest.raises(CommandError) as raised:
        backup(*args)
    assert raised.value.returncode == code
    return str(raised.value)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(backup("write", tmp_path / "copy")["file"])


def damaged(copy: Path, change: Callable[[bytes], bytes]) -> Path:
    copy.write_bytes(change(copy.read_bytes()))
    return copy


def test_a_copy_holds_what_was_there_and_says_what_would_be_asked_again(tmp_path: Path) -> None:
    transition = StatusTransitionFactory(event=WebhookEventFactory(state=State.DONE, next_attempt_at=None))
    for _ in range(8):
        OrderLinkFactory()
    WebhookEventFactory(received_at=timezone.now() - timedelta(days=1))
    Intent.objects.create(woo_id=14, kind="create")
    SideState.objects.update_or_create(name="shop", defaults={"cursor": {"at": MOMENT, "url": "https://x"}})
    told = backup("write", tmp_path)
    copy = Path(told["file"])
    assert told["bytes"] == copy.stat().st_size > 0 and copy.stat().st_mode & 0o077 == 0
    assert [one.name for one in tmp_path.iterdir()] == [copy.name]
    WebhookEvent.objects.all().update(state=State.DEAD)
    WebhookEventFactory(), OrderLinkFactory()
    found = backup("check", copy)
    assert found["good"] and found["wrong"] == []
    assert found["counts"] == {"events": 2, "orders": 9, "transitions": 1, "staff_actions": 0, "attempts": 0}
    assert found["asked_again"]["sides"]["shop"] == MOMENT
    assert (found["asked_again"]["open_events"], found["asked_again"]["open_writes"]) == (1, 1)
    woo_ids = [one["woo_id"] for one in found["links"]]
    assert woo_ids[0] == transition.link.woo_id and len(set(woo_ids)) == backups.SAMPLE
    assert WebhookEvent.objects.count() == 3, "the database in use is untouched, and asked again"
    out = StringIO()
    call_command("backup", "check", str(copy), stdout=out)
    assert f"shop is asked what changed since {MOMENT}" in out.getvalue()
    assert "1 events are processed anew" in out.getvalue()


def test_without_a_file_the_database_in_use_is_checked() -> None:
    OrderLinkFactory()
    found = backup("check")
    assert (found["file"], found["good"], found["counts"]["orders"]) == (None, True, 1)


def test_a_changed_history_is_found_in_the_copy_and_fails(tmp_path: Path) -> None:
    StatusTransitionFactory()
    link = OrderLinkFactory()
    OrderLink.objects.filter(pk=link.pk).update(mac="0" * 64)
    copy = backup("write", tmp_path)["file"]
    assert "Do not use it before you know why" in refused("check", copy)


@pytest.mark.parametrize("share", [0.3, 0.99])
def test_a_copy_that_was_cut_off_is_no_copy(copy: Path, share: float) -> None:
    said = refused("check", damaged(copy, lambda whole: whole[: int(len(whole) * share)]))
    assert "is cut off or damaged" in said and "Use an older copy" in said


@pytest.mark.parametrize("name", ["copy", "copy.part"])
def test_what_is_no_copy_is_called_so(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"anything")
    assert "no copy" in refused("check", path)
    assert "cannot be read" in refused("check", tmp_path / "nothing")


def test_a_copy_of_the_other_kind_of_database_is_called_so(tmp_path: Path) -> None:
    path = tmp_path / "copy"
    path.write_bytes(backups.DUMP_BEGINS if is_sqlite else backups.SQLITE_BEGINS)
    assert "Check it with a DATABASE_URL of its kind" in refused("check", path)


def test_an_older_and_a_newer_version_are_told_apart(tmp_path: Path) -> None:
    migrations = MigrationRecorder.Migration.objects
    newest = migrations.filter(app="sync").latest("id")
    try:
        migrations.filter(pk=newest.pk).update(name="9999_of_tomorrow")
        newer = backup("write", tmp_path)["file"]
        migrations.filter(pk=newest.pk).delete()
        older = backup("write", tmp_path / "older")["file"]
    finally:
        migrations.filter(app="sync", name="9999_of_tomorrow").delete()
        newest.save()
    said = refused("check", newer)
    assert "of a newer version: sync.9999_of_tomorrow" in said and "Install the version that wrote it" in said
    said = refused("check", older)
    assert f"of an older version: 1 migrations are missing, first sync.{newest.name}" in said and "migrate" in said


@on_sqlite
def test_a_database_of_something_else_is_called_so(tmp_path: Path) -> None:
    path = tmp_path / "copy"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE a (b)")
    other.close()
    assert "not one of Orderbridge" in refused("check", path)


def test_a_folder_that_is_not_there_is_no_name_of_a_file(tmp_path: Path) -> None:
    """It would be written once, and be in the way every night after."""
    with pytest.raises(CommandError, match=r"There is no folder .*copies\. Make it"):
        call_command("backup", "write", f"{tmp_path}/copies/")
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_replaced_and_wrong_use_is_told(copy: Path, tmp_path: Path) -> None:
    before = copy.read_bytes()
    assert "exists already" in refused("write", copy)
    assert copy.read_bytes() == before
    assert "There is no folder" in refused("write", tmp_path / "no" / "copy")
    assert "name a file or a folder" in refused("write", code=2)
    assert not Path(backup("write", tmp_path / "dry", "--dry-run")["file"]).exists()


def test_a_disk_that_is_full_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(part: Path) -> None:
        part.write_bytes(b"half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(backups, f"_write_{'sqlite' if is_sqlite else 'postgres'}", full)
    assert "No space left on device" in refused("write", tmp_path / "copy")
    assert list(tmp_path.iterdir()) == []


@on_postgres
def test_programs_that_are_missing_or_too_old_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = Path(backup("write", tmp_path)["file"])
    old = subprocess.CompletedProcess([], 1, "", "pg_dump: error: aborting because of server version mismatch\n")
    with monkeypatch.context() as patch:
        patch.setattr(subprocess, "run", lambda *args, **more: old)
        assert "older than the server: install" in refused("write", tmp_path / "other")
    monkeypatch.setattr(shutil, "which", lambda program: None)
    assert "There is no pg_dump on this machine: install" in refused("write", tmp_path / "other")
    assert "There is no pg_restore on this machine: install" in refused("check", copy)
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_database WHERE datname LIKE 'orderbridge_check%%'")
        assert cursor.fetchone() == (0,), "no scratch database is left behind"
