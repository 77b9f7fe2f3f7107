"""The rules of both journeys, without a database, a network or a clock."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orders.defaults import MOVES, RULES
from orders.lifecycle import Lifecycle
from sync.clients.snapshots import CrmSnapshot, ShopSnapshot
from sync.pipeline.decide import crm_to_shop, shop_to_crm
from sync.pipeline.plan import (
    CreateInCrm,
    Decision,
    EventFacts,
    LinkFacts,
    Park,
    PendingWrite,
    Plan,
    ReadAgain,
    Reason,
    SetShopStatus,
    UpdateInCrm,
)

LIFECYCLE = Lifecycle.of(RULES, [(old, new) for old, news in MOVES.items() for new in news])
NOW = datetime(2026, 11, 24, tzinfo=UTC)


def shop_order(status: str = "processing", **fields: Any) -> ShopSnapshot:
    order = {"id": 14, "status": status, "total": "87.91", "meta_data": [{"key": "x", "value": "1"}], **fields}
    return ShopSnapshot(woo_id=14, status=status, order=order)


def crm_order(status: str = "paid", version: int | None = 2, seconds: int = 2) -> CrmSnapshot:
    at = NOW + timedelta(seconds=seconds)
    return CrmSnapshot(
        crm_order_id="C-1", external_id="14", status=status, version=version, updated_at=at, answer={"status": status}
    )


LINK = LinkFacts(
    woo_id=14, crm_order_id="C-1", crm_status="new", crm_version=1, crm_updated_at=NOW, woo_fingerprint="old"
)


def move(**changes: Any) -> Decision:
    given_: dict[str, Any] = {
        "event": EventFacts(version=2),
        "link": LINK,
        "crm": crm_order(),
        "shop": shop_order("pending"),
        "lifecycle": LIFECYCLE,
    }
    return crm_to_shop(**{**given_, **changes})


def outcome(decision: Decision) -> str:
    assert isinstance(decision, Plan), decision
    return decision.outcome


# --- CRM → shop


def test_a_new_status_is_applied_and_logged() -> None:
    plan = move()
    assert isinstance(plan, Plan)
    assert (plan.outcome, plan.write) == (
        "applied",
        SetShopStatus(woo_id=14, from_status="pending", to_status="processing", crm_order_id="C-1"),
    )
    assert [(t.from_status, t.to_status, t.decision) for t in plan.transitions] == [
        ("pending", "processing", "applied")
    ]


def test_a_stale_version_changes_nothing() -> None:
    link = replace(LINK, crm_status="shipped", crm_version=7)
    plan = move(link=link, event=EventFacts(version=5), crm=crm_order("shipped", 7))
    assert isinstance(plan, Plan)
    assert (plan.outcome, plan.write, plan.transitions) == ("stale", None, ())


def test_an_old_answer_of_the_crm_is_stale() -> None:
    link = replace(LINK, crm_status="shipped", crm_version=7)
    assert outcome(move(link=link, event=EventFacts(), crm=crm_order("paid", 6))) == "stale"


def test_the_same_version_again_is_no_change() -> None:
    link = replace(LINK, crm_status="paid", crm_version=2)
    assert outcome(move(link=link)) == "no_change"


def test_a_newer_version_with_the_same_status_is_no_change_whatever_the_shop_shows() -> None:
    link = replace(LINK, crm_status="new", crm_version=1)
    plan = move(link=link, crm=crm_order("new", 9), shop=shop_order("processing"), event=EventFacts(version=9))
    assert isinstance(plan, Plan)
    assert (plan.outcome, plan.write) == ("no_change", None)
    assert plan.crm_seen is not None and plan.crm_seen.version == 9


def test_without_versions_time_orders_and_an_equal_second_does_not_hide_a_move() -> None:
    link = replace(LINK, crm_version=None)
    assert outcome(move(link=link, crm=crm_order("paid", None, seconds=5), event=EventFacts())) == "applied"
    assert outcome(move(link=link, crm=crm_order("paid", None, seconds=0), event=EventFacts())) == "applied"
    assert outcome(move(link=link, crm=crm_order("new", None, seconds=0), event=EventFacts())) == "no_change"
    assert outcome(move(link=link, crm=crm_order("paid", None, seconds=-5), event=EventFacts())) == "stale"


def test_a_backward_move_is_refused_and_logged_as_refused() -> None:
    plan = move(crm=crm_order("processing"), shop=shop_order("completed"))
    assert isinstance(plan, Plan)
    assert (plan.outcome, plan.write) == ("refused", None)
    assert [t.decision for t in plan.transitions] == ["refused"]


def test_an_unmapped_status_parks() -> None:
    assert isinstance(move(crm=crm_order("qualified")), Park)


def test_a_lagging_crm_is_read_again_for_a_minute_and_then_counts() -> None:
    event = EventFacts(version=9, waited=timedelta(seconds=10))
    assert isinstance(move(event=event), ReadAgain)
    assert outcome(move(event=replace(event, waited=timedelta(seconds=60)))) == "applied"


def test_an_order_the_crm_does_not_know_is_tried_for_a_minute_and_then_parked() -> None:
    assert isinstance(move(crm=None, event=EventFacts(waited=timedelta(seconds=59))), ReadAgain)
    assert isinstance(move(crm=None, event=EventFacts(waited=timedelta(seconds=60))), Park)


def test_an_order_of_nobody_here_is_not_ours() -> None:
    assert outcome(move(link=None, shop=None)) == "not_ours"


def test_an_order_linked_to_another_one_parks() -> None:
    assert isinstance(move(link=None, linked_elsewhere="C-9"), Park)


def test_a_linked_order_that_left_the_shop_parks() -> None:
    assert isinstance(move(shop=None), Park)


@pytest.mark.parametrize("resync", [True, False])
@pytest.mark.parametrize("status", ["paid", "shipped", "cancelled"])
def test_a_move_of_an_order_that_the_crm_knows_to_be_deleted_needs_nobody(status: str, resync: bool) -> None:
    deleted = replace(LINK, woo_status="trash")
    plan = move(event=EventFacts(version=2, resync=resync), link=deleted, shop=None, crm=crm_order(status))
    assert isinstance(plan, Plan)
    assert (plan.outcome, plan.write, plan.crm_seen) == ("no_change", None, crm_order(status))


def test_an_order_in_the_trash_is_not_brought_back_by_a_status() -> None:
    assert outcome(move(shop=shop_order("trash"))) == "refused"


def test_a_webhook_before_the_link_is_applied() -> None:
    plan = move(link=None)
    assert isinstance(plan, Plan)
    assert (plan.outcome, plan.woo_id) == ("applied", 14)


def test_an_order_whose_creation_was_not_recorded_may_have_been_edited_in_the_shop_since() -> None:
    made = replace(crm_order(), total=Decimal("10.00"))
    assert outcome(move(link=None, crm=made)) == "applied"


def test_a_write_that_was_not_recorded_is_found_and_logged_once() -> None:
    plan = move(shop=shop_order("processing"), pending=PendingWrite(from_status="pending", to_status="processing"))
    assert isinstance(plan, Plan)
    assert (plan.outcome, plan.write) == ("applied", None)
    assert [(t.from_status, t.to_status) for t in plan.confirmed] == [("pending", "processing")]


def test_a_write_that_was_not_recorded_is_logged_also_when_a_person_is_needed_meanwhile() -> None:
    pending = PendingWrite(from_status="pending", to_status="processing")
    decision = move(crm=crm_order("archived", 9), shop=shop_order("processing"), pending=pending)
    assert isinstance(decision, Park)
    assert [(t.from_status, t.to_status) for t in decision.confirmed] == [("pending", "processing")]


def test_a_status_that_is_not_applied_leaves_the_shop_as_it_is_and_logs_what_was_written_before() -> None:
    rules = Lifecycle.of([("paid", "processing", True), ("asked", "", False)], [("pending", "processing")])
    earlier = PendingWrite(from_status="pending", to_status="processing")
    for pending, expected, logged in ((None, "no_change", []), (earlier, "applied", [("pending", "processing")])):
        crm, shop = crm_order("asked"), shop_order("processing")
        plan = move(crm=crm, shop=shop, lifecycle=rules, pending=pending)
        assert isinstance(plan, Plan)
        words = "The CRM says 'asked' (new), which the status map does not apply: 'processing' stays."
        assert (plan.outcome, plan.reasons, plan.write) == (expected, (Reason("not_applied", words),), None)
        assert [(one.from_status, one.to_status) for one in plan.confirmed] == logged
        assert (plan.crm_seen, plan.woo_id) == (crm, 14)


# --- shop → CRM


def test_an_unknown_order_is_created() -> None:
    plan = shop_to_crm(link=None, shop=shop_order())
    assert isinstance(plan, Plan)
    assert plan.outcome == "created" and isinstance(plan.write, CreateInCrm)


def test_an_order_that_the_crm_has_is_linked_not_created() -> None:
    plan = shop_to_crm(link=None, shop=shop_order(), found=crm_order())
    assert isinstance(plan, Plan)
    assert plan.outcome == "created" and isinstance(plan.write, UpdateInCrm)


def test_a_creation_in_doubt_waits_for_the_crms_list() -> None:
    decision = shop_to_crm(link=None, shop=shop_order(), create_tried=timedelta(seconds=3))
    assert isinstance(decision, ReadAgain) and decision.after == timedelta(seconds=7)
    late = shop_to_crm(link=None, shop=shop_order(), create_tried=timedelta(seconds=10))
    assert isinstance(late, Plan) and isinstance(late.write, CreateInCrm)


@pytest.mark.parametrize("status", ["checkout-draft", "auto-draft", "trash"])
def test_what_is_not_an_order_is_not_created(status: str) -> None:
    assert outcome(shop_to_crm(link=None, shop=shop_order(status))) == "no_change"


def test_our_own_write_comes_back_as_an_echo() -> None:
    shop = shop_order()
    link = replace(LINK, woo_fingerprint=shop.fingerprint, written_by_us=True)
    assert outcome(shop_to_crm(link=link, shop=shop)) == "echo"


def test_the_date_of_a_save_and_our_own_meta_are_no_change() -> None:
    link = replace(LINK, woo_fingerprint=shop_order().fingerprint)
    meta = [*shop_order().order["meta_data"], {"key": "_orderbridge_rev", "value": "7"}]
    again = shop_order(date_modified_gmt="2026-11-24T02:13:10", meta_data=meta)
    assert outcome(shop_to_crm(link=link, shop=again)) == "no_change"


def test_changed_content_is_sent() -> None:
    plan = shop_to_crm(link=LINK, shop=shop_order(total="90.00"))
    assert isinstance(plan, Plan) and isinstance(plan.write, UpdateInCrm)
    assert plan.write.order["total"] == "90.00"


def test_the_trash_is_told_in_two_words() -> None:
    plan = shop_to_crm(link=LINK, shop=shop_order("trash"))
    assert isinstance(plan, Plan) and isinstance(plan.write, UpdateInCrm)
    assert plan.write.order == {"id": 14, "status": "trash"}


# --- any history

CRM_MOVES = {
    "new": ["on_hold", "paid", "cancelled", "failed"],
    "on_hold": ["paid", "cancelled", "failed"],
    "failed": ["on_hold", "paid", "cancelled"],
    "paid": ["processing", "shipped", "cancelled", "refunded"],
    "processing": ["shipped", "cancelled", "refunded"],
    "shipped": ["completed", "refunded"],
    "completed": ["refunded"],
    "cancelled": [],
    "refunded": [],
}


@given(data=st.data(), versioned=st.booleans())
def test_any_history_ends_at_the_crms_status_and_never_moves_backwards(data: st.DataObject, versioned: bool) -> None:
    """The CRM moves legally; its events come in any order, any number of times, and are read at any moment."""
    states = [crm_order("new", 1 if versioned else None, seconds=0)]
    for number in range(2, 2 + data.draw(st.integers(0, 6))):
        options = CRM_MOVES[states[-1].status]
        if not options:
            break
        status = data.draw(st.sampled_from([*options, states[-1].status]))
        # Half of the changes share their second with the one before: times have whole seconds.
        later = states[-1].updated_at == NOW or data.draw(st.booleans())
        seconds = int((states[-1].updated_at - NOW).total_seconds()) + int(later)  # type: ignore[operator]
        states.append(crm_order(status, number if versioned else None, seconds=seconds))
    events = [*data.draw(st.lists(st.sampled_from(states), max_size=10)), states[-1]]
    reads = sorted(data.draw(st.lists(st.integers(0, len(states) - 1), min_size=len(events), max_size=len(events))))
    reads[-1] = len(states) - 1
    link, shop, written = LINK, "pending", []
    for event, read in zip(events, reads, strict=True):
        facts = EventFacts(version=event.version, occurred_at=event.updated_at, waited=timedelta(minutes=2))
        plan = move(link=link, event=facts, crm=states[read], shop=shop_order(shop))
        assert isinstance(plan, Plan)
        if isinstance(plan.write, SetShopStatus):
            written.append((shop, plan.write.to_status))
            shop = plan.write.to_status
        if plan.crm_seen is not None:
            seen = plan.crm_seen
            link = replace(link, crm_status=seen.status, crm_version=seen.version, crm_updated_at=seen.updated_at)
    assert shop == LIFECYCLE.shop_status(states[-1].status)
    assert all(LIFECYCLE.allows(old, new) for old, new in written)


@given(
    data=st.data(),
    statuses=st.lists(st.sampled_from(sorted({crm for crm, _, _ in RULES})), min_size=1, max_size=8),
)
def test_a_crm_that_jumps_about_can_not_move_the_shop_backwards(data: st.DataObject, statuses: list[str]) -> None:
    link, shop = LINK, data.draw(st.sampled_from(sorted(MOVES)))
    for version, status in enumerate(data.draw(st.permutations(statuses)), start=2):
        plan = move(link=link, event=EventFacts(version=version), crm=crm_order(status, version), shop=shop_order(shop))
        assert isinstance(plan, Plan)
        if isinstance(plan.write, SetShopStatus):
            assert LIFECYCLE.allows(shop, plan.write.to_status)
            shop = plan.write.to_status
        if plan.crm_seen is not None:
            link = replace(link, crm_status=plan.crm_seen.status, crm_version=plan.crm_seen.version)


# --- a pair that was never compared

FOUND = replace(LINK, crm_status="", crm_version=None, crm_updated_at=None)


@pytest.mark.parametrize("link", [None, FOUND], ids=["not linked", "found"])
@pytest.mark.parametrize("resync", [False, True], ids=["event", "resync"])
@pytest.mark.parametrize("status", ["on-hold", "failed"])
def test_an_order_is_not_put_back_to_where_every_order_begins(
    link: LinkFacts | None, resync: bool, status: str
) -> None:
    """The CRM's `new` may be the status with which the order was created there, while the shop was ahead."""
    crm = crm_order("new", version=1)
    plan = move(event=EventFacts(version=1, resync=resync), link=link, crm=crm, shop=shop_order(status))
    assert isinstance(plan, Plan)
    assert (plan.outcome, plan.write, plan.crm_seen, plan.woo_id) == ("no_change", None, crm, 14)


@pytest.mark.parametrize(
    "known",
    [
        {"link": replace(LINK, crm_status="on_hold")},
        {"link": replace(LINK, crm_status="")},
        {"link": FOUND, "pending": PendingWrite(from_status="pending", to_status="on-hold")},
    ],
    ids=["compared", "a write to be confirmed", "a write in doubt"],
)
def test_where_they_were_compared_it_is_a_move(known: dict[str, Any]) -> None:
    plan = move(crm=crm_order("new"), shop=shop_order("failed"), **known)
    assert isinstance(plan, Plan)
    assert plan.write == SetShopStatus(woo_id=14, from_status="failed", to_status="pending", crm_order_id="C-1")


@pytest.mark.parametrize("status", ["on-hold", "failed", "processing"])
def test_a_shop_that_has_left_the_beginning_is_ahead_of_a_crm_that_has_not(status: str) -> None:
    """A bank transfer begins on hold; the CRM says `new` until the money is there."""
    plan = move(event=EventFacts(version=1, resync=True), crm=crm_order("new", version=1), shop=shop_order(status))
    assert isinstance(plan, Plan)
    assert (plan.outcome, plan.write, plan.reasons[-1].code) == ("no_change", None, "shop_ahead")
