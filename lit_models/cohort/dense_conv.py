"""Convolutions of tiny images as products with dense matrices, which is how a CPU trains stacked ones fastest.

Stacked lanes make a grouped convolution, and a CPU's library runs that at a small part of its speed: the groups of
a small network fill no vector. A kernel of 5x5 meets most pixels of a 4x4 or 8x8 image at every place anyway, so the
convolution is written out as the matrix that it is, (C·H·W, O·H'·W') for each lane, and multiplied. Forward and
backward of LeNet's two convolutions on 8x8 images take half of the time or less, 32 lanes on one thread. It pays as
long as a lane's matrix stays in the cache. On a GPU, cuDNN takes some such convolutions apart into a kernel a lane.
"""

from collections.abc import Sequence
from functools import lru_cache

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

# Multiplications of the matrix for each one of the convolution, most of them by zero, up to which it is faster.
MOST_WASTE = 4.0
# Entries of a lane's matrix, beyond which writing it out costs more than it gains: 128 kB in float32.
MOST_ENTRIES = 1 << 15


def pays(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sequence[int] = (1, 1),
    padding: Sequence[int] | str = (0, 0),
    dilation: Sequence[int] = (1, 1),
    groups: int = 1,
) -> bool:
    """Whether the dense way is faster; arguments as those of `torch.conv2d`, x (B, C, H, W), weight (O, C, h, w)."""
    if groups != 1 or isinstance(padding, str):
        return False
    (_, channels, *sides), (maps, _, *kernel) = x.shape, weight.shape
    pixels = sides[0] * sides[1]
    places = [_places(*one) for one in zip(sides, kernel, stride, padding, dilation, strict=True)]
    entries = channels * pixels * maps * places[0] * places[1]
    return pixels <= MOST_WASTE * kernel[0] * kernel[1] and entries <= MOST_ENTRIES


def _places(side: int, kernel: int, stride: int, padding: int, dilation: int) -> int:
    return (side + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1


def dense_conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sequence[int] = (1, 1),
    padding: Sequence[int] = (0, 0),
    dilation: Sequence[int] = (1, 1),
    groups: int = 1,
) -> Tensor:
    """Return `torch.conv2d` of the same arguments: (B, C, H, W) and (O, C, h, w) to (B, O, H', W')."""
    del groups  # one, as `pays` has seen
    (_, channels, *sides), (maps, _, *kernel) = x.shape, weight.shape
    axes = tuple(tuple(map(int, one)) for one in zip(sides, kernel, stride, padding, dilation, strict=True))
    places = [_places(*one) for one in axes]
    index = _entries(channels, maps, axes, x.device)
    # One weight more, which is zero: it stands wherever the kernel does not reach.
    matrix = F.pad(weight.reshape(-1), (0, 1)).index_select(0, index).view(channels * sides[0] * sides[1], -1)
    y = (x.flatten(1) @ matrix).view(-1, maps, *places)
    return y if bias is None else y + bias.view(-1, 1, 1)


@lru_cache(maxsize=64)
def _entries(channels: int, maps: int, axes: tuple[tuple[int, ...], ...], device: torch.device) -> Tensor:
    """Which weight each entry of the matrix is: (C·H·W · O·H'·W') int64, row by row."""
    rows, columns = (_taps(*one) for one in axes)
    h, w = axes[0][1], axes[1][1]
    channel = torch.arange(channels).view(-1, 1, 1, 1, 1, 1)
    map_ = torch.arange(maps).view(1, 1, 1, -1, 1, 1)
    row, column = rows.view(1, len(rows), 1, 1, -1, 1), columns.view(1, 1, len(columns), 1, 1, -1)
    weight = ((map_ * channels + channel) * h + row) * w + column
    reached = (row >= 0) & (column >= 0)
    return torch.where(reached, weight, maps * channels * h * w).reshape(-1).to(device)


def _taps(side: int, kernel: int, stride: int, padding: int, dilation: int) -> Tensor:
    """Which of a kernel's rows meets which pixel at which place: (side, places) int64, -1 for none."""
    offset = (
        torch.arange(side).view(-1, 1)
        + padding
        - stride * torch.arange(_places(side, kernel, stride, padding, dilation))
    )
    tap = offset // dilation
    return torch.where((offset >= 0) & (offset % dilation == 0) & (tap < kernel), tap, -1)
