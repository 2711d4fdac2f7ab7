"""How graphs are drawn: where nodes go, and a panel that shows them."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, FAINT, ACCENT = "#22303c", "#c3ccd4", "#d1495b"
COLORS = ("#2e86ab", "#f2a541", "#5b9e5f", "#9d6b9f", "#8c6d4f", "#4f5d75", "#c7b446", "#e07a9b", "#6bb8b0", "#a3a3a3")
STEPS = 300
PULL = 0.3
"""Towards the middle: parts that no edge joins would drift away from each other for ever."""

Positions = NDArray[np.float64]


def color(label: int) -> str:
    """The colour of a class; after ten they come again."""
    return COLORS[label % len(COLORS)]


def layout(nodes: int, edges: NDArray[np.int64]) -> Positions:
    """Place nodes so that edges are short and nodes apart (Fruchterman & Reingold 1991), within the unit square.

    Begins with the nodes on a circle, in their order, and draws nothing at random.

    Args:
        nodes: number of nodes, V; time grows with its square.
        edges: (2, E).

    Returns:
        (V, 2) from 0 to 1.
    """
    angle = 2 * np.pi * np.arange(nodes) / nodes
    # Not quite a circle: on one, forces of even graphs may cancel.
    place = np.stack([np.cos(angle), np.sin(angle)], axis=1) * (1 + 0.1 * np.cos(3 * angle + 1))[:, None]
    joined = np.zeros((nodes, nodes))
    joined[edges[0], edges[1]] = joined[edges[1], edges[0]] = 1
    ideal = 1 / np.sqrt(nodes)
    for heat in np.linspace(0.1, 0.001, STEPS):
        apart = place[:, None] - place[None]
        distance = np.maximum(np.sqrt((apart**2).sum(-1)), 1e-3)
        force = (ideal**2 / distance**2 - joined * distance / ideal)[..., None] * apart
        move = force.sum(1) - PULL * place / ideal
        length = np.maximum(np.sqrt((move**2).sum(1, keepdims=True)), 1e-9)
        place = place + move / length * np.minimum(length, heat)
    low, high = place.min(0), place.max(0)
    inside: Positions = (place - low) / np.maximum(high - low, 1e-9)
    return inside


def draw_edges(axes: "Axes", place: Positions, edges: NDArray[np.int64], **style: Any) -> None:
    """Draw each edge (2, E) once, whichever ways it goes."""
    from matplotlib.collections import LineCollection

    once = np.unique(np.sort(edges, axis=0), axis=1) if edges.size else edges
    lines = [place[[start, end]] for start, end in once.T]
    axes.add_collection(LineCollection(lines, zorder=1, **{"colors": FAINT, "linewidths": 1, **style}))


def frame(axes: "Axes") -> None:
    """Leave room around the unit square, and draw no axes."""
    axes.set(xlim=(-0.06, 1.06), ylim=(-0.06, 1.06), aspect="equal")
    axes.set_axis_off()


def unpack(row: NDArray[np.int32], nodes: int, edges: int) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Take a row of the form `graphs` apart: the kinds of its nodes (V,) and its edges (2, E), without padding."""
    kinds = row[:nodes]
    ends = row[nodes:].reshape(2, edges).astype(np.int64)
    return kinds[kinds > 0], ends[:, ends[1] < nodes]
