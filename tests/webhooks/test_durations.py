"""The histogram of deliveries: complete, of all processes, and nobody waits for it."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import DatabaseError, connection
from django.http import JsonResponse
from django.test import Client
from django.test.utils import CaptureQueriesContext

from tests.deliveries import recorded
from webhooks import durations as module
from webhooks.durations import BOUNDS, Durations, durations, histograms
from webhooks.models import DeliveryDuration

pytestmark = pytest.mark.django_db
KEY = ("woocommerce", "shop")


def test_processes_add_to_one_histogram() -> None:
    for process in (Durations(), Durations()):
        for seconds in (0.004, 0.005, 0.006, 0.3, 99.0):
            process.add(*KEY, seconds)
        process.flush()
        process.flush()
    buckets, total = histograms()[KEY]
    assert [n for _, n in buckets] == [4, 6, 6, 6, 6, 6, 8, 8, 8, 8, 8, 10]
    assert total == pytest.approx(2 * 99.315)
    assert [end for end, _ in buckets] == [*map(str, BOUNDS), "+Inf"]


def deliver(client: Client, number: str = "00006") -> Any:
    body, headers = recorded(number)
    return client.post("/webhooks/woocommerce/", body, content_type="application/json", headers=headers)


def test_a_delivery_writes_nothing_for_it_until_it_is_answered(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    deliver(client)
    with CaptureQueriesContext(connection) as queries:
        assert deliver(client, "00007").status_code == 200
    assert "deliveryduration" not in str(queries.captured_queries)
    monkeypatch.setattr(module, "FLUSH_SECONDS", 0.0)
    answer = closing(monkeypatch, lambda: deliver(client, "00008"))
    assert (answer.status_code, DeliveryDuration.objects.count()) == (200, 0)
    for close in answer._resource_closers:
        close()
    [(buckets, _)] = histograms().values()
    assert buckets[-1] == ("+Inf", 3)


def closing(monkeypatch: pytest.MonkeyPatch, ask: Callable[[], Any]) -> Any:
    """An answer that is not closed yet: the sender has it, and the web server is not done."""
    with monkeypatch.context() as patch:
        patch.setattr(JsonResponse, "close", lambda self: None)
        return ask()


def test_what_was_refused_is_no_duration(client: Client) -> None:
    client.post("/webhooks/woocommerce/", b"{}", content_type="application/json")
    durations.flush()
    assert histograms() == {}


def test_a_scrape_tells_of_this_process_at_once(client: Client) -> None:
    deliver(client)
    text = client.get("/metrics").content.decode()
    assert 'orderbridge_delivery_seconds_count{connection="shop",source="woocommerce"} 1.0' in text
    assert 'le="0.005"' in text and 'le="+Inf"' in text


def test_a_database_that_is_away_gets_them_later(monkeypatch: pytest.MonkeyPatch) -> None:
    process = Durations()
    process.add(*KEY, 1.0)
    with monkeypatch.context() as patch:
        patch.setattr(module, "_save", lambda *counts: (_ for _ in ()).throw(DatabaseError("away")))
        process.flush()
    process.add(*KEY, 3.0)
    process.flush()
    assert histograms()[KEY][1] == 4.0
