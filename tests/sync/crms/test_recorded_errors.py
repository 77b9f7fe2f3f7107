"""Every error that a real CRM was seen to answer with: of which class it is, and whether one order or all are meant."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import responses

from sync.clients import crm as crm_backends
from sync.clients.answers import Reply
from sync.clients.crm import cache
from sync.clients.crm.base import access
from sync.clients.crm.erpnext.words import judge as erpnext
from sync.clients.crm.odoo.words import judge as odoo
from sync.clients.crm.tryton.words import judge as tryton
from sync.clients.errors import (
    AuthFailed,
    Blocked,
    Hidden,
    NotFound,
    Rejected,
    ServerTrouble,
    SideError,
    Unconfirmed,
)
from sync.clients.http import JsonClient

PAYLOADS = Path(__file__).parents[2] / "payloads"
FOLDERS = {"erpnext": ("erpnext/calls", erpnext), "odoo": ("odoo", odoo), "tryton": ("tryton", tryton)}
Verdict = tuple[type[SideError], bool | None]
KEY, RIGHT, ORDER = (AuthFailed, False), (AuthFailed, None), (Rejected, True)
GONE, PAGE = (NotFound, None), (Blocked, None)
VERDICTS: dict[str, dict[Verdict, str]] = {
    "erpnext": {
        KEY: "001 002 007 034",
        ORDER: "012 013 016 029 030 031 033 038 046 049 050 903",
        GONE: "004 018 025 053",  # 004: another site; whoever asks sees that ERPNext itself did not say so
        (Unconfirmed, True): "024",
    },
    "odoo": {
        (ServerTrouble, None): "16-003",
        KEY: "16-006 16-077",
        RIGHT: "16-008 16-009 16-056 16-058 16-072 16-073",
        GONE: "16-023 16-076",  # 076: a page; whoever asks sees that Odoo itself did not say so
        ORDER: "16-020 16-031 16-034 16-035 16-036 16-037 16-055 17-023",
        PAGE: "16-038 16-039",
    },
    "tryton": {
        RIGHT: "001 002",
        KEY: "007",
        GONE: "003 025 026 051 052 053",  # 003: no such database; an order is never read so
        (ServerTrouble, None): "004",
        PAGE: "033",
        ORDER: "030 032 034 035 038 039 040 041 042 043 102 107 108",
        (Hidden, True): "054",
        (Rejected, None): "058",
    },
}
TABLE = [
    (backend, number, *verdict)
    for backend, some in VERDICTS.items()
    for verdict, numbers in some.items()
    for number in numbers.split()
]


def recorded(backend: str, number: str) -> dict[str, Any]:
    [path] = (PAYLOADS / FOLDERS[backend][0]).glob(f"{number}-*.json")
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def is_error(answer: dict[str, Any]) -> bool:
    body = answer["body"]
    return answer["status"] >= 400 or (isinstance(body, dict) and bool(body.get("error")))


@pytest.mark.parametrize("backend", FOLDERS)
def test_the_table_names_every_error(backend: str) -> None:
    files = (PAYLOADS / FOLDERS[backend][0]).glob("*.json")
    depth = 6 if backend == "odoo" else 3
    errors = {path.name[:depth] for path in files if is_error(json.loads(path.read_text())["response"])}
    assert errors == {number for of, number, *_ in TABLE if of == backend}


@pytest.mark.parametrize(("backend", "number", "kind", "about_order"), TABLE)
def test_it_is_of_this_class(backend: str, number: str, kind: type[SideError], about_order: bool | None) -> None:
    capture = recorded(backend, number)
    said, answer = capture["request"], capture["response"]
    body = answer["body"]
    told = {"body": body, "content_type": "text/html"} if isinstance(body, str) else {"json": body}
    path = said["path"].partition("?")[0]
    with responses.RequestsMock() as mock:
        mock.add(said["method"], f"https://crm.example{path}", status=answer["status"], **told)
        client = JsonClient("crm", "https://crm.example", judge=FOLDERS[backend][1])
        with pytest.raises(SideError) as raised:
            client.request(said["method"], path, json={})
    error = raised.value
    assert (type(error), error.about_order, error.side) == (kind, about_order, "crm"), error
    assert error.again is (kind not in (Rejected, NotFound, Hidden))


@pytest.mark.parametrize("kind", ["QueryDeadlockError", "QueryTimeoutError", "LockTimeoutError", "DocumentLockedError"])
@pytest.mark.parametrize("status", [417, 500])
def test_what_passes_by_itself_in_erpnext_is_tried_again_as_long_as_it_takes(kind: str, status: int) -> None:
    reply = Reply(method="PUT", path="/x", status=status, data={"exc_type": kind}, text="", headers={})
    error = erpnext(reply)
    assert error is not None
    assert (error.again, error.tries, error.about_order) == (True, None, True)


@pytest.mark.parametrize(
    ("words", "about_order"),
    [
        ("User a@b.test does not have doctype access via role permission for document Sales Order", False),
        ("You do not have enough permissions to access this resource. Please contact your manager", None),
    ],
)
def test_one_document_that_is_out_of_reach_does_not_hold_the_others_up(words: str, about_order: bool | None) -> None:
    messages = json.dumps([json.dumps({"message": words})])
    data = {"exc_type": "PermissionError", "_server_messages": messages}
    error = erpnext(Reply(method="PUT", path="/x", status=403, data=data, text="", headers={}))
    assert isinstance(error, AuthFailed)
    assert error.about_order is about_order


PAGE_404 = {"status": 404, "body": "<h1>404 Not Found</h1>", "content_type": "text/html"}


@pytest.mark.parametrize("backend", ["erpnext", "hubspot", "odoo", "tryton"])
def test_no_order_is_gone_because_a_page_is_not_found(backend: str) -> None:
    """As a proxy says it, or a server that was moved: else each order that the CRM tells of would wait for a person."""
    chosen = crm_backends.backend(backend)
    values = {one.name: "x" for one in chosen.schema} | {"url": "https://crm.example/db", "object": "orders"}
    values |= {"protocol": "JSON-RPC", "time_zone": "UTC"}
    cache.forget_all()
    crm = crm_backends.connect_to(chosen, access(chosen.schema, values))
    with responses.RequestsMock() as mock:
        for method in ("GET", "POST"):
            mock.add(method, re.compile(".*"), **PAGE_404)
        mock.assert_all_requests_are_fired = False
        with pytest.raises(Blocked) as raised:
            crm.get("17")
    assert raised.value.outage
