"""One JSON line per delivery, attempt, outgoing call and transition."""

from pythonjsonlogger.json import JsonFormatter


def formatter() -> JsonFormatter:
    """Standard fields first, then whatever `extra=` carried: event, order, side, status, milliseconds."""
    return JsonFormatter(
        "%(asctime)s %(levelname)s %(name)s %(message)s",
        rename_fields={"asctime": "at", "levelname": "level", "name": "logger", "message": "what"},
    )
