"""The default lifecycle, and what chains of moves allow."""

import itertools
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orders.defaults import MOVES, RULES
from orders.lifecycle import Lifecycle, Unmapped, lint_warnings
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


def test_a_status_that_is_not_applied_is_known_and_means_nothing_in_the_shop() -> None:
    rules = Lifecycle.of([("paid", "processing", True), ("asked", "", False)], [])
    assert (rules.left_alone, [*rules.status_map]) == ({"asked"}, ["paid"])
    assert rules.shop_status("asked") == ""


@given(old=st.sampled_from(STATUSES), new=st.sampled_from(STATUSES))
def test_a_chain_is_made_of_allowed_steps(old: str, new: str) -> None:
    chain = DEFAULT.chain(old, new)
    if chain is not None:
        assert chain[0] == old and chain[-1] == new
        assert all(b in MOVES[a] for a, b in itertools.pairwise(chain))


@pytest.mark.django_db
def test_a_fresh_database_has_the_default_lifecycle() -> None:
    assert current_lifecycle() == DEFAULT


def test_the_paths_from_a_status_say_who_takes_them() -> None:
    paths = {path.to: path.words for path in DEFAULT.paths("processing")}
    assert list(paths) == ["cancelled", "completed", "refunded", "shipped", "failed", "on-hold", "pending"]
    assert (
        paths["completed"] == "allowed; the worker makes the move when the CRM says shipped or completed or delivered"
    )
    assert paths["shipped"] == "allowed, but no CRM status is mapped to it"
    assert paths["pending"] == "not allowed; it can only be forced"


def test_a_path_over_other_statuses_names_them() -> None:
    [path] = [path for path in DEFAULT.paths("pending") if path.to == "refunded"]
    assert path.words.startswith("allowed through completed; the worker makes")


# --- lint warnings ---------------------------------------------------------------------------------------------------

SHOP = frozenset(STATUSES) - {"shipped"}


def changed(rules: dict[str, str] | None = None, moves: Iterable[tuple[str, str]] = ()) -> Lifecycle:
    """The default lifecycle with these rules and moves added."""
    default = [(old, new) for old, news in MOVES.items() for new in news]
    return Lifecycle.of([*RULES, *((crm, woo, False) for crm, woo in (rules or {}).items())], [*default, *moves])


def test_the_default_lifecycle_has_no_warning_in_a_plain_shop() -> None:
    assert lint_warnings(DEFAULT, SHOP) == lint_warnings(DEFAULT) == []


@pytest.mark.parametrize(
    ("lifecycle", "words"),
    [
        (changed({"packed": "packed"}, [("pending", "packed")]), "packed is mapped to packed, which the shop does not"),
        (changed(moves=[("pending", "complted")]), "A move names complted, which the shop does not know."),
        (changed(moves=[("refunded", "completed")]), "refunded is final, but a move leads from it to completed."),
        (changed({"lost": "trash"}), "No chain of moves leads from pending, where orders begin, to trash."),
        (changed(moves=[("shipped", "lost")]), "shipped → lost: no CRM status is mapped to either of them."),
    ],
)
def test_a_lint_warning_is_named(lifecycle: Lifecycle, words: str) -> None:
    assert any(warning.words.startswith(words) for warning in lint_warnings(lifecycle, SHOP))


def test_a_status_of_a_plugin_without_a_way_out_is_named() -> None:
    words = ["The shop has the status packed, but no move leads out of it. Such orders stay there."]
    assert [warning.words for warning in lint_warnings(DEFAULT, SHOP | {"packed", "trash", "checkout-draft"})] == words
    assert lint_warnings(changed(moves=[("packed", "completed"), ("pending", "packed")]), SHOP | {"packed"}) == []


@pytest.mark.parametrize(("letters", "cut"), [(17, False), (18, True)])
def test_a_status_may_have_as_many_letters_as_the_column_holds(letters: int, cut: bool) -> None:
    """Of one that can be stored it is asked whether a move leads out of it."""
    [warning] = lint_warnings(DEFAULT, SHOP | {"x" * letters})
    assert ("cuts it" in warning.words, "no move leads out" in warning.words) == (cut, not cut)


