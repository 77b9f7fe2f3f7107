"""One rule for a time without a zone, whoever reads it."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from sync.clients.crm import rest
from sync.clients.paging import shop_orders
from sync.clients.shop import _moment as of_a_webhook
from sync.clients.snapshots import ShopSnapshot
from sync.pipeline import whose
from webhooks import sources

MOMENT = datetime(2026, 11, 24, 3, 20, tzinfo=UTC)
ORDER = {"id": 5, "order_key": "wc_order_x", "status": "pending"}


def by_the_shops_delivery(text: Any) -> datetime | None:
    body = json.dumps({**ORDER, "date_modified_gmt": text}).encode()
    return sources.parse_woocommerce(body, {})[0].occurred_at


def by_the_crms_delivery(text: Any) -> datetime | None:
    body = json.dumps({"crm_order_id": "C-1", "updated_at": text}).encode()
    return sources.parse_crm(body, {}, id_is_signed=False)[0].occurred_at


def by_the_walk(text: Any) -> datetime | None:
    return shop_orders.modified(ShopSnapshot(woo_id=5, status="pending", order={**ORDER, "date_modified_gmt": text}))


def by_whose_order_it_is(text: Any) -> datetime | None:
    found = whose._moment(text)
    return datetime.fromisoformat(f"{found}+00:00") if found else None


READERS: list[Callable[[Any], datetime | None]] = [
    by_the_shops_delivery,
    by_the_crms_delivery,
    by_the_walk,
    by_whose_order_it_is,
    rest._time,
    of_a_webhook,
]


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    "text",
    ["2026-11-24T03:20:00", "2026-11-24T03:20:00Z", "2026-11-24T04:20:00+01:00", "2026-11-23T22:20:00-05:00"],
)
def test_without_a_zone_it_is_utc_and_with_one_it_is_converted(reader: Any, text: str) -> None:
    assert reader(text) == MOMENT


@pytest.mark.parametrize("reader", READERS[:4])
@pytest.mark.parametrize("text", ["yesterday", "", 5, None, [], "0001-01-01T00:00:00+23:59", "2026-13-01T00:00:00"])
def test_what_is_no_time_is_none(reader: Any, text: Any) -> None:
    assert reader(text) is None
