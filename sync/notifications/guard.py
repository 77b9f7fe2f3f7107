"""While a message is sent by apprise, no connection leads into our own network: not by DNS, nor by a redirect."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from django.conf import settings

from sync.clients.addresses import is_inside
from sync.notifications.addresses import INSIDE

_refused: ContextVar[list[str] | None] = ContextVar("refused", default=None)
"""What was refused in this context; None: nothing is. Threads that apprise starts inherit it."""
_getaddrinfo = socket.getaddrinfo


class LeadsInside(OSError):
    """The name stands for an address that is not public."""


@contextmanager
def only_outside() -> Iterator[list[str]]:
    """Gives the list of what was refused. Each connection of Python's begins with this question, also one to a numeric
    address."""
    socket.getaddrinfo = _asked  # once is enough: elsewhere there is no difference
    refused: list[str] = []
    token = _refused.set(None if settings.ALLOW_PRIVATE_ADDRESSES else refused)
    try:
        yield refused
    finally:
        _refused.reset(token)


def _asked(host: Any, *args: Any, **kwargs: Any) -> Any:
    found = _getaddrinfo(host, *args, **kwargs)
    refused = _refused.get()
    if refused is not None and any(is_inside(str(one[4][0])) for one in found):
        refused.append(f"{host.decode() if isinstance(host, bytes) else host} {INSIDE}")
        raise LeadsInside(refused[-1])
    return found
