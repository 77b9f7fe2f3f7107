"""The audit leaves as CSV, for those who may, and every time that is recorded."""

import csv
from io import StringIO
from itertools import chain
from typing import Any
from urllib.parse import urlencode

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client

from orders import audit, exports
from orders.models import Decision, StaffAction
from tests.factories import OrderLinkFactory, StatusTransitionFactory

pytestmark = pytest.mark.django_db
TRANSITIONS, ACTIONS = "/admin/orders/statustransition/", "/admin/orders/staffaction/"


@pytest.fixture
def auditor(client: Client) -> Client:
    user = User.objects.create_user("ann", is_staff=True)
    user.groups.add(Group.objects.get(name="auditor"))
    client.force_login(user)
    return client


def exported(client: Client, page: str, **query: str) -> list[dict[str, str]]:
    answer: Any = client.post(f"{page}export/?{urlencode(query)}", {"reason": "the auditors ask for it"})
    assert answer.status_code == 200
    assert answer["Content-Type"].startswith("text/csv")
    assert answer["Content-Disposition"].startswith("attachment")
    assert answer.streaming
    return list(csv.DictReader(StringIO(answer.getvalue().decode())))


@pytest.mark.parametrize("page", [1, 2, 1000])
def test_every_row_is_there_once_however_long_the_list(
    auditor: Client, monkeypatch: pytest.MonkeyPatch, page: int
) -> None:
    monkeypatch.setattr(exports, "EXPORT_PAGE", page)
    rows = [StatusTransitionFactory() for _ in range(5)]
    told = exported(auditor, TRANSITIONS)
    assert [row["hash"] for row in told] == [row.hash for row in rows]
    assert told[0]["shop order"] == str(rows[0].link.woo_id)
    assert told[0]["by"] == "the worker"


def test_the_filters_and_the_search_of_the_list_count(auditor: Client) -> None:
    link = OrderLinkFactory(woo_id=70)
    StatusTransitionFactory(link=link)
    StatusTransitionFactory(link=link, decision=Decision.REFUSED)
    StatusTransitionFactory(decision=Decision.REFUSED)
    assert len(exported(auditor, TRANSITIONS, decision__exact="refused")) == 2
    assert len(exported(auditor, TRANSITIONS, decision__exact="refused", q="70")) == 1
    page = auditor.get(TRANSITIONS, {"decision__exact": "refused"}).content.decode()
    assert 'href="/admin/orders/statustransition/export/?decision__exact=refused"' in page


@pytest.mark.parametrize(
    "query", [{"nonsense": "1"}, {"created_at_from_0": "never"}, {"decision__exact": "x" * 10_000}]
)
def test_filters_that_make_no_sense_are_no_error(auditor: Client, query: dict[str, str]) -> None:
    for send in (auditor.get, auditor.post):
        assert send(f"{TRANSITIONS}export/?{urlencode(query)}", {}).status_code in (200, 302)


BEFORE = (
    "",
    " ",
    "\t",
    "\r",
    "\n",
    "\r\n",
    "\v",
    "\f",
    "\x01",
    "\x1f",
    "\x7f",
    "\x85",
    "\xa0",
    "\xad",
    "\u200b",
    "\u200e",
    "\u2028",
)
BEFORE += ("\u202e", "\u2060", "\u3000", "\ufeff", "\u0301", " \n\t ")
SIGNS = ("=", "+", "-", "@", "|", "%", "＝", "＋", "－", "＠", "｜", "％", "﹦", "﹢", "﹣", "﹫", "﹪", "−", "⁼", "₊")


@pytest.mark.cases_alike
@pytest.mark.parametrize("sign", SIGNS)
def test_no_text_begins_as_a_formula_does(sign: str) -> None:
    for before in BEFORE:
        assert exports.cell(f"{before}{sign}1").startswith("'"), repr(before)
        assert exports.cell(f"{before}a{sign}1") == f"{before}a{sign}1"


