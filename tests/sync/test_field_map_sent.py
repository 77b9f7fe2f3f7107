"""What is mapped goes to the CRM with the order and counts as content; a new map alone sends nothing."""

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from orders.models import OrderLink
from sync.clients.mapping.field_map import as_text, field_map
from sync.clients.snapshots import AS_IT_IS, Composer
from sync.jobs import backfill, drift, engine, reconciliation
from sync.models import Attempt, DriftFinding
from tests import pipeline
from tests.factories import WebhookEventFactory
from tests.sync.conftest import TwoSides
from webhooks.connections import DEFAULT_BRIDGE, Bridge

GIFT = {"target": "x_gift", "paths": ["meta.gift"]}
NUMBER = {"target": "x_number", "paths": ["number"]}
ORDER = {"id": 1, "status": "pending", "number": "1", "meta_data": [{"id": 1, "key": "gift", "value": "no"}]}


def mapped(version: int, *rows: dict[str, Any], composer: Composer = AS_IT_IS) -> Composer:
    return replace(composer, mapped=field_map(as_text(version, rows)))


@pytest.fixture(autouse=True)
def unmapped(db: None) -> Iterator[None]:
    yield
    use()


def use(version: int = 0, *rows: dict[str, Any]) -> None:
    Bridge.objects.filter(pk=DEFAULT_BRIDGE).update(field_map=as_text(version, rows))


def settle() -> None:
    while pipeline.work_once():
        pass


def deliver(woo_id: int) -> str:
    event = WebhookEventFactory(order_ref=str(woo_id))
    settle()
    event.refresh_from_db()
    return event.outcome


def gift(two_sides: TwoSides, woo_id: int, value: str) -> None:
    two_sides.shop.orders[woo_id]["meta_data"] = [{"id": 1, "key": "gift", "value": value}]


def told(two_sides: TwoSides, woo_id: int) -> Any:
    [there] = two_sides.crm.by_external(woo_id)
    return there["order"].get("fields")


# --- fingerprints --------------------------------------------------------------------------------------------------


def test_without_a_map_fingerprints_are_what_they_were() -> None:
    plain = AS_IT_IS.fingerprint(ORDER)
    assert re.fullmatch("2:[0-9a-f]{62}", plain)
    assert mapped(1, GIFT).fingerprint(ORDER) != plain and len(mapped(9999, GIFT).fingerprint(ORDER)) <= 64
    assert "fields" not in AS_IT_IS.document(ORDER)


@pytest.mark.parametrize(
    ("before", "now", "order", "known", "unchanged"),
    [
        ((1, GIFT), (1, GIFT), ORDER, True, True),
        ((1, GIFT), (2, GIFT), ORDER, True, True),
        ((1, GIFT), (2, GIFT, {"target": "y", "paths": ["meta.none"]}), ORDER, True, True),
        ((1, GIFT), (2, GIFT, NUMBER), ORDER, False, True),
        ((1, GIFT), (1, GIFT), {**ORDER, "meta_data": []}, False, False),
        ((1, GIFT), (2, NUMBER), {**ORDER, "status": "on-hold"}, False, False),
        ((0,), (1, GIFT), ORDER, False, True),
        ((0,), (1, {"target": "y", "paths": ["meta.none"]}), ORDER, True, True),
        ((1, GIFT), (0,), ORDER, False, True),
        ((0,), (0,), {**ORDER, "status": "on-hold"}, False, False),
    ],
    ids=str,
)
def test_whether_an_order_is_what_the_crm_was_told(
    before: tuple[Any, ...], now: tuple[Any, ...], order: dict[str, Any], known: bool, unchanged: bool
) -> None:
    fingerprint = mapped(before[0], *before[1:]).fingerprint(ORDER)
    assert mapped(now[0], *now[1:]).is_known_as(order, fingerprint) is known
    assert mapped(now[0], *now[1:]).is_unchanged_since(order, fingerprint) is unchanged


def test_a_new_composer_keeps_what_is_known_of_mapped_fields() -> None:
    newer = Composer(version="3", compose=lambda order: {"is": order["id"]}, earlier={"2": AS_IT_IS.compose})
    for before in ((0,), (1, GIFT)):
        known = mapped(before[0], *before[1:]).fingerprint(ORDER)
        now = mapped(2, NUMBER, composer=newer)
        assert now.is_unchanged_since(ORDER, known) and not now.is_known_as(ORDER, known)
        assert now.renewed(ORDER, known) == mapped(before[0], *before[1:], composer=newer).fingerprint(ORDER)


