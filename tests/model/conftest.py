"""What the tests of the model share."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.model.test_model import ROOT


@pytest.fixture(scope="session")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with our tables, which a process of the model copies: it is migrated once for all of them."""
    path = tmp_path_factory.mktemp("model") / "tables.sqlite3"
    subprocess.run(
        [sys.executable, "manage.py", "migrate", "--verbosity", "0"],
        cwd=ROOT,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings", "DATABASE_URL": f"sqlite:///{path}"},
        check=True,
    )
    return path
