"""What a person types at a page must not send us into our own network, whatever its name resolves to."""

import socket
from typing import Any

import pytest

from sync.clients.addresses import is_inside
from sync.clients.errors import NotConfigured, Unreachable
from sync.clients.http import JsonClient
from sync.sandbox.shop import SandboxShop

INSIDE = [
    *("127.0.0.1", "127.9.9.9", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.1.2.3"),
    *("224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1", "fe80::1%eth0", "fd00::1", "ff02::1"),
    *("::ffff:10.0.0.1", "::ffff:127.0.0.1", "64:ff9b::a00:1", "2002:7f00:1::", "2001:0:1:2:3:4:80ff:fffe"),
]
PUBLIC = ["1.1.1.1", "93.184.216.34", "2606:4700:4700::1111", "64:ff9b::101:101", "::ffff:1.1.1.1"]


@pytest.mark.parametrize("address", INSIDE)
def test_what_is_not_of_the_public_internet_is_inside(address: str) -> None:
    assert is_inside(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_what_is_of_the_public_internet_is_not(address: str) -> None:
    assert not is_inside(address)


@pytest.mark.parametrize("answers", [["127.0.0.1"], ["1.1.1.1", "127.0.0.1"], ["::ffff:127.0.0.1"]])
def test_a_name_that_leads_inside_is_not_called(monkeypatch: pytest.MonkeyPatch, answers: list[str]) -> None:
    """Whatever it led to when it was typed: it is resolved again for each connection."""
    shop = SandboxShop()
    shop.start()
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, shop.port)) for one in answers]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **options: found)
    connected: list[Any] = []
    monkeypatch.setattr(socket.socket, "connect", lambda self, address: connected.append(address))
    client = JsonClient("shop", f"http://rebound.example:{shop.port}", public_only=True)
    with pytest.raises(NotConfigured, match="no public address") as error:
        client.request("GET", "/wp-json/")
    assert "ALLOW_PRIVATE_ADDRESSES" in error.value.advice
    assert connected == [] and shop.requests == []
    shop.stop()


def test_an_address_without_a_name_is_checked_as_well() -> None:
    for host in ("127.0.0.1", "localhost", "[::1]", "2130706433", "0x7f.1", "127.1"):
        with pytest.raises((NotConfigured, Unreachable)) as error:
            JsonClient("crm", f"http://{host}:9", public_only=True).request("GET", "/")
        assert isinstance(error.value, NotConfigured) or "resolve" in str(error.value), host
