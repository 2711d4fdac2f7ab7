"""Keeps the book of a search: what each trial was, did and reached; on disk as tables, live on the terminal."""

import json
import threading
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Concatenate, ParamSpec

from pipelines import lineage
from pipelines.costs import CostBook
from pipelines.faults import Fault
from pipelines.journal import Journal
from pipelines.progress import Progress
from pipelines.searching.cohorts import Cohort, whole_name
from pipelines.searching.trial import COMPLETE, METRICS, OVER, Rank, Trial, rank
from pipelines.stage import Stage

P = ParamSpec("P")


def _in_turn(method: "Callable[Concatenate[Recorder, P], None]") -> "Callable[Concatenate[Recorder, P], None]":
    """Let one thread at a time into any such method: Tune's, or one that hears from what trains while Ray starts."""

    @wraps(method)
    def guarded(recorder: "Recorder", /, *args: P.args, **named: P.kwargs) -> None:
        with recorder.turn:
            method(recorder, *args, **named)

    return guarded


class Recorder:
    """Follows the trials of one search.

    Args:
        work: the stage.
        journal: what MLflow shall know; reopened if the search goes on after an interruption.
        costs: what trials have cost, before an interruption too.
        ended: called when all trials of a cohort have ended, and the journal has them whole.
    """

    def __init__(
        self,
        work: Stage,
        journal: Journal,
        costs: CostBook | None = None,
        ended: Callable[[], object] = lambda: None,
    ) -> None:
        section = work.params.experiments[work.key].search
        self._metric, self._epochs = section.metric, section.epochs
        self._key, self._title = work.key, work.title
        self.turn = threading.RLock()
        self._journal, self._ended = journal, ended
        self.costs = costs or CostBook()
        self.trials: dict[int, Trial] = {}
        self._progress: Progress | None = None
        self._best: Trial | None = None
        self._leader: Trial | None = None  # of all, those still running among them
        self._told = journal.history()
        runs = {told.name: run for run, told in self._told.items()}
        if work.name in runs:
            self._run, self._tags = runs[work.name], lineage.run_tags(work)
        else:
            self._run, self._tags = lineage.start_run(journal, work, "training")
        if not (work.name in runs and self._told[self._run].params):
            space = {f"space.{name}": domain.text for name, domain in section.space.items()}
            journal.params(self._run, {name: value for name, value in section if name != "space"} | space)
        self._runs = runs
        self._steps = {run: told.step for run, told in self._told.items()}

    def expect(self, trials: int) -> None:
        """Say how many trials there will be."""
        self._progress = Progress(self._title, trials * self._epochs, "epochs")

    @_in_turn
    def plan(self, cohort: Cohort) -> None:
        """Enter the trials of a cohort into the book."""
        for index, config in zip(cohort["trials"], cohort["configs"], strict=True):
            self.trials.setdefault(index, Trial(index, dict(config)))

    @_in_turn
    def begin(self, cohort: Cohort) -> None:
        """A cohort was placed on a worker, perhaps not for the first time."""
        for index in cohort["trials"]:
            trial = self.trials[index]
            if trial.status != "planned":
                continue
            trial.status = "running"
            # Part of a cohort that was split, it is trained anew, and by rights a run of its own.
            part = cohort["name"].removeprefix(whole_name(cohort))
            name = f"trial-{index:04d}" + (f"-{part}" if part else "")
            tags = {**self._tags, "stage": "trial", "trial": str(index), "cohort": cohort["name"]}
            trial.run = self._runs.get(name) or self._journal.start(self._key, name, tags, parent=self._run)
            if not (trial.run in self._told and self._told[trial.run].params):
                self._journal.params(trial.run, trial.hyperparameters)

    @_in_turn
    def update(self, text: str, dollars: float = 0.0) -> None:
        """Take in what a cohort's record has that is new, and what it cost, which is divided among its new epochs.

        Raises:
            Fault: epochs are missing in between, which only a program's mistake can bring about.
        """
        record = json.loads(text)
        lanes = {int(index): lane for index, lane in record["lanes"].items()}
        first = record["epoch"] - len(record["seconds"])
        new = 0
        reached = {index: first + len(lane["epochs"]) if lane["epochs"] else 0 for index, lane in lanes.items()}
        self._divide(dollars, {n: max(0, epochs - len(self.trials[n].epochs)) for n, epochs in reached.items()})
        for index, lane in lanes.items():
            trial = self.trials[index]
            known = len(trial.epochs)
            if lane["epochs"] and known < first:
                raise Fault(f"trial {index} reported epoch {first + 1} after epoch {known}")
            for place, figures in enumerate(lane["epochs"]):
                if first + place >= known:
                    trial.add(figures, self._metric)
                    if self._leader is None or self._order(trial) < self._order(self._leader):
                        self._leader = trial
                    self._tell(trial, record["seconds"][place] / len(lanes))
                    new += 1
            trial.began, trial.ended = record["began"], lane["ended"]
            trial.hyperparameters |= lane["changes"]
            trial.copied = [(epoch, source) for epoch, source in lane["copied"]]
            if lane["status"] != "running":
                self._end(trial, lane["status"])
        self._show(new)
        if all(lane["status"] != "running" for lane in lanes.values()):
            self._ended()

    def _tell(self, trial: Trial, seconds: float) -> None:
        """Tell the journal of the last epoch, unless it was told of it before an interruption."""
        epoch = trial.epochs[-1]
        if epoch["epoch"] > self._steps.get(trial.run, 0):
            self._steps[trial.run] = epoch["epoch"]
            metrics = {name: epoch[name] for name in METRICS} | {"seconds": seconds}
            self._journal.metrics(trial.run, epoch["epoch"], metrics)

    @_in_turn
    def lose(self, cohort: Cohort, dollars: float) -> None:
        """A cohort's worker died: what was paid for since its last report is lost, in equal parts."""
        self._divide(dollars, dict.fromkeys(cohort["trials"], 0))

    def _divide(self, dollars: float, weights: dict[int, int]) -> None:
        """Divide what a cohort cost among its trials; what one that ended before has cost was told then."""
        running = {index: weight for index, weight in weights.items() if not self._has_ended(self.trials[index])}
        self.costs.add(dollars, running or weights)

    def _has_ended(self, trial: Trial) -> bool:
        told = self._told.get(trial.run)
        return trial.status in OVER or (told is not None and told.ended not in (None, "KILLED"))

    @_in_turn
    def restart(self, cohort: Cohort) -> None:
        """The trials of a cohort begin anew, in other company and so with other rounding, and as other runs."""
        for index, config in zip(cohort["trials"], cohort["configs"], strict=True):
            self.trials[index] = Trial(index, dict(config))
        self._rank_anew()

    def _rank_anew(self) -> None:
        """Find leader and best again, for one of them may have lost its epochs."""
        reached = [trial for trial in self.trials.values() if trial.best]
        self._leader = min(reached, key=self._order, default=None)
        complete = (trial for trial in reached if trial.status in COMPLETE)
        self._best = min(complete, key=self._order, default=None)

    @_in_turn
    def give_up(self, cohort: Cohort, reason: str) -> None:
        """The trials of a cohort cannot be trained."""
        for index in cohort["trials"]:
            trial = self.trials[index]
            trial.reason = reason
            trial.epochs, trial.best = [], {}
            self._end(trial, "failed")
        self._rank_anew()

    def _end(self, trial: Trial, status: str) -> None:
        if trial.status in OVER:
            return
        ended = self._has_ended(trial)
        trial.status = status
        if not ended:
            # What is told once must be known after a kill.
            self.costs.save()
            self._journal.metrics(trial.run, len(trial.epochs), {"cost_usd": self.costs.of(trial.index)})
            self._journal.tags(trial.run, {"status": status} | ({"reason": trial.reason} if trial.reason else {}))
            if trial.copied:
                self._journal.tags(trial.run, {"copied": json.dumps(trial.copied)})
            self._journal.end(trial.run, "FAILED" if status == "failed" else "FINISHED")
        if status in COMPLETE and trial.best and (self._best is None or self._order(trial) < self._order(self._best)):
            self._best = trial
        self._show(self._epochs - len(trial.epochs))

    def _show(self, epochs: int) -> None:
        """Count epochs that were trained, or that need not be any more."""
        if self._progress and epochs:
            self._progress.step(f"best so far: {self._leader.summary()}" if self._leader else "", epochs)

    def _order(self, trial: Trial) -> tuple[Rank, int]:
        return rank(trial.best, self._metric), trial.index

    @property
    def best(self) -> Trial:
        """The trial with the best epoch; the earlier trial wins a tie.

        Raises:
            Fault: there is none.
        """
        if self._best is None:
            failed = [trial.reason for trial in self.trials.values() if trial.status == "failed"]
            if failed:
                raise Fault(f"no trial could be trained; {len(failed)} of {len(self.trials)} failed: {failed[0]}")
            raise Fault("no trial reached the end of an epoch with a finite loss; lower the learning rates")
        return self._best

    def reached(self, index: int) -> float | None:
        """What a trial reached in the search's metric, lower is better; None if it did not come to an end."""
        trial = self.trials[index]
        return rank(trial.best, self._metric)[0] if trial.status in COMPLETE and trial.best else None

    def finish(self, folder: Path) -> None:
        """Write the tables and best.yaml, and close the parent run with the winner's figures."""
        from pipelines.searching.search_tables import write_tables

        if self._progress:
            self._progress.close()
        best = self.best
        write_tables(folder, [self.trials[index] for index in sorted(self.trials)], best, self.costs)
        for run, now in self._journal.history().items():
            if now.ended is None and run != self._run:  # of a trial that went on elsewhere when its cohort was split
                self._journal.end(run, "FAILED")
        told = self._told.get(self._run)
        if told is not None and told.ended == "FINISHED":
            return
        self._journal.params(self._run, {f"best.{name}": value for name, value in best.hyperparameters.items()})
        figures = {f"best_{name}": best.best[name] for name in METRICS[:3]} | {"cost_usd": self.costs.total}
        if told is None or told.step < best.best["epoch"]:
            self._journal.metrics(self._run, best.best["epoch"], figures)
        self._journal.tags(self._run, {"best.trial": str(best.index)})
        for name in ("best.yaml", "trials.parquet", "history.parquet", "timings.parquet"):
            self._journal.artifact(self._run, folder / name, name)
        self._journal.end(self._run)
