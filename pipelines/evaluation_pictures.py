"""The pictures of an evaluation: confusion, mistakes, learning curves, filters. PNG for people, CSV for DVC's plots."""

import csv
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from pipelines.pictures import save

if TYPE_CHECKING:
    from torch import Tensor

    from lit_models.base import LitModel
    from pipelines.evaluate import EvaluateConfig

INK, ACCENT = "#22303c", "#d1495b"
MAX_NAMED_CLASSES = 25


def draw_all(
    plots: Path,
    model: "LitModel",
    x: "Tensor",
    y: "Tensor",
    logits: "Tensor",
    classes: list[str],
    trained: Path,
    config: "EvaluateConfig",
) -> None:
    """Write every picture and table of one evaluation into `plots`; PNGs go into its folder `pictures`."""
    from lit_models.visualize import conv_layers, first_layer_filters, maximizing_images

    pictures = plots / "pictures"
    pictures.mkdir()
    predicted = logits.argmax(1)
    _confusion(y.numpy(), predicted.numpy(), classes, plots / "confusion.csv", pictures / "confusion.png")
    _mistakes(x, y, logits, classes, model.spec.scale, config.mistakes, pictures / "worst_mistakes.png")
    _curves(trained / "history.csv", plots / "learning.csv", pictures / "learning_curves.png")
    filters = first_layer_filters(model)
    if filters is not None:
        shown = filters[: config.filters]
        _grid(shown.numpy(), "First layer's learned filters", pictures / "first_layer_filters.png", signed=True)
    for index, (name, layer) in enumerate(conv_layers(model).items(), start=1):
        images = maximizing_images(model, layer, config.filters, config.filter_steps)
        title = f"Images that maximize the filters of conv layer {index} ({name})"
        _grid(images.numpy(), title, pictures / f"maximizing_conv{index:02d}.png")


def _confusion(y: Any, predicted: Any, classes: list[str], table: Path, picture: Path) -> None:
    with table.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["actual", "predicted"])
        writer.writerows([classes[a], classes[p]] for a, p in zip(y, predicted, strict=True))
    counts = np.zeros((len(classes), len(classes)), int)
    np.add.at(counts, (y, predicted), 1)
    side = min(3 + 0.35 * len(classes), 14)
    figure = Figure(figsize=(side + 1, side), layout="constrained")
    axes = figure.subplots()
    # Shares of a class, for classes differ in size.
    image = axes.imshow(counts / np.maximum(counts.sum(1, keepdims=True), 1), cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(image, label="share of the actual class", shrink=0.8)
    axes.set(xlabel="predicted", ylabel="actual", title=f"Confusion: {np.trace(counts)} of {len(y)} right")
    if len(classes) <= MAX_NAMED_CLASSES:
        axes.set_xticks(range(len(classes)), classes, rotation=45 if max(map(len, classes)) > 3 else 0)
        axes.set_yticks(range(len(classes)), classes)
        for row, column in zip(*counts.nonzero(), strict=True):
            dark = counts[row, column] > counts[row].sum() / 2
            axes.text(column, row, counts[row, column], ha="center", va="center", color="white" if dark else INK)
    save(figure, picture)


def _mistakes(
    x: "Tensor", y: "Tensor", logits: "Tensor", classes: list[str], scale: float, most: int, picture: Path
) -> None:
    """Wrong predictions, the ones that the model was surest of first."""
    sure, predicted = logits.softmax(1).max(1)
    wrong = (predicted != y).nonzero().flatten()
    wrong = wrong[sure[wrong].argsort(descending=True, stable=True)][:most]
    titles = [f"{classes[y[i]]} read as {classes[predicted[i]]}\n({sure[i]:.0%} sure)" for i in wrong.tolist()]
    headline = "Worst mistakes" if titles else "No mistakes on the test set"
    _grid(x[wrong].numpy() / scale, headline, picture, titles=titles)


def _curves(history: Path, table: Path, picture: Path) -> None:
    table.write_bytes(history.read_bytes())
    with history.open(newline="") as file:
        rows = list(csv.DictReader(file))
    epochs = [int(row["epoch"]) for row in rows]
    figure = Figure(figsize=(8, 3.4), layout="constrained")
    losses, accuracies = figure.subplots(1, 2)
    for name, label, color in (("train_loss", "training", INK), ("val_loss", "validation", ACCENT)):
        if rows[0][name]:
            losses.plot(epochs, [float(row[name]) for row in rows], label=label, color=color)
    losses.set(title="Loss", xlabel="epoch", ylabel="cross-entropy (nats)")
    losses.legend(frameon=False)
    if rows[0]["val_accuracy"]:
        accuracies.plot(epochs, [float(row["val_accuracy"]) for row in rows], color=ACCENT)
        accuracies.set(title="Validation accuracy", xlabel="epoch")
    else:
        accuracies.set_axis_off()
        accuracies.text(0.5, 0.5, "trained on train + val:\nnothing left to validate on", ha="center", va="center")
    for axes in (losses, accuracies):
        axes.spines[["top", "right"]].set_visible(False)
    save(figure, picture)


def _grid(images: Any, title: str, picture: Path, *, titles: list[str] | None = None, signed: bool = False) -> None:
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
