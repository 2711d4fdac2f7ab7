"""What the filters of a DNA network look for, as sequence logos beside the motifs that were planted.

A logo stacks the letters of each place by frequency, as high as the place is informative (Schneider & Stephens,
Sequence logos: a new way to display consensus sequences, 1990). A filter's letters are those of the stretches that
excite it more than half as much as the one that excites it most (Kelley, Snoek & Rinn, Basset, 2016).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipelines.pictures import save

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LETTERS = "ACGT"
COLORS = {"A": "#2a9d5c", "C": "#22577a", "G": "#e09f3e", "T": "#d1495b"}
COLUMNS, BITS = 4, 2.0
MOST_STRETCHES = 100_000
"""Enough to count letters by, and few enough for the memory."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Match:
    """The filter most like a motif: its number, whether it reads the other strand, where it begins, how alike."""

    filter: int
    reverse: bool
    offset: int
    correlation: float


def frequencies(filters: Floats, x: NDArray[np.integer[Any]], ids: Sequence[int]) -> Floats:
    """How often each letter stands at each place of the stretches that excite a filter.

    Args:
        filters: weights (F, vocabulary, W) of the first layer.
        x: tokens (N, length).
        ids: the ids of A, C, G and T; a stretch with any other token does not count.

    Returns:
        (F, 4, W); each place's frequencies sum to 1. A filter that nothing excites has 1/4 everywhere.
    """
    wide = filters.shape[2]
    stretches = np.lib.stride_tricks.sliding_window_view(x, wide, axis=1).reshape(-1, wide)
    stretches = stretches[np.isin(stretches, ids).all(1)][:MOST_STRETCHES]
    # What a filter adds to every letter alike says nothing about letters.
    weights = filters[:, list(ids)]
    weights = weights - weights.mean(1, keepdims=True)
    letters = np.searchsorted(np.sort(ids), stretches)
    letters = np.argsort(ids)[letters]
    found = np.full((len(filters), 4, wide), 0.25)
    for number, weight in enumerate(weights):
        values = weight[letters, np.arange(wide)].sum(1)
        if len(values) and values.max() > 0:
            exciting = letters[values > values.max() / 2]
            found[number] = (exciting[:, None] == np.arange(4)[:, None]).mean(0)
    return found


def heights(frequency: Floats) -> Floats:
    """The height in bits of each letter (4, W): its frequency times what the place tells, 2 bits at most."""
    told = BITS + (frequency * np.log2(np.maximum(frequency, 1e-12))).sum(0)
    high: Floats = frequency * told
    return high


def planted(motif: str) -> Floats:
    """The frequencies (4, W) of a motif that is always the same letters."""
    return np.array([[float(letter == other) for letter in motif] for other in LETTERS])


def flipped(frequency: Floats) -> Floats:
    """The reverse complement of frequencies (4, W): A and T, C and G are each other's complement."""
    return frequency[::-1, ::-1]


def best_match(motif: Floats, found: Floats) -> Match:
    """The filter whose frequencies (F, 4, W) correlate best with a motif's (4, M), on either strand, wherever it lies.

    Where one reaches beyond the other, the other counts as random letters.
    """
    matches = [
        Match(number, reverse, offset, _correlation(motif, flipped(one) if reverse else one, offset))
        for number, one in enumerate(found)
        for reverse in (False, True)
        for offset in range(1 - one.shape[1], motif.shape[1])
    ]
    return max(matches, key=lambda match: match.correlation)


def _correlation(motif: Floats, other: Floats, offset: int) -> float:
    first, end = min(0, offset), max(motif.shape[1], offset + other.shape[1])
    sides = np.full((2, 4, end - first), 0.25)
    sides[0, :, -first : motif.shape[1] - first] = motif
    sides[1, :, offset - first : offset + other.shape[1] - first] = other
    flat = sides.reshape(2, -1) - 0.25
    norms = np.linalg.norm(flat, axis=1).prod()
    return float(flat[0] @ flat[1] / norms) if norms else 0.0


