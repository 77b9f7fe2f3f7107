"""One JSON line per delivery, attempt, outgoing call and transition."""

from typing import Any

from pythonjsonlogger.json import JsonEncoder, JsonFormatter

ENCODER = JsonEncoder()


def formatter() -> JsonFormatter:
    """Standard fields first, then whatever `extra=` carried: event, order, side, status, milliseconds."""
    return JsonFormatter(
        "%(asctime)s %(levelname)s %(name)s %(message)s",
        rename_fields={"asctime": "at", "levelname": "level", "name": "logger", "message": "what"},
        json_serializer=_written,
    )


def _written(line: dict[str, Any], **how: Any) -> str:
    """As json.dumps does it, which would make an encoder for each line."""
    return ENCODER.encode(line)
