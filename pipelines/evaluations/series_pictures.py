"""Pictures of what a model tells from series of numbers: predicted against actual, and what it attends to."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipelines.evaluations.lettering import label, plain
from pipelines.pictures import save

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, ACCENT, GREY = "#22303c", "#d1495b", "#8a97a3"
COLORS = ("#22577a", "#d1495b", "#38a3a5", "#edae49", "#6d597a", "#57cc99", "#8d6b94", "#003d5b")
MOST_TARGETS = 8

Floats = NDArray[np.floating[Any]]


def over_time(
    actual: Floats,
    predicted: Floats,
    rows: NDArray[np.int64],
    names: Sequence[str],
    time: Mapping[str, Any],
    path: Path,
) -> None:
    """Draw forecasts over what came, a panel for each target.

    Args:
        actual: (N, targets), in order of time.
        predicted: (N, targets).
        rows: the row (N,) of the series that each is of.
        names: of the targets.
        time: of the series: `name`, `start` (a number, or a date as text) and `step` (in seconds, for dates).
        path: the PNG to write.
    """
    from matplotlib.figure import Figure

    shown = min(len(names), MOST_TARGETS)
    figure = Figure(figsize=(10, 1.2 + 1.7 * shown), layout="constrained")
    panels = figure.subplots(shown, 1, sharex=True, squeeze=False)[:, 0]
    at = _times(rows, time)
    for column, axes in enumerate(panels):
        axes.plot(at, actual[:, column], color=INK, linewidth=1.4, label="actual")
        axes.plot(at, predicted[:, column], color=ACCENT, linewidth=1.2, label="forecast, one step ahead")
        axes.set_ylabel(label(names[column]))
        axes.margins(x=0.01)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].legend(frameon=False, loc="lower right", bbox_to_anchor=(1, 1), ncols=2)
    panels[0].set_title("Forecast and actual, test part", loc="left")
    panels[-1].set_xlabel(label(time["name"]))
    save(figure, path)


def _times(rows: NDArray[np.int64], time: Mapping[str, Any]) -> NDArray[Any]:
    if isinstance(time["start"], str):
        since = np.round(rows * time["step"] * 1000).astype("timedelta64[ms]")
        return np.asarray(np.datetime64(time["start"], "ms") + since)
    return np.asarray(time["start"] + rows * time["step"], np.float64)


def scatter(actual: Floats, predicted: Floats, names: Sequence[str], title: str, path: Path) -> None:
    """Draw predicted against actual (N, targets): on the diagonal is right."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.6, 5.6), layout="constrained")
    axes = figure.subplots()
    low, high = float(min(actual.min(), predicted.min())), float(max(actual.max(), predicted.max()))
    axes.plot([low, high], [low, high], color=GREY, linewidth=1, linestyle="--", zorder=1)
    for column, name in list(enumerate(names))[:MOST_TARGETS]:
        points = actual[:, column], predicted[:, column]
        axes.scatter(*points, s=14, alpha=0.55, linewidths=0, color=COLORS[column], label=label(name))
    axes.set(xlabel="actual", ylabel="predicted", aspect="equal")
    axes.set_title(plain(title), fontsize=10, parse_math=False)
    axes.spines[["top", "right"]].set_visible(False)
    if len(names) > 1:
        axes.legend(frameon=False)
    save(figure, path)


def attention(x: Floats, weights: Floats, names: Sequence[str], captions: Sequence[str], path: Path) -> None:
    """Draw series, and below each how much the readout attends to its steps.

    Args:
        x: a few series (K, T, features).
        weights: of their steps (K, T); each series' sum to 1.
        names: of the features.
        captions: one for each series.
        path: the PNG to write.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 0.9 + 2.1 * len(x)), layout="constrained")
    figure.suptitle("Attention over time steps")
    grid = figure.subplots(2 * len(x), 1, squeeze=False, height_ratios=(3, 2) * len(x))[:, 0]
    for number, caption in enumerate(captions):
        upper, lower = grid[2 * number], grid[2 * number + 1]
        _features(upper, x[number], names)
        upper.set_title(plain(caption), fontsize=9, loc="left", parse_math=False)
        upper.tick_params(labelbottom=False)
        lower.bar(np.arange(1, x.shape[1] + 1), weights[number], width=1.0, color=ACCENT)
        lower.axhline(1 / x.shape[1], color=GREY, linewidth=0.8, linestyle="--")
        lower.set(ylabel="weight", xlim=(0.5, x.shape[1] + 0.5))
        lower.spines[["top", "right"]].set_visible(False)
    grid[0].legend(frameon=False, loc="lower right", bbox_to_anchor=(1, 1), ncols=4)
    grid[-1].set_xlabel("step (dashed: attention to all alike)")
    save(figure, path)


def evolution(x: Floats, states: Floats, names: Sequence[str], caption: str, path: Path) -> None:
    """Draw a series (T, features), and the state (T, units) of a recurrent network as it reads it."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 5.6), layout="constrained")
    figure.suptitle(f"How the state evolves as the series is read\n{plain(caption)}", parse_math=False, fontsize=11)
    upper, lower = figure.subplots(2, 1, height_ratios=(1, 2))
    _features(upper, x, names)
    upper.tick_params(labelbottom=False)
    upper.legend(frameon=False, loc="lower right", bbox_to_anchor=(1, 1), ncols=4)
    # Units that end alike stand together.
    order = np.argsort(states[-1], kind="stable")
    reach = float(np.abs(states).max()) or 1.0
    extent = (0.5, len(x) + 0.5, 0.0, float(states.shape[1]))
    options: dict[str, Any] = {"cmap": "RdBu_r", "vmin": -reach, "vmax": reach, "aspect": "auto", "extent": extent}
    image = lower.imshow(states[:, order].T, interpolation="nearest", **options)
    figure.colorbar(image, ax=lower, label="activation", pad=0.01)
    lower.set(ylabel=f"{states.shape[1]} hidden units", yticks=[], xlabel="step")
    save(figure, path)


def _features(axes: "Axes", x: Floats, names: Sequence[str]) -> None:
    """Draw the features of one series (T, features): steps that are mostly 0 as stems, the others as lines."""
    steps = np.arange(1, len(x) + 1)
    for column, name in list(enumerate(names))[:MOST_TARGETS]:
        values = x[:, column]
        color = COLORS[column]
        if (values == 0).mean() > 0.5:
            axes.vlines(steps[values != 0], 0, values[values != 0], color=ACCENT, linewidth=2.5, label=label(name))
        else:
            axes.plot(steps, values, color=color, linewidth=1.1, marker="o", markersize=2, label=label(name))
    axes.set_xlim(0.5, len(x) + 0.5)
    axes.spines[["top", "right"]].set_visible(False)
