"""Whoever sends much that is refused: all of it is counted, and little of it written."""

from typing import Any
from unittest.mock import patch

import pytest
from django.db import OperationalError
from django.test import Client

from tests.deliveries import CRM, WOO, counted_statements, post, recorded, signed_by_crm
from webhooks import refusals as module
from webhooks.models import RefusalCount, RefusedDelivery
from webhooks.refusals import BURST, refusals

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def later(monkeypatch: pytest.MonkeyPatch) -> None:
    """No second passes."""
    refusals.forget()
    monkeypatch.setattr(module, "A_SECOND", 0.0)
    monkeypatch.setattr(module, "FLUSH_SECONDS", 3600.0)


def total() -> int:
    return sum(RefusalCount.objects.values_list("count", flat=True))


def flood(times: int, url: str = CRM, headers: dict[str, str] | None = None, body: bytes = b"{}") -> set[int]:
    return {post(url, body, headers or {}).status_code for _ in range(times)}


def test_the_first_are_written_at_once_and_a_flood_is_no_write_each() -> None:
    assert flood(5) == {401}
    assert (total(), RefusedDelivery.objects.count()) == (5, 5)
    flood(BURST - 5)
    with counted_statements() as sent:
        assert flood(500) == {401}
    assert sent == []
    assert (total(), RefusedDelivery.objects.count()) == (BURST, BURST)
    refusals.flush()
    assert (total(), RefusedDelivery.objects.count()) == (BURST + 500, BURST)


@pytest.mark.parametrize("kind", ["unsigned", "stale", "too large"])
def test_so_it_is_with_whatever_is_refused(settings: Any, kind: str) -> None:
    flood(BURST)
    settings.MAX_BODY_BYTES = 100
    with counted_statements() as sent:
        if kind == "too large":
            body, headers = recorded("00008")
            assert flood(20, WOO, headers, body) == {413}
        else:
            assert flood(20, CRM, signed_by_crm(b"{}", moment=0.0) if kind == "stale" else {}) == {401}
    assert sent == []


def test_with_time_the_next_is_written_and_takes_the_others_along(monkeypatch: pytest.MonkeyPatch) -> None:
    flood(BURST + 20)
    assert total() == BURST
    monkeypatch.setattr(module, "A_SECOND", 1e9)
    flood(1)
    assert (total(), RefusedDelivery.objects.count()) == (BURST + 21, BURST + 1)


def test_whoever_asks_for_the_metrics_is_told_of_all() -> None:
    flood(BURST + 20)
    assert f'reason="bad_signature",source="crm"}} {BURST + 20}.0' in Client().get("/metrics").content.decode()


def test_what_could_not_be_counted_is_counted_with_the_next() -> None:
    with patch("webhooks.intake.RefusedDelivery.objects.create", side_effect=OperationalError):
        assert flood(3) == {401}
    assert (total(), RefusedDelivery.objects.count()) == (0, 0)
    flood(1)
    assert (total(), RefusedDelivery.objects.count()) == (4, 1)


def test_what_is_left_is_written_when_its_time_has_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FLUSH_SECONDS", 0.01)
    flood(BURST)
    with patch.object(refusals, "flush", wraps=refusals.flush) as written:
        flood(1)
        timer = refusals._timer
        if timer:
            timer.join(60)
        assert written.call_count == 1
    assert total() == BURST + 1


@pytest.mark.parametrize("url", [WOO, CRM])
def test_a_delivery_that_was_too_large_is_shown_with_topic_size_and_setting(settings: Any, url: str) -> None:
    settings.MAX_BODY_BYTES = 100
    body, headers = recorded("00008")
    assert post(url, body, headers).status_code == 413
    [kept] = RefusedDelivery.objects.all()
    assert (kept.reason, kept.body_bytes, kept.body_sha256) == ("too_large", len(body), "")
    assert "order.updated" in kept.detail and f"{len(body)} bytes" in kept.detail
    assert "MAX_BODY_BYTES=100" in kept.detail
    assert RefusalCount.objects.get().reason == "too_large"


def test_an_absurd_size_is_kept_as_far_as_it_goes() -> None:
    assert Client().post(WOO, b"", content_type="application/json", CONTENT_LENGTH="9" * 30).status_code == 413
    assert RefusedDelivery.objects.get().body_bytes == 2**31 - 1
