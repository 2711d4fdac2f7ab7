"""Environments as data sets: what is fetched, what is prepared, what is refused, and how policies are tested."""

import json
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pandas as pd
import pytest
import torch
from gymnasium import spaces
from PIL import Image
from safetensors.numpy import load_file

from lit_models.forms import load_spec
from lit_models.parts.environments import play, random_actions
from lit_models.ppo import LitPPO, PPOConfig
from lit_models.specs.control import ControlSpec
from pipelines.datasets.gym import GYM, GymFetch, GymPrepare
from pipelines.evaluations.base import Task
from pipelines.evaluations.control import CONTROL, ControlEvaluateConfig
from pipelines.faults import Fault
from pipelines.headlines import HEADLINES


def fetch(tmp_path: Path, environment: str = "CartPole-v1", **options: Any) -> Path:
    raw = tmp_path / "raw"
    raw.mkdir()
    GYM.fetch(GymFetch(environment=environment, options=options), raw, tmp_path)
    return raw


def prepare(tmp_path: Path, raw: Path, **values: Any) -> tuple[ControlSpec, Path, str]:
    folder = tmp_path / "prepared"
    folder.mkdir()
    said = GYM.prepare(raw, GymPrepare(**values), folder)
    spec = load_spec(folder)
    assert isinstance(spec, ControlSpec)
    return spec, folder, said


def test_an_environment_becomes_positions_and_episodes(tmp_path: Path) -> None:
    spec, folder, said = prepare(tmp_path, fetch(tmp_path), positions=128, val_episodes=3, test_episodes=5, seed=4)
    assert (spec.environment, spec.time_limit, spec.threshold) == ("CartPole-v1", 500, 475.0)
    assert (spec.observation, spec.discrete, spec.actions, spec.flatten) == (4, True, 2, False)
    assert (spec.mean, spec.std) == ((0.0,) * 4, (1.0,) * 4)
    parts = {name: load_file(folder / f"{name}.safetensors") for name in ("train", "val", "test")}
    assert parts["train"]["x"].tolist() == list(range(128)) == parts["train"]["index"].tolist()
    assert [len(parts[name]["x"]) for name in ("val", "test")] == [3, 5]
    assert len({*parts["val"]["x"], *parts["test"]["x"]}) == 8
    assert not parts["test"]["y"].any()
    assert said.endswith("CartPole-v1: 4 numbers observed, 2 actions, at most 500 steps, solved from 475")
    card = json.loads((folder / "card.json").read_text())
    assert card["counts"] == {"train": 128, "val": 3, "test": 5}
    assert card["gymnasium"] == gym.__version__


def test_wrappers_are_part_of_what_is_prepared(tmp_path: Path) -> None:
    raw = fetch(tmp_path, "Pendulum-v1", g=9.0)
    spec, _, said = prepare(
        tmp_path, raw, time_limit=50, threshold=-150.0, reward_scale=0.1, normalise=500, positions=64
    )
    assert spec.options == (("g", 9.0),)
    assert (spec.time_limit, spec.threshold, spec.reward_scale) == (50, -150.0, 0.1)
    assert (spec.discrete, spec.actions, spec.low, spec.high) == (False, 1, (-2.0,), (2.0,))
    assert spec.mean != (0.0,) * 3
    assert all(0.1 < std < 8 for std in spec.std)
    assert "actions of 1 numbers" in said


def test_normalising_takes_the_observations_of_random_steps(tmp_path: Path) -> None:
    spec, _, _ = prepare(tmp_path, fetch(tmp_path), normalise=3000)
    rng = np.random.default_rng(0)
    seen = []

    def act(latest: Any) -> Any:
        seen.append(latest.copy())
        return random_actions(spec, len(latest), rng)

    play(spec, range(100), act)
    np.testing.assert_allclose(spec.std, np.concatenate(seen[:20]).std(0), rtol=0.5)
    assert (tmp_path / "again").mkdir() is None
    GYM.prepare(tmp_path / "raw", GymPrepare(normalise=3000), tmp_path / "again")
    assert load_spec(tmp_path / "again") == spec


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ("CartPol-v1", "gymnasium has no environment 'CartPol-v1'; nearest valid id: CartPole-v1"),
        ("CartPole", "gymnasium has no environment 'CartPole'; nearest valid id: CartPole-v"),
        ("os:CartPole-v1", "gymnasium has no environment 'os:CartPole-v1'"),
        ("Ant-v5", "Ant-v5 cannot be made: "),
    ],
)
def test_an_environment_that_cannot_be_made_is_named(environment: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(Fault) as caught:
        fetch(tmp_path, environment)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)
    assert GYM.sketch(GymFetch(environment=environment), GymPrepare()) is None


def test_an_option_that_an_environment_does_not_have_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Fault, match=r"^CartPole-v1 cannot be made: .*gravitation"):
        fetch(tmp_path, gravitation=3)


class Odd(gym.Env[Any, Any]):
    """Takes and observes what it is told to."""

    def __init__(self, observed: spaces.Space[Any], taken: spaces.Space[Any]) -> None:
        self.observation_space, self.action_space = observed, taken


LINE, CHOICE = spaces.Box(-1, 1, (2,)), spaces.Discrete(3)


