"""The address of a shop, as a person types it at a page: put right, and asked whether a shop is there."""

import re
from urllib.parse import urlsplit

from django.conf import settings

from sync.clients.addresses import is_private
from sync.clients.causes import plain
from sync.clients.errors import AuthFailed, Blocked, NotConfigured, NotFound, SideError
from sync.clients.http import JsonClient

TAIL = re.compile(r"/(wp-admin|wp-login\.php|wp-json|wc-auth|wc-api|index\.php)(/.*)?$")
"""What people copy along with it."""
NAMESPACE = "wc/v3"


class NoShop(Exception):
    """The address is none of a shop that we could talk to. The message says why, and what to type instead."""


def tidy(typed: str) -> str:
    """The base address in its one spelling. Raises NoShop."""
    text = typed.strip()
    text = text if "://" in text else f"https://{text}"
    try:
        parts = urlsplit(text)
        host, port = (parts.hostname or "").lower(), parts.port
    except ValueError:
        raise NoShop(f"{typed!r} is no address. Write it as in https://shop.example.") from None
    if parts.scheme not in ("http", "https") or not host or re.search(r"[\s\\]", text):
        raise NoShop(f"{typed!r} is no address. Write it as in https://shop.example.")
    if "@" in parts.netloc:
        raise NoShop("Leave user and password out of the address. There is a field for them with the keys.")
    host = f"[{host}]" if ":" in host else host
    usual = port in (None, {"http": 80, "https": 443}[parts.scheme])
    path = TAIL.sub("", f"/{parts.path.strip('/')}").rstrip("/")
    return f"{parts.scheme}://{host}{'' if usual else f':{port}'}{path}"


def same_shop(one: str, other: str) -> bool:
    """With https or without, with www or without: a shop has one database."""
    return _bare(one) == _bare(other)


def _bare(url: str) -> str:
    return url.partition("://")[2].removeprefix("www.").rstrip("/").lower()


def is_public_only() -> bool:
    """Of the addresses that are typed at a page."""
    return not settings.ALLOW_PRIVATE_ADDRESSES


def ensure_scheme(url: str) -> None:
    """Keys and orders go over https, but in a network of our own. Raises NoShop."""
    if url.startswith("http://") and (is_public_only() or not is_private(urlsplit(url).hostname or "")):
        raise NoShop(
            f"Write https://{url.partition('://')[2]}: over http everybody on the way could read keys and orders. "
            "http is for a private network, and only where ALLOW_PRIVATE_ADDRESSES=true is set."
        )


def ensure_shop(url: str) -> None:
    """Ask, without a key, whether WooCommerce is there. Raises NoShop."""
    ensure_scheme(url)
    client = JsonClient("shop", url, public_only=is_public_only())
    try:
        said = client.request("GET", "/wp-json/", params={"_fields": "namespaces,name"}).data
    except NotFound as error:
        raise NoShop(
            f"A web server answers at {url}, and no WordPress with pretty permalinks. Correct the address; or choose "
            "anything but Plain in WordPress under Settings → Permalinks."
        ) from error
    except AuthFailed as error:
        raise NoShop(
            f"What answers at {url} asks for a password first. If a server in front of the shop does, type a pair of "
            "keys, and its user and password; else correct the address."
        ) from error
    except NotConfigured as error:
        raise NoShop(plain(f"{error.message} {error.advice}")) from error
    except Blocked as error:
        raise NoShop(plain(f"No shop answers at {url}. {error.message} {error.advice}")) from error
    except SideError as error:
        raise NoShop(plain(f"{error.message} {error.advice}")) from error
    names = said.get("namespaces") if isinstance(said, dict) else None
    if not isinstance(names, list):
        raise NoShop(f"What answers at {url} is no WordPress. Correct the address.")
    if NAMESPACE not in names:
        raise NoShop(f"WordPress answers at {url}, without WooCommerce. Activate the plugin WooCommerce there.")
