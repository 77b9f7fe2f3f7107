"""What all tests share."""

from pathlib import Path
from typing import Any

import pytest
from django.conf import settings


@pytest.fixture(scope="session")
def django_db_modify_db_settings(
    tmp_path_factory: pytest.TempPathFactory, django_db_modify_db_settings_parallel_suffix: Any
) -> None:
    """SQLite in a file, as in production: an in-memory one is shared by all threads and knows no WAL."""
    database = settings.DATABASES["default"]
    if "sqlite" in database["ENGINE"]:
        path: Path = tmp_path_factory.mktemp("database") / "test.sqlite3"
        database.setdefault("TEST", {})["NAME"] = str(path)
