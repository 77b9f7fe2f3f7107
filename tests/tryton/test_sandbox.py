"""`make run CRM=tryton`: the sandbox before a real Tryton, with its page, its traffic and its faults."""

import threading
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import MagicMock

import pytest
import requests
from django.core.management.base import CommandError

from scripts.run import connection_to
from sync.clients import crm as crm_backends
from sync.clients.crm.base import access, unmarked
from sync.clients.crm.tryton import TrytonCrm
from sync.clients.crm.tryton.document import COMPOSER
from sync.clients.errors import SideError
from sync.sandbox.crms import tryton
from sync.sandbox.crms.base import PAGE, StandIn
from sync.sandbox.crms.tryton import TrytonOfTheSandbox
from sync.sandbox.shop import SandboxShop
from sync.sandbox.traffic import Traffic
from tests.chaos import tryton as in_chaos
from tests.tryton.server import Database


@pytest.fixture
def sandbox(database: Database) -> Iterator[TrytonOfTheSandbox]:
    one = TrytonOfTheSandbox(0, database.server)
    StandIn.start(one)  # the server runs, and goes on
    yield one
    StandIn.stop(one)


@pytest.fixture
def crm(sandbox: TrytonOfTheSandbox) -> TrytonCrm:
    """Connected as `make run` does it."""
    told = connection_to("tryton", sandbox.url)
    to = access(TrytonCrm.schema, {"url": told["CRM_URL"], "token": told["CRM_TOKEN"]})
    found = crm_backends.connect_to(TrytonCrm, to)
    assert isinstance(found, TrytonCrm)
    return found


def test_its_page_knows_every_state_of_a_sale() -> None:
    assert {*TrytonOfTheSandbox.statuses} == {one.name for one in TrytonCrm.default_statuses}


def test_where_tryton_is_not_installed_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tryton, "is_made", lambda: False)
    with pytest.raises(CommandError, match="make tryton"):
        TrytonOfTheSandbox.sandboxed(0, "", 1)


@pytest.mark.parametrize("said", [requests.ConnectionError, requests.HTTPError, requests.Timeout])
def test_one_that_is_asked_while_it_starts_is_waited_for(
    said: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Tryton that two ask at first, at once, answers one of them with 500."""
    (tmp_path / "crm.sqlite").touch()
    answers = [said(), said(), None]
    monkeypatch.setattr(tryton.subprocess, "Popen", lambda *args, **more: MagicMock(**{"poll.return_value": None}))
    monkeypatch.setattr(tryton, "ask", MagicMock(side_effect=answers))
    one = tryton.TrytonServer(tmp_path)
    one.start()
    assert one.process is not None
    assert tryton.ask.call_count == 3  # type: ignore[attr-defined]


def test_orders_are_made_shown_and_moved_by_traffic(sandbox: TrytonOfTheSandbox, crm: TrytonCrm) -> None:
    shop = SandboxShop()
    traffic = Traffic(shop, sandbox, seed=1)
    for _ in range(2):
        traffic.order()
    for woo_id, order in shop.orders.items():
        crm.create(str(woo_id), COMPOSER.document(order))
    shown = sandbox.shown()
    assert [unmarked(one.external_id) for one in shown] == [str(woo_id) for woo_id in shop.orders]
    assert [one.total for one in shown] == [f"{order['total']} EUR" for order in shop.orders.values()]
    for _ in range(4):
        traffic._in_the_crm()
    moved = {one.crm_order_id: one.status for one in sandbox.shown()}
    assert set(moved.values()) <= {"processing", "cancelled"}
    for crm_order_id, status in moved.items():
        assert crm.get(crm_order_id).status == status


def test_a_person_moves_one_by_the_buttons_that_tryton_has(sandbox: TrytonOfTheSandbox, crm: TrytonCrm) -> None:
    order = SandboxShop().create_order()
    made, _ = crm.create("14", COMPOSER.document(order))

    def move(status: str) -> requests.Response:
        said = {"order": made.crm_order_id, "status": status}
        return requests.post(f"{sandbox.url}{PAGE}", data=said, timeout=60)

    answer = move("quotation")
    assert answer.status_code == 200 and "<option selected>quotation</option>" in answer.text
    assert "A real Tryton" in answer.text
    assert crm.get(made.crm_order_id).status == "quotation"
    refused = move("done")
    assert refused.status_code == 400 and "no button that leads from quotation to done" in refused.text
    assert move("draft").status_code == move("cancelled").status_code == move("draft").status_code == 200
    assert crm.get(made.crm_order_id).status == "draft"


def test_chaos_counts_all_that_tryton_has_and_its_people_wait_while_it_is_away(
    sandbox: TrytonOfTheSandbox, crm: TrytonCrm, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = SandboxShop()
    for number in range(3):
        order = shop.create_order(billing={"email": f"c{number % 2}@example.test", "phone": f"{number % 2}"})
        crm.create(str(order["id"]), COMPOSER.document(order))
    seen = in_chaos.TrytonInChaos(sandbox.tryton.folder)
    seen.tryton = sandbox.tryton
    monkeypatch.setattr(in_chaos, "PAGE", 2)
    assert [unmarked(one.external_id) for one in seen.shown()] == [str(woo_id) for woo_id in shop.orders]
    assert sorted(seen.customers()) == ["c0@example.test", "c1@example.test"]
    sandbox.tryton.stop()
    back = threading.Thread(target=sandbox.tryton.start)
    back.start()
    assert {seen.one(place) for place in range(4)} == {*seen.shown(), None}
    back.join()


def test_it_fails_where_the_sandbox_is_told_so(sandbox: TrytonOfTheSandbox, crm: TrytonCrm) -> None:
    sandbox.faults.add("500")
    with pytest.raises(SideError):
        crm.ping()
    sandbox.faults.clear()
    crm.ping()
