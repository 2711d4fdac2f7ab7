"""Environments, episodes and policies: what DQN and PPO share."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch.distributions import Categorical as TorchCategorical
from torch.distributions import Normal
from torch.export import Dim, export

from lit_models import FAMILIES, LitModel
from lit_models.cohort.data import CohortData
from lit_models.cohort.engine import Setting
from lit_models.cohort.lanes import Lane
from lit_models.cohort.lone import LoneEngine
from lit_models.core.control import ControlModel
from lit_models.core.data import PreparedData
from lit_models.fit import fit
from lit_models.parts.advantages import gae
from lit_models.parts.environments import Environments, film, make, play, random_actions
from lit_models.parts.policies import Categorical, Gaussian
from lit_models.specs.control import ControlSpec
from pipelines.datasets.gym import GYM, GymFetch, GymPrepare

SPEC = ControlSpec(
    environment="CartPole-v1",
    options=(),
    time_limit=500,
    flatten=False,
    observation=4,
    discrete=True,
    actions=2,
    low=(),
    high=(),
    mean=(0.0,) * 4,
    std=(1.0,) * 4,
    reward_scale=1.0,
    threshold=475.0,
    positions=64,
)
PENDULUM = replace(
    SPEC, environment="Pendulum-v1", time_limit=20, observation=3, discrete=False, actions=1, low=(-2.0,), high=(2.0,)
    , mean=(0.0,) * 3, std=(1.0,) * 3, threshold=-200.0,
)  # fmt: skip
LAKE = replace(
    SPEC, environment="FrozenLake-v1", options=(("is_slippery", False),), time_limit=20, flatten=True, observation=16,
    actions=4, mean=(0.0,) * 16, std=(1.0,) * 16, threshold=1.0,
)  # fmt: skip
SMALL: dict[str, dict[str, Any]] = {
    "ppo": {"hidden": 8, "environments": 4, "passes": 2, "batch_size": 16},
    "dqn": {"hidden": 8, "environments": 2, "batch_size": 16, "learning_starts": 20, "replay": 40, "target_every": 3},
}

families = pytest.mark.parametrize("family", sorted(SMALL))


def build(family: str, spec: ControlSpec = SPEC, seed: int = 0, **values: Any) -> ControlModel:
    kind = FAMILIES[family]
    model = kind(kind.Config(**{**SMALL[family], **values}), spec, seed)
    assert isinstance(model, ControlModel)
    return model


# --- advantages ---------------------------------------------------------------------------------------------------


def test_advantages_are_the_sum_that_the_paper_writes() -> None:
    rng = np.random.default_rng(0)
    steps, count, discount, smoothing = 12, 3, 0.9, 0.8
    rewards, values = rng.normal(size=(steps, count)), rng.normal(size=(steps + 1, count))
    terminated = rng.random((steps, count)) < 0.2
    ended = terminated | (rng.random((steps, count)) < 0.2)
    found = gae(rewards, values, terminated, ended, discount, smoothing)
    for place in range(count):
        for first in range(steps):
            total = 0.0
            for step in range(first, steps):
                after = 0.0 if terminated[step, place] else values[step + 1, place]
                surprise = rewards[step, place] + discount * after - values[step, place]
                total += (discount * smoothing) ** (step - first) * surprise
                if ended[step, place]:
                    break
            assert found[first, place] == pytest.approx(total)


# --- environments -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", [SPEC, PENDULUM, LAKE], ids=lambda spec: spec.environment)
def test_environments_side_by_side_tell_what_each_step_led_to(spec: ControlSpec) -> None:
    """The observation after an episode's last step is its own last, and the step that begins the next is not real."""
    rng = np.random.default_rng(0)
    many = Environments(spec, 3, seed=1)
    ends = 0
    last = np.zeros(3, bool)
    for _ in range(60):
        step = many.step(random_actions(spec, 3, rng))
        assert step.before.shape == step.after.shape == (3, spec.observation)
        assert step.before.dtype == step.after.dtype == np.float32
        assert step.real.tolist() == (~last).tolist()
        assert not (step.terminated & ~step.ended).any()
        assert step.after is many.observations
        last = step.ended
        ends += int(last.sum())
    many.close()
    assert ends > 3


