"""gunicorn's threads get whole requests only, so that slow senders take none of them (docs/decisions/0055).

Its own threads read what has yet to come: sixteen connections that send a byte now and then keep sixteen threads busy.
Here a connection waits in the worker's poller, where it costs a socket, until all of its request has come.
"""

import errno
import re
import resource
import struct
import time
from collections import OrderedDict
from contextlib import suppress
from functools import partial
from selectors import EVENT_READ
from socket import SHUT_WR, SO_SNDTIMEO, SOL_SOCKET
from typing import Any

from django.conf import settings
from gunicorn import util
from gunicorn.workers.gthread import ThreadWorker

PATIENCE = 20.0
"""Seconds for a request to come, and for more of it to come; longer in all only for what comes at LEAST_RATE."""
LEAST_RATE = 50_000
"""Bytes a second."""
WRITE_SECONDS = 20
"""For a reader that takes nothing more of its answer."""
LINGER = 2.0
"""For a sender of too much to read that it was too much."""
MOST_HEADERS = 1_048_576
"""Above what gunicorn reads; it says itself what is wrong with them."""
MOST_HELD = 64 * 1_048_576
"""Bytes of unfinished requests in one process."""
SPARE_FILES = 256
"""Of those a process may open, what databases, logs and calls need."""
SCARCE = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
PIECE = 65_536
CONTENT_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]+)[ \t]*\r\n", re.IGNORECASE)
CHUNKED = re.compile(rb"\r\ntransfer-encoding:[^\r\n]*chunked", re.IGNORECASE)
ASKS_FIRST = re.compile(rb"\r\nexpect:[ \t]*100-continue", re.IGNORECASE)
SIZE = re.compile(rb"([0-9a-fA-F]{1,8})[^\r\n]*\r\n")


