"""A cohort that is interrupted at any checkpoint ends in the same record and the same weights."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from lit_models import FAMILIES
from lit_models.cohort import checkpoint, run
from lit_models.cohort.engine import Figures
from lit_models.cohort.record import CohortSpec, Record
from lit_models.cohort.rules import RuleSpec
from tests.lit_models.cohorts import SMALL, data

SPACE = {"lr": (1e-4, 1.0, True), "dropout": (0.0, 0.5, False)}
RULES = {
    "none": {},
    "halving": {"rungs": (1, 3)},
    "asha": {"rungs": (1, 3)},
    "median": {"grace": 2},
    "pbt": {"interval": 2, "space": SPACE},
}


def spec(engine: str, rule: str = "none", **values: Any) -> CohortSpec:
    kind = FAMILIES["mlp"].Config
    own = {"batch_size": 8, **SMALL["mlp"], **values}
    configs = tuple(kind(**{**own, "lr": 0.002 * (n + 1), "dropout": 0.05 * n}).model_dump() for n in range(7))
    rules = RuleSpec(name=rule, epochs=6, **RULES[rule])
    return CohortSpec("c", tuple(range(7)), configs, tuple(range(7)), engine, 1, rules, "val_loss")  # type: ignore[arg-type]


class Killed(Exception):
    """Stands for kill -9: whatever is not on disk is gone."""


def train(what: CohortSpec, folder: Path, die_at: int = -1) -> Record:
    calls = 0

    def on_checkpoint(record: Record) -> None:
        nonlocal calls
        calls += 1
        if calls == die_at:
            raise Killed

    return run.run_cohort(what, FAMILIES["mlp"], data(), folder, on_checkpoint)


def facts(record: Record, folder: Path) -> tuple[Any, Any]:
    _, weights = checkpoint.read(folder / "c.done.safetensors") or (None, {})
    whole = {**asdict(record), "seconds": 0, "began": 0}
    for lane in whole["lanes"].values():
        assert record.began <= lane.pop("ended")
    return whole, {name: value.tolist() for name, value in weights.items()}


@pytest.mark.parametrize("engine", ["fused", "lone"])
@pytest.mark.parametrize("rule", RULES)
def test_interrupted_at_any_checkpoint_it_ends_the_same(
    engine: str, rule: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "CHECKPOINT_SECONDS", 0.0)
    what = spec(engine, rule)
    whole = facts(train(what, tmp_path / "whole"), tmp_path / "whole")
    statuses = {lane["status"] for lane in whole[0]["lanes"].values()}
    assert ("stopped" in statuses) == (rule in ("halving", "asha")) or rule == "median"
    assert any(lane["copied"] for lane in whole[0]["lanes"].values()) == (rule == "pbt")
    for place in range(1, 8):
        folder = tmp_path / str(place)
        with pytest.raises(Killed):
            train(what, folder, die_at=place)
        assert facts(train(what, folder), folder) == whole


def test_killed_between_its_last_files_it_ends_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The finished cohort's file is written, and the running one's is still there."""
    monkeypatch.setattr(run, "CHECKPOINT_SECONDS", 0.0)
    whole = facts(train(spec("fused"), tmp_path / "whole"), tmp_path / "whole")

    def die(path: Path, *more: Any) -> None:
        write(path, *more)
        if ".done." in path.name:
            raise Killed

    write = checkpoint.write
    folder = tmp_path / "cut"
    with monkeypatch.context() as context:
        context.setattr(checkpoint, "write", die)
        with pytest.raises(Killed):
            train(spec("fused"), folder)
    assert (folder / "c.safetensors").exists()
    assert facts(train(spec("fused"), folder), folder) == whole
    assert [path.name for path in folder.iterdir()] == ["c.done.safetensors"]


