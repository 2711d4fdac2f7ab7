"""A memory of what was lived through, to learn from more than once (Lin 1992; Mnih et al. 2015)."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class Transitions(NamedTuple):
    """B steps.

    Attributes:
        before: observations (B, observation) float32.
        actions: (B,) int64.
        rewards: (B,) float32.
        after: observations (B, observation) float32 that the actions led to.
        terminated: whether that is a terminal state (B,).
    """

    before: NDArray[np.float32]
    actions: NDArray[np.int64]
    rewards: NDArray[np.float32]
    after: NDArray[np.float32]
    terminated: NDArray[np.bool_]

    def take(self, places: NDArray[Any]) -> "Transitions":
        """Return those at some places, or where a mask (B,) is true."""
        before, actions, rewards, after, terminated = self
        return Transitions(before[places], actions[places], rewards[places], after[places], terminated[places])


class Replay:
    """The last `capacity` transitions, in a ring: the newest takes the place of the oldest.

    Args:
        capacity: most transitions.
        observation: numbers in an observation.
    """

    def __init__(self, capacity: int, observation: int) -> None:
        self.capacity = capacity
        self.added = 0
        self._kept = Transitions(
            np.zeros((capacity, observation), np.float32),
            np.zeros(capacity, np.int64),
            np.zeros(capacity, np.float32),
            np.zeros((capacity, observation), np.float32),
            np.zeros(capacity, np.bool_),
        )

    def __len__(self) -> int:
        return min(self.added, self.capacity)

    def add(self, transitions: Transitions) -> None:
        """Take in B transitions, the last of them where there are more than it can hold."""
        count = len(transitions.rewards)
        places = np.arange(self.added, self.added + count)[-self.capacity :] % self.capacity
        for name in Transitions._fields:
            getattr(self._kept, name)[places] = getattr(transitions, name)[-self.capacity :]
        self.added += count

    def sample(self, count: int, rng: np.random.Generator) -> Transitions:
        """Draw `count` transitions, each equally likely, with replacement."""
        return self._kept.take(rng.integers(len(self), size=count))

    def state(self) -> dict[str, Tensor]:
        """Return copies of what `load` needs: of what it holds alone."""
        held = {name: torch.from_numpy(kept[: len(self)].copy()) for name, kept in self._kept._asdict().items()}
        return {**held, "added": torch.tensor(self.added)}

    def load(self, state: Mapping[str, Any]) -> None:
        """Take up the state of a replay of the same capacity."""
        self.added = int(state["added"])
        for name, kept in self._kept._asdict().items():
            kept[: len(self)] = state[name].cpu().numpy()
