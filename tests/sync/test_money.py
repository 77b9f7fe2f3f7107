"""Every amount of the shop reaches the CRM exactly, whatever the currency, the taxes and their rounding."""

from decimal import Decimal

import pytest

from sync.clients.crm import BACKENDS, backend
from sync.clients.crm.base import access
from sync.clients.crm.draft import draft
from tests.sync.money import CASES, COMPOSED


def test_every_built_in_backend_is_in_the_table() -> None:
    assert set(COMPOSED) == set(BACKENDS)


@pytest.mark.parametrize("name", CASES)
def test_the_draft_holds_each_amount_exactly(name: str) -> None:
    case = CASES[name]
    made = draft(case.shown())
    assert made.total == Decimal(case.total)
    assert sum((one.net for one in made.lines), made.total_tax) == made.total
    if case.rounding == "line":
        assert sum((one.tax for one in made.lines), Decimal()) == made.total_tax
    assert made.refunded == Decimal(case.refunded)
    assert made.smallest == Decimal(1).scaleb(-case.digits)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("crm", COMPOSED)
def test_the_crm_comes_to_the_shops_total(crm: str, name: str) -> None:
    """But where it takes another tax out of net amounts than the shop took out of gross ones: that parks."""
    case, composed, kind = CASES[name], COMPOSED[crm], backend(crm)
    document = kind.composer(access(kind.schema, composed.access)).compose(case.shown())
    agrees = composed.total(document, case) == Decimal(case.total)
    assert agrees is (crm not in case.a_cent_off)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("crm", [name for name, one in COMPOSED.items() if one.takes_rates])
def test_net_amounts_are_exact_whoever_takes_the_taxes(crm: str, name: str) -> None:
    case, composed, kind = CASES[name], COMPOSED[crm], backend(crm)
    document = kind.composer(access(kind.schema, composed.access)).compose(case.shown())
    without = {"lines": [{**one, "rates": []} for one in document["lines"]]}
    assert composed.total(without, case) == sum((one.net for one in draft(case.shown()).lines), Decimal())
