"""How pictures are written, and the sheet that shows what a policy does: originals beside their augmentations."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def save(figure: "Figure", path: Path) -> None:
    """Write a PNG whose bytes depend on the picture alone."""
    figure.savefig(path, format="png", dpi=120, metadata={"Software": None}, facecolor="white")


def augmentation_sheet(
    originals: NDArray[np.uint8], augmented: NDArray[np.uint8], path: Path, scale: float | None = None
) -> None:
    """Write a PNG with one row per original: the original, then its copies. Same input, same bytes.

    Args:
        originals: images (R, C, H, W), C 1 or 3, R at least 1.
        augmented: their copies (K, R, C, H, W).
        path: the PNG file to write.
        scale: the pixel value to show as white; by default the brightest of the originals.
    """
    from matplotlib.figure import Figure

    copies = np.concatenate([originals[None], augmented])
    columns, rows = copies.shape[:2]
    white = scale or max(1, int(originals.max()))
    figure = Figure(figsize=(columns * 1.1, rows * 1.1 + 0.4), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for row in range(rows):
        for column in range(columns):
            pixels = np.clip(copies[column, row].transpose(1, 2, 0) / white, 0, 1)
            axes[row][column].imshow(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels,
                                     cmap="gray", vmin=0, vmax=1, interpolation="nearest")  # fmt: skip
            axes[row][column].set_axis_off()
    for column in range(columns):
        axes[0][column].set_title("original" if column == 0 else f"copy {column}", fontsize=8)
    save(figure, path)