@pytest.mark.cases_alike
@pytest.mark.parametrize("separator", [",", ";", "\t", "\n", "\r", "\r\n", ';"', "\t ", '\n"', '";"', ",;", "; \u200b"])
@pytest.mark.parametrize("before", ["", "a", 'a"', '"', "a;b"])
def test_no_cell_is_a_formula_whatever_a_spreadsheet_takes_for_its_end(
    auditor: Client, separator: str, before: str
) -> None:
    """It goes by the country which sign parts cells, so it may cut where we did not."""
    for sign in SIGNS:
        StatusTransitionFactory(reason=f"{before}{separator}{sign}1{separator}{sign}1", actor="ann")
    url = f"{TRANSITIONS}export/"
    told: Any = auditor.post(url, {"reason": "the auditors ask for it"})
    lines = told.getvalue().decode()
    for delimiter in (",", ";", "\t"):
        for text in chain.from_iterable(csv.reader(StringIO(lines, newline=""), delimiter=delimiter)):
            assert not text.lstrip(' \t\r\n\u200b"').startswith(SIGNS), text


def test_every_cell_is_quoted(auditor: Client) -> None:
    StatusTransitionFactory()
    told: Any = auditor.post(f"{TRANSITIONS}export/", {"reason": "the auditors ask for it"})
    for line in told.getvalue().decode().splitlines():
        assert line.startswith('"')
        assert line.endswith('"')
        assert line.count('","') == len(next(csv.reader([line]))) - 1


def test_what_is_no_formula_stays_as_it_is() -> None:
    for value, text in (
        (-5, "-5"),
        (None, ""),
        ("", ""),
        (" \n", " \n"),
        ("paid", "paid"),
        ("1=1", "1=1"),
        ("a; b\nc", "a; b\nc"),
    ):
        assert exports.cell(value) == text


@pytest.mark.cases_alike
@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1", "|x"])
def test_no_cell_is_a_formula(auditor: Client, text: str) -> None:
    StatusTransitionFactory(reason=text, actor=text)
    [row] = exported(auditor, TRANSITIONS)
    assert row["by"].startswith("'")
    assert row["reason"].startswith("'")


def test_staff_actions_leave_in_the_same_way_and_tell_no_customer(auditor: Client) -> None:
    link = OrderLinkFactory(woo_id=70)
    audit.record("force", actor="bob", reason="asked by eve@example.org", link=link, amount="=2+2")
    row, of_itself = exported(auditor, ACTIONS)
    assert (row["who"], row["what"], row["shop order"], of_itself["what"]) == ("bob", "force", "70", "export")
    assert "eve@" not in str(row)
    assert "=2+2" in row["details"]


def test_an_export_is_recorded_before_the_first_row_leaves(auditor: Client) -> None:
    url = f"{TRANSITIONS}export/?decision__exact=refused"
    auditor.post(url, {"reason": "the auditors ask for it"})
    done = StaffAction.objects.get()
    assert (done.action, done.actor, done.details) == ("export", "ann", {"filters": "decision__exact=refused"})
    assert done.reason == "the auditors ask for it"


def test_nothing_leaves_by_a_link_or_without_a_reason(auditor: Client) -> None:
    StatusTransitionFactory()
    for answer in (auditor.get(f"{TRANSITIONS}export/"), auditor.post(f"{TRANSITIONS}export/", {"reason": " "})):
        assert answer.status_code == 200
        assert "Content-Disposition" not in answer
        assert 'name="reason"' in answer.content.decode()
    assert not StaffAction.objects.exists()


@pytest.mark.parametrize("role", ["viewer", "support", "operator", "manager"])
@pytest.mark.parametrize("page", [TRANSITIONS, ACTIONS])
def test_nobody_else_may_export(client: Client, role: str, page: str) -> None:
    user = User.objects.create_user("bob", is_staff=True)
    user.groups.add(Group.objects.get(name=role))
    client.force_login(user)
    assert client.get(f"{page}export/").status_code == 403
    assert client.post(f"{page}export/", {"reason": "curious"}).status_code == 403
    assert "Export CSV" not in client.get(TRANSITIONS).content.decode()
    assert not StaffAction.objects.exists()