@pytest.mark.parametrize(
    ("observed", "taken", "message"),
    [
        (LINE, spaces.MultiDiscrete([2, 3]), r"neither a choice counted from 0 nor a vector of numbers$"),
        (LINE, spaces.Discrete(3, start=1), r"takes actions of Discrete\(3, start=1\), neither"),
        (LINE, spaces.Box(-1, 1, (2, 2)), r"neither a choice"),
        (LINE, spaces.Box(0, 5, (2,), np.int64), r"neither a choice"),
        (spaces.Graph(LINE, None), CHOICE, r"observes Graph.*, which cannot be made a vector$"),
    ],
)
def test_spaces_that_no_family_can_act_in_are_refused(
    observed: Any, taken: Any, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(gym.registry, "Odd-v0", gym.envs.registration.EnvSpec("Odd-v0", lambda: Odd(observed, taken)))
    with pytest.raises(Fault, match=message):
        fetch(tmp_path, "Odd-v0")


def test_an_environment_without_end_or_aim_wants_them_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(gym.registry, "Odd-v0", gym.envs.registration.EnvSpec("Odd-v0", lambda: Odd(LINE, CHOICE)))
    raw = fetch(tmp_path, "Odd-v0")
    for values, name in (({}, "time_limit"), ({"time_limit": 9}, "threshold")):
        folder = tmp_path / name
        folder.mkdir()
        with pytest.raises(Fault, match=rf"^Odd-v0 has no {name} of its own: set datasets.\*.prepare.{name}$"):
            GYM.prepare(raw, GymPrepare(**values), folder)
    spec, _, _ = prepare(tmp_path, raw, time_limit=9, threshold=0.0)
    assert (spec.time_limit, spec.threshold) == (9, 0.0)


def test_a_changed_raw_file_is_named(tmp_path: Path) -> None:
    raw = fetch(tmp_path)
    (raw / "environment.json").write_text("{}")
    with pytest.raises(Fault, match=r"environment\.json has 2 bytes instead of"):
        prepare(tmp_path, raw)


def test_what_is_known_beforehand_is_what_will_be(tmp_path: Path) -> None:
    values = GymPrepare(positions=99, reward_scale=0.5)
    spec, _, _ = prepare(tmp_path, fetch(tmp_path), **values.model_dump())
    assert GYM.sketch(GymFetch(), values) == spec


# --- evaluation ---------------------------------------------------------------------------------------------------


def task(tmp_path: Path, environment: str, **values: Any) -> Task:
    spec, folder, _ = prepare(tmp_path, fetch(tmp_path, environment), positions=64, test_episodes=6, **values)
    model = LitPPO(PPOConfig(environments=2, hidden=8), spec, seed=1).eval()
    plots, trained = tmp_path / "plots", tmp_path / "trained"
    for place in (trained, plots / "pictures", plots / "tables"):
        place.mkdir(parents=True)
    history = "epoch,train_loss,val_loss,val_accuracy,lr\n1,0.5,-20.0,0.0,0.1\n2,0.4,-60.5,0.25,0.1\n"
    (trained / "history.csv").write_text(history)
    x = torch.from_numpy(load_file(folder / "test.safetensors")["x"])
    card = json.loads((folder / "card.json").read_text())
    return Task(model, x, torch.zeros_like(x), card, folder, trained, plots)


def test_a_policy_is_tested_beside_random_actions(tmp_path: Path) -> None:
    work = task(tmp_path, "CartPole-v1", threshold=9.5)
    scores = CONTROL.run(work, ControlEvaluateConfig(frames=5))
    assert {HEADLINES["control"].name, "baseline"} <= scores.keys()
    rows = pd.read_csv(work.tables / "episodes.csv")
    assert rows["seed"].tolist() == work.x.tolist()
    assert scores["mean_return"] == pytest.approx(rows["return"].mean())
    assert scores["baseline"] == pytest.approx(rows["random_return"].mean())
    assert scores["solved"] == (rows["return"] >= 9.5).mean()
    assert scores["mean_steps"] == rows["steps"].mean()
    assert work.learning.read_bytes() == (work.trained / "history.csv").read_bytes()
    names = {"agent.gif", "agent.png", "returns.png", "reward_curve.png"}
    assert {path.name for path in work.pictures.iterdir()} == names
    with Image.open(work.pictures / "agent.gif") as film:
        assert 3 <= film.n_frames <= 7  # type: ignore[attr-defined]
        assert film.size == (240, 160)


def test_pictures_repeat_themselves(tmp_path: Path) -> None:
    pictures = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        work = task(tmp_path / name, "CartPole-v1")
        CONTROL.run(work, ControlEvaluateConfig(frames=5))
        pictures.append({path.name: path.read_bytes() for path in work.pictures.iterdir()})
    assert pictures[0] == pictures[1]


def test_an_environment_that_cannot_be_drawn_is_tested_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    work = task(tmp_path, "Pendulum-v1", threshold=-200.0, time_limit=10)

    def refuse(*_: Any) -> Any:
        raise gym.error.DependencyNotInstalled("pygame is not installed\nrun pip")

    with monkeypatch.context() as context:
        context.setattr("lit_models.parts.environments.film", refuse)
        scores = CONTROL.run(work, ControlEvaluateConfig())
    assert capsys.readouterr().err == "no picture of the agent: pygame is not installed\n"
    assert scores["mean_steps"] == 10
    assert not (work.pictures / "agent.gif").exists()
    CONTROL.run(work, ControlEvaluateConfig(frames=3))
    assert (work.pictures / "agent.gif").exists()
