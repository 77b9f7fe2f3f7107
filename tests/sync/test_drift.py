"""What differs between the two sides is found, kept, and gone when it is mended."""

import json
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from orders.models import OrderLink
from orders.rules import current_lifecycle
from sync import tasks
from sync.clients.snapshots import CrmSnapshot, ShopSnapshot
from sync.jobs import backfill, drift, engine, resync
from sync.jobs.drift import Pair
from sync.models import DriftFinding, Run, SideState
from sync.sandbox.server import Answer
from tests import pipeline
from tests.people import signed_in
from tests.sync.conftest import NEW_YEAR, TwoSides
from webhooks.connections import default_bridge
from webhooks.models import State, WebhookEvent

Findings = set[tuple[int, str, str, str]]


def linked(sides: TwoSides, count: int, **fields: Any) -> list[tuple[int, str]]:
    """So many orders on both sides: their ids."""
    first = sides.shop.next_id
    for woo_id in range(first, first + count):
        sides.order(woo_id, **fields)
    assert engine.carry_out(backfill.start(actor="anna"))
    return list(OrderLink.objects.filter(woo_id__gte=first).order_by("woo_id").values_list("woo_id", "crm_order_id"))


def found() -> Findings:
    run = drift.start(actor="anna")
    assert engine.carry_out(run), run.error
    assert run.state == Run.State.DONE, run.error
    return set(DriftFinding.objects.filter(gone_at=None).values_list("woo_id", "kind", "shop", "crm"))


def test_two_sides_that_agree_give_nothing(two_sides: TwoSides) -> None:
    linked(two_sides, 5)
    two_sides.forget_calls()
    assert found() == set()
    assert len(two_sides.crm.requests) == 1, "one page of the CRM's list"
    assert two_sides.writes() == {}


def test_each_kind_of_difference(two_sides: TwoSides) -> None:
    orders = linked(two_sides, 7)
    (moved, c_moved), (ahead, _), (no_crm, c_none), (no_shop, _), (trashed, _), (unmapped, c_unmapped), _ = orders
    two_sides.crm.set_status(c_moved, "paid")
    two_sides.shop.set_status(ahead, "processing")
    two_sides.crm.delete(c_none)
    two_sides.shop.delete(no_shop)
    two_sides.shop.trash(trashed)
    two_sides.crm.set_status(c_unmapped, "unheard of")
    assert found() == {
        (moved, "status", "pending", "paid"),
        (ahead, "ahead", "processing", "new"),
        (no_crm, "missing_in_crm", "pending", ""),
        (no_shop, "missing_in_shop", "", "new"),
        (trashed, "deleted", "trash", "new"),
        (unmapped, "status", "pending", "unheard of"),
    }


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("place", ["the list of drift", "the page of the order"])
@pytest.mark.parametrize("kind", ["status", "content", "deleted"])
def test_what_a_repair_can_mend_is_mended_by_it(two_sides: TwoSides, kind: str, place: str) -> None:
    """A button that is offered for a kind of finding does something about it."""
    ((woo_id, crm_id),) = linked(two_sides, 1)
    if kind == "status":
        two_sides.crm.set_status(crm_id, "paid")
    elif kind == "content":
        two_sides.shop.orders[woo_id]["billing"]["first_name"] = "Other"
    else:
        two_sides.shop.trash(woo_id)
    assert [one[1] for one in found()] == [kind]
    client, url = signed_in("support"), "/admin/sync/driftfinding/"
    chosen = {"action": "repair_selected", "_selected_action": [DriftFinding.objects.get().pk]}
    words = f"Order {woo_id}: something would be written."
    if place == "the page of the order":
        url, chosen, words = f"/admin/orders/orderlink/{OrderLink.objects.get().pk}/repair/", {}, 'name="reason"'
    assert words in " ".join(client.post(url, chosen).content.decode().split())
    before = two_sides.writes()
    assert not WebhookEvent.objects.filter(source="resync").exists()
    client.post(url, {**chosen, "confirmed": "yes", "reason": "asked"})
    while pipeline.work_once():
        pass
    event = WebhookEvent.objects.get(source="resync")
    assert (event.state, event.requested_by) == (State.DONE, "support"), event.reason
    assert two_sides.writes() != before
    assert found() == set()


