"""The clients of a bridge: its shop and its CRM, as their connections say."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from sync.clients import crm as crm_backends
from sync.clients import shop as shop_client
from sync.clients.crm.base import Crm
from sync.clients.errors import NotConfigured
from sync.clients.http import CallRecord, ignore, nothing
from sync.clients.mapping.field_map import field_map
from sync.clients.shop import Shop
from sync.clients.snapshots import AS_IT_IS, Composer
from webhooks.connections import Bridge
from webhooks.models import Side

OnCall = Callable[[CallRecord], None]
BeforeCall = Callable[[], None]


def shop_of(bridge: Bridge, on_call: OnCall = ignore, before_call: BeforeCall = nothing) -> Shop:
    """Raises NotConfigured."""
    return shop_client.connect_to(bridge.shop_config, on_call, before_call, composer_of(bridge))


def composer_of(bridge: Bridge) -> Composer:
    """That of its CRM, with the field map of the bridge."""
    composer = crm_backends.composer(bridge.crm_config) if bridge.crm else AS_IT_IS
    mapped = field_map(bridge.field_map)
    return replace(composer, mapped=mapped) if mapped else composer


def crm_of(bridge: Bridge, on_call: OnCall = ignore, before_call: BeforeCall = nothing) -> Crm:
    """Raises NotConfigured."""
    if bridge.crm is None:
        raise NotConfigured(f"The bridge {bridge} has no CRM yet. Choose one for it.", side=Side.CRM)
    return crm_backends.connect(on_call, before_call, bridge.crm_config)


def pings_of(bridge: Bridge) -> Mapping[str, Callable[[], None]]:
    """A cheap read of each side, by the slug of its connection."""
    return {
        bridge.slug_of(Side.SHOP): lambda: shop_of(bridge).ping(),
        bridge.slug_of(Side.CRM): lambda: crm_of(bridge).ping(),
    }
