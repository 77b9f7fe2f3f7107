"""A delivery, its attempts and their calls as one trace, for an OpenTelemetry collector.

Off unless OTEL_EXPORTER_OTLP_ENDPOINT says where one is: then nothing of OpenTelemetry is imported. Spans name ids and
outcomes and nothing personal. They are sent by a thread of their own; a collector that is away costs them, and nobody
waits for it.
"""

import functools
import logging
import time
from collections.abc import Mapping
from datetime import datetime
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from django.conf import settings

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span, Tracer

log = logging.getLogger("orderbridge.traces")

CARRIER = "Traceparent"
"""The header of a stored event that names the trace of its delivery, as W3C says it."""
NOT_INSTALLED = "OTEL_EXPORTER_OTLP_ENDPOINT is set, and OpenTelemetry is not installed: there are no traces."
INSTALL = "Run pip install --require-hashes -r requirements-otel.txt, or remove the setting."
SEND_SECONDS = 1.0


def is_installed() -> bool:
    return find_spec("opentelemetry") is not None and find_spec("opentelemetry.exporter.otlp.proto.http") is not None


@functools.cache
def tracer() -> "Tracer | None":
    """None: off. Made when it is first needed, in the process that needs it: threads do not outlive a fork."""
    if not settings.OTEL_EXPORTER_OTLP_ENDPOINT:
        return None
    if not is_installed():
        log.error("%s %s", NOT_INSTALLED, INSTALL)
        return None
    return provider_to(settings.OTEL_EXPORTER_OTLP_ENDPOINT).get_tracer("orderbridge")


def provider_to(endpoint: str) -> "TracerProvider":
    """Sends what it is told a second later, in a thread of its own."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(
        resource=Resource.create({"service.name": settings.OTEL_SERVICE_NAME}), shutdown_on_exit=False
    )
    exporter = OTLPSpanExporter(endpoint=f"{endpoint}/v1/traces")
    provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=SEND_SECONDS * 1000))
    return provider


def parent_of(headers: Mapping[str, Any]) -> "Context":
    """The span that the headers of a delivery name; without one a new trace begins."""
    from opentelemetry.context import Context
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    return TraceContextTextMapPropagator().extract({"traceparent": str(headers.get(CARRIER, ""))}, Context())


def nanoseconds(at: datetime) -> int:
    return round(at.timestamp() * 1e9)


def begin(source: str, headers: Mapping[str, str], started: float) -> tuple[Mapping[str, str], "Span | None"]:
    """Of a delivery that is believed; `started` by the monotonic clock. The headers are to be stored with it."""
    if (traces := tracer()) is None:
        return headers, None
    from opentelemetry.trace import SpanKind, set_span_in_context
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    began = time.time_ns() - round((time.monotonic() - started) * 1e9)
    span = traces.start_span(f"delivery {source}", parent_of(headers), SpanKind.SERVER, start_time=began)
    carried: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carried, set_span_in_context(span))
    return {CARRIER: carried["traceparent"], **{k: v for k, v in headers.items() if k.title() != CARRIER}}, span


def end(span: "Span | None", answer: str, **about: str | int) -> None:
    if span is None:
        return
    from opentelemetry.trace import StatusCode

    span.set_attributes({"orderbridge.answer": answer, **{f"orderbridge.{name}": said for name, said in about.items()}})
    if answer not in ("accepted", "duplicate"):
        span.set_status(StatusCode.ERROR, answer)
    span.end()