def command(*arguments: str) -> tuple[str, int]:
    out, code = StringIO(), 0
    try:
        call_command("drift", *arguments, stdout=out)
    except CommandError as error:
        code = error.returncode
    return out.getvalue(), code


def test_the_command_lists_what_differs_and_says_so_by_its_exit_code(two_sides: TwoSides) -> None:
    (woo_id, crm_id), _ = linked(two_sides, 2)
    assert command() == ("2 orders compared\n", 0)
    two_sides.crm.set_status(crm_id, "paid")
    told, code = command("--json")
    finding = {"woo_id": woo_id, "crm_order_id": crm_id, "kind": "status", "shop": "pending", "crm": "paid"}
    assert (json.loads(told)["findings"], code) == ([finding], 1)
    assert command("--csv") == (
        f'"woo_id","crm_order_id","kind","shop","crm"\n"{woo_id}","{crm_id}","status","pending","paid"\n',
        1,
    )
    table = command()[0].splitlines()
    assert table[1].split() == [str(woo_id), crm_id, "status", "pending", "paid"]
    assert table[2] == "2 orders compared"


def test_no_cell_of_the_csv_is_a_formula(two_sides: TwoSides) -> None:
    (woo_id, crm_id), _ = linked(two_sides, 2)
    two_sides.crm.set_status(crm_id, "=1+1")
    assert command("--csv")[0].splitlines()[1] == f'"{woo_id}","{crm_id}","status","pending","\'=1+1"'


@pytest.mark.cases_alike
@pytest.mark.parametrize(
    ("shop", "crm", "expected"),
    [
        ("processing", "new", True),
        ("completed", "new", True),
        ("on-hold", "new", True),
        ("completed", "paid", False),
        ("cancelled", "new", False),
        ("failed", "new", False),
        ("refunded", "paid", False),
    ],
)
def test_a_sold_order_of_which_the_crm_has_yet_to_hear_is_ahead_as_expected(
    two_sides: TwoSides, shop: str, crm: str, expected: bool, client: Client
) -> None:
    """It stands in the list and in the counts apart, and fails nothing."""
    ((woo_id, crm_id),) = linked(two_sides, 1)
    two_sides.crm.set_status(crm_id, crm)
    OrderLink.objects.update(crm_status=crm)
    two_sides.shop.set_status(woo_id, shop)
    told, code = command("--json")
    finding = {"woo_id": woo_id, "crm_order_id": crm_id, "kind": "ahead", "shop": shop, "crm": crm}
    assert json.loads(told)["findings"] == [finding]
    assert (json.loads(told)["expected"], code) == (int(expected), int(not expected))
    words, _ = command()
    assert words.startswith("1 orders compared; 1 ahead as expected") if expected else str(woo_id) in words
    assert DriftFinding.objects.open(timezone.now()).exists() is not expected
    assert f'orderbridge_drift{{kind="ahead"}} {int(not expected)}.0' in client.get("/metrics").content.decode()
    two_sides.crm.set_status(crm_id, {"processing": "paid", "completed": "shipped"}.get(shop, shop.replace("-", "_")))
    assert command("--json")[1] == 0, "it is no longer expected, as it is gone"


