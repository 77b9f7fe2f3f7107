"""What is left out of the pass on PostgreSQL would prove nothing new there."""

import pytest

from tests.conftest import pytest_collection_modifyitems


@pytest.mark.parametrize("fixture", ["db", "transactional_db", "live_server", None])
def test_a_test_that_uses_the_database_of_the_tests_runs_in_every_pass(
    request: pytest.FixtureRequest, fixture: str | None
) -> None:
    item = request.node
    request.applymarker(pytest.mark.own_database)
    item.fixturenames = ["request", fixture] if fixture else ["request"]
    if fixture is None:
        pytest_collection_modifyitems([item])
        return
    with pytest.raises(pytest.UsageError, match=item.name.partition("[")[0]):
        pytest_collection_modifyitems([item])
