"""Text in pictures that others wrote: tokens, names of classes. What the font lacks or would be read as a formula."""

from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.ft2font import FT2Font

MONOSPACE = "DejaVu Sans Mono"
"""Matplotlib carries it, so pictures are the same everywhere."""

ASPECT = 0.602
"""Width of its letters as a share of their size."""

VISIBLE = {" ": "\u2423", "\n": "\u21b5", "\t": "\u2192"}
LACKING = "\u25a1"


def plain(text: str) -> str:
    """The text with a box for each character that the font lacks."""
    return "".join(letter if _has(letter) else LACKING for letter in text)


def drawable(text: str) -> str:
    """The text, `plain`, with a sign for each space and line break."""
    return plain("".join(VISIBLE.get(letter, letter) for letter in text))


def label(text: str, most: int = 24) -> str:
    """A name as labels show it: `short`, and no dollar begins a formula."""
    return short(plain(text), most).replace("$", r"\$")


def short(text: str, most: int) -> str:
    """The text, or its beginning and an ellipsis where it has more than `most` characters."""
    return text if len(text) <= most else text[: most - 1] + "\u2026"


def width(text: str, size: float) -> float:
    """Width in inches of monospaced text of `size` points."""
    return len(text) * ASPECT * size / 72


def label_steps(axes: "Axes", tokens: list[str], size: float = 9) -> None:
    """Write tokens below the steps 0, 1, … of an axis, upright where they are long."""
    upright = max(map(len, tokens), default=0) > 1
    axes.set_xticks(range(len(tokens)), tokens, fontsize=size, family=MONOSPACE, rotation=90 if upright else 0)
    for label in axes.get_xticklabels():
        label.set_parse_math(False)


@lru_cache(maxsize=4096)
def _has(letter: str) -> bool:
    return bool(_font().get_char_index(ord(letter)))


@lru_cache(maxsize=1)
def _font() -> "FT2Font":
    from matplotlib.font_manager import findfont, get_font

    return get_font(findfont(MONOSPACE))
