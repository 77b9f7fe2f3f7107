"""The `rest` backend: the contract of every CRM over real HTTP, and answers that must not be believed."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
import requests
import responses
from responses import matchers

from sync.clients import crm as crm_backends
from sync.clients.crm.rest import RestCrm
from sync.clients.errors import (
    Blocked,
    Endless,
    NotConfigured,
    NotFound,
    Odd,
    RateLimited,
    Rejected,
    ServerTrouble,
    SideError,
)
from sync.sandbox.crm import SandboxCrm
from sync.sandbox.server import Answer
from tests.sync.crm_contract import LONG_AGO, ORDER, BatchContract, Stage

URL = "https://crm.example/api"
AT = "2026-11-24T03:12:09Z"
ONE: dict[str, Any] = {"id": "C-1", "external_id": "14", "status": "new", "version": 1, "updated_at": AT}


@pytest.fixture
def sandbox(settings: Any) -> Iterator[SandboxCrm]:
    one = SandboxCrm(token="a-token-of-the-crm")
    one.start()
    settings.CRM_URL, settings.CRM_TOKEN = one.url, one.token
    yield one
    one.stop()


class TestRestCrm(BatchContract):
    @pytest.fixture
    def stage(self, sandbox: SandboxCrm) -> Stage:
        return Stage(
            kind=RestCrm,
            access=crm_backends.environment(RestCrm),
            move=sandbox.set_status,
            take_away=sandbox.stop,
            missing_id="C-999",
            status="paid",
        )

    def test_a_long_list_is_walked_to_its_end(self, sandbox: SandboxCrm) -> None:
        made = {sandbox.add_order(str(number))["id"] for number in range(250)}
        listed = [one.crm_order_id for one in connect().changed_since(LONG_AGO)]
        assert (len(listed), set(listed)) == (250, made)
        assert len(sandbox.requests) == 3

    @pytest.mark.parametrize("crm_id", ["a b", "a/b", "a?b=c", "ä%2F", "../orders/C-1001"])
    def test_odd_ids_lead_to_their_own_order(self, sandbox: SandboxCrm, crm_id: str) -> None:
        with pytest.raises(NotFound):
            connect().get(crm_id)
        assert sandbox.requests[0].path.count("/") == 2

    def test_a_wrong_token_is_told(self, sandbox: SandboxCrm, settings: Any) -> None:
        settings.CRM_TOKEN = "another-token"
        with pytest.raises(SideError, match=r"unauthorized\. Check the keys"):
            connect().ping()

    def test_a_hundred_are_read_and_found_by_one_call_each(self, sandbox: SandboxCrm) -> None:
        made = {sandbox.add_order(str(number))["id"]: str(number) for number in range(100)}
        assert connect().get_many([*made]).keys() == made.keys()
        assert {name: one.crm_order_id for name, one in connect().find_many([*made.values()]).items()} == {
            name: crm_id for crm_id, name in made.items()
        }
        assert len(sandbox.requests) == 2

    @pytest.mark.parametrize("fault", ["ignores-batches", "refuses-batches"])
    def test_a_crm_without_batch_reads_is_asked_once(self, sandbox: SandboxCrm, fault: str) -> None:
        requests.post(f"{sandbox.url}/_faults", json={"name": fault}, timeout=60).raise_for_status()
        crm_id = sandbox.add_order("14")["id"]
        sandbox.add_order("15")
        for _ in range(3):
            assert (connect().get_many([crm_id]), connect().find_many(["14"])) == ({}, {})
        assert (connect().get(crm_id).external_id, connect().find("14").crm_order_id) == ("14", crm_id)  # type: ignore[union-attr]
        assert [*map(is_batch, sandbox.requests)] == [True, True, False, False]

    def test_an_order_that_is_listed_late_is_left_to_the_single_read(self, sandbox: SandboxCrm) -> None:
        crm_id = sandbox.add_order("14")["id"]
        sandbox.list_lag = 1000.0
        late = sandbox.add_order("15")["id"]
        sandbox.set_status(crm_id, "paid")
        found = connect().find_many(["14", "15"])
        assert {name: one and one.status for name, one in found.items()} == {"14": "new", "15": None}
        assert {name: one.status for name, one in connect().get_many([crm_id, late]).items()} == {
            crm_id: "paid",
            late: "new",
        }


def is_batch(request: Any) -> bool:
    return bool({"ids", "external_ids"} & request.query.keys())


# --- answers that must not be believed -----------------------------------------------------------------------------


@pytest.fixture
def answers(settings: Any) -> Iterator[responses.RequestsMock]:
    settings.CRM_URL, settings.CRM_TOKEN = URL, "a-token-of-the-crm"
    with responses.RequestsMock() as mock:
        yield mock


def connect() -> RestCrm:
    crm = crm_backends.connect()
    assert isinstance(crm, RestCrm)
    return crm


def page(*orders: Any, cursor: Any = None) -> dict[str, Any]:
    return {"results": list(orders), "next_cursor": cursor}


WRONG = {
    "another order": {"id": "C-2"},
    "no id": {"id": None},
    "an id that is no text": {"id": True},
    "an id that is a list": {"id": ["C-1"]},
    "an id of 65 characters": {"id": "C" * 65},
    "an id with NUL": {"id": "C-1\x00"},
    "no status": {"status": None},
    "an empty status": {"status": ""},
    "a numeric status": {"status": 5},
    "a status of 65 characters": {"status": "s" * 65},
    "a status with a line break": {"status": "pa\nid"},
    "a version that is text": {"version": "7"},
    "a version that is true": {"version": True},
    "a version with a point": {"version": 1.0},
    "a version beyond 64 bits": {"version": 2**63},
    "a time that is none": {"updated_at": "yesterday"},
    "a time that is a number": {"updated_at": 1764000000},
    "a thirteenth month": {"updated_at": "2026-13-01T00:00:00Z"},
    "a time before all times": {"updated_at": "0001-01-01T00:00:00+23:59"},
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
@pytest.mark.parametrize("method", ["GET", "PATCH"])
def test_an_answer_that_is_not_the_order_is_blocked(
    answers: responses.RequestsMock, wrong: dict[str, Any], method: str
) -> None:
    for one in {method, "GET"}:
        answers.add(one, f"{URL}/orders/C-1", json=ONE | wrong)
    with pytest.raises(Blocked) as raised:
        connect().get("C-1") if method == "GET" else connect().update("C-1", ORDER)
    assert raised.value.side == "crm"


@pytest.mark.parametrize(
    "body", ["null", "[]", "{}", '"C-1"', "7", "<html>Log in", "", '{"id": "C-1", "version": NaN}']
)
def test_a_200_that_is_no_order_is_blocked(answers: responses.RequestsMock, body: str) -> None:
    answers.get(f"{URL}/orders/C-1", body=body)
    answers.post(f"{URL}/orders", body=body)
    for call in (lambda: connect().get("C-1"), lambda: connect().create("14", ORDER)):
        with pytest.raises(Blocked):
            call()


@pytest.mark.parametrize(
    ("given", "name", "value"),
    [
        ({"id": 7}, "crm_order_id", "7"),
        ({"external_id": 14}, "external_id", "14"),
        ({"external_id": None}, "external_id", None),
        ({"external_id": ""}, "external_id", None),
        ({"status": "in Prüfung"}, "status", "in Prüfung"),
        ({"status": "s" * 64}, "status", "s" * 64),
        ({"version": None}, "version", None),
        ({"version": 0}, "version", 0),
        ({"version": 2**63 - 1}, "version", 2**63 - 1),
        ({"updated_at": None}, "updated_at", None),
        ({"updated_at": "2026-11-24T04:12:09.5+01:00"}, "updated_at", datetime(2026, 11, 24, 3, 12, 9, 500000, UTC)),
        ({"updated_at": "2026-11-24T03:12:09"}, "updated_at", datetime(2026, 11, 24, 3, 12, 9, tzinfo=UTC)),
        ({"more": {"customer": "x"}}, "answer", ONE),
    ],
)
def test_what_may_differ_is_understood(
    answers: responses.RequestsMock, given: dict[str, Any], name: str, value: Any
) -> None:
    order = ONE | given
    answers.get(f"{URL}/orders/{order['id']}", json=order)
    assert getattr(connect().get(str(order["id"])), name) == value


@pytest.mark.parametrize("crm_id", ["", ".", ".."])
def test_an_id_that_leads_elsewhere_is_not_asked_for(answers: responses.RequestsMock, crm_id: str) -> None:
    for call in (lambda: connect().get(crm_id), lambda: connect().update(crm_id, ORDER)):
        with pytest.raises(NotFound):
            call()


# --- creating ------------------------------------------------------------------------------------------------------


def test_a_creation_names_the_order_twice(answers: responses.RequestsMock) -> None:
    answers.post(f"{URL}/orders", json=ONE, status=201)
    assert connect().create("14", ORDER)[1] is True
    request = answers.calls[0].request
    assert json.loads(request.body or b"") == {"external_id": "14", "order": ORDER}
    assert (request.headers["Idempotency-Key"], request.headers["Authorization"]) == (
        "woo-14",
        "Bearer a-token-of-the-crm",
    )


def test_a_200_says_that_it_was_there(answers: responses.RequestsMock) -> None:
    answers.post(f"{URL}/orders", json={name: value for name, value in ONE.items() if name != "external_id"})
    assert connect().create("14", ORDER)[1] is False


def test_an_answer_about_another_order_of_the_shop_is_blocked(answers: responses.RequestsMock) -> None:
    answers.post(f"{URL}/orders", json=ONE | {"external_id": "15"}, status=201)
    with pytest.raises(Blocked, match="the order of 15, not of 14"):
        connect().create("14", ORDER)


# --- finding -------------------------------------------------------------------------------------------------------

OTHERS = [ONE | {"id": f"C-{number}", "external_id": str(number)} for number in range(100, 103)]
UNNAMED = [{"id": "C-5", "status": "new"}, "nonsense", None, ONE | {"external_id": None}]


@pytest.mark.parametrize(
    ("pages", "found"),
    [
        ([page()], None),
        ([page(ONE)], "C-1"),
        ([page(ONE | {"external_id": 14})], "C-1"),
        ([page(*OTHERS)], None),
        ([page(*OTHERS, ONE)], "C-1"),
        ([page(*UNNAMED, ONE)], "C-1"),
        ([page(*OTHERS, cursor="a"), page(ONE)], "C-1"),
        ([page(*OTHERS, cursor="a"), page(cursor="b"), page(ONE)], "C-1"),
        ([page(ONE, cursor=7), page(ONE)], "C-1"),
        ([page(*OTHERS, cursor="a"), page(cursor="a")], None),
        ([page(*OTHERS, cursor="")], None),
        ([{"results": [ONE]}], "C-1"),
    ],
)
def test_only_the_order_of_that_name_is_found_wherever_it_stands(
    answers: responses.RequestsMock, pages: list[Any], found: str | None
) -> None:
    for one in pages:
        answers.get(f"{URL}/orders", json=one)
    order = connect().find("14")
    assert (order.crm_order_id if order else None) == found
    assert len(answers.calls) == len(pages)


TWICE = [page(ONE, ONE | {"id": "C-2"})]


@pytest.mark.parametrize(
    ("pages", "error", "words"),
    [
        (TWICE, Rejected, "has order 14 2 times: C-1, C-2. Merge them there"),
        ([page(ONE, cursor="a"), page(ONE | {"id": "C-2"})], Rejected, "2 times"),
        ([page(*OTHERS, cursor="a"), page(*OTHERS, cursor="a")], Endless, "does not end"),
        ([page(*OTHERS, cursor="a"), page(cursor="b"), page(*OTHERS, cursor="a")], Endless, "does not end"),
        ([page(ONE | {"status": None})], Odd, "not an order"),
        ([[ONE]], Blocked, "not a list of orders"),
        ([{"results": {"14": ONE}}], Blocked, "not a list of orders"),
        ([{}], Blocked, "not a list of orders"),
        ([page(*OTHERS, cursor="a"), "the end"], Blocked, "not a list of orders"),
    ],
)
def test_a_list_that_can_not_be_trusted_finds_nothing(
    answers: responses.RequestsMock, pages: list[Any], error: type[SideError], words: str
) -> None:
    for one in pages:
        answers.get(f"{URL}/orders", json=one)
    with pytest.raises(SideError, match=words) as raised:
        connect().find("14")
    assert type(raised.value) is error


def test_each_page_is_asked_for_with_the_same_question(answers: responses.RequestsMock) -> None:
    question = {"updated_since": "2026-11-24T03:12:09.000001Z", "limit": "100"}
    asked = matchers.query_param_matcher(question)
    answers.get(f"{URL}/orders", json=page(ONE, cursor="a/b+c"), match=[asked])
    asked = matchers.query_param_matcher({**question, "cursor": "a/b+c"})
    answers.get(f"{URL}/orders", json=page(ONE | {"id": "C-2"}), match=[asked])
    since = datetime(2026, 11, 24, 4, 12, 9, 1, tzinfo=timezone(timedelta(hours=1)))
    assert [one.crm_order_id for one in connect().changed_since(since)] == ["C-1", "C-2"]


@pytest.mark.parametrize("wrong", [one for one in WRONG.values() if "id" not in one])
def test_an_odd_order_of_a_list_is_named_and_hides_none_that_follow(
    answers: responses.RequestsMock, wrong: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    answers.get(f"{URL}/orders", json=page(ONE, ONE | {"id": "C-2"} | wrong, ONE | {"id": "C-3"}))
    assert [one.crm_order_id for one in connect().changed_since(LONG_AGO)] == ["C-1", "C-3"]
    assert [vars(one)["order"] for one in caplog.records if one.levelname == "WARNING"] == ["C-2"]


def test_one_odd_order_alone_is_no_outage(answers: responses.RequestsMock) -> None:
    answers.get(f"{URL}/orders", json=page(ONE | {"status": ""}))
    assert not list(connect().changed_since(LONG_AGO))


@pytest.mark.parametrize("results", [[{}], ["C-1"], [ONE | {"id": ""}], [ONE | {"version": "7"}] * 2])
def test_a_list_of_which_nothing_can_be_read_is_blocked(answers: responses.RequestsMock, results: list[Any]) -> None:
    answers.get(f"{URL}/orders", json=page(*results))
    with pytest.raises(Blocked):
        list(connect().changed_since(LONG_AGO))


def test_an_update_that_is_answered_with_nothing_is_read_back(answers: responses.RequestsMock) -> None:
    answers.patch(f"{URL}/orders/C-1", status=204)
    answers.get(f"{URL}/orders/C-1", json=ONE | {"version": 9})
    assert connect().update("C-1", {"id": 14}).version == 9


def test_a_read_that_is_answered_with_nothing_is_no_order(answers: responses.RequestsMock) -> None:
    answers.get(f"{URL}/orders/C-1", status=204)
    with pytest.raises(Blocked):
        connect().get("C-1")


# --- batches -------------------------------------------------------------------------------------------------------

BOTH: dict[str, Callable[[RestCrm], dict[str, Any]]] = {
    "get_many": lambda crm: crm.get_many(["C-1", "C-2"]),
    "find_many": lambda crm: crm.find_many(["14", "15"]),
}
TWO = ONE | {"id": "C-2", "external_id": "15"}


@pytest.mark.parametrize("call", BOTH.values(), ids=BOTH)
@pytest.mark.parametrize(
    ("listed", "found"),
    [
        ([ONE, TWO], ["C-1", "C-2"]),
        ([TWO, ONE], ["C-1", "C-2"]),
        ([], []),
        ([TWO], ["C-2"]),
        ([ONE | {"status": None}, TWO], ["C-2"]),
        ([ONE | {"version": "7"}, TWO | {"version": "7"}], []),
        (["nonsense", None, {}, {"id": True}, TWO], ["C-2"]),
        ([ONE, TWO, ONE], ["C-2"]),
        ([ONE, ONE | {"status": "paid"}], []),
    ],
)
def test_a_batch_gives_what_is_shown_once_and_well(
    answers: responses.RequestsMock, call: Callable[[RestCrm], dict[str, Any]], listed: list[Any], found: list[str]
) -> None:
    answers.get(f"{URL}/orders", json=page(*listed))
    assert sorted(one.crm_order_id for one in call(connect()).values() if one) == found
    call(connect())
    assert len(answers.calls) == 2


@pytest.mark.parametrize(
    ("listed", "found"),
    [
        ([ONE], {"14": "C-1", "15": None}),  # an answer that shows one of them is one to the question
        ([], {}),
        ([ONE, {"id": None, "external_id": "15"}], {"14": "C-1"}),  # which may be the one that is missed
        ([ONE, TWO | {"status": "\x00"}], {"14": "C-1"}),
        ([ONE, TWO, TWO | {"id": "C-9"}], {"14": "C-1"}),
    ],
    ids=["shown", "nothing", "no id", "odd", "twice"],
)
def test_of_a_name_that_a_batch_does_not_show_it_says_so_only_where_that_is_sure(
    answers: responses.RequestsMock, listed: list[Any], found: dict[str, str | None]
) -> None:
    answers.get(f"{URL}/orders", json=page(*listed))
    many = connect().find_many(["14", "15"])
    assert {name: one and one.crm_order_id for name, one in many.items()} == found


def test_two_orders_of_one_name_are_left_to_the_single_read(answers: responses.RequestsMock) -> None:
    answers.get(f"{URL}/orders", json=page(ONE, ONE | {"id": "C-9"}, TWO))
    assert connect().find_many(["14", "15"]).keys() == {"15"}


def test_a_batch_asks_by_comma_for_each_order_once(answers: responses.RequestsMock) -> None:
    answers.get(f"{URL}/orders", json=page(), match=[matchers.query_param_matcher({"ids": "C-1,C-2"})])
    connect().get_many(["C-1", "C-2", "C-1", "", "C,3"])
    answers.get(f"{URL}/orders", json=page(), match=[matchers.query_param_matcher({"external_ids": "b-14,15"})])
    connect().find_many(["b-14", "15", "b-14", "1,4"])
    assert connect().get_many(["C,3", ""]) == {}
    assert len(answers.calls) == 2


NO_BATCHES: dict[str, dict[str, Any]] = {
    "another order": {"json": page(ONE, ONE | {"id": "C-3", "external_id": "16"})},
    "an order of no name": {"json": page(ONE | {"id": "C-3", "external_id": None})},
    "no list": {"json": ONE},
    "a bare list": {"json": [ONE]},
    "null": {"body": "null"},
    **{f"{status}": {"status": status, "json": {"error": "no"}} for status in (400, 404, 405, 410, 422, 501)},
    "a page of 404": {"status": 404, "body": "<html>Not found"},
    "a page of 405": {"status": 405, "body": "<html>Not allowed"},
}


@pytest.mark.parametrize("answer", NO_BATCHES.values(), ids=NO_BATCHES)
@pytest.mark.parametrize("call", BOTH.values(), ids=BOTH)
def test_who_does_not_understand_a_batch_is_asked_one_by_one_from_then_on(
    answers: responses.RequestsMock,
    settings: Any,
    call: Callable[[RestCrm], dict[str, Any]],
    answer: dict[str, Any],
) -> None:
    answers.get(f"{URL}/orders", **answer)
    for _ in range(3):
        assert call(connect()) == {}
    assert len(answers.calls) == 1
    settings.CRM_URL = "https://another.example"
    answers.get("https://another.example/orders", json=page(ONE, TWO))
    assert len(call(connect())) == 2


@pytest.mark.parametrize("status", [401, 408, 425, 429, 500, 502, 503])
@pytest.mark.parametrize("call", BOTH.values(), ids=BOTH)
def test_trouble_of_the_crm_says_nothing_about_batches(
    answers: responses.RequestsMock, call: Callable[[RestCrm], dict[str, Any]], status: int
) -> None:
    answers.get(f"{URL}/orders", status=status, json={"error": "no"})
    with pytest.raises(SideError) as raised:
        call(connect())
    assert raised.value.status == status
    answers.remove("GET", f"{URL}/orders")
    answers.get(f"{URL}/orders", json=page(ONE, TWO))
    assert len(call(connect())) == 2


@pytest.mark.parametrize("status", [403, 413, 414, 431, 500])
def test_a_batch_that_is_too_long_or_holds_a_bad_order_is_asked_for_in_parts(
    sandbox: SandboxCrm, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    """An order that the token may not read, an address that is too long, a CRM that breaks at one of them."""
    made = [sandbox.add_order(str(number))["id"] for number in range(100)]
    batch = sandbox._batch

    def fails(query: Any, fault: Any) -> Any:
        bad = made[70] in query.get("ids", "").split(",")
        return Answer(status, {"error": "no"}) if bad else batch(query, fault)

    monkeypatch.setattr(sandbox, "_batch", fails)
    found = connect().get_many(made)
    assert made[70] not in found
    assert len(found) >= 95
    assert len(sandbox.requests) <= 30


# --- errors --------------------------------------------------------------------------------------------------------

COLLECTION: dict[str, Callable[[RestCrm], object]] = {
    "create": lambda crm: crm.create("14", ORDER),
    "find": lambda crm: crm.find("14"),
    "changed_since": lambda crm: list(crm.changed_since(LONG_AGO)),
    "ping": lambda crm: crm.ping(),
}
ORDERS: dict[str, Callable[[RestCrm], object]] = {
    "get": lambda crm: crm.get("C-1"),
    "update": lambda crm: crm.update("C-1", ORDER),
}
ALL = {**COLLECTION, **ORDERS}


def everything_is(answers: responses.RequestsMock, **answer: Any) -> None:
    answers.assert_all_requests_are_fired = False
    for method, path in (("GET", ""), ("POST", ""), ("GET", "/C-1"), ("PATCH", "/C-1")):
        answers.add(method, f"{URL}/orders{path}", **answer)


@pytest.mark.parametrize("call", COLLECTION.values(), ids=COLLECTION)
def test_a_404_of_the_collection_is_about_the_address(
    answers: responses.RequestsMock, call: Callable[[RestCrm], object]
) -> None:
    everything_is(answers, status=404, json={"error": "not_found"})
    with pytest.raises(Blocked, match="Is CRM_URL right"):
        call(connect())


@pytest.mark.parametrize("call", ORDERS.values(), ids=ORDERS)
def test_a_404_of_an_order_is_about_the_order(
    answers: responses.RequestsMock, call: Callable[[RestCrm], object]
) -> None:
    everything_is(answers, status=404, json={"error": "not_found"})
    with pytest.raises(NotFound):
        call(connect())


@pytest.mark.parametrize("call", ALL.values(), ids=ALL)
@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ({"status": 200, "body": "<html>Log in"}, Blocked),
        ({"status": 302, "headers": {"Location": "https://crm.example/login"}}, Blocked),
        ({"status": 502, "body": "<html>Bad gateway"}, ServerTrouble),
        ({"status": 429, "headers": {"Retry-After": "3"}}, RateLimited),
        ({"status": 422, "json": {"error": "total is missing"}}, Rejected),
    ],
)
def test_every_call_tells_the_crms_trouble(
    answers: responses.RequestsMock,
    call: Callable[[RestCrm], object],
    answer: dict[str, Any],
    error: type[SideError],
) -> None:
    everything_is(answers, **answer)
    with pytest.raises(SideError) as raised:
        call(connect())
    assert (type(raised.value), raised.value.side) == (error, "crm")


# --- settings ------------------------------------------------------------------------------------------------------


def test_the_backend_is_the_one_of_the_settings(settings: Any) -> None:
    settings.CRM_URL = URL
    for name in ("rest", "sync.clients.crm.rest.RestCrm"):
        settings.CRM_BACKEND = name
        assert isinstance(crm_backends.connect(), RestCrm)


@pytest.mark.parametrize("name", ["nonsense", "no.such.Module", "sync.clients.crm.rest.NoSuchCrm"])
def test_an_unknown_backend_is_named(settings: Any, name: str) -> None:
    settings.CRM_BACKEND = name
    with pytest.raises(NotConfigured, match=f"CRM_BACKEND is '{name}'"):
        crm_backends.connect()


def test_a_missing_address_is_named(settings: Any) -> None:
    settings.CRM_URL = ""
    with pytest.raises(NotConfigured, match="CRM_URL is not set"):
        crm_backends.connect()


def test_without_a_token_none_is_sent(answers: responses.RequestsMock, settings: Any) -> None:
    settings.CRM_TOKEN = ""
    answers.get(f"{URL}/orders", json=page())
    connect().ping()
    assert "Authorization" not in answers.calls[0].request.headers


BUYER = {"total": "10.00", "billing": {"email": "ann@example.test"}}


@pytest.mark.parametrize(
    ("shown", "content"),
    [
        ({}, {}),
        ({"order": BUYER}, BUYER),
        ({"order": BUYER, "total": "9.00"}, BUYER),
        ({"order": "14", "total": "9.00"}, {}),
        ({"order_key": "wc_order_x"}, {"order_key": "wc_order_x"}),
        (BUYER, BUYER),
    ],
)
def test_what_the_crm_shows_of_what_was_bought_is_read_and_not_kept(
    answers: responses.RequestsMock, shown: dict[str, Any], content: dict[str, Any]
) -> None:
    answers.get(f"{URL}/orders/C-1", json=ONE | shown)
    read = connect().get("C-1")
    assert content.items() <= dict(read.content).items()
    assert bool(read.content) == bool(content)
    assert read.answer == ONE
