"""Copies of texts with words left out or made unknown, as some words of every new text are. And a picture of some."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from pipelines.augmentations.base import PREVIEW, Augmentation, CopiesConfig, Tensors, write_copies
from pipelines.augmentations.sequences import (
    PREVIEW_COPIES,
    PREVIEW_SEQUENCES,
    Ids,
    augment,
    frame,
    generator,
    page,
    strike,
    unpadded,
    write_on,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

KEPT, UNKNOWN, DELETED = 0, 1, 2
COLUMNS = 110
"""Letters on a line of the preview."""

COLOURS, RED = {KEPT: "#1a202c", UNKNOWN: "#c05621", DELETED: "#a0aec0"}, "#c53030"


class TokenAugmentConfig(CopiesConfig):
    """The section `datasets.<key>.augment` of texts."""

    unknown: float = Field(default=0, ge=0, lt=1, description="probability that a word becomes the unknown one")
    delete: float = Field(default=0, ge=0, lt=1, description="probability that a word is left out")


def write(train: Tensors, config: TokenAugmentConfig, folder: Path, card: dict[str, Any]) -> int:
    """Write copies of every training text, in which words are missing."""
    unknown = int(card["unknown"])
    x = augment(train["x"], config, lambda ids, random: changed(ids, fates(len(ids), config, random), unknown))
    _preview(train["x"][:PREVIEW_SEQUENCES], config, card["vocabulary"], folder / PREVIEW)
    return write_copies(folder, x, np.tile(train["y"], config.copies))


def fates(count: int, config: TokenAugmentConfig, random: np.random.Generator) -> NDArray[np.int64]:
    """What becomes of each of `count` words, (count,): KEPT, UNKNOWN or DELETED. One at least is not deleted."""
    draws = random.random((2, count))
    found = np.where(draws[0] < config.unknown, UNKNOWN, KEPT)
    found[draws[1] < config.delete] = DELETED
    if (found == DELETED).all():
        found[random.integers(count)] = KEPT
    return found.astype(np.int64)


def changed(ids: Ids, fate: NDArray[np.int64], unknown: int) -> Ids:
    """The ids (L,) that are left, (at most L,), some of them made `unknown`."""
    left: Ids = np.where(fate == UNKNOWN, ids.dtype.type(unknown), ids)[fate != DELETED]
    return left


def _preview(rows: Ids, config: TokenAugmentConfig, vocabulary: Sequence[str], path: Path) -> None:
    """Each text above its copies; a word that is left out is struck, one that becomes unknown is framed."""
    from pipelines.pictures import save

    parts: list[tuple[str, NDArray[np.int64], list[Word]]] = []
    for index, row in enumerate(rows):
        ids = unpadded(row)
        words = _laid(ids, vocabulary)
        parts.append((f"text {index + 1}", np.full(len(ids), KEPT), words))
        for copy in range(PREVIEW_COPIES):
            fate = fates(len(ids), config, generator(config.seed, copy, index))
            parts.append((f"copy {copy + 1}", fate, words))
    figure, axes = page(margin=8, columns=COLUMNS, lines=sum(words[-1].line + 2 for _, _, words in parts) - 1)
    top = 0
    for title, fate, words in parts:
        write_on(axes, top, [(-8, title)], bold=True)
        for state in COLOURS:
            _draw(axes, top, [word for word, found in zip(words, fate.tolist(), strict=True) if found == state], state)
        top += words[-1].line + 2
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a script that the font lacks is drawn as boxes
        save(figure, path)


class Word(NamedTuple):
    """A word and where on the page it begins."""

    column: int
    line: int
    letters: str


def _laid(ids: Ids, vocabulary: Sequence[str]) -> list[Word]:
    found: list[Word] = []
    column = line = 0
    for letters in (vocabulary[token][:COLUMNS] for token in ids.tolist()):
        if column + len(letters) > COLUMNS:
            column, line = 0, line + 1
        found.append(Word(column, line, letters))
        column += len(letters) + 1
    return found


def _draw(axes: "Axes", top: int, words: Sequence[Word], fate: int) -> None:
    """Words with one fate, whose lines count from `top`."""
    for line in sorted({word.line for word in words}):
        write_on(axes, top + line, [(word.column, word.letters) for word in words if word.line == line], COLOURS[fate])
    for word in words:
        if fate == DELETED:
            strike(axes, word.column, top + word.line, len(word.letters), RED)
        elif fate == UNKNOWN:
            frame(axes, word.column, top + word.line, len(word.letters), COLOURS[fate])


TOKENS = Augmentation(TokenAugmentConfig, write)