class Arrival:
    """What has come of one request. It only finds the end; gunicorn's parser judges what is there."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.data = bytearray()
        self.began = time.monotonic()
        self.place = 0
        "As far as the end was looked for."
        self.end = 0
        self.chunked = self.asks_first = self.too_much = False

    def is_late(self, now: float) -> bool:
        return now - self.began > PATIENCE + len(self.data) / LEAST_RATE

    def is_whole(self) -> bool:
        """Or longer than anybody reads: then the rest is not waited for."""
        if not self.end and not self._headers():
            self.too_much = len(self.data) >= MOST_HEADERS
        elif not self.chunked:
            return len(self.data) >= self.end
        elif not self._last_chunk():
            self.too_much = len(self.data) - self.end > 2 * self.most + PIECE
        else:
            return True
        return self.too_much

    def _headers(self) -> bool:
        head = self.data.find(b"\r\n\r\n", max(0, self.place - 3))
        self.place = len(self.data)
        if head < 0:
            return False
        headers = bytes(self.data[: head + 2])
        self.place = self.end = head + 4
        self.chunked = CHUNKED.search(headers) is not None
        self.asks_first = ASKS_FIRST.search(headers) is not None
        announced = CONTENT_LENGTH.search(headers)
        if announced and not self.chunked:
            self.too_much = len(announced[1]) > 15 or int(announced[1]) > self.most
            self.end += 0 if self.too_much else int(announced[1])
        return True

    def _last_chunk(self) -> bool:
        """Or something that is no chunk."""
        while size := SIZE.match(self.data, self.place):
            length = int(size[1], 16)
            if not length:
                return self.data.find(b"\r\n\r\n", size.end() - 2) >= 0
            if size.end() + length + 2 > len(self.data):
                return False
            self.place = size.end() + length + 2
        return len(self.data) - self.place > 1000 or b"\r\n" in self.data[self.place :]


def most_connections(wanted: int) -> int:
    """As the limit of open files allows. The soft one, mostly 1,024, is low for those that use select()."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + SPARE_FILES
    if soft == resource.RLIM_INFINITY:
        return wanted
    if soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return min(wanted, max(soft - SPARE_FILES, soft // 2))


class Worker(ThreadWorker):
    """gunicorn's `gthread`, but for when a thread is asked, and for who goes when there are too many."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.held = 0
        self.unfinished: OrderedDict[Any, None] = OrderedDict()
        "The connections with an arrival, the oldest first."

    def init_process(self) -> None:
        wanted: int = self.cfg.worker_connections
        self.worker_connections = most_connections(wanted)
        if self.worker_connections < wanted:
            words = "%d connections at once, not %d: LimitNOFILE= allows no more open files."
            self.log.warning(words, self.worker_connections, wanted)
        super().init_process()

    def accept(self, listener: Any) -> None:
        """gunicorn would accept nobody above the limit of connections, and die at that of files."""
        if self.nr_conns + 1 >= self.worker_connections:
            self._make_room()
        try:
            super().accept(listener)
        except OSError as error:
            if error.errno not in SCARCE:
                raise
            if not self._make_room():
                time.sleep(0.05)  # it would be called again at once

    def finish_request(self, conn: Any, fs: Any) -> None:
        super().finish_request(conn, fs)
        if self.nr_conns >= self.worker_connections:  # all were in threads: none could go for the next one
            self._make_room()

    def _make_room(self) -> bool:
        """An idle connection goes; else the oldest one of those without whole headers, which come at once from whoever
        means it; else the oldest, unless most are with the threads: one of those is idle in a moment."""
        if self.keepalived_conns:
            self._cut(self.keepalived_conns[0], self.keepalived_conns)
            return True
        oldest = next((one for one in self.unfinished if not one.arrival.end), None)
        with_threads = self.nr_conns - len(self.pending_conns)
        if oldest is None and with_threads <= len(self.unfinished):
            oldest = next(iter(self.unfinished), None)
        if oldest:
            self._cut(oldest, self.pending_conns)
        return oldest is not None

    def _cut(self, conn: Any, among: Any) -> None:
        among.remove(conn)
        self.poller.unregister(conn.sock)
        self.nr_conns -= 1
        conn.close()

    def on_client_socket_readable(self, conn: Any, client: Any) -> None:
        if client.fileno() >= 0:  # not cut since the poller told of it
            super().on_client_socket_readable(conn, client)

    def on_pending_socket_readable(self, conn: Any, client: Any) -> None:
        if client.fileno() >= 0:
            super().on_pending_socket_readable(conn, client)

    def enqueue_req(self, conn: Any) -> None:
        """Called in the loop for each new connection, and whenever there is something to read."""
        if self.cfg.is_ssl:
            super().enqueue_req(conn)
            return
        if not conn.initialized:
            conn.init()
            # A thread never waits for more: what is not there by then does not come.
            conn.parser.unreader.chunk = lambda size_hint=None: b""
            conn.sock.setsockopt(SOL_SOCKET, SO_SNDTIMEO, struct.pack("ll", WRITE_SECONDS, 0))
            conn.close = partial(self._close, conn)
            conn.arrival, conn.lingers = None, False
        if self._has_come(conn):
            super().enqueue_req(conn)

    def _has_come(self, conn: Any) -> bool:
        if conn.arrival is None:
            conn.arrival = Arrival(settings.MAX_BODY_BYTES)
            self.unfinished[conn] = None
            self._keep(conn.arrival, conn.parser.unreader.take_buffered())
        arrival, ended = conn.arrival, False
        conn.sock.setblocking(False)
        try:
            while not ended and (conn.lingers or not arrival.is_whole()):
                piece = conn.sock.recv(PIECE)
                ended = not piece
                if not conn.lingers:
                    self._keep(arrival, piece)
        except BlockingIOError:
            ended = False
        except OSError:
            ended = True
        if conn.lingers or not (ended or arrival.is_whole()):
            self._wait(conn, ended=ended)
            return False
        self._let_go(conn)
        conn.parser.unreader.unread(bytes(arrival.data))
        conn.data_ready, conn.too_much = True, arrival.too_much
        return True

    def _keep(self, arrival: Arrival, piece: bytes) -> None:
        arrival.data += piece
        self.held += len(piece)

    def _let_go(self, conn: Any) -> None:
        self.held -= len(conn.arrival.data)
        del self.unfinished[conn]
        conn.arrival = None

    def _wait(self, conn: Any, *, ended: bool) -> None:
        """In the poller; unless it has waited long enough."""
        now, arrival = time.monotonic(), conn.arrival
        if ended or (now > conn.timeout if conn.lingers else arrival.is_late(now)):
            self.nr_conns -= 1
            conn.close()
            return
        if arrival.asks_first:
            arrival.asks_first = False
            with suppress(OSError):
                conn.sock.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        if not conn.lingers:
            conn.timeout = now + PATIENCE
        self.pending_conns.append(conn)
        self.poller.register(conn.sock, EVENT_READ, partial(self.on_pending_socket_readable, conn))
        while self.held > MOST_HELD:
            # The oldest of those with more than their share: one there must be, and a usual delivery is never it.
            share = MOST_HELD / len(self.unfinished)
            self._cut(next(one for one in self.unfinished if len(one.arrival.data) > share), self.pending_conns)

    def handle(self, conn: Any) -> Any:
        """In a thread."""
        keep = super().handle(conn)
        return False if conn.too_much else keep

    def _close(self, conn: Any, graceful: bool = False) -> None:
        """Not `close_graceful`, which waits in the loop for the other to close."""
        if conn.arrival:
            self._let_go(conn)
        if not (graceful and conn.too_much):
            util.close(conn.sock)
            return
        with suppress(OSError):
            conn.sock.shutdown(SHUT_WR)
        conn.lingers, conn.timeout = True, time.monotonic() + LINGER
        self.nr_conns += 1
        self.enqueue_req(conn)
