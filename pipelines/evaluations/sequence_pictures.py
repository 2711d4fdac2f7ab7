"""Pictures of how a model reads a sequence: what it attends to, how its state evolves, what it gets wrong."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipelines.evaluations.lettering import MONOSPACE, drawable, label, label_steps, plain, short, width
from pipelines.pictures import save

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, GREY = "#22303c", "#8a97a3"
HEADS = ("#b5651d", "#22577a")
CLASS_COLORS = ("#22577a", "#d1495b", "#38a3a5", "#edae49", "#6d597a", "#57cc99", "#8d6b94", "#003d5b")
SHADE = "#d1495b"
LONGEST_TOKEN, MOST_UNITS, MOST_CLASSES = 16, 32, 8
FAINT = 0.02
"""Shades below this are not seen."""

PAGE, MARGIN, SIZE, LEADING = 10.0, 0.25, 10.0, 0.27
"""A page of text, in inches: its width and margin; points of a letter; from line to line."""

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Passage:
    """Tokens to be set as text under a caption, each shaded by its weight from 0 to 1."""

    caption: str
    tokens: Sequence[str]
    weights: Sequence[float]


def passages(title: str, note: str, found: Sequence[Passage], picture: Path) -> None:
    """Set passages below each other, their tokens shaded, lines broken where the page ends."""
    from matplotlib.figure import Figure

    lines = [(passage, _lines(_words(passage.tokens))) for passage in found]
    height = 2 * MARGIN + 0.75 + sum(0.55 + LEADING * len(rows) for _, rows in lines)
    figure = Figure(figsize=(PAGE, height))
    top = height - MARGIN - 0.15
    _write(figure, MARGIN, top, title, size=13)
    _write(figure, MARGIN, top - 0.28, note, size=9, color=GREY)
    top -= 0.75
    for passage, rows in lines:
        _write(figure, MARGIN, top, plain(passage.caption), size=9.5, weight="bold")
        top -= 0.3
        strongest = max(passage.weights, default=1.0)
        weights = iter(passage.weights)
        for row in rows:
            _shaded(figure, top, row, [next(weights) / max(strongest, 1e-12) for _ in row], _space(passage.tokens))
            top -= LEADING
        top -= 0.25
    save(figure, picture)


def _words(tokens: Sequence[str]) -> list[str]:
    return [short(drawable(token), LONGEST_TOKEN) for token in tokens]


def _lines(words: Sequence[str]) -> list[list[str]]:
    """Words by line; those of one letter stand close, others a space apart."""
    rows: list[list[str]] = [[]]
    room = PAGE - 2 * MARGIN
    used = 0.0
    for word in words:
        needed = width(word, SIZE) + _space(words)
        if rows[-1] and used + needed > room:
            rows.append([])
            used = 0.0
        rows[-1].append(word)
        used += needed
    return rows


def _space(words: Sequence[str]) -> float:
    return 0.02 if max(map(len, words), default=0) <= 1 else 0.1


def _shaded(figure: "Figure", y: float, words: Sequence[str], strengths: Sequence[float], space: float) -> None:
    """Write one line of tokens, `space` inches apart, each on a box as strongly coloured as it is weighed."""
    from matplotlib.patches import Rectangle

    page, height = figure.get_size_inches()
    x = MARGIN
    for word, strength in zip(words, strengths, strict=True):
        wide = width(word, SIZE) + space
        if strength > FAINT:
            corner = (x - space / 2) / page, (y - LEADING / 2 + 0.015) / height
            box = Rectangle(corner, wide / page, (LEADING - 0.03) / height, facecolor=SHADE, linewidth=0)
            box.set_alpha(0.85 * strength)
            figure.add_artist(box)
        _write(figure, x, y, word, size=SIZE, family=MONOSPACE, color="white" if strength > 0.7 else INK)
        x += wide


def _write(figure: "Figure", x: float, y: float, text: str, *, color: str = INK, **style: Any) -> None:
    """Write at a place in inches from the lower left; nothing in the text counts as a formula."""
    page, height = figure.get_size_inches()
    options = {"ha": "left", "va": "center_baseline", "parse_math": False, "color": color, **style}
    figure.text(x / page, y / height, text, **options)


def evolution(
    tokens: Sequence[str], states: Floats, probabilities: Floats, classes: Sequence[str], caption: str, picture: Path
) -> None:
    """Draw how a recurrent network's state, and what it would answer, change from token to token.

    Args:
        tokens: those that were read, T.
        states: hidden units after each (T, units); those that change most are drawn.
        probabilities: of each class (T, classes), were the sequence to end there.
        classes: their names.
        caption: below the title.
        picture: the PNG to write.
    """
    from matplotlib.figure import Figure

    units = np.sort(np.argsort(-states.std(0), kind="stable")[:MOST_UNITS])
    # Units that go the same way stand together: sorted by where along the sequence they are strongest.
    units = units[np.lexsort((np.abs(states[:, units]).argmax(0), np.sign(states[-1, units])))]
    figure = Figure(figsize=(float(np.clip(3 + 0.3 * len(tokens), 7, 16)), 7.2), layout="constrained")
    shown = f"{len(units)} of {states.shape[1]} units, those that change most" if len(units) < states.shape[1] else ""
    note = "; ".join(part for part in (caption, shown) if part)
    figure.suptitle(f"How the state evolves as the sequence is read\n{plain(note)}", fontsize=11, parse_math=False)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    reach = float(np.abs(states).max()) or 1.0
    image = upper.imshow(states[:, units].T, cmap="RdBu_r", vmin=-reach, vmax=reach, aspect="auto")
    figure.colorbar(image, ax=upper, label="activation", pad=0.01)
    upper.set(ylabel="hidden units", yticks=[])
    upper.tick_params(labelbottom=False)
    for number in np.argsort(-probabilities.max(0), kind="stable")[:MOST_CLASSES]:
        color = CLASS_COLORS[int(number) % len(CLASS_COLORS)]
        lower.plot(probabilities[:, number], marker="o", markersize=3, color=color, label=label(classes[number]))
    lower.set(ylim=(-0.03, 1.03), ylabel="probability, if it ended here")
    lower.spines[["top", "right"]].set_visible(False)
    lower.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=4)
    label_steps(lower, _words(tokens))
    save(figure, picture)


def heads(tokens: Sequence[str], weights: Sequence[Floats], names: Sequence[str], picture: Path) -> None:
    """Draw where two heads look: from each token above, lines to those below that get more than an equal share.

    After figure 5 of Vaswani et al., Attention is all you need (2017).

    Args:
        tokens: T of them.
        weights: of each of two heads (T, T); a row, who looks, sums to 1.
        names: of the heads.
        picture: the PNG to write.
    """
    from matplotlib.figure import Figure

    words = _words(tokens)
    longest = max(map(len, words))
    margin = 0.3 if longest == 1 else width("m" * longest, 9) + 0.15
    panel = 2 * margin + 1.7
    figure = Figure(figsize=(float(np.clip(1 + 0.32 * len(words), 6, 16)), 2 * panel + 0.5))
    figure.suptitle("Attention of two different heads over one sequence", fontsize=12, y=1 - 0.2 / (2 * panel + 0.5))
    total = 2 * panel + 0.5
    for number, (head, name, color) in enumerate(zip(weights, names, HEADS, strict=True)):
        bottom = (1 - number) * panel + margin
        axes = figure.add_axes((0.06, bottom / total, 0.9, (panel - 2 * margin) / total))
        _lines_of_sight(axes, head, words, color)
        axes.set_ylabel(name, color=color, fontsize=10)
    save(figure, picture)


def _lines_of_sight(axes: "Axes", weights: Floats, words: list[str], color: str) -> None:
    from matplotlib.collections import LineCollection

    count = len(words)
    # Looking at all alike shows as nothing: lines are as strong as the attention is above that.
    above = weights - 1 / count
    asking, asked = np.nonzero(above > 0)
    shades = above[asking, asked] / max(float(above.max()), 1e-12)
    ends = [((a, 1.0), (b, 0.0)) for a, b in zip(asking.tolist(), asked.tolist(), strict=True)]
    axes.add_collection(LineCollection(ends, colors=color, alpha=shades, linewidths=0.4 + 2.6 * shades))
    axes.set(xlim=(-0.6, count - 0.4), ylim=(-0.02, 1.02), yticks=[])
    axes.spines[:].set_visible(False)
    upright = 90 if max(map(len, words)) > 1 else 0
    for at, word in enumerate(words):
        for y, side in ((1.04, "bottom"), (-0.04, "top")):
            axes.text(at, y, word, rotation=upright, ha="center", va=side, family=MONOSPACE, fontsize=9, color=INK,
                      parse_math=False)  # fmt: skip
    axes.set_xticks([])
