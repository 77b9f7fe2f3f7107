"""Reconcile finds what no delivery told, whatever hides it, and finds it once."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any
from unittest.mock import Mock, patch

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from orders.models import OrderLink
from orders.rules import current_lifecycle
from sync import tasks
from sync.clients import paging
from sync.clients.errors import Blocked, ServerTrouble
from sync.clients.http import JsonClient
from sync.clients.paging import crm_changes, shop_orders
from sync.clients.paging.crm_changes import CrmPaginator
from sync.clients.shop import Shop
from sync.clients.snapshots import CrmSnapshot, ShopSnapshot
from sync.jobs import engine, halves, reconciliation
from sync.jobs.cursors import begin_at
from sync.jobs.halves import all_statuses
from sync.jobs.missed import is_missed, missed_topic
from sync.models import Run, SideState
from sync.sandbox.orders import dated
from tests import pipeline
from tests.factories import OrderLinkFactory, WebhookEventFactory
from tests.sync.conftest import TwoSides
from webhooks.connections import default_bridge
from webhooks.models import Side, State, WebhookEvent

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
MINUTES = timedelta(minutes=5)


@pytest.fixture(autouse=True)
def wake() -> Iterator[Mock]:
    with patch("sync.jobs.halves.wake") as woken:
        yield woken


def reconcile(**options: Any) -> Run:
    run = reconciliation.start(**options)
    assert engine.carry_out(run), run.error
    assert run.state == Run.State.DONE, run.error
    return run


def settle() -> None:
    while pipeline.work_once():
        pass
    assert not WebhookEvent.objects.unfinished().exists()


def found() -> list[tuple[str, str, str]]:
    rows = WebhookEvent.objects.filter(source="sweep").order_by("pk")
    return list(rows.values_list("side", "topic", "order_ref"))


def forget() -> None:
    """What was found so far is not what the test looks for."""
    WebhookEvent.objects.update(source="earlier")


def linked(sides: TwoSides, count: int = 1) -> list[tuple[int, str]]:
    """New orders, linked and swept, so that nothing is news: their ids on both sides."""
    made = [sides.shop.create_order()["id"] for _ in range(count)]
    reconcile()
    settle()
    forget()
    return [(woo_id, OrderLink.objects.get(woo_id=woo_id).crm_order_id) for woo_id in made]


def crm_order(status: str = "paid", version: int | None = 2, at: datetime | None = NOW, woo: str = "14") -> CrmSnapshot:
    return CrmSnapshot(
        crm_order_id="C-1", external_id=woo, status=status, version=version, updated_at=at, answer={"id": "C-1"}
    )


# --- the rules -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cursor", "deep", "begins"),
    [
        (None, False, NOW - timedelta(days=7)),
        (NOW - timedelta(minutes=3), False, NOW - timedelta(minutes=8)),
        (NOW - timedelta(days=30), False, NOW - timedelta(days=30, minutes=5)),
        (NOW - timedelta(minutes=3), True, NOW - timedelta(days=7)),
        (NOW + timedelta(seconds=30), False, NOW - timedelta(minutes=4, seconds=30)),
        (NOW + timedelta(hours=3), False, NOW - timedelta(days=7)),
    ],
    ids=["first", "then", "after a long rest", "deep", "clocks have seconds", "the clock was put back"],
)
def test_where_to_begin(cursor: datetime | None, deep: bool, begins: datetime) -> None:
    assert begin_at(cursor, NOW, overlap=MINUTES, deep=deep) == begins


@pytest.mark.parametrize(
    ("status", "known", "topic"),
    [
        ("processing", None, "order.created"),
        ("checkout-draft", None, ""),
        ("trash", None, ""),
        ("processing", ("processing", True), ""),
        ("processing", ("pending", False), "order.updated"),
        ("trash", ("processing", False), "order.deleted"),
        ("processing", ("trash", False), "order.restored"),
    ],
)
def test_what_the_shop_should_have_told(status: str, known: tuple[str, bool] | None, topic: str) -> None:
    order = ShopSnapshot(woo_id=14, status=status, order={"id": 14, "status": status})
    link = None
    if known is not None:
        link = OrderLink(woo_id=14, woo_status=known[0], woo_fingerprint=order.fingerprint if known[1] else "other")
    assert missed_topic(order, link) == topic


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("crm", "known", "missed"),
    [
        (crm_order(), None, True),
        (crm_order(woo="INV-7"), None, False),
        (crm_order("paid", 3), {"crm_status": "paid", "crm_version": 2}, False),
        (crm_order("shipped", 3), {"crm_status": "paid", "crm_version": 2}, True),
        (crm_order("new", 1), {"crm_status": "paid", "crm_version": 2}, False),
        (crm_order("shipped", None), {"crm_status": "paid", "crm_updated_at": NOW - MINUTES}, True),
        (crm_order("new", None), {"crm_status": "paid", "crm_updated_at": NOW + MINUTES}, False),
        (crm_order("shipped", None, None), {"crm_status": "paid"}, True),
        (crm_order("shipped"), {"crm_status": "", "woo_status": "processing"}, True),
        (crm_order("new"), {"crm_status": "", "woo_status": "processing"}, False),
        (crm_order("new"), {"crm_status": "", "woo_status": "failed"}, False),
        (crm_order("on_hold"), {"crm_status": "", "woo_status": "pending"}, True),
        (crm_order("unheard of"), {"crm_status": "", "woo_status": "pending"}, False),
    ],
)
def test_what_the_crm_should_have_told(crm: CrmSnapshot, known: dict[str, Any] | None, missed: bool) -> None:
    link = OrderLink(woo_id=14, crm_order_id="C-1", **known) if known is not None else None
    assert is_missed(crm, link, current_lifecycle(), default_bridge()) is missed


# --- what it finds -------------------------------------------------------------------------------------------------


def test_the_first_run_looks_back_some_days(two_sides: TwoSides, settings: Any) -> None:
    settings.RECONCILE_DAYS = 7
    now = timezone.now()
    two_sides.order(1, now - timedelta(days=8))
    two_sides.order(2, now - timedelta(days=6))
    run = reconcile()
    assert found() == [("shop", "order.created", "2")]
    assert run.counts == {"seen": 1, "shop": 1, "crm": 0}
    settle()
    assert OrderLink.objects.get().woo_id == 2


def test_a_second_run_finds_nothing(two_sides: TwoSides, wake: Mock) -> None:
    linked(two_sides, 3)
    wake.reset_mock()
    assert reconcile().counts == {"seen": 6, "shop": 0, "crm": 0}
    assert found() == []
    assert not wake.called


def test_what_the_shop_did_not_tell(two_sides: TwoSides, wake: Mock) -> None:
    (edited, _), (trashed, _), (restored, _), (quiet, _) = linked(two_sides, 4)
    two_sides.shop.trash(restored)
    reconcile()
    settle()
    two_sides.shop.edit(edited, customer_note="Ring twice.")
    two_sides.shop.trash(trashed)
    two_sides.shop.restore(restored)
    two_sides.shop.edit(quiet)
    new = two_sides.shop.create_order()["id"]
    forget()
    wake.reset_mock()
    run = reconcile()
    assert sorted(found(), key=lambda one: one[2]) == [
        ("shop", "order.updated", str(edited)),
        ("shop", "order.deleted", str(trashed)),
        ("shop", "order.restored", str(restored)),
        ("shop", "order.created", str(new)),
    ]
    assert run.counts["shop"] == 4
    assert wake.called
    settle()
    told = {woo_id: two_sides.crm.by_external(woo_id)[0]["order"] for woo_id in (edited, trashed, restored, new)}
    assert told[edited]["customer_note"] == "Ring twice."
    assert [told[woo_id]["status"] for woo_id in (trashed, restored, new)] == ["trash", "pending", "pending"]


def test_what_the_crm_did_not_tell(two_sides: TwoSides) -> None:
    (woo_id, crm_id), (_, other) = linked(two_sides, 2)
    two_sides.crm.set_status(crm_id, "paid")
    two_sides.crm.set_status(other, "paid")
    two_sides.crm.set_status(other, "new")
    reconcile()
    assert found() == [("crm", "order.status_changed", crm_id)]
    settle()
    assert two_sides.shop.orders[woo_id]["status"] == "processing"


def test_an_order_of_the_crm_that_names_one_of_ours(two_sides: TwoSides) -> None:
    two_sides.order(5, timezone.now() - timedelta(days=30))
    made = two_sides.crm.add_order("5", "paid")
    two_sides.crm.add_order("INV-1", "paid")
    two_sides.crm.add_order(None, "paid")
    reconcile()
    settle()
    assert found() == [("crm", "order.status_changed", made["id"])]
    assert OrderLink.objects.get().crm_order_id == made["id"]
    assert two_sides.shop.orders[5]["status"] == "processing"


@pytest.mark.parametrize(("status", "missed"), [("paid", True), ("unheard of", True), ("new", False)])
def test_both_sides_tell_of_an_order_whose_link_was_lost_and_one_run_is_enough(
    two_sides: TwoSides, status: str, missed: bool
) -> None:
    """As after a restore: it was created and moved since the copy. The next run asks the CRM only for what is newer."""
    made = two_sides.crm.add_order(str(two_sides.order(5, timezone.now())["id"]), status)
    reconcile()
    assert found() == [("shop", "order.created", "5")] + [("crm", "order.status_changed", made["id"])] * missed
    settle()
    assert OrderLink.objects.get().crm_order_id == made["id"]
    expected = {"paid": "processing"}.get(status, "pending")
    assert two_sides.shop.orders[5]["status"] == expected


def test_orders_deleted_for_good_are_found_by_a_deep_run_once(two_sides: TwoSides) -> None:
    (gone, _), (orphaned, _), (trashed, _), _ = linked(two_sides, 4)
    two_sides.shop.trash(trashed)
    reconcile()
    settle()
    forget()
    two_sides.shop.delete(gone)
    two_sides.shop.delete(trashed)
    two_sides.shop.orders[orphaned]["status"] = "of-a-plugin-that-is-gone"
    reconcile()
    assert found() == []
    run = reconcile(deep=True)
    assert found() == [("shop", "order.deleted", str(gone))]
    assert run.counts["shop"] == 1
    settle()
    assert two_sides.crm.by_external(gone)[0]["order"]["status"] == "trash"
    assert reconcile(deep=True).counts["shop"] == 0


def test_an_order_that_the_key_may_not_read_is_not_taken_for_deleted_and_stops_nothing(two_sides: TwoSides) -> None:
    (secret, _), (gone, _) = linked(two_sides, 2)
    two_sides.shop.hidden = {secret}
    two_sides.shop.delete(gone)
    reconcile(deep=True)
    assert found() == [("shop", "order.deleted", str(gone))]
    assert not SideState.objects.get(name="shop").failures


def test_a_deep_run_looks_back_again_and_leaves_the_cursor(two_sides: TwoSides) -> None:
    linked(two_sides)
    cursor = SideState.objects.get(name="shop").cursor
    two_sides.order(5, timezone.now() - timedelta(days=3))
    assert reconcile().counts["shop"] == 0
    assert reconcile(deep=True).counts["shop"] == 1
    assert SideState.objects.get(name="shop").cursor == cursor


# --- what was not missed -------------------------------------------------------------------------------------------


def test_an_order_with_a_waiting_event_was_not_missed(two_sides: TwoSides) -> None:
    (edited, _), (_, moved) = linked(two_sides, 2)
    two_sides.shop.edit(edited, customer_note="x")
    two_sides.crm.set_status(moved, "paid")
    new = two_sides.shop.create_order()["id"]
    made = two_sides.crm.add_order(str(new))
    for side, ref in (("shop", edited), ("crm", moved), ("shop", new)):
        WebhookEventFactory(side=side, order_ref=str(ref), state=State.RETRYING, next_attempt_at=NOW)
    reconcile()
    assert found() == [], made


def test_an_event_that_is_settled_while_the_list_is_read_was_not_missed(
    two_sides: TwoSides, monkeypatch: pytest.MonkeyPatch
) -> None:
    ((woo_id, _),) = linked(two_sides)
    two_sides.shop.edit(woo_id, customer_note="x")
    read = shop_orders.ShopPaginator.next

    def settled_meanwhile(self: shop_orders.ShopPaginator) -> list[ShopSnapshot]:
        page = read(self)
        WebhookEventFactory(
            side="shop", order_ref=str(woo_id), state=State.DONE, next_attempt_at=None, finished_at=timezone.now()
        )
        return page

    monkeypatch.setattr(shop_orders.ShopPaginator, "next", settled_meanwhile)
    assert reconcile().counts["shop"] == 0


def test_what_waits_for_a_person_is_not_posted_again_until_it_moves_on(two_sides: TwoSides) -> None:
    ((_, crm_id),) = linked(two_sides)
    two_sides.crm.set_status(crm_id, "a status without a rule")
    WebhookEventFactory(side="crm", order_ref=crm_id, version=2, state=State.PARKED, next_attempt_at=None)
    reconcile()
    assert found() == []
    two_sides.crm.set_status(crm_id, "paid")
    reconcile()
    assert len(found()) == 1


def test_what_a_person_has_to_see_is_found_once(two_sides: TwoSides) -> None:
    ((_, crm_id),) = linked(two_sides)
    two_sides.crm.set_status(crm_id, "a status without a rule")
    for _ in range(3):
        reconcile()
        settle()
    assert len(found()) == 1


def test_an_order_that_goes_back_to_what_it_was_is_found_again(two_sides: TwoSides) -> None:
    ((woo_id, _),) = linked(two_sides)
    start = timezone.now().replace(microsecond=0)
    for n, note in enumerate(("one", "two", "one")):
        two_sides.shop.orders[woo_id].update(customer_note=note, **dated("date_modified", start + timedelta(seconds=n)))
        reconcile()
        settle()
    assert len(found()) == 3
    assert two_sides.crm.by_external(woo_id)[0]["order"]["customer_note"] == "one"


# --- found once more -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("moves", "first", "finds"),
    # What the step brought with it was told to the CRM, which made another version of it.
    [(["paid"], "pending", 1), (["paid", "shipped"], "processing", 2)],
    ids=["nothing", "a step"],
)
def test_a_read_that_is_behind_the_list_is_made_again_by_the_next_run(
    two_sides: TwoSides, moves: list[str], first: str, finds: int
) -> None:
    ((woo_id, crm_id),) = linked(two_sides)
    for status in moves:
        two_sides.crm.set_status(crm_id, status)
    reconcile()
    WebhookEvent.objects.update(received_at=timezone.now() - timedelta(minutes=2))  # it has waited for the CRM
    two_sides.crm.faults.add("stale-reads", path=f"/orders/{crm_id}")
    settle()
    assert two_sides.shop.orders[woo_id]["status"] == first
    two_sides.crm.faults.clear()
    run = reconcile()
    assert (run.counts["crm"], len(found())) == (1, finds)
    settle()
    assert two_sides.shop.orders[woo_id]["status"] == current_lifecycle().shop_status(moves[-1])
    assert reconcile().counts["crm"] == 0


def test_what_was_refused_because_the_read_was_behind_is_asked_again(two_sides: TwoSides) -> None:
    """Refused was the step before it, and a refusal of what the list shows is never found once more."""
    ((woo_id, crm_id),) = linked(two_sides)
    two_sides.shop.set_status(woo_id, "completed")
    reconcile()
    settle()
    forget()
    for status in ("cancelled", "refunded"):
        two_sides.crm.set_status(crm_id, status)
    reconcile()
    WebhookEvent.objects.update(received_at=timezone.now() - timedelta(minutes=2))  # it has waited for the CRM
    two_sides.crm.faults.add("stale-reads", path=f"/orders/{crm_id}")
    settle()
    assert WebhookEvent.objects.get(side="crm").outcome == "refused"
    two_sides.crm.faults.clear()
    assert reconcile().counts["crm"] == 1
    settle()
    assert two_sides.shop.orders[woo_id]["status"] == "refunded"
    two_sides.crm.set_status(crm_id, "cancelled")
    counts = [reconcile().counts["crm"]]
    settle()
    assert [*counts, reconcile().counts["crm"]] == [1, 0], "a refusal of what the list shows is asked for once"


@pytest.mark.parametrize(
    ("state", "outcome", "again"),
    [
        *(
            (State.DONE, outcome, True)
            for outcome in ("no_change", "stale", "superseded", "echo", "applied", "updated", "refused")
        ),
        (State.DONE, "resolved", False),
        *((state, "", False) for state in (State.PARKED, State.DEAD)),
    ],
)
def test_which_finds_are_asked_for_again(two_sides: TwoSides, state: State, outcome: str, again: bool) -> None:
    """With a note of the shop's, so that nothing but the event itself says who waits for whom."""
    ((woo_id, _),) = linked(two_sides)
    two_sides.shop.edit(woo_id, customer_note="x")
    reconcile()
    settled = timezone.now() - timedelta(minutes=1)
    WebhookEvent.objects.filter(source="sweep").update(
        state=state, outcome=outcome, next_attempt_at=None, finished_at=settled
    )
    assert [reconcile(dry_run=True).counts["shop"], reconcile().counts["shop"]] == [again, again]
    event = WebhookEvent.objects.get(source="sweep")
    assert (event.state, event.trigger) == (State.PENDING if again else state, "sweep")


