"""Every planted bug is found by the model."""

from pathlib import Path

import pytest

from tests.model.bugs import BUGS, Bug
from tests.model.test_model import ROOT, walk


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_it_is_found(bug: Bug, tmp_path: Path) -> None:
    bug.plant(ROOT, tmp_path)
    done = walk(tmp_path, MODEL_EXAMPLES="600", MODEL_SEED="1", MODEL_SHRINK="no")
    assert done.returncode == 1, done.stdout
    assert "tests.model.world.Broken: " in done.stderr, done.stderr