def test_environments_made_anew_goes_the_same_way() -> None:
    """Also after one whose episodes had just ended."""

    def course(many: Environments) -> list[Any]:
        rng = np.random.default_rng(0)
        return [many.step(random_actions(SPEC, 4, rng)).after.tolist() for _ in range(40)]

    first = course(Environments(SPEC, 4, seed=5))
    assert course(Environments(SPEC, 4, seed=5)) == first
    assert course(Environments(SPEC, 4, seed=6)) != first


def test_an_episode_depends_on_its_seed_alone() -> None:
    def lean(seen: Any) -> Any:
        return (seen[:, 2] > 0).astype(np.int64)

    together = play(SPEC, [3, 4, 5], lean)
    assert together.returns.tolist() == together.lengths.tolist()
    for place, seed in enumerate((3, 4, 5)):
        assert play(SPEC, [seed], lean).returns[0] == together.returns[place]
    assert len(set(together.returns)) > 1
    assert play(replace(SPEC, time_limit=7), [3], lean).lengths.tolist() == [7]


def test_rewards_are_those_of_the_environment() -> None:
    environment = gym.make("Pendulum-v1", max_episode_steps=20)
    environment.reset(seed=9)
    total = sum(float(environment.step(np.array([0.5], np.float32))[1]) for _ in range(20))
    found = play(replace(PENDULUM, reward_scale=0.1), [9], lambda seen: np.full((len(seen), 1), 0.5, np.float32))
    assert found.returns[0] == pytest.approx(total)


def test_options_reach_the_environment() -> None:
    environment = make(LAKE)
    assert environment.spec is not None
    assert environment.spec.kwargs["is_slippery"] is False
    observation, _ = environment.reset(seed=0)
    assert observation.tolist() == [1] + [0] * 15


def test_an_episode_can_be_filmed() -> None:
    frames = film(SPEC, 0, lambda seen: np.zeros(len(seen), np.int64), every=4)
    steps = int(play(SPEC, [0], lambda seen: np.zeros(len(seen), np.int64)).lengths[0])
    assert len(frames) == 2 + (steps - 1) // 4
    assert {(frame.shape, frame.dtype) for frame in frames} == {((400, 600, 3), np.dtype(np.uint8))}
    assert not np.array_equal(frames[0], frames[-1])


# --- policies -----------------------------------------------------------------------------------------------------


def test_the_choice_is_torchs_own() -> None:
    logits, actions = torch.randn(50, 3), torch.randint(3, (50,))
    policy, other = Categorical(), TorchCategorical(logits=logits)
    torch.testing.assert_close(policy.log_prob(logits, actions), other.log_prob(actions))
    torch.testing.assert_close(policy.entropy(logits), other.entropy())
    many = torch.tensor([[0.0, 1.0, 2.0]]).expand(20_000, 3)
    shares = np.bincount(policy.sample(many, np.random.default_rng(0)), minlength=3) / len(many)
    np.testing.assert_allclose(shares, many[0].softmax(0).numpy(), atol=0.01)


