"""One order that a side can not show stops nothing behind it: it is named, shown to staff, and left out."""

import json
import time
from collections.abc import Callable
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from orders.models import OrderLink
from sync import tasks
from sync.alarms import open_alarms
from sync.clients import http, paging
from sync.jobs import backfill, engine, halves, reconciliation
from sync.models import Run, SideState
from sync.sandbox.server import Answer, LoopbackServer, Request
from tests.sync.conftest import TwoSides
from webhooks.models import WebhookEvent

HTML = b"<html><body><p>There has been a critical error on this website.</p></body></html>"
LIST = "/wp-json/wc/v3/orders"

Fault = Callable[[], Answer]


def too_large() -> Answer:
    return Answer(200, b'["' + b"x" * (http.MAX_ANSWER_BYTES + 1) + b'"]')


class Cut(Exception):
    """The connection ends without an answer, as it does for us after a timeout."""


def cut() -> Answer:
    raise Cut


FAULTS: dict[str, Fault] = {
    "HTTP 500": lambda: Answer(500, {"code": "internal_server_error", "message": "PHP error"}),
    "HTML": lambda: Answer(200, HTML),
    "invalid JSON": lambda: Answer(200, b'[{"id": 3, "status": "pro'),
    "not a list": lambda: Answer(200, {"id": 3}),
    "too large": too_large,
    "no answer": cut,
}


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paging, "SIZES", (4, 2, 1))
    monkeypatch.setattr(http, "MAX_ANSWER_BYTES", 200_000)


def install(server: LoopbackServer, broken: Callable[[Request, Any], Answer]) -> None:
    answer = server.answer

    def or_cut(request: Request) -> Answer | None:
        try:
            return answer(request)
        except Cut:
            return None

    server.handle = broken  # type: ignore[method-assign]
    server.answer = or_cut  # type: ignore[method-assign]


def break_shop(sides: TwoSides, bad: set[int], fault: Fault, *, nameless: bool = False, single: bool = True) -> None:
    """Each answer of the shop that would show one of these orders fails; its light fields can be read or not."""
    shop, handle = sides.shop, sides.shop.handle

    def broken(request: Request, fault_: Any) -> Answer:
        answer = handle(request, fault_)
        if request.method != "GET" or not request.path.startswith(LIST) or answer.status != 200:
            return answer
        light = "_fields" in request.query and not nameless
        shown = answer.content if isinstance(answer.content, list) else [answer.content] if single else []
        is_ping = request.query.get("_fields") == "id"
        return fault() if not light and not is_ping and any(one["id"] in bad for one in shown) else answer

    install(shop, broken)


def break_crm(sides: TwoSides, bad: set[str], fault: Fault) -> None:
    crm, handle = sides.crm, sides.crm.handle

    def broken(request: Request, fault_: Any) -> Answer:
        answer = handle(request, fault_)
        if request.method != "GET" or answer.status != 200:
            return answer
        is_ping = set(request.query) == {"limit"}
        shown = answer.content.get("results", [answer.content])
        return fault() if not is_ping and any(one["id"] in bad for one in shown) else answer

    install(crm, broken)


def command(*arguments: str) -> tuple[dict[str, Any], int]:
    out, code = StringIO(), 0
    try:
        call_command(*arguments, "--json", stdout=out)
    except CommandError as error:
        code = error.returncode
    return json.loads(out.getvalue()), code


def orders(sides: TwoSides, count: int, *, crowded: bool = False) -> list[int]:
    ids = list(range(1, count + 1))
    start = timezone.now() - timedelta(hours=5)
    for n in ids:
        sides.order(n, start + timedelta(minutes=0 if crowded else n))
    return ids


def linked() -> set[int]:
    return set(OrderLink.objects.values_list("woo_id", flat=True))


# --- the shop's orders ---------------------------------------------------------------------------------------------


@pytest.mark.cases_alike
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("nameless", [False, True], ids=["its number can be read", "not even its number"])
def test_backfill_passes_it_and_names_it(two_sides: TwoSides, fault: str, nameless: bool) -> None:
    ids = orders(two_sides, 7)
    break_shop(two_sides, {3}, FAULTS[fault], nameless=nameless)
    told, code = command("backfill")
    assert linked() == {*ids} - {3}
    assert (told["created"], told["failed"], code) == (6, 1, 1)
    [words] = told["failures"]
    said = "order 1 of those that the shop changed since" if nameless else "order 3 of the shop, changed 2"
    assert words.startswith(said)


