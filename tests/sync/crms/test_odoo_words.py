"""What Odoo said, as recorded, in our words; and whether the stand-in says the same."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import responses

from sync.clients.answers import Reply
from sync.clients.crm.base import access
from sync.clients.crm.odoo import OdooCrm
from sync.clients.crm.odoo.words import judge, snapshot
from sync.clients.errors import AuthFailed, Blocked, NotFound, Odd, Rejected, ServerTrouble, SideError
from sync.sandbox.crms.odoo import OdooStandIn
from sync.sandbox.crms.odoo.records import PARTNER

RECORDED = Path(__file__).parents[2] / "payloads" / "odoo"
CLASSES: list[tuple[str, type[SideError], bool | None]] = [
    ("16-003", ServerTrouble, None),
    ("16-006", AuthFailed, False),
    ("16-008", AuthFailed, None),
    ("16-020", Rejected, True),
    ("16-023", NotFound, None),
    ("16-034", Rejected, True),
    ("16-035", Rejected, True),
    ("16-036", Rejected, True),
    ("16-037", Rejected, True),
    ("16-055", Rejected, True),
    ("16-056", AuthFailed, None),
]
OTHERS: list[tuple[str, type[SideError], bool | None]] = [
    ("psycopg2.errors.SerializationFailure", ServerTrouble, True),
    ("psycopg2.errors.LockNotAvailable", ServerTrouble, True),
    ("odoo.exceptions.ConcurrencyError", ServerTrouble, True),
    ("odoo.exceptions.UserError", Rejected, True),
    ("odoo.exceptions.ValidationError", Rejected, True),
    ("psycopg2.errors.UniqueViolation", Rejected, True),
    ("psycopg2.pool.PoolError", ServerTrouble, None),
    ("odoo.http.SessionExpiredException", ServerTrouble, None),
    ("builtins.AttributeError", ServerTrouble, None),
    ("werkzeug.exceptions.Unauthorized", AuthFailed, False),
    ("werkzeug.exceptions.NotFound", Blocked, None),
]


def recorded(number: str) -> dict[str, Any]:
    [file] = RECORDED.glob(f"{number}-*.json")
    found: dict[str, Any] = json.loads(file.read_text())
    return found


def reply(body: Any, status: int = 200) -> Reply:
    return Reply(method="POST", path="/jsonrpc", status=status, data=body, text="", headers={})


@pytest.mark.parametrize(("number", "kind", "about_order"), CLASSES)
def test_a_recorded_error_is_of_this_class(number: str, kind: type[SideError], about_order: bool | None) -> None:
    found = judge(reply(recorded(number)["response"]["body"]))
    assert type(found) is kind
    assert found.about_order is about_order
    assert found.side == "crm"


@pytest.mark.parametrize(("name", "kind", "about_order"), OTHERS)
@pytest.mark.parametrize("is_rpc", [True, False])
def test_every_exception_has_a_class(name: str, kind: type[SideError], about_order: bool | None, is_rpc: bool) -> None:
    raised = {"name": name, "message": "words", "arguments": [], "context": {}, "debug": ""}
    found = judge(reply({"jsonrpc": "2.0", "error": {"data": raised}}) if is_rpc else reply(raised, 422))
    assert (type(found), found and found.about_order) == (kind, about_order)


def test_what_is_no_error_is_left_to_the_status() -> None:
    assert judge(reply({"jsonrpc": "2.0", "id": 1, "result": {"name": "S1", "message": "x"}})) is None
    assert judge(reply([{"name": "S1"}])) is None
    assert judge(reply(None, 502)) is None
    assert isinstance(judge(reply({"jsonrpc": "2.0", "error": {"code": 100, "message": "Odoo Session"}})), Blocked)


def test_a_failed_sign_in_is_about_the_key() -> None:
    to = access(OdooCrm.schema, {"url": "https://odoo.example", "database": "crm", "login": "x", "token": "nope-nope"})
    with responses.RequestsMock() as mock:
        mock.post("https://odoo.example/jsonrpc", json=recorded("16-002")["response"]["body"])
        with pytest.raises(AuthFailed) as raised:
            OdooCrm(to).calls._authenticate()
    assert raised.value.about_order is False


def test_a_recorded_order_is_read() -> None:
    [row] = recorded("16-016")["response"]["body"]["result"]
    found = snapshot(row)
    assert (found.crm_order_id, found.external_id, found.status, str(found.total)) == ("1", "14", "draft", "36.56")
    assert found.updated_at is not None
    assert found.updated_at.isoformat() == "2026-11-27T22:16:53+00:00"


def test_since_17_a_lock_is_what_done_was() -> None:
    [row] = recorded("17-012")["response"]["body"]["result"]
    assert snapshot({**row, "client_order_ref": False, "amount_total": 1.0}).status == "done"


@pytest.mark.parametrize("spoiled", [{"id": None}, {"write_date": False}, {"amount_total": "x"}, {"state": None}])
def test_an_odd_order_is_odd(spoiled: dict[str, Any]) -> None:
    [row] = recorded("16-016")["response"]["body"]["result"]
    with pytest.raises(Odd):
        snapshot({**row, **spoiled})


@pytest.fixture(scope="module")
def odoo() -> Iterator[OdooStandIn]:
    server = OdooStandIn(version=16)
    for number in range(2, 11):
        server.records.insert(PARTNER, {"name": f"Contact {number}", "type": "contact"})
    server.start()
    yield server
    server.stop()


@pytest.mark.parametrize(
    "number", ["16-002", "16-006", "16-020", "16-021", "16-023", "16-034", "16-035", "16-036", "16-037", "16-056"]
)
def test_the_stand_in_answers_as_recorded(number: str, odoo: OdooStandIn) -> None:
    capture = recorded(number)
    asked, answered = _of_the_stand_in(capture["request"]["body"]), capture["response"]
    if number == "16-056":
        made = odoo.sales.create({"partner_id": 2}, 6)
        asked["params"]["args"][5] = [[made]]
    answer = requests.post(f"{odoo.url}/jsonrpc", json=asked, timeout=60)
    assert answer.status_code == answered["status"] == 200
    said, expected = answer.json(), answered["body"]
    assert said.get("result") == expected.get("result")
    assert said.get("error", {}).get("data", {}).get("name") == expected.get("error", {}).get("data", {}).get("name")
    if number in ("16-023", "16-034", "16-036", "16-037", "16-020"):
        assert said["error"]["data"]["message"] == expected["error"]["data"]["message"]


def _of_the_stand_in(body: Any) -> Any:
    """The same question, of its database and key, without the custom field that it does not have."""
    text = json.dumps(body).replace('"crm"', '"demo"').replace("<api-key>", OdooStandIn.settings["token"])
    asked = json.loads(text)

    def stripped(one: Any) -> Any:
        if isinstance(one, dict):
            return {name: stripped(value) for name, value in one.items() if name != "x_woo_order_id"}
        return [stripped(value) for value in one if value != "x_woo_order_id"] if isinstance(one, list) else one

    return stripped(asked)
