"""What is sent is what counts: each field that the CRM is told reaches it when it changes, and no other does."""

import hashlib
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import patch

import pytest

from orders.models import OrderLink
from sync.clients.snapshots import AS_IT_IS, TRASH, ShopSnapshot, document
from sync.jobs import backfill, drift, engine, reconciliation
from sync.models import DriftFinding
from sync.sandbox.orders import dated
from tests import pipeline
from tests.factories import WebhookEventFactory
from tests.sync.conftest import NEW_YEAR, TwoSides
from webhooks.models import WebhookEvent

fingerprint = AS_IT_IS.fingerprint

NOW = datetime.now(UTC).replace(microsecond=0)
META = [{"id": 1, "key": "gift", "value": "no"}, {"id": 2, "key": "_vat_number", "value": "DE1"}]
Path = Callable[[TwoSides], None]


@pytest.fixture(autouse=True)
def no_wake() -> Iterator[None]:
    with patch("sync.jobs.halves.wake"):
        yield


def settle() -> None:
    while pipeline.work_once():
        pass
    assert not WebhookEvent.objects.unfinished().exists()


def by_events(sides: TwoSides) -> None:
    for woo_id in sides.shop.orders:
        WebhookEventFactory(order_ref=str(woo_id), next_attempt_at=NOW)
    settle()


def by_backfill(sides: TwoSides) -> None:
    run = backfill.start(actor="anna")
    assert engine.carry_out(run), run.error


def by_sweep(sides: TwoSides) -> None:
    for order in sides.shop.orders.values():
        order.update(dated("date_modified", datetime.now(UTC) + timedelta(seconds=1)))
    reconcile(sides)


def by_deep_sweep(sides: TwoSides) -> None:
    reconcile(sides, deep=True)


def reconcile(sides: TwoSides, *, deep: bool = False) -> None:
    run = reconciliation.start(deep=deep)
    assert engine.carry_out(run) and not run.error, run.error
    settle()


PATHS = {"event": by_events, "backfill": by_backfill, "sweep": by_sweep, "deep sweep": by_deep_sweep}
ways = pytest.mark.parametrize("way", PATHS.values(), ids=PATHS)


def another(value: Any) -> Any:
    """Of the same kind."""
    match value:
        case bool():
            return not value
        case int():
            return value + 1
        case str():
            return f"{value}1"
        case dict():
            return {**value, "more": "1"}
        case list():
            return [*value, {"id": 7, "key": "more", "name": "more", "value": "1"}]
    return "2026-01-02T03:04:05"


def told(sides: TwoSides, woo_id: int) -> dict[str, Any]:
    [order] = sides.crm.by_external(woo_id)
    return dict(order["order"])


def one_order_for_each(sides: TwoSides, names: list[str]) -> dict[int, str]:
    """Linked, and old, so that no look at what was modified lately comes upon them."""
    orders = dict(enumerate(names, start=1))
    for woo_id in orders:
        sides.order(woo_id, NEW_YEAR, meta_data=META)
    by_backfill(sides)
    sides.forget_calls()
    return orders


def names_of_fields(sides: TwoSides) -> tuple[list[str], list[str]]:
    """Those that a creation tells, and those that it does not."""
    order = sides.order(999, NEW_YEAR, meta_data=META)
    by_backfill(sides)
    sent = told(sides, 999)
    assert sent == {name: order[name] for name in sent}
    del sides.shop.orders[999]
    OrderLink.objects.filter(woo_id=999).delete()
    # The key and the time of its creation make an order another one: that is for a person (tests/sync/test_whose.py).
    makes_another = ("id", "order_key", "date_created_gmt")
    return [name for name in sent if name not in makes_another], [name for name in order if name not in sent]


@ways
def test_each_field_that_is_told_reaches_the_crm_when_it_changes(two_sides: TwoSides, way: Path) -> None:
    sent, _ = names_of_fields(two_sides)
    orders = one_order_for_each(two_sides, sent)
    for woo_id, name in orders.items():
        order = two_sides.shop.orders[woo_id]
        order[name] = "on-hold" if name == "status" else another(order[name])
    way(two_sides)
    for woo_id, name in orders.items():
        assert (name, told(two_sides, woo_id)[name]) == (name, two_sides.shop.orders[woo_id][name])
    assert two_sides.writes() == {"crm PATCH": len(orders)}
    way(two_sides)
    assert two_sides.writes() == {"crm PATCH": len(orders)}, "once"


@ways
def test_no_other_field_causes_a_call(two_sides: TwoSides, way: Path) -> None:
    _, others = names_of_fields(two_sides)
    assert {"date_modified", "date_modified_gmt", "version", "_links", "needs_payment", "is_editable"} <= {*others}
    dates = ("date_modified", "date_modified_gmt")
    orders = one_order_for_each(two_sides, [name for name in others if name not in dates])
    for woo_id, name in orders.items():
        order = two_sides.shop.orders[woo_id]
        order[name] = another(order[name])
        order.update(dated("date_modified", NOW + timedelta(seconds=1)))
    way(two_sides)
    assert not two_sides.writes()


