"""What is promised of cohorts on a GPU; skipped where there is none. Needs neither Ray nor MLflow."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from lit_models.cohort import bench_timing, memory
from lit_models.cohort.bench_networks import CASES
from lit_models.cohort.engine import Setting
from lit_models.cohort.fused import FusedEngine
from lit_models.cohort.lone import LoneEngine
from lit_models.cohort.record import CohortSpec
from lit_models.cohort.rules import RuleSpec
from lit_models.cohort.run import build_engine
from tests.lit_models.cohorts import difference, lanes, setting
from tests.lit_models.samples import FUSED

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")

LANES: list[dict[str, Any]] = [{"dropout": 0.2, "lr": 0.01}, {"dropout": 0.1, "lr": 0.02}, {"dropout": 0.3}]
TOLERANCE = 1e-8


def on_gpu(case: str) -> Setting:
    """The usual setting, all of it on the GPU."""
    usual = setting(case)
    return replace(usual, data=usual.data.to(torch.device("cuda")), device=torch.device("cuda"))


@pytest.mark.parametrize("case", FUSED)
def test_fused_equals_lone(case: str) -> None:
    where, cohort = on_gpu(case), lanes(case, LANES)
    fused, lone = FusedEngine(cohort, where), LoneEngine(cohort, where)
    for epoch in range(3):
        ours, theirs = fused.run_epoch(epoch), lone.run_epoch(epoch)
        assert all(ours[t].val_loss == pytest.approx(theirs[t].val_loss, rel=TOLERANCE) for t in range(3))
    assert max(difference(fused, lone, trial) for trial in range(3)) < TOLERANCE


@pytest.mark.parametrize("case", FUSED)
def test_a_gpu_trains_what_a_cpu_trains(case: str) -> None:
    cohort = lanes(case, LANES)
    here, there = FusedEngine(cohort, on_gpu(case)), FusedEngine(cohort, setting(case))
    for epoch in range(2):
        ours, theirs = here.run_epoch(epoch), there.run_epoch(epoch)
        assert all(ours[t].train_loss == pytest.approx(theirs[t].train_loss, rel=TOLERANCE) for t in range(3))
    assert max(difference(here, there, trial) for trial in range(3)) < TOLERANCE


@pytest.mark.parametrize("case", ["cnn", "gpt"])
def test_compiled_equals_eager_after_lanes_are_dropped(case: str) -> None:
    where, cohort = on_gpu(case), lanes(case, LANES)
    fast, eager = FusedEngine(cohort, replace(where, compiled=True)), FusedEngine(cohort, where)
    for epoch in range(4):
        ours, theirs = fast.run_epoch(epoch), eager.run_epoch(epoch)
        assert all(ours[t].train_loss == pytest.approx(theirs[t].train_loss, rel=TOLERANCE) for t in ours)
        if epoch == 1:
            fast.keep([0, 2])
            eager.keep([0, 2])
    assert max(difference(fast, eager, trial) for trial in (0, 2)) < TOLERANCE
    torch.compiler.reset()


def test_a_lane_that_diverges_leaves_the_others() -> None:
    cohort = lanes("cnn", LANES)
    wild = [*cohort]
    wild[1] = replace(wild[1], config=wild[1].config.model_copy(update={"lr": 1e6, "optimizer": "sgd"}))
    calm, upset = FusedEngine(cohort, on_gpu("cnn")), FusedEngine(wild, on_gpu("cnn"))
    for epoch in range(3):
        calm.run_epoch(epoch)
        figures = upset.run_epoch(epoch)
    assert not figures[1].train_loss < 1e3, "diverged"
    assert max(difference(calm, upset, trial) for trial in (0, 2)) < TOLERANCE


@pytest.mark.parametrize("case", FUSED)
def test_replayed_steps_are_the_steps_taken_one_by_one(case: str) -> None:
    """With a short last batch, dropped lanes, and one that takes over another's weights."""
    where, cohort = on_gpu(case), lanes(case, LANES)
    replayed, taken = FusedEngine(cohort, where, ("lr",)), FusedEngine(cohort, replace(where, graphs=False), ("lr",))
    for epoch in range(5):
        ours, theirs = replayed.run_epoch(epoch), taken.run_epoch(epoch)
        assert all(ours[t].train_loss == pytest.approx(theirs[t].train_loss, rel=TOLERANCE) for t in ours)
        assert all(ours[t].val_loss == pytest.approx(theirs[t].val_loss, rel=TOLERANCE) for t in ours)
        for engine in (replayed, taken):
            if epoch == 1:
                engine.copy(0, 1, cohort[0].config.model_copy(update={"lr": 0.003}))
            if epoch == 3:
                engine.keep([0, 2])
    assert max(difference(replayed, taken, trial) for trial in (0, 2)) < TOLERANCE
    assert all(graphed.possible for graphed in replayed.graphed)


@pytest.mark.parametrize("name", ["digits-cnn", "resnet-32"])
def test_a_cohort_takes_no_more_of_the_gpu_than_was_probed(name: str) -> None:
    case, cuda = CASES[name], torch.device("cuda")
    data = bench_timing.noise(case, 64 * 8, cuda)
    configs = tuple(config.model_dump() for config in bench_timing.lane_configs(case, 16, "32"))
    numbers = tuple(range(16))
    spec = CohortSpec("c", numbers, configs, numbers, "fused", 1, RuleSpec(epochs=2), "val_loss", device="cuda")
    where = Setting(case.family, data, 2, cuda)
    need = memory.cohort_memory(spec, where, memory.gpu_memory())

    def train() -> None:
        engine = build_engine(spec, where)
        for epoch in range(2):
            engine.run_epoch(epoch)

    assert memory.CONTEXT < memory.peak(train) + memory.CONTEXT <= need
