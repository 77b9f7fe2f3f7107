"""In which schema the body of an event is written, and who reads it: a release that changes how a sender is read adds a
schema and keeps the parsers of those before, so that what is stored is replayed as it was meant."""

from functools import partial

from webhooks.hooks import HOOKS, REST_SCHEMA, SHOP_SCHEMA, Hooks, Parser
from webhooks.models import Side, WebhookEvent
from webhooks.sources import parse_crm, parse_woocommerce

WOOCOMMERCE, REST = SHOP_SCHEMA, REST_SCHEMA
OURS = "orderbridge/1"
"""Of what people and runs ask for: only we read it."""
OF_SIDE = {Side.SHOP: WOOCOMMERCE, Side.CRM: REST}
"""But of a CRM whose backend has `hooks`: these bring their own."""
OWN_TOPICS = ("order.resync", "order.force", "order.make_anew")

PARSERS: dict[str, Parser] = {
    WOOCOMMERCE: parse_woocommerce,
    # Its key is not made anew, so that it does not matter whether the delivery's id was signed.
    REST: partial(parse_crm, id_is_signed=False),
}
READ = ("order_ref", "version", "status", "occurred_at")


def register(backend: str, hooks: Hooks) -> None:
    """How the webhooks of this backend are read, and what it stored in earlier releases."""
    HOOKS[backend] = hooks
    PARSERS.update({**hooks.earlier, hooks.schema: hooks.parse})


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
    signal = next(iter(parser(bytes(event.body), event.headers)), None)
    if signal is None or signal.parked_reason or not signal.order_ref:
        return False
    for name in READ:
        setattr(event, name, getattr(signal, name))
    return True
