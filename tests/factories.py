"""Rows for tests: valid by default, each field open to be set."""

from typing import Any

import factory
from factory.django import DjangoModelFactory

from orders.models import Decision, OrderLink, StatusTransition
from sync.models import Attempt, Call
from webhooks.models import Outcome, Side, WebhookEvent


class WebhookEventFactory(DjangoModelFactory):
    class Meta:
        model = WebhookEvent

    side = Side.SHOP
    source = "woocommerce"
    topic = "order.updated"
    order_ref = factory.Sequence(lambda n: str(1000 + n))
    body = factory.LazyAttribute(lambda event: b'{"id": "%s"}' % event.order_ref.encode())
    headers = factory.LazyFunction(lambda: {"X-WC-Webhook-Topic": "order.updated"})
    delivery_id = factory.Sequence(lambda n: f"delivery-{n}")
    signed_by = "woocommerce key 1"
    dedupe_key = factory.Sequence(lambda n: f"key-{n}")


class OrderLinkFactory(DjangoModelFactory):
    class Meta:
        model = OrderLink

    woo_id = factory.Sequence(lambda n: 1000 + n)
    crm_order_id = factory.Sequence(lambda n: f"C-{n}")
    crm_status = "paid"
    woo_status = "processing"


class StatusTransitionFactory(DjangoModelFactory):
    class Meta:
        model = StatusTransition

    link: Any = factory.SubFactory(OrderLinkFactory)
    from_status = "processing"
    to_status = "completed"
    decision = Decision.APPLIED
    reason = "the CRM says shipped"
    crm_status = "shipped"


class AttemptFactory(DjangoModelFactory):
    class Meta:
        model = Attempt

    event: Any = factory.SubFactory(WebhookEventFactory)
    trigger = "delivery"
    worker = "host/1"
    milliseconds = 120
    result = Outcome.APPLIED


class CallFactory(DjangoModelFactory):
    class Meta:
        model = Call

    attempt: Any = factory.SubFactory(AttemptFactory)
    side = Side.CRM
    method = "GET"
    url = "/orders/C-1"
    status = 200
    milliseconds = 12
