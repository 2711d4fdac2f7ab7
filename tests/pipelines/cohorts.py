"""Cohorts as plans hold them, for tests that train nothing."""

import json
from pathlib import Path
from typing import Any

import pytest

from pipelines import lineage
from pipelines.params import load
from pipelines.stage import Stage


def cohort(first: int, trials: int = 2, **values: Any) -> dict[str, Any]:
    """A cohort of `trials` trials from number `first` on."""
    numbers = list(range(first, first + trials))
    plain = {"engine": "fused" if trials > 1 else "lone", "threads": 1, "metric": "val_accuracy", "device": "cpu"}
    own = {"name": f"c{first:05d}", "trials": numbers, "configs": [{"lr": 0.1 * (n + 1)} for n in numbers]}
    return {**plain, **own, "seeds": numbers, "rule": {"name": "none", "epochs": 8}, **values}


def figures(accuracy: float, loss: float = 1.0) -> dict[str, float]:
    return {"train_loss": loss, "val_loss": loss, "val_accuracy": accuracy, "lr": 0.1}


def record(epoch: int, lanes: dict[int, tuple[str, list[float]]], since: int = 0, **more: Any) -> str:
    """A report: trial -> (status, accuracy of each epoch from `since` on)."""
    entries = {
        str(trial): {
            "status": status,
            "epochs": [figures(value) for value in values],
            "changes": {},
            "copied": [],
            "ended": 2.0,
        }
        | more.get(f"lane{trial}", {})
        for trial, (status, values) in lanes.items()
    }
    return json.dumps({"epoch": epoch, "lanes": entries, "seconds": [0.5] * (epoch - since), "began": 1.0})


def stage_at(folder: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    """The search of 16 trials by 8 epochs of params.yaml, on data that need not be there."""
    monkeypatch.setattr(lineage, "tags", lambda *_: {"data.prepared": "a hash"})
    monkeypatch.setattr(lineage, "dvc_hash", lambda *_: "a hash")
    for name in ("params.yaml", "dvc.yaml"):
        (folder / name).write_text((root / name).read_text())
    for part in ("pipelines", "lit_models"):
        if not (folder / part).exists():
            (folder / part).symlink_to(root / part)
    return Stage("search", "digits-mlp", load())
