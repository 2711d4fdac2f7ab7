"""Writes a search's tables. The same trials give the same bytes: nothing that a clock says is in them but timings."""

import io
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from ruamel.yaml import YAML

from pipelines.costs import CostBook
from pipelines.outs import write_atomically
from pipelines.searching.trial import Trial


def write_tables(folder: Path, trials: list[Trial], best: Trial, costs: CostBook) -> None:
    """Write trials.parquet, history.parquet, timings.parquet and best.yaml into `folder`."""
    _write(folder / "trials.parquet", [_row(trial) for trial in trials])
    _write(folder / "history.parquet", [row for trial in trials for row in _history(trial)])
    _write(folder / "timings.parquet", [_timing(trial, costs.of(trial.index)) for trial in trials])
    winner = {
        "trial": best.index,
        "epoch": best.best["epoch"],
        "epochs": len(best.epochs),
        "val_accuracy": best.best["val_accuracy"],
        "val_loss": best.best["val_loss"],
        "hyperparameters": dict(sorted(best.hyperparameters.items())),
    }
    text = io.StringIO()
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.dump(winner, text)
    write_atomically(folder / "best.yaml", text.getvalue().encode())


def _row(trial: Trial) -> dict[str, Any]:
    epoch = trial.best or {"val_accuracy": None, "val_loss": None, "epoch": None}
    return {
        "trial": trial.index,
        **dict(sorted(trial.hyperparameters.items())),
        "val_accuracy": epoch["val_accuracy"],
        "val_loss": epoch["val_loss"],
        "best_epoch": epoch["epoch"],
        "epochs": len(trial.epochs),
        "status": trial.status,
    }


def _timing(trial: Trial, dollars: float) -> dict[str, Any]:
    """When the first step was taken and when the trial ended, in Unix seconds (null if it failed), and what it cost."""
    row: dict[str, Any] = {"trial": trial.index, "started": None, "ended": None, "seconds": None, "cost_usd": dollars}
    if trial.status == "failed":
        return row
    return row | {"started": trial.began, "ended": trial.ended, "seconds": trial.ended - trial.began}


def _history(trial: Trial) -> list[dict[str, Any]]:
    """The trial's epochs; `copied_from` is the trial whose weights it took over after an epoch (PBT)."""
    copied = dict(trial.copied)
    return [{"trial": trial.index, **epoch, "copied_from": copied.get(epoch["epoch"])} for epoch in trial.epochs]


def _write(path: Path, rows: list[dict[str, Any]]) -> None:
    pq.write_table(pa.Table.from_pylist(rows), path, compression="zstd")
