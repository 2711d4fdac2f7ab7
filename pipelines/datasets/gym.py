"""Environments of gymnasium, for families that learn by acting: there are no data but what an environment is.

The raw folder holds what gymnasium says of it, the prepared one the wrappers that it is seen through and the seeds of
the episodes that a policy is judged by. A person's own environment is found when its package registers it by the entry
point `gymnasium.envs`.
"""

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from pipelines.faults import Fault
from pipelines.formats.base import Dataset
from pipelines.formats.prepared import write_card, write_part
from pipelines.nearest import hint
from pipelines.section import Section
from pipelines.transport.raw import verified, write_manifest

if TYPE_CHECKING:
    from lit_models.specs.control import ControlSpec

FILE = "environment.json"
SEEDS = 1_000_000
"""Seeds of episodes lie below."""

STILL = 1e-6
"""What varies less counts as still."""


class GymFetch(Section):
    """An environment of gymnasium, https://gymnasium.farama.org."""

    environment: str = Field(default="CartPole-v1", description="id that gymnasium knows it by")
    options: dict[str, str | int | float | bool] = Field(default={}, description="its own keyword arguments")


class GymPrepare(Section):
    """The section `datasets.<key>.prepare`: wrappers of the environment, and the episodes that count."""

    seed: int = Field(default=0, ge=0, lt=2**32, description="seed that the episodes' seeds are drawn with")
    positions: int = Field(
        default=32768, ge=1, le=10_000_000, description="samples of an epoch; ppo's rollout times its passes"
    )
    val_episodes: int = Field(default=16, ge=1, le=1000, description="episodes to validate on after each epoch")
    test_episodes: int = Field(default=100, ge=1, le=10_000, description="episodes to test on")
    time_limit: int | None = Field(
        default=None, ge=1, description="steps after which an episode is cut off; null takes the environment's own"
    )
    threshold: float | None = Field(
        default=None, description="return from which an episode counts as solved; null takes the environment's own"
    )
    reward_scale: float = Field(default=1.0, gt=0, description="factor on rewards in training; returns go without")
    normalise: int = Field(
        default=0, ge=0, le=10_000_000, description="random steps that observations are normalised by; 0 is off"
    )


def fetch(config: GymFetch, folder: Path, base: Path) -> None:
    """Write what gymnasium says of the environment.

    Raises:
        Fault: there is no such environment, it cannot be made, or is of a kind that no family can act in.
    """
    del base
    text = json.dumps(described(config), indent=1) + "\n"
    (folder / FILE).write_text(text, encoding="utf-8")
    write_manifest(folder)


def described(config: GymFetch) -> dict[str, Any]:
    """Make the environment, and say what it observes, which actions it takes, and when it ends.

    Raises:
        Fault: see `fetch`.
    """
    import gymnasium as gym

    name = config.environment
    if name not in gym.registry:
        raise Fault(f"gymnasium has no environment {name!r}; {hint(name, gym.registry, 'id')}")
    options: dict[str, Any] = dict(config.options)
    try:
        environment: gym.Env[Any, Any] = gym.make(name, disable_env_checker=True, **options)
    except (gym.error.Error, ImportError, TypeError, ValueError) as error:
        raise Fault(f"{name} cannot be made: {str(error).splitlines()[0]}") from None
    spec = gym.spec(name)
    facts = {
        "environment": name,
        "options": options,
        "gymnasium": gym.__version__,
        **_observed(name, environment.observation_space),
        **_actions(name, environment.action_space),
        "time_limit": spec.max_episode_steps,
        "threshold": spec.reward_threshold,
    }
    environment.close()
    return facts


def _observed(name: str, space: Any) -> dict[str, Any]:
    """Vectors as they are; what can be made one is flattened."""
    from gymnasium import spaces

    flat = isinstance(space, spaces.Box) and len(space.shape) == 1
    try:
        vector = spaces.flatten_space(space)
    except NotImplementedError:
        vector = None
    if not isinstance(vector, spaces.Box):
        raise Fault(f"{name} observes {space}, which cannot be made a vector")
    return {"observation_space": str(space), "observation": int(vector.shape[0]), "flatten": not flat}


def _actions(name: str, space: Any) -> dict[str, Any]:
    """A choice, or a vector of numbers; an infinite bound is null."""
    from gymnasium import spaces

    facts = {"action_space": str(space)}
    if isinstance(space, spaces.Discrete) and space.start == 0:
        return {**facts, "discrete": True, "actions": int(space.n), "low": [], "high": []}
    if isinstance(space, spaces.Box) and len(space.shape) == 1 and np.issubdtype(space.dtype, np.floating):
        bounds = {
            side: [float(bound) if math.isfinite(bound) else None for bound in getattr(space, side)]
            for side in ("low", "high")
        }
        return {**facts, "discrete": False, "actions": int(space.shape[0]), **bounds}
    raise Fault(f"{name} takes actions of {space}, neither a choice counted from 0 nor a vector of numbers")


