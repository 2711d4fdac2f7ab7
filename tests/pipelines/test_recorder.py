"""The book of a search: each epoch told once, whatever was interrupted, and ties that never depend on time."""

import json
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipelines import journal
from pipelines.costs import CostBook
from pipelines.faults import Fault
from pipelines.journal import Journal
from pipelines.search_state import SearchState
from pipelines.searching.cohorts import halves
from pipelines.searching.recorder import Recorder
from pipelines.stage import Stage
from tests.pipelines.cohorts import cohort, record, stage_at


@dataclass
class Desk:
    """A recorder at work, and what it takes to begin another where it was killed."""

    work: Stage
    state: SearchState
    records: Journal
    recorder: Recorder

    def lines(self, kind: str) -> list[dict[str, object]]:
        """The journal's events of a kind; of metrics those of epochs, for `costs` has the others."""
        events = [json.loads(line) for line in (self.records.folder / journal.NAME).read_text().splitlines()]
        return [event for event in events if event["event"] == kind and "cost_usd" not in event.get("metrics", ())]

    def costs(self) -> list[tuple[str, float]]:
        """Run and dollars, in the order that the journal tells them in."""
        events = [json.loads(line) for line in (self.records.folder / journal.NAME).read_text().splitlines()]
        return [(event["run"], event["metrics"]["cost_usd"]) for event in events if "cost_usd" in str(event)]

    def again(self) -> Recorder:
        """The process is killed and another goes on."""
        self.records._file.close()
        self.records = Journal.reopen(self.records.folder)
        self.recorder = Recorder(self.work, self.records, CostBook(self.state.costs))
        return self.recorder


