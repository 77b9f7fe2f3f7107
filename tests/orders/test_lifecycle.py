"""The default lifecycle, and what chains of moves allow."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orders.defaults import MOVES, RULES
from orders.lifecycle import Lifecycle, Unmapped
from orders.rules import current_lifecycle

DEFAULT = Lifecycle.of(RULES, [(old, new) for old, news in MOVES.items() for new in news])
STATUSES = sorted({*MOVES, *(new for news in MOVES.values() for new in news)})


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("pending", "completed"),
        ("pending", "refunded"),  # by way of processing
        ("on-hold", "refunded"),
        ("failed", "completed"),
        ("processing", "completed"),
        ("completed", "refunded"),
    ],
)
def test_a_chain_of_steps_is_a_legal_move(old: str, new: str) -> None:
    assert DEFAULT.allows(old, new)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("shipped", "processing"),
        ("completed", "processing"),
        ("completed", "cancelled"),
        ("cancelled", "processing"),
        ("refunded", "completed"),
        ("processing", "on-hold"),
        ("processing", "pending"),
        ("trash", "processing"),
        ("made-up", "completed"),
    ],
)
def test_a_backward_or_unknown_move_is_refused(old: str, new: str) -> None:
    assert not DEFAULT.allows(old, new)


def test_an_unmapped_status_raises_and_has_no_default() -> None:
    with pytest.raises(Unmapped, match="'qualified' has no status rule"):
        DEFAULT.shop_status("qualified")


@given(old=st.sampled_from(STATUSES), new=st.sampled_from(STATUSES))
def test_a_chain_is_made_of_allowed_steps(old: str, new: str) -> None:
    chain = DEFAULT.chain(old, new)
    if chain is not None:
        assert chain[0] == old and chain[-1] == new
        assert all(b in MOVES[a] for a, b in itertools.pairwise(chain))


@pytest.mark.django_db
def test_a_fresh_database_has_the_default_lifecycle() -> None:
    assert current_lifecycle() == DEFAULT
