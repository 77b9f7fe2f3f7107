"""Answers in ERPNext's place, or of it, that must not be believed."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import responses

from sync.clients import crm as crm_backends
from sync.clients.crm import cache
from sync.clients.crm.base import access
from sync.clients.crm.erpnext import ErpnextCrm
from sync.clients.errors import Blocked, Endless, Odd, RateLimited, ServerTrouble, SideError, Unconfirmed
from tests.sync.crm_contract import LONG_AGO
from tests.sync.erpnext import shop_order

URL = "https://erp.example"
ORDERS = f"{URL}/api/resource/Sales%20Order"
ONE: dict[str, Any] = {
    "name": "SAL-ORD-2026-00001",
    "woo_order_id": "woo-14",
    "status": "Draft",
    "docstatus": 0,
    "modified": "2026-11-27 23:15:06.707700",
    "creation": "2026-11-27 23:15:06.707700",
    "grand_total": 35.63,
}


@pytest.fixture
def answers() -> Iterator[responses.RequestsMock]:
    cache.forget_all()
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        yield mock


def connect() -> ErpnextCrm:
    values = {"url": URL, "token": "a-key:a-secret", "time_zone": "Europe/Berlin", "company": "Example Shop"}
    made = crm_backends.connect_to(ErpnextCrm, access(ErpnextCrm.schema, values, "of-a-test"))
    assert isinstance(made, ErpnextCrm)
    return made


def listed(mock: responses.RequestsMock, *rows: Any) -> None:
    mock.get(ORDERS, json={"data": list(rows)})


WRONG = {
    "no status": {"status": None},
    "a status of 65 characters": {"status": "s" * 65},
    "a number as its name": {"name": 7},
    "a name with NUL": {"name": "SAL\x00"},
    "no time": {"modified": None},
    "a time with a zone": {"modified": "2026-11-27T22:15:06Z"},
    "a thirteenth month": {"modified": "2026-13-01 00:00:00"},
    "no total": {"grand_total": None},
    "a total that is true": {"grand_total": True},
    "a total in words": {"grand_total": "much"},
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_what_is_no_order_is_odd_and_hides_no_other(answers: responses.RequestsMock, wrong: dict[str, Any]) -> None:
    listed(answers, {**ONE, **wrong}, {**ONE, "name": "SAL-ORD-2026-00002", "woo_order_id": "woo-15"})
    assert [one.crm_order_id for one in connect().changed_since(LONG_AGO)] == ["SAL-ORD-2026-00002"]
    answers.replace(responses.GET, ORDERS, json={"data": [{**ONE, **wrong}]})
    with pytest.raises(SideError):
        connect().get(ONE["name"])


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (200, "<html>Log in</html>", Blocked),
        (200, json.dumps({"data": {"name": "x"}}), Blocked),
        (200, json.dumps({"message": "pong"}), Blocked),
        (200, json.dumps([ONE]), Blocked),
        (200, json.dumps({"data": [7]}), Blocked),
        (200, "", Blocked),
        (302, "", Blocked),
        (404, "<h1>Not Found</h1>", Blocked),
        (502, "<h1>Bad Gateway</h1>", ServerTrouble),
        (500, json.dumps({"exc_type": "OperationalError", "exception": "gone away"}), ServerTrouble),
        (429, json.dumps({"exc_type": "RateLimitExceededError"}), RateLimited),
    ],
)
def test_what_stands_in_its_place_is_the_sides(
    answers: responses.RequestsMock, status: int, body: str, kind: type[SideError]
) -> None:
    answers.get(ORDERS, body=body, status=status)
    for call in (
        lambda: connect().find("14"),
        lambda: connect().get("x"),
        lambda: list(connect().changed_since(LONG_AGO)),
    ):
        with pytest.raises(kind) as raised:
            call()
        assert raised.value.about_order is not True


def test_an_ignored_filter_finds_nobody_elses_order(answers: responses.RequestsMock) -> None:
    listed(answers, ONE, {**ONE, "name": "SAL-ORD-2026-00002", "woo_order_id": "woo-15"})
    assert connect().find("16") is None
    assert connect().find_many(["16"]) == {"16": None}
    assert connect().get_many(["SAL-ORD-2026-00003"]) == {}


def test_a_list_that_goes_round_ends(answers: responses.RequestsMock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sync.clients.crm.erpnext.PAGE", 2)
    listed(answers, ONE, {**ONE, "name": "SAL-ORD-2026-00002", "modified": "2026-11-28 00:00:00.000000"})
    with pytest.raises(Endless):
        list(connect().changed_since(LONG_AGO))


def test_another_order_than_asked_for_is_not_changed(answers: responses.RequestsMock) -> None:
    answers.get(f"{ORDERS}/SAL-ORD-2026-00002", json={"data": {**ONE, "items": [], "taxes": []}})
    with pytest.raises(Odd):
        connect().update("SAL-ORD-2026-00002", document())


@pytest.mark.parametrize("row", [{"qty": None, "rate": 1}, {"qty": 1, "rate": "dear"}, {"qty": True, "rate": 1}])
def test_a_row_that_reads_oddly_is_told(answers: responses.RequestsMock, row: dict[str, Any]) -> None:
    there = {**ONE, "customer": "C", "docstatus": 1, "items": [{"item_code": "A", **row}], "taxes": []}
    answers.get(f"{ORDERS}/{ONE['name']}", json={"data": there})
    answers.get(f"{URL}/api/v2/doctype/Sales%20Order/meta", json={"data": {"fields": []}})
    with pytest.raises(Odd, match="is no number"):
        connect().update(ONE["name"], document(billing={}))


def test_a_creation_that_is_answered_with_nothing_is_looked_for(answers: responses.RequestsMock) -> None:
    listed(answers)
    for doctype in ("Customer", "Contact", "Item"):
        answers.get(f"{URL}/api/resource/{doctype}", json={"data": []})
    answers.get(f"{URL}/api/resource/Company", json={"data": [{"name": "Example Shop"}]})
    answers.get(f"{URL}/api/v2/doctype/Sales%20Order/meta", status=404, json={"exc_type": "DoesNotExistError"})
    answers.post(f"{URL}/api/resource/Customer", json={"data": {"name": "C"}})
    answers.post(ORDERS, json={"data": "ok"})
    with pytest.raises(Unconfirmed) as raised:
        connect().create(
            "14", document(billing={"email": "a@example.test"}, tax_lines=[], total_tax="0", shipping_lines=[])
        )
    assert raised.value.may_have_got_through


def document(**changes: Any) -> dict[str, Any]:
    return dict(ErpnextCrm.composer(connect().access).document(shop_order(**changes)))
