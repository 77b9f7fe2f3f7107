"""The lifecycle as a picture."""

import re
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orders.defaults import MOVES, RULES
from orders.drawing import draw
from orders.lifecycle import Lifecycle

DEFAULT = Lifecycle.of(RULES, [(old, new) for old, news in MOVES.items() for new in news])
SVG = "{http://www.w3.org/2000/svg}"


def drawn(lifecycle: Lifecycle, here: str = "") -> ElementTree.Element:
    return ElementTree.fromstring(draw(lifecycle, here))  # noqa: S314  our own


def titles(picture: ElementTree.Element, kind: str) -> set[str]:
    groups = [group for group in picture.iter(f"{SVG}g") if kind in group.get("class", "").split()]
    return {group.findtext(f"{SVG}title", "").strip() for group in groups}


def test_each_status_is_a_box_and_each_move_an_arrow() -> None:
    picture = drawn(DEFAULT)
    assert titles(picture, "node") == DEFAULT.statuses
    assert titles(picture, "edge") == {f"{old} -> {new}" for old, news in MOVES.items() for new in news}


def test_the_present_state_and_the_moves_from_it_are_lit() -> None:
    picture = drawn(DEFAULT, "shipped")
    assert titles(picture, "here") == {"shipped"}
    assert titles(picture, "open") == {"shipped -> completed", "shipped -> refunded"}


@pytest.mark.parametrize("here", ["", "made-up"])
def test_a_state_that_the_lifecycle_does_not_name_lights_nothing(here: str) -> None:
    assert titles(drawn(DEFAULT, here), "here") == set()


def test_the_picture_says_what_it_shows_to_those_who_do_not_see_it() -> None:
    picture = drawn(DEFAULT, "shipped")
    assert picture.get("role") == "img"
    assert picture.findtext(f"{SVG}title") == "Lifecycle"
    assert "8 statuses and 22 moves" in picture.findtext(f"{SVG}desc", "")
    assert "The order is at shipped." in picture.findtext(f"{SVG}desc", "")


def test_an_empty_lifecycle_is_an_empty_picture() -> None:
    assert titles(drawn(Lifecycle.of([], [])), "node") == set()


NAMES = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=20)


@settings(max_examples=50, deadline=None)
@given(old=NAMES, new=NAMES)
def test_any_name_is_drawn_as_it_is(old: str, new: str) -> None:
    assert titles(drawn(Lifecycle.of([("x", old, False)], [(old, new)])), "node") == {old, new}


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", "<b>", "\\N", 'a"b', "a:b", "&lt;", "->", "%", "%1"])
def test_a_name_is_never_taken_for_markup(name: str) -> None:
    picture = drawn(Lifecycle.of([("x", name, False)], []))
    assert titles(picture, "node") == {name}
    assert [text.text.strip() for text in picture.iter(f"{SVG}text") if text.text] == [name]


def test_the_first_status_stands_at_the_left_although_moves_lead_back_to_it() -> None:
    def left(group: ElementTree.Element) -> float:
        return min(float(text.get("x", "0")) for text in group.iter(f"{SVG}text"))

    nodes = {
        group.findtext(f"{SVG}title"): left(group)
        for group in drawn(DEFAULT).iter(f"{SVG}g")
        if group.get("class") == "node"
    }
    assert min(nodes, key=lambda name: nodes[name]) == "pending"


@pytest.mark.parametrize("moves", [[], [("pending", "pending")], [("on-hold", "packed"), ("packed", "on-hold")]])
def test_nothing_of_the_picture_is_cut_off(moves: list[tuple[str, str]]) -> None:
    steps = [*moves, *((old, new) for old, news in MOVES.items() for new in news)]
    picture = drawn(Lifecycle.of(RULES, steps))
    width, height = float(picture.get("width", "0")), float(picture.get("height", "0"))
    for path in picture.iter(f"{SVG}path"):
        numbers = [float(one) for one in re.findall(r"-?[0-9.]+", path.get("d", ""))]
        assert min(numbers) >= 0 and max(numbers[::2]) <= width and max(numbers[1::2]) <= height
