"""What datasets of the form "series" share: their card, windows over time, and a split that keeps to time's order."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipelines.faults import Fault
from pipelines.formats.base import SplitConfig

if TYPE_CHECKING:
    from lit_models.specs.sequence import SeriesSpec

FORM = "series"
Floats = NDArray[np.float32]
Indices = NDArray[np.int64]


def card(
    x: Floats,
    y: Floats,
    train: Indices,
    features: Sequence[str],
    targets: Sequence[str],
    tolerance: float,
    baseline: Mapping[str, Any],
) -> dict[str, Any]:
    """What card.json says of series: names, sizes, and the mean and deviation of the training part.

    Args:
        x: series, float32 (N, length, features).
        y: targets, float32 (N, targets).
        train: positions (M,) of the training part.
        features: a name for each feature.
        targets: a name for each target.
        tolerance: an error up to this is a hit, in the targets' units.
        baseline: the naive answer; `name` says it in words. With `columns`, a feature for each target, it is that
            feature's last value; without, it is the targets' mean over the training part.
    """
    statistics: dict[str, list[float]] = {}
    for prefix, values in (("", x[train].reshape(-1, x.shape[2])), ("target_", y[train])):
        wide = values.astype(np.float64)
        # What never varies is divided by 1, not by 0.
        deviation = [float(one) if one > 0 else 1.0 for one in wide.std(0)]
        statistics |= {f"{prefix}mean": wide.mean(0).tolist(), f"{prefix}std": deviation}
    return {
        "form": FORM,
        "length": x.shape[1],
        "features": list(features),
        "targets": list(targets),
        **statistics,
        "tolerance": tolerance,
        "baseline": dict(baseline),
    }


def windows(values: Floats, targets: Sequence[int], length: int) -> tuple[Floats, Floats, Indices]:
    """Every stretch of `length` rows, and what came in the row after it.

    Args:
        values: rows in order of time, float32 (T, features).
        targets: columns to forecast.
        length: rows of a window.

    Returns:
        x (T - length, length, features), y (T - length, targets) and the row (T - length,) that y is in.
    """
    rows = np.arange(length, len(values), dtype=np.int64)
    stretches = np.lib.stride_tricks.sliding_window_view(values, length, axis=0)[:-1]
    return stretches.transpose(0, 2, 1), values[rows][:, list(targets)], rows


def split_by_time(rows: Indices, length: int, config: SplitConfig) -> dict[str, Indices]:
    """Positions of windows by part: training before validation before test, and no row in two parts.

    A window belongs to a part if all its rows do, the row to be forecast too; those across a border are left out.

    Args:
        rows: the row (N,) that each window forecasts, ascending; the first window begins at row 0.
        length: rows of a window.
        config: fractions of the rows; its seed has no say.

    Raises:
        Fault: a part is too short for a single window.
    """
    count = len(rows) + length
    test, val = max(1, round(count * config.test)), max(1, round(count * config.val))
    borders = (0, count - val - test, count - test, count)
    parts = {}
    for name, first, end in zip(("train", "val", "test"), borders, borders[1:], strict=False):
        parts[name] = np.flatnonzero((rows >= first + length) & (rows < end)).astype(np.int64)
        if not len(parts[name]):
            raise Fault(
                f"the {name} part has {max(0, end - first)} of {count} rows, and a window needs {length + 1}:"
                " shorten `length`, or change `val` and `test`"
            )
    return parts


def sketch(length: int, features: int, targets: int) -> "SeriesSpec":
    """What is known of series before they are there: sizes, with statistics that stand for nothing."""
    from lit_models.specs.sequence import SeriesSpec

    return SeriesSpec(
        length=length,
        features=features,
        targets=targets,
        mean=(0.0,) * features,
        std=(1.0,) * features,
        target_mean=(0.0,) * targets,
        target_std=(1.0,) * targets,
        tolerance=0.0,
    )
