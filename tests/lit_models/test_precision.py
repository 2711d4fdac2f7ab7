"""bfloat16 means the same alone and stacked: layers in half precision, norms in full."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor
from torch.func import vmap

from lit_models.cohort.cost import obstacle
from lit_models.cohort.fused import FusedEngine
from lit_models.cohort.lone import LoneEngine
from lit_models.cohort.stacked_layers import StackedLayers
from lit_models.core.precision import half_precision
from tests.lit_models.cohorts import lanes, setting
from tests.lit_models.samples import FUSED

FLOAT = torch.float32
ROUNDING = 2.0**-8  # of one bfloat16
LAYERS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "linear": lambda x, w: F.linear(x.flatten(1), w.flatten(1)),
    "convolution, lane by lane": lambda x, w: F.conv2d(x, w[:, :, :3, :3]),
    "convolution, dense": lambda x, w: F.conv2d(x, w[:, :, :7, :7], padding=3),
    "convolution by keywords": lambda x, w: F.conv2d(input=x, weight=w[:, :, :3, :3]),
}
NORMS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "batch norm": lambda x, w: F.batch_norm(x, None, None, w[0, :, 0, 0], training=True),
    "layer norm": lambda x, w: F.layer_norm(x, [8], w[0, 0, 0]),
    "group norm": lambda x, w: F.group_norm(x, 2, w[0, :, 0, 0]),
}


@pytest.mark.parametrize("name", [*LAYERS, *NORMS])
@pytest.mark.parametrize("stacked", [True, False])
def test_layers_are_halved_and_norms_are_not(name: str, stacked: bool) -> None:
    x, w = torch.randn(3, 4, 2, 8, 8), torch.randn(3, 5, 2, 8, 8)
    seen = []

    def call(x: Tensor, w: Tensor) -> Tensor:
        with half_precision("cpu"):
            y = LAYERS[name](x, w) if name in LAYERS else NORMS[name](x.bfloat16(), w)
        seen.append(y.dtype)
        return y.float()

    with StackedLayers():
        y = vmap(call)(x, w) if stacked else call(x[0], w[0])
    assert seen == [torch.bfloat16 if name in LAYERS else FLOAT]
    assert y.isfinite().all()


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("family", FUSED)
def test_the_first_steps_are_the_same_fused_and_alone(family: str, batch_norm: bool) -> None:
    """Three steps; losses within four roundings of bfloat16."""
    tricks = {"batch_size": 16, "batch_norm": batch_norm, "augment_strength": 0.5}
    cohort = lanes(family, [{**tricks, "precision": "bf16", "dropout": p, "lr": 0.001} for p in (0.0, 0.1, 0.3)])
    room = setting(family, FLOAT)
    assert obstacle(cohort[:2], room) == ""
    fused, lone = (kind(cohort, room).run_epoch(0) for kind in (FusedEngine, LoneEngine))
    full = LoneEngine(lanes(family, [{**tricks, "lr": 0.001}]), room).run_epoch(0)
    assert lone[0].train_loss != full[0].train_loss
    for trial, figures in lone.items():
        assert fused[trial].train_loss == pytest.approx(figures.train_loss, rel=4 * ROUNDING)
        assert fused[trial].val_loss == pytest.approx(figures.val_loss, rel=4 * ROUNDING)


@pytest.mark.parametrize("family", FUSED)
def test_it_trains(family: str) -> None:
    cohort = lanes(family, [{"precision": "bf16", "lr": lr} for lr in (0.005, 0.01)])
    for engine in (FusedEngine(cohort, setting(family, FLOAT)), LoneEngine(cohort, setting(family, FLOAT))):
        losses = [engine.run_epoch(epoch) for epoch in range(5)]
        assert all(losses[-1][trial].train_loss < losses[0][trial].train_loss for trial in (0, 1))
        assert all(value.dtype == FLOAT for name, value in engine.export_lane(0).items() if "num_batches" not in name)
