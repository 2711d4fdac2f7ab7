"""What evaluations of classifiers share: scores beside a naive baseline, the confusion table, the worst mistakes."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipelines.evaluations.lettering import label
from pipelines.pictures import save

if TYPE_CHECKING:
    from torch import Tensor

INK = "#22303c"
MAX_NAMED_CLASSES = 25


@dataclass(frozen=True)
class Mistake:
    """A wrong prediction: which example, what it is, what it was taken for, and how sure of that the model was."""

    position: int
    actual: int
    predicted: int
    sure: float


def scores(logits: "Tensor", y: "Tensor", card: Mapping[str, Any], bins: int) -> dict[str, float]:
    """Score predictions (N, classes) of labels (N,): see `pipelines.scores`; `baseline` is `most_frequent`."""
    from pipelines.scores import test_scores

    return {**test_scores(logits, y, bins), "baseline": most_frequent(card, y)}


def most_frequent(card: Mapping[str, Any], y: "Tensor") -> float:
    """The accuracy on labels (N,) of always answering the class that is most frequent in training, 0 to 1.

    Args:
        card: its `counts` hold for each part the examples of each class, in the order of the labels.
        y: labels, int64 (N,).
    """
    counts = list(card["counts"]["train"].values())
    return float((y == counts.index(max(counts))).double().mean())


def surest_mistakes(logits: "Tensor", y: "Tensor", most: int) -> list[Mistake]:
    """At most `most` wrong predictions of labels (N,) by logits (N, classes), those the model was surest of first."""
    sure, predicted = logits.softmax(1).max(1)
    wrong = (predicted != y).nonzero().flatten()
    wrong = wrong[sure[wrong].argsort(descending=True, stable=True)][:most]
    return [Mistake(i, int(y[i]), int(predicted[i]), float(sure[i])) for i in wrong.tolist()]


def confusion(y: "Tensor", predicted: "Tensor", classes: Sequence[str], table: Path, picture: Path) -> None:
    """Write `table`, a CSV of actual and predicted names that DVC can plot, and `picture`, a PNG of the matrix."""
    actual, guessed = y.numpy(), predicted.numpy()
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["actual", "predicted"])
        writer.writerows([classes[a], classes[p]] for a, p in zip(actual, guessed, strict=True))
    counts = np.zeros((len(classes), len(classes)), np.int64)
    np.add.at(counts, (actual, guessed), 1)
    _matrix(counts, classes, picture)


def _matrix(counts: NDArray[np.int64], classes: Sequence[str], picture: Path) -> None:
    """Draw counts (actual, predicted), each row coloured by its shares, for classes differ in size."""
    from matplotlib.figure import Figure

    side = min(3 + 0.35 * len(classes), 14)
    figure = Figure(figsize=(side + 1, side), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(counts / np.maximum(counts.sum(1, keepdims=True), 1), cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(image, label="share of the actual class", shrink=0.8)
    axes.set(xlabel="predicted", ylabel="actual", title=f"Confusion: {np.trace(counts)} of {counts.sum()} right")
    if len(classes) <= MAX_NAMED_CLASSES:
        names = [label(name) for name in classes]
        long = max(map(len, names)) > 3
        axes.set_xticks(range(len(names)), names, rotation=45 if long else 0, ha="right" if long else "center")
        axes.set_yticks(range(len(names)), names)
        for row, column in zip(*counts.nonzero(), strict=True):
            dark = counts[row, column] > counts[row].sum() / 2
            axes.text(column, row, counts[row, column], ha="center", va="center", color="white" if dark else INK)
    save(figure, picture)