def test_numbers_are_normal_and_stay_within_their_bounds() -> None:
    spec = replace(PENDULUM, actions=3, low=(-2.0, 0.0, float("-inf")), high=(2.0, 1.0, float("inf")))
    policy, outputs = Gaussian(spec), torch.randn(50, 3)
    with torch.no_grad():
        policy.log_std.copy_(torch.tensor([0.1, -0.5, 0.3]))
    drawn = policy.sample(outputs, np.random.default_rng(0))
    other = Normal(outputs, policy.log_std.exp())
    torch.testing.assert_close(
        policy.log_prob(outputs, torch.from_numpy(drawn)), other.log_prob(torch.from_numpy(drawn)).sum(1)
    )
    torch.testing.assert_close(policy.entropy(outputs), other.entropy().sum(1))
    played = policy.playable(drawn)
    assert played.dtype == np.float32
    np.testing.assert_allclose(played[:, 0], np.clip(2 * drawn[:, 0], -2, 2), rtol=1e-6)
    np.testing.assert_allclose(played[:, 1], np.clip(0.5 + 0.5 * drawn[:, 1], 0, 1), rtol=1e-6)
    np.testing.assert_array_equal(played[:, 2], drawn[:, 2])


# --- models -------------------------------------------------------------------------------------------------------


@families
def test_scores_of_actions_can_be_exported(family: str) -> None:
    model = build(family).eval()
    x = SPEC.example(7)
    assert x.shape == (7, 4)
    program = export(model, (SPEC.example(2),), dynamic_shapes={"x": {0: Dim("batch")}}, strict=False)
    torch.testing.assert_close(program.module()(x), model(x))
    assert model(x).shape == (7, 2)


@families
def test_a_model_sees_normalised_observations(family: str) -> None:
    plain, model = build(family), build(family, replace(SPEC, mean=(1.0, 2.0, 3.0, 4.0), std=(2.0,) * 4))
    x = torch.randn(5, 4)
    torch.testing.assert_close(model(x), plain((x - torch.tensor([1.0, 2.0, 3.0, 4.0])) / 2))


@families
def test_validation_plays_greedily(family: str) -> None:
    model = build(family, replace(SPEC, threshold=9.5)).eval()
    seeds = torch.arange(10, 18)
    returns = play(SPEC, seeds.tolist(), lambda seen: model(torch.from_numpy(seen)).argmax(1).numpy()).returns
    with torch.no_grad():
        sums = model.validation_sums(seeds, torch.zeros_like(seeds))
    assert sums.tolist() == [-returns.sum(), (returns > 9.5).sum()]


@families
@pytest.mark.parametrize("wrong", [{"sampling": "hard"}, {"label_smoothing": 0.1}], ids=str)
def test_refuses_what_would_have_no_effect(family: str, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="must be"):
        build(family, **wrong)


def test_a_card_is_read_as_it_was_meant(tmp_path: Path) -> None:
    card = {
        "environment": "Pendulum-v1",
        "options": {"g": 9.8},
        "observation": 3,
        "discrete": False,
        "actions": 1,
        "low": [None],
        "high": [2.0],
        "wrappers": {"time_limit": 20, "flatten": False, "mean": [0, 0, 0], "std": [1, 1, 1], "reward_scale": 0.5},
        "threshold": -200,
        "positions": 64,
    }
    spec = ControlSpec.read(tmp_path, json.loads(json.dumps(card)))
    assert spec == replace(PENDULUM, options=(("g", 9.8),), low=(float("-inf"),), reward_scale=0.5)
    assert {spec: 1}[spec] == 1
    x, y = spec.blank(5)
    assert spec.fault(x, y) == ""
    assert spec.labels(y).tolist() == [0] * 5
    assert "x (N,) int64" in spec.fault(x.float(), y)
    for wrong in ({"positions": 0}, {"low": []}, {"wrappers": {**card["wrappers"], "std": [1, 1, 0]}}):  # type: ignore[dict-item]
        with pytest.raises(ValueError, match=r"positions|low and high|std"):
            ControlSpec.read(tmp_path, {**card, **wrong})


# --- determinism and resuming -------------------------------------------------------------------------------------


def engine(family: str, epochs: int = 4) -> LoneEngine:
    x, val = torch.arange(SPEC.positions), torch.arange(100, 104)
    data = CohortData(x, torch.zeros_like(x), val, torch.zeros_like(val), SPEC)
    kind = FAMILIES[family]
    lanes = [Lane(trial, kind.Config(**SMALL[family], lr=1e-3 * (trial + 1)), 7) for trial in range(2)]
    return LoneEngine(lanes, Setting(kind, data, epochs))


