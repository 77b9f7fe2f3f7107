"""A customer who orders, is changed, cancelled and forced leaves nothing behind after an erasure, in any table."""

from collections.abc import Iterator
from io import StringIO

from django.apps import apps
from django.core.management import call_command

from orders.models import StatusTransition
from orders.verification import Checkup
from sync.pipeline.internal_events import force
from tests.journeys.conftest import World, linked_order
from webhooks.wake import wake

EMAIL, NAMES = "marked.person@example.org", ("marked.person", "Markedfirst", "Markedlast", "Marked Street")
BILLING = {"email": EMAIL, "first_name": "Markedfirst", "last_name": "Markedlast", "address_1": "Marked Street 1"}


def cells() -> Iterator[tuple[str, str]]:
    """Everything that is stored, as text."""
    for model in apps.get_models():
        for row in model.objects.values():
            for name, value in row.items():
                text = bytes(value).decode("utf-8", "replace") if isinstance(value, bytes | memoryview) else str(value)
                yield f"{model.__name__}.{name}", text


def told() -> set[str]:
    return {where for where, text in cells() if any(name.lower() in text.lower() for name in NAMES)}


def test_nothing_of_an_erased_customer_is_left_in_any_table(world: World) -> None:
    order, crm_id = linked_order(world, status="processing", billing=BILLING)
    world.crm.set_status(crm_id, "shipped")
    world.settle()
    world.shop.edit(order, billing={**BILLING, "phone": "1"})
    world.settle()
    force(world.link(order), to_status="processing", by="ann", reason=f"{EMAIL} asked")
    wake()
    world.settle()
    linked_order(world, billing={"email": "other@example.org", "first_name": "Bob"})
    assert {"WebhookEvent.body", "Call.request_body"} <= told()
    call_command("erase_customer", EMAIL, stdout=StringIO())
    assert told() == set()
    assert world.link(order).crm_order_id == crm_id
    assert StatusTransition.objects.filter(link=world.link(order)).count() >= 2
    assert any("other@example.org" in text for _, text in cells())
    checkup = Checkup()
    for _ in checkup.go_on():
        pass
    assert checkup.findings == []
