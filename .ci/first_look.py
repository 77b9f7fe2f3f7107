"""`make run` as a newcomer types it: orders must come, reach the CRM and come back, and Ctrl-C must end all of it."""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

WANTED = {"created": "an order of the shop is in the CRM", "applied": "a status of the CRM is in the shop"}
SECONDS = 300


def counted(site: str, outcome: str) -> bool:
    with urllib.request.urlopen(f"{site}/metrics", timeout=5) as answer:
        found = re.search(rf'^orderbridge_attempts_total{{outcome="{outcome}"}} (\S+)', answer.read().decode(), re.M)
    return found is not None and float(found[1]) > 0


def watch(run: subprocess.Popen[bytes], told: Path) -> None:
    until, missing = time.monotonic() + SECONDS, dict(WANTED)
    while missing:
        if run.poll() is not None:
            sys.exit(f"first look: `make run` ended by itself with {run.returncode}:\n{told.read_text()}")
        if time.monotonic() > until:
            sys.exit(f"first look: not so within {SECONDS} s: {', '.join(missing.values())}:\n{told.read_text()}")
        time.sleep(1)
        if site := re.search(r"(http://127\.0\.0\.1:\d+)/admin/", told.read_text()):
            missing = {outcome: words for outcome, words in missing.items() if not counted(site[1], outcome)}


with tempfile.TemporaryDirectory() as folder:
    path = Path(folder, "told")
    with path.open("wb") as output:
        process = subprocess.Popen(["make", "run"], stdout=output, stderr=output, start_new_session=True)
    try:
        watch(process, path)
    finally:
        os.killpg(process.pid, signal.SIGINT)
        process.wait(30)
print("first look: `make run` works:", "; ".join(WANTED.values()))
