"""A short run of `make chaos`: a minute of kills, with all its zeros. What else can happen is in the long ones."""

import subprocess
import sys

from tests.journeys.processes import ROOT


def test_nothing_is_lost_or_done_twice_while_processes_are_killed() -> None:
    command = [sys.executable, "-m", "tests.chaos", "--on", "sqlite", "--orders", "60", "--rate", "6", "--only", "kill"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