@pytest.mark.cases_alike
@pytest.mark.parametrize("bad", [{1}, {7}, {1, 2}, {6, 7}, {2, 5}, {1, 2, 3, 4, 5, 6, 7}])
@pytest.mark.parametrize("nameless", [False, True], ids=["named", "nameless"])
@pytest.mark.parametrize("crowded", [False, True], ids=["spread", "of one second"])
def test_wherever_they_stand(two_sides: TwoSides, bad: set[int], nameless: bool, crowded: bool) -> None:
    ids = orders(two_sides, 7, crowded=crowded)
    break_shop(two_sides, bad, FAULTS["HTTP 500"], nameless=nameless)
    told, code = command("backfill")
    assert linked() == {*ids} - bad
    assert (len(told["failures"]), told["failed"], code) == (len(bad), len(bad), 1)


def test_a_moment_of_trouble_leaves_nothing_out(two_sides: TwoSides) -> None:
    ids = orders(two_sides, 7)
    two_sides.shop.faults.add("502", 4, method="GET", path=LIST)
    told, code = command("backfill")
    assert (linked(), told["failures"], code) == ({*ids}, [], 0)


@pytest.mark.cases_alike
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("nameless", [False, True], ids=["its number can be read", "not even its number"])
def test_reconcile_passes_it_and_shows_it_to_staff(two_sides: TwoSides, fault: str, nameless: bool) -> None:
    orders(two_sides, 7)
    break_shop(two_sides, {3}, FAULTS[fault], nameless=nameless)
    told, code = command("reconcile")
    assert code == 1 and len(told["left_out"]) == 1
    found = {one["order"] for one in told["found"]}
    assert {"1", "2", "4", "5", "6", "7"} <= found
    assert ("3" in found) is not nameless, "it waits as an event, if it has a name"
    assert SideState.objects.filter(swept_at=None).count() == 0
    [alarm] = open_alarms()
    assert alarm.key == "left_out" and told["left_out"][0] in alarm.words


@pytest.mark.cases_alike
@pytest.mark.parametrize("fault", FAULTS)
def test_drift_and_the_deep_reconcile_pass_it(two_sides: TwoSides, fault: str) -> None:
    ids = orders(two_sides, 7)
    assert engine.carry_out(backfill.start(actor="anna"))
    crm_id = OrderLink.objects.get(woo_id=5).crm_order_id
    two_sides.crm.set_status(crm_id, "paid")
    gone = two_sides.shop.orders.pop(6)["id"]
    # One that changed its status to one that no list knows is read by itself.
    two_sides.shop.orders[3]["status"] = "of-a-plugin-that-is-gone"
    break_shop(two_sides, {3}, FAULTS[fault], nameless=True)
    told, code = command("drift")
    assert {(one["woo_id"], one["kind"]) for one in told["findings"]} == {(5, "status"), (gone, "missing_in_shop")}
    [words] = told["left_out"]
    assert words.startswith("order 3 ↔ ") and (told["seen"], code) == (len(ids) - 1, 1)
    told, code = command("reconcile", "--deep")
    assert {"side": "shop", "order": str(gone), "topic": "order.deleted"} in told["found"]
    assert any(one.startswith("order 3 of the shop") for one in told["left_out"]) and code == 1


def test_orders_that_are_bad_in_the_very_first_check_stop_nobody(two_sides: TwoSides) -> None:
    """Each run begins by looking whether the shop is the one that is linked."""
    ids = orders(two_sides, 3)
    assert engine.carry_out(backfill.start(actor="anna"))
    break_shop(two_sides, {ids[-1]}, FAULTS["HTTP 500"])
    told, _ = command("drift")
    assert told["findings"] == []


@pytest.mark.parametrize("wrong", [{"status": None}, {"status": 7}, {"id": "3"}], ids=str)
def test_an_order_that_is_odd_is_named_too(two_sides: TwoSides, wrong: dict[str, Any]) -> None:
    """The page is well, and one that stands on it is no order as it should be."""
    ids = orders(two_sides, 7)
    listed = two_sides.shop._list

    def odd(request: Request, fault: Any) -> Answer:
        answer = listed(request, fault)
        content = [{**one, **wrong} if one["id"] == 3 else one for one in answer.content]
        return Answer(answer.status, content, answer.headers)

    two_sides.shop._list = odd  # type: ignore[method-assign]
    told, code = command("backfill")
    assert (linked(), code) == ({*ids} - {3}, 1)
    assert [words.startswith("order 3 of the shop: ") for words in told["failures"]] == [True]
    told, code = command("reconcile")
    assert (len(told["left_out"]), code) == (1, 1)


