"""Tryton keeps no reference unique: where an order was made twice, one sale is left, and nobody's work is lost."""

import sqlite3
from contextlib import closing
from typing import Any

import pytest

from sync.clients.crm.tryton import TrytonCrm
from sync.clients.crm.tryton.document import COMPOSER
from sync.clients.errors import Rejected
from tests import pipeline
from tests.factories import WebhookEventFactory
from tests.tryton.test_journeys import Crash, Sides, bury_the_dead, sides  # noqa: F401  a fixture
from webhooks.models import WebhookEvent


@pytest.mark.parametrize("dies", ["as it takes its sale away", "before the other sale is there"])
def test_of_two_that_were_made_at_once_one_is_left_whoever_dies(
    sides: Sides,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    dies: str,
) -> None:
    """Tryton may come to the first request when we have long given up on it, and have asked again."""
    woo_id, real = sides.order(), TrytonCrm._call

    def twice(crm: TrytonCrm, method: str, to: str, **more: Any) -> Any:
        if (method, to) == ("POST", "sale.sale"):
            real(crm, method, to, **more)
            made = real(crm, method, to, **more)
            if dies == "before the other sale is there":
                raise Crash
            return made
        if method == "DELETE":
            raise Crash
        return real(crm, method, to, **more)

    event = WebhookEventFactory(order_ref=str(woo_id))
    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(TrytonCrm, "_call", twice)
        with pytest.raises(Crash):
            pipeline.work_once()
    assert sides.tryton.count("sale_sale") == 2
    sides.poll()
    assert sides.shop.orders[woo_id]["status"] == "pending", "what we take away moves nothing"
    assert sides.tryton.crm().find(str(woo_id)) is not None
    assert sides.tryton.count("sale_sale") == 2, "to look is not to write"
    bury_the_dead()
    while pipeline.work_once():
        pass
    event.refresh_from_db()
    assert (event.state, event.outcome) == ("done", "created"), event.reason
    assert sides.tryton.count("sale_sale") == 1
    assert not WebhookEvent.objects.filter(state="parked").exists()


@pytest.mark.parametrize("touched", ["moved", "written", "by hand"])
def test_a_sale_of_the_same_name_that_somebody_has_touched_is_never_taken_away(
    sides: Sides,  # noqa: F811
    touched: str,
) -> None:
    order = sides.shop.create_order()
    crm, document = sides.tryton.crm(), COMPOSER.document(order)
    first, _ = crm.create("77", document)
    mine = {"description": "For Ann"} if touched == "by hand" else {}
    second, _ = crm.create("78", {**document, **mine})
    with closing(sqlite3.connect(sides.tryton.server.file)) as tryton:  # as if it had been made so
        tryton.execute("UPDATE sale_sale SET reference = 'woo-77' WHERE id = ?", [second.crm_order_id])
        tryton.commit()
    if touched == "moved":
        sides.tryton.press(second.crm_order_id, "quote")
    elif touched == "written":
        sides.tryton.write(second.crm_order_id, comment="By Bob")
    sides.tryton.write(first.crm_order_id, comment="By Ann")
    with pytest.raises(Rejected, match="77 2 times"):
        crm.find("77")
    assert sides.tryton.count("sale_sale") == 2
