"""What `manage.py check` says of the settings of the two sides."""

from typing import Any

import pytest
from django.core import checks

from sync.checks import BOUNDS

pytestmark = pytest.mark.django_db  # one of the checks reads stored credentials


def found() -> list[tuple[str | None, str]]:
    return [(one.id, f"{one.msg} {one.hint}") for one in checks.run_checks() if str(one.id) == "orderbridge.W021"]


def test_the_defaults_make_sense() -> None:
    assert found() == []


@pytest.mark.cases_alike
@pytest.mark.parametrize("name", BOUNDS)
def test_a_number_out_of_bounds_is_named_with_the_bounds(settings: Any, name: str) -> None:
    least, most, _ = BOUNDS[name]
    for wrong in (least - 1, most + 1, float("nan")):
        setattr(settings, name, wrong)
        [(_, words)] = found()
        assert words.startswith(f"{name} is {wrong}") and f"{least:g} to {most:g}" in words


def test_a_side_without_its_setting_is_named(settings: Any) -> None:
    settings.WOO_URL = ""
    assert "WOO_URL is not set" in next(one.msg for one in checks.run_checks() if one.id == "orderbridge.W020")
