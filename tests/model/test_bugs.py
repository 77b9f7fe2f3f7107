"""Every planted bug breaks a promise in a history that was written down; `make model-bugs` looks for it in new ones."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.model.bugs import BUGS, ROOT, Bug
from tests.model.test_model import run

SEARCH = os.environ.get("MODEL_BUGS") == "all"
CAUGHT = "tests.model.world.Broken: "


@pytest.fixture(scope="module")
def broken(migrated: Path) -> dict[str, dict[str, str]]:
    """What each history broke, with its bug and without: all in one process, which prepares itself once."""
    command = [sys.executable, "-m", "tests.model.bugs"]
    env = {**os.environ, "MODEL_DATABASE": str(migrated)}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr
    said: dict[str, dict[str, str]] = json.loads(done.stdout)
    return said


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_its_history_breaks_a_promise(bug: Bug, broken: dict[str, dict[str, str]]) -> None:
    assert CAUGHT in broken["with"][bug.name], broken["with"][bug.name]


def test_without_the_bugs_their_histories_break_nothing(broken: dict[str, dict[str, str]]) -> None:
    assert broken["without"] == {bug.name: "" for bug in BUGS}


if SEARCH:  # minutes: make model-bugs

    @pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
    def test_it_is_found(bug: Bug, migrated: Path) -> None:
        chosen = {"MODEL_EXAMPLES": "1000", "MODEL_SEED": "1", "MODEL_SHRINK": "no", "MODEL_PROCESSES": "1"}
        done = run(**chosen, MODEL_BUG=bug.name, MODEL_DATABASE=str(migrated))
        assert done.returncode == 1, done.stdout
        assert CAUGHT in done.stderr, done.stderr
