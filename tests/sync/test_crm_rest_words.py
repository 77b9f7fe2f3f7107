"""What the `rest` backend asks, and what it says of an answer that is none: to the word that staff read."""

import json
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
import responses
from responses import matchers

from sync.clients import crm as crm_backends
from sync.clients.crm import rest
from sync.clients.crm.rest import RestCrm
from sync.clients.errors import (
    AnsweredForAnother,
    AuthFailed,
    Blocked,
    Endless,
    Hidden,
    NotConfigured,
    NotFound,
    Odd,
    Rejected,
    SideError,
)
from tests.sync.crm_contract import LONG_AGO, ORDER

URL = "https://crm.example/api"
ONE: dict[str, Any] = {
    "id": "C-1",
    "external_id": "14",
    "status": "new",
    "version": 1,
    "updated_at": "2026-11-24T03:12:09Z",
}


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


def asked(answers: responses.RequestsMock) -> list[tuple[str, str, dict[str, str]]]:
    """Method, path and query of each call."""
    return [
        (call.request.method or "", (call.request.path_url).partition("?")[0], call.request.params)  # type: ignore[attr-defined]
        for call in answers.calls
    ]


# --- what it asks --------------------------------------------------------------------------------------------------


def test_it_is_looked_for_by_its_name_from_page_to_page(answers: responses.RequestsMock) -> None:
    answers.get(f"{URL}/orders", json=page(cursor="a"))
    answers.get(f"{URL}/orders", json=page())
    connect().find("14")
    assert [query for _, _, query in asked(answers)] == [{"external_id": "14"}, {"external_id": "14", "cursor": "a"}]


def test_a_ping_reads_one_order(answers: responses.RequestsMock) -> None:
    answers.get(f"{URL}/orders", json=page())
    connect().ping()
    assert asked(answers) == [("GET", "/api/orders", {"limit": "1"})]


@pytest.mark.parametrize(
    ("answer", "calls"),
    [
        ({"json": ONE}, ["PATCH"]),
        ({"status": 204}, ["PATCH", "GET"]),
        ({"json": {"ok": True}}, ["PATCH", "GET"]),
        ({"json": ONE | {"id": "C-2"}}, ["PATCH", "GET"]),
    ],
)
def test_what_was_changed_is_read_again_only_where_the_answer_does_not_show_it(
    answers: responses.RequestsMock, answer: dict[str, Any], calls: list[str]
) -> None:
    answers.patch(f"{URL}/orders/C-1", **answer)
    if "GET" in calls:
        answers.get(f"{URL}/orders/C-1", json=ONE)
    assert connect().update("C-1", ORDER).crm_order_id == "C-1"
    assert [method for method, _, _ in asked(answers)] == calls
    assert json.loads(answers.calls[0].request.body or b"") == {"order": ORDER}


def test_a_page_of_changes_that_fails_is_asked_for_in_smaller_ones(answers: responses.RequestsMock) -> None:
    def limit(number: int, **more: str) -> Any:
        return matchers.query_param_matcher({"updated_since": "2000-01-01T00:00:00Z", "limit": str(number), **more})

    answers.get(f"{URL}/orders", status=500, json={}, match=[limit(100)])
    answers.get(f"{URL}/orders", json=page(ONE, cursor="a"), match=[limit(50)])
    for number in (50, 25, 5, 1):
        answers.get(f"{URL}/orders", status=502, json={}, match=[limit(number, cursor="a")])
    changes = connect().changed_since(datetime.fromisoformat("2000-01-01T00:00:00Z"))
    assert next(changes).crm_order_id == "C-1"
    with pytest.raises(SideError) as raised:
        next(changes)
    assert raised.value.status == 502
    assert [query["limit"] for _, _, query in asked(answers)] == ["100", "50", "50", "25", "5", "1"]


@pytest.mark.parametrize(
    "following",
    [
        ONE | {"id": "C-9", "external_id": "99"},
        ONE | {"external_id": "99", "version": 2},
        ONE | {"external_id": "99", "updated_at": "2026-11-24T03:12:10Z"},
        "nonsense",
        {},
    ],
)
def test_a_page_with_other_states_is_another_page(answers: responses.RequestsMock, following: Any) -> None:
    answers.get(f"{URL}/orders", json=page(ONE | {"external_id": "99"}, cursor="a"))
    answers.get(f"{URL}/orders", json=page(following, cursor="b"))
    answers.get(f"{URL}/orders", json=page("something else", cursor="c"))
    answers.get(f"{URL}/orders", json=page(ONE))
    found = connect().find("14")
    assert found and found.crm_order_id == "C-1"


