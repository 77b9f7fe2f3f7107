"""What we know of an order, side by side, when nobody is asked."""

import pytest

from orders.defaults import MOVES, RULES
from orders.lifecycle import Lifecycle
from sync.backoffice.comparison import last_seen
from tests.factories import OrderLinkFactory

DEFAULT = Lifecycle.of(RULES, [(old, new) for old, news in MOVES.items() for new in news])


@pytest.mark.parametrize(
    ("crm", "shop", "differs"),
    [("paid", "processing", False), ("paid", "completed", True), ("qualified", "processing", True)],
)
def test_statuses_that_do_not_mean_the_same_are_marked(crm: str, shop: str, differs: bool) -> None:
    rows = last_seen(OrderLinkFactory.build(crm_status=crm, woo_status=shop), DEFAULT)
    assert [row.name for row in rows if row.differs] == (["Status"] if differs else [])


def test_what_was_never_seen_is_no_difference() -> None:
    rows = last_seen(OrderLinkFactory.build(crm_status="", woo_status=""), DEFAULT)
    assert not any(row.differs for row in rows)
