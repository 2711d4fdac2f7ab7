"""Replay, targets and the learning of the deep Q-network."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from lit_models.dqn import DQNConfig, LitDQN, targets
from lit_models.parts.environments import random_actions
from lit_models.parts.replay import Replay, Transitions
from tests.lit_models.test_control import PENDULUM, SPEC, build


def transitions(first: int, count: int) -> Transitions:
    """Numbered ones."""
    numbers = np.arange(first, first + count)
    before = np.stack([numbers, -numbers], 1).astype(np.float32)
    return Transitions(before, numbers % 3, numbers.astype(np.float32), before + 1, numbers % 2 == 0)


def test_replay_keeps_the_newest() -> None:
    replay = Replay(5, 2)
    for first, count in ((0, 3), (3, 0), (3, 4), (7, 1)):
        replay.add(transitions(first, count))
    assert len(replay) == 5
    drawn = replay.sample(1000, np.random.default_rng(0))
    assert set(drawn.rewards) == {3, 4, 5, 6, 7}
    numbers = drawn.rewards.astype(np.int64)
    for part, kept in zip(drawn, transitions(0, 8).take(numbers), strict=True):
        np.testing.assert_array_equal(part, kept)
    shares = np.bincount(numbers)[3:] / 1000
    np.testing.assert_allclose(shares, 0.2, atol=0.05)


def test_replay_takes_more_than_it_can_hold() -> None:
    one, other = Replay(4, 2), Replay(4, 2)
    one.add(transitions(0, 11))
    for number in range(11):
        other.add(transitions(number, 1))
    for name, value in one.state().items():
        assert torch.equal(value, other.state()[name]), name


def test_replay_goes_on_from_its_state() -> None:
    one, other = Replay(5, 2), Replay(5, 2)
    for first in (0, 2, 4):
        one.add(transitions(first, 2))
        state = one.state()
        rewards = state["rewards"].tolist()
        other.load(state)
        one.add(transitions(90 + first, 1))
        other.add(transitions(90 + first, 1))
        assert state["rewards"].tolist() == rewards
        draws = [replay.sample(20, np.random.default_rng(0)) for replay in (one, other)]
        for mine, theirs in zip(*draws, strict=True):
            np.testing.assert_array_equal(mine, theirs)
    assert len(Replay(9, 1).state()["rewards"]) == 0


def test_the_target_by_hand() -> None:
    """Two networks that disagree: one chooses, the other judges."""
    rewards, terminated = torch.tensor([1.0, 1.0, 2.0]), torch.tensor([False, True, False])
    chosen = torch.tensor([[5.0, 0.0], [5.0, 0.0], [0.0, 1.0]])
    judged = torch.tensor([[2.0, 10.0], [2.0, 10.0], [4.0, 3.0]])
    double = targets(rewards, terminated, chosen, judged, 0.5)
    assert double.tolist() == [1 + 0.5 * 2, 1.0, 2 + 0.5 * 3]
    plain = targets(rewards, terminated, chosen, judged, 0.5, double=False)
    assert plain.tolist() == [1 + 0.5 * 10, 1.0, 2 + 0.5 * 4]


@pytest.mark.parametrize("double", [True, False])
def test_a_steps_losses_by_hand(double: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    model = build("dqn", double=double, target_every=2, discount=0.9)
    assert isinstance(model, LitDQN)
    model.seed_epoch(0, 0)
    x = torch.zeros(16, dtype=torch.int64)
    drawn: list[Any] = []
    draw = model.draw
    monkeypatch.setattr(model, "draw", lambda count: drawn.append(draw(count)) or drawn[-1])
    old = build("dqn")
    for step in range(4):
        if step % 2 == 0:
            old.load_state_dict(model.state_dict())
        losses = model.training_losses(x, x, 0, None)
        before, actions, rewards, after, terminated = drawn[-1]
        for row in range(16):
            following, judged = model.network(after[row]), old.network(after[row])
            best = int((following if double else judged).argmax())
            wanted = rewards[row] + (0 if terminated[row] else 0.9 * judged[best])
            error = float((wanted - model.network(before[row])[actions[row]]).detach())
            assert losses[row].item() == pytest.approx(error**2, abs=1e-4)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter += 0.05 * torch.randn_like(parameter)


def test_it_remembers_what_it_lived_through() -> None:
    """Rewards are scaled, and steps that only began an episode are left out: CartPole never jumps."""
    model = build("dqn", replace(SPEC, reward_scale=0.5), learning_starts=200, replay=500, environments=4)
    assert isinstance(model, LitDQN)
    model.seed_epoch(0, 0)
    model.draw(1)
    held = model.carried()
    count = int(held["replay.added"])
    assert 200 <= count < 205
    assert held["replay.rewards"].unique().tolist() == [0.5]
    assert held["replay.terminated"].sum() > 3
    position, speed = held["replay.before"][:, 0], held["replay.before"][:, 1]
    torch.testing.assert_close(held["replay.after"][:, 0], position + 0.02 * speed)


def test_exploration_falls_and_stays() -> None:
    model = build("dqn", learning_starts=10, explore_steps=100, explore_end=0.1)
    assert isinstance(model, LitDQN)
    assert [model.exploration(seen) for seen in (0, 10)] == [1.0, 1.0]
    assert model.exploration(60) == pytest.approx(0.55)
    assert [model.exploration(seen) for seen in (110, 10_000)] == pytest.approx([0.1, 0.1])


def test_actions_are_the_best_once_it_explores_no_more() -> None:
    model = build("dqn", learning_starts=1, explore_steps=1, explore_end=0.0, environments=3)
    assert isinstance(model, LitDQN)
    model.seed_epoch(0, 0)
    model.draw(1)
    replay = Replay(10, 4)
    nothing = np.zeros((5, 4), np.float32)
    replay.add(Transitions(nothing, np.zeros(5, np.int64), nothing[:, 0], nothing, np.zeros(5, np.bool_)))
    seen = model.environments().observations
    model.act(replay)
    held = replay.state()
    assert torch.equal(held["before"][5:], torch.from_numpy(seen))
    assert held["actions"][5:].tolist() == model(torch.from_numpy(seen)).argmax(1).tolist()


def test_refuses_actions_that_cannot_be_counted() -> None:
    with pytest.raises(ValueError, match=r"those of Pendulum-v1 are numbers; family ppo can do that"):
        build("dqn", PENDULUM)
    assert random_actions(PENDULUM, 5, np.random.default_rng(0)).shape == (5, 1)


def test_refuses_a_replay_too_small_to_start() -> None:
    with pytest.raises(ValidationError, match="learning_starts is 1000, and replay holds 10"):
        DQNConfig(replay=10)


def test_it_learns_what_every_action_is_worth() -> None:
    """Every step of CartPole earns 1: with a discount of 0.5 all values near 2, but at the end of an episode."""
    model = build("dqn", discount=0.5, hidden=16, learning_starts=500, replay=2000, target_every=10, explore_steps=1)
    assert isinstance(model, LitDQN)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    model.seed_epoch(0, 0)
    x = torch.zeros(64, dtype=torch.int64)
    for step in range(150):
        optimizer.zero_grad()
        torch.autograd.backward(model.training_losses(x, x, step, None).mean())
        optimizer.step()
    upright = model(torch.zeros(1, 4))
    torch.testing.assert_close(upright, torch.full((1, 2), 2.0), atol=0.15, rtol=0)
