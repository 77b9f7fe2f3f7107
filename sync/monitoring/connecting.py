"""A shop or a CRM is tried with its keys, before they are stored and whenever somebody looks."""

import secrets
from collections.abc import Mapping

from django.conf import settings
from django.utils.text import slugify

from sync.clients import crm as crm_backends
from sync.clients import shop as shop_client
from sync.clients.crm.base import Crm, access
from sync.clients.errors import Unprepared
from sync.clients.shop import Shop
from sync.clients.shop_address import is_public_only, same_shop
from sync.monitoring.shop_webhooks import TOPICS
from webhooks import credentials
from webhooks.configs import ShopConfig
from webhooks.connections import WOOCOMMERCE, Bridge, Connection, Side
from webhooks.hooks import HOOKS, SECRET_IN_PATH
from webhooks.models import WebhookEvent

LONGEST_SLUG = 40
MOST_SECRETS = 4


def shop_at(url: str, keys: Mapping[str, str], slug: str = "") -> Shop:
    """With keys that are perhaps not stored yet."""
    return shop_client.connect_to(ShopConfig.of_row(slug, {"url": url}, keys))


def try_shop(shop: Shop) -> None:
    """Raises SideError where the keys may not read orders, or not write them."""
    shop.ping()
    shop.prove_write()


def crm_at(kind: str, values: Mapping[str, str], slug: str) -> Crm:
    backend = crm_backends.backend(kind)
    return crm_backends.connect_to(backend, access(backend.schema, values, slug, public_only=is_public_only()))


def crm_of(connection: Connection) -> Crm:
    values = {**connection.settings, **credentials.decrypt(connection.credentials)}
    return crm_at(connection.kind, values, connection.slug)


def try_crm(crm: Crm) -> str:
    """Raises SideError where the keys are not good. What it lacks besides, in words."""
    try:
        crm.ping()
    except Unprepared as error:
        return f"{error.message} Run the checks: they can make it there."
    return ""


def known_shop(url: str) -> Connection | None:
    """The connection to this shop, if there is one already; archived ones count."""
    shops = Connection.objects.filter(kind=WOOCOMMERCE).order_by("pk")
    return next((one for one in shops if same_shop(one.config.url, url)), None)


def free_slug(of: type[Connection | Bridge], name: str) -> str:
    base = slugify(name)[: LONGEST_SLUG - 4].strip("-") or str(of._meta.model_name)
    taken = set(of._default_manager.filter(slug__startswith=base).values_list("slug", flat=True))
    numbered = (f"{base}-{number}" for number in range(2, len(taken) + 3))
    return base if base not in taken else next(one for one in numbered if one not in taken)


def store_shop(name: str, url: str, keys: Mapping[str, str]) -> Connection:
    """With a webhook secret of our own, which the shop hears of when its webhooks are made."""
    values = {**keys, "webhook_secrets": secrets.token_hex(24)}
    return Connection.objects.create(
        slug=free_slug(Connection, name),
        name=name,
        kind=WOOCOMMERCE,
        settings={"url": url},
        credentials=credentials.encrypt(values),
    )


def store_crm(kind: str, name: str, values: Mapping[str, str]) -> Connection:
    """What is secret by the backend's schema is encrypted; the rest is shown to whoever may look."""
    connection = Connection(slug=free_slug(Connection, name), name=name, kind=kind)
    keep(connection, values)
    connection.save(force_insert=True)
    return connection


def keep(connection: Connection, values: Mapping[str, str]) -> None:
    """Into the unsaved row. Raises WrongKey where what is stored cannot be read; nothing is overwritten then."""
    known = credentials.decrypt(connection.credentials)
    hidden = secret_names(connection.kind)
    connection.settings = {**connection.settings, **{name: one for name, one in values.items() if name not in hidden}}
    known |= {name: one for name, one in values.items() if name in hidden}
    connection.credentials = credentials.encrypt(known)


