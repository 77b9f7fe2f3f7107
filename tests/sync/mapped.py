"""A field map from its pages to the CRM, whichever that is: what the tests of several backends share."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from orders.models import OrderLink
from sync.jobs import backfill, engine, map_check
from sync.sandbox.shop import SandboxShop
from tests import pipeline
from tests.factories import WebhookEventFactory
from tests.people import signed_in
from tests.sync.test_field_map_pages import add, confirm

META = {"_day": "24.12.2026", "_plugin": "a"}


@dataclass(frozen=True, kw_only=True)
class Mapped:
    """A shop and a CRM. `shown`: by field, what the CRM's order has. `targets`: of a text, of a day, of a list's text.
    `day`: as the CRM shows 2026-12-24."""

    shop: SandboxShop
    shown: Callable[[str], Mapping[str, Any]]
    targets: tuple[str, str, str]
    day: str = "2026-12-24"
    constant: str = "WEB"
    all_meta_are_told: bool = False

    def deliver(self, woo_id: int) -> str:
        event = WebhookEventFactory(order_ref=str(woo_id), body=json.dumps(self.shop.orders[woo_id]).encode())
        while pipeline.work_once():
            pass
        event.refresh_from_db()
        assert event.state == "done", event.reason
        return str(event.outcome)

    def told(self, woo_id: int) -> tuple[Any, ...]:
        shown = self.shown(OrderLink.objects.get(woo_id=woo_id).crm_order_id)
        return tuple(shown.get(one) or None for one in self.targets)

    def change(self, woo_id: int, **meta: str) -> None:
        told = {**META, **meta}
        listed = [{"id": place, "key": key, "value": value} for place, (key, value) in enumerate(told.items(), 1)]
        self.shop.edit(woo_id, meta_data=listed)


def goes_all_the_way(sides: Mapped) -> None:
    manager, (channel, day, skus) = signed_in("manager"), sides.targets
    old, woo_id = (int(sides.shop.create_order(line_items=[{"name": "T", "sku": sku}])["id"]) for sku in ("a-1", "b-2"))
    sides.change(old), sides.change(woo_id)
    assert sides.deliver(old) == "created"
    without = sides.told(old)
    add(manager, "text", target=channel, constant=sides.constant)
    add(manager, "order", target=day, other="meta._day", date="%Y-%m-%d")
    add(manager, "expression", target=skus, expression="line_items[].sku | join('+', @)", letters="upper")
    run = map_check.start(actor="anna", bridge=1)
    assert engine.carry_out(run), run.error
    assert (run.counts["changed"], run.counts["incomplete"], run.counts["refused"]) == (2, 0, 0), run.checkpoint
    confirm(manager, "field_switch_on", reason="Sales asked")
    assert sides.told(old) == without, "switching on sends nothing"

    assert sides.deliver(woo_id) == "created" and sides.told(woo_id) == (sides.constant, sides.day, "B-2")
    assert sides.deliver(woo_id) == "no_change"
    sides.change(woo_id, _plugin="b")
    assert sides.deliver(woo_id) == ("updated" if sides.all_meta_are_told else "no_change"), "nobody has mapped it"
    sides.change(woo_id, _day="23.12.2026")
    assert sides.deliver(woo_id) == "updated" and sides.told(woo_id) == (
        sides.constant,
        sides.day.replace("24", "23"),
        "B-2",
    )

    run = backfill.start(actor="anna")
    assert engine.carry_out(run), run.error
    assert run.counts["updated"] == 1 and sides.told(old) == (sides.constant, sides.day, "A-1"), (
        "it goes there when staff ask"
    )