# --- the rule ------------------------------------------------------------------------------------------------------


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("shop", "crm", "known", "kind"),
    [
        ("processing", "paid", {}, None),
        ("pending", "paid", {}, "status"),
        ("pending", "unheard of", {}, "status"),
        ("completed", "cancelled", {"crm_status": "cancelled"}, "status"),
        ("processing", "new", {"crm_status": "new"}, "ahead"),
        ("processing", "new", {"crm_status": ""}, "ahead"),
        ("processing", "new", {"crm_status": "shipped"}, "status"),
        ("pending", None, {}, "missing_in_crm"),
        (None, "paid", {}, "missing_in_shop"),
        (None, None, {}, "deleted"),
        ("trash", "paid", {}, "deleted"),
        ("trash", "paid", {"woo_status": "trash"}, None),
        (None, "paid", {"woo_status": "trash"}, None),
        (None, None, {"woo_status": "trash"}, None),
        ("processing", "paid", {"woo_status": "trash"}, "deleted"),
        ("processing", None, {"woo_status": "trash"}, "missing_in_crm"),
    ],
)
def test_what_differs_how(shop: str | None, crm: str | None, known: dict[str, str], kind: str | None) -> None:
    pair = Pair(
        link=OrderLink(woo_id=14, crm_order_id="C-1", **{"woo_status": "pending", "crm_status": "paid", **known}),
        shop=ShopSnapshot(woo_id=14, status=shop, order={}) if shop else None,
        crm=CrmSnapshot(crm_order_id="C-1", external_id="14", status=crm, version=1, updated_at=None, answer={})
        if crm
        else None,
    )
    assert drift.kind_of(pair, current_lifecycle(), default_bridge()) == kind


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("shop", "crm", "known", "kind"),
    [
        ("processing", "paid", "", None),
        ("processing", "paid", "another", "content"),
        ("processing", "new", "another", "content"),
        ("processing", "cancelled", "another", "status"),
        ("completed", "paid", "another", "ahead"),
        ("completed", "shipped", "another", None),
    ],
    ids=["never told", "agree", "ahead", "apart", "its status is news, too", "which the CRM has"],
)
def test_other_content_of_an_order_whose_status_was_told(shop: str, crm: str, known: str, kind: str | None) -> None:
    link = OrderLink(
        woo_id=14, crm_order_id="C-1", woo_status="processing", crm_status=crm, woo_fingerprint=known and f"2:{known}"
    )
    seen = CrmSnapshot(crm_order_id="C-1", external_id="14", status=crm, version=1, updated_at=None, answer={})
    pair = Pair(link=link, shop=ShopSnapshot(woo_id=14, status=shop, order={"status": shop}), crm=seen)
    assert drift.kind_of(pair, current_lifecycle(), default_bridge()) == kind


# --- findings ------------------------------------------------------------------------------------------------------


def test_a_finding_is_seen_again_changes_and_goes(two_sides: TwoSides) -> None:
    ((woo_id, crm_id),) = linked(two_sides, 1)
    two_sides.crm.set_status(crm_id, "paid")
    found()
    first = DriftFinding.objects.get()
    two_sides.crm.set_status(crm_id, "shipped")
    assert found() == {(woo_id, "status", "pending", "shipped")}
    again = DriftFinding.objects.get()
    assert (again.pk, again.found_at) == (first.pk, first.found_at)
    assert again.seen_at > first.seen_at
    two_sides.crm.delete(crm_id)
    assert found() == {(woo_id, "missing_in_crm", "pending", "")}
    assert DriftFinding.objects.get(pk=first.pk).gone_at
    two_sides.shop.trash(woo_id)
    engine.carry_out(backfill.start(actor="anna"))
    OrderLink.objects.update(woo_status="trash")
    assert found() == set()
    assert not DriftFinding.objects.filter(gone_at=None).exists()


def test_ignored_findings_count_for_nobody_until_their_day(two_sides: TwoSides) -> None:
    ((_, crm_id),) = linked(two_sides, 1)
    two_sides.crm.set_status(crm_id, "paid")
    found()
    DriftFinding.objects.update(ignored_until=timezone.now() + timedelta(days=1))
    told, code = command("--json")
    assert (json.loads(told), code) == (
        {"seen": 1, "ignored": 1, "expected": 0, "findings": [], "left_out": []},
        0,
    )
    DriftFinding.objects.update(ignored_until=timezone.now() - timedelta(seconds=1))
    assert command("--json")[1] == 1