@pytest.mark.parametrize("size", [0, 4, 40, 300, -1])
@pytest.mark.parametrize("name", ["c.safetensors", "c.done.safetensors"])
def test_a_broken_checkpoint_counts_as_none(
    name: str, size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut off anywhere it is moved aside, once, and the cohort begins anew."""
    monkeypatch.setattr(run, "CHECKPOINT_SECONDS", 0.0)
    whole = facts(train(spec("fused"), tmp_path), tmp_path)
    if name == "c.safetensors":
        (tmp_path / "c.done.safetensors").unlink()
        with pytest.raises(Killed):
            train(spec("fused"), tmp_path, die_at=2)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[:size])
    assert facts(train(spec("fused"), tmp_path), tmp_path) == whole
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["c.done.safetensors", f"{name}.broken"])


def test_figures_are_no_part_of_the_header(tmp_path: Path) -> None:
    """Safetensors refuses a header beyond 100 MB; this one does not grow with the epochs."""
    sizes = []
    for epochs in (1, 1000):
        record = Record.new(range(4))
        for lane in record.lanes.values():
            lane.epochs = [Figures(1 / 3, 0.1 + n, 0.9666666388511658, 1e-3) for n in range(epochs)]
        record.epoch, record.seconds = epochs, [0.1] * epochs
        checkpoint.write(tmp_path / "c", record, {"w": torch.ones(2)})
        sizes.append(int.from_bytes((tmp_path / "c").read_bytes()[:8], "little"))
        found = checkpoint.read(tmp_path / "c")
        assert found is not None
        assert found[0] == record == checkpoint.read_record(tmp_path / "c")
        assert list(found[1]) == ["w"]
    assert sizes[1] < sizes[0] + 100


def test_a_checkpoint_that_vanishes_meanwhile_is_none(tmp_path: Path) -> None:
    """A worker that lives on after its search may finish the cohort."""
    assert checkpoint.read(tmp_path / "c") is None
    assert list(tmp_path.iterdir()) == []


def test_a_finished_cohort_is_not_trained_again(tmp_path: Path) -> None:
    first = train(spec("fused"), tmp_path)
    before = (tmp_path / "c.done.safetensors").stat().st_mtime_ns
    assert asdict(train(spec("fused"), tmp_path)) == asdict(first)
    assert (tmp_path / "c.done.safetensors").stat().st_mtime_ns == before
    assert not (tmp_path / "c.safetensors").exists()


@pytest.mark.parametrize("engine", ["fused", "lone"])
def test_divergence_is_recorded_and_ends_only_that_lane(engine: str, tmp_path: Path) -> None:
    configs = [dict(config) for config in spec(engine).configs]
    configs[2] |= {"lr": 10.0, "optimizer": "momentum"}
    what = CohortSpec.of({**asdict(spec(engine)), "configs": configs, "explosion": 50.0})
    record = train(what, tmp_path)
    assert record.lanes[2].status == "diverged"
    assert len(record.lanes[2].epochs) < 6
    assert {lane.status for trial, lane in record.lanes.items() if trial != 2} == {"finished"}


def test_plans_and_records_go_through_json(tmp_path: Path) -> None:
    import json

    what = spec("fused", "pbt")
    assert CohortSpec.of(json.loads(json.dumps(asdict(what)))) == what
    plain = {name: value for name, value in asdict(what).items() if name not in ("compiled", "memory")}
    assert CohortSpec.of(plain) == what, "a plan from before they were"
    record = train(what, tmp_path)
    assert Record.parse(record.text()) == record
    late = Record.parse(record.since(4))
    assert (late.epoch, len(late.seconds)) == (6, 2)
    assert late.lanes[0].epochs == record.lanes[0].epochs[4:]


def test_a_plan_that_says_so_is_compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lit_models.cohort.compiled.BACKEND", "no such compiler")
    train(spec("fused"), tmp_path / "as it is")
    with pytest.raises(RuntimeError, match=r"^torch.compile failed: .*no such compiler"):
        train(replace(spec("fused"), compiled=True), tmp_path / "compiled")
    train(replace(spec("lone"), compiled=True), tmp_path / "lone")


def test_a_full_disk_leaves_the_last_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "c.safetensors"
    checkpoint.write(path, Record.new([0]), {"w": torch.ones(2)})

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        checkpoint.write(path, Record(9, {}), {"w": torch.zeros(2)})
    found = checkpoint.read(path)
    assert found is not None
    assert found[0].epoch == 0
    assert [file.name for file in tmp_path.iterdir()] == ["c.safetensors"]
