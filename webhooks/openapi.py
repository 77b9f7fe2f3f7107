"""The two endpoints in the words of OpenAPI: what they take, and every answer there is (CONTRACT section 2)."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema, extend_schema_view

NUMBER = {"type": "string", "pattern": "^[0-9]+$"}


def _object(**properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _refusal(*words: str) -> dict[str, Any]:
    return _object(error={"type": "string", "enum": list(words)})


STORED = _object(status={"type": "string", "enum": ["accepted", "duplicate"]}, event=NUMBER)
STORED_ALL = _object(
    status={"type": "string", "enum": ["accepted", "duplicate"]},
    events={"type": "array", "items": NUMBER, "minItems": 1},
)
NOT_STORED = _object(status={"type": "string", "enum": ["ignored", "too_many_hints"]})
CHALLENGE = _object(challenge={"type": "string"})
"""Of a new webhook, sent back."""
PING = _object(status={"type": "string", "enum": ["ping"]})
REFUSALS = {
    400: OpenApiResponse(
        _refusal("incomplete_body", "bad_content_length"), "The body broke off, or its length is no length."
    ),
    401: OpenApiResponse(
        _refusal("bad_signature", "stale_timestamp"),
        "No signature, a wrong or malformed one, or a signed time more than five minutes from ours. Nothing is stored.",
    ),
    413: OpenApiResponse(_refusal("too_large"), "Larger than MAX_BODY_BYTES, announced or chunked."),
    503: OpenApiResponse(
        _refusal("not_configured", "storage_unavailable"),
        "No secret is set for this side; or the database cannot store now, then with Retry-After: send it again.",
    ),
}


UNKNOWN = {
    404: OpenApiResponse(
        _object(
            error={"type": "string", "enum": ["unknown_connection"]},
            detail={"type": "string"},
            connection={"type": "string"},
        ),
        "No connection of this name, or it is archived. Nothing is stored.",
    )
}


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    operation: str
    summary: str
    headers: tuple[str, ...]
    content: dict[str, Any] = field(default_factory=dict)
    good: list[dict[str, Any]] = field(default_factory=list)
    in_path: tuple[str, ...] = ()


FROM_THE_SHOP = Endpoint(
    operation="deliverFromWooCommerce",
    summary="A webhook of WooCommerce",
    headers=("X-WC-Webhook-Signature", "X-WC-Webhook-Topic", "X-WC-Webhook-ID", "X-WC-Webhook-Delivery-ID"),
    content={
        "application/json": {"type": "object", "description": "The order, as the shop's webhook sends it."},
        "application/x-www-form-urlencoded": {
            "type": "object",
            "properties": {"webhook_id": NUMBER},
            "description": "The ping of a new webhook, unsigned: 200, and nothing is stored.",
        },
    },
    good=[STORED, PING],
)
EVENT = {
    "type": "object",
    "properties": {
        "event_id": {"type": "string"},
        "type": {"type": "string"},
        "crm_order_id": {"type": "string"},
        "status": {"type": "string"},
        "version": {"type": "integer", "format": "int64"},
        "updated_at": {"type": "string", "format": "date-time"},
    },
    "required": ["crm_order_id"],
}
FROM_THE_CRM = Endpoint(
    operation="deliverFromCrm",
    summary="A webhook of the CRM: one event, or an array of them",
    headers=(
        *("webhook-id", "webhook-timestamp", "webhook-signature", "X-CRM-Signature"),
        *("X-WC-Webhook-Signature", "X-HubSpot-Signature-v3", "X-HubSpot-Request-Timestamp"),
    ),
    content={"application/json": {"oneOf": [EVENT, {"type": "array", "items": EVENT}]}},
    good=[STORED, STORED_ALL, NOT_STORED, CHALLENGE],
)


def named(endpoint: Endpoint) -> Endpoint:
    """The same for a connection that was made in the back office."""
    words = f"{endpoint.summary} of a connection made in the back office"
    return replace(endpoint, operation=f"{endpoint.operation}Connection", summary=words, in_path=("connection",))


def with_secret(endpoint: Endpoint) -> Endpoint:
    """And of one whose CRM signs nothing: the secret is the last part of the address."""
    words = f"{endpoint.summary}, unsigned: the last part of the address is the secret"
    path = ("connection", "secret")
    return replace(endpoint, operation=f"{endpoint.operation}WithSecret", summary=words, in_path=path, headers=())


def describe(endpoint: Endpoint) -> Callable[[Any], Any]:
    """Which of the headers have to be there is the signature scheme's matter (CRM_SIGNATURE)."""
    good = OpenApiResponse(
        {"oneOf": endpoint.good},
        "Stored, or seen before. A signed delivery that is not understood is stored as well, for a person to look at.",
    )
    return extend_schema_view(
        post=extend_schema(
            operation_id=endpoint.operation,
            summary=endpoint.summary,
            description="With or without the last slash. No other call is made while it is answered.",
            parameters=[
                *(OpenApiParameter(name, str, OpenApiParameter.HEADER) for name in endpoint.headers),
                *(OpenApiParameter(name, str, OpenApiParameter.PATH) for name in endpoint.in_path),
                OpenApiParameter("Retry-After", int, OpenApiParameter.HEADER, response=[503]),
            ],
            request=endpoint.content,
            responses={200: good, **REFUSALS, **(UNKNOWN if endpoint.in_path else {})},
        )
    )


def documented(endpoints: list[tuple[str, str, str, Any]]) -> list[tuple[str, str, str, Any]]:
    """Each address once: the one without the last slash is the same."""
    return [one for one in endpoints if one[0].endswith("/")]
