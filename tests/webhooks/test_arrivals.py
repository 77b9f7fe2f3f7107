"""Where a request ends is found from whatever has come of it."""

import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integration_site import arrivals
from integration_site.arrivals import Arrival

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
