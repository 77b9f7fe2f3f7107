"""A delivery, its attempts and its calls are one trace; off, nothing of it exists; and it never harms an order."""

import gzip
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from django.core.checks import run_checks
from django.test import Client
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from sync.models import Attempt, Call
from tests.deliveries import recorded
from tests.journeys.conftest import World, linked_order
from tests.servers import free_port
from webhooks import tracing
from webhooks.models import WebhookEvent

ROOT = Path(__file__).parent.parent.parent
PACKAGES = ("integration_site", "orders", "sync", "webhooks")
THEIRS = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("tests")
    monkeypatch.setattr(tracing, "tracer", lambda: tracer)
    return exporter


def of_event(spans: InMemorySpanExporter, event: WebhookEvent) -> list[ReadableSpan]:
    trace = int(event.headers[tracing.CARRIER].split("-")[1], 16)
    return [span for span in spans.get_finished_spans() if span.context.trace_id == trace]


def test_a_delivery_its_attempt_and_its_calls_are_one_trace(world: World, spans: InMemorySpanExporter) -> None:
    woo_id, crm_id = linked_order(world, status="pending", billing={"email": "ann@example.org"})
    world.crm.set_status(crm_id, "paid")
    world.settle()
    event = WebhookEvent.objects.get(source="crm")
    delivery, attempt, *calls = sorted(of_event(spans, event), key=lambda span: span.start_time or 0)
    assert (delivery.name, attempt.name) == ("delivery crm", "attempt applied")
    assert delivery.parent is None and attempt.parent.span_id == delivery.context.span_id  # type: ignore[union-attr]
    assert {call.parent.span_id for call in calls if call.parent} == {attempt.context.span_id}
    recorded_calls = Call.objects.filter(attempt=Attempt.objects.get(event=event)).order_by("at")
    assert [call.attributes["http.request.method"] for call in calls if call.attributes] == [
        call.method for call in recorded_calls
    ]
    assert delivery.attributes and delivery.attributes["orderbridge.event"] == event.pk
    assert all((span.end_time or 0) >= (span.start_time or 0) for span in (delivery, attempt, *calls))
    told = str([span.to_json() for span in spans.get_finished_spans()])
    assert "ann@example.org" not in told and "oauth" not in told and str(woo_id) in told


def test_deliveries_that_one_read_answers_are_linked(world: World, spans: InMemorySpanExporter) -> None:
    _, crm_id = linked_order(world, status="pending")
    for status in ("paid", "processing"):
        world.crm.set_status(crm_id, status)
    world.crm.settle()
    world.settle()
    first, last = WebhookEvent.objects.filter(source="crm").order_by("id")
    [attempt] = [span for span in of_event(spans, last) if span.name.startswith("attempt")]
    [link] = attempt.links
    assert f"{link.context.trace_id:032x}" in first.headers[tracing.CARRIER]


def deliver(client: Client, **headers: str) -> WebhookEvent:
    body, sent = recorded("00006")
    assert (
        client.post("/webhooks/woocommerce/", body, "application/json", headers={**sent, **headers}).status_code == 200
    )
    return WebhookEvent.objects.get()


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("said", "continued"), [(f"00-{THEIRS}-00f067aa0ba902b7-01", True), ("nonsense", False), ("00-0-0-00", False)]
)
def test_a_trace_of_the_sender_goes_on(client: Client, spans: InMemorySpanExporter, said: str, continued: bool) -> None:
    event = deliver(client, traceparent=said)
    assert (THEIRS in event.headers[tracing.CARRIER]) == continued
    assert len(of_event(spans, event)) == 1
    assert [name for name in event.headers if name.title() == tracing.CARRIER] == [tracing.CARRIER]


@pytest.mark.django_db
def test_what_is_not_believed_begins_no_trace(client: Client, spans: InMemorySpanExporter) -> None:
    assert client.post("/webhooks/woocommerce/", b"{}", "application/json").status_code == 401
    assert spans.get_finished_spans() == ()


@pytest.mark.django_db
def test_off_nothing_is_stored(client: Client) -> None:
    assert tracing.tracer() is None
    assert tracing.CARRIER not in deliver(client).headers


def test_nothing_of_ours_needs_it_to_be_installed() -> None:
    """What stands at the left margin is imported when a process starts."""
    sources = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    needed = re.compile(r"^(?:from|import) opentelemetry", re.MULTILINE)
    assert len(sources) > 100
    assert [path for path in sources if needed.search(path.read_text())] == []


@pytest.fixture
def collector() -> Iterator[tuple[str, list[ExportTraceServiceRequest]]]:
    """What a collector gets, over OTLP."""
    got: list[ExportTraceServiceRequest] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            body = gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body
            got.append(ExportTraceServiceRequest.FromString(body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", got
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.django_db
def test_a_collector_gets_them(
    client: Client, collector: tuple[str, list[ExportTraceServiceRequest]], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, got = collector
    provider = tracing.provider_to(url)
    try:
        monkeypatch.setattr(tracing, "tracer", lambda: provider.get_tracer("tests"))
        event = deliver(client)
        assert provider.force_flush(10_000)
    finally:
        provider.shutdown()
    [resource] = got[0].resource_spans
    assert [(one.key, one.value.string_value) for one in resource.resource.attributes if one.key == "service.name"] == [
        ("service.name", "orderbridge")
    ]
    [span] = resource.scope_spans[0].spans
    assert span.name == "delivery woocommerce" and span.trace_id.hex() in event.headers[tracing.CARRIER]


@pytest.mark.django_db
def test_a_collector_that_is_away_harms_no_delivery(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.1")  # or its end would wait for ten seconds
    provider = tracing.provider_to(f"http://127.0.0.1:{free_port()}")
    try:
        monkeypatch.setattr(tracing, "tracer", lambda: provider.get_tracer("tests"))
        assert deliver(client).pk
    finally:
        provider.shutdown()


@pytest.mark.django_db  # other checks read the stored connections
def test_what_is_set_wrongly_is_told(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def told() -> list[str]:
        return [str(one.id) for one in run_checks() if one.id in ("orderbridge.W007", "orderbridge.W008")]

    assert told() == []
    settings.OTEL_EXPORTER_OTLP_ENDPOINT = "127.0.0.1:4318"
    assert told() == ["orderbridge.W008"]
    settings.OTEL_EXPORTER_OTLP_ENDPOINT = "http://127.0.0.1:4318"
    assert told() == []
    monkeypatch.setattr(tracing, "is_installed", lambda: False)
    assert told() == ["orderbridge.W007"]
    tracing.tracer.cache_clear()
    try:
        assert tracing.tracer() is None
    finally:
        tracing.tracer.cache_clear()
