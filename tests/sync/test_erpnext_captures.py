"""What a real ERPNext 15 answered (tests/payloads/erpnext/calls): the stand-in answers alike, the backend knows it."""

import itertools
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests

from sync.clients.answers import Reply
from sync.clients.crm.erpnext.words import FIELD, judge, snapshot
from sync.clients.crm.erpnext.zone import zone_of
from sync.clients.errors import AuthFailed, NotConfigured, NotFound, Rejected, SideError, Unconfirmed
from sync.sandbox.crms.erpnext import TOKEN, ErpnextStandIn

CAPTURES = Path(__file__).parent.parent / "payloads" / "erpnext" / "calls"
ALL = sorted(CAPTURES.glob("*.json"))
SAID = ("name", "status", "docstatus", FIELD, "customer", "grand_total", "customer_name")
UPDATED_BETWEEN = "040"
"""From this capture on the total is another: lines were changed by a call that is not replayed."""


def capture(number: str) -> dict[str, Any]:
    [path] = CAPTURES.glob(f"{number}-*.json")
    found: dict[str, Any] = json.loads(path.read_text())
    return found


# --- the stand-in --------------------------------------------------------------------------------------------------


@pytest.fixture
def erpnext() -> Iterator[ErpnextStandIn]:
    one = ErpnextStandIn(site="erp.localhost")
    started, ticks = datetime(2026, 11, 27, 22, 15, 5, tzinfo=UTC), itertools.count()
    one.clock = lambda: started + timedelta(milliseconds=next(ticks))
    one.start()
    yield one
    one.stop()


def replayed(erpnext: ErpnextStandIn, wanted: dict[str, Any]) -> requests.Response:
    said, erpnext.may_not = wanted["request"], set()
    if "nobody" in said["authorization"]:
        erpnext.may_not = {"Sales Order"}
    token = TOKEN if "api_key" in said["authorization"] else said["authorization"].removeprefix("token ")
    headers = {"Host": said["host"], **({"Authorization": f"token {token}"} if token else {})}
    is_text = isinstance(said["body"], str)
    body = {"data": said["body"].encode()} if is_text else {"json": said["body"]} if said["body"] else {}
    return requests.request(said["method"], erpnext.url + said["path"], headers=headers, timeout=60, **body)


def outlined(body: Any, *, with_total: bool) -> Any:
    """What both have to say alike; times and names of rows differ."""
    if not isinstance(body, dict):
        return None
    data = body.get("data", body.get("message"))
    names = [name for name in SAID if with_total or name != "grand_total"]
    if isinstance(data, list):
        return [{name: row[name] for name in names if name in row} for row in data]
    if isinstance(data, dict):
        return {name: data[name] for name in names if name in data} or data
    return data or body.get("exc_type")


def test_the_stand_in_answers_as_the_captures_show(erpnext: ErpnextStandIn) -> None:
    differ = []
    for path in ALL:
        number, wanted = path.name[:3], json.loads(path.read_text())
        if number == "060":  # in between, five more were created
            for other in range(20, 25):
                again = capture("051")
                again["request"]["body"] |= {"woo_order_id": str(other), "po_no": f"woo-{other}"}
                assert replayed(erpnext, again).status_code == 200
        if number == "903":  # while it was looked for, the other was not stored yet
            del wanted["request"]["body"]["po_no"]
        got = replayed(erpnext, wanted)
        is_json = "json" in got.headers["Content-Type"]
        theirs, with_total = wanted["response"], number < UPDATED_BETWEEN
        ours = outlined(got.json() if is_json else None, with_total=with_total)
        if (got.status_code, ours) != (theirs["status"], outlined(theirs["body"], with_total=with_total)):
            differ.append((path.name, got.status_code, ours, theirs["status"]))
    assert not differ


# --- the backend ---------------------------------------------------------------------------------------------------


def judged(wanted: dict[str, Any]) -> SideError | None:
    said, theirs = wanted["request"], wanted["response"]
    data = theirs["body"] if isinstance(theirs["body"], dict) else None
    text = json.dumps(theirs["body"])
    return judge(
        Reply(method=said["method"], path=said["path"], status=theirs["status"], data=data, text=text, headers={})
    )


@pytest.mark.parametrize(
    ("number", "kind", "about_order", "words"),
    [
        ("001", AuthFailed, False, "does not know the API key"),
        ("002", AuthFailed, False, "User Guest does not have doctype access"),
        ("007", AuthFailed, False, "for document Sales Order"),
        ("034", AuthFailed, False, "nobody@example.test does not have access to this document"),
        ("012", Rejected, True, "already exists against Customer's Purchase Order woo-14."),
        ("018", NotFound, None, "Sales Order SAL-ORD-2026-99999 not found"),
        ("024", Unconfirmed, True, "Document has been modified after you have opened it"),
        ("029", Rejected, True, "Customer Nobody not found"),
        ("030", Rejected, True, "unsupported operand type"),
        ("031", Rejected, True, "Item NOPE not found"),
        ("033", Rejected, True, "Expecting value"),
        ("038", Rejected, True, "Sales Order Item Row #1: Value missing for: Item Name"),
        ("046", Rejected, True, "Submitted Record cannot be deleted"),
        ("049", Rejected, True, "Cannot edit cancelled document"),
        ("050", Rejected, True, "Woo order id must be unique"),
        ("903", Rejected, True, "Woo order id must be unique"),
    ],
)
def test_what_it_refused_has_its_class_and_its_words(
    number: str, kind: type[SideError], about_order: bool | None, words: str
) -> None:
    error = judged(capture(number))
    assert type(error) is kind
    assert error.about_order is about_order
    assert words in error.message
    assert "<" not in error.message


def test_a_missing_field_is_told_with_the_way_to_make_it() -> None:
    missing = capture("016")
    text = json.dumps(missing["response"]["body"]).replace("nonsense", FIELD)
    error = judged({**missing, "response": {**missing["response"], "body": json.loads(text)}})
    assert isinstance(error, NotConfigured)
    assert error.about_order is False
    assert "Sales Order has no field woo_order_id" in error.message
    assert "Unique" in error.advice


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.name[:3])
def test_what_it_granted_is_no_error(path: Path) -> None:
    wanted = json.loads(path.read_text())
    if wanted["response"]["status"] < 300:
        assert judged(wanted) is None


def test_an_outage_of_its_database_is_none_of_the_orders() -> None:
    broken = capture("030")
    broken["response"]["body"] = {"exc_type": "OperationalError", "exception": "(2006, 'MySQL server has gone away')"}
    assert judged(broken) is None, "500: by the status, and a ping tells"


@pytest.mark.parametrize("number", ["011", "017", "022", "035", "047"])
def test_an_order_is_read_with_its_time_and_exact_total(number: str) -> None:
    data = capture(number)["response"]["body"]["data"]
    one = snapshot(data, zone_of("Europe/Berlin"))
    assert (one.crm_order_id, one.status) == (data["name"], data["status"])
    assert str(one.total) == str(data["grand_total"])
    assert one.updated_at is not None
    assert one.updated_at.isoformat() == data["modified"].replace(" 23:", "T22:") + "+00:00"