# --- the pipeline --------------------------------------------------------------------------------------------------


def test_mapped_fields_are_sent_and_their_changes_too(two_sides: TwoSides) -> None:
    use(1, GIFT)
    woo_id = two_sides.shop.create_order(meta_data=[{"id": 1, "key": "gift", "value": "no"}])["id"]
    assert deliver(woo_id) == "created" and told(two_sides, woo_id) == {"x_gift": "no"}
    assert deliver(woo_id) == "no_change"
    gift(two_sides, woo_id, "yes")
    assert deliver(woo_id) == "updated" and told(two_sides, woo_id) == {"x_gift": "yes"}


def test_a_new_map_alone_sends_nothing_and_the_next_change_sends_it(two_sides: TwoSides) -> None:
    ids = two_sides.orders(3)
    for woo_id in ids:
        deliver(woo_id)
    use(1, NUMBER)
    two_sides.forget_calls()
    run = reconciliation.start(deep=True, actor="anna")
    assert engine.carry_out(run), run.error
    settle()
    assert engine.carry_out(drift.start(actor="anna"))
    assert two_sides.writes() == {} and not DriftFinding.objects.filter(kind="content").exists()
    two_sides.shop.orders[ids[0]]["customer_note"] = "please ring"
    assert deliver(ids[0]) == "updated" and told(two_sides, ids[0]) == {"x_number": str(ids[0])}
    assert [told(two_sides, woo_id) for woo_id in ids[1:]] == [None, None]


def test_a_change_of_a_newly_mapped_field_alone_is_sent(two_sides: TwoSides) -> None:
    """Of an order that the CRM was told of before there was the map."""
    woo_id = two_sides.shop.create_order()["id"]
    deliver(woo_id)
    use(1, GIFT)
    gift(two_sides, woo_id, "yes")
    assert deliver(woo_id) == "updated" and told(two_sides, woo_id) == {"x_gift": "yes"}


def test_a_backfill_sends_what_a_new_map_makes_of_old_orders_and_nothing_twice(two_sides: TwoSides) -> None:
    ids = two_sides.orders(3)
    for woo_id in ids:
        deliver(woo_id)
    use(1, NUMBER)
    for updated in (3, 0):
        run = backfill.start(actor="anna")
        assert engine.carry_out(run), run.error
        assert run.counts["updated"] == updated
    assert [told(two_sides, woo_id) for woo_id in ids] == [{"x_number": str(woo_id)} for woo_id in ids]


def test_a_write_to_the_shop_does_not_hide_that_the_crm_lacks_a_field(two_sides: TwoSides) -> None:
    woo_id = two_sides.shop.create_order()["id"]
    deliver(woo_id)
    use(1, NUMBER)
    crm_id = OrderLink.objects.get().crm_order_id
    two_sides.crm.set_status(crm_id, "paid", notify=False)
    WebhookEventFactory(side="crm", source="crm", topic="order.status_changed", order_ref=crm_id)
    settle()
    assert two_sides.shop.orders[woo_id]["status"] == "processing"
    deliver(woo_id)  # of our own write
    assert told(two_sides, woo_id) == {"x_number": str(woo_id)}


def test_a_field_that_is_left_out_is_a_reason_of_the_event(two_sides: TwoSides) -> None:
    use(1, {"target": "x_bad", "paths": ["billing"]}, NUMBER)
    woo_id = two_sides.shop.create_order()["id"]
    assert deliver(woo_id) == "created" and told(two_sides, woo_id) == {"x_number": str(woo_id)}
    [attempt] = Attempt.objects.all()
    assert any("The CRM's field x_bad was left out" in words for _, words in attempt.reasons)


def test_a_map_costs_no_query(two_sides: TwoSides) -> None:
    """Nor does a second order of it."""

    def queries(rows: int) -> int:
        use(rows, *({"target": f"x{n}", "paths": ["number"]} for n in range(rows)))
        woo_id = two_sides.shop.create_order()["id"]
        WebhookEventFactory(order_ref=str(woo_id))
        with CaptureQueriesContext(connection) as seen:
            assert pipeline.work_once()
        return len(seen)

    queries(0)  # the first of a process asks more
    assert queries(20) == queries(0)
