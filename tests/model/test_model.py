"""A short walk through the model, in a process of its own and with a fixed seed; `make model` is the long one."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def walk(root: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.model"],
        cwd=root,
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_the_promises_hold() -> None:
    done = walk(ROOT, MODEL_EXAMPLES="40", MODEL_SEED="6")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "steps/s" in done.stdout