@ways
@pytest.mark.parametrize(
    "meta",
    [
        [META[0] | {"value": "yes"}, META[1]],
        [META[0], META[1] | {"value": {"number": "DE2"}}],
        [*META, {"id": 3, "key": "delivery_date", "value": "2026-12-24"}],
        META[:1],
        [],
    ],
    ids=["changed", "a private one", "added", "removed", "none"],
)
def test_meta_data_is_told(two_sides: TwoSides, way: Path, meta: list[dict[str, Any]]) -> None:
    one_order_for_each(two_sides, ["meta_data"])
    two_sides.shop.orders[1]["meta_data"] = meta
    way(two_sides)
    assert told(two_sides, 1)["meta_data"] == meta


def test_meta_data_of_ours_of_wordpress_and_what_staff_name_is_not_told(two_sides: TwoSides, settings: Any) -> None:
    settings.META_IGNORED = [*settings.META_IGNORED, "_views*"]
    one_order_for_each(two_sides, ["meta_data"])
    for n, key in enumerate(("_orderbridge_rev", "_edit_lock", "_views_today"), start=5):
        two_sides.shop.orders[1]["meta_data"] = [*META, {"id": n, "key": key, "value": "1"}]
        by_events(two_sides)
    assert not two_sides.writes()
    assert told(two_sides, 1)["meta_data"] == META


def test_a_document_is_composed_of_a_document_again() -> None:
    order = {
        "id": 1,
        "status": "pending",
        "date_modified": "x",
        "meta_data": [*META, {"key": "_edit_lock", "value": 1}],
    }
    assert document(document(order)) == document(order) == {"id": 1, "status": "pending", "meta_data": META}
    assert document({**order, "status": TRASH}) == {"id": 1, "status": TRASH}
    assert len(fingerprint(order)) == 64, "as the column"


# --- a change that leaves the time of the last one alone -----------------------------------------------------------


def drifted() -> list[tuple[int, str]]:
    run = drift.start(actor="anna", restart=True)
    assert engine.carry_out(run) and not run.error, run.error
    return list(DriftFinding.objects.open(NOW).order_by("woo_id").values_list("woo_id", "kind"))


def test_drift_lists_other_content_until_the_deep_sweep_has_told_it(two_sides: TwoSides) -> None:
    sent, others = names_of_fields(two_sides)
    orders = one_order_for_each(two_sides, [*sent, *(name for name in others if not name.startswith("date_"))])
    OrderLink.objects.update(crm_status="pending")
    for crm_order in two_sides.crm.orders.values():
        crm_order["status"] = "new"
    assert drifted() == []
    for woo_id, name in orders.items():
        order = two_sides.shop.orders[woo_id]
        order[name] = another(order[name]) if name != "status" else "pending"
    expected = [(woo_id, "content") for woo_id, name in orders.items() if name in sent and name != "status"]
    assert drifted() == expected
    by_deep_sweep(two_sides)
    assert drifted() == []


def test_drift_leaves_alone_what_is_on_its_way(two_sides: TwoSides) -> None:
    one_order_for_each(two_sides, ["total", "number"])
    for order in two_sides.shop.orders.values():
        order["total"] = "1.00"
    WebhookEventFactory(order_ref="1", next_attempt_at=NOW)
    assert drifted() == [(2, "content")]


# --- an upgrade ----------------------------------------------------------------------------------------------------

BEFORE = (
    *("status", "currency", "customer_id", "customer_note", "billing", "shipping", "payment_method"),
    *("payment_method_title", "transaction_id", "discount_total", "discount_tax", "shipping_total", "shipping_tax"),
    *("cart_tax", "total", "total_tax", "line_items", "tax_lines", "shipping_lines", "fee_lines", "coupon_lines"),
    "refunds",
)
"""What the release before this one took the hash of."""


def fingerprint_before(order: dict[str, Any]) -> str:
    names = ("status",) if order["status"] == TRASH else BEFORE
    text = json.dumps({name: order[name] for name in names}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


@ways
def test_an_upgrade_sends_what_changed_and_nothing_else(two_sides: TwoSides, way: Path) -> None:
    one_order_for_each(two_sides, ["nothing", "nothing", "total", "trash"])
    two_sides.shop.trash(4)
    by_backfill(two_sides)
    for woo_id, order in two_sides.shop.orders.items():
        OrderLink.objects.filter(woo_id=woo_id).update(woo_fingerprint=fingerprint_before(order))
    two_sides.forget_calls()
    two_sides.shop.orders[3]["total"] = "1.00"
    way(two_sides)
    assert two_sides.writes() == {"crm PATCH": 1}
    assert told(two_sides, 3)["total"] == "1.00"

    if way is not by_deep_sweep:
        by_events(two_sides)  # until an event comes, the fingerprint is that of the release before
    for link in OrderLink.objects.exclude(woo_status=TRASH):
        assert link.woo_fingerprint == fingerprint(two_sides.shop.orders[link.woo_id])
    for order in two_sides.shop.orders.values():
        order["number"] = "R-1"
    way(two_sides)
    assert two_sides.writes() == {"crm PATCH": 1 + 3}, "from now on the new ones count"


def test_a_fingerprint_of_no_known_release_is_no_match() -> None:
    order = ShopSnapshot(woo_id=1, status="pending", order={"id": 1, "status": "pending"})
    assert [order.is_known_as(known) for known in ("", "old", "3:abc", order.fingerprint)] == [
        False,
        False,
        False,
        True,
    ]
