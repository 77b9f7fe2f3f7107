"""Attempts and their calls as spans of the trace that began with the delivery."""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from sync.clients.http import CallRecord
from sync.models import Attempt
from sync.pipeline.claim import Claim
from webhooks import tracing
from webhooks.tracing import nanoseconds

if TYPE_CHECKING:
    from opentelemetry.trace import Link, Span, Tracer


def tell(attempts: Sequence[tuple[Attempt, Claim]]) -> None:
    """Once they are recorded. Their times are known, so nothing has to be carried along while an order is processed."""
    if traces := tracing.tracer():
        for attempt, claim in attempts:
            _tell(traces, attempt, claim)


def _tell(traces: "Tracer", attempt: Attempt, claim: Claim) -> None:
    from opentelemetry.trace import StatusCode

    span = traces.start_span(
        f"attempt {attempt.result}",
        tracing.parent_of(claim.newest.headers),
        attributes={
            "orderbridge.event": claim.newest.pk,
            "orderbridge.order": claim.order_ref,
            "orderbridge.side": claim.side,
            "orderbridge.trigger": attempt.trigger,
            "orderbridge.result": attempt.result,
        },
        links=list(_links(claim)),
        start_time=nanoseconds(attempt.started_at),
    )
    if attempt.error:
        span.set_status(StatusCode.ERROR, attempt.result)
    for call in claim.calls:
        _tell_call(traces, span, call)
    span.end(nanoseconds(attempt.started_at + timedelta(milliseconds=attempt.milliseconds)))


def _links(claim: Claim) -> "Iterator[Link]":
    """To the deliveries that the same read answered."""
    from opentelemetry.trace import Link, get_current_span

    for event in claim.events[:-1]:
        context = get_current_span(tracing.parent_of(event.headers)).get_span_context()
        if context.is_valid:
            yield Link(context, {"orderbridge.event": event.pk})


def _tell_call(traces: "Tracer", attempt: "Span", call: CallRecord) -> None:
    """Without its query, which may name a customer."""
    from opentelemetry.trace import SpanKind, StatusCode, set_span_in_context

    span = traces.start_span(
        f"{call.method} {call.side}",
        set_span_in_context(attempt),
        SpanKind.CLIENT,
        attributes={
            "http.request.method": call.method,
            "url.path": urlsplit(call.url).path,
            "http.response.status_code": call.status or 0,
            "orderbridge.side": call.side,
            "orderbridge.shared": call.is_shared,
        },
        start_time=nanoseconds(call.at),
    )
    if call.status is None or call.status >= 400:
        span.set_status(StatusCode.ERROR)
    span.end(nanoseconds(call.at + timedelta(milliseconds=call.milliseconds)))
