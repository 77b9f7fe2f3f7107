"""Puts the clock of a process wrong, by the seconds that stand in CHAOS_CLOCK; python loads it at its start.

Not libfaketime: it makes `time.sleep` of Python 3.11 fail (clock_nanosleep with a deadline).
"""

import os
import time
from datetime import datetime, timedelta
from pathlib import Path

from django.utils import timezone

FILE = Path(os.environ["CHAOS_CLOCK"])
true_time, true_now = time.time, timezone.now
known = [float("-inf"), 0.0]


def ahead() -> float:
    """Looked up once a second."""
    if time.monotonic() - known[0] > 1:
        known[:] = time.monotonic(), float(FILE.read_text() or 0)
    return known[1]


def deceived_time() -> float:
    return true_time() + ahead()


def deceived_now() -> datetime:
    return true_now() + timedelta(seconds=ahead())


time.time, timezone.now = deceived_time, deceived_now
