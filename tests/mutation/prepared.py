"""Not a test of anything: with it, the database is there before the first child is forked."""

import pytest


@pytest.mark.django_db
def test_the_database_is_there() -> None:
    pass
