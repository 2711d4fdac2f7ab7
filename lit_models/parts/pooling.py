"""How the steps of a sequence become one vector; padding has no say in it."""

from typing import Literal

import torch
from torch import Tensor, nn

PoolName = Literal["max", "mean", "first", "last", "attention"]


class Pool(nn.Module):
    """Makes one vector of a sequence's steps.

    `attention` is a weighted mean whose weights the steps themselves earn: a perceptron with one hidden layer scores
    each (Bahdanau et al. 2015, as Yang et al., Hierarchical attention networks, 2016, read out with it).

    Args:
        kind: which.
        width: numbers a step.
        both: whether the second half of the numbers was read backwards, so that its last step is the first.
    """

    def __init__(self, kind: PoolName, width: int, both: bool = False) -> None:
        super().__init__()
        self.kind: PoolName = kind
        self.both = both
        if kind == "attention":
            self.hidden, self.score = nn.Linear(width, width), nn.Linear(width, 1, bias=False)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Map (B, T, width) to (B, width).

        Args:
            x: (B, T, width).
            mask: (B, T) bool, false at padding, which is on the right; None if there is none.
        """
        if self.kind == "attention":
            weighted: Tensor = (self.weights(x, mask).unsqueeze(1) @ x).squeeze(1)
            return weighted
        if self.kind == "last" and self.both:
            forwards, backwards = x.chunk(2, dim=2)
            return torch.cat([last(forwards, mask), backwards[:, 0]], dim=1)
        return POOLS[self.kind](x, mask)

    def weights(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return how much each step counts (B, T); rows sum to 1. Of `attention` alone.

        Raises:
            ValueError: the pool is another.
        """
        if self.kind != "attention":
            raise ValueError(f"only attention has weights, not {self.kind}")
        scores: Tensor = self.score(self.hidden(x).tanh()).squeeze(2)
        if mask is not None:
            scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
        return scores.softmax(dim=1)


def largest(x: Tensor, mask: Tensor | None = None) -> Tensor:
    """Return the largest of each number over the steps: (B, T, width) to (B, width); zeros for an empty sequence."""
    if mask is None:
        return x.amax(dim=1)
    most = x.masked_fill(~mask.unsqueeze(2), torch.finfo(x.dtype).min).amax(dim=1)
    return torch.where(mask.any(dim=1, keepdim=True), most, torch.zeros_like(most))


def mean(x: Tensor, mask: Tensor | None = None) -> Tensor:
    """Return the mean over the steps: (B, T, width) to (B, width); zeros for an empty sequence."""
    if mask is None:
        return x.mean(dim=1)
    own = mask.unsqueeze(2).to(x.dtype)
    return (x * own).sum(dim=1) / own.sum(dim=1).clamp(min=1)


def first(x: Tensor, mask: Tensor | None = None) -> Tensor:
    """Return the first step: (B, T, width) to (B, width)."""
    del mask
    return x[:, 0]


def last(x: Tensor, mask: Tensor | None = None) -> Tensor:
    """Return the last step that is no padding: (B, T, width) to (B, width)."""
    if mask is None:
        return x[:, -1]
    place = (mask.sum(dim=1) - 1).clamp(min=0).view(-1, 1, 1)
    return x.gather(1, place.expand(-1, 1, x.shape[2])).squeeze(1)


POOLS = {"max": largest, "mean": mean, "first": first, "last": last}
