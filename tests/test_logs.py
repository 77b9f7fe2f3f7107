"""What a line of the log looks like: programs read it."""

import json
import logging
from datetime import UTC, datetime

from integration_site.logs import formatter


def test_a_line_is_json_with_the_standard_fields_first() -> None:
    record = logging.LogRecord("orderbridge.test", logging.INFO, __file__, 1, "delivery of %s", ("é",), None)
    record.order, record.bytes, record.at_last = "14", 3, datetime(2026, 11, 25, tzinfo=UTC)
    line = formatter().format(record)
    said = json.loads(line)
    assert list(said) == ["at", "level", "logger", "what", "order", "bytes", "at_last"]
    assert list(said.values())[1:] == [
        *("INFO", "orderbridge.test", "delivery of é"),
        *("14", 3, "2026-11-25T00:00:00+00:00"),
    ]
    assert line.isascii()