def test_a_find_that_was_answered_with_what_waits_for_a_person_is_not_asked_for_again(two_sides: TwoSides) -> None:
    ((woo_id, _),) = linked(two_sides)
    two_sides.shop.edit(woo_id, customer_note="x")
    reconcile()
    settled = {"next_attempt_at": None, "finished_at": timezone.now() - timedelta(minutes=1)}
    WebhookEvent.objects.filter(source="sweep").update(state=State.DONE, outcome="superseded", **settled)
    WebhookEventFactory(side="shop", order_ref=str(woo_id), state=State.PARKED, **settled)
    assert reconcile().counts["shop"] == 0


def test_what_names_no_order_of_ours_is_read_again_once_it_is_linked(two_sides: TwoSides) -> None:
    made = two_sides.crm.add_order("5", "paid")
    reconcile()
    settle()
    assert WebhookEvent.objects.get().outcome == "not_ours"
    assert reconcile().counts["crm"] == 0
    order = two_sides.order(5, timezone.now() - timedelta(days=30))
    OrderLinkFactory(woo_id=5, crm_order_id=made["id"], crm_status="", woo_status=order["status"])
    assert reconcile().counts["crm"] == 1
    settle()
    assert two_sides.shop.orders[5]["status"] == "processing"


def test_a_deletion_that_was_undone_by_a_replay_is_told_again(two_sides: TwoSides) -> None:
    ((gone, _),) = linked(two_sides)
    before = OrderLink.objects.values("woo_status", "woo_fingerprint").get()
    two_sides.shop.delete(gone)
    reconcile(deep=True)
    settle()
    OrderLink.objects.update(**before)  # an older delivery was replayed, and its body used
    run = reconcile(deep=True)
    assert (run.counts["shop"], len(found())) == (1, 1)
    settle()
    assert OrderLink.objects.get().woo_status == "trash"
    assert reconcile(deep=True).counts["shop"] == 0


