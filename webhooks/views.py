"""The two addresses where the shop and the CRM tell us that something happened."""

import json
import logging
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import Error
from django.http import HttpRequest, JsonResponse
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.views import APIView

from webhooks import approvals, clock, intake, openapi, sources, tracing
from webhooks.connections import CRM, SHOP
from webhooks.durations import durations
from webhooks.hooks import pace, without
from webhooks.intake import Stored
from webhooks.reconnect import reconnecting
from webhooks.signatures import Delivery
from webhooks.sources import Signal, Source
from webhooks.wake import wake

log = logging.getLogger("orderbridge.deliveries")

RETRY_AFTER = 30
"""Seconds after which a sender may try again when the database could not store."""
READ_AT_ONCE = 65_536
TOO_LARGE, TOO_MANY, IGNORED = "too_large", "too_many_hints", "ignored"
UNKNOWN = {
    "error": "unknown_connection",
    "detail": "No connection of this name and kind delivers here. Copy the address from its page in the back office.",
}
MOST_BYTES = 2**31 - 1
"""That the column of a refusal's size can hold."""
# WooCommerce posts "webhook_id=7", unsigned, and creates the webhook only on a 200.
PING = re.compile(rb"webhook_id=[0-9]{1,20}")


class BadBody(Exception):
    """The body was not taken: too large, or its sender broke off."""

    def __init__(self, status: int, word: str, size: int = 0) -> None:
        super().__init__(word)
        self.status, self.word, self.size = status, word, size