def test_the_metric_tells_the_open_findings_of_each_kind(two_sides: TwoSides, client: Client) -> None:
    (_, crm_id), (ahead, _) = linked(two_sides, 2)
    two_sides.crm.set_status(crm_id, "paid")
    two_sides.shop.set_status(ahead, "processing")
    found()
    DriftFinding.objects.filter(woo_id=ahead).update(ignored_until=timezone.now() + timedelta(days=1))
    lines = client.get("/metrics").content.decode().splitlines()
    assert 'orderbridge_drift{kind="status"} 1.0' in lines
    assert 'orderbridge_drift{kind="ahead"} 0.0' in lines


# --- unpleasant sides ----------------------------------------------------------------------------------------------


def test_a_list_that_lags_is_not_believed(two_sides: TwoSides) -> None:
    """Both ways: an old state on it, and orders that it does not show yet."""
    ((_, crm_id),) = linked(two_sides, 1)
    two_sides.crm.list_lag = 3600
    two_sides.crm.set_status(crm_id, "paid")
    linked(two_sides, 1)
    engine.carry_out(resync.start(actor="anna", everything=True))
    assert found() == set()
    two_sides.crm.set_status(crm_id, "shipped")
    assert found() == set(), "the list does not show it; the next run will"


def test_an_order_of_an_orphaned_status_is_read_by_its_id(two_sides: TwoSides) -> None:
    """The plugin is gone: the order vanishes from every list and is there all the same (FACTS B6)."""
    ((woo_id, _),) = linked(two_sides, 1)
    two_sides.shop.orders[woo_id]["status"] = "packed"
    assert found() == {(woo_id, "status", "packed", "new")}


def test_a_list_that_is_too_heavy_is_read_in_halves(two_sides: TwoSides, monkeypatch: pytest.MonkeyPatch) -> None:
    linked(two_sides, 6)
    light = two_sides.shop.handle

    def too_heavy(request: Any, fault: Any) -> Any:
        if request.query.get("include", "").count(",") > 2:
            return Answer(502, b"<html>Bad Gateway</html>")
        return light(request, fault)

    monkeypatch.setattr(two_sides.shop, "handle", too_heavy)
    monkeypatch.setattr("sync.jobs.shop_identity.SAMPLE", 2)
    assert found() == set()


@pytest.mark.cases_alike
@pytest.mark.parametrize("fault", ["429", "502", "captcha-202", "html", "truncated", "down"])
def test_a_fault_of_either_side_makes_no_finding(two_sides: TwoSides, fault: str) -> None:
    orders = linked(two_sides, 3)
    two_sides.crm.set_status(orders[0][1], "paid")
    for server in (two_sides.shop, two_sides.crm):
        server.faults.add(fault, 2, method="GET", after=0.05)
    assert found() == {(orders[0][0], "status", "pending", "paid")}


