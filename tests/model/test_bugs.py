"""Every planted bug breaks a promise in a history that was written down; `make model-bugs` looks for it in new ones."""

import os
from pathlib import Path

import pytest

from tests.model.bugs import BUGS, Bug
from tests.model.test_model import ROOT, run

SEARCH = os.environ.get("MODEL_BUGS") == "all"
CAUGHT = "tests.model.world.Broken: "

pytestmark = pytest.mark.own_database


def written(bug: Bug, folder: Path) -> str:
    file = folder / "history.txt"
    file.write_text(bug.history)
    return str(file)


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_its_history_breaks_a_promise(bug: Bug, tmp_path: Path, migrated: Path) -> None:
    bug.plant(ROOT, tmp_path)
    done = run(tmp_path, written(bug, tmp_path), MODEL_DATABASE=str(migrated))
    assert done.returncode == 1, done.stdout + done.stderr
    assert CAUGHT in done.stderr, done.stderr


def test_without_the_bugs_their_histories_break_nothing(tmp_path: Path, migrated: Path) -> None:
    files = []
    for number, bug in enumerate(BUGS):
        (tmp_path / str(number)).mkdir()
        files.append(written(bug, tmp_path / str(number)))
    done = run(ROOT, *files, MODEL_DATABASE=str(migrated))
    assert done.returncode == 0, done.stderr


if SEARCH:  # minutes: make model-bugs

    @pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
    def test_it_is_found(bug: Bug, tmp_path: Path, migrated: Path) -> None:
        bug.plant(ROOT, tmp_path)
        chosen = {"MODEL_EXAMPLES": "1000", "MODEL_SEED": "1", "MODEL_SHRINK": "no", "MODEL_PROCESSES": "1"}
        done = run(tmp_path, **chosen, MODEL_DATABASE=str(migrated))
        assert done.returncode == 1, done.stdout
        assert CAUGHT in done.stderr, done.stderr
