"""Augmented copies of sequences of tokens, whose padding stays at their right."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipelines.augmentations.base import CopiesConfig

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Ids = NDArray[Any]
Change = Callable[[Ids, np.random.Generator], Ids]

PREVIEW_SEQUENCES, PREVIEW_COPIES = 4, 2

FONT: dict[str, Any] = {"family": "monospace", "fontsize": 8, "parse_math": False}
LETTER, LINE = 0.6, 1.5
"""Width of a letter of that font, and the height of a line, in units of its size."""


def augment(x: Ids, config: CopiesConfig, change: Change) -> Ids:
    """Changed copies of sequences; what becomes of one depends on (seed, copy, its place in x).

    Args:
        x: ids (N, T), padded by 0 on the right.
        config: seed and number of copies.
        change: `change(ids, random)` takes the ids of one sequence, (L,) without padding, and gives no more.

    Returns:
        (copies * N, T): the first copy of all sequences, then the second, and so on.
    """
    out = np.zeros((config.copies, *x.shape), x.dtype)
    for copy, of_copy in enumerate(out):
        for index, row in enumerate(of_copy):
            changed = change(unpadded(x[index]), generator(config.seed, copy, index))
            row[: len(changed)] = changed
    return out.reshape(-1, x.shape[1])


def generator(seed: int, copy: int, index: int) -> np.random.Generator:
    """The random numbers of one sequence's copy, the same on every machine."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence((seed, copy, index))))


def unpadded(row: Ids) -> Ids:
    """The ids of one sequence (T,) without its padding."""
    return row[: np.count_nonzero(row)]


def page(margin: int, columns: int, lines: int) -> "tuple[Figure, Axes]":
    """An empty picture to be written on: x counts letters, from `-margin`, y counts lines downwards."""
    from matplotlib.figure import Figure

    inch = FONT["fontsize"] / 72
    figure = Figure(figsize=((margin + columns + 2) * LETTER * inch, (lines + 1) * LINE * inch))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set_xlim(-margin - 1, columns + 1)
    axes.set_ylim(lines + 0.5, -0.5)
    return figure, axes


def write_on(
    axes: "Axes", line: int, pieces: Iterable[tuple[int, str]], colour: str = "black", bold: bool = False
) -> None:
    """Put pieces of text of one colour on a line of a page, each from its column on, from left to right.

    They become one string with blanks between: hundreds of texts would take seconds to draw.
    """
    begins, text = 0, ""
    for column, piece in pieces:
        begins = begins if text else column
        text = text.ljust(column - begins) + piece
    weight = "bold" if bold else "normal"
    axes.text(begins, line + 0.5, text, color=colour, weight=weight, ha="left", va="center", **FONT)


def frame(axes: "Axes", column: float, line: float, letters: int, colour: str = "black") -> None:
    """Draw a frame around some letters of a page."""
    from matplotlib.patches import Rectangle

    corner, width = (column - 0.15, line + 0.06), letters + 0.3
    axes.add_patch(Rectangle(corner, width, 0.88, fill=False, edgecolor=colour, linewidth=0.7))


def strike(axes: "Axes", column: float, line: float, letters: int, colour: str) -> None:
    """Draw a line through some letters of a page."""
    axes.plot([column, column + letters], [line + 0.5, line + 0.5], color=colour, linewidth=0.9)