# --- cursors and clocks --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hours", [-5, 5])
def test_the_clocks_of_both_sides_are_their_own(two_sides: TwoSides, hours: int) -> None:
    two_sides.shop.clock_is_ahead = timedelta(hours=hours)
    two_sides.crm.clock_is_ahead = timedelta(hours=-hours)
    two_sides.order(1, timezone.now() - timedelta(days=3))
    ((woo_id, crm_id),) = linked(two_sides)
    for n in range(3):
        two_sides.shop.edit(woo_id, customer_note=f"note {n}")
        two_sides.crm.set_status(crm_id, ("on_hold", "paid", "shipped")[n])
        reconcile()
        settle()
    assert two_sides.crm.by_external(woo_id)[0]["order"]["customer_note"] == "note 2"
    assert two_sides.shop.orders[woo_id]["status"] == "completed"
    assert Run.objects.first().counts["seen"] == 3, "neither clock makes it begin days ago"  # type: ignore[union-attr]


@pytest.mark.parametrize(("before", "after"), [(5, 0), (0, -5)])
def test_a_clock_that_is_put_back_hides_nothing(two_sides: TwoSides, before: int, after: int) -> None:
    two_sides.shop.clock_is_ahead = timedelta(hours=before)
    ((woo_id, _),) = linked(two_sides)
    two_sides.shop.clock_is_ahead = timedelta(hours=after)
    two_sides.shop.edit(woo_id, customer_note="changed later, and dated earlier")
    reconcile()
    assert len(found()) == 1