@families
def test_a_cohort_goes_on_in_the_same_bits(family: str) -> None:
    whole, first, second = (engine(family) for _ in range(3))
    figures = [whole.run_epoch(epoch) for epoch in range(4)]
    assert [first.run_epoch(epoch) for epoch in range(2)] == figures[:2]
    state = {name: value.clone() for name, value in first.state().items()}
    first.run_epoch(2)  # what was saved does not change with what goes on
    second.load(state, {})
    assert [second.run_epoch(epoch) for epoch in range(2, 4)] == figures[2:]
    for trial in range(2):
        mine, theirs = whole.export_lane(trial), second.export_lane(trial)
        assert all(torch.equal(value, theirs[name]) for name, value in mine.items())
    assert any(not torch.equal(value, whole.export_lane(1)[name]) for name, value in whole.export_lane(0).items())


class Killed(Exception):
    pass


@families
@pytest.mark.parametrize("spec", [SPEC, LAKE], ids=lambda spec: spec.environment)
def test_a_training_that_was_killed_ends_in_the_same_bits(
    family: str, spec: ControlSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lit_models.epochs.CHECKPOINT_SECONDS", 0.0)
    prepared = prepare(tmp_path, spec)

    def train(folder: str, die_after: int = 0) -> tuple[Any, LitModel]:
        kind = FAMILIES[family]
        config = kind.Config(**SMALL[family])
        data = PreparedData(prepared, None, config, seed=1)
        model = kind(config, data.spec, seed=1)

        def on_epoch(result: Any) -> None:
            if result.epoch == die_after + 1 > 1:
                raise Killed

        result = fit(
            model, data, epochs=4, seed=2, on_epoch=on_epoch, checkpoint_dir=tmp_path / folder, accelerator="cpu"
        )
        return [replace(epoch, seconds=0.0) for epoch in result.history], model

    history, whole = train("whole")
    with pytest.raises(Killed):
        train("cut", die_after=2)
    again, resumed = train("cut")
    assert again == history
    assert all(torch.equal(value, resumed.state_dict()[name]) for name, value in whole.state_dict().items())


def prepare(folder: Path, spec: ControlSpec) -> Path:
    raw, prepared = folder / "raw", folder / "prepared"
    raw.mkdir()
    prepared.mkdir()
    GYM.fetch(GymFetch(environment=spec.environment, options=dict(spec.options)), raw, folder)
    config = GymPrepare(
        positions=64, val_episodes=4, test_episodes=2, time_limit=spec.time_limit, threshold=spec.threshold
    )
    GYM.prepare(raw, config, prepared)
    return prepared


@families
def test_nothing_of_a_training_clings_to_the_model(family: str, tmp_path: Path) -> None:
    kind = FAMILIES[family]
    config = kind.Config(**SMALL[family])
    data = PreparedData(prepare(tmp_path, SPEC), None, config, seed=1)
    model = kind(config, data.spec, seed=1)
    fit(model, data, epochs=1, seed=2, accelerator="cpu")
    assert model.carried() == {}
    plain = {name: value for name, value in vars(model).items() if name in ("_environments", "_rollout", "_replay")}
    assert set(plain.values()) == {None}


@families
def test_half_precision_and_dropout_train_too(family: str) -> None:
    model = build(family, precision="bf16", dropout=0.2).train()
    model.seed_epoch(0, 0)
    x = torch.arange(16)
    losses = model.training_losses(x, torch.zeros_like(x), 1, None)
    assert losses.shape == (16,)
    assert losses.dtype == torch.float32
    torch.autograd.backward(losses.mean())
    assert all(parameter.grad is not None for parameter in model.parameters())
