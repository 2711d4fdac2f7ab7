"""Which trials share a cohort: by architecture, never by the number of workers, the same every time."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import psutil
import pytest
import torch
from pydantic import Field
from safetensors.torch import save_file
from torch import nn

from lit_models import FAMILIES
from lit_models.cohort.cost import step_cost
from lit_models.core.config import FamilyConfig
from lit_models.forms import load_spec
from lit_models.mlp import LitMLP, MLPConfig, build_mlp
from pipelines import machine, zygote
from pipelines.faults import Fault
from pipelines.machine import MachineConfig, whole_memory
from pipelines.searchers import SearchConfig
from pipelines.searching.plan_order import Order, Planned
from pipelines.searching.planner import Planner, planner
from pipelines.searching.planning import plan
from pipelines.searching.space import Domain, random_trials

SPACE = {"lr": Domain(loguniform=(1e-3, 1e-2)), "dropout": Domain(uniform=(0.0, 0.3))}
CARD = '{"form": "image", "shape": [1, 8, 8], "classes": ["a", "b", "c"], "mean": [0.3], "std": [0.4], "scale": 255.0}'
GIGABYTE = 10**9


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for folder in ("prepared", "augmented"):
        (tmp_path / folder).mkdir()
        for part in ("train", "val"):
            y = torch.arange(12) % 3
            save_file(
                {"x": torch.zeros(12, 1, 8, 8, dtype=torch.uint8), "y": y}, tmp_path / folder / f"{part}.safetensors"
            )
    (tmp_path / "prepared" / "card.json").write_text(CARD)
    return tmp_path


def order(data: Path, trials: int = 16, memory: int = GIGABYTE, family: str = "mlp", **values: Any) -> Order:
    space = values.pop("space", SPACE)
    model = values.pop("model", {"hidden": 8})
    search = SearchConfig(space=space, trials=trials, **values)
    configs = [{**model, **drawn} for drawn in random_trials(space, trials, 0)]
    bounds = {"lr": (1e-3, 1e-2, True), "dropout": (0.0, 0.3, False)}
    folders = (str(data / "prepared"), str(data / "augmented"))
    return Order(family, configs, 0, search.model_dump(mode="json"), bounds, *folders, memory)


def sizes(planned: Planned) -> list[int]:
    return [len(cohort["trials"]) for cohort in planned.cohorts]


def test_every_trial_is_in_one_cohort_and_the_plan_is_always_the_same(data: Path) -> None:
    planned = plan(order(data))
    assert sorted(n for cohort in planned.cohorts for n in cohort["trials"]) == list(range(16))
    assert sizes(planned) == [8, 8], "two workers find work, whether there are two or not"
    assert {cohort["engine"] for cohort in planned.cohorts} == {"fused"}
    assert len({seed for cohort in planned.cohorts for seed in cohort["seeds"]}) == 16
    assert planned == plan(order(data))
    assert planned.notes == []


def test_a_large_group_is_cut_at_the_most_lanes(data: Path) -> None:
    assert sizes(plan(order(data, trials=128))) == [32] * 4
    assert sizes(plan(order(data, trials=10, K=4))) == [3, 3, 4]


def test_a_hyperparameter_that_changes_shapes_makes_another_signature(data: Path) -> None:
    space = {**SPACE, "hidden": Domain(choice=(8, 16))}
    planned = plan(order(data, space=space, model={}))
    for cohort in planned.cohorts:
        assert len({config["hidden"] for config in cohort["configs"]}) == 1
    assert Counter(n for c in planned.cohorts for n in c["trials"]) == Counter(range(16))


class RatioConfig(MLPConfig):
    """A multi-layer perceptron whose width is a factor."""

    ratio: float = Field(1.0, gt=0, le=8, description="of eight units")


class LitRatio(LitMLP):
    """Its module."""

    Config: ClassVar[type[FamilyConfig]] = RatioConfig
    config: RatioConfig

    def build(self) -> nn.Module:
        return build_mlp(self.config.model_copy(update={"hidden": int(8 * self.config.ratio)}), self.spec)


def test_a_float_that_changes_shapes_makes_another_signature_too(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FAMILIES, "ratio", LitRatio)
    configs = [{"ratio": 1.0 + n % 2, "lr": 0.001 * (n + 1)} for n in range(8)]
    planned = plan(replace(order(data, trials=8), family="ratio", configs=configs))
    assert sorted(cohort["trials"] for cohort in planned.cohorts) == [(0, 2), (1, 3), (4, 6), (5, 7)]
    assert {cohort["engine"] for cohort in planned.cohorts} == {"fused"}


def test_a_space_of_single_architectures_says_so_and_runs_lone(data: Path) -> None:
    planned = plan(order(data, trials=6, space={"hidden": Domain(int=(1, 500))}, model={}))
    assert {cohort["engine"] for cohort in planned.cohorts} == {"lone"}
    assert planned.notes == ["6 trials are trained alone: no other trial has the same architecture"]


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"engine": "lone"}, "search.engine says so"),
        ({"K": 1}, "search.K is 1"),
        ({"model": {"hidden": 1024, "depth": 3}}, "MFLOP a kernel"),
    ],
)
def test_the_reason_for_the_lone_engine_is_one_sentence(data: Path, values: dict[str, Any], says: str) -> None:
    planned = plan(order(data, **values))
    assert {cohort["engine"] for cohort in planned.cohorts} == {"lone"}
    assert len(planned.notes) == 1
    assert says in planned.notes[0]


def test_a_probe_answers_one_or_the_other(data: Path) -> None:
    (engine,) = {cohort["engine"] for cohort in plan(order(data, engine="probe")).cohorts}
    assert engine in ("fused", "lone")


def test_too_little_memory_is_one_sentence_with_figures(data: Path) -> None:
    planned = plan(order(data, memory=10_000))
    assert planned.cohorts == []
    assert "needs about" in planned.fault
    assert "a worker may take 1e-05 GB" in planned.fault


def test_memory_limits_the_lanes(data: Path) -> None:
    few = plan(order(data, trials=64, memory=2_000_000))
    assert max(sizes(few)) < 32
    assert {cohort["engine"] for cohort in few.cohorts} == {"fused"}


@pytest.mark.parametrize(
    "values", [{"scheduler": "halving", "eta": 8, "epochs": 90}, {"K": 64}, {"K": 64, "engine": "lone"}]
)
def test_memory_limits_the_lanes_whatever_else_is_wanted(data: Path, values: dict[str, Any]) -> None:
    free, tight = (plan(order(data, trials=64, memory=memory, **values)) for memory in (GIGABYTE, 2_000_000))
    assert max(sizes(free)) > 2 * max(sizes(tight))


def test_too_few_lanes_to_compare_are_told(data: Path) -> None:
    cost = step_cost(LitMLP, MLPConfig(hidden=8), load_spec(data / "prepared"), samples=36)
    planned = plan(order(data, trials=64, memory=3 * cost.bytes + cost.shared, scheduler="halving", eta=10, epochs=90))
    assert max(sizes(planned)) < 10
    assert [note for note in planned.notes if "for want of memory" in note]


def test_data_that_cannot_be_read_are_one_sentence(data: Path) -> None:
    (data / "prepared" / "card.json").write_text("{")
    assert plan(order(data)).fault.startswith("the data cannot be read: ")


def test_a_probe_is_asked_once(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = plan(order(data, engine="probe"))
    assert len(first.probed) == 1
    monkeypatch.setattr("lit_models.cohort.cost.probe", lambda *_: pytest.fail("asked again"))
    again = plan(replace(order(data, engine="probe"), probed=first.probed))
    assert again == first


def test_hyperband_gives_each_bracket_cohorts_and_rungs_of_its_own(data: Path) -> None:
    planned = plan(order(data, trials=40, scheduler="hyperband", epochs=9))
    rungs = {tuple(cohort["rule"]["rungs"]) for cohort in planned.cohorts}
    assert {(1, 3), (3,), ()} == rungs
    assert sum(sizes(planned)) == 40


@pytest.mark.parametrize("scheduler", ["halving", "asha", "median", "pbt", "none"])
def test_each_scheduler_becomes_a_rule(data: Path, scheduler: str) -> None:
    planned = plan(order(data, scheduler=scheduler, epochs=9, model={"hidden": 1024, "depth": 3}))
    (name,) = {cohort["rule"]["name"] for cohort in planned.cohorts}
    assert name == scheduler
    rule = planned.cohorts[0]["rule"]
    assert rule["rungs"] == ((1, 3) if scheduler in ("halving", "asha") else ())
    assert bool(rule["space"]) == (scheduler == "pbt")
    # A rule that compares lanes needs some to compare, though the lone engine alone would take fewer.
    assert max(sizes(planned)) == (4 if scheduler == "none" else 8)


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Planner]:
    with zygote.started(tmp_path) as address, planner(address) as found:
        yield found


def test_plans_in_a_process_of_its_own(process: Planner, data: Path) -> None:
    assert process.submit(order(data)).result() == plan(order(data))


def test_a_planning_process_that_is_killed_is_one_sentence(process: Planner, data: Path) -> None:
    process.submit(order(data, trials=5000))
    for child in psutil.Process().children(recursive=True):
        child.kill()
    with pytest.raises(Fault, match="was killed"):
        process.result()
    with pytest.raises(Fault, match="was killed"):
        process.submit(order(data)).result()


def test_whoever_leaves_does_not_wait_for_the_plan(tmp_path: Path, data: Path) -> None:
    with zygote.started(tmp_path) as address, planner(address) as process:
        process.submit(order(data, trials=5000))
        children = psutil.Process().children(recursive=True)
    _, alive = psutil.wait_procs(children, timeout=10)
    assert children
    assert not alive


@pytest.mark.parametrize(
    ("limits", "whole"),
    [
        ([], 100),
        (["max\n"], 100),
        (["60\n"], 60),
        (["9223372036854771712\n"], 100),
        (["max\n", "70\n"], 70),
        ([""], 100),
    ],
)
def test_a_container_has_no_more_memory_than_it_is_given(limits: list[str], whole: int) -> None:
    assert whole_memory(100, limits) == whole


def test_memory_asks_the_files_of_the_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limit = tmp_path / "memory.max"
    limit.write_text(f"{10**6}\n")
    monkeypatch.setattr(machine, "CGROUP_LIMITS", (tmp_path / "not there", limit))
    assert 0 < MachineConfig().memory() <= 600_000


def test_the_machine_section_has_its_limits() -> None:
    assert MachineConfig(workers=3).cohorts(threads=1) == 3
    assert MachineConfig().cohorts(threads=10_000) == 1
    assert MachineConfig(memory_gb=1.5).memory() == 1_500_000_000
    assert MachineConfig().memory() > 10**8
    for wrong in ({"workers": 0}, {"workers": 1.5}, {"memory_gb": 0.0}, {"memory_gb": -1.0}):
        with pytest.raises(ValueError, match=r"workers|memory_gb"):
            MachineConfig(**wrong)
