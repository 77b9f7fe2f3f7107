"""What a backend composes is what counts: mapped fields of plugins, too; and a new composer sends nothing anew."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from orders.models import OrderLink
from sync.clients.crm.rest import RestCrm
from sync.clients.snapshots import AS_IT_IS, Composer, Document
from sync.jobs import engine, reconciliation
from tests import pipeline
from tests.factories import WebhookEventFactory
from tests.sync.conftest import TwoSides

Use = Callable[[Composer], None]


def gift(order: Mapping[str, Any]) -> Document:
    """Of all of the order, this CRM gets one field of a plugin."""
    meta = {one["key"]: one["value"] for one in order.get("meta_data", [])}
    return {"gift": meta.get("gift", "")}


GIFT = Composer(version="gift1", compose=gift)
NAMED = Composer(version="gift2", compose=lambda order: {"is_gift": gift(order)["gift"]}, earlier={"gift1": gift})


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Use:
    return lambda some: monkeypatch.setattr(RestCrm, "composer", classmethod(lambda cls, access: some))


def deliver(two_sides: TwoSides, woo_id: int) -> str:
    event = WebhookEventFactory(order_ref=str(woo_id))
    while pipeline.work_once():
        pass
    event.refresh_from_db()
    return event.outcome


def test_a_mapped_field_of_a_plugin_counts_and_nothing_else_does(two_sides: TwoSides, use: Use) -> None:
    use(GIFT)
    order = two_sides.shop.create_order(meta_data=[{"id": 1, "key": "gift", "value": "no"}])
    assert deliver(two_sides, order["id"]) == "created"
    shown = two_sides.shop.orders[order["id"]]
    shown["customer_note"] = "not carried by this CRM"
    assert deliver(two_sides, order["id"]) == "no_change"
    shown["meta_data"] = [{"id": 1, "key": "gift", "value": "yes"}]
    assert deliver(two_sides, order["id"]) == "updated"
    [there] = two_sides.crm.by_external(order["id"])
    assert there["order"] == {"gift": "yes"}, "what was compared is what was sent"


@pytest.mark.parametrize("changed", [False, True])
def test_a_new_composer_sends_what_has_changed_and_nothing_else(two_sides: TwoSides, use: Use, changed: bool) -> None:
    use(GIFT)
    order = two_sides.shop.create_order(meta_data=[{"id": 1, "key": "gift", "value": "no"}])
    deliver(two_sides, order["id"])
    use(NAMED)
    two_sides.forget_calls()
    if changed:
        two_sides.shop.orders[order["id"]]["meta_data"] = [{"id": 1, "key": "gift", "value": "yes"}]
    run = reconciliation.start(deep=True, actor="anna")
    assert engine.carry_out(run), run.error
    while pipeline.work_once():
        pass
    assert two_sides.writes() == ({"crm PATCH": 1} if changed else {})
    assert OrderLink.objects.get().woo_fingerprint.startswith("gift2:"), "from now on the new one counts"


def test_fingerprints_of_rest_stay_what_they_were() -> None:
    order = {"id": 1, "status": "pending", "total": "1.00"}
    known = "2:6f3f"  # any other is none of ours
    assert AS_IT_IS.version == "2"
    assert AS_IT_IS.is_known_as(order, AS_IT_IS.fingerprint(order))
    assert not AS_IT_IS.is_known_as(order, known)
    assert not AS_IT_IS.is_known_as(order, replace(AS_IT_IS, version="3").fingerprint(order))


def test_a_fingerprint_of_another_backend_is_no_match() -> None:
    order = {"id": 1, "status": "pending", "total": "1.00"}
    assert not GIFT.is_known_as(order, AS_IT_IS.fingerprint(order))
    assert not AS_IT_IS.is_known_as(order, GIFT.fingerprint(order))