@pytest.mark.parametrize("crm_id", ["C\ud800", "ä/ö", "a b", "a?b#c"])
def test_whatever_stands_in_an_id_is_one_part_of_the_address(answers: responses.RequestsMock, crm_id: str) -> None:
    path = {"C\ud800": "C%3F", "ä/ö": "%C3%A4%2F%C3%B6", "a b": "a%20b", "a?b#c": "a%3Fb%23c"}[crm_id]
    answers.get(f"{URL}/orders/{path}", status=404, json={})
    with pytest.raises(NotFound):
        connect().get(crm_id)
    assert [one for _, one, _ in asked(answers)] == [f"/api/orders/{path}"]


def test_a_creation_time_alone_is_content(answers: responses.RequestsMock) -> None:
    for shown in ({"date_created_gmt": "2026-01-01T00:00:00"}, {"billing": {}}):
        answers.get(f"{URL}/orders/C-1", json=ONE | shown)
        assert connect().get("C-1").content == ONE | shown
        answers.remove("GET", f"{URL}/orders/C-1")


# --- what it says --------------------------------------------------------------------------------------------------

GET, CREATE, FIND, CHANGES, PING = (
    lambda crm: crm.get("C-1"),
    lambda crm: crm.create("14", ORDER),
    lambda crm: crm.find("14"),
    lambda crm: list(crm.changed_since(LONG_AGO)),
    lambda crm: crm.ping(),
)
NO_ORDER = "The CRM's answer is not an order: id or status is missing or none that can be."


@pytest.mark.parametrize(
    ("call", "answer", "error", "words"),
    [
        (GET, ONE | {"id": "C-2"}, Odd, "The CRM answered with order C-2, not C-1."),
        (GET, {}, Odd, NO_ORDER),
        (GET, [], Odd, NO_ORDER),
        (CREATE, {"ok": True}, Odd, NO_ORDER),
        (
            GET,
            ONE | {"external_id": "1\0"},
            Odd,
            "The CRM's order C-1 has an external_id with characters that no text may have.",
        ),
        (GET, ONE | {"version": "7" * 60}, Odd, f"The CRM's version is not an integer: '{'7' * 50}'."),
        (GET, ONE | {"updated_at": "y" * 60}, Odd, f"The CRM's updated_at is not a time: '{'y' * 50}'."),
        (CREATE, ONE | {"external_id": "15"}, AnsweredForAnother, "The CRM answered with the order of 15, not of 14."),
        (FIND, page(ONE, ONE | {"id": "C-2"}), Rejected, "The CRM has order 14 2 times: C-1, C-2."),
        *((call, {"ok": True}, Blocked, "The CRM's answer is not a list of orders.") for call in (FIND, CHANGES, PING)),
        (CHANGES, page({}), Odd, NO_ORDER),
    ],
)
def test_an_answer_that_is_none_is_told_with_its_side(
    answers: responses.RequestsMock,
    call: Callable[[RestCrm], object],
    answer: Any,
    error: type[SideError],
    words: str,
) -> None:
    answers.assert_all_requests_are_fired = False
    answers.get(f"{URL}/orders/C-1", json=answer)
    answers.get(f"{URL}/orders", json=answer)
    answers.post(f"{URL}/orders", json=answer)
    with pytest.raises(SideError) as raised:
        call(connect())
    assert (type(raised.value), raised.value.side) == (error, "crm")
    assert raised.value.message == words


def test_a_name_that_no_text_may_have_makes_no_second_order(answers: responses.RequestsMock) -> None:
    """The order was made; its name is read later, and is told then."""
    answers.post(f"{URL}/orders", json=ONE | {"external_id": "1\0"}, status=201)
    made, is_new = connect().create("14", ORDER)
    assert (made.crm_order_id, made.external_id, is_new) == ("C-1", None, True)


