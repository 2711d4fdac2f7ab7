"""Steps through torch.compile are the steps of the eager engine, in float64, whatever the shapes."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from lit_models.cohort import compiled
from lit_models.cohort.cost import obstacle
from lit_models.cohort.engine import Setting
from lit_models.cohort.fused import FusedEngine
from tests.lit_models.cohorts import difference, lanes, same, setting

LANES: list[dict[str, Any]] = [{"dropout": 0.2, "lr": 0.01}, {"dropout": 0.1, "lr": 0.02}, {"dropout": 0.3}]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What is compiled lies in the test's folder, and was compiled by no earlier run."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "compiled"))
    yield
    torch.compiler.reset()


def few(family: str, count: int) -> Setting:
    """The usual setting with the first `count` samples; batches have 8."""
    usual = setting(family)
    return replace(usual, data=replace(usual.data, x=usual.data.x[:count], y=usual.data.y[:count]))


def pair(family: str, configs: list[dict[str, Any]], where: Setting) -> tuple[FusedEngine, FusedEngine]:
    cohort = lanes(family, configs)
    return FusedEngine(cohort, where), FusedEngine(cohort, replace(where, compiled=True))


def test_an_mlp_through_inductor_with_a_short_last_batch() -> None:
    eager, fast = pair("mlp", [{**config, "depth": 1} for config in LANES], few("mlp", 14))
    for epoch in range(4):
        ours, theirs = fast.run_epoch(epoch), eager.run_epoch(epoch)
        assert all(ours[t].train_loss == pytest.approx(theirs[t].train_loss, rel=1e-12) for t in range(3))
    assert max(difference(fast, eager, trial) for trial in range(3)) < 1e-12


def test_a_cnn_through_inductor() -> None:
    eager, fast = pair("cnn", LANES, few("cnn", 16))
    for epoch in range(4):
        ours, theirs = fast.run_epoch(epoch), eager.run_epoch(epoch)
        assert all(ours[t].train_loss == pytest.approx(theirs[t].train_loss, rel=1e-12) for t in range(3))
    assert max(difference(fast, eager, trial) for trial in range(3)) < 1e-12


def test_dropped_and_copied_lanes_keep_every_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four sets of shapes, and buffers; the graph's own operators, without inductor's kernels."""
    monkeypatch.setattr(compiled, "BACKEND", "aot_eager")
    monkeypatch.setattr(compiled, "MODE", {"cpu": None})
    tricks = {"depth": 1, "batch_norm": True, "mixup": 0.3, "sampling": "hard"}
    eager, fast = pair("mlp", [{**config, **tricks} for config in LANES], few("mlp", 14))
    for engine in (eager, fast):
        engine.run_epoch(0)
        engine.keep((0, 2))
        engine.run_epoch(1)
        engine.copy(2, 0, engine.lanes[1].config.model_copy(update={"dropout": 0.15, "lr": 0.005}))
    assert eager.run_epoch(2) == fast.run_epoch(2)
    assert all(same(eager, fast, trial) for trial in (0, 2))


def test_what_cannot_be_compiled_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "file" / "cache"))
    said = obstacle(lanes("mlp", LANES[:2]), replace(setting("mlp"), compiled=True))
    assert said.startswith("torch.compile failed: ")
    assert "\n" not in said
    assert obstacle(lanes("mlp", LANES[:2]), setting("mlp")) == ""
