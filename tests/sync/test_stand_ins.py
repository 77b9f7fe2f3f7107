"""Every CRM of the sandbox has a page that moves orders, and fits the backend that it stands in for."""

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import requests

from scripts import run
from sync.clients.crm import backend, connect_to
from sync.clients.crm.base import access, unmarked
from sync.sandbox.crm import SandboxCrm
from sync.sandbox.crms import CRMS, STAND_INS, stand_in
from sync.sandbox.crms.base import PAGE, StandIn
from sync.sandbox.shop import SandboxShop
from sync.sandbox.traffic import Traffic

EVERY = {"rest": SandboxCrm, **{name: stand_in(name) for name in STAND_INS}}


@pytest.fixture
def crm() -> Iterator[SandboxCrm]:
    one = SandboxCrm()
    one.start()
    yield one
    one.stop()


@pytest.mark.parametrize("kind", EVERY.values(), ids=EVERY)
def test_its_habits_lead_from_and_to_statuses_that_it_has(kind: type[StandIn]) -> None:
    detours = {name for _, froms, to in kind.habits.detours for name in (*froms, to)}
    backwards, to = kind.habits.backwards
    known = {*kind.habits.usual, *kind.habits.usual.values(), *detours, *backwards, *filter(None, [to])}
    assert known
    assert known <= {*kind.statuses}
    assert kind.title


@pytest.mark.parametrize("name", EVERY)
def test_its_settings_are_all_that_its_backend_needs(name: str) -> None:
    kind, schema = EVERY[name], backend(name).schema
    whole = access(schema, {"url": f"http://127.0.0.1:1{kind.path}", **kind.settings})
    whole.ensure_whole(schema)
    assert {*kind.settings} <= {one.name for one in schema}


def test_make_run_connects_to_each_before_there_is_django() -> None:
    """As scripts/run.py does it, which has no settings."""
    env = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    ask = (
        "import json; from scripts.run import CRMS, connection_to;"
        "print(json.dumps({name: connection_to(name, 'http://127.0.0.1:1') for name in CRMS}))"
    )
    said = subprocess.run(
        [sys.executable, "-c", ask], cwd=Path(__file__).parents[2], env=env, capture_output=True, check=True
    ).stdout
    told = json.loads(said)
    assert told.keys() == CRMS.keys()
    for name, values in told.items():
        assert (values["CRM_BACKEND"], values["CRM_POLL_SECONDS"]) == (name, "30")
        assert values["CRM_URL"] == f"http://127.0.0.1:1{stand_in(name).path}"
        assert values["CRM_TOKEN"]


@pytest.mark.parametrize("name", STAND_INS)
def test_its_orders_live_in_the_sandbox_and_survive_a_restart(name: str) -> None:
    """Made by the backend, moved by traffic, kept in a file."""
    kind, chosen = stand_in(name), backend(name)
    server = kind.sandboxed(0, "", 1)
    server.webhook_url = ""
    server.start()
    try:
        to = access(chosen.schema, {"url": f"{server.url}{kind.path}", **kind.settings})
        crm, shop = connect_to(chosen, to), SandboxShop()
        traffic = Traffic(shop, server, seed=1)
        for _ in range(4):
            traffic.order()
        for woo_id, order in shop.orders.items():
            crm.create(str(woo_id), chosen.composer(to).document(order))
        shown = server.shown()
        assert [unmarked(one.external_id) for one in shown] == [str(woo_id) for woo_id in shop.orders]
        assert {one.status for one in shown} <= {*kind.habits.usual}
        for _ in range(60):
            traffic.step()
        assert {one.status for one in server.shown()} <= {*kind.statuses}
        assert [one.status for one in server.shown()] != [one.status for one in shown]
        again = kind.sandboxed(0, "", 1)
        again.restore(json.loads(json.dumps(server.kept())))
        assert again.shown() == server.shown()
    finally:
        server.stop()


def test_a_person_sees_the_orders_and_moves_one(crm: SandboxCrm) -> None:
    order = crm.add_order("14", billing={"first_name": "Zoë <b>", "last_name": "Ø"}, total="12.00", currency="EUR")
    page = requests.get(f"{crm.url}{PAGE}", timeout=60)
    assert page.status_code == 200
    assert "Zoë &lt;b&gt; Ø</td><td>12.00 EUR" in page.text
    moved = requests.post(f"{crm.url}{PAGE}", data={"order": order["id"], "status": "shipped"}, timeout=60)
    assert moved.status_code == 200
    assert "<option selected>shipped</option>" in moved.text
    assert crm.orders[order["id"]]["status"] == "shipped"


def test_an_order_that_is_not_there_is_not_moved(crm: SandboxCrm) -> None:
    answer = requests.post(f"{crm.url}{PAGE}", data={"order": "C-<1>", "status": "paid"}, timeout=60)
    assert answer.status_code == 400
    assert "C-&lt;1&gt;" in answer.text


@pytest.mark.parametrize(
    ("crm", "is_there", "linked", "refused"),
    [
        ("odoo", [], 1, "var/sandbox-odoo.json is missing"),
        ("odoo", ["sandbox-odoo.json"], 1, ""),
        ("odoo", [], 0, ""),
        ("odoo", [], None, ""),
        ("tryton", ["sandbox-tryton.json"], 1, "var/tryton is missing"),
        ("tryton", ["sandbox-tryton.json", "tryton"], 1, ""),
        ("", [], 1, ""),
    ],
)
def test_links_never_outlive_the_sandbox_that_they_lead_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, crm: str, is_there: list[str], linked: int | None, refused: str
) -> None:
    monkeypatch.setattr(run, "ROOT", tmp_path)
    monkeypatch.setattr(run, "VAR", tmp_path / "var")
    monkeypatch.delenv("DATABASE_URL", raising=False)
    for name in is_there:
        (tmp_path / "var" / name).mkdir(parents=True)
    if linked is not None:
        with closing(sqlite3.connect(tmp_path / run.file_of(crm, "db.sqlite3"))) as database:
            database.execute("CREATE TABLE orders_orderlink (id integer)")
            database.executemany("INSERT INTO orders_orderlink VALUES (?)", [(one,) for one in range(linked)])
            database.commit()
    if not refused:
        run.ensure_whole(crm)
        return
    with pytest.raises(SystemExit, match=f"{refused}.*rm db-{crm}.sqlite3"):
        run.ensure_whole(crm)