# --- the CRM's orders ----------------------------------------------------------------------------------------------


@pytest.mark.cases_alike
@pytest.mark.parametrize(
    ("fault", "at"),
    [
        ("HTTP 500", "first"),
        ("HTTP 500", "middle"),
        ("HTTP 500", "last"),
        ("HTML", "first"),
        ("invalid JSON", "middle"),
        ("too large", "last"),
        ("no answer", "middle"),
    ],
)
def test_what_the_crm_can_not_show_stops_nothing_behind_it(two_sides: TwoSides, fault: str, at: str) -> None:
    orders(two_sides, 6)
    assert engine.carry_out(backfill.start(actor="anna"))
    crm_ids = list(OrderLink.objects.order_by("woo_id").values_list("crm_order_id", flat=True))
    for crm_id in crm_ids:
        two_sides.crm.set_status(crm_id, "paid")
        time.sleep(0.03)  # else it would be passed over with its neighbours
    bad = crm_ids[{"first": 0, "middle": 2, "last": 5}[at]]
    break_crm(two_sides, {bad}, FAULTS[fault])
    told, code = command("reconcile")
    assert {one["order"] for one in told["found"] if one["side"] == "crm"} == {*crm_ids} - {bad}
    [words] = told["left_out"]
    assert words.startswith("what the CRM changed between") and code == 1
    told, code = command("drift")
    assert {one["crm_order_id"] for one in told["findings"]} == {*crm_ids} - {bad}
    assert [bad in words for words in told["left_out"]] == [True] and code == 1
    told, code = command("resync", "--since", "2026-01-01")
    assert told["applied"] == 5 and code == 1


# --- the halves ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("away", ["shop", "crm"])
def test_one_sides_half_is_reached_although_the_others_failed(
    two_sides: TwoSides, away: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(halves, "PATIENCE", 0.05)
    made = two_sides.crm.add_order("1", "paid")
    two_sides.order(1, timezone.now() - timedelta(hours=1))
    server = two_sides.shop if away == "shop" else two_sides.crm
    fault = server.faults.add("502")
    for _ in range(2):
        tasks.reconcile()
    run = Run.objects.latest("pk")
    assert run.state == Run.State.FAILED
    assert run.error.startswith(f"The {'shop' if away == 'shop' else 'CRM'}'s changes: ")
    found = set(WebhookEvent.objects.filter(source="sweep").values_list("side", "order_ref"))
    assert found == {("crm", made["id"]) if away == "shop" else ("shop", "1")}
    swept = dict(SideState.objects.values_list("name", "swept_at"))
    assert swept.pop(away) is None and all(swept.values())
    fault.times = 0
    SideState.objects.update(opened_at=None, failures=0, wait_until=None)
    tasks.reconcile()
    assert SideState.objects.get(name=away).swept_at


def test_a_side_whose_sweep_does_not_end_raises_an_alarm_until_it_does(two_sides: TwoSides, settings: Any) -> None:
    settings.RECONCILE_MINUTES = 5
    tasks.reconcile()
    assert not open_alarms()
    SideState.objects.filter(name="shop").update(swept_at=timezone.now() - timedelta(minutes=16))
    SideState.objects.filter(name="crm").update(swept_at=timezone.now() - timedelta(minutes=14))
    tasks.watch()
    assert [alarm.key for alarm in open_alarms() if alarm.key.startswith("sweep")] == ["sweep:shop"]
    tasks.reconcile()
    assert not [alarm for alarm in open_alarms() if alarm.key.startswith("sweep")]


def test_a_side_that_was_never_swept_raises_it_too(two_sides: TwoSides, settings: Any) -> None:
    at = timezone.now() - timedelta(minutes=16)
    Run.objects.create(
        kind="reconcile",
        bridge_id=1,
        options=reconciliation.options(),
        state=Run.State.FAILED,
        error="No.",
        started_at=at,
        finished_at=at,
    )
    reconciliation.see_that_sweeps_end()
    assert {alarm.key for alarm in open_alarms()} == {"sweep:shop", "sweep:crm"}
    assert all("No." in alarm.words for alarm in open_alarms())
