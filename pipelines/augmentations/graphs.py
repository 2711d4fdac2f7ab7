"""Copies of graphs that lack some edges (Rong et al., DropEdge, 2020)."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from pipelines import graph_drawing
from pipelines.augmentations.base import PREVIEW, Augmentation, CopiesConfig, Tensors, write_copies

PREVIEW_GRAPHS, PREVIEW_COPIES = 4, 4
Rows = NDArray[np.int32]


class GraphsAugmentConfig(CopiesConfig):
    """The section `datasets.<key>.augment` of graphs that are classified as wholes."""

    edges: float = Field(default=0.1, ge=0, lt=1, description="share of edges that a copy lacks, on average")


def write(train: Tensors, config: GraphsAugmentConfig, folder: Path, card: dict[str, Any]) -> int:
    """Leave out edges of every graph, `copies` times; what tells nodes apart stays as it was."""
    sizes = card["nodes"], card["edges"]
    x, y = train["x"], train["y"]
    copies = [_copy(x, config, copy, *sizes) for copy in range(config.copies)]
    _sheet(x[:PREVIEW_GRAPHS], config, folder / PREVIEW, *sizes)
    return write_copies(folder, np.concatenate([x[:0], *copies]), np.tile(y, config.copies))


def _copy(x: Rows, config: GraphsAugmentConfig, copy: int, nodes: int, edges: int) -> Rows:
    return np.array([drop_edges(row, config, copy, i, nodes, edges) for i, row in enumerate(x)], np.int32)


def drop_edges(row: Rows, config: GraphsAugmentConfig, copy: int, index: int, nodes: int, edges: int) -> Rows:
    """Leave edges out of a row of the form `graphs`, both ways at once; it depends on (seed, copy, index) alone."""
    words = np.random.PCG64(np.random.SeedSequence((config.seed, copy, index))).random_raw(edges)
    kept = words >= np.uint64(config.edges * 2.0**64)
    sources, targets = row[nodes:].reshape(2, edges).astype(np.int64)
    # One draw for both ways: that of the place where the smaller end comes first.
    pair = np.minimum(sources, targets) * (nodes + 1) + np.maximum(sources, targets)
    _, first, which = np.unique(pair, return_index=True, return_inverse=True)
    out = row.copy()
    out[nodes + edges :][~kept[first][which]] = nodes
    out[nodes : nodes + edges][out[nodes + edges :] == nodes] = 0
    return out


def _sheet(x: Rows, config: GraphsAugmentConfig, path: Path, nodes: int, edges: int) -> None:
    """Draw graphs, one a row, beside copies; nodes stay where they are."""
    from matplotlib.figure import Figure

    from pipelines.pictures import save

    columns = PREVIEW_COPIES + 1
    figure = Figure(figsize=(2 * columns, 2 * len(x) + 0.4), layout="constrained")
    grid = figure.subplots(len(x), columns, squeeze=False)
    for index, (row, panels) in enumerate(zip(x, grid, strict=True)):
        kinds, ends = graph_drawing.unpack(row, nodes, edges)
        place = graph_drawing.layout(len(kinds), ends)
        for column, axes in enumerate(panels):
            shown = row if column == 0 else drop_edges(row, config, column - 1, index, nodes, edges)
            graph_drawing.draw_edges(axes, place, ends, linestyles="dotted")
            graph_drawing.draw_edges(
                axes, place, graph_drawing.unpack(shown, nodes, edges)[1], colors=graph_drawing.INK
            )
            axes.scatter(place[:, 0], place[:, 1], s=22, color=graph_drawing.COLORS[0], zorder=2)
            graph_drawing.frame(axes)
            if index == 0:
                axes.set_title("original" if column == 0 else f"copy {column}", fontsize=8)
    save(figure, path)


GRAPHS = Augmentation(GraphsAugmentConfig, write)
