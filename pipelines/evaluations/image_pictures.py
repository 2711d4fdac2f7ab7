"""Pictures of what a classifier of images gets wrong and looks for."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from pipelines.evaluations.classification import surest_mistakes
from pipelines.pictures import save

if TYPE_CHECKING:
    from torch import Tensor

    from lit_models.core.image import ImageModel
    from pipelines.evaluations.base import Task


def mistakes(task: "Task", logits: "Tensor", most: int, scale: float, picture: Path) -> None:
    """Draw wrong predictions, the ones that the model was surest of first."""
    classes = task.card["classes"]
    wrong = surest_mistakes(logits, task.y, most)
    titles = [f"{classes[m.actual]} read as {classes[m.predicted]}\n({m.sure:.0%} sure)" for m in wrong]
    headline = "Worst mistakes" if titles else "No mistakes on the test set"
    grid(task.x[[m.position for m in wrong]].numpy() / scale, headline, picture, titles=titles)


def filters(model: "ImageModel", most: int, steps: int, folder: Path) -> None:
    """Draw the first layer's filters, and for each convolution the images that maximize its filters."""
    from lit_models.visualize import conv_layers, first_layer_filters, maximizing_images

    first = first_layer_filters(model)
    if first is not None:
        title = "First layer's learned filters"
        grid(first[:most].numpy(), title, folder / "first_layer_filters.png", signed=True)
    for index, (name, layer) in enumerate(conv_layers(model).items(), start=1):
        images = maximizing_images(model, layer, most, steps)
        title = f"Images that maximize the filters of conv layer {index} ({name})"
        grid(images.numpy(), title, folder / f"maximizing_conv{index:02d}.png")


def grid(images: Any, title: str, picture: Path, *, titles: list[str] | None = None, signed: bool = False) -> None:
    """Draw images (N, C, h, w) side by side.

    Unsigned ones are pixels in [0, 1]. Signed ones are weights: zero is grey, each scaled by its own largest.
    """
    count = max(len(images), 1)
    columns = min(count, 8)
    rows = -(-count // columns)
    figure = Figure(figsize=(max(1.3 * columns, 4.5), (1.65 if titles else 1.25) * rows + 0.6), layout="constrained")
    figure.suptitle(title)
    grid = figure.subplots(rows, columns, squeeze=False).flatten()
    for axes in grid:
        axes.set_axis_off()
    for index, image in enumerate(images):
        if signed:
            image = 0.5 + 0.5 * image / max(float(np.abs(image).max()), 1e-12)
        if image.shape[0] not in (1, 3):
            image = image.mean(0, keepdims=True)
        grid[index].imshow(image.transpose(1, 2, 0).squeeze(), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        if titles:
            grid[index].set_title(titles[index], fontsize=7)
    save(figure, picture)
