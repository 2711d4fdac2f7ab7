"""Copies of windows of a series: noise on what is known, and all of it larger or smaller. And a picture of some.

Jitter and scaling as in Um et al., Data augmentation of wearable sensor data (2017).
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from pipelines.augmentations.base import PREVIEW, Augmentation, CopiesConfig, Tensors, write_copies
from pipelines.augmentations.sequences import generator

PREVIEW_SERIES, PREVIEW_COPIES, MOST_FEATURES = 4, 3, 4
INK, ACCENT = "#22303c", "#d1495b"

Floats = NDArray[np.float32]


class SeriesAugmentConfig(CopiesConfig):
    """The section `datasets.<key>.augment` of series to be forecast."""

    jitter: float = Field(
        default=0, ge=0, le=1, description="deviation of noise on what is known, in standard deviations of each feature"
    )
    scale: float = Field(
        default=0, ge=0, lt=1, description="largest change of size about the mean, as a fraction; of the target too"
    )


def write(train: Tensors, config: SeriesAugmentConfig, folder: Path, card: dict[str, Any]) -> int:
    """Write copies of every training window and of what came after it."""
    made = [
        changed(x, y, config, card, generator(config.seed, copy, index))
        for copy in range(config.copies)
        for index, (x, y) in enumerate(zip(train["x"], train["y"], strict=True))
    ]
    _preview(train, config, card, folder / PREVIEW)
    x = np.array([x for x, _ in made], np.float32).reshape(-1, *train["x"].shape[1:])
    y = np.array([y for _, y in made], np.float32).reshape(-1, *train["y"].shape[1:])
    return write_copies(folder, x, y)


def changed(
    x: Floats, y: Floats, config: SeriesAugmentConfig, card: dict[str, Any], random: np.random.Generator
) -> tuple[Floats, Floats]:
    """Change one window x (T, features) and what came after it, y (targets,)."""
    mean, deviation, target_mean = (np.array(card[name], np.float32) for name in ("mean", "std", "target_mean"))
    factor = np.float32(1 + config.scale * random.uniform(-1, 1))
    noise = config.jitter * deviation * random.standard_normal(x.shape, np.float32)
    return mean + factor * (x - mean) + noise, target_mean + factor * (y - target_mean)


def _preview(train: Tensors, config: SeriesAugmentConfig, card: dict[str, Any], path: Path) -> None:
    """Draw windows from all over the training part, and over each some copies."""
    from matplotlib.figure import Figure

    from pipelines.pictures import save

    rows = np.linspace(0, len(train["x"]) - 1, PREVIEW_SERIES).astype(int).tolist()
    features = min(len(card["features"]), MOST_FEATURES)
    figure = Figure(figsize=(2.6 * features + 0.5, 1.6 * len(rows) + 0.7), layout="constrained")
    figure.suptitle("Windows (dark), copies of them (red), and what is to be forecast (dots)", fontsize=11)
    grid = figure.subplots(len(rows), features, squeeze=False, sharex=True)
    steps = np.arange(1, train["x"].shape[1] + 1)
    for line, row in enumerate(rows):
        original = train["x"][row], train["y"][row]
        copies = [changed(*original, config, card, generator(config.seed, k, row)) for k in range(PREVIEW_COPIES)]
        for column, axes in enumerate(grid[line]):
            for (x, y), color in [*((copy, ACCENT) for copy in copies), (original, INK)]:
                axes.plot(steps, x[:, column], color=color, linewidth=1, alpha=0.9 if color == INK else 0.5)
                if column in card["baseline"].get("columns", []):
                    target = card["baseline"]["columns"].index(column)
                    axes.plot(len(steps) + 1, y[target], "o", color=color, markersize=3)
            axes.tick_params(labelsize=7)
            axes.spines[["top", "right"]].set_visible(False)
    for column, axes in enumerate(grid[0]):
        axes.set_title(card["features"][column], fontsize=9, parse_math=False)
    save(figure, path)


SERIES = Augmentation(SeriesAugmentConfig, write)
