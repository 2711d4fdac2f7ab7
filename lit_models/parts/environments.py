"""Gymnasium's environments as a spec describes them: one, many side by side, whole episodes.

Gymnasium is imported when the first is made: models that need none can be trained where it is not installed.
"""

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lit_models.specs.control import ControlSpec

if TYPE_CHECKING:
    import gymnasium as gym

Observations = NDArray[np.float32]
Actions = NDArray[Any]
# Maps the observations (E, observation) of E environments to an action for each: (E,) int64 or (E, actions) float.
Act = Callable[[Observations], Actions]


def make(spec: ControlSpec, render: bool = False) -> "gym.Env[Any, Any]":
    """Make one environment with its wrappers; to `render` it draws frames (height, width, 3) uint8.

    Raises:
        gymnasium.error.Error: there is no such environment, or a package that it needs is not installed.
    """
    import gymnasium as gym

    options = {**dict(spec.options), **({"render_mode": "rgb_array"} if render else {})}
    environment: gym.Env[Any, Any] = gym.make(
        spec.environment, max_episode_steps=spec.time_limit, disable_env_checker=True, **options
    )
    return gym.wrappers.FlattenObservation(environment) if spec.flatten else environment


def make_many(spec: ControlSpec, count: int) -> "gym.vector.VectorEnv[Any, Any, Any]":
    """Make environments that step together: by the environment's own vectorised form where it has one."""
    import gymnasium as gym

    if gym.spec(spec.environment).vector_entry_point is not None and not spec.flatten:
        many = gym.make_vec(spec.environment, count, max_episode_steps=spec.time_limit, **dict(spec.options))
        if many.metadata.get("autoreset_mode") is gym.vector.AutoresetMode.NEXT_STEP:  # as `Environments` counts on
            return many
    return gym.vector.SyncVectorEnv([lambda: make(spec)] * count)


class Step(NamedTuple):
    """What a step in E environments brought.

    Attributes:
        before: observations (E, observation).
        after: observations that it led to; where an episode ended, its last.
        rewards: (E,) float32, as the environment gives them.
        terminated: whether `after` is a terminal state (E,).
        ended: whether it was the last of its episode, terminal or cut off (E,).
        real: False where no action was taken, for the environment only began a new episode (E,).
    """

    before: Observations
    after: Observations
    rewards: NDArray[np.float32]
    terminated: NDArray[np.bool_]
    ended: NDArray[np.bool_]
    real: NDArray[np.bool_]


class Environments:
    """Environments side by side; each begins a new episode in the step after its last one ended.

    They are made anew, and not reset: the same seed must give the same episodes, also in an environment that keeps
    something over a reset.

    Args:
        spec: which environment.
        count: how many.
        seed: of them all.
    """

    def __init__(self, spec: ControlSpec, count: int, seed: int) -> None:
        self._many = make_many(spec, count)
        first, _ = self._many.reset(seed=seed)
        self.observations = np.array(first, np.float32)
        self._ended = np.zeros(count, np.bool_)

    def step(self, actions: Actions) -> Step:
        """Take an action in each: (E,) int64, or (E, actions) float within the bounds."""
        after, rewards, terminated, truncated, _ = self._many.step(actions)
        before, self.observations = self.observations, np.array(after, np.float32)
        ended = np.logical_or(terminated, truncated)
        real, self._ended = ~self._ended, ended
        return Step(before, self.observations, np.array(rewards, np.float32), np.array(terminated), ended, real)

    def close(self) -> None:
        """Let go of the environments."""
        self._many.close()


class Episodes(NamedTuple):
    """Sums of rewards (N,) float64 and steps (N,) int64 of N episodes."""

    returns: NDArray[np.float64]
    lengths: NDArray[np.int64]


def play(spec: ControlSpec, seeds: Sequence[int], act: Act) -> Episodes:
    """Play an episode for each seed, all at once; an episode depends on its seed and its actions alone."""
    environments = [make(spec) for _ in seeds]
    latest = np.zeros((len(seeds), spec.observation), np.float32)
    for place, (environment, seed) in enumerate(zip(environments, seeds, strict=True)):
        latest[place], _ = environment.reset(seed=seed)
    returns, lengths = np.zeros(len(seeds)), np.zeros(len(seeds), np.int64)
    playing = list(range(len(seeds)))
    while playing:
        # All rows are given, also of those who have ended: the size of a product may decide how it rounds.
        actions = act(latest)
        for place in tuple(playing):
            latest[place], reward, terminated, truncated, _ = environments[place].step(actions[place])
            returns[place] += float(reward)
            lengths[place] += 1
            if terminated or truncated:
                playing.remove(place)
    for environment in environments:
        environment.close()
    return Episodes(returns, lengths)


def random_actions(spec: ControlSpec, count: int, rng: np.random.Generator) -> Actions:
    """Draw actions without looking: each equally likely, numbers uniform within their bounds, -1 to 1 without any."""
    if spec.discrete:
        return rng.integers(spec.actions, size=count)
    low = [bound if np.isfinite(bound) else -1.0 for bound in spec.low]
    high = [bound if np.isfinite(bound) else 1.0 for bound in spec.high]
    return rng.uniform(low, high, (count, spec.actions)).astype(np.float32)


def film(spec: ControlSpec, seed: int, act: Act, every: int) -> list[NDArray[np.uint8]]:
    """Play an episode, and return a frame (height, width, 3) of its begin, of every so many steps, and of its end.

    An environment that cannot be drawn has none.

    Raises:
        gymnasium.error.Error: a package that it is drawn with is not installed.
    """
    if "rgb_array" not in make(spec).metadata.get("render_modes", ()):
        return []
    # SDL, which draws most of them, shall not look for a screen.
    os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
    environment = make(spec, render=True)
    observation, _ = environment.reset(seed=seed)
    frames, steps, over = [_frame(environment)], 0, False
    while not over:
        actions = act(np.array(observation, np.float32)[None])
        observation, _, terminated, truncated, _ = environment.step(actions[0])
        steps, over = steps + 1, bool(terminated or truncated)
        if over or steps % every == 0:
            frames.append(_frame(environment))
    environment.close()
    return frames


def _frame(environment: "gym.Env[Any, Any]") -> NDArray[np.uint8]:
    return np.array(environment.render(), np.uint8)
