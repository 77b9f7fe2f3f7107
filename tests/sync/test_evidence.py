"""What a decision compared, as it is kept with the attempt."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from sync.clients.snapshots import CrmSnapshot, ShopSnapshot
from sync.pipeline.evidence import compared
from sync.pipeline.plan import EventFacts, LinkFacts

AT = datetime(2026, 11, 24, 3, 12, 9, tzinfo=UTC)
SHOP = ShopSnapshot(
    woo_id=14, status="processing", order={"id": 14, "status": "processing", "date_modified_gmt": "2026-11-24T03:12:08"}
)
CRM = CrmSnapshot(crm_order_id="C-1", external_id="14", status="paid", version=7, updated_at=AT, answer={})
LINK = LinkFacts(
    woo_id=14,
    crm_order_id="C-1",
    crm_status="new",
    crm_version=6,
    crm_updated_at=AT,
    woo_status="pending",
    woo_fingerprint=SHOP.fingerprint,
)
MOMENT = "2026-11-24 03:12:09"
KNOWN = {"status": "new", "version": "6", "changed": MOMENT, "shop status": "pending"}
FROM_SHOP = {"shop status": "processing", "changed": "2026-11-24 03:12:08"}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, {}),
        (
            {"event": EventFacts(version=7, occurred_at=AT), "status": "paid"},
            {"event": {"status": "paid", "version": "7", "changed": MOMENT}},
        ),
        ({"event": EventFacts(version=0)}, {"event": {"version": "0"}}),
        ({"crm": CRM}, {"crm": {"status": "paid", "version": "7", "changed": MOMENT}}),
        ({"crm": replace(CRM, version=None, updated_at=None)}, {"crm": {"status": "paid"}}),
        ({"known": LINK}, {"known": KNOWN}),
        ({"shop": SHOP}, {"shop": FROM_SHOP}),
        ({"shop": replace(SHOP, order={})}, {"shop": {"shop status": "processing"}}),
        ({"shop": SHOP, "known": LINK}, {"known": KNOWN, "shop": {**FROM_SHOP, "content": "as known"}}),
        (
            {"shop": SHOP, "known": replace(LINK, woo_fingerprint="2:x")},
            {"known": KNOWN, "shop": {**FROM_SHOP, "content": "other than known"}},
        ),
    ],
)
def test_who_said_what(given: dict[str, Any], said: dict[str, dict[str, str]]) -> None:
    situation = {"event": EventFacts(), "status": "", "known": None, "crm": None, "shop": None, **given}
    assert compared(**situation) == said


def test_nothing_that_is_kept_is_too_long_or_unfit_for_the_database() -> None:
    said = compared(EventFacts(), "x\0" * 65, None, None, None)
    assert said == {"event": {"status": "x" * 64}}
