"""Policies: what a network's outputs say about the next action."""

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lit_models.specs.control import ControlSpec


class Categorical(nn.Module):
    """One of several actions, by logits (B, actions)."""

    def sample(self, outputs: Tensor, rng: np.random.Generator) -> NDArray[Any]:
        """Draw actions (B,) int64: where the sum of logit and Gumbel noise is largest (Gumbel 1954)."""
        logits = outputs.detach().double().cpu().numpy()
        chosen: NDArray[np.int64] = (logits + rng.gumbel(size=logits.shape)).argmax(1)
        return chosen

    def playable(self, drawn: NDArray[Any]) -> NDArray[Any]:
        """Return the actions as the environment takes them: as they were drawn."""
        return drawn

    def best(self, outputs: Tensor) -> NDArray[Any]:
        """Return the likeliest actions (B,) int64."""
        best: NDArray[np.int64] = outputs.argmax(1).cpu().numpy()
        return best

    def scores(self, outputs: Tensor) -> Tensor:
        """Return the logits (B, actions)."""
        return outputs

    def log_prob(self, outputs: Tensor, actions: Tensor) -> Tensor:
        """Return the logarithms of the probabilities (B,) of actions (B,) int64."""
        return outputs.log_softmax(1).gather(1, actions[:, None])[:, 0]

    def entropy(self, outputs: Tensor) -> Tensor:
        """Return entropies in nats (B,)."""
        logs = outputs.log_softmax(1)
        return -(logs.exp() * logs).sum(1)


class Gaussian(nn.Module):
    """Numbers (B, actions), each normal around an output of the network, with a deviation that no state changes.

    A number is drawn in halves of what its bounds allow, from their middle; one without bounds as it is. What goes
    beyond a bound is cut off on the way to the environment.

    Args:
        spec: how many numbers, and their bounds.
    """

    def __init__(self, spec: ControlSpec) -> None:
        super().__init__()
        pairs = list(zip(spec.low, spec.high, strict=True))
        reach = [(high - low) / 2 if math.isfinite(high - low) else 1.0 for low, high in pairs]
        middle = [(high + low) / 2 if math.isfinite(high - low) else 0.0 for low, high in pairs]
        self.log_std = nn.Parameter(torch.zeros(spec.actions))
        for name, values in (("low", spec.low), ("high", spec.high), ("reach", reach), ("middle", middle)):
            self.register_buffer(name, torch.tensor(values), persistent=False)
        self.low: Tensor
        self.high: Tensor
        self.reach: Tensor
        self.middle: Tensor

    def sample(self, outputs: Tensor, rng: np.random.Generator) -> NDArray[Any]:
        """Draw numbers (B, actions) float32."""
        mean = outputs.detach().double().cpu().numpy()
        std = self.log_std.detach().exp().double().cpu().numpy()
        drawn: NDArray[np.float32] = (mean + std * rng.standard_normal(mean.shape)).astype(np.float32)
        return drawn

    def playable(self, drawn: NDArray[Any]) -> NDArray[Any]:
        """Return numbers (B, actions) float32 within the bounds."""
        return self.best(torch.as_tensor(drawn, dtype=self.reach.dtype, device=self.reach.device))

    def best(self, outputs: Tensor) -> NDArray[Any]:
        """Return the means (B, actions) float32 as the environment takes them."""
        best: NDArray[np.float32] = self.scores(outputs).detach().float().cpu().numpy()
        return best

    def scores(self, outputs: Tensor) -> Tensor:
        """Return the means (B, actions) within the bounds."""
        return (self.middle + self.reach * outputs).clamp(self.low, self.high)

    def log_prob(self, outputs: Tensor, actions: Tensor) -> Tensor:
        """Return the logarithms of the densities (B,) at what was drawn (B, actions)."""
        scaled = (actions - outputs) * (-self.log_std).exp()
        return -(0.5 * scaled.square() + self.log_std + 0.5 * math.log(2 * math.pi)).sum(1)

    def entropy(self, outputs: Tensor) -> Tensor:
        """Return differential entropies in nats (B,)."""
        each = self.log_std + 0.5 * math.log(2 * math.pi * math.e)
        return each.sum().expand(len(outputs))
