"""Augmented copies of DNA: the other strand, which says the same, and point mutations. And a picture of some."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from pipelines.augmentations.base import PREVIEW, Augmentation, CopiesConfig, Tensors, write_copies
from pipelines.augmentations.sequences import (
    PREVIEW_COPIES,
    PREVIEW_SEQUENCES,
    Change,
    Ids,
    augment,
    frame,
    generator,
    page,
    unpadded,
    write_on,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COMPLEMENTS = dict(zip("ACGT", "TGCA", strict=True))
MARGIN = 27
"""Letters that the names of the preview's lines take."""

COLOURS = {"A": "#1f9d4d", "C": "#2b6cb0", "G": "#d98e04", "T": "#c53030", "N": "#718096"}
SHOWN = 100
"""Letters of a sequence that the preview has room for."""


class DnaAugmentConfig(CopiesConfig):
    """The section `datasets.<key>.augment` of DNA."""

    reverse_complement: float = Field(
        default=0, ge=0, le=1, description="probability that a copy is the other strand, read in its own direction"
    )
    mutate: float = Field(default=0, ge=0, le=1, description="probability that a letter becomes another one")


def write(train: Tensors, config: DnaAugmentConfig, folder: Path, card: dict[str, Any]) -> int:
    """Write copies of every training sequence, some of them the other strand, with mutations."""
    alphabet = str(card["alphabet"])
    change = changing(config, alphabet)
    x = augment(train["x"], config, change)
    titles = [card["classes"][label] for label in train["y"][:PREVIEW_SEQUENCES].tolist()]
    _preview(train["x"][:PREVIEW_SEQUENCES], titles, change, config.seed, alphabet, folder / PREVIEW)
    return write_copies(folder, x, np.tile(train["y"], config.copies))


def changing(config: DnaAugmentConfig, alphabet: str) -> Change:
    """Make the function that changes one sequence. A letter's id is its place in `alphabet`, counted from 1.

    N and its like have no complement and do not mutate.
    """
    known = np.array([alphabet.index(letter) + 1 for letter in COMPLEMENTS])
    complement = np.arange(len(alphabet) + 1)
    complement[known] = [alphabet.index(letter) + 1 for letter in COMPLEMENTS.values()]

    def change(ids: Ids, random: np.random.Generator) -> Ids:
        turned = random.random() < config.reverse_complement
        strand = complement[ids][::-1] if turned else ids
        mutated = (random.random(len(ids)) < config.mutate) & np.isin(strand, known)
        # One, two or three letters on among the four, so never the same.
        others = known[(np.searchsorted(known, strand) + random.integers(1, 4, len(ids))) % 4]
        return np.where(mutated, others, strand).astype(ids.dtype)

    return change


def _preview(rows: Ids, titles: Sequence[str], change: Change, seed: int, alphabet: str, path: Path) -> None:
    """Each sequence above its copies, letter by letter; what a mutation changed is framed."""
    from pipelines.pictures import save

    turn = changing(DnaAugmentConfig(reverse_complement=1), alphabet)
    figure, axes = page(MARGIN, min(SHOWN, rows.shape[1]), len(rows) * (PREVIEW_COPIES + 2) - 1)
    line = 0
    for index, (row, title) in enumerate(zip(rows, titles, strict=True)):
        original = unpadded(row)
        other = turn(original, generator(seed, 0, index))
        _line(axes, line, f"original, {title}", original, original, alphabet)
        for copy in range(PREVIEW_COPIES):
            made = change(original, generator(seed, copy, index))
            turned = np.count_nonzero(made != other) < np.count_nonzero(made != original)
            name = f"copy {copy + 1}{', reverse complement' if turned else ''}"
            _line(axes, line + copy + 1, name, made, other if turned else original, alphabet)
        line += PREVIEW_COPIES + 2
    save(figure, path)


def _line(axes: "Axes", line: int, name: str, ids: Ids, expected: Ids, alphabet: str) -> None:
    write_on(axes, line, [(-MARGIN, name[: MARGIN - 1])])
    letters = [alphabet[token - 1] for token in ids[:SHOWN].tolist()]
    for letter in sorted(set(letters)):
        places = [(place, letter) for place, found in enumerate(letters) if found == letter]
        write_on(axes, line, places, COLOURS.get(letter, "black"), bold=True)
    for place in np.flatnonzero(ids[:SHOWN] != expected[:SHOWN]).tolist():
        frame(axes, place, line, 1)


DNA = Augmentation(DnaAugmentConfig, write)
