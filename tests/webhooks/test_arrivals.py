"""Where a request ends is found from whatever has come of it."""

import errno
import os
import resource
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import pairwise
from selectors import DefaultSelector
from typing import Any

import pytest
from gunicorn.config import Config
from gunicorn.glogging import Logger
from gunicorn.workers.gthread import ThreadWorker
from hypothesis import given
from hypothesis import strategies as st

from integration_site import arrivals
from integration_site.arrivals import Arrival, Worker
from tests.journeys.conftest import wait_for

LINE = b"POST /webhooks/crm/ HTTP/1.1\r\nHost: localhost\r\n"
WHOLE = {
    "without a body": LINE + b"\r\n",
    "of a length": LINE + b"content-length:5\r\n\r\nabcde",
    "in chunks": LINE + b"Transfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\nA\r\n0\r\n\r\n56789\r\n0\r\n\r\n",
    "with a trailer": LINE + b"Transfer-Encoding: gzip, Chunked\r\n\r\n1\r\na\r\n0\r\nX: y\r\n\r\n",
    "with both": LINE + b"Content-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
    "that asks first": LINE + b"Expect: 100-Continue\r\nContent-Length: 2\r\n\r\n{}",
}


@pytest.mark.parametrize("request_", WHOLE.values(), ids=WHOLE)
def test_a_request_is_whole_with_its_last_byte(request_: bytes) -> None:
    arrival = Arrival(100)
    for place in range(len(request_)):
        assert not arrival.is_whole(), request_[:place]
        arrival.data += request_[place : place + 1]
    assert arrival.is_whole() and not arrival.too_much


@given(st.sampled_from(sorted(WHOLE.values())), st.lists(st.integers(0, 120)))
def test_in_whatever_pieces_it_comes(request_: bytes, cuts: list[int]) -> None:
    arrival, edges = Arrival(100), sorted({0, len(request_), *(cut for cut in cuts if cut < len(request_))})
    for start, end in pairwise(edges):
        assert not arrival.is_whole()
        arrival.data += request_[start:end]
    assert arrival.is_whole()


@given(st.binary(max_size=300), st.sampled_from([LINE, b"", LINE + b"Transfer-Encoding: chunked\r\n\r\n"]))
def test_nothing_raises(noise: bytes, begin: bytes) -> None:
    arrival = Arrival(100)
    arrival.data += begin + noise
    arrival.is_whole()


@pytest.mark.parametrize(
    "request_",
    [
        LINE + b"Content-Length: 101\r\n\r\n",
        LINE + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n",
        LINE + b"Transfer-Encoding: chunked\r\n\r\n" + b"FFFFFF\r\n" + b"x" * 70_000,
        b"x" * arrivals.MOST_HEADERS,
    ],
    ids=["announced", "absurd", "chunked", "headers"],
)
def test_what_nobody_would_read_is_not_waited_for(request_: bytes) -> None:
    arrival = Arrival(100)
    arrival.data += request_
    assert arrival.is_whole() and arrival.too_much


def test_what_is_no_chunk_is_for_the_parser_to_refuse() -> None:
    arrival = Arrival(100)
    arrival.data += LINE + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"
    assert arrival.is_whole()


def test_patience_ends_but_for_those_who_keep_a_pace() -> None:
    slow, steady, now = Arrival(100), Arrival(100), time.monotonic()
    steady.data += b"x" * 10 * arrivals.LEAST_RATE
    assert [one.is_late(now + arrivals.PATIENCE - 1) for one in (slow, steady)] == [False, False]
    assert [one.is_late(now + arrivals.PATIENCE + 5) for one in (slow, steady)] == [True, False]
    assert steady.is_late(now + arrivals.PATIENCE + 15)


# --- too many at once ----------------------------------------------------------------------------------------------

MOST = 12
HEAD = LINE + b"Content-Length: 5\r\n\r\n"


may_answer = threading.Event()


def application(environ: Any, start_response: Any) -> list[bytes]:
    may_answer.wait(10)
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]


@pytest.fixture
def worker() -> Iterator[Worker]:
    """Whose loop runs in a thread."""
    may_answer.set()
    cfg = Config()
    for name, value in {"worker_connections": MOST, "threads": 2, "keepalive": 75, "graceful_timeout": 0}.items():
        cfg.set(name, value)
    listener = socket.create_server(("127.0.0.1", 0), backlog=100)
    worker = Worker(0, os.getppid(), [listener], None, 30, cfg, Logger(cfg))
    worker.wsgi, worker.notify = application, lambda: None
    worker.tpool, worker.poller = worker.get_thread_pool(), DefaultSelector()
    worker.method_queue.init()
    thread = threading.Thread(target=worker.run)
    thread.start()
    yield worker
    may_answer.set()
    worker.handle_exit(None, None)
    thread.join(60)
    worker.tmp.close()
    assert not thread.is_alive()


@pytest.fixture
def connect(worker: Worker) -> Iterator[Callable[..., socket.socket]]:
    with ExitStack() as lines:
        address = worker.sockets[0].getsockname()

        def connect(first: bytes = b"") -> socket.socket:
            line = lines.enter_context(socket.create_connection(address, timeout=10))
            line.sendall(first)
            return line

        yield connect


def is_cut(line: socket.socket) -> bool:
    try:
        return line.recv(1) == b""
    except ConnectionResetError:
        return True


