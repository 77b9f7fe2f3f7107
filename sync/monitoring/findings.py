"""What an examination finds, and how long it may take."""

import time
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Literal

from sync.clients.errors import GivenUp

Level = Literal["ok", "warning", "error"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """`error`: it needs a person. `advice`: what to do."""

    check: str
    level: Level
    words: str
    advice: str = ""
    bridge: str = ""
    "The slug of the bridge that it is about; empty: it is about none, or there is only one."
    paste: str = ""
    "What is to be entered somewhere just so, of our own making."


def good(check: str, words: str) -> Finding:
    return Finding(check=check, level="ok", words=words)


def warning(check: str, words: str, advice: str) -> Finding:
    return Finding(check=check, level="warning", words=words, advice=advice)


def wrong(check: str, words: str, advice: str) -> Finding:
    return Finding(check=check, level="error", words=words, advice=advice)


until: ContextVar[tuple[float, str]] = ContextVar("until", default=(float("inf"), ""))
"""When the checks of this thread have to be over, by the monotonic clock, and what is said if they are not."""
ASK_THE_COMMAND = "Run `python manage.py doctor`. It waits for the answer."


def in_time() -> None:
    """Before each call to a side: a check that was given up asks nobody any more. Raises GivenUp."""
    end, words = until.get()
    if time.monotonic() > end:
        raise GivenUp(words)
