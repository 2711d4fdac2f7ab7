"""Max pooling by rows is torch's, to the bit and the choice among equals: alone and stacked, forward and backward."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.func import vmap

from lit_models.cohort.stacked_layers import StackedLayers
from lit_models.cohort.stacked_pooling import max_pool2x2


def both(pool: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
    """What a pooling gives, and the gradient of a sum in which every number of it has a weight of its own."""
    leaf = x.clone().requires_grad_()
    y = pool(leaf)
    weights = torch.arange(1.0, y.numel() + 1, dtype=x.dtype).view(y.shape)
    return y.detach(), torch.autograd.grad((y * weights).sum(), leaf)[0]


@settings(max_examples=60, deadline=None)
@given(
    lanes=st.integers(1, 3),
    images=st.integers(1, 3),
    channels=st.integers(1, 3),
    height=st.integers(1, 5),
    width=st.integers(1, 5),
    seed=st.integers(0, 1000),
    channels_last=st.booleans(),
    dtype=st.sampled_from([torch.float32, torch.float64, torch.bfloat16]),
)
def test_it_is_torchs_own_pooling(
    lanes: int, images: int, channels: int, height: int, width: int, seed: int, channels_last: bool, dtype: torch.dtype
) -> None:
    generator = torch.Generator().manual_seed(seed)
    # Of so few numbers many are equal, as they are where an image is blank: then the first has the gradient.
    x = torch.randint(-1, 2, (lanes, images, channels, 2 * height, 2 * width), generator=generator).to(dtype)
    if channels_last:
        x = x.movedim(2, -1).contiguous().movedim(-1, 2)
    expected = both(lambda x: torch.stack([F.max_pool2d(lane, 2) for lane in x]), x)
    for pool in (max_pool2x2, vmap(max_pool2x2), vmap(max_pool2x2, in_dims=1, out_dims=1)):
        for ours, theirs in zip(both(pool, x), expected, strict=True):
            assert torch.equal(ours, theirs)


def test_what_is_not_finite_stays_so() -> None:
    x = torch.tensor([[float("nan"), 1.0, float("inf"), 1.0], [2.0, 0.0, 3.0, -float("inf")]])
    assert torch.equal(max_pool2x2(x).isnan(), torch.tensor([[True, False]]))
    assert max_pool2x2(x)[0, 1] == float("inf")


@pytest.mark.parametrize(
    ("size", "layout", "expected"),
    [
        ((4, 6), {"kernel_size": 2}, True),
        ((4, 6), {"kernel_size": (2, 2), "stride": 2, "ceil_mode": True}, True),
        ((5, 6), {"kernel_size": 2}, False),
        ((6, 5), {"kernel_size": 2}, False),
        ((6, 6), {"kernel_size": 3}, False),
        ((6, 6), {"kernel_size": (2, 3)}, False),
        ((6, 6), {"kernel_size": 2, "stride": 1}, False),
        ((6, 6), {"kernel_size": 2, "padding": 1}, False),
        ((6, 6), {"kernel_size": 2, "dilation": 2}, False),
    ],
)
def test_only_squares_that_cover_the_image_go_this_way(
    size: tuple[int, int], layout: dict[str, object], expected: bool
) -> None:
    x = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0))
    with StackedLayers():
        pooled = vmap(lambda x: F.max_pool2d(x, **layout))(x)  # type: ignore[arg-type]
        _, indices = F.max_pool2d(x, **layout, return_indices=True)  # type: ignore[arg-type]
    assert torch.equal(pooled, F.max_pool2d(x, **layout))  # type: ignore[arg-type]
    assert torch.equal(indices, F.max_pool2d(x, **layout, return_indices=True)[1])  # type: ignore[arg-type]
    assert ("MaxPool2D" not in _kernels(x, layout)) is expected


def _kernels(x: Tensor, layout: dict[str, object]) -> str:
    with StackedLayers():
        return str(vmap(lambda x: F.max_pool2d(x, **layout))(x.clone().requires_grad_()).grad_fn)  # type: ignore[arg-type]