def is_answered(line: socket.socket) -> bool:
    return line.recv(12) == b"HTTP/1.1 200"


OCCUPY = {
    "nothing": b"",
    "a byte": b"P",
    "part of a body": HEAD + b"abc",
    "a whole request": HEAD + b"abcde",
    "too much": LINE + b"Content-Length: 99999999\r\n\r\n",
}


@pytest.mark.parametrize("first", OCCUPY.values(), ids=OCCUPY)
def test_however_many_connections_stay_open_new_ones_are_served(
    worker: Worker, connect: Callable[..., socket.socket], first: bytes
) -> None:
    lines = [connect(first) for _ in range(MOST)]
    honest = connect(HEAD + b"ab")
    lines += [connect(first) for _ in range(MOST // 2 if first == HEAD + b"abc" else 3 * MOST)]
    honest.sendall(b"cde")
    assert is_answered(honest)
    lines += [connect(first) for _ in range(3 * MOST)]
    assert is_answered(connect(HEAD + b"abcde"))
    if first in (b"P", HEAD + b"abc"):
        assert is_cut(lines[0]), "the oldest goes first"
    wait_for(lambda: worker.nr_conns < MOST)


def test_who_is_half_way_stays_while_the_others_wait_for_a_thread(
    worker: Worker, connect: Callable[..., socket.socket]
) -> None:
    """They are over in a moment, and one of them can go then."""
    may_answer.clear()
    honest = connect(HEAD + b"ab")
    wait_for(lambda: len(worker.unfinished) == 1)
    lines = [connect(HEAD + b"abcde") for _ in range(3 * MOST)]
    wait_for(lambda: worker.nr_conns == MOST)
    may_answer.set()
    assert is_answered(connect(HEAD + b"abcde")) and all(map(is_answered, lines))
    honest.sendall(b"cde")
    assert is_answered(honest)


@pytest.mark.parametrize("number", sorted(arrivals.SCARCE), ids=errno.errorcode.get)
def test_at_the_limit_of_open_files_the_oldest_goes_and_the_worker_stays(
    worker: Worker, connect: Callable[..., socket.socket], monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    lines = [connect(b"P") for _ in range(3)]
    wait_for(lambda: len(worker.unfinished) == 3)
    fails = [number, number]

    def accept(self: Any, listener: Any) -> None:
        if fails:
            raise OSError(fails.pop(), "no more")
        real(self, listener)

    real = ThreadWorker.accept
    monkeypatch.setattr(ThreadWorker, "accept", accept)
    assert is_answered(connect(HEAD + b"abcde"))
    assert is_cut(lines[0]) and is_cut(lines[1]) and not fails
    lines[2].sendall(HEAD[1:] + b"abcde")
    assert is_answered(lines[2])


def test_at_the_limit_of_open_files_with_nobody_to_go_it_tries_again(
    worker: Worker, connect: Callable[..., socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    fails, real = [errno.EMFILE] * 3, ThreadWorker.accept

    def accept(self: Any, listener: Any) -> None:
        if fails:
            raise OSError(fails.pop(), "no more")
        real(self, listener)

    monkeypatch.setattr(ThreadWorker, "accept", accept)
    assert is_answered(connect(HEAD + b"abcde")) and not fails


@pytest.mark.parametrize(
    ("limits", "most", "raised"),
    [
        ((1024, 524_288), 2000, 2000 + arrivals.SPARE_FILES),
        ((1024, resource.RLIM_INFINITY), 2000, 2000 + arrivals.SPARE_FILES),
        ((1024, 1024), 1024 - arrivals.SPARE_FILES, 1024),
        ((256, 300), 150, 300),
        ((20_000, 20_000), 2000, None),
        ((resource.RLIM_INFINITY, resource.RLIM_INFINITY), 2000, None),
    ],
)
def test_no_more_connections_than_there_may_be_files(
    monkeypatch: pytest.MonkeyPatch, limits: tuple[int, int], most: int, raised: int | None
) -> None:
    was_set: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda which: limits)
    monkeypatch.setattr(resource, "setrlimit", lambda which, new: was_set.append(new))
    assert arrivals.most_connections(2000) == most
    assert was_set == ([] if raised is None else [(raised, limits[1])])


@pytest.mark.parametrize("size", [90, 20_000], ids=["small", "large"])
def test_who_holds_much_gives_way_to_others(
    worker: Worker, connect: Callable[..., socket.socket], monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(arrivals, "MOST_HELD", 100_000)
    head = LINE + b"Content-Length: %d\r\n\r\n"
    hoards = []
    for n in range(5):
        hoards.append(connect(head % 30_000 + b"x" * 29_000))
        wait_for(lambda n=n: len(worker.unfinished) == min(n + 1, 3))  # type: ignore[misc]
    honest = connect(head % size + b"x" * (size - 1))
    hoards.append(connect(head % 30_000 + b"x" * 29_000))
    wait_for(lambda: worker.held < 100_000 and is_cut(hoards[2]))
    honest.sendall(b"x")
    assert is_answered(honest)
    hoards[-1].sendall(b"x" * 1000)
    assert is_answered(hoards[-1])
    for line in hoards:
        line.close()
    wait_for(lambda: (worker.held, len(worker.unfinished)) == (0, 0))
