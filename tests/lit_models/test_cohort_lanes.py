"""Lanes are alone though they are together: neighbours, places, drops and divergence change nothing of a lane."""

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from lit_models import FAMILIES
from lit_models.cohort.cost import choose_engine, choose_lanes, obstacle, step_cost
from lit_models.cohort.engine import Engine
from lit_models.cohort.fused import FusedEngine
from lit_models.cohort.lone import LoneEngine
from lit_models.cohort.vector_optim import UPDATES
from lit_models.fit import fit
from lit_models.mlp import LitMLP
from tests.lit_models.cohorts import SPEC, difference, lanes, same, setting
from tests.lit_models.samples import FUSED

ENGINES = (FusedEngine, LoneEngine)
FLOAT = torch.float32
OPTIMIZERS = list(UPDATES)
MIXED: list[dict[str, Any]] = [
    {"optimizer": o, "lr": 0.001 * (n + 1), "dropout": 0.05 * n, "augment_strength": 0.1 * n, "weight_decay": 0.01}
    for n, o in enumerate(("adamw", "sgd", "nesterov", "adam", "rmsprop", "adagrad", "momentum", "adamw"))
]


def run(engine: Engine, epochs: range) -> Engine:
    for epoch in epochs:
        engine.run_epoch(epoch)
    return engine


@pytest.mark.parametrize("family", FUSED)
@pytest.mark.parametrize("kept", [(1, 4, 6), (3,)])
def test_survivors_keep_every_bit(family: str, kept: tuple[int, ...]) -> None:
    """Float32, one thread; the last one rides with a spare."""
    cohort = lanes(family, MIXED)
    all_of_them, few = FusedEngine(cohort, setting(family, FLOAT)), FusedEngine(cohort, setting(family, FLOAT))
    run(all_of_them, range(2))
    run(few, range(2))
    few.keep(kept)
    assert {lane.trial for lane in few.lanes} == set(kept)
    figures = [engine.run_epoch(2) for engine in (few, all_of_them)]
    assert figures[0] == {trial: figures[1][trial] for trial in kept}
    run(few, range(3, 4))
    run(all_of_them, range(3, 4))
    assert all(same(few, all_of_them, trial) for trial in kept)


@pytest.mark.parametrize("family", FUSED)
def test_a_lane_that_diverges_touches_no_other(family: str) -> None:
    wild = [*MIXED[:3], {**MIXED[3], "lr": 10.0, "optimizer": "momentum"}, *MIXED[4:]]
    calm, disturbed = (FusedEngine(lanes(family, c), setting(family, FLOAT)) for c in (MIXED, wild))
    run(calm, range(3))
    run(disturbed, range(3))
    assert not same(calm, disturbed, 3)
    assert all(same(calm, disturbed, trial) for trial in (0, 1, 2, 4, 5, 6, 7))


def test_a_lane_depends_neither_on_its_place_nor_on_its_neighbours() -> None:
    cohort = lanes("cnn", MIXED)
    together = run(FusedEngine(cohort, setting("cnn")), range(3))
    turned = run(FusedEngine(cohort[::-1], setting("cnn")), range(3))
    pair = run(FusedEngine([cohort[6], cohort[2]], setting("cnn")), range(3))
    assert all(same(together, turned, trial) for trial in range(8))
    assert max(difference(together, pair, trial) for trial in (2, 6)) < 1e-10


@pytest.mark.parametrize("kind", ENGINES)
@pytest.mark.parametrize("sampling", ["shuffle", "hard"])
def test_a_loaded_state_goes_on_to_the_same_bits(kind: Any, sampling: str) -> None:
    cohort = lanes("resnet", [{**c, "sampling": sampling} for c in MIXED])
    whole = run(kind(cohort, setting("resnet", FLOAT)), range(2))
    whole.keep([0, 3, 4, 6])
    changed = cohort[3].config.model_copy(update={"dropout": 0.4, "lr": 0.02})
    whole.copy(3, 0, changed)
    state = {name: value.clone() for name, value in whole.state().items()}
    again = kind(cohort, setting("resnet", FLOAT))
    again.load(state, {3: changed})
    assert whole.run_epoch(2) == again.run_epoch(2)
    assert whole.run_epoch(3) == again.run_epoch(3)
    assert all(same(whole, again, trial) for trial in (0, 3, 4, 6))