def beside_motifs(motifs: Mapping[str, str], found: Floats, picture: Path) -> dict[str, Match]:
    """Draw each motif above the filter most like it, letters above each other; return the matches by name."""
    from matplotlib.figure import Figure

    matches = {name: best_match(planted(motif), found) for name, motif in motifs.items()}
    figure = Figure(figsize=(max(5.0, 4.6 * len(motifs)), 4.2), layout="constrained")
    figure.suptitle("Planted motifs, and the learned filters most like them")
    grid = figure.subplots(2, len(motifs), squeeze=False)
    for column, (name, motif) in enumerate(motifs.items()):
        match = matches[name]
        one = flipped(found[match.filter]) if match.reverse else found[match.filter]
        first, end = min(0, match.offset), max(len(motif), match.offset + one.shape[1])
        draw(grid[0][column], heights(planted(motif)), 0, (first, end))
        draw(grid[1][column], heights(one), match.offset, (first, end))
        grid[0][column].set_title(f"{name}, planted", fontsize=10)
        strand = ", reverse complement" if match.reverse else ""
        title = f"filter {match.filter + 1}{strand}, correlation {match.correlation:.2f}"
        grid[1][column].set_title(title, fontsize=10)
    for axes in grid[:, 0]:
        axes.set_ylabel("bits")
    save(figure, picture)
    return matches


def all_filters(found: Floats, most: int, picture: Path) -> None:
    """Draw the logos of at most `most` filters, those that tell most first."""
    from matplotlib.figure import Figure

    told = np.array([heights(one).sum() for one in found])
    chosen = np.argsort(-told, kind="stable")[:most]
    rows = -(-len(chosen) // COLUMNS)
    figure = Figure(figsize=(3.0 * COLUMNS, 1.35 * rows + 0.5), layout="constrained")
    figure.suptitle("First layer's learned filters, as what excites them")
    grid = figure.subplots(rows, COLUMNS, squeeze=False).flatten()
    for axes in grid[len(chosen) :]:
        axes.set_axis_off()
    for axes, number in zip(grid, chosen, strict=False):
        draw(axes, heights(found[number]), 0, (0, found.shape[2]))
        axes.set_title(f"filter {number + 1}", fontsize=9)
        axes.set(xticks=[], yticks=[])
    save(figure, picture)


def draw(axes: "Axes", high: Floats, start: int, span: tuple[int, int]) -> None:
    """Draw letters as high as `high` (4, W) in bits, the first at place `start`, on an axis over the places `span`."""
    from matplotlib.collections import PathCollection
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath
    from matplotlib.transforms import Affine2D

    font = FontProperties(family="DejaVu Sans", weight="bold")
    # At each place the letters stand on each other, the tallest on top.
    order = np.argsort(high, axis=0, kind="stable")
    stacked = np.take_along_axis(high, order, axis=0)
    floors = np.empty_like(high)
    np.put_along_axis(floors, order, stacked.cumsum(0) - stacked, axis=0)
    for number, letter in enumerate(LETTERS):
        outline = TextPath((0, 0), letter, size=1, prop=font)
        box = outline.get_extents()
        paths = []
        for place, tall in enumerate(high[number].tolist()):
            floor = float(floors[number, place])
            fit = Affine2D().translate(-box.x0, -box.y0).scale(0.94 / box.width, tall / box.height)
            paths.append(fit.translate(start + place + 0.03, floor).transform_path(outline))
        letters = PathCollection(paths, facecolors=COLORS[letter], linewidths=0)
        # Their size is known; to ask each outline for it would take a second a logo.
        letters.set_in_layout(False)
        axes.add_collection(letters, autolim=False)
    axes.set(xlim=span, ylim=(0, BITS), yticks=[0, 1, 2], xticks=[])
    axes.spines[["top", "right"]].set_visible(False)
