"""Deep Q-network (Mnih et al. 2015) with double Q-learning (van Hasselt et al. 2016)."""

from collections.abc import Mapping
from typing import ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from pydantic import Field, model_validator
from torch import Tensor, nn

from lit_models.core.augment import Mixing
from lit_models.core.base import FamilyConfig
from lit_models.core.control import ControlConfig, ControlModel, perceptron
from lit_models.parts.replay import Replay, Transitions
from lit_models.specs.control import ControlSpec

TARGET, REPLAY = "target.", "replay."


class DQNConfig(ControlConfig):
    """Hyperparameters of the deep Q-network."""

    discount: float = Field(0.98, ge=0, le=1, description="worth of a reward one step later")
    gradient_clip: float = Field(10.0, ge=0, le=1e6, description="largest norm of the gradient; 0 is off")
    hidden: int = Field(128, ge=1, le=65536, description="units of each hidden layer")
    activation: Literal["relu", "gelu", "tanh"] = Field("relu", description="nonlinearity")
    replay: int = Field(50_000, ge=1, le=10_000_000, description="transitions that are remembered")
    learning_starts: int = Field(1000, ge=1, description="transitions before the first step, by random actions")
    explore_steps: int = Field(20_000, ge=1, description="transitions over which exploration falls to its end")
    explore_end: float = Field(0.05, ge=0, le=1, description="share of random actions in the end")
    target_every: int = Field(50, ge=1, description="steps after which the target network is brought up to date")
    double: bool = Field(True, description="let the network choose and the target judge (double Q-learning)")

    @model_validator(mode="after")
    def _room_to_start(self) -> "DQNConfig":
        if self.learning_starts > self.replay:
            raise ValueError(f"learning_starts is {self.learning_starts}, and replay holds {self.replay} transitions")
        return self

    def problem(self, spec: ControlSpec) -> str | None:
        """Want actions that can be counted."""
        if spec.discrete:
            return None
        return f"dqn chooses among actions, and those of {spec.environment} are numbers; family ppo can do that"


def targets(
    rewards: Tensor, terminated: Tensor, chosen: Tensor, judged: Tensor, discount: float, double: bool = True
) -> Tensor:
    """Return what the values of the actions taken are to become (B,).

    Args:
        rewards: (B,).
        terminated: whether nothing can follow (B,).
        chosen: values of the next state's actions by the network that learns (B, actions).
        judged: the same by the target network (B, actions).
        discount: of what follows.
        double: the learning network chooses the action that the target network judges (van Hasselt et al. 2016,
            equation 4), and not the target network both (Mnih et al. 2015), which overestimates.
    """
    best = (chosen if double else judged).argmax(1, keepdim=True)
    following = judged.gather(1, best)[:, 0]
    return rewards + discount * following * (~terminated).to(rewards.dtype)


class LitDQN(ControlModel):
    """DQN: before each step it acts once in each environment, then learns from a draw of all it remembers.

    What the batch says is its size alone.
    """

    Config: ClassVar[type[FamilyConfig]] = DQNConfig
    config: DQNConfig

    def __init__(self, config: DQNConfig, spec: ControlSpec, seed: int = 0) -> None:
        super().__init__(config, spec, seed)
        self._replay: Replay | None = None
        self._steps = 0
        # No module: exported weights are those that act.
        self._target: dict[str, Tensor] = {}

    def build(self) -> nn.Module:
        """Build the network: observations to the values of actions."""
        return perceptron(self.config, self.spec.observation, self.spec.actions, 1.0)

    def carried(self) -> dict[str, Tensor]:
        """Return replay, target network and the number of steps."""
        if self._replay is None:
            return {}
        replay = {REPLAY + name: value for name, value in self._replay.state().items()}
        target = {TARGET + name: value.clone() for name, value in self._target.items()}
        return {**replay, **target, "steps": torch.tensor(self._steps)}

    def carry(self, state: Mapping[str, Tensor]) -> None:
        """Take them up; of nothing, begin anew."""
        self._forget()
        if not state:
            return
        self._replay = Replay(self.config.replay, self.spec.observation)
        self._replay.load(_part(state, REPLAY))
        self._target = {name: value.clone() for name, value in _part(state, TARGET).items()}
        self._steps = int(state["steps"])

    def release(self) -> None:
        """Let go of the replay too."""
        super().release()
        self._forget()

    def _forget(self) -> None:
        self._replay, self._target, self._steps = None, {}, 0

    def exploration(self, seen: int) -> float:
        """Return the share of random actions after `seen` transitions; it falls linearly."""
        config = self.config
        done = min(1.0, max(0, seen - config.learning_starts) / config.explore_steps)
        return 1.0 + done * (config.explore_end - 1.0)

    def act(self, replay: Replay) -> None:
        """Take a step in each environment, epsilon-greedily, and remember it."""
        environments, rng = self.environments(), self.noise.rng
        count = len(environments.observations)
        actions = rng.integers(self.spec.actions, size=count)
        explored = rng.random(count) < self.exploration(replay.added)
        if not explored.all():
            with self.acting():
                actions = np.where(explored, actions, self.best(environments.observations))
        step = environments.step(actions)
        rewards = step.rewards * np.float32(self.spec.reward_scale)
        replay.add(Transitions(step.before, actions, rewards, step.after, step.terminated).take(step.real))

    def draw(self, count: int) -> tuple[Tensor, ...]:
        """Act, and draw a batch of what is remembered: `Transitions` as tensors, observations normalised."""
        if self._replay is None:
            self._replay = Replay(self.config.replay, self.spec.observation)
        self.act(self._replay)
        while len(self._replay) < self.config.learning_starts:
            self.act(self._replay)
        drawn = self._replay.sample(count, self.noise.rng)
        before, actions, rewards, after, terminated = (torch.from_numpy(part).to(self.anchor.device) for part in drawn)
        return self.normalize(before), actions, rewards.to(self.anchor.dtype), self.normalize(after), terminated

    def training_losses(self, x: Tensor, y: Tensor, key: int | Tensor, mixing: Mixing | None) -> Tensor:
        """Return the squared errors (B,) of as many transitions as there are positions x (B,).

        The paper of 2015 cuts errors off at 1. On CartPole, with a target network renewed every 25 steps, values soon
        grew beyond all bounds that way. Squared errors are no cure: renewed every 10 steps, they grew there too.
        """
        del y, mixing
        if self._steps % self.config.target_every == 0:
            self._target = {name: value.detach().clone() for name, value in self.network.state_dict().items()}
        self._steps += 1
        before, actions, rewards, after, terminated = self.draw(len(x))
        with self.acting():
            target = {name: value.to(after.device) for name, value in self._target.items()}
            judged = torch.func.functional_call(self.network, target, (after,))
            chosen = self.network(after) if self.config.double else judged
            wanted = targets(rewards, terminated, chosen, judged, self.config.discount, self.config.double)
        with self.learning(key):
            values = self.network(before)
        taken = values.to(self.anchor.dtype).gather(1, actions[:, None])[:, 0]
        return F.mse_loss(taken, wanted, reduction="none")


def _part(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The entries that begin with `prefix`, without it."""
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