@pytest.mark.parametrize("distance", range(len(OPTIMIZERS)))
def test_a_copied_lane_is_the_same_in_both_engines(distance: int) -> None:
    """From every optimizer to every other, and to itself: moments go along only where they mean the same."""
    cohort = lanes("mlp", [{**MIXED[n], "optimizer": o, "momentum": 0.8} for o in OPTIMIZERS for n in (1, 2)])
    fused, lone = (kind(cohort, setting("mlp")) for kind in ENGINES)
    for engine in (fused, lone):
        run(engine, range(2))
        for place in range(len(OPTIMIZERS)):
            target, source = cohort[2 * place], cohort[2 * ((place + distance) % len(OPTIMIZERS)) + 1]
            changed = target.config.model_copy(update={"dropout": 0.35, "lr": 0.004})
            engine.copy(target.trial, source.trial, changed)
        run(engine, range(2, 4))
    assert max(difference(fused, lone, lane.trial) for lane in cohort) < 1e-8


@pytest.mark.parametrize("optimizer", ["momentum", "nesterov"])
def test_a_copy_of_a_lane_without_momentum_begins_with_none(optimizer: str) -> None:
    cohort = lanes("mlp", [{"optimizer": optimizer, "momentum": m, "lr": 0.01} for m in (0.0, 0.9, 0.5)])
    fused, lone = (
        kind(cohort, setting("mlp"), *more) for kind, more in ((FusedEngine, [["momentum"]]), (LoneEngine, []))
    )
    for engine in (fused, lone):
        run(engine, range(2))
        engine.copy(1, 0, cohort[1].config.model_copy(update={"momentum": 0.7}))
        engine.copy(2, 0, cohort[2].config.model_copy(update={"momentum": 0.0}))
        run(engine, range(2, 3))
        engine.copy(0, 2, cohort[0].config.model_copy(update={"momentum": 0.9}))
        run(engine, range(3, 4))
    assert max(difference(fused, lone, lane.trial) for lane in cohort) < 1e-8


def test_a_float_that_only_pbt_will_change_is_a_vector_from_the_start() -> None:
    cohort = lanes("mlp", [{"dropout": 0.1, "lr": 0.001}, {"dropout": 0.1, "lr": 0.002}])
    fused, lone = FusedEngine(cohort, setting("mlp"), ("dropout",)), LoneEngine(cohort, setting("mlp"))
    for engine in (fused, lone):
        engine.copy(1, 0, cohort[1].config.model_copy(update={"dropout": 0.5}))
        run(engine, range(2))
    assert difference(fused, lone, 1) < 1e-8


class Torn(LitMLP):
    """Draws from torch's own generator."""

    def build(self) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 4), nn.Dropout(0.5))


def test_what_cannot_be_fused_says_why_and_runs_alone() -> None:
    from dataclasses import replace

    cohort = lanes("mlp", [{}, {"lr": 0.01}])
    torn = replace(setting("mlp"), family=Torn)
    assert "random" in obstacle(cohort, torn)
    assert obstacle(cohort, setting("mlp")) == ""
    one, other = (run(LoneEngine(cohort, torn), range(2)) for _ in range(2))
    assert all(same(one, other, trial) for trial in (0, 1))


def test_lanes_that_differ_in_more_than_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="differ"):
        FusedEngine(lanes("mlp", [{"hidden": 8}, {"hidden": 9}]), setting("mlp"))
    with pytest.raises(ValueError, match="differ"):
        FusedEngine(lanes("mlp", [{"activation": "relu"}, {"activation": "tanh"}]), setting("mlp"))


