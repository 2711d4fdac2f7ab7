"""Tests what is told from series of numbers, beside a naive answer: the last value, or the mean in training."""

import csv
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from pipelines.evaluations import series_pictures
from pipelines.evaluations.base import BASELINE, Evaluation, Task
from pipelines.evaluations.curves import learning_curves
from pipelines.evaluations.reading import readout_weights, states
from pipelines.evaluations.speed import predict
from pipelines.section import Section

if TYPE_CHECKING:
    from torch import Tensor

Floats = NDArray[np.float64]


class SeriesEvaluateConfig(Section):
    """The section `experiments.<key>.evaluate` of models of series."""

    steps: int = Field(default=200, ge=2, le=100_000, description="steps of the test part to draw forecasts of")
    examples: int = Field(default=3, ge=1, le=20, description="series to draw the attention over")


def run(task: Task, config: SeriesEvaluateConfig) -> dict[str, float]:
    """Score the model and draw the pictures."""
    outputs, speed = predict(task.model, task.x)
    actual, predicted = task.y.double().numpy(), outputs.double().numpy()
    found = scores(actual, predicted, baseline(task.card, task.x), float(task.card["tolerance"]))
    _pictures(task, actual, predicted, found, config)
    learning_curves(
        *(task.trained / "history.csv", task.learning, task.pictures / "learning_curves.png"),
        loss="squared error, in variances of the target",
        hits=f"Validation: share within {task.card['tolerance']:.3g}",
    )
    return {**found, "series_per_second": speed}


def baseline(card: dict[str, Any], x: "Tensor") -> Floats:
    """The naive answers (N, targets) for series (N, T, features): see `pipelines.formats.series.card`."""
    if (columns := card["baseline"].get("columns")) is not None:
        return x[:, -1, columns].double().numpy()
    return np.tile(np.array(card["target_mean"], np.float64), (len(x), 1))


def scores(actual: Floats, predicted: Floats, naive: Floats, tolerance: float) -> dict[str, float]:
    """Score predictions (N, targets).

    Args:
        actual: what they should be, (N, targets).
        predicted: what they are.
        naive: what the baseline answers.
        tolerance: a series all of whose errors are at most this is a hit.

    Returns:
        `mse`, the mean squared error, and `rmse`, its root; `r2`, the share of the variance that is explained, the mean
        over the targets; `within_tolerance`, the share of hits; `baseline`, the naive answer's mean squared error.
    """
    error = predicted - actual
    mse = float((error**2).mean())
    spread = ((actual - actual.mean(0)) ** 2).sum(0)
    explained = 1 - (error**2).sum(0) / np.maximum(spread, 1e-12)
    return {
        "mse": mse,
        "rmse": mse**0.5,
        "r2": float(explained.mean()),
        "within_tolerance": float((np.abs(error) <= tolerance).all(1).mean()),
        BASELINE: float(((naive - actual) ** 2).mean()),
    }


def _pictures(
    task: Task, actual: Floats, predicted: Floats, found: dict[str, float], config: SeriesEvaluateConfig
) -> None:
    card, folder = task.card, task.pictures
    _table(task.tables / "predictions.csv", card["targets"], actual, predicted)
    title = f"Mean squared error {found['mse']:.4g} ({card['baseline']['name']}: {found[BASELINE]:.4g})"
    series_pictures.scatter(actual, predicted, card["targets"], title, folder / "predicted_and_actual.png")
    if "time" in card:
        rows, shown = _rows(task.prepared), slice(-config.steps, None)
        path = folder / "forecast_over_time.png"
        series_pictures.over_time(actual[shown], predicted[shown], rows[shown], card["targets"], card["time"], path)
    few = task.x[: config.examples]
    captions = [
        "actual (predicted): "
        + ", ".join(f"{name} {a:.3g} ({p:.3g})" for name, a, p in zip(card["targets"], *pair, strict=True))
        for pair in zip(actual[: len(few)], predicted[: len(few)], strict=True)
    ]
    weights = readout_weights(task.model, few)
    if weights is not None:
        path = folder / "attention_over_steps.png"
        series_pictures.attention(few.numpy(), weights, card["features"], captions, path)
    state = states(task.model, few[:1])
    if state is not None:
        path = folder / "state_evolution.png"
        series_pictures.evolution(few[0].numpy(), state[0], card["features"], captions[0], path)


def _rows(prepared: Path) -> NDArray[np.int64]:
    """The rows of the series that the test part forecasts."""
    from safetensors.numpy import load_file

    return load_file(prepared / "test.safetensors")["index"]


def _table(path: Path, names: list[str], actual: Floats, predicted: Floats) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["example", *(f"{kind} {name}" for name in names for kind in ("actual", "predicted"))])
        for number, pairs in enumerate(np.stack([actual, predicted], axis=2)):
            writer.writerow([number, *(f"{value:.6g}" for value in pairs.reshape(-1))])


SERIES = Evaluation(SeriesEvaluateConfig, run)
