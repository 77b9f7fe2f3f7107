"""The bounds of one outgoing call, kept on its socket: how long all of it may take, and how much may come.

A socket's own timeout begins anew with every byte, so that a header sent byte by byte, or `100 Continue` without end,
would hold a worker until the queue kills it. Here each step gets what is left of the call's one deadline: connecting
to each address, sending each piece, and each read of what comes, be it head, size of a chunk, body or trailer.
Out of reach is the resolver of the machine, which has its own (`timeout` and `attempts` in resolv.conf).
"""

import http.client
import io
import socket
import ssl
import time
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import requests.adapters
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import (
    ConnectTimeoutError,
    LocationParseError,
    NameResolutionError,
    NewConnectionError,
)
from urllib3.util.connection import allowed_gai_family

from sync.clients.addresses import PrivateAddress, is_inside

MAX_HEAD_BYTES = 100_000
MAX_INTERIM = 10
"""Answers of the kind `100 Continue` before the real one."""
PIECE = 16_384
"""Bytes sent at a time: no more than TLS puts into one record, whose sending has one timeout."""


class TooMuch(http.client.HTTPException):
    """More came than an answer may have."""


@dataclass(frozen=True)
class Bounds:
    until: float
    "By the monotonic clock."
    silence: float
    "Seconds that may pass without anything coming or going."
    answer_bytes: int
    "After the head, as they come: not unpacked, with the sizes of chunks and the trailers."
    public_only: bool = False
    "The address was typed at a page: it must not lead into our own network, whatever its name resolves to now."

    def left(self) -> float:
        """Seconds until the next step must have ended."""
        left = self.until - time.monotonic()
        if left <= 0:
            raise TimeoutError("the time for the whole call is up")
        return min(left, self.silence)


bounds: ContextVar[Bounds] = ContextVar("bounds")
"""Those of the call that this thread is making."""


class _Reader(io.RawIOBase):
    """What comes from the socket."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock, self.raw, self.bounds = sock, sock.makefile("rb", buffering=0), bounds.get()
        self.most, self.came = MAX_HEAD_BYTES, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if self.came > self.most:
            raise TooMuch(f"more than {self.most} bytes")
        self.sock.settimeout(self.bounds.left())
        size: int | None = self.raw.readinto(buffer)
        self.came += size or 0
        return size

    def close(self) -> None:
        self.raw.close()
        super().close()


class _Response(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        self.fp.close()
        self.reader = _Reader(sock)
        self.fp = io.BufferedReader(self.reader)
        self.interim = 0

    def begin(self) -> None:
        super().begin()
        self.reader.most += self.reader.bounds.answer_bytes

    def _read_status(self) -> tuple[str, int, str]:
        """Every 1xx is passed over as `100 Continue` is: taken for the answer, it would leave the real one for the next
        call on this connection."""
        version, status, reason = super()._read_status()  # type: ignore[misc]
        if not 100 <= status < 200:
            return version, status, reason
        self.interim += 1
        if self.interim > MAX_INTERIM:
            raise TooMuch(f"more than {MAX_INTERIM} answers before the real one")
        return version, http.client.CONTINUE, reason


class _Bounded(HTTPConnection):
    response_class = _Response

    def _new_conn(self) -> socket.socket:
        """Each address has what is left, and not each of them the whole time to connect."""
        name, most = self._dns_host, self.timeout
        try:
            found = socket.getaddrinfo(name, self.port, allowed_gai_family(), socket.SOCK_STREAM)
        except socket.gaierror as error:
            raise NameResolutionError(name, self, error) from error
        except UnicodeError:
            raise LocationParseError(f"{name}, label empty or too long") from None
        if bounds.get().public_only and (inside := next(filter(is_inside, (str(one[4][0]) for one in found)), "")):
            raise PrivateAddress(f"{name} leads to {inside}, which is no public address")
        problem: Exception = NewConnectionError(self, "no address")
        for *_, address in found:
            try:
                self._dns_host, self.timeout = str(address[0]), min(float(most or 0), bounds.get().left())
                return super()._new_conn()
            except (ConnectTimeoutError, NewConnectionError) as error:
                problem = error
            except TimeoutError:
                break
            finally:
                self._dns_host, self.timeout = name, most
        raise problem

    def send(self, data: Any) -> None:
        """`http.client` would make one timeout for all of it, or with TLS one for each piece that goes."""
        for start in range(0, len(data), PIECE):
            if self.sock is not None:
                self.sock.settimeout(bounds.get().left())
            super().send(data[start : start + PIECE])


class _Http(HTTPConnectionPool):
    ConnectionCls = _Bounded


class _BoundedTls(_Bounded, HTTPSConnection):
    pass


class _Https(HTTPSConnectionPool):
    ConnectionCls = _BoundedTls


class Adapter(requests.adapters.HTTPAdapter):
    """For a session: its calls keep to `bounds`."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.tls = tls
        super().__init__()

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        if self.tls is not None:
            options["ssl_context"] = self.tls
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = {"http": _Http, "https": _Https}