def card_of(facts: dict[str, Any], config: GymPrepare) -> dict[str, Any]:
    """Say what `ControlSpec.read` reads, observations as they are.

    Raises:
        Fault: the environment's episodes have no end, or no return at which they count as solved, and none is set.
    """
    found = {
        name: facts[name] if getattr(config, name) is None else getattr(config, name)
        for name in ("time_limit", "threshold")
    }
    for name, value in found.items():
        if value is None:
            raise Fault(f"{facts['environment']} has no {name} of its own: set datasets.*.prepare.{name}")
    names = ("environment", "options", "observation", "discrete", "actions", "low", "high")
    wrappers = {
        "time_limit": found["time_limit"],
        "flatten": facts["flatten"],
        "mean": [0.0] * facts["observation"],
        "std": [1.0] * facts["observation"],
        "reward_scale": config.reward_scale,
    }
    counts = {"train": config.positions, "val": config.val_episodes, "test": config.test_episodes}
    return {
        "form": "control",
        **{name: facts[name] for name in names},
        "wrappers": wrappers,
        "threshold": found["threshold"],
        "positions": config.positions,
        "counts": counts,
        "gymnasium": facts["gymnasium"],
        "seed": config.seed,
    }


def prepare(raw: Path, config: GymPrepare, folder: Path) -> str:
    """Write positions to train on, seeds of episodes to validate and test on, and the card.

    Raises:
        Fault: the raw file changed, or the environment lacks a limit or threshold.
    """
    verified(raw)
    facts = json.loads((raw / FILE).read_text(encoding="utf-8"))
    card = card_of(facts, config)
    if config.normalise:
        card["wrappers"] |= statistics(facts, card["wrappers"]["time_limit"], config.normalise, config.seed)
    seeds = np.random.default_rng(config.seed).permutation(SEEDS)
    middle, end = config.val_episodes, config.val_episodes + config.test_episodes
    parts = {"train": np.arange(config.positions), "val": seeds[:middle], "test": seeds[middle:end]}
    hashes = {}
    for name, x in parts.items():
        tensors = {"x": x.astype(np.int64), "y": np.zeros(len(x), np.int64), "index": np.arange(len(x), dtype=np.int64)}
        hashes[f"{name}.safetensors"] = write_part(folder, name, tensors)
    write_card(folder, {**card, "sha256": hashes})
    actions = f"{card['actions']} actions" if card["discrete"] else f"actions of {card['actions']} numbers"
    return (
        f"{config.positions} positions an epoch, {config.val_episodes} episodes to validate, {config.test_episodes} to "
        f"test; {card['environment']}: {card['observation']} numbers observed, {actions}, "
        f"at most {card['wrappers']['time_limit']} steps, solved from {card['threshold']:g}"
    )


def statistics(facts: dict[str, Any], time_limit: int, steps: int, seed: int) -> dict[str, list[float]]:
    """Mean and standard deviation of each number observed in so many random steps; 1 for one that never changes."""
    import gymnasium as gym

    environment: gym.Env[Any, Any] = gym.make(
        facts["environment"], max_episode_steps=time_limit, disable_env_checker=True, **facts["options"]
    )
    environment.action_space.seed(seed)
    space = environment.observation_space
    observation, _ = environment.reset(seed=seed)
    seen = []
    for _ in range(steps):
        seen.append(gym.spaces.flatten(space, observation))
        observation, _, terminated, truncated, _ = environment.step(environment.action_space.sample())
        if terminated or truncated:
            observation, _ = environment.reset()
    environment.close()
    numbers = np.array(seen, np.float64)
    deviations = numbers.std(0)
    return {"mean": numbers.mean(0).tolist(), "std": np.where(deviations > STILL, deviations, 1.0).tolist()}


def sketch(fetch: GymFetch, prepare: GymPrepare) -> "ControlSpec | None":
    """All but the statistics of observations; nothing of an environment that `fetch` will refuse."""
    from lit_models.specs.control import ControlSpec

    try:
        return ControlSpec.read(Path(), card_of(described(fetch), prepare))
    except Fault:
        return None


GYM = Dataset("gym", "control", "none", GymFetch, GymPrepare, fetch, prepare, sketch)