def test_the_lone_engine_is_fit(tmp_path: Any) -> None:
    """Same seeds, same weights as Lightning's Trainer gives."""
    import json

    from safetensors.torch import save_file

    from lit_models.core.data import PreparedData

    cohort = lanes("cnn", [{"dropout": 0.2, "augment_strength": 0.5, "lr": 0.01, "mixup": 0.3}])
    room = setting("cnn", FLOAT, epochs=3)
    save_file({"x": room.data.x, "y": room.data.y}, tmp_path / "train.safetensors")
    save_file({"x": room.data.val_x, "y": room.data.val_y}, tmp_path / "val.safetensors")
    card = {"form": "image", "shape": SPEC.shape, "classes": list("abcd"), "mean": SPEC.mean, "std": SPEC.std}
    card["scale"] = SPEC.scale
    (tmp_path / "card.json").write_text(json.dumps(card))
    engine = run(LoneEngine(cohort, room), range(3))
    config, seed = cohort[0].config, cohort[0].seed
    model = FAMILIES["cnn"](config, SPEC, seed=seed)
    fit(model, PreparedData(tmp_path, None, config, seed), epochs=3, seed=seed, accelerator="cpu")
    for name, value in engine.export_lane(0).items():
        torch.testing.assert_close(value, model.state_dict()[name], rtol=1e-5, atol=1e-6)


def test_the_rule_counts_and_answers_the_same_every_time() -> None:
    small, large = FAMILIES["mlp"].Config(hidden=32), FAMILIES["mlp"].Config(hidden=2048, depth=3)  # type: ignore[call-arg]
    costs = [step_cost(FAMILIES["mlp"], config, SPEC) for config in (small, large)]
    assert costs == [step_cost(FAMILIES["mlp"], config, SPEC) for config in (small, large)]
    assert costs[0].flops == pytest.approx(2 * 64 * (64 * 32 + 32 * 32 + 32 * 4) * 3, rel=0.3)
    assert [choose_engine(cost, "cpu") for cost in costs] == ["fused", "lone"]
    assert choose_lanes(costs[0], "fused", "cpu", 10 * costs[0].bytes + costs[0].shared) == 10
    assert choose_lanes(costs[0], "fused", "cpu", costs[0].bytes + costs[0].shared - 1) == 1
    assert choose_lanes(costs[0], "fused", "cpu", costs[0].bytes - 1) == 0
    with_data = step_cost(FAMILIES["mlp"], small, SPEC, samples=1000)
    assert with_data.shared - costs[0].shared == 1000 * (8 * 8 + 8)


MEMORY = """
import re, torch
from pathlib import Path
def peak():  # not getrusage, which remembers the process that started this one
    return 1024 * int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
torch.set_num_threads(1)
from lit_models import FAMILIES, ImageSpec
from lit_models.cohort.cost import step_cost
from lit_models.cohort.data import CohortData
from lit_models.cohort.engine import Setting
from lit_models.cohort.fused import FusedEngine
from lit_models.cohort.lanes import Lane
spec = ImageSpec(shape=(3, 32, 32), classes=10, mean=(0.3,) * 3, std=(0.4,) * 3, scale=255.0)
x, y = torch.zeros(1024, 3, 32, 32, dtype=torch.uint8), torch.arange(1024) % 10
kind = FAMILIES["cnn"]
lanes = [Lane(n, kind.Config(lr=0.001 * (n + 1)), n) for n in range(8)]
before = peak()
FusedEngine(lanes, Setting(kind, CohortData(x[:128], y[:128], x, y, spec), 5)).run_epoch(0)
cost = step_cost(kind, lanes[0].config, spec)
print(peak() - before, 8 * cost.bytes + cost.shared)
"""


def test_a_cohort_takes_no_more_memory_than_is_counted(environment: Callable[[], dict[str, str]]) -> None:
    """Training and validation of eight lanes, in a process of its own; libraries take some megabytes beside."""
    command = [sys.executable, "-c", MEMORY]
    result = subprocess.run(command, env=environment(), capture_output=True, text=True, check=True)
    taken, counted = map(int, result.stdout.split())
    assert counted / 4 < taken < counted + 32e6
