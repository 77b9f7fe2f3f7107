"""What a real Tryton refuses: one order waits for a person, with words; what concerns all orders makes them wait."""

import sqlite3
from contextlib import closing
from typing import Any

from sync.clients.crm.cache import forget_all
from sync.clients.mapping.field_map import as_text
from tests import pipeline
from tests.factories import WebhookEventFactory
from tests.tryton.test_journeys import Sides, sides
from webhooks import clock
from webhooks.connections import DEFAULT_BRIDGE, Bridge
from webhooks.models import WebhookEvent

__all__ = ["sides"]

WHO = {"email": "ann@example.test", "phone": "+49 30 123456"}


def test_a_customer_whom_somebody_made_inactive_is_named(sides: Sides) -> None:
    first = sides.order(billing=WHO)
    assert sides.deliver(first).outcome == "created"
    code = sides.sale(first)["party"]["code"]

    def become(*, active: bool) -> None:  # its REST does not reach one that is inactive
        with closing(sqlite3.connect(sides.tryton.server.file)) as database:
            database.execute("UPDATE party_party SET active = ? WHERE code = ?", (active, code))
            database.commit()

    become(active=False)
    second = sides.order(billing=WHO)
    event = sides.deliver(second)
    assert event.state == "parked"
    assert f"the party {code} in Tryton, which somebody made inactive" in event.reason
    become(active=True)
    assert sides.deliver(second).outcome == "created"
    assert sides.sale(second)["party"]["code"] == code


def test_a_company_that_is_not_there_makes_all_orders_wait(sides: Sides, settings: Any) -> None:
    settings.CRM_OPTIONS = {"company": "Another Ltd"}
    forget_all()
    events = [WebhookEventFactory(order_ref=str(sides.order(billing=WHO))) for _ in range(2)]
    while pipeline.work_once():
        pass
    waiting = WebhookEvent.objects.filter(pk__in=[event.pk for event in events])
    assert {(one.state, one.attempts) for one in waiting} <= {("retrying", 0), ("pending", 0)}
    assert "the setting company is 'Another Ltd'" in waiting.get(state="retrying", pk=events[0].pk).reason
    settings.CRM_OPTIONS = {}
    for _ in range(20):
        waiting.unfinished().update(next_attempt_at=clock.now())
        pipeline.work_once()
    assert {one.outcome for one in waiting.all()} == {"created"}


def test_a_mapped_field_that_is_gone_is_named_and_the_order_waits(sides: Sides) -> None:
    rows = [{"target": "woo_nonsense", "paths": ["number"]}]
    Bridge.objects.filter(pk=DEFAULT_BRIDGE).update(field_map=as_text(1, rows))
    event = sides.deliver(sides.order())
    assert event.state == "parked"
    assert "does not know the field «woo_nonsense»" in event.reason


def test_an_order_of_many_lines_is_as_good_as_any(sides: Sides) -> None:
    lines = [{"name": f"Pot {one}", "sku": f"POT-OF-A-LONG-NAME-{one}", "price": "1.00"} for one in range(100)]
    event = sides.deliver(sides.order(line_items=[*lines, {"name": "Pot", "sku": "LAB-1", "price": "12.00"}]))
    assert event.outcome == "created", event.reason
    codes = [line["product"] and line["product"]["code"] for line in sides.sale(int(event.order_ref))["lines"]]
    assert (len(codes), codes.count("LAB-1")) == (102, 1)
