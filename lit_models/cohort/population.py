"""Population-based training (Jaderberg et al. 2017): the worst lanes go on as changed copies of the best.

Everything is drawn from (seed, epoch, lane), so that neither the order of lanes nor that of hyperparameters matters.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from lit_models.cohort.rules import Ranks, RuleSpec, ranking
from lit_models.core.seeds import derive_seed

QUARTER = 4  # the worst quarter copies from the best
FACTORS = (0.8, 1.25)  # of a hyperparameter on a logarithmic scale: one undoes the other
STEP = 0.2  # of the range of one on a linear scale


@dataclass(frozen=True)
class Copy:
    """What a lane becomes: the weights of `source`, and its hyperparameters with these changes."""

    source: int
    changes: Mapping[str, float]


def exploits(
    spec: RuleSpec, epoch: int, ranks: Ranks, alive: Collection[int], values: Mapping[int, Mapping[str, float]]
) -> dict[int, Copy]:
    """Say which lanes become copies after an epoch: exploit and explore of Jaderberg et al. (2017).

    Truncation selection: each lane of the worst quarter (at least one lane, if there are two) copies one of the best
    quarter. Each hyperparameter in `spec.space` moves up or down: on a logarithmic scale by a factor of 1.25 or 0.8, on
    a linear one by a fifth of its range; and stays within its bounds.

    Args:
        spec: all rules but pbt copy nothing.
        epoch: 1-based, just ended; there are copies after every `spec.interval` epochs, and none after the last epoch.
        ranks: of all lanes that ever started.
        alive: lanes that have run this epoch and could go on.
        values: lane -> the hyperparameters it has now, at least those in `spec.space`.

    Returns:
        Lane -> what it becomes, by ascending lane. No source is itself a copy.

    Raises:
        ValueError: a lane is alive, but has no rank for this epoch.
    """
    if spec.name != "pbt" or not spec.interval or epoch % spec.interval or epoch >= spec.epochs:
        return {}
    order = ranking(epoch, ranks, set(alive))
    if len(order) < 2:
        return {}
    count = max(1, len(order) // QUARTER)
    best, worst = order[:count], sorted(order[-count:])
    return {
        lane: _copy(spec, np.random.default_rng(derive_seed(spec.seed, epoch, lane)), best, values) for lane in worst
    }


def _copy(
    spec: RuleSpec, generator: np.random.Generator, best: list[int], values: Mapping[int, Mapping[str, float]]
) -> Copy:
    source = best[int(generator.integers(len(best)))]
    changes = {}
    for name in sorted(spec.space):
        low, high, log = spec.space[name]
        up = int(generator.integers(2))
        now = values[source][name]
        moved = now * FACTORS[up] if log else now + (STEP if up else -STEP) * (high - low)
        changes[name] = float(min(max(moved, low), high))
    return Copy(source, changes)
