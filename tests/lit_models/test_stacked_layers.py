"""Layers of stacked lanes are those of torch, however they are called, and keep a lane's bits whoever is beside it."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.func import vmap
from torch.utils.flop_counter import FlopCounterMode

from lit_models.cohort.stacked_layers import StackedLayers, lane_by_lane

LANES = 3
Call = Callable[..., Tensor]
CALLS: dict[str, Call] = {
    "plain": torch.conv2d,
    "pairs": lambda x, w, b: torch.conv2d(x, w, b, (2, 1), (1, 2), (1, 2), 1),
    "numbers": lambda x, w, b: F.conv2d(x, w, b, 1, 2),
    "lists of one": lambda x, w, b: F.conv2d(x, w, b, [2], [1]),
    "keywords": lambda x, w, b: F.conv2d(x, weight=w, bias=b, padding=1, stride=2),
    "words": lambda x, w, b: F.conv2d(x, w, b, padding="same"),
    "no bias": lambda x, w, b: F.conv2d(x, w, None, 1, 1) + b.mean(),
    "no batch": lambda x, w, b: F.conv2d(x[0], w, b, padding=1),
}


def results(call: Call, inputs: list[Tensor], in_dims: tuple[int | None, ...], ours: bool) -> list[Tensor]:
    """Output and gradients; `ours` under the mode and `vmap`, otherwise lane by lane by hand."""
    leaves = [value.clone().requires_grad_() for value in inputs]
    if ours:
        with StackedLayers():
            y = vmap(call, in_dims)(*leaves)
    else:
        own = [leaf.unbind() if dim == 0 else [leaf] * LANES for leaf, dim in zip(leaves, in_dims, strict=True)]
        y = torch.stack([call(*one) for one in zip(*own, strict=True)])
    return [y, *torch.autograd.grad(y.sin().sum(), leaves)]


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("side", [4, 9], ids=["dense", "lane by lane"])
@pytest.mark.parametrize("in_dims", [(0, 0, 0), (None, 0, 0), (0, None, None)], ids=str)
def test_every_call_of_a_convolution(name: str, side: int, in_dims: tuple[int | None, ...]) -> None:
    shapes = ((2, 2, side, side), (5, 2, 3, 3), (5,))
    inputs = [
        torch.randn(*([LANES] if dim == 0 else []), *shape, dtype=torch.float64)
        for shape, dim in zip(shapes, in_dims, strict=True)
    ]
    found, expected = (results(CALLS[name], inputs, in_dims, ours) for ours in (True, False))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("shape", [(6, 5), (6, 5, 3, 3)], ids=str)
@pytest.mark.parametrize("training", [True, False])
def test_batch_norms_and_their_statistics(shape: tuple[int, ...], training: bool) -> None:
    statistics = [torch.zeros(LANES, 5, dtype=torch.float64), torch.ones(LANES, 5, dtype=torch.float64)]
    inputs = [torch.randn(LANES, *shape, dtype=torch.float64), *(torch.rand(2, LANES, 5, dtype=torch.float64))]
    both = []
    for ours in (True, False):
        m, v = (value.clone() for value in statistics)
        leaves = [value.clone().requires_grad_() for value in inputs]

        def call(x: Tensor, w: Tensor, b: Tensor, m: Tensor, v: Tensor) -> Tensor:
            return F.batch_norm(x, m, v, weight=w, bias=b, training=training)

        if ours:
            with StackedLayers():
                y = vmap(call)(*leaves, m, v)
        else:
            y = torch.stack([call(*one) for one in zip(*leaves, m, v, strict=True)])
        both.append([y, *torch.autograd.grad(y.sin().sum(), leaves), m, v])
    for one, other in zip(*both, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)
    assert torch.equal(both[0][-1], statistics[1]) != training


def test_what_has_no_lanes_is_differentiated_too() -> None:
    x, w = torch.randn(2, 2, 9, 9, dtype=torch.float64), torch.randn(5, 2, 3, 3, dtype=torch.float64)
    leaf, same = (w.clone().requires_grad_() for _ in range(2))
    with StackedLayers():
        y = F.conv2d(x, leaf, None, 1, 1)
    z = F.conv2d(x, same, None, 1, 1)
    assert torch.equal(y, z)
    torch.testing.assert_close(*(torch.autograd.grad(v.sin().sum(), u)[0] for v, u in ((y, leaf), (z, same))))
    assert torch.equal(lane_by_lane(torch.add, x, x), 2 * x)


def test_only_tiny_images_take_the_dense_way_and_nothing_is_grouped() -> None:
    def kernels(side: int) -> dict[Any, int]:
        x, weight = torch.randn(LANES, 2, 1, side, side), torch.randn(LANES, 6, 1, 5, 5)
        with StackedLayers(), FlopCounterMode(display=False) as counter:
            vmap(lambda x, w: torch.relu(F.conv2d(x, w, None, 1, 2)))(x, weight)
        return counter.get_flop_counts()["Global"]

    assert set(kernels(4)) == {torch.ops.aten.bmm}
    assert set(kernels(16)) == {torch.ops.aten.convolution}


@pytest.mark.parametrize("kind", ["matrix", "convolution", "batch norm", "batch norm of pixels"])
def test_a_lane_s_bits_depend_on_nobody(kind: str) -> None:
    """Float32, one thread: whatever lanes are beside it, forward and backward."""
    layer: nn.Module = {
        "matrix": nn.Linear(33, 33),
        "convolution": nn.Conv2d(3, 7, 3, padding=1),
        "batch norm": nn.BatchNorm1d(33),
        "batch norm of pixels": nn.BatchNorm2d(3),
    }[kind]
    shape = (6, 3, 9, 9) if kind in ("convolution", "batch norm of pixels") else (6, 33)
    names = [name for name, _ in layer.named_parameters()]
    stacked = [torch.randn(17, *parameter.shape) for parameter in layer.parameters()]
    buffers = {name: torch.stack([value] * 17) for name, value in layer.named_buffers()}
    x = torch.randn(17, *shape)

    def run(rows: list[int]) -> list[Tensor]:
        leaves = [value[rows].requires_grad_() for value in (x, *stacked)]

        def call(own: dict[str, Tensor], x: Tensor, *parameters: Tensor) -> Tensor:
            named = dict(zip(names, parameters, strict=True))
            y: Tensor = torch.func.functional_call(layer, {**own, **named}, (x,))
            return y

        with StackedLayers():
            y = vmap(call)({name: value[rows] for name, value in buffers.items()}, *leaves)
        return [y, *torch.autograd.grad(y.sin().sum(), leaves)]

    everyone = run(list(range(17)))
    for rows in ([2, 5, 7], [12, 3], [0, *range(2, 17)]):
        assert all(torch.equal(a[rows], b) for a, b in zip(everyone, run(rows), strict=True))
