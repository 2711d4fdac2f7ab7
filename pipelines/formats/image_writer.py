"""Images as they are prepared: pixels, labels, and statistics of the training part."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipelines.formats.images import Examples
from pipelines.formats.prepared import write_labelled

CHUNK = 1 << 24
"""Bytes of pixels that are summed at a time."""


def write_images(examples: Examples, parts: Mapping[str, NDArray[np.int64]], folder: Path, seed: int) -> None:
    """Write `<part>.safetensors` for each part, and `card.json`. The same input gives the same bytes.

    A file holds `x`, uint8 (N, C, H, W); `y`, int64 (N,); `index`, int64 (N,), the position in raw order.

    Args:
        examples: all examples; `x` may be memory-mapped.
        parts: positions in `examples` by name of part; `train` is among them.
        folder: an existing folder.
        seed: of the split, for the card.
    """
    mean, std = mean_and_std(examples.x, parts["train"], examples.scale)
    card = {
        "form": "image",
        "shape": [int(side) for side in examples.x.shape[1:]],
        "dtype": "uint8",
        "classes": list(examples.classes),
        "scale": float(examples.scale),
        "mean": mean,
        "std": std,
    }
    write_labelled(folder, examples.x, examples.y, parts, card, seed, examples.index)


def mean_and_std(x: NDArray[np.uint8], rows: NDArray[np.int64], scale: float) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of `x[rows] / scale` for each channel.

    Sums of whole numbers, so exact, in whatever chunks. A channel without variation gets 1.0, by which one
    can divide.

    Args:
        x: uint8 (N, C, H, W).
        rows: int64 (M,), M at least 1.
        scale: the pixel value that stands for 1.0.
    """
    channels, pixels = x.shape[1], len(rows) * x.shape[2] * x.shape[3]
    sums, squares = [0] * channels, [0] * channels
    step = max(1, CHUNK // max(1, x[0].size))
    for start in range(0, len(rows), step):
        part = x[rows[start : start + step]]
        for channel in range(channels):
            # 256 counts say it all, without a wider copy of the pixels.
            histogram = np.bincount(part[:, channel].ravel(), minlength=256)
            sums[channel] += int(histogram @ np.arange(256))
            squares[channel] += int(histogram @ np.arange(256) ** 2)
    variances = [(pixels * q - s * s) / pixels**2 for s, q in zip(sums, squares, strict=True)]
    return (
        [s / pixels / scale for s in sums],
        [variance**0.5 / scale if variance else 1.0 for variance in variances],
    )