def test_an_order_that_shows_up_late_is_behind_the_cursor_and_found(two_sides: TwoSides) -> None:
    linked(two_sides)
    cursor = datetime.fromisoformat(SideState.objects.get(name="shop").cursor["at"])
    two_sides.order(5, cursor - timedelta(minutes=4))
    assert reconcile().counts["shop"] == 1


def test_a_change_that_the_crm_lists_late_is_behind_the_cursor_and_found(two_sides: TwoSides, settings: Any) -> None:
    """By more than the overlap that transactions need: CRM_LIST_LAG adds to it."""
    settings.CRM_LIST_LAG = 60.0
    (_, late), (_, early) = linked(two_sides, 2)
    two_sides.crm.list_lag = 3600
    two_sides.crm.set_status(late, "paid")
    two_sides.crm.list_lag = 0
    two_sides.crm.clock_is_ahead = timedelta(minutes=5, seconds=30)
    two_sides.crm.set_status(early, "paid")
    reconcile()
    assert found() == [("crm", "order.status_changed", early)]
    settle()
    two_sides.crm.catch_up()
    reconcile()
    assert found()[1:] == [("crm", "order.status_changed", late)]


def test_equal_times_at_the_edge_hide_nothing(two_sides: TwoSides, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also without the overlap: whole seconds, and a filter that is strictly 'after' (FACTS I)."""
    monkeypatch.setattr(halves, "OVERLAP", timedelta())
    at = timezone.now().replace(microsecond=0) - timedelta(seconds=5)
    two_sides.order(1, at)
    reconcile()
    two_sides.order(2, at)
    assert reconcile().counts["shop"] == 1


def test_a_cursor_stays_where_it_is_when_there_is_nothing_to_read(two_sides: TwoSides) -> None:
    ((woo_id, _),) = linked(two_sides)
    cursor = SideState.objects.get(name="shop").cursor
    two_sides.shop.delete(woo_id)
    reconcile()
    assert SideState.objects.get(name="shop").cursor == cursor


def test_an_order_with_a_date_in_the_future_does_not_take_the_cursor_there(two_sides: TwoSides) -> None:
    two_sides.order(1, timezone.now() - timedelta(days=3))
    two_sides.order(2, timezone.now() + timedelta(days=3))
    reconcile()
    settle()
    assert set(OrderLink.objects.values_list("woo_id", flat=True)) == {1, 2}
    assert reconcile().counts["seen"] == 3, "not the one of three days ago"


def test_another_shop_or_crm_has_another_cursor(two_sides: TwoSides) -> None:
    for name in ("shop", "crm"):
        cursor = {"at": timezone.now().isoformat(), "url": "https://another.example"}
        SideState.objects.filter(name=name).update(cursor=cursor)
    two_sides.order(1, timezone.now() - timedelta(days=2))
    two_sides.crm.add_order("2")
    assert reconcile().counts == {"seen": 2, "shop": 1, "crm": 1}


def test_the_cursor_does_not_move_when_the_events_can_not_be_stored(
    two_sides: TwoSides, monkeypatch: pytest.MonkeyPatch
) -> None:
    linked(two_sides)
    two_sides.shop.create_order()
    two_sides.shop.clock_is_ahead = timedelta(minutes=30)
    two_sides.shop.create_order()
    before = SideState.objects.get(name="shop").cursor
    monkeypatch.setattr("sync.jobs.missed.intake.post", Mock(side_effect=OSError("the disk is full")))
    run = reconciliation.start()
    engine.carry_out(run)
    assert run.state == Run.State.FAILED
    assert SideState.objects.get(name="shop").cursor == before
    monkeypatch.undo()
    assert reconcile().counts["shop"] == 2


@pytest.mark.parametrize("deep", [False, True])
def test_a_crash_after_a_page_goes_on_from_there(
    two_sides: TwoSides, monkeypatch: pytest.MonkeyPatch, deep: bool
) -> None:
    monkeypatch.setattr(paging, "SIZES", (2, 1))
    start = timezone.now() - timedelta(days=1)
    for n in range(7):
        two_sides.order(n + 1, start + timedelta(minutes=n))
    steps = reconciliation.job(run := reconciliation.start(deep=deep))
    while not 0 < len(found()) < 7:
        next(steps)
        engine._save(run)
    steps.close()
    assert engine.carry_out(Run.objects.get())
    assert sorted(ref for _, _, ref in found()) == [str(n + 1) for n in range(7)]
    assert Run.objects.get().counts == {"seen": 7, "shop": 7, "crm": 0}


# --- unpleasant sides ----------------------------------------------------------------------------------------------


def test_pages_that_shift_while_they_are_read(two_sides: TwoSides, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paging, "SIZES", (3, 1))
    start = timezone.now() - timedelta(days=1)
    for n in range(10):
        two_sides.order(n + 1, start + timedelta(minutes=n))
    two_sides.shop.faults.add("shifting-pages", 4, path="/wp-json/wc/v3/orders")
    reconcile()
    assert {ref for _, _, ref in found()} == {str(n + 1) for n in range(10)}


@pytest.mark.parametrize("fault", ["429", "502", "captcha-202", "html", "truncated", "down"])
def test_a_fault_of_either_side_delays_and_hides_nothing(
    two_sides: TwoSides, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the very calls that list what changed."""
    monkeypatch.setattr("sync.clients.crm.rest.RestCrm.ping", lambda crm: None)
    two_sides.order(1, timezone.now() - timedelta(days=1))
    two_sides.crm.add_order("2")
    for server in (two_sides.shop, two_sides.crm):
        server.faults.add(fault, 2, method="GET", after=0.05)
    assert reconcile().counts == {"seen": 2, "shop": 1, "crm": 1}


def test_a_list_of_the_crm_that_breaks_off_is_taken_up_where_it_broke(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crm_changes, "CHANGES", 2)
    orders = [crm_order(at=NOW + timedelta(minutes=n)) for n in range(4)]
    asked: list[datetime] = []

    def changed_since(since: datetime) -> Iterator[CrmSnapshot]:
        asked.append(since)
        for n, order in enumerate(one for one in orders if one.updated_at and one.updated_at >= since):
            if n == 3 and len(asked) == 1:
                raise ServerTrouble("502", side="crm")
            yield order

    paginator = CrmPaginator(Mock(changed_since=changed_since), NOW)
    assert paginator.next() == orders[:2]
    assert paginator.next() == orders[2:3], "what came before the error"
    assert paginator.next() == orders[3:]
    assert paginator.ended
    assert asked == [NOW, orders[2].updated_at]


def test_an_odd_order_of_the_crm_is_left_out_and_stops_nobody(two_sides: TwoSides) -> None:
    three = linked(two_sides, 3)
    for _, crm_id in three:
        two_sides.crm.set_status(crm_id, "paid")
    two_sides.crm.orders[three[1][1]]["version"] = "7"
    reconcile()
    assert found() == [("crm", "order.status_changed", crm_id) for _, crm_id in (three[0], three[2])]
    assert SideState.objects.get(name="crm").failures == 0


def test_the_cursor_waits_for_a_stretch_that_is_read_backwards(
    two_sides: TwoSides, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its last page comes first; if the run ends there, the next one begins before the stretch."""
    monkeypatch.setattr(paging, "SIZES", (2, 1))
    begin = timezone.now() - timedelta(hours=9)
    for n in range(5):
        two_sides.order(n + 1, begin + timedelta(hours=n))
    two_sides.shop.hidden = {1, 2}
    run = reconciliation.start()
    steps = reconciliation.job(run)
    while not run.counts.get("shop"):
        next(steps)
    steps.close()
    assert run.checkpoint["place"]["page"]
    assert datetime.fromisoformat(SideState.objects.get(name="shop").cursor["at"]) < begin


# --- commands and the schedule -------------------------------------------------------------------------------------


def command(*arguments: str) -> str:
    out = StringIO()
    call_command("reconcile", *arguments, stdout=out)
    return out.getvalue()


def test_a_dry_run_tells_and_writes_nothing(two_sides: TwoSides) -> None:
    woo_id = two_sides.shop.create_order()["id"]
    told = json.loads(command("--dry-run", "--json"))
    assert told["found"] == [{"side": "shop", "order": str(woo_id), "topic": "order.created"}]
    assert (told["dry_run"], told["shop"]) == (True, 1)
    assert not WebhookEvent.objects.exists()
    assert not Run.objects.exists()
    assert SideState.objects.get(name="shop").cursor == {}
    assert SideState.objects.get(name="shop").swept_at is None


def test_the_command_tells_what_it_found(two_sides: TwoSides) -> None:
    woo_id = two_sides.shop.create_order()["id"]
    assert command().splitlines() == [
        f"missed: order.created of order {woo_id} (shop)",
        "1 orders seen; missed: 1 of the shop, 0 of the CRM",
    ]
    assert SideState.objects.get(name="crm").swept_at


def test_a_second_one_at_the_same_time_is_refused(two_sides: TwoSides) -> None:
    Run.objects.filter(pk=reconciliation.start().pk).update(holder="elsewhere:7")
    with pytest.raises(CommandError, match="elsewhere:7") as refusal:
        command()
    assert refusal.value.returncode == 2


@pytest.mark.django_db
def test_without_settings_it_says_so(settings: Any) -> None:
    settings.WOO_URL = settings.CRM_URL = ""
    with pytest.raises(CommandError, match="is not set") as refusal:
        command()
    assert refusal.value.returncode == 2
    tasks.reconcile()
    assert not Run.objects.exists()


def test_the_schedule_finds_what_was_missed_and_forgets_old_runs(two_sides: TwoSides) -> None:
    two_sides.shop.create_order()
    tasks.reconcile()
    assert len(found()) == 1
    Run.objects.update(finished_at=timezone.now() - timedelta(days=8))
    tasks.reconcile_deep()
    assert Run.objects.get().options["deep"] is True


HOUR = timedelta(hours=1)


def earlier(hours: float = 26, state: str = Run.State.DONE, *, error: str = "", **options: bool) -> Run:
    """A scheduled run of so many hours ago."""
    at = timezone.now() - hours * HOUR
    ended = None if state in (Run.State.RUNNING, Run.State.PAUSED) else at
    fields = {"started_at": at, "beat_at": at, "finished_at": ended, "error": error, "holder": ""}
    return Run.objects.create(
        kind="reconcile", bridge_id=1, state=state, options=reconciliation.options(**options), **fields
    )


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("normal", "deep", "due"),
    [
        (None, None, False),
        (1, None, False),
        (26, None, True),
        (26, {"hours": 24.5}, False),
        (26, {"hours": 25.5}, True),
        (26, {"hours": 2, "state": Run.State.FAILED}, True),
        (26, {"hours": 0.5, "state": Run.State.FAILED}, False),
        (26, {"hours": 2, "state": Run.State.CANCELLED}, False),
        (26, {"hours": 2, "state": Run.State.CANCELLED, "error": "Given up."}, True),
        (26, {"hours": 2, "state": Run.State.PAUSED}, False),
        (26, {"hours": 2, "dry_run": True}, True),
        (1, {"hours": 1, "state": Run.State.RUNNING}, True),
    ],
    ids=[
        *("new", "young", "never", "last night", "the night before", "failed", "just failed", "cancelled by staff"),
        *("given up for another", "paused", "only looked", "goes on"),
    ],
)
def test_when_a_deep_run_is_due(normal: float | None, deep: dict[str, Any] | None, due: bool) -> None:
    if normal:
        earlier(normal)
    if deep:
        earlier(**deep, deep=True)
    assert reconciliation.deep_is_due(timezone.now()) is due


def test_a_deep_run_that_the_night_did_not_see_is_made_up_for(two_sides: TwoSides) -> None:
    ((gone, _),) = linked(two_sides)
    earlier()
    two_sides.shop.delete(gone)
    SideState.objects.filter(name=Side.CRM).update(paused=True)
    tasks.reconcile_deep()
    assert found() == []
    SideState.objects.filter(name=Side.CRM).update(paused=False)
    tasks.reconcile()
    tasks.reconcile()
    assert found() == [("shop", "order.deleted", str(gone))]
    assert [run.options["deep"] for run in Run.objects.all()[:2]] == [False, True]


def test_a_deep_run_whose_holder_died_goes_on(two_sides: TwoSides) -> None:
    dead = earlier(1, Run.State.RUNNING, deep=True)
    tasks.reconcile()
    assert list(Run.objects.values_list("pk", "state")) == [(dead.pk, Run.State.DONE)]


def test_a_deep_run_that_failed_gives_way_to_normal_ones_and_goes_on_later(two_sides: TwoSides) -> None:
    earlier()
    failed = earlier(0.5, Run.State.FAILED, deep=True)
    tasks.reconcile()
    assert list(Run.objects.values_list("options__deep", "state")[:2]) == [
        (False, Run.State.DONE),
        (True, Run.State.FAILED),
    ]
    Run.objects.filter(pk=failed.pk).update(finished_at=timezone.now() - 2 * HOUR)
    tasks.reconcile()
    failed.refresh_from_db()
    assert failed.state == Run.State.DONE


def test_the_schedule_leaves_a_side_that_is_paused_alone(two_sides: TwoSides) -> None:
    SideState.objects.filter(name=Side.CRM).update(paused=True)
    tasks.reconcile()
    assert not Run.objects.exists()
    assert two_sides.shop.requests == []


def test_links_are_left_as_they_are(two_sides: TwoSides) -> None:
    """Only events settle anything: the sweep itself changes neither side nor link."""
    link = OrderLinkFactory(woo_id=two_sides.shop.create_order()["id"], woo_fingerprint="old")
    reconcile()
    assert OrderLink.objects.filter(pk=link.pk, woo_fingerprint="old").exists()
    assert not two_sides.writes()


@pytest.mark.parametrize(("status", "known"), [(404, True), (403, False), (200, False)])
def test_a_shop_that_can_not_tell_its_statuses_is_asked_for_those_that_every_shop_has(status: int, known: bool) -> None:
    class Silent(Shop):
        def statuses(self) -> frozenset[str]:
            raise Blocked("No route.", side="shop", status=status)

    shop = Silent(JsonClient("shop", "http://127.0.0.1:1"))
    if known:
        asked = all_statuses(shop)
        assert {"pending", "completed", "trash"} < set(asked)
    else:
        with pytest.raises(Blocked):
            all_statuses(shop)
