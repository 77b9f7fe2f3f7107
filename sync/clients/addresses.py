"""Which addresses are of the public internet. One that was typed at a page must not send us into our own network."""

import ipaddress

from urllib3.exceptions import LocationValueError

NAT64 = ipaddress.ip_network("64:ff9b::/96")
PRIVATE_NAMES = (".local", ".localhost", ".internal", ".lan", ".home.arpa")
ADVICE = (
    "If it is right, as in a network of your own, set ALLOW_PRIVATE_ADDRESSES=true and restart the web server and the "
    "worker."
)


class PrivateAddress(LocationValueError):
    """The name leads into our own network."""


def is_inside(address: str) -> bool:
    """Whether it is none of the public internet: this machine, a private network, or one that leads to such a one."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo or (None, None))[1]
        inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF) if ip in NAT64 else inner
        if inner is not None:
            return is_inside(str(inner))
    return not ip.is_global or ip.is_multicast


def is_private(host: str) -> bool:
    """As far as can be said without asking DNS. A name without a dot is one of a container, or of /etc/hosts."""
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        return "." not in host.rstrip(".") or host.rstrip(".").lower().endswith(PRIVATE_NAMES)
