"""One step ahead: forecasts of a person's own series."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from pipelines.datasets.parts import own
from pipelines.faults import Fault
from pipelines.formats import series, tables
from pipelines.formats.base import Dataset, SplitConfig, unknown
from pipelines.formats.times import evenly_spaced
from pipelines.section import Section
from pipelines.transport.raw import verified, write_manifest

FILE = "series.csv"


class ForecastFetch(Section):
    """A CSV file of your own: a row for each time, with a column that tells the time."""

    path: str = Field(
        min_length=1,
        description="local (`~` is filled in, a relative path counts from params.yaml), http(s)://, s3:// or gs://",
    )


class WindowConfig(SplitConfig):
    """How any series is cut: windows of past rows, and the row after each to be forecast."""

    seed: int = Field(default=0, ge=0, lt=2**32, description="has no say: the last rows test, those before validate")
    length: int = Field(default=8, ge=1, le=10_000, description="past rows that a forecast is made from")
    tolerance: float = Field(
        default=0.5, gt=0, le=100, description="largest error of a hit, in standard deviations of what is forecast"
    )


class ForecastPrepare(WindowConfig):
    """The section `datasets.<key>.prepare` of a series of one's own."""

    time: str = Field(default="time", min_length=1, description="column of times: numbers, or dates as in ISO 8601")
    target: str = Field(default="value", min_length=1, description="column to forecast")
    features: list[str] = Field(
        default=[], description="columns to forecast from, beside the target's past; all but the time if empty"
    )
    gaps: bool = Field(default=False, description="take rows as evenly spaced though their times are not")


def fetch(config: ForecastFetch, folder: Path, base: Path) -> None:
    """Copy the file byte for byte into `folder`.

    Raises:
        Fault: it does not exist, cannot be reached or read, or is a folder.
    """
    own.copy(config.path, base, folder / FILE)
    if not (folder / FILE).is_file():
        raise Fault(f"{config.path} is a folder, not a CSV file")
    write_manifest(folder)


def prepare(raw: Path, config: ForecastPrepare, folder: Path) -> str:
    """Write windows (N, length, features) of all columns but the time, the target's first, and what followed (N, 1).

    Raises:
        Fault: a column is missing, a cell is no number, times are out of order or leave gaps (file and line are
            named), or a part is too short for a single window.
    """
    verified(raw)
    path = raw / FILE
    header, rows = tables.read(path, columns=(config.time, config.target, *config.features))
    if config.time in (config.target, *config.features):
        raise Fault(f"{path}: the column {config.time!r} tells the time, so it is neither target nor feature")
    times = evenly_spaced(path, [(row.line, row.cells[header.index(config.time)]) for row in rows], config.gaps)
    others = config.features or [name for name in header if name != config.time]
    names = list(dict.fromkeys([config.target, *others]))
    columns = [(name, header.index(name)) for name in names]
    values = [[tables.number(path, row.line, name, row.cells[at]) for name, at in columns] for row in rows]
    time = {"name": config.time, **times}
    return write_windows(np.array(values, np.float32), names, 1, time, config, folder)


def write_windows(
    values: series.Floats, names: Sequence[str], targets: int, time: dict[str, Any], config: WindowConfig, folder: Path
) -> str:
    """Write the windows of rows (T, features), of which the first `targets` columns are to be forecast."""
    from pipelines.formats.prepared import write_parts

    x, y, rows = series.windows(values, range(targets), config.length)
    parts = series.split_by_time(rows, config.length, config)
    deviation = float(y[parts["train"]].astype(np.float64).std(0).mean())
    card = series.card(
        *(x, y, parts["train"]),
        features=names,
        targets=names[:targets],
        tolerance=config.tolerance * deviation,
        baseline={"name": "last value", "columns": list(range(targets))},
    )
    said = write_parts(folder, x, y, parts, {**card, "time": time}, config.seed, index=rows)
    return f"{said}; {targets} of {len(names)} columns forecast from {config.length} rows, parts in order of time"


FORECAST = Dataset(
    name="forecast",
    form=series.FORM,
    augmentation="series",
    FetchConfig=ForecastFetch,
    PrepareConfig=ForecastPrepare,
    fetch=fetch,
    prepare=prepare,
    sketch=unknown,
)
