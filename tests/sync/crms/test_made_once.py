"""No customer, contact, address or product twice, whichever workers have the orders, and wherever one dies."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection

from sync.clients.http import JsonClient
from sync.models import Attempt, Lease
from sync.sandbox.orders import new_order
from tests.sync.crms.whole import BILLING, SHIPPING, Whole, a_new_process, sides
from webhooks.models import WebhookEvent

__all__ = ["sides"]

CUSTOMERS = {"erpnext": "/Customer", "hubspot": "/contacts", "odoo": "res.partner"}
"""What stands in the address or in the call by which one is made."""


def makes_a_customer(backend: str, method: str, path: str, body: Any) -> bool:
    if backend == "odoo":
        return "res.partner" in repr(body) and "'create'" in repr(body)
    return method == "POST" and path.endswith(CUSTOMERS[backend])


class AnotherWorker:
    """While the first one makes a customer, of whom the others do not hear before it has its answer, this one works."""

    def __init__(self, sides: Whole, monkeypatch: pytest.MonkeyPatch, hidden: Callable[[], Any]) -> None:
        self.sides, self.began = sides, False
        request = JsonClient.request

        def requested(client: JsonClient, method: str, path: str, **more: Any) -> Any:
            made = request(client, method, path, **more)
            if makes_a_customer(sides.backend, method, path, more.get("json")) and not self.began:
                self.began = True
                come_to_light = hidden()
                worker = threading.Thread(target=self._work)
                worker.start()
                worker.join(60)
                come_to_light()
            return made

        monkeypatch.setattr(JsonClient, "request", requested)

    def _work(self) -> None:
        self.sides.work()
        connection.close()


def hidden(crm: Any) -> Callable[[], Callable[[], None]]:
    """Takes away what was made last, as long as its transaction is not through. HubSpot has none."""

    def hide() -> Callable[[], None]:
        if hasattr(crm, "documents"):
            some = crm.documents.kept["Customer"], crm.documents.kept["Contact"]
        elif hasattr(crm.records, "tables"):
            some = (crm.records.tables["res.partner"],)
        else:
            some = ()
        taken = [(table, *table.popitem()) for table in some]

        def come_to_light() -> None:
            for table, key, row in taken:
                later = dict(table)
                table.clear()
                table.update({key: row, **later})

        return come_to_light

    return hide


@pytest.mark.parametrize(
    "other",
    [{}, {"email": "other@example.test"}, {"phone": ""}],
    ids=["all the same", "by her phone number", "by her e-mail address"],
)
def test_two_workers_make_a_customer_of_two_orders_once(
    sides: Whole, monkeypatch: pytest.MonkeyPatch, other: dict[str, str]
) -> None:
    before = sides.holds()
    events = [sides.event(sides.order()), sides.event(sides.order(billing={**BILLING, "first_name": "J.", **other}))]
    another = AnotherWorker(sides, monkeypatch, hidden(sides.crm))
    sides.work(at_once=True)
    assert another.began
    for event in events:
        event.refresh_from_db()
        assert event.outcome == "created", event.reason
        assert event.attempts == 0
    customers = sides.crm.customers()
    assert len(customers) == 1, customers
    made = sides.holds() - before
    assert max(made[kind] for kind in ("Customer", "contacts")) <= 1
    assert not Lease.objects.exists()


@pytest.mark.parametrize("sides", ["erpnext", "odoo"], indirect=True)
def test_two_workers_make_a_product_once(sides: Whole, monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    settings.CRM_OPTIONS = {**settings.CRM_OPTIONS, "make_products": "yes"}
    before = sides.holds()
    bought = [{"name": "Lamp", "sku": "LAMP-1", "quantity": 1, "price": "8.50"}]
    for number in (1, 2):
        sides.event(sides.order(line_items=bought, billing={**BILLING, "email": f"{number}@example.test", "phone": ""}))
    AnotherWorker(sides, monkeypatch, lambda: lambda: None)
    sides.work(at_once=True)
    made = sides.holds() - before
    assert made["Item"] + made["product.product"] == 1


def test_who_is_known_to_be_there_keeps_nobody_waiting(sides: Whole, settings: Any) -> None:
    """A shop whose till books all it sells on one customer."""
    settings.QUEUE_THREADS = 4
    sides.deliver(sides.order())
    events = [sides.event(sides.order()) for _ in range(4)]
    sides.work()
    assert {event.attempts for event in WebhookEvent.objects.filter(pk__in=[one.pk for one in events])} == {0}
    assert not Attempt.objects.filter(result="waiting").exists()
    assert len(sides.crm.customers()) == 1


# --- whoever dies --------------------------------------------------------------------------------------------------


class Crash(BaseException):
    """As `kill -9` would: no handler of ours runs."""


class Dying:
    """The worker dies when the answer to this call to the CRM has come, and so before the next one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left = -1
        request = JsonClient.request

        def requested(client: JsonClient, method: str, path: str, **more: Any) -> Any:
            made = request(client, method, path, **more)
            self.left -= client.side == "crm"
            if self.left == 0 and client.side == "crm":
                raise Crash
            return made

        monkeypatch.setattr(JsonClient, "request", requested)

    def at(self, place: int, sides: Whole, event: WebhookEvent) -> bool:
        """Whether it came so far. Then another worker goes on."""
        a_new_process()
        self.left = place
        try:
            sides.work()
        except Crash:
            self.left = -1
            Lease.objects.all().delete()
            a_new_process()
            sides.work(at_once=True)
            died = True
        else:
            died = False
        event.refresh_from_db()
        assert event.state == "done", f"call {place}: {event.reason}"
        return died


