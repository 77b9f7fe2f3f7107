"""Ids of a CRM's own records: kept for a while, by connection and account."""

from collections.abc import Iterator

import pytest

from sync.clients.crm import cache
from sync.clients.crm.base import Access
from sync.clients.crm.cache import KEPT, Cache


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    cache.forget_all()
    yield
    cache.forget_all()


def at(slug: str = "crm", **values: str) -> Cache:
    return Cache.of(Access(values={"url": "https://crm.example", **values}, slug=slug))


def test_what_was_read_is_kept_for_a_while_by_account(monkeypatch: pytest.MonkeyPatch) -> None:
    now, read = 1000.0, iter(range(100))
    monkeypatch.setattr("sync.clients.crm.cache.time.monotonic", lambda: now)

    def euro(of: Cache) -> int:
        return of.get("EUR", lambda: next(read))

    assert [euro(at()), euro(at()), euro(at("crm-2")), euro(at(token="new"))] == [0, 0, 1, 2]
    now += KEPT - 1
    assert euro(at()) == 0
    now += 1
    assert euro(at()) == 3
    at().forget("EUR")
    assert [euro(at()), euro(at("crm-2"))] == [4, 5]


def test_what_could_not_be_read_is_asked_for_again() -> None:
    def fails() -> int:
        raise LookupError

    with pytest.raises(LookupError):
        at().get("EUR", fails)
    assert at().get("EUR", lambda: 7) == 7
