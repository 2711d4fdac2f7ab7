"""Token dropout on the source side of pairs: a model that cannot rely on any single token must read them all.

Word dropout after Sennrich et al., Edinburgh neural machine translation systems for WMT 16 (2016): what is dropped
becomes <unknown>, so that the others keep their places. Targets stay as they are.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from pipelines.augmentations.base import PREVIEW, Augmentation, CopiesConfig, Tensors, write_copies
from pipelines.formats.pairs import UNKNOWN, joined

SHOWN, ROW = 10, 0.52
"""Sources in the preview, and what one takes of its height, in inches."""


class PairsAugmentConfig(CopiesConfig):
    """The section `datasets.<key>.augment` of pairs."""

    dropout: float = Field(default=0.1, ge=0, lt=1, description="probability that a token of the source is unreadable")


def write(train: Tensors, config: PairsAugmentConfig, folder: Path, card: dict[str, Any]) -> int:
    """Write `copies` of all pairs, each with sources dropped in its own way."""
    x, y = train["x"], train["y"]
    copies = [dropped(x, np.arange(len(x)), config, copy) for copy in range(config.copies)]
    _preview(x, config, folder / PREVIEW, card)
    return write_copies(folder, np.concatenate([x[:0], *copies]), np.concatenate([y[:0], *[y] * config.copies]))


def dropped(x: NDArray[np.int32], index: NDArray[np.int64], config: PairsAugmentConfig, copy: int) -> NDArray[np.int32]:
    """Make tokens of the sources (N, S) at the positions `index` (N,) UNKNOWN, padding aside."""
    limit = np.uint64(int(config.dropout * 2**64))
    seeds = [np.random.SeedSequence((config.seed, copy, int(row))) for row in index]
    draws = [np.random.PCG64(seed).random_raw(x.shape[1]) for seed in seeds]
    gone = np.array(draws, np.uint64).reshape(x.shape) < limit
    return np.where(gone & (x != 0), np.int32(UNKNOWN), x)


def _preview(x: NDArray[np.int32], config: PairsAugmentConfig, path: Path, card: dict[str, Any]) -> None:
    """Show sources from all over the training set as they are, and below each what a copy makes of it."""
    from matplotlib.figure import Figure

    from pipelines.pictures import save

    rows = np.unique(np.linspace(0, len(x) - 1, SHOWN).astype(np.int64))
    after = dropped(x[rows], rows, config, copy=0)
    high = 0.6 + ROW * len(rows)
    figure = Figure(figsize=(8, high))
    title = f"Sources, and below each a copy at dropout {config.dropout:g}; what is dropped is \u00b7\u00b7\u00b7"
    figure.text(0.03, 1 - 0.25 / high, title, va="center")
    for place, both in enumerate(zip(x[rows], after, strict=True)):
        for line, (ids, color) in enumerate(zip(both, ("#22303c", "#d1495b"), strict=True)):
            text = joined(_names(ids, card["source_vocabulary"]), card["tokens"])
            y = 1 - (0.65 + ROW * place + 0.2 * line) / high
            figure.text(0.03, y, text, fontsize=9, color=color, parse_math=False, va="center")
    save(figure, path)


def _names(ids: NDArray[np.int32], vocabulary: Sequence[str]) -> list[str]:
    return ["\u00b7\u00b7\u00b7" if token == UNKNOWN else vocabulary[token] for token in ids if token]


PAIRS = Augmentation(PairsAugmentConfig, write)
