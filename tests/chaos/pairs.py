"""A shop and the CRM to which it is bridged: the environment's, and others, whose orders have the same numbers."""

from collections.abc import Sequence
from dataclasses import dataclass

from sync.sandbox.crms.base import StandIn
from sync.sandbox.shop import SandboxShop


@dataclass(frozen=True, kw_only=True)
class Pair:
    """`number`: 1 is that of the environment. `prefix`: before the shop's numbers, where the CRM has several shops."""

    shop: SandboxShop
    crm: StandIn
    number: int = 1
    crm_number: int = 1
    prefix: str = ""

    @property
    def bridge(self) -> str:
        return "default" if self.number == 1 else f"bridge-{self.number}"

    @property
    def shop_slug(self) -> str:
        return slug("shop", self.number)

    @property
    def crm_slug(self) -> str:
        return slug("crm", self.crm_number)

    def external_id(self, woo_id: int) -> str:
        return f"{self.prefix}{woo_id}"

    def woo_id(self, external_id: str) -> int | None:
        """None: it is an order of another shop."""
        number = external_id.removeprefix(self.prefix) if external_id.startswith(self.prefix) else ""
        return int(number) if number.isdigit() else None

    @property
    def mark(self) -> str:
        """In the key of each of its orders: wherever one ends up, it can be told whose it is."""
        return f"wc_order_{self.number}_"


def slug(side: str, number: int) -> str:
    return side if number == 1 else f"{side}-{number}"


def path(source: str, connection: str) -> str:
    """Where it delivers to."""
    return f"/webhooks/{source}/" if connection in ("shop", "crm") else f"/webhooks/{source}/{connection}/"


def shops(pairs: Sequence[Pair]) -> list[SandboxShop]:
    return [pair.shop for pair in pairs]


def crms(pairs: Sequence[Pair]) -> list[StandIn]:
    """Each once."""
    return list({id(pair.crm): pair.crm for pair in pairs}.values())


def bridge_them(pairs: Sequence[Pair], secrets: tuple[str, str, str], shared: str) -> None:
    """Rows for all but the first, as the back office makes them. `shared`: where hosts in other networks find both
    sides. `secrets`: the key of each shop, and what shop and CRM sign with."""
    from orders.rules import give_default_lifecycle
    from webhooks.connections import Bridge, Connection
    from webhooks.credentials import encrypt

    key, of_shop, of_crm = secrets
    for pair in pairs[1:]:
        told = {"consumer_key": f"ck_{key}", "consumer_secret": f"cs_{key}", "webhook_secrets": of_shop}
        shop = Connection.objects.create(
            slug=pair.shop_slug,
            name=f"Shop {pair.number}",
            kind="woocommerce",
            settings={"url": pair.shop.url.replace("127.0.0.1", shared)},
            credentials=encrypt(told),
        )
        crm = Connection.objects.filter(slug=pair.crm_slug).first() or Connection.objects.create(
            slug=pair.crm_slug,
            name=f"CRM {pair.crm_number}",
            kind="rest",
            settings={"url": pair.crm.url.replace("127.0.0.1", shared)},
            credentials=encrypt({"token": f"{key}-token", "webhook_secrets": of_crm}),
        )
        bridge = Bridge(
            slug=pair.bridge,
            name=f"Bridge {pair.number}",
            shop=shop,
            crm=crm,
            state="on",
            external_id_prefix=pair.prefix,
        )
        bridge.full_clean()
        bridge.save()
        give_default_lifecycle(bridge.pk)
