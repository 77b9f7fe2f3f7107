"""Whose fault a failure is, where the status does not tell: the backend says. Only the CRM's own count against it."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import responses

from sync.clients.answers import Reply
from sync.clients.crm.base import Access
from sync.clients.errors import Hidden, NotFound, Rejected, ServerTrouble, SideError
from sync.clients.http import JsonClient
from sync.models import SideState
from tests import pipeline
from tests.factories import WebhookEventFactory
from tests.sync.conftest import TwoSides

URL = "https://crm.example/api"


def judge(reply: Reply) -> SideError | None:
    """As several real ones have to be judged (Odoo, ERPNext, Dolibarr)."""
    error = reply.data.get("error") if isinstance(reply.data, dict) else None
    if error == "MissingError":
        return NotFound("gone", side="crm", status=reply.status)
    if reply.status == 404 and reply.method == "POST":
        return Rejected("no such item", side="crm", status=404, about_order=True)
    if reply.status == 500 and "charset" in reply.text:
        return Rejected("an emoji", side="crm", status=500, about_order=True)
    if reply.status == 400 and (reason := reply.headers.get("X-Status-Reason")):
        return Hidden(reason, side="crm", status=400, about_order=True)
    return None


@pytest.fixture
def answers() -> Iterator[responses.RequestsMock]:
    with responses.RequestsMock() as mock:
        yield mock


def client() -> JsonClient:
    return Access(values={"url": URL}).client(judge=judge)


@pytest.mark.parametrize(
    ("method", "answer", "error"),
    [
        ("GET", {"status": 200, "json": {"error": "MissingError"}}, NotFound),
        ("POST", {"status": 404, "json": {"exc_type": "LinkValidationError"}}, Rejected),
        ("POST", {"status": 500, "body": "<h1>Incorrect charset</h1>", "content_type": "text/html"}, Rejected),
        ("POST", {"status": 400, "headers": {"X-Status-Reason": "Bad name"}, "body": ""}, Hidden),
        ("GET", {"status": 500, "body": "<h1>down</h1>", "content_type": "text/html"}, ServerTrouble),
        ("GET", {"status": 404, "json": {}}, NotFound),
    ],
)
def test_the_backend_sees_each_answer_first(
    answers: responses.RequestsMock, method: str, answer: dict[str, Any], error: type[SideError]
) -> None:
    answers.add(method, f"{URL}/orders", **answer)
    with pytest.raises(SideError) as raised:
        client().request(method, "/orders", json={} if method == "POST" else None)
    assert type(raised.value) is error


def test_a_good_answer_is_not_touched(answers: responses.RequestsMock) -> None:
    answers.get(f"{URL}/orders", json=[1])
    assert client().request("GET", "/orders").data == [1]


@pytest.fixture
def says(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool | None], None]:
    """Each creation fails with 500, and the backend says so of it."""

    def of(about_order: bool | None) -> None:
        def create(*_: Any) -> Any:
            raise ServerTrouble("500", side="crm", status=500, about_order=about_order)

        monkeypatch.setattr("sync.clients.crm.rest.RestCrm.create", create)

    return of


@pytest.mark.parametrize(
    ("about_order", "away", "counted"),
    [(True, False, False), (True, True, False), (False, False, True), (None, False, False), (None, True, True)],
)
def test_only_the_failures_of_the_side_count_for_the_breaker(
    two_sides: TwoSides,
    monkeypatch: pytest.MonkeyPatch,
    says: Callable[[bool | None], None],
    about_order: bool | None,
    away: bool,
    counted: bool,
) -> None:
    says(about_order)
    if away:  # for whoever asks cheaply

        def ping(crm: Any) -> None:
            raise ServerTrouble("500", side="crm", status=500)

        monkeypatch.setattr("sync.clients.crm.rest.RestCrm.ping", ping)
    event = WebhookEventFactory(order_ref=str(two_sides.shop.create_order()["id"]))
    pipeline.work_once()
    event.refresh_from_db()
    assert event.state == "retrying"
    assert bool(SideState.objects.get(name="crm").failures) == counted
    assert event.attempts == (0 if about_order is False else 1), "what the backend knows to be the side's uses none up"
