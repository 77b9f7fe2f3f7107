"""Every planted bug is found by the model: some of them here, all of them with MODEL_BUGS=all (`make model-bugs`)."""

import os
from pathlib import Path

import pytest

from tests.model.bugs import BUGS, Bug
from tests.model.test_model import ROOT, walk

CHOSEN = BUGS if os.environ.get("MODEL_BUGS") == "all" else BUGS[::4]


@pytest.mark.parametrize("bug", CHOSEN, ids=lambda bug: bug.name)
def test_it_is_found(bug: Bug, tmp_path: Path) -> None:
    bug.plant(ROOT, tmp_path)
    done = walk(tmp_path, MODEL_EXAMPLES="600", MODEL_SEED="1", MODEL_SHRINK="no")
    assert done.returncode == 1, done.stdout
    assert "tests.model.world.Broken: " in done.stderr, done.stderr
