"""What survives a kill: the plan, the records, the lock; and what is forgotten when a search has finished."""

import json
import os
import shutil
from pathlib import Path

import pytest
import torch

from lit_models.cohort import checkpoint
from lit_models.cohort.engine import Figures
from lit_models.cohort.record import Record
from pipelines import search_state
from pipelines.faults import Fault
from pipelines.search_state import SearchState, fingerprint, opened
from pipelines.stage import Stage
from tests.pipelines.cohorts import cohort, stage_at


@pytest.fixture
def work(folder: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    return stage_at(folder, root, monkeypatch)


def done(state: SearchState, name: str, trial: int) -> None:
    path = state.cohorts / f"{name}.done.safetensors"
    checkpoint.write(path, Record.new([trial, trial + 1]), {f"{trial}.network.0.weight": torch.ones(2, 3)})


def test_half_a_line_of_a_killed_process_is_cut_off(tmp_path: Path) -> None:
    state = SearchState(tmp_path)
    state.add({"generation": 0, "cohorts": [cohort(0)]})
    with (tmp_path / "plan.jsonl").open("a") as file:
        file.write('{"generation": 1, "coh')
    again = SearchState(tmp_path)
    assert again.plan == [{"generation": 0, "cohorts": [cohort(0)]}]
    again.add({"split": "c00000"})
    assert len(again.plan) == 2


def test_records_are_read_without_torch(tmp_path: Path) -> None:
    state = SearchState(tmp_path)
    done(state, "c00000", 0)
    checkpoint.write(state.cohorts / "c00002.safetensors", Record(5, {}), {})
    assert [record["name"] for record in state.records()] == ["c00000"]
    assert json.loads(next(state.records())["text"])["epoch"] == 0
    assert (state.reached("c00002"), state.reached("c00004")) == (5, 0)


def test_a_record_read_without_torch_is_the_record(tmp_path: Path) -> None:
    state = SearchState(tmp_path)
    record = Record.new([3, 4, 5])
    record.lanes[3].epochs = [Figures(0.1 + n, 1 / 3, 0.9666666388511658, 1e-3) for n in range(3)]
    record.lanes[5].epochs = [Figures(0.2, 0.3, 0.4, 1e-7)]
    record.lanes[5].copied, record.lanes[5].changes = [(1, 3)], {"lr": 0.1}
    record.epoch, record.seconds = 3, [0.1, 0.2, 0.3]
    checkpoint.write(state.cohorts / "c00003.done.safetensors", record, {})
    assert [json.loads(one["text"]) for one in state.records()] == [json.loads(record.text())]


@pytest.mark.parametrize("size", [0, 4, 40, 200, -1])
def test_a_record_that_was_cut_off_counts_as_none(tmp_path: Path, size: int) -> None:
    state = SearchState(tmp_path)
    done(state, "c00000", 0)
    done(state, "c00002", 2)
    paths = [state.cohorts / f"c00000{kind}" for kind in (".done.safetensors", ".safetensors")]
    content = paths[0].read_bytes()
    for path in paths:
        path.write_bytes(content[:size])
    assert [record["name"] for record in state.records()] == ["c00002"]
    assert state.reached("c00000") == 0
    state.save_weights(0, tmp_path / "weights.safetensors")
    assert not paths[0].exists()
    assert f"{paths[0]}.broken could not be read, so its cohort is trained anew" in state.broken
    assert [record["name"] for record in state.records()] == ["c00002"]


def test_a_finished_search_keeps_its_plan_alone(tmp_path: Path) -> None:
    state = SearchState(tmp_path)
    state.add({"generation": 0, "cohorts": [cohort(0)]})
    state.add({"split": "c00000", "parts": []})
    state.journal = tmp_path / "journal"
    done(state, "c00000", 0)
    state.drop_results()
    again = SearchState(tmp_path)
    assert again.plan == [{"generation": 0, "cohorts": [cohort(0)]}], "a split was owed to what happened once"
    assert (again.journal, list(again.records())) == (None, [])


def test_a_search_is_done_once_until_dvc_has_noted_it(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state, out = SearchState(tmp_path / "state"), Path("results/x/search")
    out.mkdir(parents=True)
    (out / "trials.parquet").write_text("rows")
    assert not state.take_finished(out)
    done(state, "c00000", 0)
    state.journal = tmp_path / "journal"
    state.finish(out)
    assert (state.journal, list(state.records())) == (None, [])
    monkeypatch.setenv("DVC_STAGE", "search@x")
    assert state.take_finished(out)
    assert state.take_finished(out), "killed again before DVC took note"
    (folder / "dvc.lock").write_text("stages: {a: {outs: [{path: results/x/search, md5: 123.dir}]}}")
    assert not state.take_finished(out), "DVC has noted it: whoever asks now wants it done anew"
    (folder / "dvc.lock").unlink()
    assert not state.take_finished(out), "and that is remembered"


def test_finished_means_this_very_out_and_by_dvc(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = folder / "out"
    out.mkdir()
    (out / "trials.parquet").write_text("rows")
    state = SearchState(tmp_path / "state")
    state.finish(out)
    assert not state.take_finished(out), "called without DVC"
    monkeypatch.setenv("DVC_STAGE", "search@x")
    state.finish(out)
    (out / "trials.parquet").write_text("other rows")
    assert not state.take_finished(out)


def test_a_second_process_is_turned_away(work: Stage) -> None:
    with opened(work), pytest.raises(Fault, match=f"process {os.getpid()} is at this very search"), opened(work):
        pass
    with opened(work):
        pass


@pytest.mark.parametrize(
    ("kept", "interrupted", "left"),
    [
        (2, set(), {"old3"}),  # the oldest go, and the one in use stays
        (3, {0, 1, 2}, {"old1", "old2"}),  # finished ones go before
    ],
)
def test_old_states_go(
    work: Stage, kept: int, interrupted: set[int], left: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_state, "KEPT", kept)
    with opened(work) as state:
        home = state.folder.parent
        for number in range(4):
            (home / f"old{number}").mkdir()
            if number in interrupted:
                (home / f"old{number}" / "running.json").write_text("{}")
            os.utime(home / f"old{number}", (number, number))
    with opened(work):
        pass
    assert {path.name for path in home.iterdir()} == {state.folder.name, *left}


def test_the_fingerprint_depends_on_parameters_data_and_code(
    work: Stage, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = fingerprint(work)
    assert fingerprint(work) == first
    assert fingerprint(Stage("search", "digits-cnn", work.params)) != first
    monkeypatch.setattr(search_state.lineage, "dvc_hash", lambda *_: "other data")
    assert fingerprint(work) != first
    monkeypatch.undo()
    assert "lit_models/mlp.py" in map(str, search_state._code("mlp"))
    assert "lit_models/cnn.py" not in map(str, search_state._code("mlp")), "another family may be edited meanwhile"


def test_the_fingerprint_depends_on_the_code_and_on_no_other_family_s(work: Stage, folder: Path, root: Path) -> None:
    first = fingerprint(work)
    (folder / "lit_models").unlink()  # a link to the checkout's
    shutil.copytree(root / "lit_models", folder / "lit_models", ignore=shutil.ignore_patterns("__pycache__"))
    assert fingerprint(work) == first
    for name, same in (("cnn", True), ("mlp", False), ("core/noise", False), ("cohort/rules", False)):
        path = folder / "lit_models" / f"{name}.py"
        before = path.read_text()
        path.write_text(before + "# edited\n")
        assert (fingerprint(work) == first) == same, name
        path.write_text(before)


def test_the_winner_s_weights_are_picked_out(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    state = SearchState(tmp_path)
    done(state, "c00000", 0)
    target = tmp_path / "winner.safetensors"
    state.save_weights(0, target)
    assert torch.equal(load_file(target)["network.0.weight"], torch.ones(2, 3))
    for trial in (1, 7):  # its cohort kept another's weights; no cohort had it
        state.save_weights(trial, target)
        assert load_file(target) == {}
