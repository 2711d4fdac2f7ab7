"""The rollout, the clipped surrogate and the learning of proximal policy optimization."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from lit_models.cohort.data import CohortData
from lit_models.cohort.engine import Setting
from lit_models.cohort.lanes import Lane
from lit_models.cohort.lone import LoneEngine
from lit_models.parts.advantages import gae
from lit_models.parts.environments import play, random_actions
from lit_models.ppo import LitPPO, PPOConfig, policy_losses
from lit_models.specs.control import ControlSpec
from tests.lit_models.test_control import LAKE, PENDULUM, SPEC, build


def ppo(spec: ControlSpec = SPEC, **values: Any) -> LitPPO:
    model = build("ppo", spec, **values)
    assert isinstance(model, LitPPO)
    model.seed_epoch(0, 0)
    return model


def test_the_clipped_surrogate_by_hand() -> None:
    """Where the ratio has gone too far in the direction that pays, nothing more is gained."""
    ratio = torch.tensor([1.0, 1.1, 1.5, 0.5, 1.5, 0.5], requires_grad=True)
    advantages = torch.tensor([2.0, 2.0, 2.0, 2.0, -2.0, -2.0])
    losses = policy_losses(ratio.log(), torch.zeros(6), advantages, 0.2)
    assert losses.tolist() == pytest.approx([-2.0, -2.2, -2.4, -1.0, 3.0, 1.6])
    torch.autograd.backward(losses.sum())
    assert ratio.grad is not None
    assert ratio.grad.tolist() == pytest.approx([-2.0, -2.0, 0.0, -2.0, 2.0, 0.0])


@pytest.mark.parametrize("spec", [SPEC, PENDULUM, LAKE], ids=lambda spec: spec.environment)
def test_a_rollout_holds_what_was_really_done(spec: ControlSpec) -> None:
    model = ppo(replace(spec, positions=400, reward_scale=0.5), environments=5, passes=2, discount=0.9, gae_lambda=0.7)
    steps, drawn = model.act()
    model.seed_epoch(0, 0)
    rollout = model.collect()
    assert len(steps) == 400 // (2 * 5)
    real = np.stack([step.real for step in steps])
    assert (~real).sum() > 0
    assert len(rollout.returns) == real.sum()
    before = torch.from_numpy(np.stack([step.before for step in steps])[real])
    torch.testing.assert_close(rollout.observations, before)
    actions = torch.from_numpy(np.stack(drawn)[real])
    assert torch.equal(rollout.actions, actions)
    with torch.no_grad():
        log_probs = model.network.actions.log_prob(model.network(before), actions)
        seen = torch.from_numpy(np.stack([*(step.before for step in steps), steps[-1].after]))
        values = model.network.value(seen)[..., 0].double().numpy()
    torch.testing.assert_close(rollout.log_probs, log_probs)
    rewards = 0.5 * np.stack([step.rewards for step in steps]).astype(np.float64)
    flags = [np.stack([getattr(step, name) for step in steps]) for name in ("terminated", "ended")]
    advantages = gae(rewards, values, flags[0], flags[1], 0.9, 0.7)
    torch.testing.assert_close(rollout.returns.double().numpy(), (advantages + values[:-1])[real], rtol=1e-5, atol=1e-5)
    kept = advantages[real]
    expected = (kept - kept.mean()) / (kept.std() + 1e-8)
    np.testing.assert_allclose(rollout.advantages.numpy(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("spec", [SPEC, PENDULUM], ids=lambda spec: spec.environment)
def test_losses_are_policy_value_and_entropy(spec: ControlSpec) -> None:
    model = ppo(spec, value_weight=0.25, entropy_weight=0.1)
    x = torch.tensor([3, 0, 17, 3])
    losses = model.training_losses(x, torch.zeros_like(x), 0, None)
    rollout = model.collect() if model._rollout is None else model._rollout
    outputs, values = model.network(rollout.observations[x]), model.network.value(rollout.observations[x])[:, 0]
    # The policy has not changed yet: the ratio is 1.
    expected = -rollout.advantages[x] + 0.25 * (values - rollout.returns[x]) ** 2
    torch.testing.assert_close(losses, expected - 0.1 * model.network.actions.entropy(outputs))
    assert losses[0] == losses[3]


def test_an_epoch_has_one_rollout_which_begins_anew_after_its_end() -> None:
    model = ppo()
    x = torch.arange(4)
    first = model.training_losses(x, x, 0, None)
    assert model._rollout is not None
    count = len(model._rollout.returns)
    assert torch.equal(model.training_losses(x + 5 * count, x, 1, None), first)
    model.seed_epoch(0, 1)
    assert not torch.equal(model.training_losses(x, x, 0, None), first)
    model.seed_epoch(0, 0)
    assert torch.equal(model.training_losses(x, x, 0, None), first)


def test_it_begins_by_trying_everything() -> None:
    chances = ppo(LAKE)(torch.eye(16)).softmax(1)
    torch.testing.assert_close(chances, torch.full((16, 4), 0.25), atol=0.01, rtol=0)


def test_numbers_are_given_as_the_environment_takes_them() -> None:
    model = ppo(PENDULUM, init="small_normal")
    actions = model(100 * torch.randn(50, 3))
    assert actions.shape == (50, 1)
    assert actions.abs().max() <= 2
    x = torch.arange(8)
    torch.autograd.backward(model.training_losses(x, x, 0, None).mean())
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


def test_refuses_rollouts_without_a_step() -> None:
    with pytest.raises(ValueError, match="passes x environments is 80, and an epoch has 64 positions"):
        build("ppo", passes=10, environments=8)


def test_it_learns_to_hold_the_pole() -> None:
    """Three short epochs are enough to do several times better than chance."""
    spec = replace(SPEC, positions=16384, time_limit=200)
    x, val = torch.arange(spec.positions), torch.arange(1000, 1016)
    data = CohortData(x, torch.zeros_like(x), val, torch.zeros_like(val), spec)
    config = PPOConfig(environments=8, passes=8, batch_size=256, hidden=32)
    engine = LoneEngine([Lane(0, config, 3)], Setting(LitPPO, data, 3))
    rng = np.random.default_rng(0)
    chance = play(spec, val.tolist(), lambda seen: random_actions(spec, len(seen), rng)).returns.mean()
    figures = [engine.run_epoch(epoch)[0] for epoch in range(3)]
    assert chance < 30
    assert -figures[-1].val_loss > 4 * chance
