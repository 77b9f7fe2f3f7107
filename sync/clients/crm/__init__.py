"""The CRM that a connection names, as a cache backend is: a built-in word, or a dotted path to a class."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from django.conf import settings
from django.utils.module_loading import import_string

from sync.clients import installation
from sync.clients.crm.base import Access, Crm, TellsByHooks, access
from sync.clients.errors import NotConfigured
from sync.clients.http import CallRecord, ignore, nothing
from sync.clients.snapshots import AS_IT_IS, Composer
from webhooks import schemas
from webhooks.configs import CrmConfig
from webhooks.connections import CRM
from webhooks.credentials import hide

BACKENDS = {
    "rest": "sync.clients.crm.rest.RestCrm",
    "erpnext": "sync.clients.crm.erpnext.ErpnextCrm",
    "hubspot": "sync.clients.crm.hubspot.HubspotCrm",
    "odoo": "sync.clients.crm.odoo.OdooCrm",
    "tryton": "sync.clients.crm.tryton.TrytonCrm",
}
"""The built-in ones by the word that CRM_BACKEND or a connection's kind names them with."""


def backend(kind: str) -> type[Crm]:
    """The class of this name. Raises NotConfigured."""
    try:
        found: type[Crm] = import_string(BACKENDS.get(kind, kind))
    except ImportError as error:
        known = ", ".join(map(repr, BACKENDS))
        words = f"CRM_BACKEND is {kind!r}: use {known} or the dotted path of a class ({error})."
        raise NotConfigured(words, side="crm") from error
    return found


def register_hooks() -> None:
    """Of all backends that there may be, so that their deliveries can be read without knowing them."""
    for kind in {**BACKENDS, settings.CRM_BACKEND: ""}:
        with suppress(NotConfigured):  # told of elsewhere
            found = backend(kind)
            if isinstance(found, TellsByHooks):
                schemas.register(kind, found.hooks)


def environment(kind: type[Crm]) -> Access:
    """Of the connection that the environment defines: `CRM_URL`, `CRM_TOKEN`, `CRM_<OPTION>`."""
    return told(kind, CrmConfig.of_environment(CRM))


def told(kind: type[Crm], config: CrmConfig) -> Access:
    """What the connection says, by the schema of its backend."""
    values = {**config.options, "url": config.url, "token": config.token}
    return access(kind.schema, values, config.slug, public_only=config.public_only)


def connect(
    on_call: Callable[[CallRecord], None] = ignore,
    before_call: Callable[[], None] = nothing,
    config: CrmConfig | None = None,
) -> Crm:
    """A backend ready for use; without a connection, that of the environment. Raises NotConfigured."""
    config = config or CrmConfig.of_environment(CRM)
    kind = backend(config.backend)
    return connect_to(kind, told(kind, config), on_call, before_call)


def connect_to(
    kind: type[Crm],
    to: Access,
    on_call: Callable[[CallRecord], None] = ignore,
    before_call: Callable[[], None] = nothing,
) -> Crm:
    installation.ensure_ours("crm")
    to.ensure_whole(kind.schema)
    hide(to[one.name] for one in kind.schema if one.secret)
    return kind(replace(to, on_call=on_call, before_call=before_call))


def composer(config: CrmConfig | None = None) -> Composer:
    """What makes the document of an order for this CRM. Where that is none, nothing is sent."""
    config = config or CrmConfig.of_environment(CRM)
    try:
        kind = backend(config.backend)
    except NotConfigured:
        return AS_IT_IS
    return kind.composer(told(kind, config))
