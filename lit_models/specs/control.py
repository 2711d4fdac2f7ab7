"""What a model must know of the environment that it learns to control."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from lit_models.specs.base import DataSpec


@dataclass(frozen=True)
class ControlSpec(DataSpec):
    """A gymnasium environment with its wrappers. `x` (N,) int64, `y` (N,) int64, all zero.

    There is no data set: an epoch of training has N positions, 0 .. N-1, and in the validation and test parts `x` are
    the seeds of the episodes that a policy is judged by. A network sees `(observation - mean) / std`.

    Attributes:
        environment: the id that gymnasium knows it by.
        options: its keyword arguments, (name, value) each.
        time_limit: steps after which an episode is cut off.
        flatten: whether observations are flattened, for they are no vectors (numbers of states become one-hot).
        observation: numbers in an observation.
        discrete: whether an action is one of `actions`, or that many numbers.
        actions: how many there are to choose from, or numbers in an action.
        low: the least that each number of an action may be; empty if discrete.
        high: the most.
        mean: taken from each number of an observation.
        std: each is divided by, positive.
        reward_scale: factor on the rewards of training; returns are reported without it.
        threshold: return from which an episode counts as solved.
        positions: of an epoch of training.
        classes: 0, for targets mean nothing.
    """

    form: ClassVar[str] = "control"

    environment: str
    options: tuple[tuple[str, Any], ...]
    time_limit: int
    flatten: bool
    observation: int
    discrete: bool
    actions: int
    low: tuple[float, ...]
    high: tuple[float, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    reward_scale: float
    threshold: float
    positions: int
    classes: int = 0

    def __post_init__(self) -> None:
        """Refuse what no policy could be built on.

        Raises:
            ValueError: naming the field that is wrong.
        """
        for name in ("time_limit", "observation", "actions", "positions"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        for name, length in (("mean", self.observation), ("std", self.observation)):
            if len(getattr(self, name)) != length:
                raise ValueError(f"{name} has {len(getattr(self, name))} values for {length} numbers observed")
        bounds = 0 if self.discrete else self.actions
        if len(self.low) != bounds or len(self.high) != bounds:
            raise ValueError(f"low and high must have {bounds} values")
        if min(self.std) <= 0:
            raise ValueError("std must be positive")

    @classmethod
    def read(cls, folder: Path, card: dict[str, Any]) -> Self:
        """Take environment, spaces and wrappers from the card; a bound that is null is none."""
        del folder
        wrappers = card["wrappers"]
        infinity = float("inf")
        return cls(
            environment=str(card["environment"]),
            options=tuple(sorted(card["options"].items())),
            time_limit=int(wrappers["time_limit"]),
            flatten=bool(wrappers["flatten"]),
            observation=int(card["observation"]),
            discrete=bool(card["discrete"]),
            actions=int(card["actions"]),
            low=tuple(-infinity if bound is None else float(bound) for bound in card["low"]),
            high=tuple(infinity if bound is None else float(bound) for bound in card["high"]),
            mean=tuple(float(value) for value in wrappers["mean"]),
            std=tuple(float(value) for value in wrappers["std"]),
            reward_scale=float(wrappers["reward_scale"]),
            threshold=float(card["threshold"]),
            positions=int(card["positions"]),
        )

    def blank(self, count: int) -> tuple[Tensor, Tensor]:
        """Make positions (count,) int64 and targets (count,) int64."""
        return torch.zeros(count, dtype=torch.int64), torch.zeros(count, dtype=torch.int64)

    def example(self, count: int) -> Tensor:
        """Make observations (count, observation) float32: what a trained policy is given."""
        return torch.zeros((count, self.observation), dtype=torch.float32)

    def fault(self, x: Tensor, y: Tensor) -> str:
        """Want a whole number for each position or episode, and a target that means nothing."""
        right = x.dtype == torch.int64 and x.dim() == 1 and y.dtype == torch.int64 and y.shape == x.shape
        return "" if right else "must hold x (N,) int64 and y (N,) int64"