def bought(number: int) -> dict[str, Any]:
    who = {"email": f"{number}@example.test", "phone": f"+49 30 1234{number:02}"}
    lines = [
        {"name": "Tea", "sku": "LAB-3", "quantity": 3, "price": "8.50"},
        {"name": "Lamp", "sku": "LAMP-1", "quantity": 1, "price": "12.00"},
    ]
    return {"line_items": lines, "billing": {**BILLING, **who}, "shipping": SHIPPING}


def test_at_whatever_call_of_a_creation_a_worker_dies_all_is_there_once(
    sides: Whole, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = sides.holds()
    assert sides.deliver(sides.order(**bought(0))).outcome == "created"
    whole = sides.holds() - before
    dying = Dying(monkeypatch)
    for place in range(1, 30):
        before, event = sides.holds(), sides.event(sides.order(**bought(place)))
        died = dying.at(place, sides, event)
        assert sides.holds() - before == whole, f"call {place}"
        if not died:
            break
    assert place > 4


def test_at_whatever_call_of_a_change_a_worker_dies_all_is_there_once(
    sides: Whole, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = sides.holds()
    first = sides.order(**bought(0))
    sides.deliver(first)
    changed(sides, first)
    assert sides.deliver(first).outcome == "updated"
    whole = sides.holds() - before
    dying = Dying(monkeypatch)
    for place in range(1, 30):
        before, woo_id = sides.holds(), sides.order(**bought(place))
        sides.deliver(woo_id)
        changed(sides, woo_id)
        died = dying.at(place, sides, sides.event(woo_id))
        assert sides.holds() - before == whole, f"call {place}"
        if not died:
            break
    assert place > 3


def changed(sides: Whole, woo_id: int) -> None:
    """A line is taken from it, and it goes to another place."""
    fields = bought(woo_id)
    less = new_order(woo_id, sides.shop.now(), sides.shop.url, {**fields, "line_items": fields["line_items"][:1]})
    names = ("line_items", "tax_lines", "total", "total_tax", "cart_tax")
    place = {**sides.shop.orders[woo_id]["shipping"], "address_1": "Neue Straße 3"}
    sides.shop.edit(woo_id, **{name: less[name] for name in names}, shipping=place, customer_note="ring twice")
