"""What a line of the log looks like: programs read it."""

import json
import logging
from datetime import UTC, datetime

import pytest

from integration_site.logs import formatter
from orders import audit
from webhooks.masking import quoted


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


@pytest.mark.parametrize("name", ["reason", "error", "url", "anything"])
@pytest.mark.parametrize("said", ["ann@shop.example", quoted("Ann Lee is away"), "0151 2345678", "'Ann Lee'"])
def test_no_line_tells_of_a_customer_whatever_field_it_is_in(name: str, said: str) -> None:
    record = logging.LogRecord("orderbridge.test", logging.INFO, __file__, 1, "of %s", (said,), None)
    setattr(record, name, said)
    setattr(record, f"{name}s", [{"of": said}])
    try:
        raise ValueError(said)
    except ValueError as error:
        record.exc_info = (type(error), error, error.__traceback__)
    line = formatter().format(record)
    inner = json.dumps(said.strip("«»'"))[1:-1]
    assert inner not in line or (said == "'Ann Lee'" and line.count(inner) == 1)  # as the traceback of an error has it
    assert "test_logs.py" in line


@pytest.mark.parametrize("words", ["[Q] ready for work at 12345", "{braces} of our own"])
def test_words_of_our_own_stay(words: str) -> None:
    record = logging.LogRecord("orderbridge.test", logging.INFO, __file__, 1, "%s", (words,), None)
    assert json.loads(formatter().format(record))["what"] == words


@pytest.mark.django_db
def test_the_reason_of_an_action_is_masked_in_the_line_as_in_the_row(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="orderbridge.staff"):
        row = audit.record(
            "replay", actor="mia", reason="ann@shop.example rang", result="of ann@shop.example", q="+49 151 234567"
        )
    [line] = caplog.records
    assert "ann@" not in f"{vars(line)} {vars(row)}" and "234567" not in str(row.details)
    assert row.reason.endswith("rang")
