"""The decision as a table: each situation, and all that is decided in it but for the wording."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from orders.defaults import MOVES, RULES
from orders.lifecycle import Lifecycle
from sync.clients.snapshots import CRM_ORDER_META, CrmSnapshot, ShopSnapshot
from sync.pipeline.decide import crm_to_shop, forced, shop_to_crm
from sync.pipeline.plan import (
    CreateInCrm,
    Decision,
    EventFacts,
    LinkFacts,
    Park,
    PendingWrite,
    Plan,
    ReadAgain,
    SetShopStatus,
    TransitionDraft,
    UpdateInCrm,
)
from sync.pipeline.sending import SendingRule
from sync.pipeline.strangers import DOUBTS, another_shop
from sync.pipeline.whose import identity

LIFECYCLE = Lifecycle.of(RULES, [(old, new) for old, news in MOVES.items() for new in news])
NOW = datetime(2026, 11, 24, tzinfo=UTC)
KEY = {"order_key": "wc_order_a", "date_created_gmt": "2026-01-01T00:00:00"}


def seconds(number: float) -> timedelta:
    return timedelta(seconds=number)


def shop(status: str = "pending", **fields: Any) -> ShopSnapshot:
    return ShopSnapshot(woo_id=14, status=status, order={"id": 14, "status": status, "total": "87.91", **KEY, **fields})


def crm(status: str = "paid", version: int | None = 2, at: float | None = 2, **fields: Any) -> CrmSnapshot:
    known: dict[str, Any] = {"crm_order_id": "C-1", "external_id": "14", "answer": {"status": status}, **fields}
    updated_at = None if at is None else NOW + seconds(at)
    return CrmSnapshot(status=status, version=version, updated_at=updated_at, **known)


LINK = LinkFacts(
    woo_id=14,
    crm_order_id="C-1",
    crm_status="new",
    crm_version=1,
    crm_updated_at=NOW,
    woo_fingerprint="old",
    identity=identity(shop().order),
    external_id="14",
)
GONE = ShopSnapshot.gone(14)
ANOTHER = shop(order_key="wc_order_b")
PENDING = PendingWrite(from_status="pending", to_status="processing")


def link(**changes: Any) -> LinkFacts:
    return replace(LINK, **changes)


def event(**facts: Any) -> EventFacts:
    return EventFacts(**{"version": 2, **facts})


def early(seconds_ago: float = 0, **facts: Any) -> EventFacts:
    return event(**{"version": None, "told_ago": seconds(seconds_ago), **facts})


def codes(decision: Decision) -> list[str]:
    """Each with a sentence for people."""
    assert all(reason.words.endswith(".") for reason in decision.reasons)
    return [reason.code for reason in decision.reasons]


def words(decision: Decision) -> str:
    return " ".join(reason.words for reason in decision.reasons)


def steps(drafts: tuple[TransitionDraft, ...]) -> list[tuple[str, str, str]]:
    return [(draft.from_status, draft.to_status, draft.decision) for draft in drafts]


def planned(decision: Decision) -> dict[str, Any]:
    """All of a plan but its words, and nothing of it that is empty."""
    assert isinstance(decision, Plan), decision
    assert all(draft.reason for draft in (*decision.transitions, *decision.confirmed))
    said = {
        "outcome": decision.outcome,
        "codes": codes(decision),
        "write": decision.write,
        "moves": steps(decision.transitions),
        "confirmed": steps(decision.confirmed),
        "seen": decision.crm_seen,
        "has": decision.crm_has,
        "woo_id": decision.woo_id,
    }
    return {name: value for name, value in said.items() if value not in (None, [])}


def to_status(status: str, was: str = "pending", named: str = "C-1") -> SetShopStatus:
    return SetShopStatus(woo_id=14, from_status=was, to_status=status, crm_order_id=named)


# --- shop → CRM ----------------------------------------------------------------------------------------------------


def sent(**changes: Any) -> Decision:
    return shop_to_crm(**{"link": None, "shop": shop(), **changes})


DOCUMENT = dict(shop().order)
TRASHED = {"id": 14, "status": "trash"}


@pytest.mark.parametrize(
    ("given", "plan"),
    [
        ({}, {"outcome": "created", "codes": ["create"], "write": CreateInCrm(external_id="14", order=DOCUMENT)}),
        (
            {"external_id": "b-14"},
            {"outcome": "created", "codes": ["create"], "write": CreateInCrm(external_id="b-14", order=DOCUMENT)},
        ),
        (
            {"found": crm()},
            {"outcome": "created", "codes": ["found"], "write": UpdateInCrm(crm_order_id="C-1", order=DOCUMENT)},
        ),
        (
            {"found": crm(), "create_tried": seconds(1)},
            {"outcome": "created", "codes": ["found"], "write": UpdateInCrm(crm_order_id="C-1", order=DOCUMENT)},
        ),
        (
            {"found": crm(content={"order_key": "wc_order_b"}), "shop": GONE},
            {"outcome": "created", "codes": ["found"], "write": UpdateInCrm(crm_order_id="C-1", order=TRASHED)},
        ),
        (
            {"link": LINK},
            {
                "outcome": "updated",
                "codes": ["content_changed"],
                "write": UpdateInCrm(crm_order_id="C-1", order=DOCUMENT),
            },
        ),
        (
            {"link": LINK, "shop": GONE},
            {
                "outcome": "updated",
                "codes": ["content_changed"],
                "write": UpdateInCrm(crm_order_id="C-1", order=TRASHED),
            },
        ),
    ],
)
def test_what_is_written_to_the_crm(given: dict[str, Any], plan: dict[str, Any]) -> None:
    assert planned(sent(**given)) == {**plan, "woo_id": 14}


@pytest.mark.parametrize(
    ("given", "plan"),
    [
        ({"shop": GONE}, {"outcome": "no_change", "codes": ["shop_404"]}),
        ({"shop": shop("trash")}, {"outcome": "no_change", "codes": ["not_an_order"]}),
        ({"shop": shop("checkout-draft")}, {"outcome": "no_change", "codes": ["not_an_order"]}),
        (
            {"rule": SendingRule(statuses=("processing",))},
            {"outcome": "filtered", "codes": ["filtered"]},
        ),
        (
            {"link": link(woo_fingerprint=shop().fingerprint)},
            {"outcome": "no_change", "codes": ["same_content"], "has": shop()},
        ),
        (
            {"link": link(woo_fingerprint=shop().fingerprint, written_by_us=True)},
            {"outcome": "echo", "codes": ["echo"], "has": shop()},
        ),
    ],
)
def test_what_the_crm_is_not_told(given: dict[str, Any], plan: dict[str, Any]) -> None:
    assert planned(sent(**given)) == plan


@pytest.mark.parametrize(
    ("tried", "lag", "wait"), [(0, 10, 10), (9.5, 10, 0.5), (10, 10, None), (11, 10, None), (30, 60, 30)]
)
def test_a_creation_in_doubt_gets_as_long_as_the_crms_list_lags(tried: float, lag: float, wait: float | None) -> None:
    decision = sent(create_tried=seconds(tried), list_lag=seconds(lag))
    if wait is None:
        assert isinstance(decision, Plan)
    else:
        assert isinstance(decision, ReadAgain)
        assert (decision.after, codes(decision)) == (seconds(wait), ["create_in_doubt"])


def test_by_default_the_crms_list_may_lag_ten_seconds() -> None:
    assert isinstance(sent(create_tried=seconds(9.9)), ReadAgain)
    assert isinstance(sent(create_tried=seconds(10)), Plan)


# --- whose order it is ---------------------------------------------------------------------------------------------


def moved(**changes: Any) -> Decision:
    situation = {"event": event(), "link": LINK, "crm": crm(), "shop": shop(), "lifecycle": LIFECYCLE}
    return crm_to_shop(**{**situation, **changes})


def by_force(**changes: Any) -> Decision:
    situation = {"shop": shop(), "woo_id": 14, "to_status": "completed", "words": "Ada: by phone.", "link": LINK}
    return forced(**{**situation, "lifecycle": LIFECYCLE, **changes})


@pytest.mark.parametrize(
    ("decide", "given", "code", "named"),
    [
        (sent, {"link": LINK, "shop": ANOTHER}, "reused_number", ["14", "C-1"]),
        (moved, {"shop": ANOTHER}, "reused_number", ["14", "C-1"]),
        (by_force, {"shop": ANOTHER}, "reused_number", ["14", "C-1"]),
        (moved, {"crm": crm(external_id="15")}, "reused_id", ["C-1", "14", "'15'"]),
        (moved, {"crm": crm(external_id="15"), "shop": ANOTHER}, "reused_id", []),
        (sent, {"found": crm(content={"order_key": "wc_order_b"})}, "found_another", ["C-1", "'14'"]),
        (sent, {"found": crm(total=Decimal("87.90"))}, "found_another", ["C-1", "'14'"]),
        (moved, {"link": None, "crm": crm(content={"order_key": "wc_order_b"})}, "found_another", ["C-1", "'14'"]),
    ],
)
def test_what_may_be_another_order_is_for_a_person(
    decide: Callable[..., Decision], given: dict[str, Any], code: str, named: list[str]
) -> None:
    decision = decide(**given)
    assert isinstance(decision, Park)
    assert codes(decision) == [code]
    assert all(name in words(decision) for name in [DOUBTS[code], *named])


def test_a_copy_of_a_shop_of_the_back_office_is_put_right_on_its_page() -> None:
    said = words(another_shop("https://b.example", "https://a.example", "shop-b"))
    assert "the address of shop-b is https://a.example" in said and "WOO_" not in said


def test_a_delivery_of_another_shop_is_for_a_person_and_names_both() -> None:
    park = another_shop("https://b.example", "https://a.example")
    assert codes(park) == ["another_shop"]
    assert "names https://b.example, and WOO_URL is https://a.example." in words(park)


@pytest.mark.parametrize(
    ("decide", "given"),
    [
        (sent, {"link": LINK, "shop": replace(ANOTHER, is_known=False)}),
        (sent, {"link": LINK, "shop": replace(ANOTHER, status="auto-draft")}),
        (sent, {"found": crm(content={"order_key": "wc_order_a"})}),
        (sent, {"found": crm(content={"order_key": "wc_order_a"}, total=Decimal("87.90"))}),
        (sent, {"found": crm(total=Decimal("87.910"))}),
        (sent, {"found": crm(total=Decimal("87.90")), "create_tried": timedelta(seconds=1)}),
        (moved, {"crm": crm(external_id="b-14"), "link": link(external_id="b-14")}),
        (moved, {"crm": crm(external_id="b-14"), "link": link(external_id="14", prefix="b-")}),
        (moved, {"crm": crm(external_id="x"), "link": None, "shop": shop()}),
        (moved, {"link": None, "crm": crm(content={"order_key": "wc_order_a"})}),
    ],
)
def test_what_is_not_shown_to_be_another_order_is_this_one(
    decide: Callable[..., Decision], given: dict[str, Any]
) -> None:
    assert isinstance(decide(**given), Plan)


# --- CRM → shop ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("known", [LINK, link(woo_fingerprint=shop().fingerprint), None])
def test_a_move_is_written_logged_and_remembered(known: LinkFacts | None) -> None:
    """That the CRM has this content is remembered only where it was told of it."""
    told = known is not None and known.woo_fingerprint == shop().fingerprint
    assert planned(moved(link=known)) == {
        "outcome": "applied",
        "codes": ["crm_moved", "move_allowed"],
        "write": to_status("processing"),
        "moves": [("pending", "processing", "applied")],
        "seen": crm(),
        "woo_id": 14,
    } | ({"has": shop()} if told else {})


@pytest.mark.parametrize(
    ("known", "read", "named"),
    [
        (LINK, crm(), ["version 2;", "new)"]),
        (link(crm_status=""), crm(), ["version 2;", "not seen before)"]),
        (None, crm(version=None), [str(NOW + seconds(2)), "not seen before)"]),
    ],
)
def test_the_log_names_what_was_compared_and_the_steps(
    known: LinkFacts | None, read: CrmSnapshot, named: list[str]
) -> None:
    plan = moved(link=known, crm=read)
    assert isinstance(plan, Plan)
    [draft] = plan.transitions
    assert draft.reason == words(plan)
    for name in [*named, "'paid'", "'processing'", "pending → processing"]:
        assert name in draft.reason


def test_a_move_that_no_chain_allows_is_refused_and_logged() -> None:
    plan = moved(shop=shop("completed"))
    assert planned(plan) == {
        "outcome": "refused",
        "codes": ["crm_moved", "move_refused"],
        "moves": [("completed", "processing", "refused")],
        "seen": crm(),
        "woo_id": 14,
    }
    assert isinstance(plan, Plan)
    assert plan.transitions[0].reason == words(plan)
    assert "completed → processing" in words(plan)


def test_a_refused_move_also_logs_the_write_that_nobody_recorded() -> None:
    plan = planned(moved(crm=crm("new"), link=link(crm_status="paid"), shop=shop("processing"), pending=PENDING))
    assert (plan["outcome"], plan["confirmed"]) == ("refused", [("pending", "processing", "applied")])


def test_a_move_also_logs_the_write_that_nobody_recorded() -> None:
    plan = planned(moved(crm=crm("shipped"), shop=shop("processing"), pending=PENDING))
    assert (plan["write"], plan["confirmed"]) == (
        to_status("completed", "processing"),
        [("pending", "processing", "applied")],
    )


@pytest.mark.parametrize(
    ("given", "plan"),
    [
        (
            {"link": link(crm_status="paid")},
            {"outcome": "no_change", "codes": ["same_status"], "seen": crm()},
        ),
        (
            {"shop": shop("processing")},
            {"outcome": "no_change", "codes": ["crm_moved", "already_there"], "seen": crm(), "woo_id": 14},
        ),
        (
            {"shop": None, "link": link(woo_status="trash")},
            {"outcome": "no_change", "codes": ["deleted"], "seen": crm(), "woo_id": 14},
        ),
        (
            {"link": None, "crm": crm("new"), "shop": shop("on-hold")},
            {"outcome": "no_change", "codes": ["crm_moved", "begins_there"], "seen": crm("new"), "woo_id": 14},
        ),
        (
            {"event": event(resync=True), "crm": crm("new"), "shop": shop("processing")},
            {"outcome": "no_change", "codes": ["shop_ahead"], "seen": crm("new")},
        ),
        ({"link": link(crm_status="paid", crm_version=2)}, {"outcome": "no_change", "codes": ["same_version"]}),
        ({"link": link(crm_version=3)}, {"outcome": "stale", "codes": ["older_than_known"]}),
        (
            {"link": link(crm_version=3), "event": event(resync=True)},
            {"outcome": "stale", "codes": ["older_than_known"]},
        ),
        ({"link": None, "shop": None}, {"outcome": "not_ours", "codes": ["no_such_order"]}),
    ],
)
def test_where_nothing_is_written(given: dict[str, Any], plan: dict[str, Any]) -> None:
    assert planned(moved(**given)) == plan


@pytest.mark.parametrize(
    ("given", "code", "named"),
    [
        ({"crm": None, "event": event(waited=seconds(60))}, "unknown_order", ["404"]),
        ({"crm": None, "event": event(resync=True)}, "unknown_order", ["404"]),
        ({"link": None, "linked_elsewhere": "C-9"}, "linked_elsewhere", ["C-9", "C-1", "14"]),
        ({"link": None, "linked_elsewhere": "C-9", "shop": None}, "linked_elsewhere", ["C-9"]),
        ({"crm": crm("qualified")}, "unmapped", ["'qualified'"]),
        ({"shop": None}, "gone_from_shop", ["order 14"]),
        ({"shop": None, "link": link(woo_status="processing")}, "gone_from_shop", ["order 14"]),
        ({"shop": None, "crm": crm(external_id="b-14"), "link": link(prefix="b-")}, "gone_from_shop", ["order 14"]),
    ],
)
def test_where_a_person_is_needed(given: dict[str, Any], code: str, named: list[str]) -> None:
    decision = moved(**given)
    assert isinstance(decision, Park)
    assert codes(decision) == [code]
    assert all(name in words(decision) for name in named)


@pytest.mark.parametrize(
    ("given", "after", "code"),
    [
        ({"crm": None}, 0.5, "crm_404"),
        ({"crm": None, "event": event(waited=seconds(59))}, 15, "crm_404"),
        ({"crm": None, "link": None, "event": event(resync=True)}, 0.5, "crm_404"),
        ({"event": event(version=3, waited=seconds(8))}, 4, "crm_lags"),
        ({"event": event(version=3, resync=True, waited=seconds(59))}, 15, "crm_lags"),
        # a CRM that tells of a change beforehand: by time, or else for three seconds
        ({"event": early(2.9, waited=seconds(300))}, 1.45, "crm_lags"),
        ({"event": early(occurred_at=NOW), "crm": crm(version=None, at=None)}, 0.5, "crm_lags"),
        ({"event": early(8, occurred_at=NOW + seconds(3), waited=seconds(90))}, 4, "crm_lags"),
        ({"event": early(resync=True)}, 0.5, "crm_lags"),  # staff ask for a comparison at that moment
        ({"pending": replace(PENDING, may_come=seconds(30))}, 5, "write_in_doubt"),
        ({"pending": replace(PENDING, may_come=seconds(3))}, 3, "write_in_doubt"),
    ],
)
def test_where_a_side_gets_time(given: dict[str, Any], after: float, code: str) -> None:
    decision = moved(**given)
    assert isinstance(decision, ReadAgain)
    assert (decision.after, codes(decision)) == (seconds(after), [code])


@pytest.mark.parametrize(
    "ahead",
    [
        event(version=3, waited=seconds(60)),
        event(version=None),
        event(version=2),
        early(3),
        early(occurred_at=NOW + seconds(2)),
        early(60, occurred_at=NOW + seconds(3)),
        early(3, resync=True),
    ],
)
def test_where_the_crm_is_believed(ahead: EventFacts) -> None:
    assert planned(moved(event=ahead))["write"] == to_status("processing")


def test_a_crm_without_versions_does_not_lag() -> None:
    assert planned(moved(event=event(version=9), crm=crm(version=None)))["write"] == to_status("processing")


# --- what is news --------------------------------------------------------------------------------------------------

AHEAD, SAME, BEHIND = 9, 5, 1


@pytest.mark.parametrize(
    ("known", "read", "outcome"),
    [
        # versions decide, whatever the times say
        ((SAME, 5, "new"), (AHEAD, 1, "paid"), "applied"),
        ((SAME, 5, "new"), (SAME, 9, "paid"), "applied"),  # the same version with another status
        ((SAME, 5, "paid"), (SAME, 9, "paid"), "no_change"),
        ((SAME, 5, "new"), (BEHIND, 9, "paid"), "stale"),
        # a version on one side only: times decide
        ((None, 5, "new"), (BEHIND, 9, "paid"), "applied"),
        ((SAME, 5, "new"), (None, 9, "paid"), "applied"),
        ((SAME, 5, "new"), (None, 5, "paid"), "applied"),
        ((SAME, 5, "paid"), (None, 5, "paid"), "no_change"),
        ((SAME, 5, "new"), (None, 1, "paid"), "stale"),
        # neither: the status
        ((None, None, "new"), (None, None, "paid"), "applied"),
        ((None, None, "paid"), (None, None, "paid"), "no_change"),
        ((SAME, None, "new"), (None, 5, "paid"), "applied"),
        ((None, 5, "new"), (AHEAD, None, "paid"), "applied"),
        # no status is known: whatever is not older
        ((SAME, 5, ""), (SAME, 5, "paid"), "applied"),
        ((SAME, 5, ""), (BEHIND, 5, "paid"), "stale"),
        ((None, 5, ""), (None, 5, "paid"), "applied"),
        ((None, 5, ""), (None, 1, "paid"), "stale"),
        ((None, None, ""), (AHEAD, 9, "paid"), "applied"),
    ],
)
@pytest.mark.parametrize("resync", [False, True])
def test_what_is_news(known: tuple[Any, ...], read: tuple[Any, ...], outcome: str, resync: bool) -> None:
    """Also where somebody asks to compare: but for what is older than we know, that is a move if the shop lags."""
    version, at, status = known
    before = link(crm_version=version, crm_updated_at=at and NOW + seconds(at), crm_status=status)
    version, at, status = read
    decision = moved(event=event(version=None, resync=resync), link=before, crm=crm(status, version, at))
    assert planned(decision)["outcome"] == ("applied" if resync and outcome == "no_change" else outcome)


@pytest.mark.parametrize(
    ("about", "code"),
    [
        ({"version": 1}, "older_than_known"),
        ({"version": 5}, "same_version"),
        ({"version": None, "occurred_at": NOW - seconds(1)}, "older_than_known"),
        ({"version": None, "occurred_at": NOW}, "same_version"),
        ({"version": None}, "same_version"),
        ({"version": 5, "occurred_at": NOW - seconds(1)}, "same_version"),
    ],
)
def test_an_event_that_is_older_than_what_is_known_is_stale_though_the_crm_is_not(
    about: dict[str, Any], code: str
) -> None:
    decision = moved(event=EventFacts(**about), link=link(crm_version=5, crm_status="paid"), crm=crm("paid", 5, at=0))
    assert codes(decision) == [code]


@pytest.mark.parametrize(("version", "named"), [(5, "version 5"), (None, str(NOW))])
def test_what_is_stale_is_told_with_the_version_or_else_the_time_that_is_known(version: int | None, named: str) -> None:
    decision = moved(event=EventFacts(), link=link(crm_version=version), crm=crm("paid", 1, at=-1))
    assert named in words(decision)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"link": link(crm_status="paid")}, ["Version 2", "'paid'"]),
        ({"link": link(crm_status="paid"), "crm": crm(version=None)}, [str(NOW + seconds(2))]),
        ({"link": link(crm_status="paid", crm_version=2)}, ["Version 2"]),
        ({"event": event(version=3)}, ["version 3", "CRM version 2"]),
        ({"event": early(version=3), "crm": crm(version=None)}, ["before it has stored it", "'paid'"]),
        ({"shop": shop("processing")}, ["shows 'processing'"]),
        ({"link": None, "shop": None}, ["'14'"]),
        (
            {"event": event(resync=True), "crm": crm("new"), "shop": shop("processing")},
            ["'processing'", "'new'", "'pending'"],
        ),
        ({"pending": replace(PENDING, may_come=seconds(3))}, ["'processing'"]),
    ],
)
def test_the_reasons_name_what_was_seen(given: dict[str, Any], named: list[str]) -> None:
    said = words(moved(**given))
    assert all(name in said for name in named), said


LATER = NOW + seconds(3600)


@pytest.mark.parametrize(
    ("asked", "given"),
    [(False, {}), (True, {"shop": shop("on-hold")}), (False, {"pending": PENDING, "shop": shop("processing")})],
)
def test_a_clock_that_was_put_back_is_told_and_its_time_forgotten(asked: bool, given: dict[str, Any]) -> None:
    situation = {"crm": crm(version=None), "event": event(version=None, resync=asked, crm_now=NOW), **given}
    decision = moved(**situation, link=link(crm_version=None, crm_updated_at=LATER))
    assert codes(decision)[0] == "clock_put_back" and str(LATER) in decision.reasons[0].words
    as_new = moved(**situation, link=link(crm_version=None, crm_updated_at=None))
    assert replace(decision, reasons=decision.reasons[1:]) == as_new


def test_what_a_restored_crm_shows_counts_after_a_minute_if_somebody_asks() -> None:
    def asked(waited: float) -> Decision:
        known = link(crm_version=None, crm_updated_at=LATER)
        return moved(event=event(version=None, resync=True, waited=seconds(waited)), crm=crm(version=None), link=known)

    again = asked(8)
    assert isinstance(again, ReadAgain) and (again.after, codes(again)) == (seconds(4), ["older_than_known"])
    assert "'paid'" in words(again) and str(NOW + seconds(2)) in words(again)
    assert isinstance(asked(59.9), ReadAgain)
    assert planned(asked(60))["write"] == to_status("processing")


@pytest.mark.parametrize(
    ("known", "read"), [({"crm_version": None}, 2), ({"crm_version": 1}, None), ({"crm_status": "paid"}, None)]
)
def test_what_is_older_never_counts_where_there_are_versions_or_the_status_is_known(
    known: dict[str, Any], read: int | None
) -> None:
    given = {"crm_version": None, "crm_updated_at": LATER, **known}
    compared = event(version=None, resync=True, waited=seconds(60))
    assert planned(moved(event=compared, crm=crm(version=read), link=link(**given)))["outcome"] == "stale"


@pytest.mark.parametrize(
    ("changed", "ahead"),
    [
        ({}, True),
        ({"crm": crm("paid"), "shop": shop("completed"), "link": link(crm_status="on_hold")}, False),  # the CRM moved
        ({"crm": crm("paid", 2), "shop": shop("completed"), "link": link(crm_status="paid")}, True),
        ({"crm": crm("paid", 2), "shop": shop("on-hold"), "link": link(crm_status="paid")}, False),  # it is behind
        ({"crm": crm("qualified"), "link": link(crm_status="qualified")}, False),
        ({"shop": None}, False),
    ],
)
def test_of_a_shop_that_is_ahead_the_comparison_asks_nothing(changed: dict[str, Any], ahead: bool) -> None:
    situation = {"event": event(resync=True), "crm": crm("new"), "shop": shop("processing"), **changed}
    assert (codes(moved(**situation)) == ["shop_ahead"]) is ahead


@pytest.mark.parametrize(
    ("known", "compared"),
    [
        (None, False),
        (link(crm_status="", crm_version=None, crm_updated_at=None), False),
        (link(crm_status="", crm_version=1, crm_updated_at=None), True),
        (link(crm_status="", crm_version=None), True),
        (link(crm_status="on_hold", crm_version=None, crm_updated_at=None), True),
    ],
)
def test_only_a_pair_that_was_never_compared_may_stand_where_orders_begin(
    known: LinkFacts | None, compared: bool
) -> None:
    plan = planned(moved(link=known, crm=crm("new"), shop=shop("failed")))
    assert plan.get("write") == (to_status("pending", "failed") if compared else None)
    assert planned(moved(link=known, crm=crm("paid"), shop=shop("failed")))["write"]


def test_the_shop_is_told_the_crms_id_unless_it_shows_it() -> None:
    told = shop(meta_data=[{"key": CRM_ORDER_META, "value": "C-1"}])
    assert planned(moved(shop=told))["write"] == to_status("processing", named="")
    assert planned(by_force(shop=told))["write"] == to_status("completed", named="")
    assert planned(by_force(link=None))["write"] == to_status("completed", named="")


# --- what an attempt wrote and did not record ----------------------------------------------------------------------

FOUND = [("pending", "processing", "applied")]


@pytest.mark.parametrize(
    ("stands", "pending", "confirmed"),
    [
        ("processing", PENDING, FOUND),
        ("completed", PENDING, FOUND),  # a plugin went on from there
        ("pending", PENDING, []),  # it did not come through
        ("cancelled", replace(PENDING, to_status="refunded"), []),  # somebody else's move
        ("processing", replace(PENDING, from_status="processing"), []),
        ("processing", None, []),
    ],
)
def test_a_write_counts_where_the_shop_shows_it_or_went_on_from_it(
    stands: str, pending: PendingWrite | None, confirmed: list[tuple[str, str, str]]
) -> None:
    assert planned(moved(shop=shop(stands), pending=pending)).get("confirmed", []) == confirmed


@pytest.mark.parametrize("stands", ["processing", "completed"])
@pytest.mark.parametrize("resync", [False, True])
def test_what_the_crm_says_and_an_attempt_wrote_is_not_written_again(stands: str, resync: bool) -> None:
    plan = moved(event=event(resync=resync), shop=shop(stands), pending=PENDING)
    assert planned(plan) == {
        "outcome": "applied",
        "codes": ["crm_moved", "confirmed"],
        "confirmed": FOUND,
        "seen": crm(),
        "woo_id": 14,
    }
    assert f"shows {stands!r}" in words(plan)
    assert ("changed 'processing' by itself" in words(plan)) is (stands == "completed")


@pytest.mark.parametrize(
    ("stands", "may_come", "waits"),
    [
        ("pending", 5, True),
        ("pending", 0.001, True),
        ("pending", 0, False),
        ("pending", -1, False),
        ("failed", 5, False),
    ],
)
def test_a_slow_shop_gets_time_only_while_it_may_still_be_at_it(stands: str, may_come: float, waits: bool) -> None:
    slow = replace(PENDING, may_come=seconds(may_come))
    for decision in (moved(shop=shop(stands), pending=slow), by_force(shop=shop(stands), pending=slow)):
        assert isinstance(decision, ReadAgain) is waits


# --- by force ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("told", [True, False])
@pytest.mark.parametrize("stands", ["pending", "refunded"])
def test_a_person_may_move_an_order_anywhere(stands: str, told: bool) -> None:
    known = link(woo_fingerprint=shop(stands).fingerprint) if told else LINK
    plan = by_force(shop=shop(stands), link=known)
    assert planned(plan) == {
        "outcome": "applied",
        "codes": ["forced"],
        "write": to_status("completed", stands),
        "moves": [(stands, "completed", "forced")],
        "woo_id": 14,
    } | ({"has": shop(stands)} if told else {})
    assert isinstance(plan, Plan)
    assert (plan.transitions[0].reason, words(plan)) == ("Ada: by phone.", "Ada: by phone.")


def test_an_order_that_is_gone_can_not_be_moved_by_force() -> None:
    decision = by_force(shop=None)
    assert isinstance(decision, Park)
    assert (codes(decision), "order 14" in words(decision)) == (["gone_from_shop"], True)


def test_force_writes_nothing_where_the_order_stands_there() -> None:
    plan = by_force(shop=shop("completed"))
    assert planned(plan) == {"outcome": "no_change", "codes": ["forced", "already_there"], "woo_id": 14}
    assert "shows 'completed'" in words(plan)


@pytest.mark.parametrize(
    ("stands", "pending", "plan"),
    [
        ("completed", ("pending", "completed"), ([("pending", "completed", "forced")], None, "confirmed")),
        ("refunded", ("pending", "completed"), ([("pending", "completed", "forced")], None, "confirmed")),
        # what the worker wrote before is logged as the worker's, and the order is moved on
        ("processing", ("pending", "processing"), ([("pending", "processing", "applied")], "completed", None)),
        ("completed", ("pending", "processing"), ([("pending", "processing", "applied")], None, "confirmed")),
        ("pending", ("pending", "completed"), ([], "completed", None)),
    ],
)
def test_what_was_forced_before_is_found_and_not_written_again(
    stands: str, pending: tuple[str, str], plan: tuple[list[Any], str | None, str | None]
) -> None:
    confirmed, written, code = plan
    decision = by_force(shop=shop(stands), pending=PendingWrite(from_status=pending[0], to_status=pending[1]))
    expected: dict[str, Any] = {"outcome": "applied", "woo_id": 14, "confirmed": confirmed} if confirmed else {}
    expected |= {"codes": ["forced", *([code] if code else [])], "outcome": "applied", "woo_id": 14}
    if written:
        expected |= {"write": to_status(written, stands), "moves": [(stands, written, "forced")]}
    assert planned(decision) == expected
    if code and stands == "refunded":
        assert "changed 'completed' by itself" in words(decision)


def test_force_waits_for_nobody_but_the_shop() -> None:
    decision = by_force(pending=PendingWrite(from_status="pending", to_status="failed", may_come=seconds(2)))
    assert isinstance(decision, ReadAgain)
    assert (decision.after, codes(decision)) == (seconds(2), ["write_in_doubt"])
