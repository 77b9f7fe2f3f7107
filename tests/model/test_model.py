"""A short walk through the model, in a process of its own and with a fixed seed; `make model` is the long one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(**settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.model"],
        cwd=ROOT,
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )


def test_nor_does_the_worst_of_all_crms_break_them(migrated: Path) -> None:
    """Unsigned hooks before commit, whole seconds, ids that are given again, no unique names: docs/model.md."""
    settings = {"MODEL_TRAITS": "worst", "MODEL_BY": "dice", "MODEL_EXAMPLES": "8", "MODEL_SEED": "1"}
    done = run(**settings, MODEL_DATABASE=str(migrated))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("by", ["hypothesis", "dice"])
def test_the_promises_hold(by: str, migrated: Path) -> None:
    done = run(MODEL_BY=by, MODEL_EXAMPLES="10", MODEL_SEED="6", MODEL_DATABASE=str(migrated))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "steps/s" in done.stdout
