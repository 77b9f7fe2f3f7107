"""One connection is examined with its real keys, as the doctor does for all of it. Nothing is written."""

from collections.abc import Callable, Iterator

from sync.clients import shop as shop_client
from sync.clients.errors import SideError
from sync.clients.shop import Hook
from sync.monitoring import doctor, preparing
from sync.monitoring.bridge_checks import reached_at
from sync.monitoring.connecting import crm_of, delivery_url, try_crm
from sync.monitoring.findings import Finding, good, wrong
from sync.monitoring.shop_webhooks import TOPICS
from webhooks.connections import Connection, Side

KEY_ADVICE = "Open Keys and settings, and enter a key of a user who may manage the shop."
ACCOUNT = "account"
"""The check of what a CRM's account has to have, which the page can make."""
HOOK_ADVICE = "Press Make the webhooks. If it is disabled, delete it in the shop first."


def examine(connection: Connection) -> list[Finding]:
    """Each check, also if another one fails."""
    checks = (_shop, _webhooks, _here) if connection.side == Side.SHOP else (_crm, _here)
    return [finding for check in checks for finding in _each(check, connection)]


def _each(check: Callable[[Connection], Iterator[Finding]], connection: Connection) -> Iterator[Finding]:
    try:
        yield from check(connection)
    except SideError as error:
        name = check.__name__.removeprefix("_")
        yield wrong(name, error.message, error.advice or KEY_ADVICE)


def _shop(connection: Connection) -> Iterator[Finding]:
    shop = shop_client.connect_to(connection.shop_config)
    shop.ping()
    yield good("shop", "The key may read orders.")
    shop.prove_write()
    yield good("shop", "The key may write orders.")
    yield good("shop", f"Its time zone is {shop.time_zone()}. We ask it in UTC.")
    yield good("shop", f"It knows {len(shop.statuses())} statuses of orders.")


def _webhooks(connection: Connection) -> Iterator[Finding]:
    url = delivery_url(connection)
    ours = [hook for hook in shop_client.connect_to(connection.shop_config).webhooks() if hook.url == url]
    for topic in TOPICS:
        yield _webhook(topic, [hook for hook in ours if hook.topic == topic])


def _webhook(topic: str, hooks: list[Hook]) -> Finding:
    if not hooks:
        return wrong("webhooks", f"{topic}: the shop has no such webhook.", HOOK_ADVICE)
    if any(hook.status == "active" for hook in hooks):
        return good("webhooks", f"{topic}: it is active.")
    return wrong("webhooks", f"{topic}: it is {hooks[0].status}.", HOOK_ADVICE)


def _crm(connection: Connection) -> Iterator[Finding]:
    crm = crm_of(connection)
    try_crm(crm)  # what it lacks is told below
    yield good("crm", "It answers, and the key may read orders.")
    for lacks, advice in preparing.lacking(crm):
        yield wrong(ACCOUNT, lacks, advice)
    told = len(crm.statuses())
    words = f"It knows {told} statuses of orders." if told else "It does not tell which statuses it has."
    yield good("crm", words)
    yield from preparing.of_webhooks(crm, connection)


def _here(connection: Connection) -> Iterator[Finding]:
    """What both need of us."""
    if connection.side == Side.SHOP:
        yield from reached_at(delivery_url(connection), connection.shop_config.url)
    for name in ("queue", "database"):
        yield from doctor.HERE[name]()
