"""Staff edit a copy of a delivery and have it processed. The original stays as it came; the two are linked."""

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

from sync.pipeline.internal_events import STAFF
from webhooks import intake, schemas, sources
from webhooks.masking import StillMasked, masked, restored
from webhooks.models import DELIVERED, Side, WebhookEvent
from webhooks.sources import Signal
from webhooks.texts import is_number

FIELDS_NAMED = 20
WHOLE = "the whole body"
EFFECT = {
    Side.SHOP: (
        "id: which order is read in the shop. Only its state there counts, whatever else the body says.",
        "_links: which shop the event comes from. Nothing else is used, even if the shop has no such order.",
    ),
    Side.CRM: (
        "crm_order_id: which order is read in the CRM. Only its state there counts, whatever else the body says.",
        "version, updated_at: how new the event says it is. If the CRM shows an older state, we ask for a minute.",
        "status: stored, but never applied by itself, because nobody signed it. VERIFY=critical does not change that.",
    ),
}
"""What a changed field can change, as both sides are read back."""


class NotUsable(Exception):
    """The text cannot be processed; the message says why, and what to do."""


def is_editable(event: WebhookEvent) -> bool:
    """What was delivered, and copies of it. Of our own events the body decides nothing, or has its own permission."""
    return event.source in DELIVERED or event.copy_of_id is not None


def to_edit(event: WebhookEvent, *, exact: bool) -> str:
    """The text to begin with. Where there is none that this person may see, the least that names the order."""
    content = _content(event)
    if content is None:
        raw = bytes(event.body).decode("utf-8", "replace")
        return raw if exact and raw else json.dumps(_least(event), indent=2)
    return json.dumps(content if exact else masked(content), indent=2, ensure_ascii=False)


def read_edited(event: WebhookEvent, text: str, *, exact: bool) -> tuple[dict[str, Any], Signal]:
    """The edited body and what it says, by the same rules as a delivery."""
    signal, content = _understood(event, text)
    before = _content(event)
    if exact or before is None:
        return content, signal
    try:
        told, content = content, restored(content, before)
        _refuse_what_was_hidden(before, told, content)
    except RecursionError:
        raise NotUsable("The body is nested too deeply to be edited. Shorten it.") from None
    except StillMasked as error:
        raise NotUsable(
            f"{error} is masked, and it was moved. Leave it where it was, type a new value, or ask somebody who may "
            "reveal personal data."
        ) from None
    return content, _understood(event, json.dumps(content))[0]


def post_copy(event: WebhookEvent, content: dict[str, Any], signal: Signal, *, by: str, once: str) -> WebhookEvent:
    """Due now; `once` makes a second press of the same button find the first copy. The caller wakes a worker."""
    copy, _ = intake.post(
        bridge=event.bridge_id,
        side=event.side,
        source=STAFF,
        topic=signal.topic or event.topic,
        order_ref=signal.order_ref,
        key=f"edit:{once}",
        body=content,
        requested_by=by,
        trigger="edit",
        version=signal.version,
        status=signal.status,
        occurred_at=signal.occurred_at,
        copy_of=event,
    )
    return copy


def touched(event: WebhookEvent, text: str, *, exact: bool) -> list[str]:
    """The names of the fields that the person wrote anew, judged by what the editor showed: whether what was typed is
    what the mask hides, nobody is told. Names only, so that they can be shown and kept."""
    before = _content(event)
    return _named(before if exact else masked(before), json.loads(text))


def changed(event: WebhookEvent, copy: WebhookEvent) -> list[str]:
    """The names of the fields in which the copy differs from the original, as both are shown with their masks."""
    try:
        before, after = masked(_content(event)), masked(_content(copy))
    except RecursionError:
        return [WHOLE]
    return _named(before, after)


def _named(before: Any, after: Any) -> list[str]:
    try:
        names = list(_differences(before, after, ""))
    except RecursionError:
        return [WHOLE]
    return names if len(names) <= FIELDS_NAMED else [*names[:FIELDS_NAMED], "and others"]


def _understood(event: WebhookEvent, text: str) -> tuple[Signal, dict[str, Any]]:
    body = text.encode("utf-8", "surrogatepass")
    if event.side == Side.SHOP:
        signals = sources.parse_woocommerce(body, {"X-WC-Webhook-Topic": event.topic}, is_edited=True)
    else:
        # In the words of its CRM, or in ours: where the body is gone, a person begins with these.
        tried = [schemas.PARSERS[name](body, {}) for name in _schemas(event)]
        signals = next((one for one in tried if one and not one[0].parked_reason), tried[0])
    if not signals:
        raise NotUsable("It names no order. Write the id of the CRM's order.")
    if signals[0].parked_reason:
        raise NotUsable(signals[0].parked_reason)
    content = json.loads(text)
    if not isinstance(content, dict):
        raise NotUsable("A copy is one event: write a JSON object, not an array.")
    return signals[0], content


def _schemas(event: WebhookEvent) -> list[str]:
    named = schemas.schema_of(event)
    return [name for name in dict.fromkeys((named, schemas.REST)) if name in schemas.PARSERS]


def _content(event: WebhookEvent) -> Any:
    """The event's own element of its delivery; None if there is no JSON."""
    try:
        content = json.loads(bytes(event.body))
    except (ValueError, RecursionError):
        return None
    if isinstance(content, list) and event.body_index is not None:
        return content[event.body_index] if event.body_index < len(content) else None
    return content


def _least(event: WebhookEvent) -> dict[str, Any]:
    if event.side == Side.SHOP:
        return {"id": int(event.order_ref) if is_number(event.order_ref) else 0}
    return {"crm_order_id": event.order_ref}


def _refuse_what_was_hidden(before: Any, told: Any, content: Any) -> None:
    """Whatever of the original shows in the copy, this person wrote or saw there. What is merely masked anew is
    neither, and how the masks were put back does not matter here."""
    seen, shows = Counter(_leaves(masked(told))), Counter(_leaves(masked(content)))
    if (shows - seen).keys() & set(_leaves(before)):
        raise NotUsable(
            "The copy would show masked data. Leave masked values and the fields around them unchanged, or ask "
            "somebody who may reveal personal data."
        )


def _leaves(value: Any) -> Iterator[Any]:
    """All values of a document, and the names of its fields."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield name
            yield from _leaves(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _leaves(inner)
    else:
        yield value


def _differences(before: Any, after: Any, path: str) -> Iterator[str]:
    if isinstance(before, dict) and isinstance(after, dict):
        for name in dict.fromkeys([*before, *after]):
            [shown] = masked({name: None})
            yield from _differences(before.get(name), after.get(name), f"{path}.{shown}")
    elif before != after:
        yield path.lstrip(".") or WHOLE
