"""Layers that more than one family uses."""

from math import prod

import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from lit_models.core import noise

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "gelu": nn.GELU, "tanh": nn.Tanh}


class Dropout(nn.Module):
    """Drop units in training and scale the rest up (Srivastava et al. 2014), each lane of a cohort by its own draw.

    Draws from the step's `Noise`, or from torch's global generator where none is active. In a cohort `p` may be a
    tensor, a lane's scalar.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p: float | Tensor = p

    def extra_repr(self) -> str:
        """Show the probability."""
        return f"p={self.p}"

    def forward(self, x: Tensor) -> Tensor:
        """Map a tensor of any shape to the same shape."""
        return drop(x, self.p, x.shape) if self.training else x


class StochasticDepth(nn.Module):
    """Drop a residual branch for each sample on its own (Huang et al., Stochastic depth, 2016).

    What stays is divided by its probability in training, so that the expectation is the same as in evaluation
    (the paper scales in evaluation instead).
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p: float | Tensor = p

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, ...) to the same shape."""
        return drop(x, self.p, (x.shape[0], *(1 for _ in x.shape[1:]))) if self.training else x


def drop(x: Tensor, p: float | Tensor, shape: tuple[int, ...]) -> Tensor:
    """Set entries of `x` to zero with probability `p` and scale the rest by 1 / (1 - p).

    Args:
        x: any shape.
        p: in [0, 1), a number or a lane's scalar.
        shape: of the mask; 1 where it is the same along a dimension.
    """
    source = noise.active()
    if source is None:
        return x * F.dropout(x.new_ones(shape), float(p))
    if not isinstance(p, Tensor) and p == 0:
        source.skip(prod(shape))
        return x
    return x * (source.keep(shape, p, x.device).to(x.dtype) * (1 / (1 - p)))