@pytest.mark.parametrize("way", ["an odd version", "hidden in the shop", "refused by the CRM", "forbidden by the CRM"])
def test_an_order_that_can_not_be_read_is_named_and_hides_no_other(
    two_sides: TwoSides, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (woo_id, crm_id), (_, moved) = linked(two_sides, 2)
    two_sides.crm.set_status(moved, "paid")
    two_sides.crm.set_status(crm_id, "paid")
    found()
    known, real = DriftFinding.objects.get(woo_id=woo_id), two_sides.crm.handle

    def handle(request: Any, fault: Any) -> Any:
        is_it = request.method == "GET" and request.path.endswith(f"/orders/{crm_id}")
        return Answer(410 if "refused" in way else 403, {"error": "not for you"}) if is_it else real(request, fault)

    if way == "an odd version":
        two_sides.crm.orders[crm_id]["version"] = "seven"
    elif way == "hidden in the shop":
        two_sides.shop.hidden = {woo_id}
    else:
        two_sides.crm.set_status(crm_id, "shipped")
        monkeypatch.setattr(two_sides.crm, "handle", handle)
    told, code = command("--json")
    assert code == 1 and json.loads(told)["seen"] == 1
    [words] = json.loads(told)["left_out"]
    assert words.startswith(f"order {woo_id} ↔ {crm_id}: ")
    assert {one["crm_order_id"] for one in json.loads(told)["findings"]} == {crm_id, moved}, "as it was known"
    known.refresh_from_db()
    assert known.gone_at is None and known.shop == "pending"
    assert f"left out: {words}" in command()[0]
    assert not SideState.objects.filter(failures__gt=0).exists()


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_a_run_that_died_goes_on_and_counts_each_order_once(
    two_sides: TwoSides, monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    for size in ("jobs.drift.BATCH", "clients.paging.crm_changes.CHANGES"):
        monkeypatch.setattr(f"sync.{size}", 2)
    orders = linked(two_sides, 5)
    two_sides.crm.delete(orders[0][1])
    two_sides.crm.set_status(orders[4][1], "paid")
    job = drift.job(run := drift.start(actor="anna"))
    for _ in range(steps):
        next(job)
        engine._save(run)
    job.close()
    Run.objects.update(holder="elsewhere:7", beat_at=timezone.now() - timedelta(minutes=5))
    assert {(woo_id, kind) for woo_id, kind, *_ in found()} == {
        (orders[0][0], "missing_in_crm"),
        (orders[4][0], "status"),
    }
    run.refresh_from_db()
    assert (run.state, run.counts["seen"]) == (Run.State.DONE, 5)


@pytest.mark.parametrize("way", ["the list shows none", "the list is behind", "the list shows all"])
def test_it_gets_on_however_little_time_a_stretch_has(
    two_sides: TwoSides, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """As with a CRM that takes as long for a few orders as a worker works on a run at a time."""
    orders = linked(two_sides, 13)
    for woo_id, crm_id in orders:
        two_sides.crm.set_status(crm_id, "paid")
        if way == "the list is behind":  # and is not believed: each is read singly
            two_sides.shop.set_status(woo_id, "processing")
    if way != "the list shows all":
        two_sides.crm.list_lag = 3600
    if way == "the list shows none":
        monkeypatch.setattr(two_sides.crm, "_listed", lambda crm_id: None)
    run, stretches = drift.start(actor="anna"), 0
    while not engine.carry_out(run, budget=0):
        stretches += 1
        assert stretches < 40, f"it does not get on: {run.checkpoint}"
    assert (run.state, run.counts["seen"]) == (Run.State.DONE, len(orders)), run.error
    expected = set() if way == "the list is behind" else set(orders)
    assert set(DriftFinding.objects.filter(gone_at=None).values_list("woo_id", "crm_order_id")) == expected


# --- wrong use and the schedule ------------------------------------------------------------------------------------


def test_another_shop_behind_the_address_makes_no_finding(two_sides: TwoSides) -> None:
    for woo_id, _ in linked(two_sides, 3):
        two_sides.order(woo_id, NEW_YEAR + timedelta(days=9), customer_note="Somebody else's.")
    assert command()[1] == 2
    run = drift.start(actor="anna")
    engine.carry_out(run)
    assert run.state == Run.State.FAILED
    assert not DriftFinding.objects.exists()


def test_it_runs_every_night(two_sides: TwoSides) -> None:
    ((_, crm_id),) = linked(two_sides, 1)
    two_sides.crm.set_status(crm_id, "paid")
    tasks.drift_nightly()
    assert DriftFinding.objects.count() == 1
    assert Run.objects.get(kind="drift").actor == ""


def test_a_paused_side_is_left_alone_at_night(two_sides: TwoSides) -> None:
    linked(two_sides, 1)
    SideState.objects.filter(name="shop").update(paused=True)
    two_sides.forget_calls()
    tasks.drift_nightly()
    assert two_sides.shop.requests == []
    assert not Run.objects.filter(kind="drift").exists()
