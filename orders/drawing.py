"""The lifecycle as a picture: laid out and written as SVG by Graphviz, which the wheel of pygraphviz carries."""

import threading
from functools import lru_cache

import pygraphviz
from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe

from orders.defaults import FIRST
from orders.lifecycle import Lifecycle

_one_at_a_time = threading.Lock()
"""Graphviz keeps global state; two threads of the web server may not lay out at once."""


def draw(lifecycle: Lifecycle, here: str = "") -> SafeString:
    """Statuses as boxes, moves as arrows; `here` and the moves that lead on from it have classes of their own.

    Colours are left to the page's style sheet, for the sake of both themes.
    """
    moves = frozenset((old, new) for old, news in lifecycle.moves.items() for new in news)
    return _draw(lifecycle.statuses, moves, here)


@lru_cache(maxsize=64)
def _draw(statuses: frozenset[str], moves: frozenset[tuple[str, str]], here: str) -> SafeString:
    with _one_at_a_time:
        graph = pygraphviz.AGraph(directed=True, rankdir="LR", bgcolor="transparent", nodesep="0.35", ranksep="0.45")
        graph.node_attr.update(shape="box", style="rounded", fixedsize="true", height="0.45", fontsize="13")
        graph.edge_attr.update(arrowsize="0.7")
        for status in sorted(statuses, key=lambda status: (status != FIRST, status)):  # dot breaks circles there
            lit = {"class": "here"} if status == here else {}
            graph.add_node(
                _name(status), label=_name(status).replace("\\", "\\\\"), width=str(0.5 + 0.1 * len(status)), **lit
            )
        for old, new in sorted(moves):
            lit = {"class": "open"} if old == here else {}
            graph.add_edge(_name(old), _name(new), **lit)
        graph.layout("dot")
        svg: str = graph.draw(format="svg").decode()
        graph.close()
    where = f" The order is at {here}." if here in statuses else ""
    words = f"Lifecycle of an order: {len(statuses)} statuses and {len(moves)} moves, listed in words beside it.{where}"
    head, body = svg[svg.index("<svg") :].replace("pt", "", 2).split(">", 1)  # a point of dot's is a pixel of ours
    # Graphviz has escaped every name in it.
    return mark_safe(f'{head} role="img"><title>Lifecycle</title><desc>{escape(words)}</desc>{body}')  # noqa: S308


def _name(status: str) -> str:
    """Between blanks, as a leading `<` or `%` has a meaning; Graphviz escapes all but what looks like an entity."""
    return f" {status.replace('&', '&amp;')} "