def use_keys(connection: Connection, values: Mapping[str, str]) -> None:
    """Store them. A connection that was removed is back with them, and the webhooks of such a shop get a secret that we
    know. Raises SideError, and then its page offers to make the webhooks."""
    was_removed, connection.archived_at = connection.archived_at is not None, None
    keep(connection, values)
    connection.save(update_fields=["settings", "credentials", "archived_at"])
    if was_removed and connection.side == Side.SHOP:
        rotate_webhook_secret(connection)
        make_webhooks(connection)


def ensure_names_apart(connection: Connection) -> None:
    """Of a CRM that is about to lead to another account. Raises ValidationError where another bridge gives that one
    the same names."""
    for bridge in bridges_of(connection):
        if bridge.archived_at is None:
            bridge.crm = connection
            bridge.clean()


def secret_names(kind: str) -> set[str]:
    if kind == WOOCOMMERCE:
        return {"consumer_key", "consumer_secret", "basic_auth", "webhook_secrets"}
    return {one.name for one in crm_backends.backend(kind).schema if one.secret}


def delivery_url(connection: Connection) -> str:
    """Where it delivers its webhooks. That of the environment has the shorter address."""
    source = "woocommerce" if connection.side == Side.SHOP else "crm"
    backend = (
        settings.CRM_BACKEND if connection.is_environment else connection.kind
    )  # whatever its credentials are like
    hooks = HOOKS.get(backend) if source == "crm" else None
    if hooks and hooks.verify is SECRET_IN_PATH:
        return f"{settings.PUBLIC_URL}/webhooks/crm/{connection.slug}/YOUR-WEBHOOK-SECRET/"
    tail = "" if connection.is_environment else f"{connection.slug}/"
    return f"{settings.PUBLIC_URL}/webhooks/{source}/{tail}"


def make_webhooks(connection: Connection) -> int:
    """Those that the shop has not; how many. Raises SideError, and can be done again."""
    config = connection.shop_config
    shop, url = shop_client.connect_to(config), delivery_url(connection)
    there = {hook.topic for hook in shop.webhooks() if hook.url == url}
    missing = [topic for topic in TOPICS if topic not in there]
    for topic in missing:
        shop.create_webhook(name=f"Orderbridge {topic}", topic=topic, url=url, secret=config.webhook_secrets[0])
    return len(missing)


def rotate_webhook_secret(connection: Connection) -> None:
    """A new secret comes first. Those before are still accepted, as what is under way is signed with one of them, until
    somebody forgets them. Raises SideError half-way; done again, it goes on with a newer secret."""
    shop, fresh = shop_client.connect_to(connection.shop_config), secrets.token_hex(24)
    ours = _our_webhooks(shop, connection)
    known = connection.shop_config.webhook_secrets
    keep(connection, {"webhook_secrets": ",".join((fresh, *known)[:MOST_SECRETS])})
    connection.save(update_fields=["credentials", "settings"])
    for number in ours:
        shop.set_webhook_secret(number, fresh)


def forget_old_secrets(connection: Connection) -> None:
    """Each webhook first gets the newest once more: the shop tells nobody which it has, and the change to it may have
    stopped half-way. Raises SideError, and all are still accepted then."""
    shop, newest = shop_client.connect_to(connection.shop_config), connection.shop_config.webhook_secrets[0]
    for number in _our_webhooks(shop, connection):
        shop.set_webhook_secret(number, newest)
    keep(connection, {"webhook_secrets": newest})
    connection.save(update_fields=["credentials", "settings"])


def _our_webhooks(shop: Shop, connection: Connection) -> list[int]:
    url = delivery_url(connection)
    return [hook.number for hook in shop.webhooks() if hook.url == url]


def bridges_of(connection: Connection) -> list[Bridge]:
    of = {"shop": connection} if connection.side == Side.SHOP else {"crm": connection}
    return list(Bridge.objects.filter(**of).order_by("pk"))


def latest_delivery(connection: Connection) -> WebhookEvent | None:
    of_it = WebhookEvent.objects.filter(bridge__in=bridges_of(connection), source="woocommerce")
    return of_it.order_by("-pk").first()
