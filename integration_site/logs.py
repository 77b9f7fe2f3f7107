"""One JSON line per delivery, attempt, outgoing call and transition."""

from typing import Any

from pythonjsonlogger.json import JsonEncoder, JsonFormatter

from webhooks.masking import masked_trace, masked_words

ENCODER = JsonEncoder()
OURS = ("at", "level", "logger")
TRACES = ("exc_info", "stack_info")


def formatter() -> JsonFormatter:
    """Standard fields first, then whatever `extra=` carried: event, order, side, status, milliseconds."""
    return JsonFormatter(
        "%(asctime)s %(levelname)s %(name)s %(message)s",
        rename_fields={"asctime": "at", "levelname": "level", "name": "logger", "message": "what"},
        json_serializer=_written,
    )


def _written(line: dict[str, Any], **how: Any) -> str:
    """As json.dumps does it, which would make an encoder for each line. Logs outlive every erasure, so what tells of a
    customer does not get there: the same filter as on every page."""
    return ENCODER.encode({name: _masked(name, value) for name, value in line.items()})


def _masked(name: str, value: Any) -> Any:
    if name in OURS or not isinstance(value, str | list | dict | tuple):
        return value
    return masked_trace(value) if name in TRACES and isinstance(value, str) else masked_words(value)