@pytest.mark.parametrize("call", [CREATE, FIND, CHANGES, PING])
def test_a_404_of_the_list_is_told_as_it_came(
    answers: responses.RequestsMock, call: Callable[[RestCrm], object]
) -> None:
    answers.assert_all_requests_are_fired = False
    for method in ("GET", "POST"):
        answers.add(method, f"{URL}/orders", status=404, json={"code": "no_route", "message": "No."})
    with pytest.raises(Blocked, match=r"no_route.*\. Is CRM_URL right\?") as raised:
        call(connect())
    assert (raised.value.side, raised.value.status, raised.value.code) == ("crm", 404, "no_route")


@pytest.mark.parametrize("crm_id", ["", ".", ".."])
def test_an_id_that_leads_elsewhere_is_told_as_an_order_that_is_not_there(
    answers: responses.RequestsMock, crm_id: str
) -> None:
    with pytest.raises(NotFound, match=rf"The CRM has no order '{crm_id}'\.") as raised:
        connect().get(crm_id)
    assert raised.value.side == "crm"


@pytest.mark.parametrize(
    ("call", "may_not"),
    [(GET, "not C-1."), (lambda crm: crm.update("C-1", ORDER), "not change C-1.")],
)
def test_a_right_that_is_lacking_for_one_order_is_told_as_that(
    answers: responses.RequestsMock, call: Callable[[RestCrm], object], may_not: str
) -> None:
    answers.assert_all_requests_are_fired = False
    for method in ("GET", "PATCH"):
        answers.add(method, f"{URL}/orders/C-1", status=403, json={"error": "forbidden"})
    answers.get(f"{URL}/orders", json=page())
    with pytest.raises(Hidden, match="The CRM's token may read orders, but ") as raised:
        call(connect())
    assert may_not in raised.value.message
    assert (raised.value.side, raised.value.status) == ("crm", 403)
    assert "Give CRM_TOKEN the right to. (" in raised.value.advice and "forbidden" in raised.value.advice


@pytest.mark.parametrize("status", [401, 403])
def test_a_token_that_may_read_nothing_is_told_as_that(answers: responses.RequestsMock, status: int) -> None:
    answers.assert_all_requests_are_fired = False
    answers.get(f"{URL}/orders/C-1", status=status, json={})
    answers.get(f"{URL}/orders", status=status, json={})
    with pytest.raises(AuthFailed) as raised:
        connect().get("C-1")
    assert (raised.value.status, len(answers.calls)) == (status, 1 if status == 401 else 2)


@pytest.mark.parametrize(
    ("limit", "value", "why"),
    [("LOOK_PAGES", 2, "it has more than 2 pages"), ("LOOK_SECONDS", -1.0, "1 pages took 0 s")],
)
def test_a_look_through_the_whole_list_ends_before_the_queue_ends_it(
    answers: responses.RequestsMock, monkeypatch: pytest.MonkeyPatch, limit: str, value: float, why: str
) -> None:
    monkeypatch.setattr(rest, limit, value)
    for number in range(3):
        answers.get(f"{URL}/orders", json=page(ONE | {"id": f"C-{number}", "external_id": "9"}, cursor=f"{number}"))
    answers.assert_all_requests_are_fired = False
    with pytest.raises(Endless, match=rf"The crm's list of orders does not end: {why}") as raised:
        connect().find("14")
    assert raised.value.side == "crm"


def test_a_page_that_comes_again_is_noticed_whatever_else_varies_on_it(answers: responses.RequestsMock) -> None:
    for number in range(2):
        other = ONE | {"external_id": "9", "read_at": number}
        answers.get(f"{URL}/orders", json=page(other, cursor=f"{number}"))
    with pytest.raises(Endless, match="page 2 is one that came before"):
        connect().find("14")


def test_changes_without_an_end_are_told_as_changes(answers: responses.RequestsMock) -> None:
    answers.get(f"{URL}/orders", json=page(ONE, cursor="a"))
    with pytest.raises(Endless, match=r"The crm's list of changes does not end: ") as raised:
        list(connect().changed_since(LONG_AGO + timedelta(seconds=1)))
    assert raised.value.side == "crm"


def test_a_missing_address_is_told_with_its_side(settings: Any) -> None:
    settings.CRM_URL = ""
    with pytest.raises(NotConfigured, match="CRM_URL is not set") as raised:
        connect()
    assert raised.value.side == "crm"
