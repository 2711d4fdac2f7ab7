"""How an epoch's batches are drawn from the training set.

Each sampler is a pure function of (seed, epoch) and of the state it saves, so that a resumed run draws the
same batches as one that was never interrupted.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor

from lit_models.core.seeds import derive_seed


class Sampler(Protocol):
    """Draws the order of an epoch, and may learn from the losses it is told.

    Attributes:
        learns: whether it has any use for what `observe` tells it.
    """

    learns: bool

    def order(self, epoch: int) -> Tensor:
        """Return the indices (N,) int64 of an epoch, in the order they are visited."""

    def observe(self, index: Tensor, losses: Tensor) -> None:
        """Take note of the losses (B,) that the samples at index (B,) just had."""

    def state_dict(self) -> dict[str, Any]:
        """Return what `load_state_dict` needs to draw on as if nothing had happened."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up the state of another sampler over the same data."""


def draw(weights: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Draw `count` indices with replacement, each in proportion to its weight (N,).

    Unlike `torch.multinomial` it has no limit of 2^24 categories.
    """
    ladder = weights.double().cumsum(0)
    rungs = torch.rand(count, dtype=torch.float64, generator=generator) * ladder[-1]
    return torch.searchsorted(ladder, rungs, right=True).clamp_(max=len(weights) - 1)


class ShuffleSampler:
    """Every sample once an epoch, in a new random order."""

    learns = False

    def __init__(self, labels: Tensor, seed: int) -> None:
        self.count = len(labels)
        self.seed = seed

    def generator(self, epoch: int) -> torch.Generator:
        """Return a fresh generator that depends on (seed, epoch) alone."""
        return torch.Generator().manual_seed(derive_seed(self.seed, epoch))

    def order(self, epoch: int) -> Tensor:
        """Return a permutation (N,) int64."""
        return torch.randperm(self.count, generator=self.generator(epoch))

    def observe(self, index: Tensor, losses: Tensor) -> None:
        """Ignore the losses."""

    def state_dict(self) -> dict[str, Any]:
        """Return nothing: (seed, epoch) says it all."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take nothing."""


class BalancedSampler(ShuffleSampler):
    """Draws with replacement so that all classes are equally likely, however skewed the set is."""

    def __init__(self, labels: Tensor, seed: int) -> None:
        super().__init__(labels, seed)
        self.weights = labels.bincount().double().reciprocal()[labels]

    def order(self, epoch: int) -> Tensor:
        """Return N draws (N,) int64."""
        return draw(self.weights, self.count, self.generator(epoch))


class HardSampler(ShuffleSampler):
    """Draws in proportion to a moving average of each sample's loss.

    In the spirit of Loshchilov & Hutter, Online Batch Selection, 2016. A tenth of the draws stays uniform, so
    that no sample is forgotten for ever.
    """

    learns = True
    DECAY = 0.5
    UNIFORM = 0.1

    def __init__(self, labels: Tensor, seed: int) -> None:
        super().__init__(labels, seed)
        classes = int(labels.max()) + 1 if len(labels) else 1
        # An unseen sample counts as one that the model merely guesses.
        self.average = torch.full((self.count,), math.log(max(2, classes)), dtype=torch.float64)
        self.seen: list[tuple[Tensor, Tensor]] = []

    def order(self, epoch: int) -> Tensor:
        """Return N draws (N,) int64."""
        self._fold()
        share = self.average / self.average.sum().clamp_min(1e-12)
        weights = (1 - self.UNIFORM) * share + self.UNIFORM / self.count
        return draw(weights, self.count, self.generator(epoch))

    def observe(self, index: Tensor, losses: Tensor) -> None:
        """Keep the losses where they are; they are folded in once an epoch, without a sync per step."""
        self.seen.append((index, losses.detach()))

    def _fold(self) -> None:
        if not self.seen:
            return
        index = torch.cat([index for index, _ in self.seen]).cpu()
        losses = torch.cat([losses for _, losses in self.seen]).cpu().double()
        self.seen = []
        losses = losses.nan_to_num(nan=0.0, posinf=1e6).clamp(0, 1e6)
        total = torch.zeros_like(self.average).index_add_(0, index, losses)
        times = torch.zeros_like(self.average).index_add_(0, index, torch.ones_like(losses))
        mean = total / times.clamp_min(1)
        moved = self.DECAY * self.average + (1 - self.DECAY) * mean
        self.average = torch.where(times > 0, moved, self.average)

    def state_dict(self) -> dict[str, Any]:
        """Return the moving averages (N,)."""
        self._fold()
        return {"average": self.average}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up the moving averages (N,).

        Raises:
            ValueError: they belong to a training set of another size.
        """
        if len(state["average"]) != self.count:
            raise ValueError(f"sampler state of {len(state['average'])} samples for a set of {self.count}")
        self.average = state["average"].clone()
        self.seen = []


SAMPLERS: dict[str, Callable[[Tensor, int], Sampler]] = {
    "shuffle": ShuffleSampler,
    "balanced": BalancedSampler,
    "hard": HardSampler,
}
