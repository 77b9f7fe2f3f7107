"""From an order here to its page in the shop and in the CRM."""

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from sync.clients.crm import backend
from sync.clients.crm.base import Links, access
from sync.clients.errors import NotConfigured
from webhooks.credentials import WrongKey
from webhooks.models import Bridge, Connection

SHOP_PAGE = "/wp-admin/admin.php?page=wc-orders&action=edit&id="
"""Of WooCommerce's own tables of orders (HPOS), its default since 8.2. A shop that still keeps orders as posts leads
from here to post.php by itself (docs/decisions/0083)."""


def shop_page(bridge: Bridge, woo_id: int | None) -> str:
    """Empty: none can be named. An event has its page also where credentials cannot be decrypted."""
    try:
        url = bridge.shop_config.url
    except WrongKey:
        return ""
    return f"{url}{SHOP_PAGE}{woo_id}" if url and woo_id else ""


def crm_page(bridge: Bridge, crm_order_id: str) -> str:
    """Empty where the backend does not know it: a person has to say the address of an order in the CRM."""
    if not crm_order_id:
        return ""
    try:
        config = bridge.crm_config
        kind = backend(config.backend)
    except (NotConfigured, WrongKey, Connection.DoesNotExist):
        return ""
    crm = kind(access(kind.schema, {**config.options, "url": config.url}, config.slug))
    url = crm.url_of(crm_order_id) if isinstance(crm, Links) else ""
    return url if url.startswith(("https://", "http://")) else ""


def pages(bridge: Bridge, woo_id: int | None, crm_order_id: str) -> SafeString:
    """The links to both, as far as they are known; they open beside our page, and are told nothing of it."""
    known = [("Shop", shop_page(bridge, woo_id)), ("CRM", crm_page(bridge, crm_order_id))]
    link = '<a class="text-link whitespace-nowrap" href="{}" target="_blank" rel="noopener noreferrer">{} ↗</a>'
    found = [(format_html(link, url, name),) for name, url in known if url]
    return format_html_join(" ", "{}", found) if found else SafeString("–")
