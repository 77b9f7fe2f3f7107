"""Who we talk to, and which shop is bridged to which CRM. The lowest tables: a delivery is verified with them.

The environment's shop, CRM and bridge are made by `migrate`. All others are made in the back office.
"""

import functools
import time
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.db import models
from django.db.models import Q
from django.db.models.signals import post_save
from django.utils import timezone

from webhooks.configs import CRM as CRM
from webhooks.configs import PREFIX, REST, CrmConfig, ShopConfig, poll_seconds
from webhooks.configs import SHOP as SHOP

WOOCOMMERCE = "woocommerce"
DEFAULT_BRIDGE = 1
"""The environment's. All that was there before there were several hangs on it."""


class Side(models.TextChoices):
    """Which of the two systems a signal is about."""

    SHOP = "shop", "Shop"
    CRM = "crm", "CRM"


class Connection(models.Model):
    """One remote system: a WooCommerce shop, or an account of a CRM."""

    slug = models.SlugField(max_length=40, unique=True, help_text="In the address at which it delivers")
    name = models.CharField(max_length=80)
    kind = models.CharField(max_length=100, help_text="woocommerce, or the name of a CRM backend")
    settings = models.JSONField(default=dict, blank=True, help_text="In the backend's own schema: url …")
    credentials = models.TextField(blank=True, editable=False, help_text="Encrypted (webhooks.credentials)")
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    archived_at = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        ordering = ["name"]
        permissions = [("edit_credentials", "Can connect shops and CRMs, and change their keys")]

    def __str__(self) -> str:
        return self.name

    @property
    def is_environment(self) -> bool:
        """Its values are Django settings, and locked in the back office."""
        return self.slug in (SHOP, CRM)

    @property
    def side(self) -> Side:
        return Side.SHOP if self.kind == WOOCOMMERCE else Side.CRM

    @property
    def is_set(self) -> bool:
        """Those of the environment are there whether or not it says anything of them."""
        if not self.is_environment:
            return True
        return bool(self.config.url) or getattr(self.config, "backend", REST) != REST

    @property
    def config(self) -> ShopConfig | CrmConfig:
        return self.shop_config if self.side == Side.SHOP else self.crm_config

    @property
    def shop_config(self) -> ShopConfig:
        if self.is_environment:
            return ShopConfig.of_environment(self.slug)
        return ShopConfig.of_row(self.slug, self.settings, self._decrypted)

    @property
    def crm_config(self) -> CrmConfig:
        if self.is_environment:
            return CrmConfig.of_environment(self.slug)
        return CrmConfig.of_row(self.slug, self.kind, self.settings, self._decrypted)

    @property
    def poll_seconds(self) -> int:
        """How often a CRM is asked what changed; 0: whenever reconcile does. Its keys are not looked at for that."""
        if self.is_environment:
            return poll_seconds(settings.CRM_POLL_SECONDS) if self.side == Side.CRM else 0
        return poll_seconds(self.settings.get("poll_seconds"))

    @property
    def _decrypted(self) -> dict[str, str]:
        return _decrypted(self.credentials)

    def learn_secrets(self) -> None:
        """So that this process shows none of them, whoever tells it one. What cannot be decrypted is told elsewhere."""
        with suppress(import_module("webhooks.credentials").WrongKey):
            _ = self._decrypted

    @property
    def account(self) -> tuple[str, ...]:
        """Equal for two connections to the same system, however its address is written."""
        said, kind = self.settings, self.kind  # a key that cannot be read must not hide whose account it is
        if self.is_environment:
            config = self.config
            said = {**getattr(config, "options", {}), "url": config.url}
            kind = getattr(config, "backend", WOOCOMMERCE)
        address = str(said.get("url", "")).lower().rstrip("/")
        with suppress(ValueError):  # of what is no address
            parts = urlsplit(address)
            port = "" if parts.port in (None, 80, 443) else f":{parts.port}"
            address = f"{parts.hostname}{port}{parts.path}?{parts.query}"
        return (kind, address, str(said.get("database", "")))


@functools.lru_cache(maxsize=128)
def _decrypted(stored: str) -> dict[str, str]:
    """Each ciphertext once: a delivery must not wait for it."""
    return import_module("webhooks.credentials").decrypt(stored) if stored else {}


SEEN_FOR = 1.0
"""Seconds for which a process believes what it read: a delivery costs one INSERT, and no question before it."""
NAMES_SEEN_FOR = 10.0
"""The same for what pages show."""
_senders: dict[str, tuple[float, Any]] = {}
_bridges: dict[str, tuple[float, Any]] = {}


def sender(slug: str) -> "Connection | None":
    """The connection that delivers under this name. None: there is none, or none any more."""
    return _of_now(_senders, slug, lambda: Connection.objects.filter(slug=slug, archived_at=None).first())


def bridges_told_by(slug: str) -> tuple[int, ...]:
    """Those that hear of its deliveries, each by an event of its own."""
    if slug == SHOP:  # it is in the default one, and a shop is in one only
        return (DEFAULT_BRIDGE,)
    of = Bridge.objects.filter(Q(shop__slug=slug) | Q(crm__slug=slug), archived_at=None).order_by("pk")
    return _of_now(_bridges, slug, lambda: tuple(of.values_list("pk", flat=True)))


def bridge_names() -> dict[int, str]:
    """What people call them, those in use. With one alone, no page speaks of bridges."""
    used = Bridge.objects.filter(archived_at=None).order_by("pk")
    names: dict[int, str] = _of_now(_bridges, "", lambda: dict(used.values_list("pk", "name")), NAMES_SEEN_FOR)
    return names


