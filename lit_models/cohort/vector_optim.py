"""The optimizers of `lit_models.core.optim` over many lanes at once: every hyperparameter is a vector of lanes.

Weights, gradients and moments are matrices (lanes, parameters), so that a step costs as many kernels for sixty-four
lanes as for one. The formulas are torch.optim's, term by term.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from lit_models.core.config import FamilyConfig

# On a CPU so many numbers of a matrix are worked on at a time: they and their moments stay in the second cache.
CHUNK = 1 << 16

BETA1, BETA2, EPS = 0.9, 0.999, 1e-8
LOG_BETAS = (math.log(BETA1), math.log(BETA2))
RMSPROP_ALPHA, ADAGRAD_EPS = 0.99, 1e-10


# The kind of optimizer of neighbouring rows, the first of them, and the one after the last.
Run = tuple[str, int, int]


class Slice(NamedTuple):
    """Some lanes' rows: weights `w`, gradients `g`, moments `m` and `v` (n, P); what is a lane's own (n, 1).

    `bias1` and `bias2` are 1 - beta^steps, by which Adam divides its moments.
    """

    w: Tensor
    g: Tensor
    m: Tensor
    v: Tensor
    lr: Tensor
    decay: Tensor
    momentum: Tensor
    bias1: Tensor
    bias2: Tensor


def _sgd(s: Slice) -> None:
    s.w.sub_(s.g.addcmul_(s.w, s.decay).mul_(s.lr))


def _momentum(s: Slice) -> None:
    """Polyak 1964; the first step finds a momentum of zero, which is torch's way of beginning too."""
    s.m.mul_(s.momentum).add_(s.g.addcmul_(s.w, s.decay))
    s.w.sub_(torch.mul(s.m, s.lr, out=s.g))


def _nesterov(s: Slice) -> None:
    s.m.mul_(s.momentum).add_(s.g.addcmul_(s.w, s.decay))
    s.w.sub_(s.g.addcmul_(s.m, s.momentum).mul_(s.lr))


def _moments(s: Slice) -> None:
    s.m.lerp_(s.g, 1 - BETA1)
    s.v.mul_(BETA2).addcmul_(s.g, s.g, value=1 - BETA2)
    root = torch.sqrt(s.v, out=s.g).div_(s.bias2.sqrt()).add_(EPS)
    s.w.sub_(torch.div(s.m, root, out=s.g).mul_(s.lr / s.bias1))


def _adam(s: Slice) -> None:
    """Kingma & Ba 2015."""
    s.g.addcmul_(s.w, s.decay)
    _moments(s)


def _adamw(s: Slice) -> None:
    """Loshchilov & Hutter 2019."""
    s.w.mul_(1 - s.lr * s.decay)
    _moments(s)


def _rmsprop(s: Slice) -> None:
    s.g.addcmul_(s.w, s.decay)
    s.v.mul_(RMSPROP_ALPHA).addcmul_(s.g, s.g, value=1 - RMSPROP_ALPHA)
    s.w.sub_(s.g.div_(s.v.sqrt().add_(EPS)).mul_(s.lr))


def _adagrad(s: Slice) -> None:
    s.g.addcmul_(s.w, s.decay)
    s.v.addcmul_(s.g, s.g)
    s.w.sub_(s.g.div_(s.v.sqrt().add_(ADAGRAD_EPS)).mul_(s.lr))


# The order in which a cohort sorts its lanes, so that each kind's rows are neighbours.
UPDATES: dict[str, Callable[[Slice], None]] = {
    "sgd": _sgd,
    "momentum": _momentum,
    "nesterov": _nesterov,
    "adam": _adam,
    "adamw": _adamw,
    "rmsprop": _rmsprop,
    "adagrad": _adagrad,
}


class VectorOptimizer:
    """Steps all lanes of a cohort.

    Attributes:
        steps: (K, 1) float64, how many steps each lane's moments are made of: not the same for all once a lane has
            taken over another's weights without its moments.

    Args:
        configs: of the lanes, sorted so that those with one kind of optimizer are neighbours.
        weights: (K, P), changed in place by `step`.
    """

    def __init__(self, configs: Sequence[FamilyConfig], weights: Tensor) -> None:
        self.configs = list(configs)
        self.weights = weights
        self.m = torch.zeros_like(weights)
        self.v = torch.zeros_like(weights)
        self.steps = torch.zeros(len(weights), 1, device=weights.device, dtype=torch.float64)
        self._log_betas = self.steps.new_tensor(LOG_BETAS)
        self.decay, self.momentum, self.clip = weights.new_empty(3, len(weights), 1)
        self.clips, self.runs = False, list[Run]()
        self.refresh()

    def refresh(self) -> bool:
        """Take up the hyperparameters of `configs` after they, or the lanes, have changed.

        Returns:
            whether a step is made of other kernels or of other tensors from now on.
        """
        before = (self.clips, self.runs, self.decay.shape)
        names = ("weight_decay", "momentum", "gradient_clip")
        columns = self.weights.new_tensor([[[getattr(c, name)] for c in self.configs] for name in names])
        self.clips = any(config.gradient_clip for config in self.configs)
        self.runs = list(_runs([config.optimizer for config in self.configs]))
        if (self.clips, self.runs, columns[0].shape) != before:
            self.decay, self.momentum, self.clip = columns
            return True
        for own, column in zip((self.decay, self.momentum, self.clip), columns, strict=True):
            own.copy_(column)
        return False

    def step(self, gradients: Tensor, lr: Tensor) -> None:
        """Take one step.

        Args:
            gradients: (K, P); used as working memory.
            lr: (K,) learning rate of each lane at this step.
        """
        self.steps += 1
        if self.clips:
            # torch.nn.utils.clip_grad_norm_, lane by lane.
            factor = (self.clip / (gradients.norm(dim=1, keepdim=True) + 1e-6)).clamp(max=1)
            gradients.mul_(torch.where(self.clip > 0, factor, 1.0))
        rates = lr.unsqueeze(1)
        # In float64: in float32 hardly a digit of the first steps' differences would be left.
        bias1, bias2 = torch.expm1(self.steps * self._log_betas).neg_().to(rates.dtype).unsqueeze(2).unbind(1)
        for name, start, stop in self.runs:
            for rows, columns in self._chunks(start, stop):
                w, g, m, v = (matrix[rows, columns] for matrix in (self.weights, gradients, self.m, self.v))
                own = (column[rows] for column in (rates, self.decay, self.momentum, bias1, bias2))
                UPDATES[name](Slice(w, g, m, v, *own))

    def _chunks(self, start: int, stop: int) -> Iterator[tuple[slice, slice]]:
        width = self.weights.shape[1]
        if self.weights.device.type != "cpu":
            yield slice(start, stop), slice(width)
            return
        size = max(1, CHUNK // max(1, width))
        for first in range(start, stop, size):
            for left in range(0, width, CHUNK):
                yield slice(first, min(first + size, stop)), slice(left, min(left + CHUNK, width))


def _runs(names: Sequence[str]) -> Iterator[Run]:
    """Yield (name, start, stop) of each run of equal names."""
    start = 0
    for place, name in enumerate(names):
        if place + 1 == len(names) or names[place + 1] != name:
            yield name, start, place + 1
            start = place + 1
