"""The book of a search: a trial that begins again is told to MLflow once."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipelines import journal, lineage
from pipelines.journal import Journal
from pipelines.params import load
from pipelines.recorder import Recorder
from pipelines.stage import Stage


@pytest.fixture
def book(folder: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Recorder, Journal]]:
    """The recorder of a search of 16 trials by 8 epochs, on data that need not be there."""
    monkeypatch.setattr(lineage, "tags", lambda *_: {"data.prepared": "a hash"})
    (folder / "params.yaml").write_text((root / "params.yaml").read_text())
    with Journal("search@digits-mlp") as records:
        yield Recorder(Stage("search", "digits-mlp", load()), records), records


def epoch(number: int) -> dict[str, Any]:
    figures = {"train_loss": 1.0 / number, "val_loss": 1.0 / number, "val_accuracy": 0.5, "lr": 0.1, "seconds": 0.1}
    return {"epoch": number, "diverged": False, "hyperparameters": {"lr": 0.1}, **figures}


def test_a_trial_begun_again_tells_each_epoch_once(book: tuple[Recorder, Journal]) -> None:
    recorder, records = book
    recorder.started("a", 0)
    for number in (1, 2, 3):
        recorder.reported("a", epoch(number))
    recorder.started("a", 0)  # its worker died, and Tune begins it anew
    for number in range(1, 9):
        recorder.reported("a", epoch(number))
    recorder.ended("a", None)
    lines = [json.loads(line) for line in (records.folder / journal.NAME).read_text().splitlines()]
    assert [line["step"] for line in lines if line["event"] == "metrics"] == list(range(1, 9))
    (trial,) = recorder.trials
    assert [row["epoch"] for row in trial.epochs] == list(range(1, 9))
    assert trial.status == "finished"


def test_a_trial_that_ends_early_without_a_scheduler_counts_as_interrupted(book: tuple[Recorder, Journal]) -> None:
    recorder, _ = book
    recorder.started("a", 0)
    recorder.reported("a", epoch(1))
    recorder.ended("a", None)
    assert recorder.trials[0].status == "interrupted"
