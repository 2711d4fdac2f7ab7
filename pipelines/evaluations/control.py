"""Tests policies: returns of greedy episodes beside those of random actions, and the trained agent in pictures."""

import csv
import sys
from typing import TYPE_CHECKING, cast

import numpy as np
from pydantic import Field

from pipelines.evaluations.base import Evaluation, Task
from pipelines.section import Section

if TYPE_CHECKING:
    from lit_models.core.control import ControlModel
    from lit_models.parts.environments import Episodes


class ControlEvaluateConfig(Section):
    """The section `experiments.<key>.evaluate` of policies."""

    seed: int = Field(default=0, ge=0, lt=2**32, description="seed of the random policy that is the baseline")
    frames: int = Field(default=60, ge=2, le=1000, description="frames of the animation, about")
    strip: int = Field(default=8, ge=2, le=32, description="frames of the strip, at most")


def run(task: Task, config: ControlEvaluateConfig) -> dict[str, float]:
    """Play the test episodes, draw the pictures, and score.

    Returns:
        `mean_return` and its spread over the episodes, the share that is `solved`, `mean_steps`, and the mean return of
        random actions in the same episodes.
    """
    from lit_models.parts.environments import play, random_actions
    from pipelines.evaluations import control_pictures

    model = cast("ControlModel", task.model)
    seeds, rng = task.x.tolist(), np.random.default_rng(config.seed)
    with model.acting():
        trained = play(model.spec, seeds, model.best)
    untrained = play(model.spec, seeds, lambda seen: random_actions(model.spec, len(seen), rng))
    _table(task, seeds, trained, untrained)
    baseline = float(untrained.returns.mean())
    control_pictures.curve(task, model.spec.threshold, baseline)
    control_pictures.histogram(task, trained.returns, untrained.returns, model.spec.threshold)
    _film(task, config, int(trained.lengths[0]))
    return {
        "mean_return": float(trained.returns.mean()),
        "return_std": float(trained.returns.std()),
        "least_return": float(trained.returns.min()),
        "solved": float((trained.returns >= model.spec.threshold).mean()),
        "mean_steps": float(trained.lengths.mean()),
        "baseline": baseline,
    }


def _table(task: Task, seeds: list[int], trained: "Episodes", untrained: "Episodes") -> None:
    """A row for each test episode."""
    with (task.tables / "episodes.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["seed", "return", "steps", "random_return", "random_steps"])
        columns = (trained.returns, trained.lengths, untrained.returns, untrained.lengths)
        writer.writerows(zip(seeds, *(column.tolist() for column in columns), strict=True))


def _film(task: Task, config: ControlEvaluateConfig, steps: int) -> None:
    """Film the first test episode, where the environment can be drawn; a model is no worse for not being seen."""
    import gymnasium as gym

    from lit_models.parts.environments import film
    from pipelines.evaluations import control_pictures

    model = cast("ControlModel", task.model)
    every = -(-steps // config.frames)
    try:
        with model.acting():
            frames = film(model.spec, int(task.x[0]), model.best, every)
    except gym.error.Error as error:
        print(f"no picture of the agent: {str(error).splitlines()[0]}", file=sys.stderr)
        return
    if frames:
        control_pictures.strip(frames, config.strip, every, model.spec.environment, task.pictures / "agent.png")
        control_pictures.animation(frames, task.pictures / "agent.gif")


CONTROL = Evaluation(ControlEvaluateConfig, run)
