"""What families that learn by acting share: hyperparameters, the greedy policy, and the episodes it is judged by."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from itertools import pairwise
from typing import ClassVar, Literal, Self

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from lit_models.core.base import LitModel
from lit_models.core.config import FamilyConfig, InitName
from lit_models.core.layers import ACTIVATIONS, Dropout
from lit_models.core.noise import Noise, drawing
from lit_models.core.precision import half_precision
from lit_models.parts.environments import Actions, Environments, Observations, play
from lit_models.specs.control import ControlSpec

__all__ = ["ControlConfig", "ControlModel", "ControlSpec", "perceptron"]


class ControlConfig(FamilyConfig):
    """Hyperparameters that all families of control have."""

    init: InitName = Field("default", description="how weights begin; `default` is orthogonal")
    hidden: int = Field(64, ge=1, le=65536, description="units of each hidden layer")
    depth: int = Field(2, ge=1, le=100, description="hidden layers")
    activation: Literal["relu", "gelu", "tanh"] = Field("tanh", description="nonlinearity")
    discount: float = Field(0.99, ge=0, le=1, description="worth of a reward one step later")
    environments: int = Field(8, ge=1, le=4096, description="environments that are acted in side by side")

    @model_validator(mode="after")
    def _nothing_without_effect(self) -> Self:
        if self.sampling != "shuffle":
            raise ValueError("sampling must be shuffle: what is learnt from comes out of environments")
        if self.label_smoothing:
            raise ValueError("label_smoothing must be 0: there are no labels")
        return self


def perceptron(config: ControlConfig, inputs: int, outputs: int, gain: float) -> nn.Sequential:
    """Build layers that map (B, inputs) to (B, outputs).

    Weights are orthogonal (Saxe et al. 2014), biases zero: sqrt(2) in hidden layers, `gain` in the last. A policy that
    begins with a small gain tries everything (Andrychowicz et al., What matters in on-policy RL, 2021).
    """
    layers: list[nn.Module] = []
    widths = [inputs, *[config.hidden] * config.depth]
    for before, after in pairwise(widths):
        layers += [_orthogonal(before, after, 2**0.5), ACTIVATIONS[config.activation](), Dropout(config.dropout)]
    return nn.Sequential(*layers, _orthogonal(widths[-1], outputs, gain))


def _orthogonal(inputs: int, outputs: int, gain: float) -> nn.Linear:
    layer = nn.Linear(inputs, outputs)
    nn.init.orthogonal_(layer.weight, gain)
    nn.init.zeros_(layer.bias)
    return layer


class ControlModel(LitModel):
    """A policy. Its loss on validation data is minus the mean return of greedy episodes; one that is solved is a hit.

    An epoch begins with environments made anew from (seed, epoch), so that nothing of them need be saved for a
    training to go on in the same bits. Rollouts should be as long as an episode may be: what comes after is never seen.
    """

    Config: ClassVar[type[FamilyConfig]] = ControlConfig
    FORMS: ClassVar[tuple[str, ...]] = ("control",)
    ALONE: ClassVar[str] = "it acts in environments between its steps, and each lane would have to act in its own"
    config: ControlConfig
    spec: ControlSpec

    def __init__(self, config: ControlConfig, spec: ControlSpec, seed: int = 0) -> None:
        super().__init__(config, spec, seed)
        self.register_buffer("mean", torch.tensor(spec.mean), persistent=False)
        self.register_buffer("std", torch.tensor(spec.std), persistent=False)
        self.mean: Tensor
        self.std: Tensor
        self._environments: Environments | None = None

    def normalize(self, observations: Tensor) -> Tensor:
        """Bring observations (B, observation) to the network's type, mean 0 and deviation 1."""
        return (observations.to(self.anchor) - self.mean) / self.std

    def forward(self, x: Tensor) -> Tensor:
        """Map observations (B, observation) to the worth of each action (B, actions), or to an action of numbers."""
        outputs: Tensor = self.network(self.normalize(x))
        return outputs

    def best(self, observations: Observations) -> Actions:
        """Return the greedy actions in these observations (E, observation)."""
        best: Actions = self(torch.from_numpy(observations)).argmax(1).cpu().numpy()
        return best

    @contextmanager
    def acting(self) -> Iterator[None]:
        """Let the network act: without gradients and dropout."""
        was = self.training
        self.eval()
        try:
            with torch.no_grad():
                yield
        finally:
            self.train(was)

    @contextmanager
    def learning(self, key: int | Tensor) -> Iterator[None]:
        """Let the network compute what is learnt from: with the step's dropout, in the configured precision."""
        half = half_precision(self.anchor.device.type) if self.config.precision == "bf16" else nullcontext()
        with drawing(Noise(key)), half:
            yield

    def environments(self) -> Environments:
        """Return the environments of this epoch; the first to ask has them made."""
        if self._environments is None:
            self._environments = Environments(self.spec, self.config.environments, int(self.noise.rng.integers(2**31)))
        return self._environments

    def seed_epoch(self, seed: int, epoch: int) -> None:
        """Seed all that is random in an epoch, and leave the environments of the last."""
        super().seed_epoch(seed, epoch)
        self._leave()

    def release(self) -> None:
        """Let go of what training needs."""
        super().release()
        self._leave()

    def _leave(self) -> None:
        if self._environments is not None:
            self._environments.close()
            self._environments = None

    def validation_sums(self, x: Tensor, y: Tensor) -> Tensor:
        """Play the episodes with the seeds x (B,) greedily.

        Returns:
            (2,): minus the sum of their returns, and how many are solved.
        """
        del y
        with self.acting():
            returns = play(self.spec, x.tolist(), self.best).returns
        solved = np.count_nonzero(returns >= self.spec.threshold)
        return torch.tensor([-returns.sum(), solved], dtype=self.anchor.dtype, device=self.anchor.device)