def _of_now(known: dict[str, tuple[float, Any]], slug: str, read: Callable[[], Any], seen_for: float = SEEN_FOR) -> Any:
    """Nothing is not remembered: anybody may ask for any name."""
    until, value = known.get(slug, (0.0, None))
    if time.monotonic() >= until:
        value = read()
        known.pop(slug, None)
        if value:
            known[slug] = time.monotonic() + seen_for, value
    return value


def forget_senders(**_: Any) -> None:
    """What this process changed, it knows at once."""
    _senders.clear()
    _bridges.clear()


class BridgeQuerySet(models.QuerySet["Bridge"]):
    def with_connections(self) -> "BridgeQuerySet":
        return self.select_related("shop", "crm").order_by("pk")

    def on(self) -> "BridgeQuerySet":
        """Those that work."""
        return self.with_connections().filter(
            state=Bridge.State.ON,
            archived_at=None,
            shop__archived_at=None,
            crm__isnull=False,
            crm__archived_at=None,
        )


class Bridge(models.Model):
    """One shop joined to one CRM account. Everything about an order hangs on it."""

    class State(models.TextChoices):
        DRAFT = "draft", "Being set up"
        ON = "on", "On"
        PAUSED = "paused", "Paused"

    slug = models.SlugField(max_length=40, unique=True)
    name = models.CharField(max_length=80)
    shop = models.OneToOneField(Connection, on_delete=models.PROTECT, related_name="bridge")
    crm = models.ForeignKey(
        Connection,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="bridges",
        verbose_name="CRM",
        help_text="Empty while it is being set up",
    )
    external_id_prefix = models.CharField(
        max_length=20,
        blank=True,
        validators=[
            RegexValidator(
                rf"^{PREFIX}\Z", "Use at most 20 of A-Z a-z 0-9 . _ : / # -, and no digit at the end, as in shop-b-"
            )
        ],
        help_text="Goes before the shop's order number wherever the CRM is told it",
    )
    state = models.CharField(max_length=8, choices=State.choices, default=State.DRAFT)
    options = models.JSONField(default=dict, blank=True)
    field_map = models.TextField(
        blank=True, default="", db_default="", editable=False, help_text="That is on, as JSON; empty: none"
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    archived_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects = BridgeQuerySet.as_manager()

    class Meta:
        ordering = ["pk"]
        permissions = [
            ("set_up_bridge", "Can bridge shops and CRMs, map their statuses, and archive bridges"),
            ("pause_bridge", "Can switch bridges on, and pause them"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def is_environment(self) -> bool:
        return self.pk == DEFAULT_BRIDGE

    @property
    def is_set(self) -> bool:
        """Something of it is: the environment's is there in any case."""
        return self.shop.is_set or (self.crm is not None and self.crm.is_set)

    @property
    def is_on(self) -> bool:
        return self.state == self.State.ON and self.archived_at is None

    @property
    def shop_config(self) -> ShopConfig:
        return self.shop.shop_config

    @property
    def crm_config(self) -> CrmConfig:
        """Raises Connection.DoesNotExist while it has no CRM."""
        if self.crm is None:
            raise Connection.DoesNotExist(f"The bridge {self.slug} has no CRM yet. Choose one for it.")
        return self.crm.crm_config

    @property
    def prefix(self) -> str:
        return settings.EXTERNAL_ID_PREFIX if self.is_environment else self.external_id_prefix

    @property
    def verify(self) -> str:
        """always or critical (CONTRACT section 1)."""
        return str(self.options.get("verify") or settings.VERIFY)

    def slug_of(self, side: str) -> str:
        """Of its connection on that side. What is known of how that is doing goes by it."""
        if side == Side.SHOP:
            return self.shop.slug
        return self.crm.slug if self.crm else ""

    def clean(self) -> None:
        """Two shops that tell one CRM of their orders by the same names would overwrite each other's."""
        super().clean()
        if self.shop_id and self.shop.side != Side.SHOP:
            raise ValidationError({"shop": f"{self.shop} is no shop. Choose a connection to a WooCommerce shop."})
        if self.crm is None:
            return
        if self.crm.side != Side.CRM:
            raise ValidationError({"crm": f"{self.crm} is no CRM. Choose a connection to a CRM."})
        others = Bridge.objects.with_connections().filter(archived_at=None, crm__isnull=False).exclude(pk=self.pk)
        for other in others:
            if other.crm and other.crm.account == self.crm.account and other.prefix == self.prefix:
                raise ValidationError({"external_id_prefix": _same_names(other, self.prefix)})


def _same_names(other: Bridge, prefix: str) -> str:
    named = f"the prefix {prefix!r}" if prefix else "no prefix"
    return (
        f"The bridge {other} tells the same CRM account of its orders with {named}: two orders of the same number "
        "would be one there. Give this bridge a prefix of its own, as in shop-b-"
    )


def default_bridge() -> Bridge:
    return Bridge.objects.with_connections().get(pk=DEFAULT_BRIDGE)


HANGS_ON_A_BRIDGE: dict[str, Any] = {
    "on_delete": models.PROTECT,
    "default": DEFAULT_BRIDGE,
    "db_default": DEFAULT_BRIDGE,
    "db_index": False,
    "db_constraint": False,
    "related_name": "+",
}
"""Of the foreign key `bridge` of everything that hangs on an order. What was there before there were several is of the
default one. Without a constraint in the database: PostgreSQL would lock the bridge's row for each delivery. A bridge is
not deleted while something hangs on it (PROTECT); it is archived."""
MAY_HANG_ON_A_BRIDGE: dict[str, Any] = {
    **HANGS_ON_A_BRIDGE,
    "null": True,
    "blank": True,
    "default": None,
    "db_default": None,
    "help_text": "Empty: it is about none",
}


for changed in (Connection, Bridge):
    post_save.connect(forget_senders, sender=changed)
