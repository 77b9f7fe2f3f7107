"""What the tests of connections share: a shop and a CRM that nobody has connected yet."""

import re
from collections.abc import Iterator
from html import unescape
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from django.test import Client
from django.urls import reverse

from sync.sandbox.crm import SandboxCrm
from sync.sandbox.shop import SandboxShop
from tests.people import signed_in

CRM_VALUES = {"token": "token-of-the-other-crm", "signature": "standard-webhooks"}


@pytest.fixture
def shop() -> Iterator[SandboxShop]:
    shop = SandboxShop(first_id=501)
    shop.start()
    yield shop
    shop.stop()


@pytest.fixture
def crm() -> Iterator[SandboxCrm]:
    crm = SandboxCrm(token=CRM_VALUES["token"])
    crm.start()
    yield crm
    crm.stop()


@pytest.fixture
def manager(settings: Any, live_server: Any) -> Client:
    """The sandbox is on loopback, and calls us there."""
    settings.ALLOW_PRIVATE_ADDRESSES, settings.PUBLIC_URL = True, live_server.url
    return signed_in("manager")


def page(name: str, *args: Any) -> str:
    return reverse(f"admin:webhooks_{name}", args=args)


def link(answer: Any, label: str) -> str:
    """Where the button of this name leads on the page."""
    html = answer.content.decode() if hasattr(answer, "content") else answer
    found = [href for href, text in re.findall(r'<a\s+href="([^"]+)"[^>]*>\s*([^<]*?)\s*</a>', html) if text == label]
    assert len(found) == 1, (label, found)
    return unescape(found[0])


def approved(client: Client, shop: SandboxShop, name: str = "Shop B", button: str = "Approve") -> str:
    """The address that the shop leads back to, once its manager pressed the button."""
    asked = client.post(page("connection_add_shop"), {"name": name, "url": shop.url})
    asks = requests.get(link(asked, "Approve in the shop"), timeout=60)
    way = re.search(rf'href="([^"]+)">{button}<', asks.text)
    assert way is not None, asks.text
    url = unescape(way[1])
    if button == "Approve":
        answer = requests.get(f"{shop.url}{url}", timeout=60, allow_redirects=False)
        url = answer.headers.get("Location", answer.text)
    return url


def local(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.path}?{parts.query}"
