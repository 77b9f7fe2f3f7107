"""Orders are under way, a copy is made, more happens, the copy is put back: both sides agree, and nothing is twice."""

import json
import sqlite3
import subprocess
from contextlib import closing
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import call_command
from django.db import connection
from django.db.backends.postgresql.client import DatabaseClient

from sync.management import backups
from tests.journeys.conftest import World, linked_order


def restore(copy: Path) -> None:
    """As docs/backup.md says."""
    if connection.vendor == "sqlite":
        with closing(sqlite3.connect(copy)) as source:
            source.backup(connection.connection)
        return
    (_, *where), env = DatabaseClient.settings_to_cmd_args_env(connection.settings_dict, [])
    clean = ["--clean", "--if-exists", "--no-owner", "--single-transaction", f"--dbname={where.pop()}"]
    subprocess.run(["pg_restore", *where, *clean, str(copy)], env=env, check=True)
    connection.close()


def reconcile() -> None:
    call_command("reconcile", stdout=StringIO(), stderr=StringIO())


@pytest.mark.usefixtures("transactional_db")
def test_what_happened_after_the_copy_is_found_again_and_nothing_is_done_twice(world: World, tmp_path: Path) -> None:
    old, old_crm = linked_order(world, status="pending")
    reconcile()  # as every few minutes: from here on each side is asked for what is newer
    world.settle()
    under_way = world.shop.create_order(status="pending")["id"]
    world.shop.settle()
    copy = tmp_path / "copy"
    backups.write(copy)
    with backups.opened(copy):
        assert backups.look().asked_again["open_events"] == 1

    new, new_crm = linked_order(world, status="pending")
    for crm_id, status in ((old_crm, "paid"), (new_crm, "paid"), (old_crm, "shipped")):
        world.crm.set_status(crm_id, status)
        world.settle()
    world.shop.edit(under_way, customer_note="Ring twice")
    world.settle()
    both = {one: order["status"] for one, order in world.shop.orders.items()}
    crm = {one: order["status"] for one, order in world.crm.orders.items()}
    writes = list(world.shop.status_writes)
    assert both == {old: "completed", under_way: "pending", new: "processing"}

    restore(copy)
    world.bury_the_dead()
    reconcile()
    world.settle()
    reconcile()
    world.settle()
    assert {one: order["status"] for one, order in world.shop.orders.items()} == both
    assert [len(world.crm.by_external(str(one))) for one in both] == [1, 1, 1]
    assert {one: order["status"] for one, order in world.crm.orders.items()} == crm
    assert world.shop.status_writes == writes, "no status is written a second time"
    assert {one: world.link(one).crm_order_id for one in both}[new] == new_crm
    out = StringIO()
    call_command("drift", "--json", stdout=out, stderr=StringIO())
    assert json.loads(out.getvalue())["findings"] == []
    assert backups.look().wrong == []
