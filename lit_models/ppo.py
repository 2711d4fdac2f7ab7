"""Proximal policy optimization (Schulman et al. 2017), with generalised advantage estimation (Schulman et al. 2016)."""

from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from lit_models.core.augment import Mixing
from lit_models.core.base import FamilyConfig
from lit_models.core.control import ControlConfig, ControlModel, perceptron
from lit_models.parts.advantages import gae
from lit_models.parts.environments import Actions, Observations, Step
from lit_models.parts.policies import Categorical, Gaussian
from lit_models.specs.control import ControlSpec


class PPOConfig(ControlConfig):
    """Hyperparameters of proximal policy optimization."""

    batch_size: int = Field(512, ge=1, le=65536, description="samples per step")
    lr: float = Field(2e-3, gt=0, le=10, description="peak learning rate")
    gradient_clip: float = Field(0.5, ge=0, le=1e6, description="largest norm of the gradient; 0 is off")
    passes: int = Field(8, ge=1, le=1000, description="times that an epoch learns from its rollout")
    clip: float = Field(0.2, gt=0, lt=1, description="change of an action's probability beyond which nothing is gained")
    gae_lambda: float = Field(0.95, ge=0, le=1, description="advantages: 0 trusts the values, 1 the rewards")
    value_weight: float = Field(0.5, ge=0, le=1e3, description="weight of the value's squared error")
    entropy_weight: float = Field(0.0, ge=0, le=1e3, description="weight of the reward for trying many actions")

    def steps(self, positions: int) -> int:
        """Return the steps of a rollout in each environment, so that its passes make up an epoch."""
        return positions // (self.passes * self.environments)

    def problem(self, spec: ControlSpec) -> str | None:
        """Want a rollout of a step at least."""
        if self.steps(spec.positions):
            return None
        return (
            f"passes x environments is {self.passes * self.environments}, and an epoch has {spec.positions} positions: "
            "not a step in each environment"
        )


class ActorCritic(nn.Module):
    """A policy and, apart from it, a value of each state; maps normalised observations to the policy's outputs."""

    def __init__(self, config: ControlConfig, spec: ControlSpec) -> None:
        super().__init__()
        self.policy = perceptron(config, spec.observation, spec.actions, 0.01)
        self.value = perceptron(config, spec.observation, 1, 1.0)
        self.actions: Categorical | Gaussian = Categorical() if spec.discrete else Gaussian(spec)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, observation) to logits (B, actions), or to means of numbers (B, actions)."""
        outputs: Tensor = self.policy(x)
        return outputs


class Rollout(NamedTuple):
    """What N steps of the policy brought.

    Attributes:
        observations: normalised (N, observation).
        actions: as drawn, (N,) int64 or (N, actions).
        log_probs: of these actions when they were drawn (N,).
        advantages: of these actions, mean 0 and deviation 1 (N,).
        returns: what the value is to learn (N,).
    """

    observations: Tensor
    actions: Tensor
    log_probs: Tensor
    advantages: Tensor
    returns: Tensor


def policy_losses(log_probs: Tensor, before: Tensor, advantages: Tensor, clip: float) -> Tensor:
    """Return the clipped surrogate's losses (B,) (Schulman et al. 2017, equation 7).

    Args:
        log_probs: of the actions, now (B,).
        before: of the same actions when they were drawn (B,).
        advantages: of the actions (B,).
        clip: the paper's epsilon.
    """
    ratio = (log_probs - before).exp()
    return -torch.minimum(ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages)


class LitPPO(ControlModel):
    """PPO: an epoch acts with the policy as it is, then learns from that rollout in minibatches of its positions."""

    Config: ClassVar[type[FamilyConfig]] = PPOConfig
    config: PPOConfig
    network: ActorCritic

    def __init__(self, config: PPOConfig, spec: ControlSpec, seed: int = 0) -> None:
        super().__init__(config, spec, seed)
        self._rollout: Rollout | None = None

    def build(self) -> nn.Module:
        """Build policy and value."""
        return ActorCritic(self.config, self.spec)

    def forward(self, x: Tensor) -> Tensor:
        """Map observations (B, observation) to logits (B, actions), or to the mean action (B, actions)."""
        return self.network.actions.scores(super().forward(x))

    def best(self, observations: Observations) -> Actions:
        """Return the likeliest actions in these observations (E, observation)."""
        return self.network.actions.best(super().forward(torch.from_numpy(observations)))

    def seed_epoch(self, seed: int, epoch: int) -> None:
        """Seed the epoch; its first step will act."""
        super().seed_epoch(seed, epoch)
        self._rollout = None

    def release(self) -> None:
        """Let go of the rollout too."""
        super().release()
        self._rollout = None

    def act(self) -> tuple[list[Step], list[Any]]:
        """Act for a rollout; return its steps and the actions as drawn."""
        environments, steps, drawn = self.environments(), [], []
        policy = self.network.actions
        for _ in range(self.config.steps(self.spec.positions)):
            outputs = super().forward(torch.from_numpy(environments.observations))
            drawn.append(policy.sample(outputs, self.noise.rng))
            steps.append(environments.step(policy.playable(drawn[-1])))
        return steps, drawn

    def collect(self) -> Rollout:
        """Act in the environments, and judge what was done; steps that only began an episode are left out."""
        config, anchor = self.config, self.anchor
        with self.acting():
            steps, drawn = self.act()
            real = torch.from_numpy(np.stack([step.real for step in steps])).to(anchor.device)
            seen = np.stack([*(step.before for step in steps), steps[-1].after])
            observations = self.normalize(torch.from_numpy(seen))
            actions = torch.from_numpy(np.stack(drawn)).to(anchor.device)
            values = self.network.value(observations)[..., 0].double().cpu().numpy()
            outputs = self.network(observations[:-1][real])
            log_probs = self.network.actions.log_prob(outputs, actions[real])
        advantages = gae(
            np.stack([step.rewards for step in steps]).astype(np.float64) * self.spec.reward_scale,
            values,
            np.stack([step.terminated for step in steps]),
            np.stack([step.ended for step in steps]),
            config.discount,
            config.gae_lambda,
        )
        returns = torch.from_numpy(advantages + values[:-1]).to(anchor)[real]
        gains = torch.from_numpy(advantages).to(anchor.device)[real]
        gains = (gains - gains.mean()) / (gains.std(correction=0) + 1e-8)
        return Rollout(observations[:-1][real], actions[real], log_probs, gains.to(anchor.dtype), returns)

    def training_losses(self, x: Tensor, y: Tensor, key: int | Tensor, mixing: Mixing | None) -> Tensor:
        """Return the losses (B,) at positions x (B,) of the rollout, which begins anew after its end."""
        del y, mixing
        if self._rollout is None:
            self._rollout = self.collect()
        config = self.config
        place = x % len(self._rollout.returns)
        observations, actions, before, advantages, returns = (tensor[place] for tensor in self._rollout)
        with self.learning(key):
            outputs, values = self.network(observations), self.network.value(observations)
        outputs, values = outputs.to(self.anchor.dtype), values[:, 0].to(self.anchor.dtype)
        log_probs = self.network.actions.log_prob(outputs, actions)
        losses = policy_losses(log_probs, before, advantages, config.clip)
        errors: Tensor = (values - returns).square()
        entropies: Tensor = self.network.actions.entropy(outputs)
        return losses + config.value_weight * errors - config.entropy_weight * entropies
