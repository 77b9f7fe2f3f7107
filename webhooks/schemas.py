"""In which schema the body of an event is written, and who reads it: a release that changes how a sender is read adds a
schema and keeps the parsers of those before, so that what is stored is replayed as it was meant."""

from collections.abc import Callable, Mapping
from functools import partial

from webhooks.models import Side, WebhookEvent
from webhooks.sources import Signal, parse_crm, parse_woocommerce

WOOCOMMERCE = "woocommerce/wc-v3"
REST = "rest/1"
OURS = "orderbridge/1"
"""Of what people and runs ask for: only we read it."""
OF_SIDE = {Side.SHOP: WOOCOMMERCE, Side.CRM: REST}
OWN_TOPICS = ("order.resync", "order.force", "order.make_anew")

Parser = Callable[[bytes, Mapping[str, str]], list[Signal]]
PARSERS: dict[str, Parser] = {
    WOOCOMMERCE: parse_woocommerce,
    # Its key is not made anew, so that it does not matter whether the delivery's id was signed.
    REST: partial(parse_crm, id_is_signed=False),
}
READ = ("order_ref", "version", "status", "occurred_at")


def schema_of(event: WebhookEvent) -> str:
    """Those stored before 0.4 do not say it. There was one for each side then."""
    if event.schema:
        return event.schema
    is_own = event.topic in OWN_TOPICS and event.copy_of_id is None and not event.signed_by
    return OURS if is_own else OF_SIDE[Side(event.side)]


def read_anew(event: WebhookEvent) -> bool:
    """What an event tells, by the parser of its schema: one that nobody understood when it came may be understood by
    now. False: it is not. Nothing is saved."""
    parser = PARSERS.get(schema_of(event))
    if parser is None or not event.body:
        return False
    # Of an array the first event keeps the whole, each of the others its own element.
    signal = parser(bytes(event.body), event.headers)[0]
    if signal.parked_reason or not signal.order_ref:
        return False
    for name in READ:
        setattr(event, name, getattr(signal, name))
    return True
