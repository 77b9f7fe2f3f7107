"""The paginator shows every order that the key may read, and ends, whatever the shop hides or leaves without a date."""

import random
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sync.clients import paging
from sync.clients import shop as shop_client
from sync.clients.paging.shop_orders import Position, ShopPaginator
from sync.sandbox.orders import dated, new_order
from sync.sandbox.server import Answer
from sync.sandbox.shop import SandboxShop

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
STATUSES = ("pending", "processing")


@pytest.fixture
def shop(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[SandboxShop]:
    one = SandboxShop(consumer_key="ck_test", consumer_secret="cs_test")
    one.start()
    settings.WOO_URL, settings.WOO_CONSUMER_KEY, settings.WOO_CONSUMER_SECRET = one.url, "ck_test", "cs_test"
    monkeypatch.setattr(paging, "SIZES", (3, 1))
    yield one
    one.stop()


def fill(shop: SandboxShop, seconds: list[int], hidden: set[int]) -> set[int]:
    """Orders 1, 2, … modified at these seconds; the answer are those that can be read."""
    shop.orders.clear()
    for n, second in enumerate(seconds, 1):
        at = BEGAN + timedelta(seconds=second)
        shop.load({**new_order(n, at, shop.url, {}), **dated("date_modified", at)})
    shop.hidden = hidden
    return set(shop.orders) - hidden


def shown(place: Position | None = None, *, pages: int = 200) -> list[int]:
    """All orders, each page by a new paginator that goes on from what the last one stored."""
    one = ShopPaginator(shop_client.connect(), statuses=STATUSES, position=place)
    ids: list[int] = []
    while not one.ended:
        pages -= 1
        assert pages, "It does not end."
        ids += [order.woo_id for order in one.next()]
        if not one.timeless and not one.ended:
            one = ShopPaginator(
                shop_client.connect(), statuses=STATUSES, position=Position.from_json(one.position.as_json())
            )
    return ids


@pytest.mark.parametrize(
    ("seconds", "hidden"),
    [
        ([0, 1, 2, 3, 4, 5, 6], {2}),
        ([0, 1, 2, 3, 4, 5, 6], {1}),
        ([0, 1, 2, 3, 4, 5, 6], {7}),
        ([0, 1, 2, 3, 4, 5, 6], {3, 4}),
        ([0, 1, 2, 3, 4, 5, 6], {1, 2, 3}),
        ([0, 1, 2, 3, 4, 5, 6], {2, 3, 4, 5, 6}),
        ([0, 1, 2, 3, 4, 5, 6, 7, 8], {1, 2, 3, 4, 5, 6, 7, 8}),
        ([0, 1, 2, 3, 4, 5, 6], {1, 2, 3, 4, 5, 6, 7}),
        ([0, 0, 0, 0, 0, 0, 0], {2}),
        ([0, 0, 0, 0, 0, 0, 0], {1, 2, 3}),
        ([0, 0, 0, 0, 0, 0, 0], {1, 2, 3, 4, 5, 6, 7}),
        ([0, 1, 1, 1, 1, 1, 2], {3}),
        ([0, 1, 1, 1, 1, 1, 2], {2, 3, 4, 5, 6}),
        ([0], {1}),
        ([], set()),
    ],
)
@pytest.mark.parametrize("place", [None, Position(at=BEGAN)], ids=["from the beginning", "from a moment"])
def test_what_is_hidden_hides_nothing_else(
    shop: SandboxShop, seconds: list[int], hidden: set[int], place: Position | None
) -> None:
    readable = fill(shop, seconds, hidden)
    assert Counter(shown(place)) == Counter(readable)


@pytest.mark.parametrize("seed", range(25))
def test_any_orders_may_be_hidden(shop: SandboxShop, seed: int) -> None:
    dice = random.Random(seed)
    seconds = sorted(dice.randrange(8) for _ in range(dice.randrange(20)))
    hidden = {n for n in range(1, len(seconds) + 1) if dice.random() < dice.choice((0.2, 0.6, 0.9))}
    readable = fill(shop, seconds, hidden)
    assert Counter(shown()) == Counter(readable)


def test_a_short_page_that_is_the_last_costs_no_further_call(shop: SandboxShop) -> None:
    fill(shop, [0, 1], set())
    shown()
    assert len(shop.requests) == 1


def test_pages_of_hidden_orders_that_shift_hide_nothing(shop: SandboxShop, monkeypatch: pytest.MonkeyPatch) -> None:
    """An order of the first page is saved before the second is read, so that those behind it move up."""
    readable = fill(shop, list(range(9)), {1, 2, 3})
    listed = shop._list

    def shifting(request: Any, fault: Any) -> Answer:
        if request.query["page"] == "2" and shop.orders[1]["date_modified_gmt"] == "2026-01-01T00:00:00":
            shop.edit(1, customer_note="saved")
        return listed(request, fault)

    monkeypatch.setattr(shop, "_list", shifting)
    assert set(shown()) == readable


@pytest.mark.parametrize("without", [{3}, {1}, {1, 2, 3}, {1, 2, 3, 4, 5}, {1, 2, 3, 4, 5, 6, 7}])
@pytest.mark.parametrize("date", [None, "-0001-11-30T00:00:00"])
def test_orders_without_a_date_are_shown_and_stop_nobody(
    shop: SandboxShop, without: set[int], date: str | None
) -> None:
    readable = fill(shop, list(range(7)), set())
    for woo_id in without:
        shop.orders[woo_id]["date_modified_gmt"] = None
    listed = shop._list

    def told(request: Any, fault: Any) -> Answer:
        answer = listed(request, fault)
        for order in answer.content:
            order["date_modified_gmt"] = order["date_modified_gmt"] or date
        return answer

    shop._list = told  # type: ignore[method-assign]
    assert set(shown()) == readable


def test_a_list_without_totals_ends(shop: SandboxShop, monkeypatch: pytest.MonkeyPatch) -> None:
    readable = fill(shop, [0, 1, 2, 3, 4], set())
    orders = shop_client.Shop.orders

    def without_total(self: Any, query: Any) -> shop_client.OrderPage:
        return shop_client.OrderPage(orders=orders(self, query).orders, total=None)

    monkeypatch.setattr(shop_client.Shop, "orders", without_total)
    assert set(shown()) == readable