class AnyAccept(BaseContentNegotiation):
    """We answer JSON, whatever the sender says it accepts: a 406 would count as a failed delivery."""

    def select_parser(self, request: Request, parsers: Iterable[Any]) -> Any:
        return None

    def select_renderer(
        self, request: Request, renderers: Iterable[BaseRenderer], format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        first = next(iter(renderers))
        return first, first.media_type or ""


class DeliveryView(APIView, ABC):
    """Verify, store, wake a worker. Everything else happens later."""

    http_method_names = ["post"]
    authentication_classes = ()
    permission_classes = ()
    throttle_classes = ()
    content_negotiation_class = AnyAccept

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Nobody signs in, any type of content is taken, JSON is answered: there is nothing to find out beforehand."""

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        """DRF's request holds itself: if it did not let go, bodies would wait for the garbage collector."""
        request.parser_context = {}
        if kwargs.get("secret"):
            response._has_been_logged = True  # by us, without the address, which Django would quote
        return super().finalize_response(request, response, *args, **kwargs)

    @abstractmethod
    def source(self, slug: str) -> Source | None:
        """Who sends here. `slug`: of the connection that the address names; empty: the environment's."""

    def is_ping(self, body: bytes, request: HttpRequest) -> bool:
        return False

    def post(self, request: Request, connection: str = "", secret: str = "") -> JsonResponse:
        started = time.monotonic()
        try:
            source = reconnecting(lambda: self.source(connection))
        except Error:
            log.exception("who sends could not be read")
            return _not_stored(None, started)
        if source is None:
            return JsonResponse({**UNKNOWN, "connection": connection}, status=404)
        try:
            body = read_body(request._request)
        except BadBody as error:
            if error.word == TOO_LARGE:
                _too_large(source, request._request, error.size)
            return _answer(source, error.status, {"error": error.word}, error.word, started)
        return self.deliver(source, request._request, body, started, secret)

    def deliver(
        self, source: Source, request: HttpRequest, body: bytes, started: float, secret: str = ""
    ) -> JsonResponse:
        delivery = _delivery(request, body, secret)
        # Before the secrets: a shop may make its webhook first, and a ping proves and stores nothing.
        if self.is_ping(body, request):
            return _answer(source, 200, {"status": "ping"}, "ping", started, body)
        if (answer := source.answer(delivery)) is not None:
            return _answer(source, 200, dict(answer), "challenge", started, body)
        if not source.secrets:
            return _not_configured(source, started, body)
        verdict = source.verify.check(source.secrets, delivery, time.time())
        if not verdict.ok:
            _refuse(source, verdict.reason, request, detail=verdict.detail, body=body)
            return _answer(source, 401, {"error": verdict.reason}, verdict.reason, started, body)
        if verdict.hint:
            body = without(verdict.hint, body, request.headers)
            if not pace.allows(source.connection):
                return _too_many(source, request, started, body)
        signals = source.parse(body, request.headers)
        if not signals:
            return _answer(source, 200, {"status": IGNORED}, IGNORED, started, body)
        headers, span = tracing.begin(source.name, request.headers, started)
        try:
            stored = reconnecting(lambda: intake.store(source, signals, body, headers, verdict, _moment(started)))
        except Error:
            tracing.end(span, "storage_unavailable")
            log.exception("a delivery could not be stored")
            return _not_stored(source, started, body)
        if not stored:
            tracing.end(span, "not_configured")
            return _not_configured(source, started, body)
        if any(not seen and not signal.parked_reason for signal, (_, seen) in zip(signals, stored, strict=True)):
            wake()
        word = "duplicate" if all(seen for _, seen in stored) else "accepted"
        tracing.end(span, word, event=stored[0][0], connection=source.connection)
        return _stored(source, signals, stored, started, body)


@openapi.describe(openapi.FROM_THE_SHOP)
class WooCommerceView(DeliveryView):
    def source(self, slug: str) -> Source | None:
        return sources.woocommerce(slug or SHOP)

    def is_ping(self, body: bytes, request: HttpRequest) -> bool:
        return "X-WC-Webhook-Signature" not in request.headers and PING.fullmatch(body) is not None


@openapi.describe(openapi.FROM_THE_CRM)
class CrmView(DeliveryView):
    def source(self, slug: str) -> Source | None:
        return sources.crm(slug or CRM)


@openapi.describe(openapi.named(openapi.FROM_THE_SHOP))
class NamedShopView(WooCommerceView):
    """Of a connection that was made in the back office."""


@openapi.describe(openapi.named(openapi.FROM_THE_CRM))
class NamedCrmView(CrmView):
    """The same of a CRM."""


@openapi.describe(openapi.with_secret(openapi.FROM_THE_CRM))
class SecretCrmView(CrmView):
    """Of a CRM that can prove itself by the address alone."""


def shop_keys(request: HttpRequest) -> JsonResponse:
    """Where a shop hands its keys over. It keeps them only if the answer is exactly 200."""
    if request.method != "POST":
        return JsonResponse({"error": "method_not_allowed"}, status=405, headers={"Allow": "POST"})
    try:
        approvals.take(json.loads(read_body(request)))
    except BadBody as error:
        return JsonResponse({"error": error.word}, status=error.status)
    except (ValueError, RecursionError):
        return JsonResponse({"error": "not_json"}, status=400)
    except approvals.Refused as error:
        return JsonResponse({"error": str(error)}, status=error.status)
    return JsonResponse({"status": "taken"})


def _refuse(source: Source, reason: str, request: HttpRequest, **more: Any) -> None:
    intake.refuse(source, reason, headers=request.headers, remote_addr=request.META.get("REMOTE_ADDR") or "", **more)


def _too_large(source: Source, request: HttpRequest, size: int) -> None:
    """Staff have to hear of it: after seven WooCommerce disables the webhook, and never says why."""
    topic = request.headers.get("X-WC-Webhook-Topic", "")
    what = f"{topic}, {size} bytes" if topic else f"{size} bytes"
    advice = f"More than MAX_BODY_BYTES={settings.MAX_BODY_BYTES}: set it higher if it is genuine."
    _refuse(source, TOO_LARGE, request, detail=f"{what[:100]}. {advice}", size=min(size, MOST_BYTES))


def _moment(started: float) -> datetime:
    """When the delivery began to come in."""
    return clock.now() - timedelta(seconds=time.monotonic() - started)


def _delivery(request: HttpRequest, body: bytes, secret: str) -> Delivery:
    query = request.META.get("QUERY_STRING", "")
    url = f"{settings.PUBLIC_URL}{request.path_info}{'?' if query else ''}{query}"
    return Delivery(body=body, headers=request.headers, method=request.method or "", url=url, secret=secret)


def _too_many(source: Source, request: HttpRequest, started: float, body: bytes) -> JsonResponse:
    """Of what nobody signed. Not an error: some CRMs fail the work of their user over one, or stop sending."""
    words = "Unsigned webhooks came faster than they are stored. What these would have told, reconcile finds."
    _refuse(source, TOO_MANY, request, detail=words, body=body)
    return _answer(source, 200, {"status": TOO_MANY}, TOO_MANY, started, body)


def _stored(
    source: Source, signals: Sequence[Signal], stored: Sequence[Stored], started: float, body: bytes
) -> JsonResponse:
    word = "duplicate" if all(seen for _, seen in stored) else "accepted"
    is_time = durations.add(source.name, source.connection, time.monotonic() - started)
    ids = [str(pk) for pk, _ in stored]
    content: dict[str, Any] = {"status": word}
    if signals[0].index is None:
        content["event"] = ids[0]
    else:
        content["events"] = ids
    answer = _answer(source, 200, content, word, started, body, event=ids[0], order=signals[0].order_ref)
    if is_time:
        answer._resource_closers.append(durations.flush)  # type: ignore[attr-defined]  # once the sender has it
    return answer


def _not_configured(source: Source, started: float, body: bytes) -> JsonResponse:
    return _answer(source, 503, {"error": "not_configured"}, "not_configured", started, body)


def _not_stored(source: Source | None, started: float, body: bytes = b"") -> JsonResponse:
    answer = _answer(source, 503, {"error": "storage_unavailable"}, "storage_unavailable", started, body)
    answer["Retry-After"] = str(RETRY_AFTER)
    return answer


def _answer(
    source: Source | None,
    status: int,
    content: dict[str, Any],
    word: str,
    started: float,
    body: bytes = b"",
    event: str = "",
    order: str = "",
) -> JsonResponse:
    log.info(
        "delivery",
        extra={
            "source": source.name if source else "",
            "connection": source.connection if source else "",
            "answer": word,
            "event": event,
            "order": order,
            "bytes": len(body),
            "milliseconds": round((time.monotonic() - started) * 1000, 1),
        },
    )
    return JsonResponse(content, status=status)


# --- the body ------------------------------------------------------------------------------------------------------


def read_body(request: HttpRequest) -> bytes:
    """The exact bytes, never more than MAX_BODY_BYTES of them.

    Not `request.body`: Django takes a body without Content-Length (a chunked one) for empty.
    """
    environ = request.META
    announced = environ.get("CONTENT_LENGTH") or ""
    chunked = "chunked" in environ.get("HTTP_TRANSFER_ENCODING", "").lower()
    ends_by_itself = bool(environ.get("wsgi.input_terminated"))
    limit: int = settings.MAX_BODY_BYTES
    if chunked and (ends_by_itself or not announced):
        return _read(environ["wsgi.input"], limit + 1, limit)
    if announced:
        length = _length(announced, limit)
        body = _read(request, length, limit)
        if len(body) < length:
            raise BadBody(400, "incomplete_body")
        return body
    return _read(environ["wsgi.input"], limit + 1, limit) if ends_by_itself else b""


def _length(announced: str, limit: int) -> int:
    if not re.fullmatch(r"[0-9]+", announced):
        raise BadBody(400, "bad_content_length")
    if len(announced.lstrip("0")) > 18 or int(announced) > limit:
        raise BadBody(413, TOO_LARGE, int(announced[:18]))
    return int(announced)


def _read(stream: Any, wanted: int, limit: int) -> bytes:
    parts: list[bytes] = []
    missing = wanted
    while missing > 0:
        try:
            part = stream.read(min(missing, READ_AT_ONCE))
        except Exception as error:
            # Each web server has its own exceptions for a sender that broke off or mixed up its chunks.
            raise BadBody(400, "incomplete_body") from error
        if not part:
            break
        parts.append(part)
        missing -= len(part)
    if wanted - missing > limit:
        raise BadBody(413, TOO_LARGE, wanted - missing)
    return b"".join(parts)
