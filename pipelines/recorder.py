"""Keeps the book of a search: what each trial was, did and reached; on disk as tables, live on the terminal."""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipelines import lineage
from pipelines.journal import Journal
from pipelines.progress import Progress
from pipelines.stage import Stage

METRICS = ("train_loss", "val_loss", "val_accuracy", "lr")


@dataclass
class Trial:
    """One configuration and its epochs."""

    index: int
    run: str
    started: float
    hyperparameters: dict[str, Any] = field(default_factory=dict)
    epochs: list[dict[str, Any]] = field(default_factory=list)
    status: str = "running"
    reason: str = ""
    ended: float = 0.0
    told: int = 0  # epochs that the journal has

    def best(self, metric: str) -> dict[str, Any]:
        """The epoch with the best `metric`; the other metric, then the earlier epoch, break ties."""
        return min(self.epochs, key=lambda epoch: rank(epoch, metric))

    def summary(self) -> str:
        """The best epoch in words."""
        epoch = self.best("val_accuracy")
        return f"validation accuracy {epoch['val_accuracy']:.4f} after epoch {epoch['epoch']}"


def rank(epoch: dict[str, Any], metric: str) -> tuple[float, float]:
    """Lower is better."""
    accuracy, loss = -epoch["val_accuracy"], epoch["val_loss"]
    return (accuracy, loss) if metric == "val_accuracy" else (loss, accuracy)


class Recorder:
    """Follows the trials of one search. Tune calls it through `callback()`."""

    def __init__(self, work: Stage, journal: Journal) -> None:
        self._experiment = work.params.experiments[work.key]
        self._metric = self._experiment.search.metric
        self._key, self._title = work.key, work.title
        self._journal = journal
        self._by_id: dict[str, Trial] = {}
        self._progress: Progress | None = None
        self._run, self._tags = lineage.start_run(journal, work, "training")
        section = self._experiment.search
        journal.params(self._run, {name: value for name, value in section if name != "space"})
        journal.params(self._run, {f"space.{name}": domain.text for name, domain in section.space.items()})

    @property
    def trials(self) -> list[Trial]:
        """All trials by their index."""
        return sorted(self._by_id.values(), key=lambda trial: trial.index)

    @property
    def best(self) -> Trial:
        """The trial with the best epoch; the earlier trial wins a tie."""
        complete = [trial for trial in self.trials if trial.epochs and trial.status in ("finished", "stopped")]
        if not complete:
            from pipelines.faults import Fault

            raise Fault("no trial reached the end of an epoch with a finite loss; lower the learning rates")
        return min(complete, key=lambda trial: (*rank(trial.best(self._metric), self._metric), trial.index))

    def expect(self, trials: int) -> None:
        """Say how many trials there will be."""
        self._progress = Progress(self._title, trials, "trials")

    def callback(self) -> Any:
        """The object that Tune calls."""
        from pipelines.tune_callback import TuneCallback

        return TuneCallback(self)

    def started(self, trial_id: str, index: int | None) -> None:
        """A trial begins, or begins again after its worker died: then it starts from nothing."""
        known = self._by_id.get(trial_id)
        if known is not None:
            known.epochs.clear()
            return
        index = len(self._by_id) if index is None else index
        tags = {**self._tags, "stage": "trial", "trial": str(index)}
        run = self._journal.start(self._key, f"trial-{index:04d}", tags, parent=self._run)
        self._by_id[trial_id] = Trial(index, run, time.time())

    def reported(self, trial_id: str, result: dict[str, Any]) -> None:
        """A trial finished an epoch, or diverged in it."""
        trial = self._by_id[trial_id]
        if not trial.hyperparameters:
            trial.hyperparameters = result["hyperparameters"]
            self._journal.params(trial.run, trial.hyperparameters)
        if result["diverged"]:
            trial.status = "diverged"
            return
        trial.epochs.append({name: result[name] for name in ("epoch", *METRICS)})
        if result["epoch"] == self._experiment.search.epochs:
            trial.status = "finished"
        if result["epoch"] > trial.told:  # a trial begun again reaches the same figures again
            trial.told = result["epoch"]
            metrics = {name: result[name] for name in (*METRICS, "seconds")}
            self._journal.metrics(trial.run, result["epoch"], metrics)

    def ended(self, trial_id: str, failure: str | None) -> None:
        """A trial is over; a trial without a failure that did not come to its end was stopped by the scheduler."""
        trial = self._by_id[trial_id]
        trial.ended = time.time()
        if failure is not None:
            trial.status, trial.reason = "failed", failure
        elif trial.status == "running":
            trial.status = "stopped" if self._experiment.search.scheduler != "none" else "interrupted"
        self._journal.tags(trial.run, {"status": trial.status})
        self._journal.end(trial.run, "FAILED" if failure is not None else "FINISHED")
        if self._progress:
            complete = any(t.epochs and t.status in ("finished", "stopped") for t in self._by_id.values())
            self._progress.step(f"best so far: {self.best.summary()}" if complete else "")

    def finish(self, folder: Path) -> None:
        """Write the tables and best.yaml, and close the parent run with the winner's figures."""
        from pipelines.search_tables import write_tables

        if self._progress:
            self._progress.close()
        best = self.best
        epoch = best.best(self._metric)
        write_tables(folder, self.trials, best, self._metric)
        self._journal.params(self._run, {f"best.{name}": value for name, value in best.hyperparameters.items()})
        self._journal.metrics(self._run, epoch["epoch"], {f"best_{name}": epoch[name] for name in METRICS[:3]})
        self._journal.tags(self._run, {"best.trial": str(best.index)})
        for name in ("best.yaml", "trials.parquet", "history.parquet", "timings.parquet"):
            self._journal.artifact(self._run, folder / name, name)
        self._journal.end(self._run)
