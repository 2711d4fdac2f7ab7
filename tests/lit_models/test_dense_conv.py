"""A convolution written out as a matrix is the convolution: for any shape, alone and stacked, forward and backward."""

import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.func import vmap

from lit_models.cohort.dense_conv import dense_conv2d, pays

LANES = 3


def gradients(convolve: object, stacked: bool, inputs: list[Tensor], settings: tuple[object, ...]) -> list[Tensor]:
    """Result and gradients by every input, of all lanes at once or one by one."""

    def lane(*own: Tensor) -> Tensor:
        return convolve(*own, *settings)  # type: ignore[operator, no-any-return]

    leaves = [value.clone().requires_grad_() for value in inputs]
    y = vmap(lane)(*leaves) if stacked else torch.stack([lane(*own) for own in zip(*leaves, strict=True)])
    return [y, *torch.autograd.grad(y.sin().sum(), leaves)]


@settings(max_examples=60, deadline=None)
@given(
    channels=st.integers(1, 3),
    maps=st.integers(1, 3),
    height=st.integers(1, 6),
    width=st.integers(1, 6),
    kernel=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    padding=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    dilation=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    bias=st.booleans(),
)
def test_the_matrix_is_the_convolution(
    channels: int,
    maps: int,
    height: int,
    width: int,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    bias: bool,
) -> None:
    assume(height + 2 * padding[0] > dilation[0] * (kernel[0] - 1))
    assume(width + 2 * padding[1] > dilation[1] * (kernel[1] - 1))
    inputs = [
        torch.randn(LANES, 2, channels, height, width, dtype=torch.float64),
        torch.randn(LANES, maps, channels, *kernel, dtype=torch.float64),
    ]
    if bias:
        inputs.append(torch.randn(LANES, maps, dtype=torch.float64))
    rest = (stride, padding, dilation, 1) if bias else (None, stride, padding, dilation, 1)
    expected = gradients(torch.conv2d, False, inputs, rest)
    for stacked in (True, False):
        for ours, theirs in zip(gradients(dense_conv2d, stacked, inputs, rest), expected, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


def test_only_tiny_images_take_the_dense_way() -> None:
    def asked(size: int, kernel: int, maps: int = 6, groups: int = 1) -> bool:
        x, weight = torch.empty(2, 1, size, size), torch.empty(maps, 1, kernel, kernel)
        return pays(x, weight, None, (1, 1), (kernel // 2, kernel // 2), (1, 1), groups)

    assert asked(8, 5)
    assert not asked(32, 5)  # a matrix of zeros
    assert not asked(8, 3)
    assert not asked(8, 5, maps=64)  # a matrix beyond the cache
    assert not asked(8, 5, groups=2)
