"""What others write, as every database, log and message can hold it."""

import re
from typing import Any, TypeVar

T = TypeVar("T")

UNFIT = re.compile("[\0\ud800-\udfff]")
"""JSON can say these, and neither UTF-8 nor PostgreSQL can hold all of them: NUL, and halves of a character."""
ESCAPED = re.compile(r"\\u(?:0000|d[89a-f])", re.IGNORECASE)
"""One of them may be in JSON only where this is."""
MARK = "\ufffd"
"""Stands in the place of each."""


def fit(value: T) -> T:
    """A text, or all texts of a document, names of fields included."""
    found: Any = value
    if isinstance(value, str):
        found = UNFIT.sub(MARK, value)
    elif isinstance(value, dict):
        found = {fit(name): fit(one) for name, one in value.items()}
    elif isinstance(value, list | tuple):
        found = [fit(one) for one in value]
    return found


def is_number(text: str) -> bool:
    """A whole number that a column of the database can hold."""
    return text.isascii() and text.isdigit() and len(text) <= 18


def is_spoiled(text: str) -> bool:
    """It is not what it was."""
    return MARK in text or UNFIT.search(text) is not None
