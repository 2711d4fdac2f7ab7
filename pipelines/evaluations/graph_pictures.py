"""Pictures of graph networks: predicted nodes, hidden states in two dimensions, examples of whole graphs."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipelines import graph_drawing
from pipelines.evaluations.base import Task
from pipelines.graph_drawing import ACCENT, INK, Positions, color
from pipelines.pictures import save

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from torch import Tensor

    from lit_models.gnn import LitGNN

MOST_NAMED = 80
UNKNOWN = -1


@dataclass(frozen=True)
class View:
    """What pictures of one graph show.

    Attributes:
        edges: (2, E).
        states: (V, W) of the last hidden layer; of the only layer, if there is one.
        predicted: (V,) classes.
        actual: (V,) classes; -1 where none is known.
        trained: (V,) bool, nodes that were trained on.
        names: of the nodes, or nothing.
        classes: names.
    """

    edges: NDArray[np.int64]
    states: NDArray[np.float64]
    predicted: NDArray[np.int64]
    actual: NDArray[np.int64]
    trained: NDArray[np.bool_]
    names: list[str]
    classes: list[str]

    @property
    def wrong(self) -> NDArray[np.bool_]:
        """Which nodes (V,) are taken for what they are not."""
        wrong: NDArray[np.bool_] = (self.actual != UNKNOWN) & (self.actual != self.predicted)
        return wrong


def view(task: Task, model: "LitGNN") -> View:
    """Let the network look at the whole graph once."""
    import torch
    from safetensors.numpy import load_file

    nodes = task.card["nodes"]
    actual, trained = np.full(nodes, UNKNOWN, np.int64), np.zeros(nodes, np.bool_)
    for name in ("train", "val", "test"):
        part = load_file(task.prepared / f"{name}.safetensors")
        actual[part["x"]] = part["y"]
        trained[part["x"]] |= name == "train"
    with torch.inference_mode():
        predicted = model.states()[:-1].argmax(1).numpy()
        states = model.states(max(1, model.config.depth - 1))[:-1].double().numpy()
    names, classes = task.card["names"], task.card["classes"]
    return View(model.edges.numpy(), states, predicted, actual, trained, names, classes)


def predicted_nodes(view: View, picture: Path) -> None:
    """Draw the graph, its nodes coloured by prediction."""
    from matplotlib.figure import Figure

    count = len(view.predicted)
    place = graph_drawing.layout(count, view.edges)
    figure = Figure(figsize=(8, 7), layout="constrained")
    axes = figure.subplots()
    graph_drawing.draw_edges(axes, place, view.edges)
    _nodes(axes, place, view, view.predicted, size=260 if count <= MOST_NAMED else 40)
    graph_drawing.frame(axes)
    known = int((view.actual != UNKNOWN).sum() - view.trained.sum())
    right = known - int((view.wrong & ~view.trained).sum())
    axes.set_title(f"Nodes coloured by prediction: {right} of {known} that were not trained on are right")
    _legend(figure, view)
    save(figure, picture)


def hidden_states(view: View, picture: Path) -> None:
    """Draw the hidden states along the two directions in which they differ most, coloured by true class."""
    from matplotlib.figure import Figure

    place, shares = principal(view.states)
    figure = Figure(figsize=(7, 6), layout="constrained")
    axes = figure.subplots()
    _nodes(axes, place, view, view.actual, size=160 if len(place) <= MOST_NAMED else 14)
    axes.set_title("Hidden states of the nodes, coloured by true class")
    axes.set(xlabel=f"first component ({shares[0]:.0%})", ylabel=f"second component ({shares[1]:.0%})")
    axes.spines[["top", "right"]].set_visible(False)
    _legend(figure, view)
    save(figure, picture)


def principal(states: NDArray[np.float64]) -> tuple[Positions, tuple[float, float]]:
    """Project states (V, W) on the two principal components (Pearson 1901).

    Returns:
        (V, 2), and what shares of the variance they hold. The sign of each is such that its largest weight is positive.
    """
    centred = states - states.mean(0)
    _, sizes, directions = np.linalg.svd(
        np.pad(centred, ((0, 0), (0, max(0, 2 - states.shape[1])))), full_matrices=False
    )
    two = directions[:2] * np.sign(directions[:2][np.arange(2), np.abs(directions[:2]).argmax(1)])[:, None]
    shares = sizes[:2] ** 2 / max(float((sizes**2).sum()), 1e-30)
    return np.pad(centred, ((0, 0), (0, max(0, 2 - states.shape[1])))) @ two.T, (float(shares[0]), float(shares[1]))


def _nodes(axes: "Axes", place: Positions, view: View, labels: NDArray[np.int64], size: float) -> None:
    """Draw nodes: coloured by label, ringed if trained on, a cross beside it if predicted wrongly."""
    colors = ["white" if label == UNKNOWN else color(int(label)) for label in labels]
    rings = [3.0 if trained else 0.6 for trained in view.trained]
    axes.scatter(place[:, 0], place[:, 1], s=size, c=colors, edgecolors=INK, linewidths=rings, zorder=2)
    beside = 0.35 * size**0.5
    for spot in place[view.wrong]:
        where: dict[str, Any] = {
            "xytext": (beside, beside),
            "textcoords": "offset points",
            "ha": "left",
            "va": "bottom",
        }
        axes.annotate("\N{MULTIPLICATION SIGN}", spot, **where, color=ACCENT, fontsize=16, fontweight="bold", zorder=4)
    if view.names and len(view.names) <= MOST_NAMED:
        for name, (x, y) in zip(view.names, place, strict=True):
            axes.text(x, y, name, ha="center", va="center", fontsize=7, color="white", fontweight="bold", zorder=3)


def _legend(figure: "Figure", view: View) -> None:
    from matplotlib.lines import Line2D

    dots: dict[str, Any] = {"marker": "o", "linestyle": "", "markersize": 8}
    handles = [Line2D([], [], color=color(n), label=name, **dots) for n, name in enumerate(view.classes)]
    handles.append(Line2D([], [], label="trained on", mfc="white", mec=INK, mew=2.5, **dots))
    handles.append(Line2D([], [], label="wrong", color=ACCENT, marker="x", linestyle="", markersize=8, mew=2))
    figure.legend(handles=handles, frameon=False, loc="outside right upper")


def example_graphs(task: Task, predicted: "Tensor", count: int, picture: Path) -> None:
    """Draw test graphs, a row for each class: the first ones, and what they were taken for."""
    from matplotlib.figure import Figure

    classes, sizes = task.card["classes"], (task.card["nodes"], task.card["edges"])
    x, y, guesses = task.x.numpy(), task.y.numpy(), predicted.numpy()
    figure = Figure(figsize=(1.9 * count, 2.1 * len(classes) + 0.4), layout="constrained")
    figure.suptitle(f"Test graphs and what they were taken for: {(y == guesses).mean():.0%} right")
    grid = figure.subplots(len(classes), count, squeeze=False)
    for label, panels in enumerate(grid):
        rows = np.flatnonzero(y == label)[:count]
        for axes in panels:
            axes.set_axis_off()
        for row, axes in zip(rows, panels, strict=False):
            kinds, edges = graph_drawing.unpack(x[row], *sizes)
            place = graph_drawing.layout(len(kinds), edges)
            graph_drawing.draw_edges(axes, place, edges)
            axes.scatter(place[:, 0], place[:, 1], s=22, color=color(label), zorder=2)
            graph_drawing.frame(axes)
            right = guesses[row] == label
            title = classes[label] if right else f"{classes[label]}, taken for {classes[guesses[row]]}"
            axes.set_title(title, fontsize=8, color=INK if right else ACCENT)
    save(figure, picture)