@pytest.mark.parametrize(
    ("status", "of", "ahead"),
    [
        ("completed", "processing", True),
        ("processing", "completed", False),
        ("processing", "processing", False),
        ("completed", "cancelled", False),  # no chain, either way
        ("processing", "failed", True),
        ("failed", "processing", False),
        ("on-hold", "failed", False),  # both ways
        ("failed", "on-hold", False),
        ("failed", "pending", True),  # both ways, but pending is where all begin
        ("pending", "failed", False),
        ("pending", "pending", False),
    ],
)
def test_what_is_ahead(status: str, of: str, ahead: bool) -> None:
    assert DEFAULT.is_ahead(status, of=of) is ahead


@pytest.mark.parametrize(
    "lifecycle", [DEFAULT, changed({"x": "awaiting-collection"}, [("pending", "awaiting-collection")])]
)
def test_a_status_that_woocommerce_cuts_is_named_wherever_it_comes_from(lifecycle: Lifecycle) -> None:
    found = [warning.words for warning in lint_warnings(lifecycle, SHOP | {"awaiting-collection"})]
    assert "awaiting-collection has more than 17 letters. WooCommerce cuts it off." in found


def test_force_offers_what_the_shop_has_and_nothing_else() -> None:
    shop = SHOP | {"packed", "trash", "checkout-draft"}
    assert {path.to for path in DEFAULT.paths("pending", shop)} == (SHOP | {"packed"}) - {"pending"}
    assert {path.to for path in DEFAULT.paths("pending")} == DEFAULT.statuses - {"pending"}


def test_only_a_map_to_an_unknown_status_does_harm_and_it_comes_first() -> None:
    found = lint_warnings(changed({"packed": "packed"}, [("refunded", "pending")]), SHOP)
    assert [warning.harmful for warning in found] == [True, False, False]


def test_a_shop_that_could_not_say_is_not_held_against_the_map() -> None:
    lifecycle = changed({"packed": "packed"}, [("pending", "packed")])
    assert (lint_warnings(lifecycle, None), len(lint_warnings(lifecycle, SHOP))) == ([], 1)


NAMES = st.sampled_from([*STATUSES, "packed", "lost"])
LIFECYCLES = st.builds(
    Lifecycle.of,
    st.lists(st.tuples(NAMES, NAMES, st.booleans()), max_size=8),
    st.lists(st.tuples(NAMES, NAMES), max_size=12),
)


@given(lifecycle=LIFECYCLES, known=st.none() | st.frozensets(NAMES))
def test_a_map_does_harm_exactly_where_the_shop_does_not_know_a_target(
    lifecycle: Lifecycle, known: frozenset[str] | None
) -> None:
    harmful = [warning for warning in lint_warnings(lifecycle, known) if warning.harmful]
    unknown = [] if known is None else [woo for woo in lifecycle.status_map.values() if woo not in known]
    assert len(harmful) == len(unknown)


@given(lifecycle=LIFECYCLES)
def test_a_final_status_has_a_warning_exactly_if_it_allows_a_move(lifecycle: Lifecycle) -> None:
    said = {warning.words.split(" ", 1)[0] for warning in lint_warnings(lifecycle) if "is final" in warning.words}
    assert said == {status for status in ("cancelled", "refunded") if lifecycle.moves.get(status)}


@given(lifecycle=LIFECYCLES)
def test_a_status_is_unreachable_exactly_if_no_chain_leads_there(lifecycle: Lifecycle) -> None:
    said = {
        warning.words.rstrip(".").rsplit(" ", 1)[1]
        for warning in lint_warnings(lifecycle)
        if "No chain" in warning.words
    }
    assert said == {s for s in lifecycle.statuses if s != "pending" and lifecycle.chain("pending", s) is None}