@pytest.fixture
def desk(folder: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    work = stage_at(folder, root, monkeypatch)
    state = SearchState(folder / "state")
    records = Journal("search@digits-mlp", resumable=state.folder)
    desk = Desk(work, state, records, Recorder(work, records, CostBook(state.costs)))
    yield desk
    desk.records._file.close()


def begin(recorder: Recorder) -> None:
    recorder.plan(cohort(0))
    recorder.begin(cohort(0))


def test_a_report_that_comes_twice_counts_once(desk: Desk) -> None:
    begin(desk.recorder)
    desk.recorder.update(record(2, {0: ("running", [0.5, 0.6]), 1: ("running", [0.4, 0.7])}))
    begin(desk.recorder)  # its worker died; the next reports everything from the checkpoint
    desk.recorder.update(record(2, {0: ("running", [0.5, 0.6]), 1: ("running", [0.4, 0.7])}))
    desk.recorder.update(record(3, {0: ("finished", [0.6]), 1: ("diverged", [])}, since=2))
    assert [len(trial.epochs) for trial in desk.recorder.trials.values()] == [3, 2]
    assert [trial.status for trial in desk.recorder.trials.values()] == ["finished", "diverged"]
    assert len(desk.lines("metrics")) == 5
    assert desk.recorder.best.index == 0
    assert desk.recorder.best.best["epoch"] == 2, "the earlier epoch wins a tie"
    assert desk.recorder.reached(0) == -0.6
    assert desk.recorder.reached(1) is None, "a trial that diverged reached nothing"


def test_missing_epochs_are_a_fault(desk: Desk) -> None:
    begin(desk.recorder)
    with pytest.raises(Fault, match="reported epoch 3 after epoch 0"):
        desk.recorder.update(record(3, {0: ("running", [0.5])}, since=2))


def test_a_search_that_goes_on_tells_each_run_and_each_epoch_once(desk: Desk) -> None:
    begin(desk.recorder)
    desk.recorder.update(record(2, {0: ("running", [0.5, 0.6]), 1: ("stopped", [0.4])}))
    started = {index: trial.began for index, trial in desk.recorder.trials.items()}
    recorder = desk.again()
    begin(recorder)
    recorder.update(record(3, {0: ("finished", [0.5, 0.6, 0.8]), 1: ("stopped", [0.4])}))
    assert len(desk.lines("start")) == 3
    assert len(desk.lines("params")) == 3, "one of the search, one of each trial"
    assert sorted((event["run"], event["step"]) for event in desk.lines("metrics")) == sorted(
        [
            (recorder.trials[0].run, 1),
            (recorder.trials[0].run, 2),
            (recorder.trials[0].run, 3),
            (recorder.trials[1].run, 1),
        ]
    )
    assert [event["run"] for event in desk.lines("end")] == [recorder.trials[1].run, recorder.trials[0].run]
    assert {index: trial.began for index, trial in recorder.trials.items()} == started


def test_the_parent_run_ends_once_too(desk: Desk, tmp_path: Path) -> None:
    begin(desk.recorder)
    text = record(1, {0: ("finished", [0.5]), 1: ("finished", [0.5])})
    desk.recorder.update(text)
    desk.recorder.finish(tmp_path)
    before = (tmp_path / "trials.parquet").read_bytes()
    ended = len(desk.lines("end"))
    recorder = desk.again()
    begin(recorder)
    recorder.update(text)
    recorder.finish(tmp_path)
    assert (tmp_path / "trials.parquet").read_bytes() == before
    assert len(desk.lines("end")) == ended == 3
    assert recorder.best.index == 0, "the earlier trial wins a tie"


def test_trials_that_are_given_up_are_recorded_with_the_reason(desk: Desk, tmp_path: Path) -> None:
    begin(desk.recorder)
    desk.recorder.update(record(1, {0: ("finished", [0.5]), 1: ("running", [0.9])}))
    desk.recorder.give_up(cohort(1, 1), "its worker died")
    assert desk.recorder.trials[1].status == "failed"
    assert desk.lines("end")[-1]["status"] == "FAILED"
    desk.recorder.finish(tmp_path)
    rows = pq.read_table(tmp_path / "trials.parquet").to_pylist()
    assert [(row["status"], row["val_accuracy"]) for row in rows] == [("finished", 0.5), ("failed", None)]


def test_a_split_begins_its_trials_anew_as_other_runs(desk: Desk, tmp_path: Path) -> None:
    """One lane had been stopped, and was the best so far, when the cohort died for the third time."""
    whole = cohort(0)
    begin(desk.recorder)
    desk.recorder.update(record(2, {0: ("stopped", [0.9]), 1: ("running", [0.5, 0.6])}))
    parts = halves(whole)
    desk.recorder.restart(whole)
    assert desk.recorder.reached(0) is None
    for part, accuracy in zip(parts, (0.3, 0.4), strict=True):
        desk.recorder.begin(part)
        desk.recorder.update(record(1, {part["trials"][0]: ("finished", [accuracy])}))
    assert [trial.status for trial in desk.recorder.trials.values()] == ["finished", "finished"]
    assert desk.recorder.best.index == 1
    desk.recorder.finish(tmp_path)
    desk.records.save(tmp_path / "journal.jsonl")
    names = {event["run"]: event["name"] for event in desk.lines("start")}
    told = [(names[str(event["run"])], event["step"]) for event in desk.lines("metrics")]
    assert told[:3] == [("trial-0000", 1), ("trial-0001", 1), ("trial-0001", 2)]
    assert told[3:5] == [("trial-0000-a", 1), ("trial-0001-b", 1)]
    ends = {names[str(event["run"])]: event["status"] for event in desk.lines("end")}
    assert ends["trial-0001"] == "FAILED"
    assert ends["trial-0000-a"] == ends["trial-0001-b"] == "FINISHED"


def test_what_a_stretch_cost_is_divided_among_the_epochs_that_were_trained(desk: Desk, tmp_path: Path) -> None:
    begin(desk.recorder)
    desk.recorder.update(record(2, {0: ("running", [0.5, 0.6]), 1: ("stopped", [0.4, 0.4])}), dollars=2.0)
    desk.recorder.lose(cohort(0), 0.5)  # the worker dies; one of its trials had ended
    desk.recorder.costs.save()
    recorder = desk.again()
    begin(recorder)
    # The report that a worker begins with tells all again, also of the trial whose end was told before.
    recorder.update(record(2, {0: ("running", [0.5, 0.6]), 1: ("stopped", [0.4, 0.4])}), dollars=0.25)
    recorder.update(record(4, {0: ("finished", [0.7, 0.8]), 1: ("stopped", [])}, since=2), dollars=1.0)
    recorder.finish(tmp_path)
    assert [row["cost_usd"] for row in pq.read_table(tmp_path / "timings.parquet").to_pylist()] == [2.75, 1.0]
    runs = [recorder.trials[1].run, recorder.trials[0].run, recorder._run]
    assert desk.costs() == list(zip(runs, (1.0, 2.75, 3.75), strict=True))


def test_what_was_told_of_costs_is_known_after_a_kill(desk: Desk) -> None:
    begin(desk.recorder)
    desk.recorder.update(record(1, {0: ("running", [0.5]), 1: ("running", [0.4])}), dollars=1.0)
    desk.recorder.update(record(2, {0: ("stopped", [0.5]), 1: ("running", [0.4])}, since=1), dollars=1.0)
    assert desk.again().costs.of(0) == 1.0


def test_without_prices_all_cost_nothing(desk: Desk, tmp_path: Path) -> None:
    begin(desk.recorder)
    desk.recorder.update(record(1, {0: ("finished", [0.5]), 1: ("diverged", [])}))
    desk.recorder.finish(tmp_path)
    assert [dollars for _, dollars in desk.costs()] == [0, 0, 0]
    assert not desk.state.costs.exists()


def test_where_every_trial_failed_the_reason_is_said(desk: Desk) -> None:
    begin(desk.recorder)
    desk.recorder.give_up(cohort(0), "out of memory")
    with pytest.raises(Fault, match="2 of 2 failed: out of memory"):
        desk.recorder.best  # noqa: B018


def test_killed_before_its_hyperparameters_were_told_they_are_told_later(desk: Desk) -> None:
    lines = (desk.records.folder / journal.NAME).read_text().splitlines(keepends=True)
    (desk.records.folder / journal.NAME).write_text("".join(line for line in lines if '"params"' not in line))
    assert not desk.lines("params")
    desk.again()
    desk.again()
    assert len(desk.lines("params")) == 1


def test_what_pbt_changed_is_in_the_tables(desk: Desk, tmp_path: Path) -> None:
    begin(desk.recorder)
    taken = {"changes": {"lr": 0.7}, "copied": [[1, 0]]}
    desk.recorder.update(record(2, {0: ("finished", [0.5, 0.6]), 1: ("finished", [0.1, 0.7])}, lane1=taken))
    desk.recorder.finish(tmp_path)
    assert [row["lr"] for row in pq.read_table(tmp_path / "trials.parquet").to_pylist()] == [0.1, 0.7]
    history = pq.read_table(tmp_path / "history.parquet").to_pylist()
    assert [row["copied_from"] for row in history] == [None, None, 0, None]


def test_no_complete_trial_is_one_sentence(desk: Desk) -> None:
    begin(desk.recorder)
    desk.recorder.update(record(1, {0: ("diverged", []), 1: ("diverged", [])}))
    with pytest.raises(Fault, match="lower the learning rates"):
        desk.recorder.best  # noqa: B018


def test_the_last_of_ten_thousand_trials_costs_as_many_calls_as_the_first(desk: Desk) -> None:
    """Nothing is found anew after every trial; seconds and bytes are the benchmark's."""
    calls: Counter[int] = Counter()
    for first in range(0, 10_000, 100):

        def count(_frame: object, event: str, _argument: object, first: int = first) -> None:
            calls[first] += event in ("call", "c_call")

        part, text = cohort(first, 100), record(1, {n: ("finished", [n / 1e5]) for n in range(first, first + 100)})
        sys.setprofile(count)
        try:
            desk.recorder.plan(part)
            desk.recorder.begin(part)
            desk.recorder.update(text)
        finally:
            sys.setprofile(None)
    assert desk.recorder.best.index == 9_999
    assert calls[9_900] == pytest.approx(calls[100], rel=0.02)
