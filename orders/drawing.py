"""The lifecycle as a picture: grandalf lays it out, a template writes it as SVG."""

import threading
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise

from django.template.loader import render_to_string
from django.utils.safestring import SafeString
from grandalf.graphs import Edge, Graph, Vertex
from grandalf.layouts import SugiyamaLayout

from orders.defaults import FIRST
from orders.lifecycle import Lifecycle

BOX_HEIGHT, ROW_GAP, LAYER_GAP, MARGIN = 32, 22, 48, 12
"""In pixels; a layer is a column of boxes."""
BACK = 8
"""Pixels by which an arrow that leads back runs below the one that leads on."""

Move = tuple[str, str]
Point = tuple[float, float]

_one_at_a_time = threading.Lock()
"""grandalf keeps state in its classes while it works."""


@dataclass(eq=False)
class Box:
    """A status. Its attributes are what grandalf asks of a view; as it draws from top to bottom and we from left to
    right, its height is our width, and its x our y."""

    name: str
    w: float = BOX_HEIGHT
    h: float = 0.0
    xy: Point = (0.0, 0.0)

    def __post_init__(self) -> None:
        self.h = 36 + 7.5 * len(self.name)

    @property
    def left(self) -> float:
        return self.xy[1] - self.h / 2

    @property
    def right(self) -> float:
        return self.xy[1] + self.h / 2

    @property
    def top(self) -> float:
        return self.xy[0] - self.w / 2

    @property
    def bottom(self) -> float:
        return self.xy[0] + self.w / 2


@dataclass(eq=False)
class Arrow:
    """A move, between the boxes at its left and at its right end."""

    left: Box
    right: Box
    back: bool
    between: list[Point] = field(default_factory=list)
    "Where grandalf leads it, from left to right, so that it passes other boxes by."

    @property
    def old(self) -> str:
        return self.right.name if self.back else self.left.name

    @property
    def new(self) -> str:
        return self.left.name if self.back else self.right.name

    def setpath(self, points: list[Point]) -> None:
        """grandalf calls this."""
        self.between = points[1:-1]

    @property
    def path(self) -> str:
        """SVG: from border to border in curves that leave and arrive level."""
        (left, _), (right, _) = self.left.xy, self.right.xy
        points = [(left, self.left.right), *self.between, (right, self.right.left)]
        steps = points[::-1] if self.back else points
        text = "M{1:.1f},{0:.1f}".format(*steps[0])
        for (y0, x0), (y1, x1) in pairwise(steps):
            text += f" C{(x0 + x1) / 2:.1f},{y0:.1f} {(x0 + x1) / 2:.1f},{y1:.1f} {x1:.1f},{y1:.1f}"
        return text


def draw(lifecycle: Lifecycle, here: str = "") -> SafeString:
    """Statuses as boxes, moves as arrows; `here` and the moves that lead on from it have classes of their own.

    Colours are left to the page's style sheet, for the sake of both themes.
    """
    moves = frozenset((old, new) for old, news in lifecycle.moves.items() for new in news if old != new)
    return _draw(lifecycle.statuses, moves, here)


@lru_cache(maxsize=64)
def _draw(statuses: frozenset[str], moves: frozenset[Move], here: str) -> SafeString:
    boxes = {status: Box(status) for status in sorted(statuses)}
    place = {status: number for number, status in enumerate(_in_order(sorted(statuses), sorted(moves)))}
    arrows = []
    for old, new in sorted(moves):
        back = place[old] > place[new]
        arrows.append(Arrow(boxes[new if back else old], boxes[old if back else new], back))
    with _one_at_a_time:
        bottom = _lay_out(boxes.values(), arrows)
    context = {
        "boxes": boxes.values(),
        "arrows": arrows,
        "width": max((box.right for box in boxes.values()), default=0) + MARGIN,
        "height": bottom + MARGIN,
        "here": here if here in statuses else "",
        "back": BACK,
    }
    return render_to_string("orders/lifecycle.svg", context)


def _in_order(statuses: Iterable[str], moves: Collection[Move]) -> list[str]:
    """From where orders begin, each before what its moves lead to, as far as they do not run in circles."""
    order: list[str] = []
    met: set[str] = set()

    def visit(status: str) -> None:
        if status not in met:
            met.add(status)
            for old, new in moves:
                if old == status:
                    visit(new)
            order.insert(0, status)

    visit(FIRST)
    for status in statuses:
        visit(status)
    return order


def _lay_out(boxes: Iterable[Box], arrows: Iterable[Arrow]) -> float:
    """Give each its place: what moves connect side by side, what they do not one below the other. Where it ends below,
    arrows included."""
    vertices = {box.name: Vertex(box) for box in boxes}
    for vertex in vertices.values():
        vertex.view = vertex.data
    edges = [Edge(vertices[arrow.left.name], vertices[arrow.right.name], data=arrow) for arrow in arrows]
    for edge in edges:
        edge.view = edge.data
    top, bottom = float(MARGIN), 0.0
    for part in Graph(list(vertices.values()), edges).C:
        layout = SugiyamaLayout(part)
        layout.xspace, layout.yspace = ROW_GAP, LAYER_GAP
        layout.dw = layout.dh = 0  # what an arrow needs where it passes a layer
        layout.init_all()
        layout.draw(10)
        views, paths = [vertex.view for vertex in part.V()], [edge.view for edge in part.E()]
        down = top - min([view.top for view in views] + [point[0] for path in paths for point in path.between])
        for view in views:
            view.xy = (view.xy[0] + down, view.xy[1] + MARGIN)
        for path in paths:
            path.between = [(y + down, x + MARGIN) for y, x in path.between]
        bottom = max([view.bottom for view in views] + [point[0] + BACK for path in paths for point in path.between])
        top = bottom + ROW_GAP
    return bottom
