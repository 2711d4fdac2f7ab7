"""Writes a search's tables. The same trials give the same bytes: nothing that a clock says is in them but timings."""

import io
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from ruamel.yaml import YAML

from pipelines.outs import write_atomically
from pipelines.recorder import Trial


def write_tables(folder: Path, trials: list[Trial], best: Trial, metric: str) -> None:
    """Write trials.parquet, history.parquet, timings.parquet and best.yaml into `folder`."""
    _write(folder / "trials.parquet", [_row(trial, metric) for trial in trials])
    _write(folder / "history.parquet", [{"trial": t.index, **epoch} for t in trials for epoch in t.epochs])
    timings = [
        {"trial": t.index, "started": t.started, "ended": t.ended, "seconds": t.ended - t.started} for t in trials
    ]
    _write(folder / "timings.parquet", timings)
    epoch = best.best(metric)
    winner = {
        "trial": best.index,
        "epoch": epoch["epoch"],
        "val_accuracy": epoch["val_accuracy"],
        "val_loss": epoch["val_loss"],
        "hyperparameters": dict(sorted(best.hyperparameters.items())),
    }
    text = io.StringIO()
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.dump(winner, text)
    write_atomically(folder / "best.yaml", text.getvalue().encode())


def _row(trial: Trial, metric: str) -> dict[str, Any]:
    epoch = trial.best(metric) if trial.epochs else {"val_accuracy": None, "val_loss": None, "epoch": None}
    return {
        "trial": trial.index,
        **dict(sorted(trial.hyperparameters.items())),
        "val_accuracy": epoch["val_accuracy"],
        "val_loss": epoch["val_loss"],
        "best_epoch": epoch["epoch"],
        "epochs": len(trial.epochs),
        "status": trial.status,
    }


def _write(path: Path, rows: list[dict[str, Any]]) -> None:
    pq.write_table(pa.Table.from_pylist(rows), path, compression="zstd")
